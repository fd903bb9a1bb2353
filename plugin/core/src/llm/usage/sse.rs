//! Server-sent events (HTML standard, 9.2), reduced to their data.
//!
//! An event that lies within one piece and has no usage member, or a null as its value, is scanned but not parsed:
//! this is true of nearly all events of a stream.

use super::MAX_DEPTH;
use super::extract::{ERROR, FAILED, UsageExtractor};
use super::marks::QuoteMarks;
use crate::json::lexer::Lexer;
use crate::llm::dialect::MemberName;

/// The data of the last event of OpenAI's chat completions.
const DONE: &[u8] = b"[DONE]";
const BOM: &[u8] = b"\xef\xbb\xbf";
const DATA: &[u8] = b"data";
/// The lines of an event that reports a failure by its name.
const FAILURE_LINES: [&[u8]; 2] = [b"event: error", b"event:error"];
/// The length of the longer one.
const FAILURE_LINE: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SseState {
    /// At the stream's start; holds the number of bytes of a byte order mark that were read.
    Start(usize),
    /// At a line's start; holds the number of bytes of `data` that were read.
    Field(usize),
    /// After the colon, before an optional space.
    Space,
    /// In the value of a `data` line.
    Data,
    /// In a line that may be one of [`FAILURE_LINES`]; holds the number of its bytes that were read.
    Name(usize),
    /// In a line with another field.
    Skip,
}

#[derive(Clone, Debug)]
pub(super) struct SseParser {
    state: SseState,
    lexer: Lexer,
    /// The last byte ended a line and was a CR.
    after_cr: bool,
    /// The length of the current event's data in bytes.
    length: u64,
    /// The number of bytes of [`DONE`] that the data consists of so far.
    done: Option<usize>,
    /// The first bytes of a line that lies across pieces and may be one of [`FAILURE_LINES`].
    line: [u8; FAILURE_LINE],
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
            line: [0; FAILURE_LINE],
            broken: false,
        }
    }

    pub(super) fn push(&mut self, bytes: &[u8], extractor: &mut UsageExtractor) {
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            if core::mem::take(&mut self.after_cr) && byte == b'\n' {
                rest = after(rest, 1);
                continue;
            }
            if self.state == SseState::Field(0)
                && self.length == 0
                && !extractor.is_detailed()
                && let Some(read) = skip_event(rest, extractor)
            {
                rest = after(rest, read);
                continue;
            }
            rest = after(rest, self.step(byte, rest, extractor));
        }
    }

    /// Ends the stream; returns true if it was complete.
    pub(super) fn finish(mut self, extractor: &mut UsageExtractor) -> bool {
        // The standard drops an event without its blank line; its output was sent nevertheless.
        let between = self.length == 0 && matches!(self.state, SseState::Start(_) | SseState::Field(0));
        if let SseState::Name(read) = self.state {
            self.end_name(read, extractor);
        }
        self.end_event(extractor);
        extractor.is_last() || extractor.format().ends_between_events && between
    }

    /// Reads bytes, and returns their number; 0 only at the stream's start.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other state keeps its bytes")]
    fn step(&mut self, byte: u8, rest: &[u8], extractor: &mut UsageExtractor) -> usize {
        if matches!(byte, b'\r' | b'\n') {
            self.after_cr = byte == b'\r';
            match core::mem::replace(&mut self.state, SseState::Field(0)) {
                SseState::Field(0) => self.end_event(extractor),
                SseState::Data | SseState::Space => self.data(b"\n", extractor),
                SseState::Name(read) => self.end_name(read, extractor),
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
                self.data(rest.get(..length).unwrap_or_default(), extractor);
                length
            }
            SseState::Field(0) if byte == b'e' => self.name(0, rest),
            SseState::Name(read) => self.name(read, rest),
            SseState::Start(_) | SseState::Field(_) | SseState::Skip => {
                self.state = SseState::Skip;
                memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len())
            }
        }
    }

    /// Reads more of a line that may be one of [`FAILURE_LINES`], of which `read` bytes were read before; returns the
    /// number of bytes.
    fn name(&mut self, read: usize, rest: &[u8]) -> usize {
        let length = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let room = self.line.get_mut(read..).and_then(|room| room.get_mut(..length));
        self.state = match (room, rest.get(..length)) {
            (Some(room), Some(bytes)) => {
                room.copy_from_slice(bytes);
                SseState::Name(read + length)
            }
            _ => SseState::Skip,
        };
        length
    }

    fn end_name(&self, read: usize, extractor: &mut UsageExtractor) {
        if self.line.get(..read).is_some_and(|line| FAILURE_LINES.contains(&line)) {
            extractor.saw_failure();
        }
    }

    fn data(&mut self, bytes: &[u8], extractor: &mut UsageExtractor) {
        if self.length == 0 {
            self.lexer.restart();
            extractor.restart();
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
        self.broken = self.broken || self.lexer.push(bytes, extractor).is_err();
    }

    fn end_event(&mut self, extractor: &mut UsageExtractor) {
        if self.done == Some(DONE.len()) {
            extractor.saw_last();
        }
        self.length = 0;
        self.done = Some(0);
        self.broken = false;
    }
}

