//! `when`: paths, `not`, comparison with a text, joined by `and`.

use serde_json::Value as Json;

use crate::pure::template::{look_up, split_path};

/// Why a condition has no answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum ConditionError {
    Form(String),
    /// The path that leads nowhere.
    Undefined(String),
}

pub(super) fn holds(condition: &str, data: &Json) -> Result<bool, ConditionError> {
    let mut all = true;
    // Every part is evaluated, so that a misspelt name is found however the first part turns out.
    for part in condition.split(" and ") {
        all &= part_holds(part.trim(), data)?;
    }
    Ok(all)
}

fn part_holds(part: &str, data: &Json) -> Result<bool, ConditionError> {
    if let Some(rest) = part.strip_prefix("not ") {
        return part_holds(rest.trim(), data).map(|value| !value);
    }
    let (path, comparison) = match (part.split_once("!="), part.split_once("==")) {
        (Some((path, text)), _) => (path.trim(), Some((text.trim(), false))),
        (None, Some((path, text))) => (path.trim(), Some((text.trim(), true))),
        (None, None) => (part, None),
    };
    let names = split_path(path).ok_or_else(|| ConditionError::Form(path.to_owned()))?;
    let value = look_up(data, &names).map_err(|_| ConditionError::Undefined(path.to_owned()))?;
    match comparison {
        None => Ok(is_true(value)),
        Some((text, wanted)) => {
            let unquoted = ['\'', '"']
                .iter()
                .find_map(|quote| text.strip_prefix(*quote)?.strip_suffix(*quote))
                .ok_or_else(|| ConditionError::Form(text.to_owned()))?;
            let equal = match value {
                Json::String(value) => value == unquoted,
                other => *other.to_string() == *unquoted,
            };
            Ok(equal == wanted)
        }
    }
}

fn is_true(value: &Json) -> bool {
    match value {
        Json::Null => false,
        Json::Bool(value) => *value,
        Json::Number(number) => number.as_i64() != Some(0),
        Json::String(text) => !text.is_empty(),
        Json::Array(items) => !items.is_empty(),
        Json::Object(map) => !map.is_empty(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers() {
        let data = serde_json::json!({"options": {"tls": true, "mode": "a b", "n": 0, "l": []}, "modules": {"node-exporter": true}});
        for (condition, wanted) in [
            ("options.tls", true),
            ("not options.tls", false),
            ("options.mode == 'a b'", true),
            ("options.mode != 'a b'", false),
            ("options.n", false),
            ("options.l", false),
            ("options.tls and not options.n", true),
            ("modules.[node-exporter]", true),
            ("modules.node-exporter == 'true'", true),
        ] {
            assert_eq!(holds(condition, &data), Ok(wanted), "{condition}");
        }
        assert!(matches!(
            holds("options.tlss", &data),
            Err(ConditionError::Undefined(_))
        ));
        assert!(matches!(
            holds("options.tls or options.n", &data),
            Err(ConditionError::Form(_))
        ));
        assert!(matches!(
            holds("options.mode == x", &data),
            Err(ConditionError::Form(_))
        ));
    }
}
