//! A strict JSON lexer (RFC 8259) that reads a document in pieces.
//!
//! Hand-written: a body arrives in pieces and is never held in whole, and the only push parser found, `actson`, is 2 to 7
//! times slower.
//!
//! It accepts only documents that every conforming parser reads in the same way: UTF-8 is checked, the depth is bounded,
//! escapes must be characters (no lone surrogates), and only white space may surround the one document (no byte order
//! mark). Duplicate names are left to the visitor.
//!
//! ```
//! use tollgate_core::json::lexer::{Container, JsonText, Lexer, Scalar, Visitor};
//!
//! /// The member `model` of the document's object.
//! #[derive(Default)]
//! struct Model {
//!     here: bool,
//!     found: Option<String>,
//! }
//!
//! impl Visitor for Model {
//!     type Stop = core::convert::Infallible;
//!
//!     fn name_bytes(&self, depth: usize) -> usize {
//!         if depth == 1 { 16 } else { 0 }
//!     }
//!     fn name(&mut self, depth: usize, name: JsonText<'_>) -> Result<(), Self::Stop> {
//!         self.here = depth == 1 && name.is("model");
//!         Ok(())
//!     }
//!     fn scalar_bytes(&self, depth: usize) -> usize {
//!         if depth == 1 && self.here { 64 } else { 0 }
//!     }
//!     fn scalar(&mut self, depth: usize, value: Scalar<'_>) -> Result<(), Self::Stop> {
//!         if let (1, true, Scalar::String(text)) = (depth, self.here, value) {
//!             self.found = Some(text.text.into());
//!         }
//!         Ok(())
//!     }
//! }
//!
//! let (mut lexer, mut model) = (Lexer::new(128), Model::default());
//! lexer.push(br#"{"messages": [{"model": "x"}], "mod"#, &mut model).unwrap();
//! lexer.push(br#"el": "gpt-5\u002dmini"}"#, &mut model).unwrap();
//! lexer.finish(&mut model).unwrap();
//! assert_eq!(model.found.as_deref(), Some("gpt-5-mini"));
//! ```

mod kept;
mod number;
mod plain;
mod string;
mod visitor;

use kept::Kept;
use number::Number;
pub use visitor::{Container, JsonError, JsonText, Scalar, Visitor};

/// The largest depth that a lexer supports.
pub const MAX_DEPTH: usize = 512;

const WORDS: usize = MAX_DEPTH / 64;

/// An error without its offset. `back` is the distance from the current position.
enum LexerFault<S> {
    Syntax(&'static str),
    TooDeep,
    Utf8 { back: usize },
    Stop(S),
}

const AFTER_ERROR: &str = "nothing more: an error was reported before";

/// The rest of the piece being read, and the visitor. One argument instead of two: arguments on the stack cause stalls in
/// wasmtime.
struct Piece<'a, V> {
    rest: &'a [u8],
    /// The number of the document's bytes up to the end of this piece.
    end: u64,
    visitor: &'a mut V,
}

impl<V: Visitor> Piece<'_, V> {
    fn offset(&self) -> u64 {
        self.end - self.rest.len() as u64
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn reached(&mut self) {
        self.visitor.reached(self.offset());
    }
}

/// The role of a string in the document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Name,
    Value,
}

/// A literal of the grammar.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Word {
    True,
    False,
    Null,
}

impl Word {
    fn begin(byte: u8) -> Option<Self> {
        match byte {
            b't' => Some(Self::True),
            b'f' => Some(Self::False),
            b'n' => Some(Self::Null),
            _ => None,
        }
    }

    fn text(self) -> &'static [u8] {
        match self {
            Self::True => b"true",
            Self::False => b"false",
            Self::Null => b"null",
        }
    }

    fn scalar(self) -> Scalar<'static> {
        match self {
            Self::True => Scalar::Bool(true),
            Self::False => Scalar::Bool(false),
            Self::Null => Scalar::Null,
        }
    }
}

/// The expected input.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LexerState {
    /// A value.
    Value,
    /// A value, or the end of the array that just opened.
    First,
    /// A name, or the end of the object that just opened.
    FirstName,
    /// A name.
    Name,
    /// A colon.
    Colon,
    /// A comma, or the end of the container.
    After,
    /// White space.
    Done,
    /// The rest of a string.
    String(Role),
    /// The character after a backslash.
    Escape(Role),
    /// `left` hexadecimal digits.
    Hex { role: Role, left: u8 },
    /// The backslash of a second surrogate.
    Pair(Role),
    /// The `u` of a second surrogate.
    PairU(Role),
    /// The rest of a number.
    Number(Number),
    /// The rest of a literal, after `read` bytes.
    Word { word: Word, read: u8 },
    /// Nothing, after an error.
    Failed,
}

