//! Server-sent events (HTML standard, 9.2), as far as a meter needs them: their data.
//!
//! An event that lies within one piece and speaks of no usage is only searched, not parsed: that is what
//! nearly all events of a stream are.

use super::MAX_DEPTH;
use super::answer::Answer;
use super::dialect::Family;
use crate::json::lexer::Lexer;

/// What ends a stream of OpenAI's chat completions.
const DONE: &[u8] = b"[DONE]";
const BOM: &[u8] = b"\xef\xbb\xbf";
const DATA: &[u8] = b"data";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// At the stream's start: so much of a byte order mark was read.
    Start(usize),
    /// At a line's start; so much of `data` was read.
    Field(usize),
    /// After the colon: one space may come.
    Space,
    /// In the value of a `data` line.
    Data,
    /// In a line that does not matter.
    Skip,
}

#[derive(Clone, Debug)]
pub(super) struct Events {
    state: State,
    lexer: Lexer,
    /// The last byte ended a line and was a CR.
    after_cr: bool,
    /// Data of the event that is being read.
    length: u64,
    /// How much of [`DONE`] the data is so far.
    done: Option<usize>,
    broken: bool,
}

impl Events {
    pub(super) fn new() -> Self {
        Self {
            state: State::Start(0),
            lexer: Lexer::new(MAX_DEPTH),
            after_cr: false,
            length: 0,
            done: Some(0),
            broken: false,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], answer: &mut Answer) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if core::mem::take(&mut self.after_cr) && byte == b'\n' {
                rest = after(rest, 1);
                continue;
            }
            if self.state == State::Field(0)
                && self.length == 0
                && let Some((data, read)) = whole_event(rest)
                && search(data, answer)
            {
                rest = after(rest, read);
                continue;
            }
            rest = after(rest, self.step(byte, rest, answer));
        }
    }

    /// The stream ends here: whether it was complete.
    pub(super) fn finish(mut self, answer: &mut Answer) -> bool {
        // The standard drops an event without its blank line; what it says was sent nevertheless.
        let between = self.length == 0 && matches!(self.state, State::Start(_) | State::Field(0));
        self.event_ends(answer);
        answer.is_last() || answer.family() == Family::Gemini && between
    }

    /// Reads at least one byte, and says how many.
    fn step(&mut self, byte: u8, rest: &[u8], answer: &mut Answer) -> usize {
        if matches!(byte, b'\r' | b'\n') {
            self.after_cr = byte == b'\r';
            match core::mem::replace(&mut self.state, State::Field(0)) {
                State::Field(0) => self.event_ends(answer),
                State::Data | State::Space => self.data(b"\n", answer),
                _ => {}
            }
            return 1;
        }
        match self.state {
            State::Start(read) if BOM.get(read) == Some(&byte) => {
                self.state = if read + 1 == BOM.len() { State::Field(0) } else { State::Start(read + 1) };
                1
            }
            State::Start(0) => {
                self.state = State::Field(0);
                0
            }
            State::Field(read) if DATA.get(read) == Some(&byte) => {
                self.state = State::Field(read + 1);
                1
            }
            State::Field(read) if read == DATA.len() && byte == b':' => {
                self.state = State::Space;
                1
            }
            State::Space => {
                self.state = State::Data;
                usize::from(byte == b' ')
            }
            State::Data => {
                let length = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                self.data(rest.get(..length).unwrap_or_default(), answer);
                length
            }
            State::Start(_) | State::Field(_) | State::Skip => {
                self.state = State::Skip;
                memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len())
            }
        }
    }

    fn data(&mut self, bytes: &[u8], answer: &mut Answer) {
        if self.length == 0 {
            self.lexer.restart();
            answer.restart();
        }
        for byte in bytes.iter().filter(|byte| **byte != b'\n') {
            match self.done {
                Some(read) if DONE.get(read) == Some(byte) => self.done = Some(read + 1),
                _ => {
                    self.done = None;
                    break;
                }
            }
        }
        self.length = self.length.saturating_add(bytes.len() as u64);
        self.broken = self.broken || self.lexer.push(bytes, answer).is_err();
    }

    fn event_ends(&mut self, answer: &mut Answer) {
        if self.done == Some(DONE.len()) {
            answer.saw_last();
        }
        self.length = 0;
        self.done = Some(0);
        self.broken = false;
    }
}

fn after(bytes: &[u8], read: usize) -> &[u8] {
    bytes.get(read..).unwrap_or_default()
}

/// The data of an event of one `data` line that ends within `bytes`, and where it ends.
fn whole_event(bytes: &[u8]) -> Option<(&[u8], usize)> {
    let value = bytes.strip_prefix(b"data:")?;
    let length = memchr::memchr2(b'\r', b'\n', value)?;
    let (data, rest) = value.split_at_checked(length)?;
    let blank = match rest {
        [b'\n', b'\n', ..] => 2,
        [b'\r', b'\n', b'\r', b'\n', ..] => 4,
        _ => return None,
    };
    Some((data.strip_prefix(b" ").unwrap_or(data), bytes.len() - rest.len() + blank))
}

/// Looks whether an event's data can be passed over, and counts its output if so.
fn search(data: &[u8], answer: &mut Answer) -> bool {
    let family = answer.family();
    if data == DONE {
        answer.saw_last();
        return true;
    }
    if !is_compact(data) || memchr::memmem::find(data, b"\"usage").is_some() {
        return false;
    }
    let (mut pieces, mut bytes) = (0, 0);
    for at in memchr::memmem::find_iter(data, b"\":\"") {
        let name = data.get(..at).unwrap_or_default();
        let name = after(name, memchr::memrchr(b'"', name).map_or(0, |quote| quote + 1));
        let text = after(data, at + 3);
        let length = string_length(text);
        if name == b"type" && text.get(..length).is_some_and(|kind| family.is_last(kind)) {
            return false;
        }
        if length > 0 && answer.is_output(name) {
            pieces += 1;
            bytes += length as u64;
        }
    }
    answer.saw_output(pieces, bytes);
    true
}

/// JSON without a space between a name and its value, as its first member shows.
fn is_compact(data: &[u8]) -> bool {
    let colon = memchr::memchr(b':', data).unwrap_or(data.len());
    data.first() == Some(&b'{') && !matches!(data.get(colon + 1), None | Some(b' ' | b'\t'))
}

/// Bytes before the quote that ends a string.
fn string_length(text: &[u8]) -> usize {
    let mut at = 0;
    loop {
        let rest = after(text, at);
        let Some(next) = memchr::memchr2(b'"', b'\\', rest) else { return text.len() };
        at += next;
        if rest.get(next) == Some(&b'"') {
            return at;
        }
        at += 2;
    }
}
