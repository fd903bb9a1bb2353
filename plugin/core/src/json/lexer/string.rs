//! Strings: runs without escapes, escapes, and characters cut by the end of a piece.

use super::kept::prefix;
use super::plain;
use super::visitor::{JsonText, Scalar, Visitor};
use super::{Lexer, LexerFault, LexerState, Piece, Role};

impl Lexer {
    /// Reads a string from its start. Returns true if it ends in this piece.
    #[inline(always)]
    pub(super) fn string_from_start<V: Visitor>(
        &mut self,
        role: Role,
        piece: &mut Piece<'_, V>,
    ) -> Result<bool, LexerFault<V::Stop>> {
        let bound = match role {
            Role::Name => piece.visitor.name_bytes(self.depth),
            Role::Value => piece.visitor.scalar_bytes(self.depth),
        };
        let start = piece.rest;
        let read = if bound == 0 {
            piece.rest = plain::skip(start);
            Some(JsonText { text: "", whole: piece.rest.len() == start.len(), escaped: false })
        } else {
            let plain = plain::split(start);
            // A string without escapes that ends in this piece is not copied.
            let ends = plain.rest.starts_with(b"\"");
            let text = if ends { plain.text() } else { None };
            text.map(|text| {
                piece.rest = plain.rest;
                prefix(text, bound)
            })
        };
        if let Some(text) = read
            && let [b'"', rest @ ..] = piece.rest
        {
            piece.rest = rest;
            self.string_ends(role, text, piece)?;
            return Ok(true);
        }
        self.kept.start(bound);
        self.kept.cut = piece.rest.len() < start.len();
        self.state = LexerState::String(role);
        Ok(false)
    }

    /// Reads the rest of a string, or a part of it.
    pub(super) fn string<V: Visitor>(
        &mut self,
        role: Role,
        piece: &mut Piece<'_, V>,
    ) -> Result<(), LexerFault<V::Stop>> {
        while self.partial_len > 0 {
            let [byte, rest @ ..] = piece.rest else {
                return Ok(());
            };
            self.complete(*byte)?;
            piece.rest = rest;
        }
        if self.kept.bound == 0 {
            let rest = plain::skip(piece.rest);
            self.kept.cut |= rest.len() < piece.rest.len();
            piece.rest = rest;
        }
        let plain = plain::split(piece.rest);
        self.keep(plain.run, plain.rest.is_empty()).map_err(|read| {
            piece.skip(read);
            LexerFault::Utf8 { back: 0 }
        })?;
        piece.rest = plain.rest;
        match plain.rest {
            [b'"', rest @ ..] => {
                piece.rest = rest;
                let kept = core::mem::take(&mut self.kept);
                let result = self.string_ends(role, kept.text(), piece);
                self.kept = kept;
                result
            }
            [b'\\', rest @ ..] => {
                piece.rest = rest;
                self.kept.escaped = true;
                self.state = LexerState::Escape(role);
                Ok(())
            }
            [_, ..] => Err(LexerFault::Syntax("control characters in a string to be escaped")),
            [] => Ok(()),
        }
    }

    fn string_ends<V: Visitor>(
        &mut self,
        role: Role,
        text: JsonText<'_>,
        piece: &mut Piece<'_, V>,
    ) -> Result<(), LexerFault<V::Stop>> {
        piece.reached();
        match role {
            Role::Name => {
                self.state = LexerState::Colon;
                piece.visitor.name(self.depth, text)
            }
            Role::Value => {
                self.state = self.after_value();
                piece.visitor.scalar(self.depth, Scalar::String(text))
            }
        }
        .map_err(LexerFault::Stop)
    }

    /// Keeps a run of a string. The error is the number of its bytes that are valid UTF-8.
    fn keep(&mut self, run: &[u8], more_may_come: bool) -> Result<(), usize> {
        match core::str::from_utf8(run) {
            Ok(text) => self.kept.push(text),
            Err(error) => {
                let good = error.valid_up_to();
                let (head, tail) = run.split_at_checked(good).unwrap_or_default();
                if error.error_len().is_some() || !more_may_come {
                    return Err(good);
                }
                self.kept.push(core::str::from_utf8(head).unwrap_or_default());
                for (slot, byte) in self.partial.iter_mut().zip(tail) {
                    *slot = *byte;
                }
                self.partial_len = tail.len();
            }
        }
        Ok(())
    }

