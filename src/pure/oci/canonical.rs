//! Canonical JSON: one value, one sequence of bytes.
//!
//! The encoding is RFC 8785 (JSON Canonicalization Scheme), restricted to integers. No white space; the members of an object
//! in the order of their names as UTF-16 (RFC 8785, section 3.2.3); strings with the shortest escapes, everything from U+0020
//! upwards but `"` and `\` literal (section 3.2.2.2). What JSON implementations disagree on is refused and not guessed at:
//! floating-point numbers, integers beyond ±(2⁵³−1), an object with two members of one name, a name that is no string.
//!
//! Why not `serde_json::to_vec`: it writes the members of a struct in the order of their declaration and those of a
//! `HashMap` in no order at all, and turns a NaN silently into `null`. Renaming or moving a field must be a decision about a format.

use std::fmt;

use serde::Serialize;

use super::encoder::Encoder;

/// A value that canonical JSON cannot hold, and where in the value it is.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("canonical JSON cannot hold the value at `{pointer}`: {problem}")]
pub struct CanonicalError {
    pointer: String,
    problem: Problem,
}

/// What is wrong with a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Problem {
    #[error("it is a floating-point number; use an integer or a string")]
    Float,
    #[error("the integer is outside of ±9007199254740991; use a string")]
    Integer,
    #[error("a member's name is neither a string nor an integer")]
    Name,
    #[error("there are two members of this name")]
    Duplicate,
    #[error("{0}")]
    Custom(String),
}

impl CanonicalError {
    pub(super) fn new(problem: Problem) -> Self {
        Self {
            pointer: String::new(),
            problem,
        }
    }

    /// The same problem, seen from one level further out.
    pub(super) fn within(mut self, step: impl fmt::Display) -> Self {
        // RFC 6901, section 3.
        let step = step.to_string().replace('~', "~0").replace('/', "~1");
        self.pointer = format!("/{step}{}", self.pointer);
        self
    }

    /// Where the value is, as a JSON pointer (RFC 6901); empty for the whole value.
    pub fn pointer(&self) -> &str {
        &self.pointer
    }

    /// What is wrong with it.
    pub fn problem(&self) -> &Problem {
        &self.problem
    }
}

impl serde::ser::Error for CanonicalError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(Problem::Custom(message.to_string()))
    }
}

