//! The serde side of [`super::canonical`].

use serde::Serialize;
use serde::ser::{self, Serializer};

use super::canonical::{CanonicalError, Problem};

/// The largest integer that every reader of JSON agrees on (RFC 7493, section 2.2).
const LARGEST: i128 = (1 << 53) - 1;

/// Writes one value to the end of `out`.
#[derive(Debug)]
pub(super) struct Encoder<'a> {
    out: &'a mut Vec<u8>,
}

impl<'a> Encoder<'a> {
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { out }
    }

    fn integer(self, value: i128) -> Result<(), CanonicalError> {
        if (-LARGEST..=LARGEST).contains(&value) {
            self.out.extend_from_slice(value.to_string().as_bytes());
            Ok(())
        } else {
            Err(CanonicalError::new(Problem::Integer))
        }
    }

    /// Starts `{"variant":`, for a variant that carries something; the caller closes it.
    fn variant(&mut self, variant: &str) {
        self.out.push(b'{');
        write_string(self.out, variant);
        self.out.push(b':');
    }
}

fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0x00..=0x1f => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// The elements of an array.
#[derive(Debug)]
pub(super) struct Array<'a> {
    out: &'a mut Vec<u8>,
    count: usize,
    close: &'static [u8],
}

impl Array<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        if self.count > 0 {
            self.out.push(b',');
        }
        value
            .serialize(Encoder::new(self.out))
            .map_err(|error| error.within(self.count))?;
        self.count += 1;
        Ok(())
    }

    fn close(self) {
        self.out.extend_from_slice(self.close);
    }
}

/// The members of an object, which are written when all are known, because only then their order is.
#[derive(Debug)]
pub(super) struct Object<'a> {
    out: &'a mut Vec<u8>,
    members: Vec<(String, Vec<u8>)>,
    name: Option<String>,
    close: &'static [u8],
}

impl<'a> Object<'a> {
    fn new(out: &'a mut Vec<u8>, close: &'static [u8]) -> Self {
        Self {
            out,
            members: Vec::new(),
            name: None,
            close,
        }
    }

    fn member<T: Serialize + ?Sized>(
        &mut self,
        name: String,
        value: &T,
    ) -> Result<(), CanonicalError> {
        let mut bytes = Vec::new();
        value
            .serialize(Encoder::new(&mut bytes))
            .map_err(|error| error.within(&name))?;
        self.members.push((name, bytes));
        Ok(())
    }

    fn finish(mut self) -> Result<(), CanonicalError> {
        self.members
            .sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
        self.out.push(b'{');
        let mut last: Option<&str> = None;
        for (name, value) in &self.members {
            if last == Some(name) {
                return Err(CanonicalError::new(Problem::Duplicate).within(name));
            }
            if last.is_some() {
                self.out.push(b',');
            }
            write_string(self.out, name);
            self.out.push(b':');
            self.out.extend_from_slice(value);
            last = Some(name);
        }
        self.out.extend_from_slice(self.close);
        Ok(())
    }
}

fn name_of<T: Serialize + ?Sized>(name: &T) -> Result<String, CanonicalError> {
    match serde_json::to_value(name) {
        Ok(serde_json::Value::String(name)) => Ok(name),
        Ok(serde_json::Value::Number(number)) if !number.is_f64() => Ok(number.to_string()),
        _ => Err(CanonicalError::new(Problem::Name)),
    }
}

macro_rules! integers {
    ($($method:ident $type:ty;)*) => {$(
        fn $method(self, value: $type) -> Result<(), CanonicalError> {
            self.integer(i128::from(value))
        }
    )*};
}

impl<'a> Serializer for Encoder<'a> {
    type Ok = ();
    type Error = CanonicalError;
    type SerializeSeq = Array<'a>;
    type SerializeTuple = Array<'a>;
    type SerializeTupleStruct = Array<'a>;
    type SerializeTupleVariant = Array<'a>;
    type SerializeMap = Object<'a>;
    type SerializeStruct = Object<'a>;
    type SerializeStructVariant = Object<'a>;

