//! The buffer for a text that cannot be borrowed from the piece.

use alloc::string::String;

use super::visitor::JsonText;

/// A copy of the text being read, up to the bound that the visitor requested.
#[derive(Clone, Debug, Default)]
pub(super) struct Kept {
    text: String,
    pub(super) bound: usize,
    pub(super) cut: bool,
    pub(super) escaped: bool,
}

impl Kept {
    pub(super) fn start(&mut self, bound: usize) {
        self.text.clear();
        self.bound = bound;
        self.cut = false;
        self.escaped = false;
    }

    pub(super) fn push(&mut self, piece: &str) {
        if self.cut || piece.is_empty() {
            return;
        }
        let room = self.bound.saturating_sub(self.text.len());
        let part = prefix(piece, room);
        self.cut = !part.whole;
        self.text.push_str(part.text);
    }

    pub(super) fn text(&self) -> JsonText<'_> {
        // A skipped text is skipped with its escapes.
        JsonText { text: &self.text, whole: !self.cut, escaped: self.escaped && self.bound > 0 }
    }
}

/// The first `bound` bytes of a text, less a character that would be cut.
pub(super) fn prefix(text: &str, bound: usize) -> JsonText<'_> {
    let whole = text.len() <= bound;
    let end = if whole { text.len() } else { text.floor_char_boundary(bound) };
    JsonText { text: text.get(..end).unwrap_or_default(), whole, escaped: false }
}
