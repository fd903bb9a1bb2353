//! The grammar of a number (RFC 8259, 6), byte for byte.

use super::visitor::{Scalar, Visitor};
use super::{Fault, Lexer, Piece, State};

/// How far into a number the text is.
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
    /// The state after a first byte, if a number can begin so.
    pub(super) fn begin(byte: u8) -> Option<Self> {
        match byte {
            b'-' => Some(Self::Minus),
            b'0' => Some(Self::Zero),
            b'1'..=b'9' => Some(Self::Integer),
            _ => None,
        }
    }

    /// The state after one more byte; `None` if that byte is no part of the number.
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

    /// Whether the number may end here.
    pub(super) fn is_whole(self) -> bool {
        matches!(self, Self::Zero | Self::Integer | Self::Fraction | Self::Power)
    }
}

impl Lexer {
    pub(super) fn number<V: Visitor>(
        &mut self,
        mut number: Number,
        piece: &mut Piece<'_>,
        visitor: &mut V,
    ) -> Result<(), Fault<V::Stop>> {
        let mut length = 0;
        for &byte in piece.rest {
            let Some(next) = number.next(byte) else { break };
            number = next;
            length += 1;
        }
        let (digits, rest) = piece.rest.split_at_checked(length).unwrap_or_default();
        self.kept.push(core::str::from_utf8(digits).unwrap_or_default());
        self.state = State::Number(number);
        piece.rest = rest;
        if rest.is_empty() {
            return Ok(());
        }
        if !number.is_whole() {
            return Err(Fault::Syntax("a digit"));
        }
        self.state = self.after_value();
        visitor.reached(piece.offset());
        visitor.scalar(self.depth, Scalar::Number(self.kept.text())).map_err(Fault::Stop)
    }
}
