//! Bounds for what is decoded: bytes of a store are foreign bytes.
//!
//! A few bytes can name a sequence of a billion parts that take no bytes each, and a type that contains itself can be
//! nested as deep as there are bytes, which would overflow the stack. Neither MessagePack nor Postcard has a bound that
//! fits.

use std::cell::Cell;
use std::fmt;

use serde_core::de::{DeserializeSeed, Deserializer, EnumAccess, Error, MapAccess, SeqAccess, VariantAccess, Visitor};

use crate::coder::shape::{Kind, Shape};

/// How deep values may be nested, as in serde_json.
const DEPTH: usize = 128;

/// How many parts a value may always have. Beyond this, it needs a byte for each.
const PARTS: usize = 65_536;

/// The bounds of one value, and the shape that was read so far.
#[derive(Debug)]
pub(super) struct Bounds {
    depth: Cell<usize>,
    parts: Cell<usize>,
    shape: Shape,
    /// The last number that was read, which may be the index of a variant.
    last: Cell<u64>,
    /// What a bound says, if one was exceeded: Postcard drops the text of errors.
    exceeded: Cell<Option<&'static str>>,
}

impl Bounds {
    /// Creates the bounds of a value that takes `len` bytes.
    pub(super) fn new(len: usize) -> Self {
        Self {
            depth: Cell::new(DEPTH),
            parts: Cell::new(len.max(PARTS)),
            shape: Shape::default(),
            last: Cell::new(0),
            exceeded: Cell::new(None),
        }
    }

    /// Returns `deserializer` with these bounds.
    pub(super) fn around<D>(&self, deserializer: D) -> Bounded<'_, D> {
        self.wrap(deserializer)
    }

    /// Returns the shape of what was read.
    #[cfg(feature = "postcard")]
    pub(super) fn shape(&self) -> &Shape {
        &self.shape
    }

    fn wrap<T>(&self, inner: T) -> Bounded<'_, T> {
        Bounded { inner, bounds: self }
    }

    fn nested<R, E: Error>(&self, read: impl FnOnce() -> Result<R, E>) -> Result<R, E> {
        let depth = self.depth.get();
        self.depth
            .set(depth.checked_sub(1).ok_or_else(|| self.exceed("nested too deep"))?);
        let result = read();
        self.depth.set(depth);
        result
    }

    fn part<E: Error>(&self) -> Result<(), E> {
        let parts = self.parts.get().checked_sub(1);
        self.parts
            .set(parts.ok_or_else(|| self.exceed("more parts than bytes"))?);
        Ok(())
    }

    fn exceed<E: Error>(&self, message: &'static str) -> E {
        self.exceeded.set(Some(message));
        E::custom(message)
    }

    /// Returns what the bound says that was exceeded, if one was.
    #[cfg(feature = "postcard")]
    pub(super) fn exceeded(&self) -> Option<&'static str> {
        self.exceeded.get()
    }
}

/// A deserializer, visitor, seed or access with bounds.
pub(super) struct Bounded<'b, T> {
    inner: T,
    bounds: &'b Bounds,
}

macro_rules! simple {
    ($($method:ident: $kind:ident)*) => {$(
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.bounds.shape.note(Kind::$kind);
            self.inner.$method(self.bounds.wrap(visitor))
        }
    )*};
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Bounded<'_, D> {
    type Error = D::Error;

    simple! {
        deserialize_bool: Bool
        deserialize_i8: I8
        deserialize_i16: I16
        deserialize_i32: I32
        deserialize_i64: I64
        deserialize_i128: I128
        deserialize_u8: U8
        deserialize_u16: U16
        deserialize_u32: U32
        deserialize_u64: U64
        deserialize_u128: U128
        deserialize_f32: F32
        deserialize_f64: F64
        deserialize_char: Char
        deserialize_str: Text
        deserialize_string: Text
        deserialize_bytes: Bytes
        deserialize_byte_buf: Bytes
        deserialize_option: Option
        deserialize_unit: Unit
        deserialize_seq: Seq
        deserialize_map: Map
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_any(self.bounds.wrap(visitor))
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_ignored_any(self.bounds.wrap(visitor))
    }

    /// Reads the name or number of a field or variant, for which the writer makes no call.
    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.inner.deserialize_identifier(self.bounds.wrap(visitor))
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.bounds.shape.note(Kind::UnitStruct);
        self.inner.deserialize_unit_struct(name, self.bounds.wrap(visitor))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, name: &'static str, visitor: V) -> Result<V::Value, D::Error> {
        self.bounds.shape.note(Kind::NewtypeStruct);
        self.inner.deserialize_newtype_struct(name, self.bounds.wrap(visitor))
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.bounds.shape.note(Kind::Tuple(len));
        self.inner.deserialize_tuple(len, self.bounds.wrap(visitor))
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        len: usize,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.bounds.shape.note(Kind::TupleStruct(len));
        self.inner
            .deserialize_tuple_struct(name, len, self.bounds.wrap(visitor))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.bounds.shape.note(Kind::Struct);
        self.bounds.note_fields(fields);
        self.inner.deserialize_struct(name, fields, self.bounds.wrap(visitor))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        let visitor = EnumVisitor {
            visitor,
            bounds: self.bounds,
            variants,
        };
        self.inner.deserialize_enum(name, variants, visitor)
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

impl Bounds {
    fn note_fields(&self, fields: &[&str]) {
        for (index, name) in fields.iter().enumerate() {
            self.shape.note_name(index, name);
        }
    }
}

