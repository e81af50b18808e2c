//! Parcels and images that the host fetches itself.

use super::parts::FetchOrder;
use super::{Conversation, Fault};
use crate::pure::delivery::Parcel;
use crate::pure::protocol::Reply;
use crate::pure::protocol::frame::{FrameError, FrameKind};

impl Conversation<'_> {
    /// One parcel: its bytes are read to the end also if it is refused, so that the next question is understood. They go to the disk
    /// as they come.
    pub(super) fn parcel(&mut self, parcel: &Parcel, from: u64) -> Result<Reply, Fault> {
        self.owed = parcel.bytes.saturating_sub(from);
        self.must_hold("sending")?;
        if from > parcel.bytes {
            return Err(Fault::refused(
                format!("the parcel of {} is shorter than its part", parcel.blob),
                None,
            ));
        }
        let receiving = match &mut self.receiving {
            Some(receiving) => receiving,
            none => none.insert(self.environment.receiving(self.host)?),
        };
        receiving.begin(parcel, from)?;
        while self.owed > 0 {
            let (kind, bytes) = self.incoming.next().map_err(Fault::Line)?;
            let length = bytes.len() as u64;
            if kind != FrameKind::Data || length == 0 || length > self.owed {
                return Err(Fault::Line(FrameError::Message(format!(
                    "the parcel of {} was to have {} bytes more",
                    parcel.blob, self.owed
                ))));
            }
            self.owed -= length;
            receiving.write(&bytes)?;
        }
        receiving.finish()?;
        Ok(Reply::Arrived { blob: parcel.blob })
    }

    pub(super) fn fetch(&mut self, order: FetchOrder) -> Result<Reply, Fault> {
        self.must_hold("fetching")?;
        let fetched = self.environment.fetch(self.host, &order, &self.out)?;
        self.fetched.extend(fetched.present);
        Ok(Reply::Fetched {
            failed: fetched.failed,
        })
    }
}
