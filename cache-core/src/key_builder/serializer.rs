//! The byte form of arguments.
//!
//! A value is written as a tag and its content. Each type of serde's data model has a tag of its own, so values of one
//! Rust type have different byte forms even if they serialise as different types, as with an untagged enum. Numbers are
//! big-endian and as wide as their type. Texts and bytes follow their length. Whatever has elements ends with
//! [`tag::END`], which no element starts with. Maps and sets are sorted. Names of types, variants and fields are part
//! of the form, so moving a variant or renaming a field gives a new key, never the key of another value.

use std::fmt::{self, Display, Write};

use serde_core::Serialize;
use serde_core::ser::{
    SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant, SerializeTuple, SerializeTupleStruct,
    SerializeTupleVariant,
};

use super::{sets, tag};

/// Appends the byte form of `value`. After an error, part of it may have been appended.
pub(super) fn write<T: Serialize + ?Sized>(out: &mut Vec<u8>, value: &T) -> Result<(), SerializeError> {
    value.serialize(Serializer::for_value::<T>(out))
}

/// Appends the length of `text` and `text`.
pub(super) fn write_text(out: &mut Vec<u8>, text: &str) {
    write_bytes(out, text.as_bytes());
}

fn write_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    write_length(out, bytes.len());
    out.extend_from_slice(bytes);
}

/// Appends seven bits a byte, the lowest first; the high bit says that more follow.
pub(super) fn write_length(out: &mut Vec<u8>, mut length: usize) {
    while length >= 0x80 {
        out.push((length & 0x7f) as u8 | 0x80);
        length >>= 7;
    }
    out.push(length as u8);
}

/// The error of an argument's `Serialize`.
#[derive(Debug)]
pub(super) struct SerializeError(Box<str>);

impl Display for SerializeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for SerializeError {}

impl serde_core::ser::Error for SerializeError {
    fn custom<T: Display>(message: T) -> Self {
        Self(message.to_string().into())
    }
}

struct Serializer<'a> {
    out: &'a mut Vec<u8>,
    /// The value is a set, which serialises as a sequence.
    is_set: bool,
}

impl<'a> Serializer<'a> {
    #[inline]
    fn for_value<T: ?Sized>(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            is_set: sets::is_set::<T>(),
        }
    }

    fn scalar<const N: usize>(self, tag: u8, bytes: [u8; N]) -> Result<(), SerializeError> {
        self.out.push(tag);
        self.out.extend_from_slice(&bytes);
        Ok(())
    }

    fn named(self, tag: u8, name: &str) -> Elements<'a> {
        self.out.push(tag);
        write_text(self.out, name);
        Elements(self.out)
    }

    /// The index tells variants apart that serialise under the same name.
    fn variant(self, tag: u8, name: &str, index: u32, variant: &str) -> Elements<'a> {
        let elements = self.named(tag, name);
        write_length(elements.0, index as usize);
        write_text(elements.0, variant);
        elements
    }
}

macro_rules! numbers {
    ($($method:ident($type:ty) = $tag:ident;)*) => {$(
        fn $method(self, value: $type) -> Result<(), SerializeError> {
            self.scalar(tag::$tag, value.to_be_bytes())
        }
    )*};
}

impl<'a> serde_core::Serializer for Serializer<'a> {
    type Ok = ();
    type Error = SerializeError;
    type SerializeSeq = Sequence<'a>;
    type SerializeTuple = Elements<'a>;
    type SerializeTupleStruct = Elements<'a>;
    type SerializeTupleVariant = Elements<'a>;
    type SerializeMap = Entries<'a>;
    type SerializeStruct = Elements<'a>;
    type SerializeStructVariant = Elements<'a>;

    /// Types with a compact form are written in that form.
    fn is_human_readable(&self) -> bool {
        false
    }

    fn serialize_bool(self, value: bool) -> Result<(), SerializeError> {
        self.scalar(if value { tag::TRUE } else { tag::FALSE }, [])
    }

