//! What a lexer tells, and whom.

/// What holds other values.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Container {
    /// `{}`
    Object,
    /// `[]`
    Array,
}

/// A text of the document, unescaped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JsonText<'a> {
    /// As much of it as the visitor asked for, cut at a character's border.
    pub text: &'a str,
    /// Nothing was cut off.
    pub whole: bool,
    /// It was written with escapes; of a text that is skipped this is not told.
    pub escaped: bool,
}

impl JsonText<'_> {
    /// Whether the whole text is this one.
    #[must_use]
    pub fn is(&self, other: &str) -> bool {
        self.whole && self.text == other
    }
}

/// A value that holds no other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scalar<'a> {
    /// A string.
    String(JsonText<'a>),
    /// A number as it is written.
    Number(JsonText<'a>),
    /// `true` or `false`.
    Bool(bool),
    /// `null`
    Null,
}

/// Who is told of the document, in its order.
///
/// `depth` is the number of containers open around the thing: 0 for the document's own value, 1 for
/// the members of its object and their names. Whatever the pieces, the calls are the same.
pub trait Visitor {
    /// The visitor's own reason to end early.
    type Stop;

    /// Called before each of the others: the document's bytes up to the end of what they tell of.
    fn reached(&mut self, offset: u64) {
        let _ = offset;
    }

    /// A container opens.
    ///
    /// # Errors
    /// Ends the lexer.
    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), Self::Stop> {
        let _ = (depth, kind);
        Ok(())
    }

    /// A container closes.
    ///
    /// # Errors
    /// Ends the lexer.
    fn end(&mut self, depth: usize, kind: Container) -> Result<(), Self::Stop> {
        let _ = (depth, kind);
        Ok(())
    }

    /// How many bytes to keep of the name that comes now. With 0 its text is skipped.
    fn name_bytes(&self, depth: usize) -> usize;

    /// A member's name; its value comes next.
    ///
    /// # Errors
    /// Ends the lexer.
    fn name(&mut self, depth: usize, name: JsonText<'_>) -> Result<(), Self::Stop>;

    /// How many bytes to keep of the string or number that comes now. With 0 its text is skipped.
    fn scalar_bytes(&self, depth: usize) -> usize;

    /// A string, a number, a truth value or null.
    ///
    /// # Errors
    /// Ends the lexer.
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
