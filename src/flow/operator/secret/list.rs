//! What there is and what is missing, without a value and without a key.

use super::{Desk, SecretError};
use crate::pure::name::{HostName, SecretName};
use crate::pure::secrets::{Sealed, SecretsFile, WantedBy};

/// Where the value of a secret is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    Set,
    Missing,
    Inherited {
        from: HostName,
    },
    /// There is something, but no ciphertext.
    Unreadable,
}

/// One secret of a host.
#[derive(Clone, Debug)]
pub struct Row {
    pub name: SecretName,
    /// Nobody: it is in the file, and no module wants it.
    pub wanted_by: Option<WantedBy>,
    pub about: String,
    pub state: State,
    /// Of the value, in bytes.
    pub length: Option<u64>,
    /// Why the length cannot be right.
    pub wrong_length: Option<String>,
    /// Who can read it.
    pub readers: Vec<String>,
    /// Whether these are exactly the recipients of its file.
    pub readers_right: bool,
    /// How forge makes it, in words.
    pub generate: Option<String>,
}

impl Desk<'_> {
    /// The secrets that a host wants and those that it has, by name.
    ///
    /// # Errors
    ///
    /// If the host or a file cannot be read.
    pub fn list(&self, host: &HostName) -> Result<Vec<Row>, SecretError> {
        self.known(host)?;
        let wants = self.declares.declares(host)?;
        let own = self.read(host)?.map(|open| open.file).unwrap_or_default();
        let ancestors = self.ancestors(&wants)?;
        let mut rows: Vec<Row> = wants
            .declarations
            .iter()
            .map(|declaration| {
                let name = &declaration.name;
                let mut row = blank(name);
                row.wanted_by = Some(declaration.wanted_by.clone());
                row.about = declaration.about.clone();
                row.generate = declaration.generate().map(|form| form.describe());
                if let Some(sealed) = own.get(name) {
                    row.state = State::Set;
                    fill(&mut row, &own, sealed);
                } else if own.is_unreadable(name) {
                    row.state = State::Unreadable;
                } else if let Some((from, file, sealed)) = ancestors
                    .iter()
                    .find_map(|(from, file)| file.get(name).map(|sealed| (from, file, sealed)))
                {
                    row.state = State::Inherited { from: from.clone() };
                    fill(&mut row, file, sealed);
                }
                row.wrong_length = row
                    .length
                    .and_then(|length| declaration.check_length(length).err());
                row
            })
            .collect();
        let unwanted = |name: &SecretName| wants.get(name).is_none();
        for (name, value) in own.values().iter().filter(|(name, _)| unwanted(name)) {
            let mut row = blank(name);
            row.state = State::Set;
            fill(&mut row, &own, &value.sealed);
            rows.push(row);
        }
        for name in own.unreadable().filter(|name| unwanted(name)) {
            let mut row = blank(name);
            row.state = State::Unreadable;
            rows.push(row);
        }
        rows.sort_by(|a, b| a.name.cmp(&b.name));
        Ok(rows)
    }
}

fn blank(name: &SecretName) -> Row {
    Row {
        name: name.clone(),
        wanted_by: None,
        about: String::new(),
        state: State::Missing,
        length: None,
        wrong_length: None,
        readers: Vec::new(),
        readers_right: true,
        generate: None,
    }
}

fn fill(row: &mut Row, file: &SecretsFile, sealed: &Sealed) {
    row.length = Some(sealed.envelope().plaintext_length());
    row.readers = super::readers(file, sealed);
    row.readers_right = sealed.envelope().addressees(file.recipients()).exact();
}