    numbers! {
        serialize_i8(i8) = I8;
        serialize_i16(i16) = I16;
        serialize_i32(i32) = I32;
        serialize_i64(i64) = I64;
        serialize_i128(i128) = I128;
        serialize_u8(u8) = U8;
        serialize_u16(u16) = U16;
        serialize_u32(u32) = U32;
        serialize_u64(u64) = U64;
        serialize_u128(u128) = U128;
        serialize_f32(f32) = F32;
        serialize_f64(f64) = F64;
    }

    fn serialize_char(self, value: char) -> Result<(), SerializeError> {
        self.scalar(tag::CHAR, u32::from(value).to_be_bytes())
    }

    fn serialize_str(self, value: &str) -> Result<(), SerializeError> {
        self.out.push(tag::STR);
        write_text(self.out, value);
        Ok(())
    }

    fn serialize_bytes(self, value: &[u8]) -> Result<(), SerializeError> {
        self.out.push(tag::BYTES);
        write_bytes(self.out, value);
        Ok(())
    }

    fn serialize_none(self) -> Result<(), SerializeError> {
        self.scalar(tag::NONE, [])
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), SerializeError> {
        self.out.push(tag::SOME);
        write(self.out, value)
    }

    fn serialize_unit(self) -> Result<(), SerializeError> {
        self.scalar(tag::UNIT, [])
    }

    fn serialize_unit_struct(self, name: &'static str) -> Result<(), SerializeError> {
        self.named(tag::UNIT_STRUCT, name);
        Ok(())
    }

    fn serialize_unit_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
    ) -> Result<(), SerializeError> {
        self.variant(tag::UNIT_VARIANT, name, index, variant);
        Ok(())
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), SerializeError> {
        self.named(tag::NEWTYPE_STRUCT, name).element(value)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), SerializeError> {
        self.variant(tag::NEWTYPE_VARIANT, name, index, variant).element(value)
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Sequence<'a>, SerializeError> {
        Ok(if self.is_set {
            self.out.push(tag::SET);
            Sequence::Set(Sorted::new(self.out))
        } else {
            self.out.push(tag::SEQ);
            Sequence::List(Elements(self.out))
        })
    }

    fn serialize_tuple(self, _: usize) -> Result<Elements<'a>, SerializeError> {
        self.out.push(tag::TUPLE);
        Ok(Elements(self.out))
    }

    fn serialize_tuple_struct(self, name: &'static str, _: usize) -> Result<Elements<'a>, SerializeError> {
        Ok(self.named(tag::TUPLE_STRUCT, name))
    }

    fn serialize_tuple_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Elements<'a>, SerializeError> {
        Ok(self.variant(tag::TUPLE_VARIANT, name, index, variant))
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Entries<'a>, SerializeError> {
        self.out.push(tag::MAP);
        Ok(Entries(Sorted::new(self.out)))
    }

    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Elements<'a>, SerializeError> {
        Ok(self.named(tag::STRUCT, name))
    }

    fn serialize_struct_variant(
        self,
        name: &'static str,
        index: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Elements<'a>, SerializeError> {
        Ok(self.variant(tag::STRUCT_VARIANT, name, index, variant))
    }

    /// The text is written in place, before its length is known, and then moved to make room for the length.
    fn collect_str<T: Display + ?Sized>(self, value: &T) -> Result<(), SerializeError> {
        self.out.push(tag::STR);
        let start = self.out.len();
        write!(Appender(self.out), "{value}").map_err(serde_core::ser::Error::custom)?;
        let end = self.out.len();
        write_length(self.out, end - start);
        let length_len = self.out.len() - end;
        self.out[start..].rotate_right(length_len);
        Ok(())
    }
}

struct Appender<'a>(&'a mut Vec<u8>);

impl Write for Appender<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.extend_from_slice(text.as_bytes());
        Ok(())
    }
}

/// Writes elements in their order.
struct Elements<'a>(&'a mut Vec<u8>);

