//! An estimate of the memory that a value takes, by what it serializes.

use std::fmt::{self, Display};

use serde_core::Serialize;
use serde_core::ser::{self, Serializer};

use crate::allocation::allocated;

/// Returns about how many bytes of memory `value` takes, whose encoding has `encoded_len` bytes.
pub(crate) fn weight<T: Serialize>(value: &T, encoded_len: usize) -> usize {
    memory_of(value).unwrap_or_else(|| encoded_len.saturating_add(size_of::<T>()))
}

/// Returns about how many bytes of memory `value` takes: itself, and what it owns elsewhere. `None` if it does not
/// serialize.
///
/// Sizes are those of the types in the standard library that serialize alike: a text is a `String`, a sequence a `Vec`, a
/// map a `HashMap`. Spare capacity is unknown, and what is not serialized does not count.
fn memory_of<T: Serialize>(value: &T) -> Option<usize> {
    let Memory { owned, .. } = value.serialize(Estimate).ok()?;
    Some(size_of::<T>().saturating_add(owned))
}

/// The memory of a value: in its place, and elsewhere.
#[derive(Debug, Clone, Copy, Default)]
struct Memory {
    inline: usize,
    owned: usize,
}

const POINTER: usize = size_of::<usize>();
const VECTOR: usize = size_of::<Vec<u8>>();
const MAP: usize = size_of::<std::collections::HashMap<u8, u8>>();

impl Memory {
    const fn inline(inline: usize) -> Self {
        Self { inline, owned: 0 }
    }

    const fn vector(len: usize) -> Self {
        Self {
            inline: VECTOR,
            owned: allocated(len),
        }
    }

    /// Returns the memory of an enum with this content.
    fn tagged(self) -> Self {
        let inline = self.inline + POINTER;
        Self { inline, ..self }
    }
}

#[derive(Debug)]
struct NotSerialized;

impl Display for NotSerialized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the value does not serialize")
    }
}

impl std::error::Error for NotSerialized {}

impl ser::Error for NotSerialized {
    fn custom<T: Display>(_: T) -> Self {
        Self
    }
}

#[derive(Debug, Clone, Copy)]
struct Estimate;

type Estimated = Result<Memory, NotSerialized>;

macro_rules! sized {
    ($($method:ident: $type:ty),* $(,)?) => {
        $(fn $method(self, _: $type) -> Estimated {
            Ok(Memory::inline(size_of::<$type>()))
        })*
    };
}

impl Serializer for Estimate {
    type Ok = Memory;
    type Error = NotSerialized;
    type SerializeSeq = Items;
    type SerializeTuple = Fields;
    type SerializeTupleStruct = Fields;
    type SerializeTupleVariant = Fields;
    type SerializeMap = Items;
    type SerializeStruct = Fields;
    type SerializeStructVariant = Fields;

    sized! {
        serialize_bool: bool,
        serialize_i8: i8,
        serialize_i16: i16,
        serialize_i32: i32,
        serialize_i64: i64,
        serialize_i128: i128,
        serialize_u8: u8,
        serialize_u16: u16,
        serialize_u32: u32,
        serialize_u64: u64,
        serialize_u128: u128,
        serialize_f32: f32,
        serialize_f64: f64,
        serialize_char: char,
    }

