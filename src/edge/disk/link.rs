use std::ffi::OsStr;
use std::os::unix::ffi::OsStringExt as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use rustix::fs::Mode;
use rustix::io::Errno;

use super::{DiskError, Folder, Step, Temporary, failed};

impl Folder {
    /// What a symbolic link of this name points to; nothing if the name is free.
    ///
    /// # Errors
    /// [`DiskError`], also if something else is there.
    pub fn read_link(&self, name: &str) -> Result<Option<PathBuf>, DiskError> {
        match rustix::fs::readlinkat(&*self.fd, name, Vec::new()) {
            Ok(target) => Ok(Some(PathBuf::from(std::ffi::OsString::from_vec(
                target.into_bytes(),
            )))),
            Err(Errno::NOENT) => Ok(None),
            Err(error) => Err(failed("read the link", &self.path.join(name))(error)),
        }
    }

    /// Lets a symbolic link point elsewhere, making it if the name is free: it is made beside, and renamed over the old one, so that
    /// whatever happens the name is the old link or the new one. After a crash it may be the old one, until [`Self::sync`].
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn set_link(&self, name: &str, target: &Path) -> Result<(), DiskError> {
        static NEXT: AtomicU64 = AtomicU64::new(0);
        loop {
            let next = NEXT.fetch_add(1, Ordering::Relaxed);
            let beside = format!("{}-{next}.link.tmp", std::process::id());
            let path = self.path.join(&beside);
            self.spend(Step::Create, &path)?;
            match rustix::fs::symlinkat(target, &*self.fd, &beside) {
                Ok(()) => {}
                // Left over by a process of the same number.
                Err(Errno::EXIST) => continue,
                Err(error) => return Err(failed("make the link", &path)(error)),
            }
            let renamed = self.rename(OsStr::new(&beside), OsStr::new(name));
            if renamed.is_err() {
                // What cannot be removed now is never looked at.
                let _ = self.remove(OsStr::new(&beside));
            }
            return renamed;
        }
    }
}

impl Folder {
    /// Only its owner may look into it.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn make_private(&self) -> Result<(), DiskError> {
        rustix::fs::fchmod(&*self.fd, Mode::from_raw_mode(0o700))
            .map_err(failed("change the mode of", &self.path))
    }
}

impl Temporary {
    /// Everybody may run it, and only its owner write it.
    ///
    /// # Errors
    /// [`DiskError`].
    pub fn make_executable(&self) -> Result<(), DiskError> {
        match &self.file {
            Some(file) => rustix::fs::fchmod(file, Mode::from_raw_mode(0o755))
                .map_err(failed("change the mode of", &self.path())),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::edge::disk::Power;

    #[test]
    fn a_link_is_the_old_one_or_the_new_one() {
        for steps in 0.. {
            let at = tempfile::tempdir().unwrap();
            let plain = Folder::open(at.path()).unwrap();
            assert_eq!(plain.read_link("link").unwrap(), None);
            plain.set_link("link", Path::new("old")).unwrap();
            let folder = plain.clone().with_power(Power::for_steps(steps));
            let done = folder.set_link("link", Path::new("new")).is_ok();
            let target = plain.read_link("link").unwrap().unwrap();
            assert_eq!(target, Path::new(if done { "new" } else { "old" }));
            if done {
                assert_eq!(steps, 2);
                assert_eq!(plain.names().unwrap(), ["link"]);
                return;
            }
        }
    }

    #[test]
    fn what_is_no_link_is_not_read_as_one() {
        let at = tempfile::tempdir().unwrap();
        std::fs::write(at.path().join("file"), "").unwrap();
        assert!(Folder::open(at.path()).unwrap().read_link("file").is_err());
    }
}
