//! Changing the text of a secrets file: the one entry that is meant, and not a byte of anything else.

use toml_edit::{DocumentMut, Item, Key, Table, TableLike};

use super::recipient::Recipient;
use super::sealed::Sealed;
use crate::pure::name::SecretName;

/// Why a text could not be changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Without the parser's words: they may quote the file.
    #[error("it is not valid TOML")]
    Syntax,
    #[error("`{0}` is no table in it")]
    NotATable(&'static str),
    #[error("there is no recipient `{0}` in it")]
    NoRecipient(String),
}

/// A new file for these recipients, without a secret yet.
pub fn new_file<'a>(recipients: impl IntoIterator<Item = (&'a str, &'a Recipient)>) -> String {
    let mut text = String::from(
        "# Encrypted with age; `forge secret --help` says how to read and change it.\n\
         version = 1\n\n[recipients]\n",
    );
    for (name, recipient) in recipients {
        text.push_str(&format!(
            "{} = {}\n",
            Key::new(name).display_repr(),
            toml_edit::Value::from(recipient.to_string())
        ));
    }
    text.push_str("\n[secrets]\n");
    text
}

/// The text with one value set; comments and everything else stay as they are.
///
/// # Errors
///
/// If the text is no TOML or `secrets` is no table in it.
pub fn set_value(text: &str, name: &SecretName, sealed: &Sealed) -> Result<String, EditError> {
    let literal = format!("\"\"\"\n{}\"\"\"", sealed.armored());
    let value = literal
        .parse::<toml_edit::Value>()
        .map_err(|_| EditError::Syntax)?;
    change(text, |document| {
        put(table(document, "secrets")?, name.as_str(), value);
        Ok(())
    })
}

/// The text with one recipient added at the end of its table, or replaced.
///
/// # Errors
///
/// If the text is no TOML or `recipients` is no table in it.
pub fn set_recipient(text: &str, name: &str, recipient: &Recipient) -> Result<String, EditError> {
    change(text, |document| {
        let value = toml_edit::Value::from(recipient.to_string());
        put(table(document, "recipients")?, name, value);
        Ok(())
    })
}

/// The text without one recipient.
///
/// # Errors
///
/// If the text is no TOML, or has no such recipient.
pub fn remove_recipient(text: &str, name: &str) -> Result<String, EditError> {
    change(text, |document| {
        table(document, "recipients")?
            .remove(name)
            .map(drop)
            .ok_or_else(|| EditError::NoRecipient(name.to_owned()))
    })
}

/// Changes the text as a document. The editor of documents writes LF everywhere, so a text whose lines all end in CRLF (a checkout on
/// another system) is taken through LF and back.
fn change(
    text: &str,
    with: impl FnOnce(&mut DocumentMut) -> Result<(), EditError>,
) -> Result<String, EditError> {
    let lf = text.replace("\r\n", "\n");
    let crlf = lf.contains('\n') && lf.replace('\n', "\r\n") == text;
    let plain = if crlf { lf.as_str() } else { text };
    let mut document: DocumentMut = plain.parse().map_err(|_| EditError::Syntax)?;
    with(&mut document)?;
    let changed = document.to_string();
    Ok(if crlf {
        changed.replace('\n', "\r\n")
    } else {
        changed
    })
}

fn table<'a>(
    document: &'a mut DocumentMut,
    key: &'static str,
) -> Result<&'a mut dyn TableLike, EditError> {
    document
        .entry(key)
        .or_insert_with(|| Item::Table(Table::new()))
        .as_table_like_mut()
        .ok_or(EditError::NotATable(key))
}

fn put(table: &mut dyn TableLike, key: &str, mut value: toml_edit::Value) {
    match table.get_mut(key) {
        Some(item) => {
            // What stands around the old value (a comment behind it) belongs to the entry and not to the value.
            if let Some(old) = item.as_value() {
                *value.decor_mut() = old.decor().clone();
            }
            *item = Item::Value(value);
        }
        None => {
            table.insert(key, Item::Value(value));
        }
    }
}