/// A reader of one document in pieces.
///
/// Its size is fixed, except for a copy of a requested text that has escapes or lies across pieces, at most as long as the
/// visitor's bound.
#[derive(Clone, Debug)]
pub struct Lexer {
    state: LexerState,
    /// One bit for each open container; set for an object.
    objects: [u64; WORDS],
    depth: usize,
    /// True if the innermost container is an object.
    in_object: bool,
    max_depth: usize,
    offset: u64,
    kept: Kept,
    /// A character that the end of a piece cut.
    partial: [u8; 4],
    partial_len: usize,
    /// The value of the escape being read.
    unit: u16,
    /// The first surrogate of a pair, or 0.
    high: u16,
}

impl Lexer {
    /// Creates a lexer that accepts `max_depth` nested containers, at most [`MAX_DEPTH`].
    #[must_use]
    pub fn new(max_depth: usize) -> Self {
        Self {
            state: LexerState::Value,
            objects: [0; WORDS],
            depth: 0,
            in_object: false,
            max_depth: max_depth.min(MAX_DEPTH),
            offset: 0,
            kept: Kept::default(),
            partial: [0; 4],
            partial_len: 0,
            unit: 0,
            high: 0,
        }
    }

    /// Resets the lexer for another document.
    pub fn restart(&mut self) {
        self.state = LexerState::Value;
        self.depth = 0;
        self.in_object = false;
        self.offset = 0;
        self.partial_len = 0;
        self.high = 0;
    }

    /// The number of bytes read; within a visitor's call, the number before the present piece.
    #[must_use]
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads the next piece.
    ///
    /// # Errors
    /// At the first byte that makes the document invalid, or if the visitor stops. After an error every further call fails.
    pub fn push<V: Visitor>(&mut self, bytes: &[u8], visitor: &mut V) -> Result<(), JsonError<V::Stop>> {
        let mut piece = Piece { rest: bytes, end: self.offset + bytes.len() as u64, visitor };
        let result = self.run(&mut piece);
        self.offset = piece.offset();
        result.map_err(|fault| self.fail(fault))
    }

    /// Ends the document.
    ///
    /// # Errors
    /// If it is incomplete, or the visitor stops at the number that ends it.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other state is an error")]
    pub fn finish<V: Visitor>(&mut self, visitor: &mut V) -> Result<(), JsonError<V::Stop>> {
        let result = match self.state {
            LexerState::Done => Ok(()),
            LexerState::Number(number) if self.depth == 0 && number.is_whole() => {
                self.state = LexerState::Done;
                visitor.reached(self.offset);
                visitor.scalar(0, Scalar::Number(self.kept.text())).map_err(LexerFault::Stop)
            }
            LexerState::Failed => Err(LexerFault::Syntax(AFTER_ERROR)),
            LexerState::Value if self.depth == 0 => Err(LexerFault::Syntax("a JSON value")),
            _ => Err(LexerFault::Syntax("the rest of the document")),
        };
        result.map_err(|fault| self.fail(fault))
    }

    fn fail<S>(&mut self, fault: LexerFault<S>) -> JsonError<S> {
        self.state = LexerState::Failed;
        let offset = self.offset;
        match fault {
            LexerFault::Syntax(expected) => JsonError::Syntax { offset, expected },
            LexerFault::TooDeep => JsonError::TooDeep { offset },
            LexerFault::Utf8 { back } => JsonError::Utf8 { offset: offset.saturating_sub(back as u64) },
            LexerFault::Stop(stop) => JsonError::Stopped(stop),
        }
    }

    fn run<V: Visitor>(&mut self, piece: &mut Piece<'_, V>) -> Result<(), LexerFault<V::Stop>> {
        while !piece.rest.is_empty() {
            match self.state {
                LexerState::String(role) => self.string(role, piece)?,
                LexerState::Number(number) => self.number(number, piece)?,
                LexerState::Escape(role) => self.escape(role, piece)?,
                LexerState::Hex { role, left } => self.hex(role, left, piece)?,
                LexerState::Pair(_) | LexerState::PairU(_) => self.pair(piece)?,
                LexerState::Word { word, read } => self.word(word, read, piece)?,
                LexerState::Value
                | LexerState::First
                | LexerState::FirstName
                | LexerState::Name
                | LexerState::Colon
                | LexerState::After
                | LexerState::Done
                | LexerState::Failed => self.structure(piece)?,
            }
        }
        Ok(())
    }

