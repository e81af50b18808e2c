use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// The name of an entry of a store, such as `PROJECT/HOST`: what keeps a bundle from being collected.
///
/// The grammar is that of `org.opencontainers.image.ref.name` (OCI image specification, "Pre-Defined Annotation Keys"), so that
/// `skopeo` and `umoci` take the name as it is; but any number of `-` may follow each other, so that every host's name is one too.
/// At most 255 characters.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RefName(String);

/// A text that is no [`RefName`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a reference name: use letters and digits, with `-` or one of `._:@+` between them, in parts \
     separated by `/`, at most 255 characters"
)]
pub struct RefNameError(String);

const LONGEST: usize = 255;

fn is_component(text: &str) -> bool {
    let separator = |c: char| "-._:@+".contains(c);
    !text.is_empty()
        && text.chars().all(|c| c.is_ascii_alphanumeric() || separator(c))
        && !text.starts_with(separator)
        && !text.ends_with(separator)
        // Between two alphanumerics stands one separator, or dashes.
        && text
            .split(|c: char| c.is_ascii_alphanumeric())
            .all(|between| between.len() <= 1 || between.bytes().all(|b| b == b'-'))
}

impl RefName {
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for RefName {
    type Err = RefNameError;

    fn from_str(text: &str) -> Result<Self, RefNameError> {
        if text.len() <= LONGEST && text.split('/').all(is_component) {
            Ok(Self(text.to_owned()))
        } else {
            Err(RefNameError(text.to_owned()))
        }
    }
}

impl TryFrom<String> for RefName {
    type Error = RefNameError;

    fn try_from(text: String) -> Result<Self, RefNameError> {
        text.parse()
    }
}

impl From<RefName> for String {
    fn from(name: RefName) -> String {
        name.0
    }
}

/// A host's name is a reference name: it is the tag of an exported bundle.
impl From<&crate::pure::name::HostName> for RefName {
    fn from(host: &crate::pure::name::HostName) -> Self {
        Self(host.as_str().to_owned())
    }
}

impl fmt::Display for RefName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[test]
    fn takes_the_grammar_of_the_specification_and_nothing_else() {
        for good in [
            "web",
            "shop/web",
            "a/b/c",
            "Shop.v1/web-1",
            "a--b",
            "a---b",
            "a:b@c+d",
        ] {
            assert_eq!(good.parse::<RefName>().unwrap().as_str(), good);
        }
        for bad in [
            "",
            "/",
            "a/",
            "/a",
            "a//b",
            "..",
            "a/../b",
            "-a",
            "a-",
            "a__b",
            "a b",
            "a\n",
            "ä",
            &"a".repeat(256),
        ] {
            assert!(bad.parse::<RefName>().is_err(), "{bad:?}");
        }
    }
}
