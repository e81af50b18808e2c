//! Fields and their types as JSON Schema.

use serde_json::{Map, Value as Json, json};

use crate::pure::config::field::{Bounds, Field, Fields, Presence, Type};
use crate::pure::config::reference::bounds;

/// How the fields of a table are taken at its place.
#[derive(Clone, Copy, Debug)]
pub(super) struct Mode {
    /// Text with a template may stand for a value of any type.
    pub templates: bool,
    /// The table is laid over another one, so nothing is required here.
    pub partial: bool,
}

impl Mode {
    pub(super) const STRICT: Self = Self {
        templates: false,
        partial: false,
    };
    pub(super) const PARTIAL: Self = Self {
        templates: false,
        partial: true,
    };
    pub(super) const CONTRIBUTION: Self = Self {
        templates: true,
        partial: false,
    };
    pub(super) const OVERRIDE: Self = Self {
        templates: true,
        partial: true,
    };
}

/// Sets a key of what is an object by construction.
pub(super) fn set(object: &mut Json, key: &str, value: Json) {
    if let Json::Object(map) = object {
        map.insert(key.to_owned(), value);
    }
}

/// A table that takes these keys and no others.
pub(super) fn closed(properties: Json, required: &[&str]) -> Json {
    let mut schema = json!({
        "type": "object",
        "properties": properties,
        "additionalProperties": false,
    });
    if !required.is_empty() {
        set(&mut schema, "required", json!(required));
    }
    schema
}

/// Writes types; an image is one of `images`.
#[derive(Debug)]
pub(super) struct Types<'a> {
    pub images: Vec<&'a str>,
}

impl Types<'_> {
    pub(super) fn table(&self, fields: &Fields, mode: Mode) -> Json {
        let properties: Map<String, Json> = fields
            .iter()
            .map(|field| (field.name.clone(), self.field(field, mode)))
            .collect();
        let required: Vec<&str> = fields
            .iter()
            .filter(|field| !mode.partial && matches!(field.presence, Presence::Required))
            .map(|field| field.name.as_str())
            .collect();
        closed(Json::Object(properties), &required)
    }

    pub(super) fn field(&self, field: &Field, mode: Mode) -> Json {
        let mut schema = self.of_type(&field.ty, mode);
        let bounds = match field.ty {
            // JSON Schema has no words for these bounds.
            Type::Size(_) | Type::Duration(_) => bounds(&field.ty),
            _ => String::new(),
        };
        let doc = match bounds.as_str() {
            "" => field.doc.clone(),
            bounds => format!("{} ({bounds})", field.doc),
        };
        set(&mut schema, "description", doc.into());
        if let Presence::Default(value) = &field.presence {
            set(&mut schema, "default", without_null(value.to_json()));
        }
        schema
    }

    pub(super) fn of_type(&self, ty: &Type, mode: Mode) -> Json {
        let plain = self.plain(ty, mode);
        let any_text = plain == json!({ "type": "string" });
        if mode.templates && !any_text {
            json!({ "anyOf": [plain, { "$ref": "#/$defs/template" }] })
        } else {
            plain
        }
    }

    fn plain(&self, ty: &Type, mode: Mode) -> Json {
        match ty {
            Type::String {
                pattern: Some(pattern),
            } if is_portable(pattern.as_str()) => text(pattern.as_str()),
            Type::String { .. } | Type::Text => json!({ "type": "string" }),
            Type::Bool => json!({ "type": "boolean" }),
            Type::Int(bounds) => {
                bounded(json!({ "type": "integer" }), *bounds, "minimum", "maximum")
            }
            Type::Port => json!({ "type": "integer", "minimum": 1, "maximum": 65_535 }),
            Type::Size(_) => text("^[0-9]+([KMGT]i)?B$"),
            Type::Duration(_) => text("^(?=.)([0-9]+d)?([0-9]+h)?([0-9]+m)?([0-9]+s)?([0-9]+ms)?$"),
            Type::Domain => {
                text(r"^(\*\.)?[a-z0-9]([a-z0-9-]*[a-z0-9])?(\.[a-z0-9]([a-z0-9-]*[a-z0-9])?)*$")
            }
            Type::Email => text(r"^[A-Za-z0-9._%+-]+@[a-z0-9-]+(\.[a-z0-9-]+)+$"),
            Type::Cidr => text("^[0-9A-Fa-f:.]+(/[0-9]{1,3})?$"),
            Type::Path => text(r"^/$|^(/(?!\.{1,2}(/|$))[^/]+)+$"),
            Type::LocalPath => text(r"^(?!\.{1,2}(/|$))[^/]+(/(?!\.{1,2}(/|$))[^/]+)*$"),
            Type::Name | Type::Ref(_) => {
                text("^[A-Za-z0-9][A-Za-z0-9._@-]*(/[A-Za-z0-9][A-Za-z0-9._@-]*)*$")
            }
            Type::SshKey => text("^[a-z0-9@.-]+ [A-Za-z0-9+/=]+( .*)?$"),
            Type::Enum(values) => json!({ "enum": values }),
            Type::Image => {
                json!({ "enum": self.images })
            }
            Type::List { of, count } => {
                // A list is never merged with another one, so what is in it is whole.
                let inner = Mode {
                    partial: false,
                    ..mode
                };
                let list = json!({ "type": "array", "items": self.of_type(of, inner) });

                bounded(list, *count, "minItems", "maxItems")
            }
            Type::Map(of) => json!({
                "type": "object",
                "additionalProperties": self.of_type(of, mode),
            }),
            Type::Table(fields) => self.table(fields, mode),
        }
    }
}

