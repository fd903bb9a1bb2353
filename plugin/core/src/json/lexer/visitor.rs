//! The events of a lexer, and its errors.

/// A value that contains other values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// `{}`
    Object,
    /// `[]`
    Array,
}

/// A string or number of the document, unescaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonText<'a> {
    /// The text, truncated at a character boundary to the length that the visitor requested.
    pub text: &'a str,
    /// True if the text is not truncated.
    pub whole: bool,
    /// True if the text has escapes in the document. Always false for a skipped text.
    pub escaped: bool,
}

impl JsonText<'_> {
    /// True if the text is complete and equals `other`.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        self.whole && self.text == other
    }
}

/// A value that contains no other values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// A string.
    String(JsonText<'a>),
    /// A number as written.
    Number(JsonText<'a>),
    /// `true` or `false`.
    Bool(bool),
    /// `null`
    Null,
}

/// A receiver of the events of a document, in their order.
///
/// `depth` is the number of containers around the value: 0 for the document's own value, 1 for the members of its object and
/// their names. The calls do not depend on the division into pieces.
pub trait Visitor {
    /// The visitor's own error, which stops the lexer.
    type Stop;

    /// Called before each event, with the number of the document's bytes up to the end of the event's text.
    fn reached(&mut self, offset: u64) {
        let _ = offset;
    }

    /// Called at the begin of a container.
    ///
    /// # Errors
    /// An error stops the lexer.
    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), Self::Stop> {
        let _ = (depth, kind);
        Ok(())
    }

    /// Called at the end of a container.
    ///
    /// # Errors
    /// An error stops the lexer.
    fn end(&mut self, depth: usize, kind: Container) -> Result<(), Self::Stop> {
        let _ = (depth, kind);
        Ok(())
    }

    /// The number of bytes to keep of the next name. 0 skips its text.
    fn name_bytes(&self, depth: usize) -> usize;

    /// Called with a member's name, before its value.
    ///
    /// # Errors
    /// An error stops the lexer.
    fn name(&mut self, depth: usize, name: JsonText<'_>) -> Result<(), Self::Stop>;

    /// The number of bytes to keep of the next string or number. 0 skips its text.
    fn scalar_bytes(&self, depth: usize) -> usize;

    /// Called with a string, a number, a boolean or null.
    ///
    /// # Errors
    /// An error stops the lexer.
    fn scalar(&mut self, depth: usize, value: Scalar<'_>) -> Result<(), Self::Stop>;
}

/// An error of the lexer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum JsonError<S> {
    /// A syntax error.
    #[error("not JSON at byte {offset}: expected {expected}")]
    Syntax {
        /// The number of bytes before the error.
        offset: u64,
        /// The valid input at this place.
        expected: &'static str,
    },
    /// More open containers than the lexer's limit.
    #[error("nested too deeply at byte {offset}")]
    TooDeep {
        /// The number of bytes before the first container above the limit.
        offset: u64,
    },
    /// A string that is not UTF-8.
    #[error("not UTF-8 at byte {offset}")]
    Utf8 {
        /// The number of bytes before the invalid character.
        offset: u64,
    },
    /// The visitor stopped the lexer.
    #[error("{0}")]
    Stopped(S),
}