    fn serialize_str(self, text: &str) -> Estimated {
        Ok(Memory::vector(text.len()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Estimated {
        Ok(Memory::vector(bytes.len()))
    }

    fn serialize_none(self) -> Estimated {
        Ok(Memory::inline(POINTER))
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Estimated {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Estimated {
        Ok(Memory::default())
    }

    fn serialize_unit_struct(self, _: &'static str) -> Estimated {
        Ok(Memory::default())
    }

    fn serialize_unit_variant(self, _: &'static str, _: u32, _: &'static str) -> Estimated {
        Ok(Memory::inline(1))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Estimated {
        value.serialize(self)
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        value: &T,
    ) -> Estimated {
        Ok(value.serialize(self)?.tagged())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Items, NotSerialized> {
        Ok(Items::in_a(VECTOR))
    }

    fn serialize_tuple(self, _: usize) -> Result<Fields, NotSerialized> {
        Ok(Fields::default())
    }

    fn serialize_tuple_struct(self, _: &'static str, _: usize) -> Result<Fields, NotSerialized> {
        Ok(Fields::default())
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Fields, NotSerialized> {
        Ok(Fields::of_a_variant())
    }

    fn serialize_map(self, _: Option<usize>) -> Result<Items, NotSerialized> {
        Ok(Items::in_a(MAP))
    }

    fn serialize_struct(self, _: &'static str, _: usize) -> Result<Fields, NotSerialized> {
        Ok(Fields::default())
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Fields, NotSerialized> {
        Ok(Fields::of_a_variant())
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// The fields of a struct or a tuple, side by side.
#[derive(Debug, Clone, Copy, Default)]
struct Fields(Memory);

impl Fields {
    fn of_a_variant() -> Self {
        Self(Memory::default().tagged())
    }

    fn add<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotSerialized> {
        let Memory { inline, owned } = value.serialize(Estimate)?;
        self.0.inline += inline;
        self.0.owned += owned;
        Ok(())
    }

    /// Returns the memory of the fields, with the gaps between them.
    fn total(self) -> Memory {
        let Memory { inline, owned } = self.0;
        let inline = if inline < POINTER {
            inline
        } else {
            inline.next_multiple_of(POINTER)
        };
        Memory { inline, owned }
    }
}

/// The items of a vector or a map, which are all of one type.
#[derive(Debug, Clone, Copy)]
struct Items {
    collection: usize,
    len: usize,
    /// The largest item, since smaller ones may be empty options or other variants.
    largest: usize,
    key: usize,
    owned: usize,
}

impl Items {
    fn in_a(collection: usize) -> Self {
        Self {
            collection,
            len: 0,
            largest: 0,
            key: 0,
            owned: 0,
        }
    }

    fn add(&mut self, key: usize, item: Memory) {
        self.len += 1;
        self.largest = self.largest.max(key + item.inline);
        self.owned += item.owned;
    }

    fn total(self) -> Memory {
        // On average, the table of a map is two thirds full.
        let places = if self.collection == MAP {
            self.len + self.len / 2
        } else {
            self.len
        };
        Memory {
            inline: self.collection,
            owned: self.owned + allocated(places * self.largest),
        }
    }
}

impl ser::SerializeSeq for Items {
    type Ok = Memory;
    type Error = NotSerialized;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotSerialized> {
        self.add(0, value.serialize(Estimate)?);
        Ok(())
    }

    fn end(self) -> Estimated {
        Ok(self.total())
    }
}

impl ser::SerializeMap for Items {
    type Ok = Memory;
    type Error = NotSerialized;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), NotSerialized> {
        let Memory { inline, owned } = key.serialize(Estimate)?;
        self.key = inline;
        self.owned += owned;
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), NotSerialized> {
        self.add(self.key, value.serialize(Estimate)?);
        Ok(())
    }

    fn end(self) -> Estimated {
        Ok(self.total())
    }
}

macro_rules! fields {
    ($($contract:ident: $method:ident($($name:ty)?)),* $(,)?) => {
        $(impl ser::$contract for Fields {
            type Ok = Memory;
            type Error = NotSerialized;

            fn $method<T: Serialize + ?Sized>(&mut self, $(_: $name,)? value: &T) -> Result<(), NotSerialized> {
                self.add(value)
            }

            fn end(self) -> Estimated {
                Ok(self.total())
            }
        })*
    };
}

fields! {
    SerializeTuple: serialize_element(),
    SerializeTupleStruct: serialize_field(),
    SerializeTupleVariant: serialize_field(),
    SerializeStruct: serialize_field(&'static str),
    SerializeStructVariant: serialize_field(&'static str),
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::Serialize;

    #[derive(Serialize)]
    struct Product {
        id: u64,
        name: String,
        labels: Vec<String>,
        size: Option<u32>,
    }

    #[test]
    fn a_value_takes_its_own_size_and_what_it_owns() {
        assert_eq!(memory_of(&7_u64), Some(8));
        assert_eq!(memory_of(&"x".repeat(100)), Some(24 + 112));
        assert_eq!(memory_of(&vec![0_u8; 1_000]), Some(24 + 1_008));
        let product = Product {
            id: 1,
            name: "Apple".to_owned(),
            labels: vec!["fruit".to_owned(), "red".to_owned()],
            size: None,
        };
        let owned = allocated(5) + allocated(2 * 24) + allocated(5) + allocated(3);
        assert_eq!(memory_of(&product), Some(size_of::<Product>() + owned));
        let products: Vec<_> = std::iter::repeat_with(|| Product {
            id: 1,
            name: "Apple".to_owned(),
            labels: Vec::new(),
            size: Some(1),
        })
        .take(10)
        .collect();
        let estimated = memory_of(&products).unwrap_or_default();
        let least = 24 + 10 * (size_of::<Product>() + allocated(5));
        assert!(
            (least * 9 / 10..least * 11 / 10).contains(&estimated),
            "{estimated} for {least}"
        );
    }
}