fn after(bytes: &[u8], read: usize) -> &[u8] {
    bytes.get(read..).unwrap_or_default()
}

/// Skips an event of one `data` line that lies entirely in `bytes` and needs no parser: counts its output, and returns
/// its length.
fn skip_event(bytes: &[u8], extractor: &mut UsageExtractor) -> Option<usize> {
    let value = bytes.strip_prefix(b"data:")?;
    let data = value.strip_prefix(b" ").unwrap_or(value);
    let before = bytes.len() - data.len();
    if let Some(rest) = data.strip_prefix(DONE) {
        let blank = blank_line(rest)?;
        extractor.saw_last();
        return Some(before + DONE.len() + blank);
    }
    if !is_compact(data) {
        return None;
    }
    let format = extractor.format();
    let usage = format.member.name.as_bytes();
    let (mut pieces, mut length) = (0, 0);
    for at in QuoteMarks::of(data) {
        let (read, rest) = data.split_at_checked(at)?;
        match rest {
            // If usage was requested, all chunks but one have a null here.
            [MemberName::INITIAL, ..] if has_value(rest, usage) => return None,
            // A name may contain escapes; only these spell a character of a known name.
            [b'u', b'0', b'0', b'2'..=b'7', ..] if read.ends_with(b"\\") => return None,
            [b'u', ..] => {}
            // An error that may be one of the event itself.
            [b'e', ..] if has_value(rest, ERROR.as_bytes()) => return None,
            [b'e', ..] => {}
            [b'"', text @ ..] => {
                let read = read.get(..at - 2)?;
                let (before, name) = read.split_at_checked(memchr::memrchr(b'"', read)?)?;
                let name = after(name, 1);
                if before.ends_with(b"\\") {
                    // The name contains a quote and begins earlier.
                } else if is_word(text, ERROR) || is_word(text, FAILED) {
                    // The type, the object or the status of a failure, or output.
                    return None;
                } else if name == b"type" {
                    let text = text.get(..string_length(text))?;
                    if format.last_events.contains(text) || format.failed_events.contains(text) {
                        return None;
                    }
                } else if extractor.is_output(name) {
                    let text = string_length(text) as u64;
                    pieces += text.min(1);
                    length += text;
                }
            }
            _ => {
                let blank = blank_line(rest)?;
                extractor.saw_output(pieces, length);
                return Some(before + at + blank);
            }
        }
    }
    None
}

/// Returns true if `text` starts with `name`, unless the value of `name` is `null` (compact JSON).
fn has_value(text: &[u8], name: &[u8]) -> bool {
    text.strip_prefix(name).is_some_and(|rest| !rest.starts_with(b"\":null"))
}

/// Returns true if `text` starts with this word and the quote that ends it.
fn is_word(text: &[u8], word: &str) -> bool {
    text.strip_prefix(word.as_bytes()).is_some_and(|rest| rest.starts_with(b"\""))
}

/// The length of the line end and the empty line that end an event.
fn blank_line(rest: &[u8]) -> Option<usize> {
    match rest {
        [b'\n', b'\n', ..] => Some(2),
        [b'\r', b'\n', b'\r', b'\n', ..] => Some(4),
        _ => None,
    }
}

/// Returns true for JSON without a space between a name and its value, judged by the first member.
fn is_compact(data: &[u8]) -> bool {
    let colon = memchr::memchr(b':', data).unwrap_or(data.len());
    data.starts_with(b"{\"") && !matches!(data.get(colon + 1), None | Some(b' ' | b'\t'))
}

/// Returns the number of bytes before the quote that ends a string.
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
