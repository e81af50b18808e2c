use std::fmt;

use regex_lite::Regex;

use super::generate::Generate;
use super::plaintext::Plaintext;
use crate::pure::config::value::Value;
use crate::pure::name::{ModuleName, SecretName};
use crate::pure::text::{Diagnostic, Diagnostics, Span, codes};

/// Who contributes a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WantedBy {
    Module(ModuleName),
    /// The host's own file.
    Host,
}

impl fmt::Display for WantedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Module(name) => write!(f, "the module `{name}`"),
            Self::Host => f.write_str("the host file"),
        }
    }
}

/// What a value that a person sets must look like. Lengths are in bytes.
#[derive(Clone, Debug, Default)]
pub struct Format {
    pattern: Option<Regex>,
    shortest: Option<u64>,
    longest: Option<u64>,
}

/// A secret that a host needs: one contribution of the kind `secret`.
#[derive(Clone, Debug)]
pub struct Declaration {
    pub name: SecretName,
    pub wanted_by: WantedBy,
    pub about: String,
    /// Where it is declared.
    pub at: Span,
    generate: Option<Generate>,
    format: Option<Format>,
}

impl Declaration {
    /// Reads the checked fields of a contribution; `None` if its name is none. Other mistakes are reported, and the
    /// mistaken part is left out.
    pub fn from_value(
        name: &str,
        wanted_by: WantedBy,
        value: &Value,
        diagnostics: &mut Diagnostics,
    ) -> Option<Self> {
        let parsed = match name.parse::<SecretName>() {
            Ok(name) => name,
            Err(error) => {
                diagnostics
                    .push(Diagnostic::error(codes::BAD_NAME, error.to_string()).at(value.at, ""));
                return None;
            }
        };
        let generate = value
            .get("generate")
            .and_then(|value| read_generate(name, value, diagnostics));
        let format = value
            .get("format")
            .map(|value| read_format(name, value, diagnostics));
        if let (Some(generate), Some(format), Some(at)) = (generate, &format, value.get("format"))
            && let Err(why) = format.check_length(generate.length() as u64)
        {
            diagnostics.push(
                Diagnostic::error(
                    codes::BAD_DECLARATION,
                    format!("what forge would generate for the secret `{name}` {why}"),
                )
                .at(at.at, "the declared format"),
            );
        }
        Some(Self {
            name: parsed,
            wanted_by,
            about: value.str("about").unwrap_or_default().to_owned(),
            at: value.at,
            generate,
            format,
        })
    }

    /// How forge makes it; a person sets it otherwise.
    pub fn generate(&self) -> Option<Generate> {
        self.generate
    }

    pub fn format(&self) -> Option<&Format> {
        self.format.as_ref()
    }

    /// Whether a value of this length (in bytes) can be right; the clause says why not.
    ///
    /// # Errors
    ///
    /// A clause that fits after "the value of `NAME` …".
    pub fn check_length(&self, length: u64) -> Result<(), String> {
        if let Some(generate) = self.generate {
            let wanted = generate.length() as u64;
            if length != wanted {
                return Err(format!(
                    "is {length} bytes long, and must be {wanted}: {}",
                    generate.describe()
                ));
            }
        }
        match &self.format {
            Some(format) => format.check_length(length),
            None if length == 0 => Err("is empty".to_owned()),
            None => Ok(()),
        }
    }

    /// Whether a value has the declared form; the clause says why not, and holds nothing of the value.
    ///
    /// # Errors
    ///
    /// A clause that fits after "the value of `NAME` …".
    pub fn check(&self, value: &Plaintext) -> Result<(), String> {
        self.check_length(value.len() as u64)?;
        let text = || {
            value
                .expose_str()
                .ok_or_else(|| "is not text in UTF-8".to_owned())
        };
        if let Some(generate) = self.generate {
            generate.check(text()?)?;
        }
        if let Some(pattern) = self
            .format
            .as_ref()
            .and_then(|format| format.pattern.as_ref())
            && !pattern.is_match(text()?)
        {
            return Err(format!("does not match {}", pattern.as_str()));
        }
        Ok(())
    }