    /// Reads structure, and texts that lie completely in the piece.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other state is an error")]
    fn structure<V: Visitor>(&mut self, piece: &mut Piece<'_, V>) -> Result<(), LexerFault<V::Stop>> {
        let mut whole = true;
        while whole && let Some(&byte) = piece.rest.first() {
            if matches!(byte, b' ' | b'\n' | b'\r' | b'\t') {
                piece.skip(1);
                continue;
            }
            match self.state {
                LexerState::After if byte == b',' => {
                    piece.skip(1);
                    self.state = if self.in_object { LexerState::Name } else { LexerState::Value };
                }
                LexerState::After if byte == self.closing() => self.close(piece)?,
                LexerState::Name | LexerState::FirstName if byte == b'"' => {
                    piece.skip(1);
                    whole = self.string_from_start(Role::Name, piece)?;
                    if whole && let [b':', rest @ ..] = piece.rest {
                        piece.rest = rest;
                        self.state = LexerState::Value;
                    }
                }
                LexerState::FirstName | LexerState::First if byte == self.closing() => self.close(piece)?,
                LexerState::Value | LexerState::First => whole = self.value(byte, piece)?,
                LexerState::Colon if byte == b':' => {
                    piece.skip(1);
                    self.state = LexerState::Value;
                }
                state => {
                    return Err(LexerFault::Syntax(match state {
                        LexerState::FirstName => "a member's name or `}`",
                        LexerState::Name => "a member's name",
                        LexerState::Colon => "`:`",
                        LexerState::After if self.in_object => "`,` or `}`",
                        LexerState::After => "`,` or `]`",
                        LexerState::Failed => AFTER_ERROR,
                        _ => "nothing after the document's end",
                    }));
                }
            }
        }
        Ok(())
    }

    /// The byte that ends the innermost container.
    fn closing(&self) -> u8 {
        if self.in_object { b'}' } else { b']' }
    }

    /// Reads the start of a value: all of it, unless it is a container or continues in the next piece.
    fn value<V: Visitor>(&mut self, byte: u8, piece: &mut Piece<'_, V>) -> Result<bool, LexerFault<V::Stop>> {
        match byte {
            b'"' => {
                piece.skip(1);
                return self.string_from_start(Role::Value, piece);
            }
            b'{' => self.open(Container::Object, piece)?,
            b'[' => self.open(Container::Array, piece)?,
            _ => {
                if let Some(word) = Word::begin(byte) {
                    self.state = LexerState::Word { word, read: 0 };
                    self.word(word, 0, piece)?;
                } else if let Some(number) = Number::begin(byte) {
                    return self.number_from_start(number, piece);
                } else {
                    let in_new_array = self.state == LexerState::First;
                    return Err(LexerFault::Syntax(if in_new_array {
                        "a JSON value or `]`"
                    } else {
                        "a JSON value"
                    }));
                }
            }
        }
        Ok(true)
    }

    fn is_object(&self, depth: usize) -> bool {
        let Some(top) = depth.checked_sub(1) else {
            return false;
        };
        self.objects.get(top / 64).is_some_and(|word| word >> (top % 64) & 1 == 1)
    }

    fn open<V: Visitor>(
        &mut self,
        kind: Container,
        piece: &mut Piece<'_, V>,
    ) -> Result<(), LexerFault<V::Stop>> {
        let depth = self.depth;
        if depth >= self.max_depth {
            return Err(LexerFault::TooDeep);
        }
        piece.skip(1);
        self.in_object = kind == Container::Object;
        if let Some(word) = self.objects.get_mut(depth / 64) {
            let bit = 1 << (depth % 64);
            if self.in_object { *word |= bit } else { *word &= !bit }
        }
        self.depth = depth + 1;
        self.state = if self.in_object { LexerState::FirstName } else { LexerState::First };
        piece.reached();
        piece.visitor.begin(depth, kind).map_err(LexerFault::Stop)
    }

    fn close<V: Visitor>(&mut self, piece: &mut Piece<'_, V>) -> Result<(), LexerFault<V::Stop>> {
        let kind = if self.in_object { Container::Object } else { Container::Array };
        piece.skip(1);
        self.depth = self.depth.saturating_sub(1);
        self.in_object = self.is_object(self.depth);
        self.state = self.after_value();
        piece.reached();
        piece.visitor.end(self.depth, kind).map_err(LexerFault::Stop)
    }

    fn after_value(&self) -> LexerState {
        if self.depth == 0 { LexerState::Done } else { LexerState::After }
    }

    fn word<V: Visitor>(
        &mut self,
        word: Word,
        read: u8,
        piece: &mut Piece<'_, V>,
    ) -> Result<(), LexerFault<V::Stop>> {
        let expected = word.text().get(usize::from(read)..).unwrap_or_default();
        if let Some(rest) = piece.rest.strip_prefix(expected) {
            piece.rest = rest;
            self.state = self.after_value();
            piece.reached();
            return piece.visitor.scalar(self.depth, word.scalar()).map_err(LexerFault::Stop);
        }
        let read_now = expected.iter().zip(piece.rest).take_while(|(one, other)| one == other).count();
        piece.skip(read_now);
        self.state = LexerState::Word { word, read: read + read_now as u8 };
        if piece.rest.is_empty() { Ok(()) } else { Err(LexerFault::Syntax("`true`, `false` or `null`")) }
    }
}
