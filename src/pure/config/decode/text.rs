//! One line of text against a type that is written as text.

use super::describe_bounds;
use crate::pure::config::field::{Bounds, Type};
use crate::pure::config::units::{parse_duration, parse_size, show_duration, show_size};
use crate::pure::name::{ImageName, ServiceName};
use crate::pure::text::codes;

pub(super) struct Refusal {
    pub(super) code: crate::pure::text::Code,
    pub(super) what: String,
    pub(super) help: String,
}

fn refusal(what: impl Into<String>, help: impl Into<String>) -> Refusal {
    Refusal {
        code: codes::BAD_VALUE,
        what: what.into(),
        help: help.into(),
    }
}

/// Whether one line of text has the form of a type that is written as text.
pub(super) fn check_text(text: &str, ty: &Type) -> Result<(), Refusal> {
    match ty {
        Type::String { pattern } => match pattern {
            Some(pattern) if !pattern.is_match(text) => Err(refusal(
                "it has not the wanted form",
                format!("it must match {}", pattern.as_str()),
            )),
            _ => Ok(()),
        },
        Type::Size(bounds) => {
            let bytes = parse_size(text).ok_or_else(|| {
                refusal(
                    "this is no size",
                    "write a whole number and B, KiB, MiB, GiB or TiB, such as \"512MiB\"",
                )
            })?;
            within(bytes, *bounds, show_size)
        }
        Type::Duration(bounds) => {
            let millis = parse_duration(text).ok_or_else(|| {
                refusal(
                    "this is no duration",
                    "write whole numbers and d, h, m, s or ms, such as \"1h30m\"",
                )
            })?;
            within(millis, *bounds, show_duration)
        }
        Type::Domain if is_domain(text) => Ok(()),
        Type::Domain => Err(refusal(
            "this is no domain",
            "write it in lower case with letters, digits, `-` and dots, such as \"www.example.com\"",
        )),
        Type::Email if is_email(text) => Ok(()),
        Type::Email => Err(refusal(
            "this is no e-mail address",
            "write it like \"admin@example.com\"",
        )),
        Type::Cidr => {
            if text.parse::<std::net::IpAddr>().is_ok() || text.parse::<ipnet::IpNet>().is_ok() {
                Ok(())
            } else {
                Err(refusal(
                    "this is neither an address nor a network",
                    "write it like \"192.0.2.7\" or \"192.0.2.0/24\"",
                ))
            }
        }
        Type::Path => check_path(text, true),
        Type::LocalPath => check_path(text, false),
        Type::Name | Type::Ref(_) => check_name(text),
        Type::Image => text
            .parse::<ImageName>()
            .map(drop)
            .map_err(|error| Refusal {
                code: codes::BAD_NAME,
                what: "this is no name of an image".to_owned(),
                help: error.rule().to_owned(),
            }),
        Type::SshKey => match ssh_key::PublicKey::from_openssh(text) {
            Ok(_) => Ok(()),
            Err(error) => Err(refusal(
                format!("this is no SSH public key ({error})"),
                "write the whole line of a `.pub` file, such as \"ssh-ed25519 AAAA… name\"",
            )),
        },
        Type::Enum(values) if values.iter().any(|value| value == text) => Ok(()),
        Type::Enum(_) => Err(refusal("this is none of the permitted values", "")),
        _ => Ok(()),
    }
}

fn within(amount: u64, bounds: Bounds, show: impl Fn(i64) -> String) -> Result<(), Refusal> {
    if bounds.contain(i64::try_from(amount).unwrap_or(i64::MAX)) {
        Ok(())
    } else {
        Err(refusal(
            "this is out of bounds",
            describe_bounds(bounds, show),
        ))
    }
}

/// Host names as DNS has them (RFC 1123, section 2.1), in lower case.
fn is_domain(text: &str) -> bool {
    text.len() <= 253
        && text
            .strip_prefix("*.")
            .unwrap_or(text)
            .split('.')
            .all(|label| label.parse::<ServiceName>().is_ok())
}

fn is_email(text: &str) -> bool {
    text.split_once('@').is_some_and(|(local, domain)| {
        !local.is_empty()
            && local.len() <= 64
            && local
                .chars()
                .all(|c| c.is_ascii_alphanumeric() || "._%+-".contains(c))
            && is_domain(domain)
            && domain.contains('.')
    })
}

fn check_path(text: &str, absolute: bool) -> Result<(), Refusal> {
    let inner = if absolute {
        text.strip_prefix('/')
    } else {
        Some(text).filter(|text| !text.starts_with('/'))
    };
    let (what, help) = if absolute {
        (
            "this is no plain absolute path",
            "write it from `/` on, without `.`, `..`, `//` or a `/` at the end",
        )
    } else {
        (
            "this is no path inside its own folder",
            "write it from the module's or the image's folder on, without `.`, `..`, `//` or a `/` at either end",
        )
    };
    let normal = inner.is_some_and(|inner| {
        (absolute && inner.is_empty())
            || inner
                .split('/')
                .all(|part| !part.is_empty() && part != "." && part != "..")
    });
    if normal {
        Ok(())
    } else {
        Err(Refusal {
            code: codes::UNSAFE_PATH,
            what: what.to_owned(),
            help: help.to_owned(),
        })
    }
}

/// Names of contributions: a DNS label, with dots, underscores and slashes for files, units and kernel parameters.
fn check_name(text: &str) -> Result<(), Refusal> {
    let fine = !text.is_empty()
        && text.len() <= 200
        && text.split('/').all(|part| {
            part.starts_with(|c: char| c.is_ascii_alphanumeric())
                && part
                    .chars()
                    .all(|c| c.is_ascii_alphanumeric() || "-_.@+".contains(c))
                && !part.contains("..")
        });
    if fine {
        Ok(())
    } else {
        Err(Refusal {
            code: codes::BAD_NAME,
            what: "this is no name".to_owned(),
            help: "use letters, digits, `-`, `_` and `.`, a letter or a digit first".to_owned(),
        })
    }
}
