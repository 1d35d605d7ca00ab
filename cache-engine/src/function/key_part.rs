//! The parts of a name such as `"user:{id}"`, as texts.
//!
//! A part is displayed, as the format string says. Numbers and texts, of which most names consist, come out the same
//! without the formatting of the standard library, which takes longer than the rest of a hit's key.

use std::borrow::Cow;
use std::fmt::Write;
use std::rc::Rc;
use std::sync::Arc;

use super::key_name::{KeyText, ShortText};

/// Selects how a variable becomes a text, by its type. Implements nothing else, so that no trait of the user's has a method
/// for it that is found first.
pub struct PartOf<'a, T: ?Sized>(pub &'a T);

/// Where a text stands that the variable does not contain.
pub struct Space {
    digits: itoa::Buffer,
    short: Option<ShortText>,
    long: String,
}

impl Space {
    #[allow(clippy::new_without_default)]
    #[must_use]
    #[inline]
    pub fn new() -> Self {
        Self {
            digits: itoa::Buffer::new(),
            short: None,
            long: String::new(),
        }
    }
}

/// Implemented for texts, which are taken as they are.
pub trait TextPart<'a> {
    fn part_as_text(&self, space: &mut Space) -> &'a str;
}

impl<'a, T: Text + ?Sized> TextPart<'a> for &&PartOf<'a, T> {
    #[inline]
    fn part_as_text(&self, _: &mut Space) -> &'a str {
        self.0.text()
    }
}

/// Implemented for integers.
pub trait NumberPart {
    fn part_as_text<'s>(&self, space: &'s mut Space) -> &'s str;
}

impl<T: Number + ?Sized> NumberPart for &PartOf<'_, T> {
    #[inline]
    fn part_as_text<'s>(&self, space: &'s mut Space) -> &'s str {
        self.0.write(&mut space.digits)
    }
}

/// Implemented for every other type, so that the error about one that cannot be displayed is that of `KeyText`.
pub trait DisplayedPart<T: ?Sized> {
    fn part_as_text<'s>(&self, space: &'s mut Space) -> &'s str
    where
        T: KeyText;
}

impl<T: ?Sized> DisplayedPart<T> for PartOf<'_, T> {
    fn part_as_text<'s>(&self, space: &'s mut Space) -> &'s str
    where
        T: KeyText,
    {
        let short = space.short.insert(ShortText::new());
        match write!(short, "{}", self.0) {
            Ok(()) => short.as_str(),
            Err(_) => {
                space.long = self.0.to_string();
                &space.long
            }
        }
    }
}

/// A type whose values are displayed as the text that they hold.
pub trait Text {
    fn text(&self) -> &str;
}

macro_rules! texts {
    ($($type:ty),*) => {$(
        impl Text for $type {
            #[inline]
            fn text(&self) -> &str {
                self
            }
        }
    )*};
}

texts!(str, String, Box<str>, Rc<str>, Arc<str>, Cow<'_, str>);

impl<T: Text + ?Sized> Text for &T {
    #[inline]
    fn text(&self) -> &str {
        (**self).text()
    }
}

/// An integer.
pub trait Number {
    fn write<'s>(&self, digits: &'s mut itoa::Buffer) -> &'s str;
}

macro_rules! numbers {
    ($($type:ty),*) => {$(
        impl Number for $type {
            #[inline]
            fn write<'s>(&self, digits: &'s mut itoa::Buffer) -> &'s str {
                digits.format(*self)
            }
        }
    )*};
}

numbers!(u8, u16, u32, u64, u128, usize, i8, i16, i32, i64, i128, isize);

impl<T: Number + ?Sized> Number for &T {
    #[inline]
    fn write<'s>(&self, digits: &'s mut itoa::Buffer) -> &'s str {
        (**self).write(digits)
    }
}