/// The canonical encoding of a value, with no newline at the end.
///
/// Guarantee: equal values give equal bytes, on every machine, whatever the order of their fields or of their hash maps.
/// Encoding what the bytes decode to gives the same bytes.
pub fn to_vec<T: Serialize + ?Sized>(value: &T) -> Result<Vec<u8>, CanonicalError> {
    let mut out = Vec::new();
    value.serialize(Encoder::new(&mut out))?;
    Ok(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use std::collections::{BTreeMap, HashMap};

    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    fn text(value: &impl Serialize) -> String {
        String::from_utf8(to_vec(value).unwrap()).unwrap()
    }

    #[test]
    fn follows_the_examples_of_the_rfc() {
        // RFC 8785, section 3.2.3: the order is that of UTF-16 units, which differs from that of bytes at the emoji.
        let value = json!({
            "\u{20ac}": "Euro Sign", "\r": "Carriage Return", "\u{fb33}": "Hebrew Letter Dalet With Dagesh", "1": "One",
            "\u{1f600}": "Emoji: Grinning Face", "\u{80}": "Control", "\u{f6}": "Latin Small Letter O With Diaeresis",
        });
        let keys: Vec<_> = text(&value)
            .split(',')
            .map(|member| {
                member
                    .split(':')
                    .nth(1)
                    .unwrap()
                    .trim_matches(['"', '}'])
                    .to_owned()
            })
            .collect();
        assert_eq!(
            keys,
            [
                "Carriage Return",
                "One",
                "Control",
                "Latin Small Letter O With Diaeresis",
                "Euro Sign",
                "Emoji",
                "Hebrew Letter Dalet With Dagesh"
            ]
        );
        // Section 3.2.2.2.
        assert_eq!(
            text(&"\u{20ac}$\u{f}\nA'B\"\\\\\"/\u{8}\t\u{c}\r\u{7f}\u{2028}"),
            "\"\u{20ac}$\\u000f\\nA'B\\\"\\\\\\\\\\\"/\\b\\t\\f\\r\u{7f}\u{2028}\""
        );
    }

    #[test]
    fn the_order_of_fields_and_of_hash_maps_is_lost() {
        #[derive(Serialize)]
        struct Back {
            z: u8,
            a: Option<&'static str>,
            m: HashMap<u16, (bool, char)>,
        }
        #[derive(Serialize)]
        enum Kind {
            Unit,
            New(i8),
            Tuple(i8, i8),
            Struct { b: (), a: [u8; 0] },
        }
        let value = Back {
            z: 1,
            a: None,
            m: (8..=12).map(|n| (n, (true, 'x'))).collect(),
        };
        assert_eq!(
            text(&value),
            r#"{"a":null,"m":{"10":[true,"x"],"11":[true,"x"],"12":[true,"x"],"8":[true,"x"],"9":[true,"x"]},"z":1}"#
        );
        assert_eq!(
            text(&[
                Kind::Unit,
                Kind::New(-1),
                Kind::Tuple(1, 2),
                Kind::Struct { b: (), a: [] }
            ]),
            r#"["Unit",{"New":-1},{"Tuple":[1,2]},{"Struct":{"a":[],"b":null}}]"#
        );
    }

    #[test]
    fn refuses_what_readers_disagree_on_and_says_where() {
        let error = to_vec(&json!({"limits": [{"cp/us": 0.5}]})).unwrap_err();
        assert_eq!(error.pointer(), "/limits/0/cp~1us");
        assert_eq!(error.problem(), &Problem::Float);
        assert_eq!(to_vec(&f64::NAN).unwrap_err().problem(), &Problem::Float);
        assert_eq!(to_vec(&1.0f32).unwrap_err().problem(), &Problem::Float);

        let most = (1i64 << 53) - 1;
        assert_eq!(text(&[most, -most]), "[9007199254740991,-9007199254740991]");
        for beyond in [json!(most + 1), json!(-most - 1), json!(u64::MAX)] {
            assert_eq!(to_vec(&beyond).unwrap_err().problem(), &Problem::Integer);
        }
        assert_eq!(to_vec(&u128::MAX).unwrap_err().problem(), &Problem::Integer);

        let names = BTreeMap::from([(vec![1], 1)]);
        assert_eq!(to_vec(&names).unwrap_err().problem(), &Problem::Name);

        #[derive(Serialize)]
        struct Twice {
            a: u8,
            #[serde(flatten)]
            rest: BTreeMap<&'static str, u8>,
        }
        let error = to_vec(&Twice {
            a: 1,
            rest: BTreeMap::from([("a", 2)]),
        })
        .unwrap_err();
        assert_eq!(
            (error.pointer(), error.problem()),
            ("/a", &Problem::Duplicate)
        );
    }

    fn values() -> impl Strategy<Value = Value> {
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            (-(1i64 << 53) + 1..(1 << 53)).prop_map(Value::from),
            any::<String>().prop_map(Value::from),
        ];
        leaf.prop_recursive(4, 48, 6, |inner| {
            prop_oneof![
                prop::collection::vec(inner.clone(), 0..6).prop_map(Value::from),
                prop::collection::vec((any::<String>(), inner), 0..6)
                    .prop_map(|members| Value::Object(members.into_iter().collect())),
            ]
        })
    }

    /// True if every object in the text has its members in the order of UTF-16, found by an independent reading.
    fn is_sorted(bytes: &[u8]) -> bool {
        struct Ordered(bool);
        impl<'de> serde::Deserialize<'de> for Ordered {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visit;
                impl<'de> serde::de::Visitor<'de> for Visit {
                    type Value = Ordered;
                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str("JSON")
                    }
                    fn visit_unit<E>(self) -> Result<Ordered, E> {
                        Ok(Ordered(true))
                    }
                    fn visit_bool<E>(self, _: bool) -> Result<Ordered, E> {
                        Ok(Ordered(true))
                    }
                    fn visit_i64<E>(self, _: i64) -> Result<Ordered, E> {
                        Ok(Ordered(true))
                    }
                    fn visit_u64<E>(self, _: u64) -> Result<Ordered, E> {
                        Ok(Ordered(true))
                    }
                    fn visit_str<E>(self, _: &str) -> Result<Ordered, E> {
                        Ok(Ordered(true))
                    }
                    fn visit_seq<A: serde::de::SeqAccess<'de>>(
                        self,
                        mut seq: A,
                    ) -> Result<Ordered, A::Error> {
                        let mut good = true;
                        while let Some(Ordered(inner)) = seq.next_element()? {
                            good &= inner;
                        }
                        Ok(Ordered(good))
                    }
                    fn visit_map<A: serde::de::MapAccess<'de>>(
                        self,
                        mut map: A,
                    ) -> Result<Ordered, A::Error> {
                        let (mut good, mut last) = (true, None);
                        while let Some((name, Ordered(inner))) =
                            map.next_entry::<String, Ordered>()?
                        {
                            let name: Vec<u16> = name.encode_utf16().collect();
                            good &= inner && last.as_ref().is_none_or(|last| *last < name);
                            last = Some(name);
                        }
                        Ok(Ordered(good))
                    }
                }
                deserializer.deserialize_any(Visit)
            }
        }
        serde_json::from_slice::<Ordered>(bytes).is_ok_and(|Ordered(good)| good)
    }

    proptest! {
        #[test]
        fn decodes_to_what_was_encoded_and_is_sorted(value in values()) {
            let bytes = to_vec(&value).unwrap();
            let back: Value = serde_json::from_slice(&bytes).unwrap();
            prop_assert_eq!(&back, &value);
            prop_assert_eq!(to_vec(&back).unwrap(), bytes.clone());
            prop_assert!(is_sorted(&bytes));
        }

        #[test]
        fn strings_are_escaped_as_serde_json_escapes_them(value in any::<String>()) {
            prop_assert_eq!(to_vec(&value).unwrap(), serde_json::to_vec(&value).unwrap());
        }
    }
}
