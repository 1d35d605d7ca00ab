//! Refuses values that would decode to other values.
//!
//! JSON and CBOR have one `null`, but Rust has several values for it: `None`, `Some(None)`, `()`. JSON cannot express
//! `NaN` and the infinities; serde_json writes `null` instead. Such a value would decode to another one or not at all,
//! so encoding it is an error.

use std::fmt::Display;

use serde_core::ser::{
    Error, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple,
    SerializeTupleStruct, SerializeTupleVariant, Serializer,
};

/// Which numbers a format can write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(
    not(all(feature = "json", feature = "cbor")),
    expect(dead_code, reason = "each coder makes one of them")
)]
pub(super) enum Numbers {
    /// Finite numbers only.
    Finite,
    /// All numbers.
    Any,
}

impl Numbers {
    fn check<E: Error>(self, number: f64) -> Result<(), E> {
        match self {
            Self::Finite if !number.is_finite() => Err(E::custom(format_args!(
                "the number {number} has no encoding: encode it as an `Option` or a text, or use the coder `Cbor`"
            ))),
            _ => Ok(()),
        }
    }
}

/// A value that serializes as itself, or fails if it would decode to another one.
pub(super) struct Exact<'a, T: ?Sized> {
    value: &'a T,
    numbers: Numbers,
    /// Whether the value is inside of a `Some`, where `null` would be read as `None`.
    in_some: bool,
}

impl<'a, T: ?Sized> Exact<'a, T> {
    pub(super) fn new(value: &'a T, numbers: Numbers) -> Self {
        Self {
            value,
            numbers,
            in_some: false,
        }
    }
}

impl<T: Serialize + ?Sized> Serialize for Exact<'_, T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.value.serialize(Checked {
            inner: serializer,
            numbers: self.numbers,
            in_some: self.in_some,
        })
    }
}

/// A serializer that checks values before it passes them on.
struct Checked<S> {
    inner: S,
    numbers: Numbers,
    in_some: bool,
}

impl<S: Serializer> Checked<S> {
    fn null(&self) -> Result<(), S::Error> {
        if self.in_some {
            return Err(S::Error::custom(
                "a `Some` of what is written as null would be read as `None`: use an enum of your own",
            ));
        }
        Ok(())
    }

    fn exact<'a, T: ?Sized>(&self, value: &'a T, in_some: bool) -> Exact<'a, T> {
        Exact {
            value,
            numbers: self.numbers,
            in_some,
        }
    }
}

macro_rules! hand_on {
    ($($method:ident($type:ty))*) => {$(
        fn $method(self, value: $type) -> Result<S::Ok, S::Error> {
            self.inner.$method(value)
        }
    )*};
}

impl<S: Serializer> Serializer for Checked<S> {
    type Ok = S::Ok;
    type Error = S::Error;
    type SerializeSeq = CheckedParts<S::SerializeSeq>;
    type SerializeTuple = CheckedParts<S::SerializeTuple>;
    type SerializeTupleStruct = CheckedParts<S::SerializeTupleStruct>;
    type SerializeTupleVariant = CheckedParts<S::SerializeTupleVariant>;
    type SerializeMap = CheckedParts<S::SerializeMap>;
    type SerializeStruct = CheckedParts<S::SerializeStruct>;
    type SerializeStructVariant = CheckedParts<S::SerializeStructVariant>;

    hand_on! {
        serialize_bool(bool)
        serialize_i8(i8)
        serialize_i16(i16)
        serialize_i32(i32)
        serialize_i64(i64)
        serialize_i128(i128)
        serialize_u8(u8)
        serialize_u16(u16)
        serialize_u32(u32)
        serialize_u64(u64)
        serialize_u128(u128)
        serialize_char(char)
        serialize_str(&str)
        serialize_bytes(&[u8])
    }

    fn serialize_f32(self, value: f32) -> Result<S::Ok, S::Error> {
        self.numbers.check(f64::from(value))?;
        self.inner.serialize_f32(value)
    }

