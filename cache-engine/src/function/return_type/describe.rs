//! How to describe a shared error: its output, and whether it is an [`Error`].

use std::error::Error;
use std::fmt;

use super::markers::markers;
use super::shape::Failure;

markers! {
    /// The type is an [`Error`].
    OfError<E>;
    /// The type holds an [`Error`], as `anyhow::Error` and `Box<dyn Error + Send + Sync>` do.
    OfReport<E>;
    /// The type only prints.
    OfText<E>;
    /// The type does not print.
    OfOpaque<E>;
}

/// How to describe an error.
pub trait Describe<E>: Copy + Send + Sync + 'static {
    fn display(error: &E, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    fn debug(error: &E, f: &mut fmt::Formatter<'_>) -> fmt::Result;

    fn as_error(error: &E) -> Option<&(dyn Error + 'static)>;
}

impl<E: Error + 'static> Describe<E> for OfError<E> {
    fn display(error: &E, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(error, f)
    }

    fn debug(error: &E, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(error, f)
    }

    fn as_error(error: &E) -> Option<&(dyn Error + 'static)> {
        Some(error)
    }
}

type Dyn = dyn Error + Send + Sync + 'static;

impl<E: AsRef<Dyn> + fmt::Display + fmt::Debug + 'static> Describe<E> for OfReport<E> {
    fn display(error: &E, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(error, f)
    }

    fn debug(error: &E, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(error, f)
    }

    fn as_error(error: &E) -> Option<&(dyn Error + 'static)> {
        Some(error.as_ref())
    }
}

impl<E: fmt::Display + fmt::Debug + 'static> Describe<E> for OfText<E> {
    fn display(error: &E, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(error, f)
    }

    fn debug(error: &E, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(error, f)
    }

    fn as_error(_: &E) -> Option<&(dyn Error + 'static)> {
        None
    }
}

impl<E: 'static> Describe<E> for OfOpaque<E> {
    fn display(_: &E, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<E>())
    }

    fn debug(_: &E, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(std::any::type_name::<E>())
    }

    fn as_error(_: &E) -> Option<&(dyn Error + 'static)> {
        None
    }
}

pub trait DescribeErrors {
    type Describe;

    fn describe(&self) -> Self::Describe;
}

impl<E: Error> DescribeErrors for &&&Failure<E> {
    type Describe = OfError<E>;

    fn describe(&self) -> Self::Describe {
        OfError::new()
    }
}

pub trait DescribeReports {
    type Describe;

    fn describe(&self) -> Self::Describe;
}

impl<E: AsRef<Dyn> + fmt::Display + fmt::Debug> DescribeReports for &&Failure<E> {
    type Describe = OfReport<E>;

    fn describe(&self) -> Self::Describe {
        OfReport::new()
    }
}

pub trait DescribeTexts {
    type Describe;

    fn describe(&self) -> Self::Describe;
}

impl<E: fmt::Display + fmt::Debug> DescribeTexts for &Failure<E> {
    type Describe = OfText<E>;

    fn describe(&self) -> Self::Describe {
        OfText::new()
    }
}

pub trait DescribeOthers {
    type Describe;

    fn describe(&self) -> Self::Describe;
}

impl<E> DescribeOthers for Failure<E> {
    type Describe = OfOpaque<E>;

    fn describe(&self) -> Self::Describe {
        OfOpaque::new()
    }
}
