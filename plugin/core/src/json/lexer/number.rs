//! The grammar of a number (RFC 8259, 6).

use super::kept::prefix;
use super::visitor::{JsonText, Scalar, Visitor};
use super::{Lexer, LexerFault, LexerState, Piece};

/// The state of a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Number {
    Minus,
    Zero,
    Integer,
    Point,
    Fraction,
    Exponent,
    Sign,
    Power,
}

impl Number {
    /// The state after the first byte; `None` if a number cannot begin with it.
    pub(super) fn begin(byte: u8) -> Option<Self> {
        match byte {
            b'-' => Some(Self::Minus),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Integer),
            _ => None,
        }
    }

    /// The state after one more byte; `None` if the byte is not part of the number.
    pub(super) fn next(self, byte: u8) -> Option<Self> {
        Some(match (self, byte) {
            (Self::Minus, b'0') => Self::Zero,
            (Self::Minus, b'1'..=b'9') | (Self::Integer, b'0'..=b'9') => Self::Integer,
            (Self::Zero | Self::Integer, b'.') => Self::Point,
            (Self::Point | Self::Fraction, b'0'..=b'9') => Self::Fraction,
            (Self::Zero | Self::Integer | Self::Fraction, b'e' | b'E') => Self::Exponent,
            (Self::Exponent, b'+' | b'-') => Self::Sign,
            (Self::Exponent | Self::Sign | Self::Power, b'0'..=b'9') => Self::Power,
            _ => return None,
        })
    }

    /// The state after these bytes, and the number of bytes that are part of the number.
    fn over(mut self, bytes: &[u8]) -> (Self, usize) {
        // Fast path: most numbers are only digits.
        let digits = if self == Self::Integer {
            bytes.iter().take_while(|byte| byte.is_ascii_digit()).count()
        } else {
            0
        };
        for (read, &byte) in bytes.iter().enumerate().skip(digits) {
            let Some(next) = self.next(byte) else {
                return (self, read);
            };
            self = next;
        }
        (self, bytes.len())
    }

    /// True if the number may end here.
    pub(super) fn is_whole(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::Power)
    }
}

impl Lexer {
    /// Reads a number from its start. Returns true if it ends in this piece; then it is not copied.
    pub(super) fn number_from_start<V: Visitor>(
        &mut self,
        begun: Number,
        piece: &mut Piece<'_, V>,
    ) -> Result<bool, LexerFault<V::Stop>> {
        let bound = piece.visitor.scalar_bytes(self.depth);
        let (number, others) = begun.over(piece.rest.get(1..).unwrap_or_default());
        let (digits, rest) = piece.rest.split_at_checked(1 + others).unwrap_or_default();
        piece.rest = rest;
        let digits = if bound == 0 { None } else { core::str::from_utf8(digits).ok() };
        if rest.is_empty() {
            self.kept.start(bound);
            self.kept.push(digits.unwrap_or("-"));
            self.state = LexerState::Number(number);
            return Ok(false);
        }
        let text = digits
            .map_or(JsonText { text: "", whole: false, escaped: false }, |digits| prefix(digits, bound));
        self.number_ends(number, text, piece)?;
        Ok(true)
    }

    /// Reads the rest of a number.
    pub(super) fn number<V: Visitor>(
        &mut self,
        begun: Number,
        piece: &mut Piece<'_, V>,
    ) -> Result<(), LexerFault<V::Stop>> {
        let (number, length) = begun.over(piece.rest);
        let (digits, rest) = piece.rest.split_at_checked(length).unwrap_or_default();
        self.kept.push(core::str::from_utf8(digits).unwrap_or_default());
        piece.rest = rest;
        if rest.is_empty() {
            self.state = LexerState::Number(number);
            return Ok(());
        }
        let kept = core::mem::take(&mut self.kept);
        let result = self.number_ends(number, kept.text(), piece);
        self.kept = kept;
        result
    }

    fn number_ends<V: Visitor>(
        &mut self,
        number: Number,
        text: JsonText<'_>,
        piece: &mut Piece<'_, V>,
    ) -> Result<(), LexerFault<V::Stop>> {
        if !number.is_whole() {
            return Err(LexerFault::Syntax("a digit"));
        }
        self.state = self.after_value();
        piece.reached();
        piece.visitor.scalar(self.depth, Scalar::Number(text)).map_err(LexerFault::Stop)
    }
}
