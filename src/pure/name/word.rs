use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is no name; says what a name is, so that the message needs nothing else.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a name: {rule}")]
pub struct NameError {
    text: String,
    rule: &'static str,
}

impl NameError {
    /// What is wrong, without the rule.
    pub fn message(&self) -> String {
        format!("`{}` is not a name", self.text)
    }

    /// What a name is.
    pub fn rule(&self) -> &'static str {
        self.rule
    }
}

/// At most this many characters: the longest DNS label (RFC 1035, section 2.3.4).
const LONGEST: usize = 63;

fn is_dashed(text: &str) -> bool {
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_lowercase() || c.is_ascii_digit());
    text.len() <= LONGEST
        && edge(text.chars().next())
        && edge(text.chars().next_back())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-')
}

fn is_snake(text: &str) -> bool {
    text.len() <= LONGEST
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

const DASHED: &str = "use a-z, 0-9 and `-`, a letter or digit at both ends, at most 63 characters";
const SNAKE: &str = "use a-z, 0-9 and `_`, a letter first, at most 63 characters";

macro_rules! words {
    ($($(#[$doc:meta])* $name:ident $check:ident $rule:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                if $check(text) {
                    Ok(Self(text.to_owned()))
                } else {
                    Err(NameError { text: text.to_owned(), rule: $rule })
                }
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl std::borrow::Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }
    )*};
}

words! {
    /// The name of a host: of its file, and a DNS label.
    HostName is_dashed DASHED;
    /// The name of a module: of its folder.
    ModuleName is_dashed DASHED;
    /// The name of an image: of its folder.
    ImageName is_dashed DASHED;
    /// The name of a service: in Compose and in the containers' DNS.
    ServiceName is_dashed DASHED;
    /// The name of a volume: of its folder on the host.
    VolumeName is_dashed DASHED;
    /// The name of a container network.
    NetworkName is_dashed DASHED;
    /// The name of a secret: of its file on tmpfs.
    SecretName is_snake SNAKE;
    /// The name of an option of a module, or of a field.
    OptionName is_snake SNAKE;
    /// The name of a kind of contribution.
    KindName is_snake SNAKE;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refuses_what_could_leave_its_place() {
        for bad in [
            "",
            "-a",
            "a-",
            "..",
            "a/b",
            "A",
            "a\n",
            "ä",
            &"a".repeat(64),
        ] {
            assert!(bad.parse::<HostName>().is_err(), "{bad:?}");
            assert!(bad.parse::<SecretName>().is_err(), "{bad:?}");
        }
        assert!("node-exporter".parse::<ServiceName>().is_ok());
        assert!("b2_key".parse::<SecretName>().is_ok());
    }
}
