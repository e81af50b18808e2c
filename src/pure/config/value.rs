//! A checked value: what [`super::decode`] makes of a node and a declared type.

use std::collections::BTreeMap;

use crate::pure::text::Span;

/// Checked data and the place that it came from: where a person wrote it, or the default in a module.
#[derive(Clone, Debug)]
pub struct Value {
    pub at: Span,
    pub data: Data,
}

#[derive(Clone, Debug)]
pub enum Data {
    /// An optional field that was not given.
    Null,
    Bool(bool),
    Int(i64),
    Str(String),
    List(Vec<Value>),
    Map(BTreeMap<String, Value>),
}

impl Value {
    pub fn new(at: Span, data: Data) -> Self {
        Self { at, data }
    }

    pub fn get(&self, key: &str) -> Option<&Value> {
        match &self.data {
            Data::Map(map) => map.get(key).filter(|value| !value.is_null()),
            _ => None,
        }
    }

    pub fn is_null(&self) -> bool {
        matches!(self.data, Data::Null)
    }

    pub fn as_str(&self) -> Option<&str> {
        match &self.data {
            Data::Str(text) => Some(text),
            _ => None,
        }
    }

    pub fn as_int(&self) -> Option<i64> {
        match self.data {
            Data::Int(number) => Some(number),
            _ => None,
        }
    }

    pub fn as_bool(&self) -> Option<bool> {
        match self.data {
            Data::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// The items of a list; nothing for anything else.
    pub fn items(&self) -> &[Value] {
        match &self.data {
            Data::List(items) => items,
            _ => &[],
        }
    }

    pub fn as_map(&self) -> Option<&BTreeMap<String, Value>> {
        match &self.data {
            Data::Map(map) => Some(map),
            _ => None,
        }
    }

    /// The text at a key, if there is one.
    pub fn str(&self, key: &str) -> Option<&str> {
        self.get(key).and_then(Value::as_str)
    }

    /// The truth at a key; absent is false.
    pub fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    /// The items of the list at a key; absent is none.
    pub fn list(&self, key: &str) -> &[Value] {
        self.get(key).map_or(&[], Value::items)
    }

    pub fn to_json(&self) -> serde_json::Value {
        use serde_json::Value as Json;
        match &self.data {
            Data::Null => Json::Null,
            Data::Bool(value) => Json::Bool(*value),
            Data::Int(number) => Json::from(*number),
            Data::Str(text) => Json::String(text.clone()),
            Data::List(items) => Json::Array(items.iter().map(Value::to_json).collect()),
            Data::Map(map) => Json::Object(
                map.iter()
                    .map(|(key, value)| (key.clone(), value.to_json()))
                    .collect(),
            ),
        }
    }
}
