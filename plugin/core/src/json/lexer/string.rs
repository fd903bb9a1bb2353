//! The inside of strings: stretches, escapes, characters cut by a border.

use super::kept::prefix;
use super::plain;
use super::visitor::{Scalar, Text, Visitor};
use super::{Fault, Lexer, Piece, Role, State};

impl Lexer {
    /// A string from its start. One that ends in this piece and holds no escape is not copied.
    pub(super) fn short_string<V: Visitor>(
        &mut self,
        role: Role,
        piece: &mut Piece<'_>,
        visitor: &mut V,
    ) -> Result<(), Fault<V::Stop>> {
        let plain = plain::split(piece.rest);
        let [b'"', rest @ ..] = plain.rest else {
            return Ok(());
        };
        let text = if self.kept.bound == 0 && plain.ascii {
            Text { text: "", whole: plain.run.is_empty() }
        } else {
            match core::str::from_utf8(plain.run) {
                Ok(text) => prefix(text, self.kept.bound),
                // The slow way finds the place.
                Err(_) => return Ok(()),
            }
        };
        piece.rest = rest;
        self.state = match role {
            Role::Name => State::Colon,
            Role::Value => self.after_value(),
        };
        visitor.reached(piece.offset());
        match role {
            Role::Name => visitor.name(self.depth, text),
            Role::Value => visitor.scalar(self.depth, Scalar::String(text)),
        }
        .map_err(Fault::Stop)
    }

    pub(super) fn string<V: Visitor>(
        &mut self,
        role: Role,
        piece: &mut Piece<'_>,
        visitor: &mut V,
    ) -> Result<(), Fault<V::Stop>> {
        while self.partial_len > 0 {
            let [byte, rest @ ..] = piece.rest else {
                return Ok(());
            };
            self.complete(*byte)?;
            piece.rest = rest;
        }
        let plain = plain::split(piece.rest);
        if plain.ascii && self.kept.bound == 0 {
            self.kept.cut |= !plain.run.is_empty();
        } else {
            self.keep(plain.run, plain.rest.is_empty()).map_err(|read| {
                piece.skip(read);
                Fault::Utf8 { back: 0 }
            })?;
        }
        piece.rest = plain.rest;
        match plain.rest {
            [b'"', rest @ ..] => {
                piece.rest = rest;
                visitor.reached(piece.offset());
                let text = self.kept.text();
                match role {
                    Role::Name => {
                        self.state = State::Colon;
                        visitor.name(self.depth, text)
                    }
                    Role::Value => {
                        self.state = self.after_value();
                        visitor.scalar(self.depth, Scalar::String(text))
                    }
                }
                .map_err(Fault::Stop)
            }
            [b'\\', rest @ ..] => {
                piece.rest = rest;
                self.state = State::Escape(role);
                Ok(())
            }
            [_, ..] => Err(Fault::Syntax("control characters in a string to be escaped")),
            [] => Ok(()),
        }
    }

    /// Keeps a stretch of a string; an error is the number of its bytes that are UTF-8.
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

    /// One more byte of a character that a border between two pieces cut.
    fn complete<S>(&mut self, byte: u8) -> Result<(), Fault<S>> {
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
            Err(_) => Err(Fault::Utf8 { back: self.partial_len }),
        }
    }

    pub(super) fn escape<S>(&mut self, role: Role, piece: &mut Piece<'_>) -> Result<(), Fault<S>> {
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
                self.state = State::Hex { role, left: 4 };
                return Ok(());
            }
            _ => return Err(Fault::Syntax("one of `\"\\/bfnrtu` after a backslash")),
        };
        piece.rest = rest;
        self.kept.push(text);
        self.state = State::String(role);
        Ok(())
    }

    pub(super) fn hex<S>(&mut self, role: Role, left: u8, piece: &mut Piece<'_>) -> Result<(), Fault<S>> {
        const LONE: &str = "both halves of a surrogate pair";
        let [byte, rest @ ..] = piece.rest else {
            return Ok(());
        };
        let Some(digit) = char::from(*byte).to_digit(16) else {
            return Err(Fault::Syntax("four hexadecimal digits after `\\u`"));
        };
        let unit = self.unit << 4 | u16::try_from(digit).unwrap_or_default();
        if left > 1 {
            piece.rest = rest;
            self.unit = unit;
            self.state = State::Hex { role, left: left - 1 };
            return Ok(());
        }
        let high = core::mem::take(&mut self.high);
        match (high, unit) {
            (0, 0xd800..=0xdbff) => {
                self.high = unit;
                self.state = State::Pair(role);
            }
            _ => {
                let code = match (high, unit) {
                    (0, _) => u32::from(unit),
                    (_, 0xdc00..=0xdfff) => {
                        0x1_0000 + ((u32::from(high) & 0x3ff) << 10 | u32::from(unit) & 0x3ff)
                    }
                    _ => return Err(Fault::Syntax(LONE)),
                };
                let Some(character) = char::from_u32(code) else {
                    return Err(Fault::Syntax(LONE));
                };
                self.kept.push(character.encode_utf8(&mut [0; 4]));
                self.state = State::String(role);
            }
        }
        piece.rest = rest;
        Ok(())
    }

    /// Between the two halves of a surrogate pair.
    pub(super) fn pair<S>(&mut self, piece: &mut Piece<'_>) -> Result<(), Fault<S>> {
        let [byte, rest @ ..] = piece.rest else {
            return Ok(());
        };
        self.state = match (self.state, byte) {
            (State::Pair(role), b'\\') => State::PairU(role),
            (State::PairU(role), b'u') => {
                self.unit = 0;
                State::Hex { role, left: 4 }
            }
            _ => return Err(Fault::Syntax("the second half of a surrogate pair")),
        };
        piece.rest = rest;
        Ok(())
    }
}
