//! The language in which options and kinds are declared, as JSON Schema.

use serde_json::{Map, Value as Json, json};

use super::SNAKE;
use super::types::{closed, set};
use crate::pure::config::declaration::{DECLARATION_KEYS, WORDS, only_for};

/// A table of declarations.
pub(super) fn declarations(description: &str) -> Json {
    json!({
        "type": "object",
        "description": description,
        "propertyNames": { "pattern": SNAKE },
        "additionalProperties": { "$ref": "#/$defs/declaration" },
    })
}

/// The keys that a type cannot do without.
const NEEDED: [(&str, &str); 5] = [
    ("enum", "values"),
    ("list", "of"),
    ("map", "of"),
    ("ref", "to"),
    ("table", "fields"),
];

/// `{ type = "int", min = 1 }`: the language of options and fields.
pub(super) fn type_declaration() -> Json {
    let amount = |what: &str| json!({ "type": ["integer", "string"], "description": what });
    let properties: Map<String, Json> = DECLARATION_KEYS
        .iter()
        .map(|key| {
            let schema = match *key {
                "type" => json!({ "enum": WORDS, "description": "Type of the value" }),
                "doc" => json!({ "type": "string", "description": "What it is for, in one line" }),
                "default" => json!({ "description": "Value where none is given" }),
                "optional" => json!({ "type": "boolean", "default": false, "description": "May be absent, which templates see as null" }),
                "min" => amount("Least value, or fewest items; sizes and durations in quotes"),
                "max" => amount("Greatest value, or most items; sizes and durations in quotes"),
                "pattern" => json!({ "type": "string", "format": "regex", "description": "Regular expression that the text matches" }),
                "values" => json!({ "type": "array", "items": { "type": "string" }, "minItems": 1, "description": "The permitted words" }),
                "of" => {
                    let alone: Vec<&&str> = WORDS.iter().filter(|word| NEEDED.iter().all(|(needs, _)| needs != *word)).collect();
                    json!({ "anyOf": [{ "enum": alone }, { "$ref": "#/$defs/type" }], "description": "Type of each item" })
                }
                "to" => json!({ "type": "string", "pattern": SNAKE, "description": "Kind of the contribution that is named" }),
                "fields" => declarations("The keys of the table"),
                _ => json!({ "description": "An example for the reference" }),
            };
            ((*key).to_owned(), schema)
        })
        .collect();
    let mut rules: Vec<Json> = NEEDED
        .iter()
        .map(|(word, key)| {
            json!({
                "if": { "properties": { "type": { "const": word } }, "required": ["type"] },
                "then": { "required": [key] },
            })
        })
        .collect();
    rules.extend(DECLARATION_KEYS.iter().filter_map(|key| {
        let words = only_for(key)?;
        let mut forbidden = json!({});
        set(&mut forbidden, key, false.into());
        Some(json!({
            "if": { "not": { "properties": { "type": { "enum": words } } } },
            "then": { "properties": forbidden },
        }))
    }));
    rules.push(json!({
        "not": { "properties": { "optional": { "const": true } }, "required": ["optional", "default"] },
    }));
    let mut schema = closed(Json::Object(properties), &["type"]);
    set(&mut schema, "allOf", rules.into());
    schema
}