macro_rules! hand_on {
    ($($method:ident($type:ty))*) => {$(
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.inner.$method(value)
        }
    )*};
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Bounded<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.expecting(f)
    }

    hand_on! {
        visit_bool(bool)
        visit_i8(i8)
        visit_i16(i16)
        visit_i32(i32)
        visit_i64(i64)
        visit_i128(i128)
        visit_u8(u8)
        visit_u16(u16)
        visit_u128(u128)
        visit_f32(f32)
        visit_f64(f64)
        visit_char(char)
        visit_str(&str)
        visit_borrowed_str(&'de str)
        visit_string(String)
        visit_bytes(&[u8])
        visit_borrowed_bytes(&'de [u8])
        visit_byte_buf(Vec<u8>)
    }

    fn visit_u32<E: Error>(self, value: u32) -> Result<V::Value, E> {
        self.bounds.last.set(value.into());
        self.inner.visit_u32(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<V::Value, E> {
        self.bounds.last.set(value);
        self.inner.visit_u64(value)
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_none()
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.inner.visit_unit()
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let Self { inner, bounds } = self;
        bounds.nested(|| inner.visit_some(bounds.wrap(deserializer)))
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, deserializer: D) -> Result<V::Value, D::Error> {
        let Self { inner, bounds } = self;
        bounds.nested(|| inner.visit_newtype_struct(bounds.wrap(deserializer)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, parts: A) -> Result<V::Value, A::Error> {
        let Self { inner, bounds } = self;
        bounds.nested(|| inner.visit_seq(bounds.wrap(parts)))
    }

    fn visit_map<A: MapAccess<'de>>(self, parts: A) -> Result<V::Value, A::Error> {
        let Self { inner, bounds } = self;
        bounds.nested(|| inner.visit_map(bounds.wrap(parts)))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, variant: A) -> Result<V::Value, A::Error> {
        let Self { inner, bounds } = self;
        bounds.nested(|| inner.visit_enum(bounds.wrap(variant)))
    }
}

impl<'de, S: DeserializeSeed<'de>> DeserializeSeed<'de> for Bounded<'_, S> {
    type Value = S::Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<S::Value, D::Error> {
        self.inner.deserialize(self.bounds.wrap(deserializer))
    }
}

impl<'de, A: SeqAccess<'de>> SeqAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_element_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let part = self.inner.next_element_seed(self.bounds.wrap(seed))?;
        if part.is_some() {
            self.bounds.part()?;
        }
        Ok(part)
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

impl<'de, A: MapAccess<'de>> MapAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn next_key_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<Option<S::Value>, A::Error> {
        let key = self.inner.next_key_seed(self.bounds.wrap(seed))?;
        if key.is_some() {
            self.bounds.part()?;
        }
        Ok(key)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, A::Error> {
        self.inner.next_value_seed(self.bounds.wrap(seed))
    }

    fn size_hint(&self) -> Option<usize> {
        self.inner.size_hint()
    }
}

/// A visitor of an enum, which knows the names of its variants.
struct EnumVisitor<'b, V> {
    visitor: V,
    bounds: &'b Bounds,
    variants: &'static [&'static str],
}

impl<'de, V: Visitor<'de>> Visitor<'de> for EnumVisitor<'_, V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.visitor.expecting(f)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        let Self {
            visitor,
            bounds,
            variants,
        } = self;
        let variant = NamedVariant {
            inner,
            bounds,
            variants,
        };
        bounds.nested(|| visitor.visit_enum(variant))
    }
}

/// The variant of an enum, by its index if the format writes that.
struct NamedVariant<'b, A> {
    inner: A,
    bounds: &'b Bounds,
    variants: &'static [&'static str],
}

impl<'de, 'b, A: EnumAccess<'de>> EnumAccess<'de> for NamedVariant<'b, A> {
    type Error = A::Error;
    type Variant = Bounded<'b, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let bounds = self.bounds;
        bounds.last.set(u64::MAX);
        let (value, variant) = self.inner.variant_seed(bounds.wrap(seed))?;
        let index = usize::try_from(bounds.last.get()).unwrap_or(usize::MAX);
        if let Some(name) = self.variants.get(index) {
            bounds.shape.note_name(index, name);
        }
        Ok((value, bounds.wrap(variant)))
    }
}

impl<'de, 'b, A: EnumAccess<'de>> EnumAccess<'de> for Bounded<'b, A> {
    type Error = A::Error;
    type Variant = Bounded<'b, A::Variant>;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self::Variant), A::Error> {
        let (value, variant) = self.inner.variant_seed(self.bounds.wrap(seed))?;
        Ok((value, self.bounds.wrap(variant)))
    }
}

impl<'de, A: VariantAccess<'de>> VariantAccess<'de> for Bounded<'_, A> {
    type Error = A::Error;

    fn unit_variant(self) -> Result<(), A::Error> {
        self.bounds.shape.note(Kind::UnitVariant);
        self.inner.unit_variant()
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, A::Error> {
        self.bounds.shape.note(Kind::NewtypeVariant);
        self.inner.newtype_variant_seed(self.bounds.wrap(seed))
    }

    fn tuple_variant<V: Visitor<'de>>(self, len: usize, visitor: V) -> Result<V::Value, A::Error> {
        self.bounds.shape.note(Kind::TupleVariant(len));
        self.inner.tuple_variant(len, self.bounds.wrap(visitor))
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, A::Error> {
        self.bounds.shape.note(Kind::StructVariant);
        self.bounds.note_fields(fields);
        self.inner.struct_variant(fields, self.bounds.wrap(visitor))
    }
}