    integers! {
        serialize_i8 i8; serialize_i16 i16; serialize_i32 i32; serialize_i64 i64; serialize_i128 i128;
        serialize_u8 u8; serialize_u16 u16; serialize_u32 u32; serialize_u64 u64;
    }

    fn serialize_u128(self, value: u128) -> Result<(), CanonicalError> {
        match i128::try_from(value) {
            Ok(value) => self.integer(value),
            Err(_) => Err(CanonicalError::new(Problem::Integer)),
        }
    }

    fn serialize_f32(self, _: f32) -> Result<(), CanonicalError> {
        Err(CanonicalError::new(Problem::Float))
    }

    fn serialize_f64(self, _: f64) -> Result<(), CanonicalError> {
        Err(CanonicalError::new(Problem::Float))
    }

    fn serialize_bool(self, value: bool) -> Result<(), CanonicalError> {
        self.out
            .extend_from_slice(if value { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_char(self, value: char) -> Result<(), CanonicalError> {
        self.serialize_str(value.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, value: &str) -> Result<(), CanonicalError> {
        write_string(self.out, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), CanonicalError> {
        self.collect_seq(value)
    }

    fn serialize_none(self) -> Result<(), CanonicalError> {
        self.serialize_unit()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), CanonicalError> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), CanonicalError> {
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Result<(), CanonicalError> {
        self.serialize_unit()
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), CanonicalError> {
        self.serialize_str(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), CanonicalError> {
        self.variant(variant);
        value
            .serialize(Encoder::new(self.out))
            .map_err(|error| error.within(variant))?;
        self.out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Array<'a>, CanonicalError> {
        self.out.push(b'[');
        Ok(Array {
            out: self.out,
            count: 0,
            close: b"]",
        })
    }

    fn serialize_tuple(self, len: usize) -> Result<Array<'a>, CanonicalError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        len: usize,
    ) -> Result<Array<'a>, CanonicalError> {
        self.serialize_seq(Some(len))
    }

    fn serialize_tuple_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Array<'a>, CanonicalError> {
        self.variant(variant);
        self.out.push(b'[');
        Ok(Array {
            out: self.out,
            count: 0,
            close: b"]}",
        })
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Object<'a>, CanonicalError> {
        Ok(Object::new(self.out, b"}"))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Object<'a>, CanonicalError> {
        Ok(Object::new(self.out, b"}"))
    }

    fn serialize_struct_variant(
        mut self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Object<'a>, CanonicalError> {
        self.variant(variant);
        Ok(Object::new(self.out, b"}}"))
    }
}

macro_rules! arrays {
    ($($trait:ident $method:ident;)*) => {$(
        impl ser::$trait for Array<'_> {
            type Ok = ();
            type Error = CanonicalError;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
                self.element(value)
            }

            fn end(self) -> Result<(), CanonicalError> {
                self.close();
                Ok(())
            }
        }
    )*};
}

arrays! {
    SerializeSeq serialize_element;
    SerializeTuple serialize_element;
    SerializeTupleStruct serialize_field;
    SerializeTupleVariant serialize_field;
}

impl ser::SerializeMap for Object<'_> {
    type Ok = ();
    type Error = CanonicalError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), CanonicalError> {
        self.name = Some(name_of(name)?);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), CanonicalError> {
        let name = self
            .name
            .take()
            .ok_or_else(|| CanonicalError::new(Problem::Name))?;
        self.member(name, value)
    }

    fn end(self) -> Result<(), CanonicalError> {
        self.finish()
    }
}

macro_rules! objects {
    ($($trait:ident)*) => {$(
        impl ser::$trait for Object<'_> {
            type Ok = ();
            type Error = CanonicalError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), CanonicalError> {
                self.member(name.to_owned(), value)
            }

            fn end(self) -> Result<(), CanonicalError> {
                self.finish()
            }
        }
    )*};
}

objects! { SerializeStruct SerializeStructVariant }
