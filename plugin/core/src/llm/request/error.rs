//! The errors of reading a request's body.

use alloc::boxed::Box;

use super::MAX_DEPTH;
use crate::json::lexer;

/// An error in a request's body or in the headers that describe it. An offset is the number of bytes of the body
/// that were read when the error was found.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// The body is compressed, or encoded otherwise (415).
    #[error("the body has the content-encoding {found:?}; send it unencoded")]
    UnsupportedEncoding {
        /// The start of `content-encoding`.
        found: Box<str>,
    },
    /// The body is neither JSON nor a form.
    #[error(
        "the body has the content-type {found:?}; send application/json or multipart/form-data, once, with no other parameters than `charset=utf-8` and a form's `boundary`"
    )]
    UnsupportedType {
        /// The start of `content-type`.
        found: Box<str>,
    },
    /// The `content-type` of a form has no valid `boundary`.
    #[error(
        "the content-type needs one `boundary` of 1 to 70 letters, digits and `+_-.`, and of `=` between quotes"
    )]
    Boundary,
    /// The body is not JSON.
    #[error("the body is not JSON at byte {offset}: expected {expected}")]
    Syntax {
        /// The offset of the error.
        offset: u64,
        /// The syntax that is valid there.
        expected: &'static str,
    },
    /// The body is nested more deeply than [`MAX_DEPTH`].
    #[error("the body is nested too deeply at byte {offset}; at most {MAX_DEPTH} levels are read")]
    TooDeep {
        /// The offset of the error.
        offset: u64,
    },
    /// The body is not UTF-8.
    #[error("the body is not UTF-8 at byte {offset}")]
    Utf8 {
        /// The offset of the error.
        offset: u64,
    },
    /// The body is JSON, but not an object.
    #[error("the body is JSON but not an object; send one JSON object")]
    NotAnObject,
    /// A field appears twice; servers differ in which one they use.
    #[error("`{field}` appears a second time before byte {offset}; send it once")]
    Duplicate {
        /// The field's name.
        field: &'static str,
        /// The offset of the second one.
        offset: u64,
    },
    /// A name that only some servers treat as this field: it differs in case or contains a NUL.
    #[error("a name before byte {offset} differs from `{field}` only in how it is written; write `{field}`")]
    Lookalike {
        /// The field's name.
        field: &'static str,
        /// The offset of the error.
        offset: u64,
    },
    /// A field's name is written with escapes; not every reader resolves them in names.
    #[error("the name of `{within}/{field}`, before byte {offset}, has escapes; write it without escapes")]
    Escaped {
        /// The pointer of the object with the field.
        within: &'static str,
        /// The field's name.
        field: &'static str,
        /// The offset of the error.
        offset: u64,
    },
    /// A field has a value of another type.
    #[error("`{field}` before byte {offset} should be {expected}")]
    WrongType {
        /// The field's name.
        field: &'static str,
        /// The offset of the error.
        offset: u64,
        /// The values that are valid.
        expected: &'static str,
    },
    /// A string is too long.
    #[error("`{field}` before byte {offset} is too long; at most {max} bytes are read")]
    TooLong {
        /// The field's name.
        field: &'static str,
        /// The offset of the error.
        offset: u64,
        /// The maximum length in bytes.
        max: usize,
    },
    /// A list has too many entries.
    #[error("`{field}` before byte {offset} has too many entries; at most {max} are read")]
    TooMany {
        /// The field's name.
        field: &'static str,
        /// The offset of the error.
        offset: u64,
        /// The maximum number of entries.
        max: usize,
    },
    /// The body is not a form as RFC 7578 defines it.
    #[error("the form is invalid at byte {offset}: expected {expected}")]
    Form {
        /// The offset of the error.
        offset: u64,
        /// The syntax that is valid there.
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
