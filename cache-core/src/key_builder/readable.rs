//! A key builder for readable keys.

use std::fmt::{Debug, Write};

use super::builder::KeyBuilder;
use super::function_call::{ARGUMENT, FunctionCall, INSTANCE};
use super::tag;
use crate::error::{Error, ErrorKind};
use crate::key::KeyName;

/// Names a call by readable text, for debugging with the store's own tools: `module:function:{"argument":value}`.
///
/// Values are written as JSON, with extensions for what JSON cannot express: bytes are hexadecimal as in `h'c0ffee'`,
/// the keys of a map may be of any type, and numbers may be `NaN` and `inf`. An argument longer than 256 bytes is
/// written as its digest, `sha256'…'`. Instances follow the function in angle brackets.
///
/// The text does not distinguish all calls. The call's [identity](FunctionCall::identity) does; it is stored and
/// compared as well. Note that the names show the arguments to everyone who can list the store's keys.
///
/// ```
/// use cache_core::{FunctionCall, KeyBuilder, ReadableCall};
///
/// let call = FunctionCall::new("shop::users", "find")
///     .instance("Postgres")
///     .argument("id", &42_u64)?
///     .argument("lang", &Some("en"))?;
/// let name = ReadableCall.build(&call)?;
/// assert_eq!(name.as_str(), r#"shop::users:find<Postgres>:{"id":42,"lang":"en"}"#);
/// # Ok::<(), cache_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ReadableCall;

impl KeyBuilder<FunctionCall<'_>> for ReadableCall {
    fn build(&self, call: &FunctionCall<'_>) -> Result<KeyName, Error> {
        let name = text_of(call)
            .ok_or_else(|| Error::new(ErrorKind::InvalidKey, "the call's arguments are not in their byte form"))?;
        Ok(KeyName::with_identity(name, call.identity()))
    }
}

fn text_of(call: &FunctionCall<'_>) -> Option<String> {
    let mut writer = Writer {
        bytes: call.parts(),
        text: String::with_capacity(2 * call.identity().len()),
    };
    writer.text.push_str(call.module());
    writer.text.push(':');
    writer.text.push_str(call.function());

    let mut arguments = Writer {
        bytes: &[],
        text: String::with_capacity(2 * call.parts().len()),
    };
    while !writer.bytes.is_empty() {
        match writer.byte()? {
            INSTANCE => {
                let instance = writer.str()?;
                writer.text.push('<');
                writer.text.push_str(instance);
                writer.text.push('>');
            }
            ARGUMENT => {
                arguments.bytes = writer.bytes;
                arguments.separate(',');
                arguments.name()?;
                arguments.value()?;
                writer.bytes = arguments.bytes;
            }
            _ => return None,
        }
    }
    writer.text.push_str(":{");
    writer.text.push_str(&arguments.text);
    writer.text.push('}');
    Some(writer.text)
}

/// Converts the byte form of values to text. Every method returns `None` if the bytes are not what it expects.
struct Writer<'a> {
    bytes: &'a [u8],
    text: String,
}

impl<'a> Writer<'a> {
    fn byte(&mut self) -> Option<u8> {
        let (byte, rest) = self.bytes.split_first()?;
        self.bytes = rest;
        Some(*byte)
    }

    fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (array, rest) = self.bytes.split_first_chunk()?;
        self.bytes = rest;
        Some(*array)
    }

    fn length(&mut self) -> Option<usize> {
        let mut length = 0;
        for shift in (0..usize::BITS).step_by(7) {
            let byte = self.byte()?;
            length |= usize::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(length);
            }
        }
        None
    }

    fn slice(&mut self) -> Option<&'a [u8]> {
        let length = self.length()?;
        let (slice, rest) = self.bytes.split_at_checked(length)?;
        self.bytes = rest;
        Some(slice)
    }

    fn str(&mut self) -> Option<&'a str> {
        std::str::from_utf8(self.slice()?).ok()
    }

    /// Reads the name of a variant, which follows the name of its enum and its index.
    fn variant(&mut self) -> Option<&'a str> {
        self.slice()?;
        self.length()?;
        self.str()
    }

    /// Returns whether the elements end here, and skips the end if so.
    fn ended(&mut self) -> Option<bool> {
        let ended = *self.bytes.first()? == tag::END;
        if ended {
            self.byte()?;
        }
        Some(ended)
    }

    fn number<const N: usize, T: Debug>(&mut self, from_bytes: fn([u8; N]) -> T) -> Option<()> {
        let number = from_bytes(self.array()?);
        write!(self.text, "{number:?}").ok()
    }

    fn separate(&mut self, separator: char) {
        if !self.text.is_empty() && !self.text.ends_with(['[', '{']) {
            self.text.push(separator);
        }
    }

    /// Writes `"text"`, escaped as in JSON.
    fn quoted(&mut self, text: &str) -> Option<()> {
        self.text.push('"');
        for c in text.chars() {
            match c {
                '"' => self.text.push_str("\\\""),
                '\\' => self.text.push_str("\\\\"),
                '\n' => self.text.push_str("\\n"),
                '\r' => self.text.push_str("\\r"),
                '\t' => self.text.push_str("\\t"),
                c if c.is_control() => write!(self.text, "\\u{:04x}", u32::from(c)).ok()?,
                c => self.text.push(c),
            }
        }
        self.text.push('"');
        Some(())
    }

    /// Writes the name of a field or argument, and a colon.
    fn name(&mut self) -> Option<()> {
        let name = self.str()?;
        self.quoted(name)?;
        self.text.push(':');
        Some(())
    }

    fn value(&mut self) -> Option<()> {
        match self.byte()? {
            tag::FALSE => self.text.push_str("false"),
            tag::TRUE => self.text.push_str("true"),
            tag::I8 => self.number(i8::from_be_bytes)?,
            tag::I16 => self.number(i16::from_be_bytes)?,
            tag::I32 => self.number(i32::from_be_bytes)?,
            tag::I64 => self.number(i64::from_be_bytes)?,
            tag::I128 => self.number(i128::from_be_bytes)?,
            tag::U8 => self.number(u8::from_be_bytes)?,
            tag::U16 => self.number(u16::from_be_bytes)?,
            tag::U32 => self.number(u32::from_be_bytes)?,
            tag::U64 => self.number(u64::from_be_bytes)?,
            tag::U128 => self.number(u128::from_be_bytes)?,
            tag::F32 => self.number(f32::from_be_bytes)?,
            tag::F64 => self.number(f64::from_be_bytes)?,
            tag::CHAR => {
                let value = char::from_u32(u32::from_be_bytes(self.array()?))?;
                self.quoted(value.encode_utf8(&mut [0; 4]))?;
            }
            tag::STR => {
                let value = self.str()?;
                self.quoted(value)?;
            }
            tag::BYTES => self.hexadecimal()?,
            tag::NONE | tag::UNIT => self.text.push_str("null"),
            tag::SOME => self.value()?,
            tag::UNIT_STRUCT => {
                self.slice()?;
                self.text.push_str("null");
            }
            tag::UNIT_VARIANT => {
                let variant = self.variant()?;
                self.quoted(variant)?;
            }
            tag::NEWTYPE_STRUCT => {
                self.slice()?;
                self.value()?;
            }
            tag::NEWTYPE_VARIANT => self.in_variant(Self::value)?,
            tag::SEQ | tag::TUPLE | tag::SET => self.list()?,
            tag::DIGEST => {
                let digest: [u8; 32] = self.array()?;
                self.length()?;
                self.text.push_str("sha256");
                self.quoted_hexadecimal(&digest)?;
            }
            tag::TUPLE_STRUCT => {
                self.slice()?;
                self.list()?;
            }
            tag::TUPLE_VARIANT => self.in_variant(Self::list)?,
            tag::MAP => self.map()?,
            tag::STRUCT => {
                self.slice()?;
                self.fields()?;
            }
            tag::STRUCT_VARIANT => self.in_variant(Self::fields)?,
            _ => return None,
        }
        Some(())
    }

    /// Writes `{"variant":content}`.
    fn in_variant(&mut self, content: impl FnOnce(&mut Self) -> Option<()>) -> Option<()> {
        let variant = self.variant()?;
        self.text.push('{');
        self.quoted(variant)?;
        self.text.push(':');
        content(self)?;
        self.text.push('}');
        Some(())
    }

    fn hexadecimal(&mut self) -> Option<()> {
        let bytes = self.slice()?;
        self.text.push('h');
        self.quoted_hexadecimal(bytes)
    }

    fn quoted_hexadecimal(&mut self, bytes: &[u8]) -> Option<()> {
        self.text.push('\'');
        for byte in bytes {
            write!(self.text, "{byte:02x}").ok()?;
        }
        self.text.push('\'');
        Some(())
    }

    fn list(&mut self) -> Option<()> {
        self.text.push('[');
        while !self.ended()? {
            self.separate(',');
            self.value()?;
        }
        self.text.push(']');
        Some(())
    }

    fn map(&mut self) -> Option<()> {
        self.text.push('{');
        while !self.ended()? {
            self.separate(',');
            self.value()?;
            self.text.push(':');
            self.value()?;
        }
        self.text.push('}');
        Some(())
    }

    fn fields(&mut self) -> Option<()> {
        self.text.push('{');
        while !self.ended()? {
            if self.byte()? != tag::FIELD {
                return None;
            }
            self.separate(',');
            self.name()?;
            self.value()?;
        }
        self.text.push('}');
        Some(())
    }
}
