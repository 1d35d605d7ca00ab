//! Refuses values that would decode to other values.
//!
//! JSON, CBOR and MessagePack have one `null`, but Rust has several values for it: `None`, `Some(None)`, `()`. JSON cannot
//! express `NaN` and the infinities; serde_json writes `null` instead. Postcard does not write which fields there are.
//! Such a value would decode to another one or not at all, so encoding it is an error.

use std::fmt::Display;

use serde_core::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

use crate::coder::shape::{Kind, Shape};

/// What a format cannot write.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rules<'r> {
    /// Whether there are numbers for which the format writes `null`.
    finite: bool,
    /// Where the shape of the value is noted, for formats that do not write it. These write each `Option` as such.
    shape: Option<&'r Shape>,
}

#[cfg_attr(
    not(all(feature = "json", feature = "cbor", feature = "postcard")),
    allow(dead_code, reason = "each coder makes one of them")
)]
impl<'r> Rules<'r> {
    /// The rules of JSON.
    pub(super) const FINITE_NUMBERS: Self = Self {
        finite: true,
        shape: None,
    };

    /// The rules of formats that describe themselves and can write all numbers.
    pub(super) const ANY_NUMBER: Self = Self {
        finite: false,
        shape: None,
    };

    /// The rules of a format that does not describe itself.
    pub(super) const fn noting(shape: &'r Shape) -> Self {
        Self {
            finite: false,
            shape: Some(shape),
        }
    }

    fn check<E: Error>(self, number: f64) -> Result<(), E> {
        if self.finite && !number.is_finite() {
            return Err(E::custom(format_args!(
                "the number {number} has no encoding: encode it as an `Option` or a text, or use the coder `Cbor`"
            )));
        }
        Ok(())
    }

    fn note(self, kind: Kind) {
        if let Some(shape) = self.shape {
            shape.note(kind);
        }
    }

    fn note_name(self, index: usize, name: &str) {
        if let Some(shape) = self.shape {
            shape.note_name(index, name);
        }
    }
}

/// A value that serializes as itself, or fails if it would decode to another one.
pub(super) struct Exact<'a, 'r, T: ?Sized> {
    value: &'a T,
    rules: Rules<'r>,
    /// Whether the value is inside of a `Some`, where `null` would be read as `None`.
    in_some: bool,
}

impl<'a, 'r, T: ?Sized> Exact<'a, 'r, T> {
    pub(super) fn new(value: &'a T, rules: Rules<'r>) -> Self {
        Self {
            value,
            rules,
            in_some: false,
        }
    }
}

impl<T: Serialize + ?Sized> Serialize for Exact<'_, '_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Checked {
            inner: serializer,
            rules: self.rules,
            in_some: self.in_some,
        })
    }
}

/// A serializer that checks values before it passes them on.
struct Checked<'r, S> {
    inner: S,
    rules: Rules<'r>,
    in_some: bool,
}

impl<'r, S: Serializer> Checked<'r, S> {
    fn null(&self) -> Result<(), S::Error> {
        if self.in_some && self.rules.shape.is_none() {
            return Err(S::Error::custom(
                "a `Some` of what is written as null would be read as `None`: use an enum of your own",
            ));
        }
        Ok(())
    }

    fn exact<'a, T: ?Sized>(&self, value: &'a T, in_some: bool) -> Exact<'a, 'r, T> {
        Exact {
            value,
            rules: self.rules,
            in_some,
        }
    }
}

macro_rules! hand_on {
    ($($method:ident($type:ty): $kind:ident)*) => {$(
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.rules.note(Kind::$kind);
            self.inner.$method(value)
        }
    )*};
}