    fn serialize_f64(self, value: f64) -> Result<S::Ok, S::Error> {
        self.numbers.check(value)?;
        self.inner.serialize_f64(value)
    }

    fn serialize_none(self) -> Result<S::Ok, S::Error> {
        self.null()?;
        self.inner.serialize_none()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        let value = self.exact(value, true);
        self.inner.serialize_some(&value)
    }

    fn serialize_unit(self) -> Result<S::Ok, S::Error> {
        self.null()?;
        self.inner.serialize_unit()
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<S::Ok, S::Error> {
        self.null()?;
        self.inner.serialize_unit_struct(name)
    }

    fn serialize_unit_variant(self, name: &'static str, index: u32, variant: &'static str) -> Result<S::Ok, S::Error> {
        self.inner.serialize_unit_variant(name, index, variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<S::Ok, S::Error> {
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
        let value = self.exact(value, false);
        self.inner.serialize_newtype_variant(name, index, variant, &value)
    }

    fn serialize_seq(self, len: Option<usize>) -> Result<Self::SerializeSeq, S::Error> {
        CheckedParts::new(self.inner.serialize_seq(len), self.numbers)
    }

    fn serialize_tuple(self, len: usize) -> Result<Self::SerializeTuple, S::Error> {
        CheckedParts::new(self.inner.serialize_tuple(len), self.numbers)
    }

    fn serialize_tuple_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeTupleStruct, S::Error> {
        CheckedParts::new(self.inner.serialize_tuple_struct(name, len), self.numbers)
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeTupleVariant, S::Error> {
        let parts = self.inner.serialize_tuple_variant(name, index, variant, len);
        CheckedParts::new(parts, self.numbers)
    }

    fn serialize_map(self, len: Option<usize>) -> Result<Self::SerializeMap, S::Error> {
        CheckedParts::new(self.inner.serialize_map(len), self.numbers)
    }

    fn serialize_struct(self, name: &'static str, len: usize) -> Result<Self::SerializeStruct, S::Error> {
        CheckedParts::new(self.inner.serialize_struct(name, len), self.numbers)
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        len: usize,
    ) -> Result<Self::SerializeStructVariant, S::Error> {
        let parts = self.inner.serialize_struct_variant(name, index, variant, len);
        CheckedParts::new(parts, self.numbers)
    }

    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<S::Ok, S::Error> {
        self.inner.collect_str(value)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

/// A compound serializer that checks each of its values.
struct CheckedParts<P> {
    inner: P,
    numbers: Numbers,
}

impl<P> CheckedParts<P> {
    fn new<E>(inner: Result<P, E>, numbers: Numbers) -> Result<Self, E> {
        inner.map(|inner| Self { inner, numbers })
    }
}

macro_rules! parts {
    ($($trait:ident: $method:ident)*) => {$(
        impl<P: $trait> $trait for CheckedParts<P> {
            type Ok = P::Ok;
            type Error = P::Error;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), P::Error> {
                self.inner.$method(&Exact::new(value, self.numbers))
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
        impl<P: $trait> $trait for CheckedParts<P> {
            type Ok = P::Ok;
            type Error = P::Error;

            fn serialize_field<T: Serialize + ?Sized>(&mut self, name: &'static str, value: &T) -> Result<(), P::Error> {
                self.inner.serialize_field(name, &Exact::new(value, self.numbers))
            }

            fn skip_field(&mut self, name: &'static str) -> Result<(), P::Error> {
                self.inner.skip_field(name)
            }

            fn end(self) -> Result<P::Ok, P::Error> {
                self.inner.end()
            }
        }
    )*};
}

named_parts! { SerializeStruct SerializeStructVariant }

impl<P: SerializeMap> SerializeMap for CheckedParts<P> {
    type Ok = P::Ok;
    type Error = P::Error;

    // A key is a string in JSON, and serde_json refuses a key that it cannot write as one.
    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), P::Error> {
        self.inner.serialize_key(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), P::Error> {
        self.inner.serialize_value(&Exact::new(value, self.numbers))
    }

    fn end(self) -> Result<P::Ok, P::Error> {
        self.inner.end()
    }
}