    /// The command that gives it a value.
    pub fn command(&self, host: &str) -> String {
        match self.generate {
            Some(_) => format!("forge secret generate {host}"),
            None => format!("forge secret set {host} {}", self.name),
        }
    }
}

impl Format {
    fn check_length(&self, length: u64) -> Result<(), String> {
        let shortest = self.shortest.unwrap_or(1);
        if length < shortest {
            return Err(match length {
                0 => "is empty".to_owned(),
                _ => format!("is {length} bytes long, and must be at least {shortest}"),
            });
        }
        match self.longest {
            Some(longest) if length > longest => Err(format!(
                "is {length} bytes long, and must be at most {longest}"
            )),
            _ => Ok(()),
        }
    }
}

fn read_generate(name: &str, value: &Value, diagnostics: &mut Diagnostics) -> Option<Generate> {
    let kind = value.str("kind")?;
    let counted_in = match kind {
        "hex" | "base64" | "base64url" => Some("bytes"),
        "alphanumeric" | "digits" => Some("length"),
        _ => None,
    };
    for key in ["bytes", "length"] {
        if let Some(given) = value.get(key).filter(|_| counted_in != Some(key)) {
            diagnostics.push(
                Diagnostic::error(
                    codes::BAD_DECLARATION,
                    format!(
                        "`{key}` means nothing for the secret `{name}`, which is of kind {kind}"
                    ),
                )
                .at(given.at, "")
                .help(match counted_in {
                    Some(right) => format!("write `{right}` instead"),
                    None => format!("remove it: a {kind} always has the same length"),
                }),
            );
        }
    }
    let mut amount = 0;
    if let Some(key) = counted_in {
        let given = value.get(key).and_then(Value::as_int);
        let Some(given) = given.and_then(|number| usize::try_from(number).ok()) else {
            diagnostics.push(
                Diagnostic::error(
                    codes::BAD_DECLARATION,
                    format!("how long is the secret `{name}`? Its `generate` has no `{key}`"),
                )
                .at(value.at, "")
                .help(format!("add `{key} = 32`")),
            );
            return None;
        };
        amount = given;
    }
    Some(match kind {
        "hex" => Generate::Hex { bytes: amount },
        "base64" => Generate::Base64 { bytes: amount },
        "base64url" => Generate::Base64Url { bytes: amount },
        "alphanumeric" => Generate::Alphanumeric { length: amount },
        "digits" => Generate::Digits { length: amount },
        "uuid" => Generate::Uuid,
        // The field is an enumeration: decoding has refused everything else.
        _ => return None,
    })
}

fn read_format(name: &str, value: &Value, diagnostics: &mut Diagnostics) -> Format {
    let bound = |key: &str| {
        let number = value.get(key)?.as_int()?;
        u64::try_from(number).ok()
    };
    let mut format = Format {
        pattern: None,
        shortest: bound("min_length"),
        longest: bound("max_length"),
    };
    if let Some(pattern) = value.get("pattern") {
        match Regex::new(pattern.as_str().unwrap_or_default()) {
            Ok(regex) => format.pattern = Some(regex),
            Err(error) => diagnostics.push(
                Diagnostic::error(
                    codes::BAD_DECLARATION,
                    format!("the pattern of the secret `{name}` is no regular expression"),
                )
                .at(pattern.at, error.to_string())
                .help("look-around and back-references are not part of the language"),
            ),
        }
    }
    if let (Some(shortest), Some(longest)) = (format.shortest, format.longest)
        && shortest > longest
    {
        diagnostics.push(
            Diagnostic::error(
                codes::BAD_DECLARATION,
                format!("`min_length` of the secret `{name}` is above its `max_length`"),
            )
            .at(value.at, "no value could be permitted")
            .help("exchange the two"),
        );
        format.longest = None;
    }
    format
}