impl<'r, S: Serializer> Serializer for Checked<'r, S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = CheckedParts<'r, S::SerializeSeq>;
    type SerializeTuple = CheckedParts<'r, S::SerializeTuple>;
    type SerializeTupleStruct = CheckedParts<'r, S::SerializeTupleStruct>;
    type SerializeTupleVariant = CheckedParts<'r, S::SerializeTupleVariant>;
    type SerializeMap = CheckedParts<'r, S::SerializeMap>;
    type SerializeStruct = CheckedParts<'r, S::SerializeStruct>;
    type SerializeStructVariant = CheckedParts<'r, S::SerializeStructVariant>;

    hand_on! {
        serialize_bool(bool): Bool
        serialize_i8(i8): I8
        serialize_i16(i16): I16
        serialize_i32(i32): I32
        serialize_i64(i64): I64
        serialize_i128(i128): I128
        serialize_u8(u8): U8
        serialize_u16(u16): U16
        serialize_u32(u32): U32
        serialize_u64(u64): U64
        serialize_u128(u128): U128
        serialize_char(char): Char
        serialize_str(&str): Text
        serialize_bytes(&[u8]): Bytes
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        self.rules.check(f64::from(value))?;
        self.rules.note(Kind::F32);
        self.inner.serialize_f32(value)
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        self.rules.check(value)?;
        self.rules.note(Kind::F64);
        self.inner.serialize_f64(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.null()?;
        self.rules.note(Kind::Option);
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.rules.note(Kind::Option);
        let value = self.exact(value, true);
        self.inner.serialize_some(&value)
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.null()?;
        self.rules.note(Kind::Unit);
        self.inner.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.null()?;
        self.rules.note(Kind::UnitStruct);
        self.inner.serialize_unit_struct(name)
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        self.rules.note(Kind::UnitVariant);
        self.rules.note_name(index as usize, variant);
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
        self.rules.note(Kind::NewtypeStruct);
        let value = self.exact(value, self.in_some);
        self.inner.serialize_newtype_struct(name, &value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<S::Ok, S::Error> {
        self.rules.note(Kind::NewtypeVariant);
        self.rules.note_name(index as usize, variant);
        let value = self.exact(value, false);
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        self.rules.note(Kind::Seq);
        CheckedParts::new(self.inner.serialize_seq(len), self.rules)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        self.rules.note(Kind::Tuple(len));
        CheckedParts::new(self.inner.serialize_tuple(len), self.rules)
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        self.rules.note(Kind::TupleStruct(len));
        CheckedParts::new(self.inner.serialize_tuple_struct(name, len), self.rules)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        self.rules.note(Kind::TupleVariant(len));
        self.rules.note_name(index as usize, variant);
        let parts = self.inner.serialize_tuple_variant(name, index, variant, len);
        CheckedParts::new(parts, self.rules)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        self.rules.note(Kind::Map);
        CheckedParts::new(self.inner.serialize_map(len), self.rules)
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        self.rules.note(Kind::Struct);
        CheckedParts::new(self.inner.serialize_struct(name, len), self.rules)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        self.rules.note(Kind::StructVariant);
        self.rules.note_name(index as usize, variant);
        let parts = self.inner.serialize_struct_variant(name, index, variant, len);
        CheckedParts::new(parts, self.rules)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.rules.note(Kind::Text);
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// A compound serializer that checks each of its values.
struct CheckedParts<'r, P> {
    inner: P,
    rules: Rules<'r>,
    /// The number of named fields so far.
    fields: usize,
}

impl<'r, P> CheckedParts<'r, P> {
    fn new<E>(inner: Result<P, E>, rules: Rules<'r>) -> Result<Self, E> {
        inner.map(|inner| Self {
            inner,
            rules,
            fields: 0,
        })
    }
}

macro_rules! parts {
    ($($trait:ident: $method:ident)*) => {$(
        impl<P: $trait> $trait for CheckedParts<'_, P> {
            type Ok = P::Ok;
            type Error = P::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), P::Error> {
                self.inner.$method(&Exact::new(value, self.rules))
            }

            fn end(self) -> Result<P::Ok, P::Error> {
                self.inner.end()
            }
        }
    )*};
}

parts! {
    SerializeSeq: serialize_element
    SerializeTuple: serialize_element
    SerializeTupleStruct: serialize_field
    SerializeTupleVariant: serialize_field
}

macro_rules! named_parts {
    ($($trait:ident)*) => {$(
        impl<P: $trait> $trait for CheckedParts<'_, P> {
            type Ok = P::Ok;
            type Error = P::Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), P::Error> {
                self.rules.note_name(self.fields, name);
                self.fields += 1;
                self.inner.serialize_field(name, &Exact::new(value, self.rules))
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), P::Error> {
                if let Some(shape) = self.rules.shape {
                    shape.leave_out(name);
                    return Err(P::Error::custom("a field is left out"));
                }
                self.inner.skip_field(name)
            }

            fn end(self) -> Result<P::Ok, P::Error> {
                self.inner.end()
            }
        }
    )*};
}

named_parts! { SerializeStruct SerializeStructVariant }

impl<P: SerializeMap> SerializeMap for CheckedParts<'_, P> {
    type Ok = P::Ok;
    type Error = P::Error;

    // A key is a string in JSON, and serde_json refuses a key that it cannot write as one.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), P::Error> {
        // Its shape is noted all the same.
        match self.rules.shape {
            Some(_) => self.inner.serialize_key(&Exact::new(key, self.rules)),
            None => self.inner.serialize_key(key),
        }
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), P::Error> {
        self.inner.serialize_value(&Exact::new(value, self.rules))
    }

    fn end(self) -> Result<P::Ok, P::Error> {
        self.inner.end()
    }
}
