//! Why a body is refused.

use alloc::boxed::Box;
use core::fmt;

use crate::json::lexer;

/// Why a body cannot be decided on. Offsets are bytes of the body up to where it was noticed.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BodyError {
    /// The body is compressed, or encoded otherwise (415).
    UnsupportedEncoding {
        /// The start of `content-encoding`.
        found: Box<str>,
    },
    /// The body is neither JSON nor a form.
    UnsupportedType {
        /// The start of `content-type`.
        found: Box<str>,
    },
    /// A form whose `content-type` has no usable `boundary`.
    Boundary,
    /// It is not JSON.
    Syntax {
        /// Where.
        offset: u64,
        /// What would be right there.
        expected: &'static str,
    },
    /// It is nested more deeply than [`super::MAX_DEPTH`].
    TooDeep {
        /// Where.
        offset: u64,
    },
    /// It is not UTF-8.
    Utf8 {
        /// Where.
        offset: u64,
    },
    /// It is JSON, but no object.
    NotAnObject,
    /// A field is there twice; servers differ in which one they take.
    Duplicate {
        /// Its name.
        field: &'static str,
        /// Where the second one is.
        offset: u64,
    },
    /// A name that some servers take for a field's and others do not: another case, or a NUL.
    Lookalike {
        /// The field's right name.
        field: &'static str,
        /// Where.
        offset: u64,
    },
    /// A field's name is written with escapes; not every reader resolves them in names.
    Escaped {
        /// The pointer of what it is a member of.
        within: &'static str,
        /// Its name.
        field: &'static str,
        /// Where.
        offset: u64,
    },
    /// A field has a value of another kind.
    WrongType {
        /// Its name.
        field: &'static str,
        /// Where.
        offset: u64,
        /// What would be right.
        expected: &'static str,
    },
    /// A text is too long.
    TooLong {
        /// Its field.
        field: &'static str,
        /// Where.
        offset: u64,
        /// The most bytes it may have.
        max: usize,
    },
    /// A list has too many members.
    TooMany {
        /// Its field.
        field: &'static str,
        /// Where.
        offset: u64,
        /// The most members it may have.
        max: usize,
    },
    /// It is not a form as RFC 7578 writes one.
    Form {
        /// Where.
        offset: u64,
        /// What would be right there.
        expected: &'static str,
    },
}

impl From<lexer::JsonError<BodyError>> for BodyError {
    fn from(error: lexer::JsonError<BodyError>) -> Self {
        match error {
            lexer::JsonError::Syntax { offset, expected } => Self::Syntax { offset, expected },
            lexer::JsonError::TooDeep { offset } => Self::TooDeep { offset },
            lexer::JsonError::Utf8 { offset } => Self::Utf8 { offset },
            lexer::JsonError::Stopped(error) => error,
        }
    }
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::UnsupportedEncoding { found } => {
                write!(f, "the body has the content-encoding {found:?}; send it unencoded")
            }
            Self::UnsupportedType { found } => write!(
                f,
                "the body has the content-type {found:?}; send application/json in UTF-8, or multipart/form-data"
            ),
            Self::Boundary => f.write_str(
                "the content-type needs one boundary of 1 to 70 letters, digits or '()+_,-./:=? (RFC 2046, 5.1.1)",
            ),
            Self::Syntax { offset, expected } => {
                write!(f, "the body is not JSON at byte {offset}: expected {expected}")
            }
            Self::TooDeep { offset } => write!(
                f,
                "the body is nested too deeply at byte {offset}; at most {} levels are read",
                super::MAX_DEPTH
            ),
            Self::Utf8 { offset } => write!(f, "the body is not UTF-8 at byte {offset}"),
            Self::NotAnObject => f.write_str("the body is JSON but no object; send one JSON object"),
            Self::Duplicate { field, offset } => {
                write!(f, "`{field}` is there a second time before byte {offset}; send it once")
            }
            Self::Lookalike { field, offset } => write!(
                f,
                "a name before byte {offset} differs from `{field}` only in how it is written; write `{field}`"
            ),
            Self::Escaped { within, field, offset } => {
                write!(f, "the name of `{within}/{field}`, before byte {offset}, has escapes; write it without escapes")
            }
            Self::WrongType { field, offset, expected } => {
                write!(f, "`{field}` before byte {offset} should be {expected}")
            }
            Self::TooLong { field, offset, max } => {
                write!(f, "`{field}` before byte {offset} is too long; at most {max} bytes are read")
            }
            Self::TooMany { field, offset, max } => {
                write!(f, "`{field}` before byte {offset} has too many members; at most {max} are read")
            }
            Self::Form { offset, expected } => {
                write!(f, "the form is not readable at byte {offset}: expected {expected}")
            }
        }
    }
}

impl core::error::Error for BodyError {}