    /// Reads one more byte of a character that the end of a piece cut.
    fn complete<S>(&mut self, byte: u8) -> Result<(), LexerFault<S>> {
        let length = self.partial_len + 1;
        if let Some(slot) = self.partial.get_mut(self.partial_len) {
            *slot = byte;
        }
        let bytes = self.partial.get(..length).unwrap_or_default();
        match core::str::from_utf8(bytes) {
            Ok(text) => {
                self.kept.push(text);
                self.partial_len = 0;
                Ok(())
            }
            Err(error) if error.error_len().is_none() => {
                self.partial_len = length;
                Ok(())
            }
            Err(_) => Err(LexerFault::Utf8 { back: self.partial_len }),
        }
    }

    pub(super) fn escape<V: Visitor>(
        &mut self,
        role: Role,
        piece: &mut Piece<'_, V>,
    ) -> Result<(), LexerFault<V::Stop>> {
        let [byte, rest @ ..] = piece.rest else {
            return Ok(());
        };
        let text = match byte {
            b'"' => "\"",
            b'\\' => "\\",
            b'/' => "/",
            b'b' => "\u{8}",
            b'f' => "\u{c}",
            b'n' => "\n",
            b'r' => "\r",
            b't' => "\t",
            b'u' => {
                piece.rest = rest;
                self.unit = 0;
                self.state = LexerState::Hex { role, left: 4 };
                return Ok(());
            }
            _ => return Err(LexerFault::Syntax("one of `\"\\/bfnrtu` after a backslash")),
        };
        piece.rest = rest;
        self.kept.push(text);
        self.state = LexerState::String(role);
        Ok(())
    }

    pub(super) fn hex<V: Visitor>(
        &mut self,
        role: Role,
        left: u8,
        piece: &mut Piece<'_, V>,
    ) -> Result<(), LexerFault<V::Stop>> {
        const LONE: &str = "both halves of a surrogate pair";
        let [byte, rest @ ..] = piece.rest else {
            return Ok(());
        };
        let Some(digit) = char::from(*byte).to_digit(16) else {
            return Err(LexerFault::Syntax("four hexadecimal digits after `\\u`"));
        };
        let unit = self.unit << 4 | u16::try_from(digit).unwrap_or_default();
        if left > 1 {
            piece.rest = rest;
            self.unit = unit;
            self.state = LexerState::Hex { role, left: left - 1 };
            return Ok(());
        }
        let high = core::mem::take(&mut self.high);
        match (high, unit) {
            (0, 0xd800..=0xdbff) => {
                self.high = unit;
                self.state = LexerState::Pair(role);
            }
            _ => {
                let code = match (high, unit) {
                    (0, _) => u32::from(unit),
                    (_, 0xdc00..=0xdfff) => {
                        0x1_0000 + ((u32::from(high) & 0x3ff) << 10 | u32::from(unit) & 0x3ff)
                    }
                    _ => return Err(LexerFault::Syntax(LONE)),
                };
                let Some(character) = char::from_u32(code) else {
                    return Err(LexerFault::Syntax(LONE));
                };
                self.kept.push(character.encode_utf8(&mut [0; 4]));
                self.state = LexerState::String(role);
            }
        }
        piece.rest = rest;
        Ok(())
    }

    /// Reads the bytes between the two halves of a surrogate pair.
    pub(super) fn pair<V: Visitor>(&mut self, piece: &mut Piece<'_, V>) -> Result<(), LexerFault<V::Stop>> {
        let [byte, rest @ ..] = piece.rest else {
            return Ok(());
        };
        self.state = match (self.state, byte) {
            (LexerState::Pair(role), b'\\') => LexerState::PairU(role),
            (LexerState::PairU(role), b'u') => {
                self.unit = 0;
                LexerState::Hex { role, left: 4 }
            }
            _ => return Err(LexerFault::Syntax("the second half of a surrogate pair")),
        };
        piece.rest = rest;
        Ok(())
    }
}