impl Elements<'_> {
    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        write(self.0, value)
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), SerializeError> {
        self.0.push(tag::FIELD);
        write_text(self.0, name);
        self.element(value)
    }
}

macro_rules! in_order {
    ($($trait:ident: $method:ident($($name:ident: $type:ty)?) = $write:ident;)*) => {$(
        impl $trait for Elements<'_> {
            type Ok = ();
            type Error = SerializeError;

            fn $method<T: Serialize + ?Sized>(&mut self, $($name: $type,)? value: &T) -> Result<(), SerializeError> {
                self.$write($($name,)? value)
            }

            fn end(self) -> Result<(), SerializeError> {
                self.0.push(tag::END);
                Ok(())
            }
        }
    )*};
}

in_order! {
    SerializeSeq: serialize_element() = element;
    SerializeTuple: serialize_element() = element;
    SerializeTupleStruct: serialize_field() = element;
    SerializeTupleVariant: serialize_field() = element;
    SerializeStruct: serialize_field(name: &'static str) = field;
    SerializeStructVariant: serialize_field(name: &'static str) = field;
}

/// Writes the elements of a list in their order, and those of a set sorted.
enum Sequence<'a> {
    List(Elements<'a>),
    Set(Sorted<'a>),
}

impl SerializeSeq for Sequence<'_> {
    type Ok = ();
    type Error = SerializeError;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        match self {
            Self::List(elements) => elements.element(value),
            Self::Set(elements) => elements.start(value),
        }
    }

    fn end(self) -> Result<(), SerializeError> {
        match self {
            Self::List(elements) => SerializeTuple::end(elements),
            Self::Set(elements) => {
                elements.end();
                Ok(())
            }
        }
    }
}

/// Writes the entries of a map, sorted by their keys' byte form.
struct Entries<'a>(Sorted<'a>);

impl SerializeMap for Entries<'_> {
    type Ok = ();
    type Error = SerializeError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), SerializeError> {
        self.0.start(key)
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        self.0.append(value)
    }

    fn end(self) -> Result<(), SerializeError> {
        self.0.end();
        Ok(())
    }
}

/// Writes entries, sorted by the byte form of what they start with.
struct Sorted<'a> {
    out: &'a mut Vec<u8>,
    entries: Vec<Entry>,
}

/// Where an entry is: its key from `start` to `key_end`, its value from there to `end`.
#[derive(Clone, Copy)]
struct Entry {
    start: usize,
    key_end: usize,
    end: usize,
}

impl<'a> Sorted<'a> {
    fn new(out: &'a mut Vec<u8>) -> Self {
        Self {
            out,
            entries: Vec::new(),
        }
    }

    /// Starts an entry with `key`.
    fn start<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), SerializeError> {
        let start = self.out.len();
        write(self.out, key)?;
        let key_end = self.out.len();
        self.entries.push(Entry {
            start,
            key_end,
            end: key_end,
        });
        Ok(())
    }

    /// Appends `value` to the last entry.
    fn append<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), SerializeError> {
        write(self.out, value)?;
        match self.entries.last_mut() {
            Some(entry) => entry.end = self.out.len(),
            None => return Err(serde_core::ser::Error::custom("a map has a value without a key")),
        }
        Ok(())
    }

    fn end(mut self) {
        self.sort();
        self.out.push(tag::END);
    }

    fn sort(&mut self) {
        let out = &mut *self.out;
        if self.entries.is_sorted_by_key(|entry| &out[entry.start..entry.key_end]) {
            return;
        }
        let start = self.entries.first().map_or(out.len(), |entry| entry.start);
        // A stable sort, so that the values of a repeated key stay in order.
        self.entries
            .sort_by(|a, b| out[a.start..a.key_end].cmp(&out[b.start..b.key_end]));
        let unsorted = out.split_off(start);
        for entry in &self.entries {
            out.extend_from_slice(&unsorted[entry.start - start..entry.end - start]);
        }
    }
}
