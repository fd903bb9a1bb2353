//! Server-sent events (HTML standard, 9.2), as far as a meter needs them: their data.
//!
//! An event that lies within one piece and speaks of no usage, or says that there is none yet, is only searched,
//! not parsed: that is what nearly all events of a stream are.

use super::MAX_DEPTH;
use super::extract::UsageExtractor;
use super::marks::QuoteMarks;
use crate::json::lexer::Lexer;
use crate::llm::dialect::MemberName;

/// What ends a stream of OpenAI's chat completions.
const DONE: &[u8] = b"[DONE]";
const BOM: &[u8] = b"\xef\xbb\xbf";
const DATA: &[u8] = b"data";

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SseState {
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
pub(super) struct SseParser {
    state: SseState,
    lexer: Lexer,
    /// The last byte ended a line and was a CR.
    after_cr: bool,
    /// Data of the event that is being read.
    length: u64,
    /// How much of [`DONE`] the data is so far.
    done: Option<usize>,
    broken: bool,
}

impl SseParser {
    pub(super) fn new() -> Self {
        Self {
            state: SseState::Start(0),
            lexer: Lexer::new(MAX_DEPTH),
            after_cr: false,
            length: 0,
            done: Some(0),
            broken: false,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], answer: &mut UsageExtractor) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if core::mem::take(&mut self.after_cr) && byte == b'\n' {
                rest = after(rest, 1);
                continue;
            }
            if self.state == SseState::Field(0)
                && self.length == 0
                && let Some(read) = pass_over(rest, answer)
            {
                rest = after(rest, read);
                continue;
            }
            rest = after(rest, self.step(byte, rest, answer));
        }
    }

    /// The stream ends here: whether it was complete.
    pub(super) fn finish(mut self, answer: &mut UsageExtractor) -> bool {
        // The standard drops an event without its blank line; what it says was sent nevertheless.
        let between = self.length == 0 && matches!(self.state, SseState::Start(_) | SseState::Field(0));
        self.event_ends(answer);
        answer.is_last() || answer.format().ends_between_events && between
    }

    /// Reads at least one byte, and says how many.
    fn step(&mut self, byte: u8, rest: &[u8], answer: &mut UsageExtractor) -> usize {
        if matches!(byte, b'\r' | b'\n') {
            self.after_cr = byte == b'\r';
            match core::mem::replace(&mut self.state, SseState::Field(0)) {
                SseState::Field(0) => self.event_ends(answer),
                SseState::Data | SseState::Space => self.data(b"\n", answer),
                _ => {}
            }
            return 1;
        }
        match self.state {
            SseState::Start(read) if BOM.get(read) == Some(&byte) => {
                self.state =
                    if read + 1 == BOM.len() { SseState::Field(0) } else { SseState::Start(read + 1) };
                1
            }
            SseState::Start(0) => {
                self.state = SseState::Field(0);
                0
            }
            SseState::Field(read) if DATA.get(read) == Some(&byte) => {
                self.state = SseState::Field(read + 1);
                1
            }
            SseState::Field(read) if read == DATA.len() && byte == b':' => {
                self.state = SseState::Space;
                1
            }
            SseState::Space => {
                self.state = SseState::Data;
                usize::from(byte == b' ')
            }
            SseState::Data => {
                let length = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
                self.data(rest.get(..length).unwrap_or_default(), answer);
                length
            }
            SseState::Start(_) | SseState::Field(_) | SseState::Skip => {
                self.state = SseState::Skip;
                memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len())
            }
        }
    }

    fn data(&mut self, bytes: &[u8], answer: &mut UsageExtractor) {
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

    fn event_ends(&mut self, answer: &mut UsageExtractor) {
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

/// Passes over an event of one `data` line that lies whole in `bytes` and says nothing that takes a parser:
/// counts its output, and gives its length.
fn pass_over(bytes: &[u8], answer: &mut UsageExtractor) -> Option<usize> {
    let value = bytes.strip_prefix(b"data:")?;
    let data = value.strip_prefix(b" ").unwrap_or(value);
    let before = bytes.len() - data.len();
    if let Some(rest) = data.strip_prefix(DONE) {
        let blank = blank_line(rest)?;
        answer.saw_last();
        return Some(before + DONE.len() + blank);
    }
    if !is_compact(data) {
        return None;
    }
    let format = answer.format();
    let usage = format.member.name.as_bytes();
    let (mut pieces, mut length) = (0, 0);
    for at in QuoteMarks::of(data) {
        let (read, rest) = data.split_at_checked(at)?;
        match rest {
            // All chunks but one have a null, where usage was asked for.
            [MemberName::INITIAL, ..] if has_value(rest, usage) => return None,
            // A name may be written with escapes. No other escape spells a character of one that is looked for.
            [b'u', b'0', b'0', b'2'..=b'7', ..] if read.ends_with(b"\\") => return None,
            [b'u', ..] => {}
            [b'"', text @ ..] => {
                let read = read.get(..at - 2)?;
                let (before, name) = read.split_at_checked(memchr::memrchr(b'"', read)?)?;
                let name = after(name, 1);
                if before.ends_with(b"\\") {
                    // Not where the name begins: it holds a quote.
                } else if name == b"type" {
                    if format.last_events.contains(text.get(..string_length(text))?) {
                        return None;
                    }
                } else if answer.is_output(name) {
                    let text = string_length(text) as u64;
                    pieces += text.min(1);
                    length += text;
                }
            }
            _ => {
                let blank = blank_line(rest)?;
                answer.saw_output(pieces, length);
                return Some(before + at + blank);
            }
        }
    }
    None
}

/// Returns true for a name that begins like this one, unless it is this one with a null behind it.
fn has_value(text: &[u8], name: &[u8]) -> bool {
    text.strip_prefix(name).is_some_and(|rest| !rest.starts_with(b"\":null"))
}

/// The length of the line end and the empty line that end an event.
fn blank_line(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'\n', b'\n', ..] => Some(2),
        [b'\r', b'\n', b'\r', b'\n', ..] => Some(4),
        _ => None,
    }
}

/// JSON without a space between a name and its value, as its first member shows.
fn is_compact(data: &[u8]) -> bool {
    let colon = memchr::memchr(b':', data).unwrap_or(data.len());
    data.starts_with(b"{\"") && !matches!(data.get(colon + 1), None | Some(b' ' | b'\t'))
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