fn text(pattern: &str) -> Json {
    json!({ "type": "string", "pattern": pattern })
}

/// Whether a pattern means the same to JSON Schema, whose regular expressions are those of ECMA-262.
fn is_portable(pattern: &str) -> bool {
    let own = [
        "(?", "[:", r"\A", r"\z", r"\x{", r"\u{", r"\U", "&&", "--", "~~",
    ];
    !own.iter().any(|form| pattern.contains(form))
}

fn bounded(mut schema: Json, bounds: Bounds, min: &str, max: &str) -> Json {
    let Bounds {
        min: low,
        max: high,
    } = bounds;
    if let Some(low) = low {
        set(&mut schema, min, low.into());
    }
    if let Some(high) = high {
        set(&mut schema, max, high.into());
    }
    schema
}

fn without_null(value: Json) -> Json {
    match value {
        Json::Object(map) => map
            .into_iter()
            .filter(|(_, value)| !value.is_null())
            .map(|(key, value)| (key, without_null(value)))
            .collect(),
        Json::Array(items) => items.into_iter().map(without_null).collect(),
        other => other,
    }
}

/// What a table of these fields must have when it is whole: nothing but `required`, at every depth. Lists have it already.
pub(super) fn requirements(fields: &Fields) -> Option<Json> {
    let required: Vec<&str> = fields
        .iter()
        .filter(|field| matches!(field.presence, Presence::Required))
        .map(|field| field.name.as_str())
        .collect();
    let inner: Map<String, Json> = fields
        .iter()
        .filter_map(|field| Some((field.name.clone(), inner_requirements(&field.ty)?)))
        .collect();
    if required.is_empty() && inner.is_empty() {
        return None;
    }
    let mut schema = json!({});
    if !required.is_empty() {
        set(&mut schema, "required", json!(required));
    }
    if !inner.is_empty() {
        set(&mut schema, "properties", Json::Object(inner));
    }
    Some(schema)
}

fn inner_requirements(ty: &Type) -> Option<Json> {
    match ty {
        Type::Table(fields) => requirements(fields),
        Type::Map(of) => Some(json!({ "additionalProperties": inner_requirements(of)? })),
        _ => None,
    }
}
