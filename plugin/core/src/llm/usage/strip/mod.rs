//! Removes from an OpenAI stream what the added `include_usage` causes: the extra chunk, and the null in all others.

mod chunk;
mod plain;

use alloc::borrow::Cow;
use alloc::vec::Vec;

use chunk::ChunkScan;
use plain::{event_length, find_usage, plain_null, without};

use crate::json::lexer::Lexer;
use crate::llm::dialect::MemberName;
use crate::llm::dialect::openai;

/// The most bytes of one event that are held back. The extra chunk has about five hundred.
const MAX_HELD: usize = 8192;

/// The longest null that is removed, with the space around it.
const MAX_NULL: usize = 256;

/// The member that holds the usage of a chunk.
const USAGE: MemberName = openai::USAGE.member;

/// The deepest nesting of a chunk that is read; one that is deeper is forwarded unchanged.
const MAX_DEPTH: usize = 64;

const DATA: &[u8] = b"data";

/// Removes the extra events, and the member `"usage": null` of others: by OpenAI's API reference streams have both only
/// if usage was requested. An event is an extra one if its `usage` is an object and its `choices` are empty, or hold
/// nothing but empty values (LiteLLM's proxy: one choice with an empty `delta`). A usage object in a chunk with an
/// answer stays: servers that write it there do so without a request.
///
/// Bytes are held back only while they may belong to what is removed. Comments, and events that certainly are no usage
/// chunk, pass at once, in whatever pieces they arrive. When a stream ends, with trailers or without, its held bytes are
/// therefore an incomplete document or the extra chunk. An event of more than 8 KiB cannot be the extra chunk. An event
/// whose data is not JSON is never removed; a null in it may be.
///
/// ```
/// use tollgate_core::llm::usage::UsageChunkFilter;
///
/// let mut strip = UsageChunkFilter::new();
/// let stream = b"data: {\"choices\":[{}]}\n\ndata: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n";
/// assert_eq!(&*strip.push(stream), b"data: {\"choices\":[{}]}\n\ndata: [DONE]\n\n");
/// assert_eq!(&*strip.push(b": ping"), b": ping");
/// assert!(strip.finish().is_empty());
/// ```
#[derive(Clone, Debug)]
pub struct UsageChunkFilter {
    line: Line,
    after_cr: bool,
    verdict: Verdict,
    /// The bytes of the event that are held back.
    held: Vec<u8>,
    lexer: Lexer,
    scan: ChunkScan,
    /// The offset in the event's data of the current line.
    line_at: u64,
    /// The offset up to which nothing of the document's object is left but its brace.
    bare: u64,
    /// The offset up to which the data was forwarded.
    sent: u64,
    /// The event has bytes.
    began: bool,
    /// The last event was removed; an LF that belongs to its end is removed too.
    dropped: bool,
}

/// The part of a line that was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Line {
    Start,
    /// This number of bytes of `data`.
    Name(usize),
    /// After the colon, before an optional space.
    Space,
    Data,
    /// In a line of another field of the event.
    Field,
    /// In a line that belongs to no event: a comment, or another field than those of events.
    Aside,
}

/// The treatment of the current event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Verdict {
    /// It may be the extra chunk.
    Open,
    /// It is another one: its null is removed.
    Other,
    /// It is another one, and nothing of it is removed.
    Opaque,
}

impl Default for UsageChunkFilter {
    fn default() -> Self {
        Self::new()
    }
}

impl UsageChunkFilter {
    /// A filter at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self {
            line: Line::Start,
            after_cr: false,
            verdict: Verdict::Open,
            held: Vec::new(),
            lexer: Lexer::new(MAX_DEPTH),
            scan: ChunkScan::default(),
            line_at: 0,
            bare: 0,
            sent: 0,
            began: false,
            dropped: false,
        }
    }

    /// Filters the next bytes, and returns the bytes that are forwarded now.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let between = !self.began && !self.after_cr;
        if between && bytes.ends_with(b"\n\n") {
            let Some(at) = find_usage(bytes) else {
                return Cow::Borrowed(bytes);
            };
            if bytes.len() <= MAX_HELD
                && let Some(null) = plain_null(bytes, at)
            {
                return Cow::Owned(without(bytes, &null).concat());
            }
        }
        let mut out = Vec::with_capacity(self.held.len() + bytes.len());
        let mut rest = bytes;
        while !rest.is_empty() {
            let read = self.whole_event(rest, &mut out).unwrap_or_else(|| self.step(rest, &mut out));
            rest = rest.get(read..).unwrap_or_default();
        }
        Cow::Owned(out)
    }

    /// Ends the stream, and returns the bytes that were held back.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        if self.is_extra() { asides(&self.held) } else { self.held }
    }

    /// Filters an event that lies entirely in `rest` and needs no parser, and returns its length.
    fn whole_event(&self, rest: &[u8], out: &mut Vec<u8>) -> Option<usize> {
        if self.began || self.after_cr {
            return None;
        }
        let event = rest.get(..event_length(rest)?)?;
        match find_usage(event) {
            None => out.extend_from_slice(event),
            Some(_) if event.len() > MAX_HELD => return None,
            Some(at) => {
                let null = plain_null(event, at)?;
                without(event, &null).iter().for_each(|part| out.extend_from_slice(part));
            }
        }
        Some(event.len())
    }

    /// Filters the next bytes of one line, and returns their number.
    fn step(&mut self, rest: &[u8], out: &mut Vec<u8>) -> usize {
        let Some(&byte) = rest.first() else { return 0 };
        let after_cr = core::mem::take(&mut self.after_cr);
        if matches!(byte, b'\r' | b'\n') {
            // The second half of a line end belongs to the line that the CR ended.
            if byte == b'\n' && after_cr {
                if !self.began && self.dropped {
                    return 1;
                }
                self.append(b"\n", out);
                return 1;
            }
            self.after_cr = byte == b'\r';
            self.end_line(byte, out);
            return 1;
        }
        self.began = true;
        self.dropped = false;
        match self.line {
            Line::Start if is_aside(byte) => self.line = Line::Aside,
            Line::Start | Line::Name(_) => {
                let read = if let Line::Name(read) = self.line { read } else { 0 };
                self.line = match DATA.get(read) {
                    Some(expected) if *expected == byte => Line::Name(read + 1),
                    None if byte == b':' => Line::Space,
                    _ => Line::Field,
                };
                self.append(&[byte], out);
                return 1;
            }
            Line::Space => {
                self.line = Line::Data;
                self.line_at = self.lexer.offset();
                if byte == b' ' {
                    self.append(b" ", out);
                    return 1;
                }
            }
            Line::Data | Line::Field | Line::Aside => {}
        }
        let length = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let piece = rest.get(..length).unwrap_or_default();
        if self.line == Line::Data && self.verdict != Verdict::Opaque {
            return self.data(piece, out);
        }
        if self.line == Line::Aside && self.held.is_empty() {
            out.extend_from_slice(piece);
        } else {
            self.append(piece, out);
        }
        length
    }

    /// Reads data of the event, as much as may be held back, and returns the number of bytes.
    fn data(&mut self, piece: &[u8], out: &mut Vec<u8>) -> usize {
        let piece = match self.verdict {
            Verdict::Open => {
                let room = MAX_HELD.saturating_sub(self.held.len()).min(piece.len());
                if room == 0 {
                    self.release_all(out);
                    return 0;
                }
                piece.get(..room).unwrap_or_default()
            }
            Verdict::Other | Verdict::Opaque => piece,
        };
        let first = piece.iter().find(|byte| !byte.is_ascii_whitespace());
        if self.scan.opened == 0 && first.is_some_and(|first| *first != b'{') {
            // No object: `[DONE]`, or text.
            self.release_all(out);
            return 0;
        }
        self.held.extend_from_slice(piece);
        let end = self.lexer.offset() + piece.len() as u64;
        let valid = self.lexer.push(piece, &mut self.scan).is_ok();
        self.remove_nulls(end);
        if !valid {
            self.release_all(out);
        } else if self.verdict == Verdict::Other || self.scan.is_other() {
            self.verdict = Verdict::Other;
            self.release(end, out);
        }
        piece.len()
    }

    /// The position in the held bytes of this offset in the data, of which `end` bytes were read.
    fn position(&self, offset: u64, end: u64) -> usize {
        self.held.len().saturating_sub(usize::try_from(end.saturating_sub(offset)).unwrap_or(usize::MAX))
    }

    /// Removes the nulls after which a comma or brace was read, each with one comma.
    fn remove_nulls(&mut self, end: u64) {
        if self.scan.nulls.is_empty() {
            return;
        }
        let nulls = core::mem::take(&mut self.scan.nulls);
        for null in nulls {
            let first = null.start <= self.bare.max(self.scan.opened);
            let begin = if first { null.start.max(self.bare) } else { null.start };
            if begin < self.line_at || begin < self.sent {
                // Its first bytes are in another line, or gone.
                continue;
            }
            let (from, to) = (self.position(begin, end), self.position(null.end, end));
            let rest = self.held.get(to..).unwrap_or_default();
            let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            let Some(&after) = rest.get(space) else {
                self.scan.nulls.push(null);
                return;
            };
            if to + space - from > MAX_NULL || !matches!(after, b',' | b'}') {
                continue;
            }
            let comma = first && after == b',';
            if comma {
                self.bare = null.end + space as u64 + 1;
            }
            self.held.drain(from..if comma { to + space + 1 } else { to });
        }
    }

    /// Forwards the held bytes of another event that cannot belong to a null.
    fn release(&mut self, end: u64, out: &mut Vec<u8>) {
        let pending = self.scan.nulls.first().map(|null| null.start).or(self.scan.awaiting);
        let kept = match pending {
            Some(start) => {
                let start = start.max(self.bare);
                let position = self.position(start, end);
                if start < self.line_at || self.held.len() - position > MAX_NULL {
                    self.held.len()
                } else {
                    position
                }
            }
            None => self.held.len(),
        };
        self.sent = end.saturating_sub((self.held.len() - kept) as u64);
        out.extend(self.held.drain(..kept));
    }

    /// Forwards the held bytes, and the rest of the event unread.
    fn release_all(&mut self, out: &mut Vec<u8>) {
        self.verdict = Verdict::Opaque;
        out.append(&mut self.held);
    }

    /// Takes bytes outside of the data.
    fn append(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if self.verdict == Verdict::Open && self.began && self.held.len() + piece.len() > MAX_HELD {
            self.release_all(out);
        }
        if self.verdict == Verdict::Open && self.began {
            self.held.extend_from_slice(piece);
        } else {
            out.extend_from_slice(piece);
        }
    }

    fn end_line(&mut self, byte: u8, out: &mut Vec<u8>) {
        let line = core::mem::replace(&mut self.line, Line::Start);
        if matches!(line, Line::Space | Line::Data) && self.verdict != Verdict::Opaque {
            // A null that goes on in the next line stays.
            self.scan.nulls.clear();
            let valid = self.lexer.push(b"\n", &mut self.scan).is_ok();
            if self.verdict == Verdict::Other {
                out.append(&mut self.held);
            }
            if !valid {
                self.release_all(out);
            }
        }
        if line == Line::Aside && self.held.is_empty() {
            out.push(byte);
            self.began = self.verdict != Verdict::Open;
            return;
        }
        self.append(&[byte], out);
        if line == Line::Start {
            self.end_event(out);
        }
    }

    /// Returns true if the event is the extra one, as far as it was read.
    fn is_extra(&mut self) -> bool {
        self.verdict == Verdict::Open
            && self.scan.is_usage_chunk()
            && self.lexer.finish(&mut self.scan).is_ok()
    }

    fn end_event(&mut self, out: &mut Vec<u8>) {
        self.dropped = self.is_extra();
        if self.dropped {
            out.extend(asides(&self.held));
            self.held.clear();
        } else {
            out.append(&mut self.held);
        }
        self.lexer.restart();
        self.scan = ChunkScan::default();
        self.verdict = Verdict::Open;
        (self.bare, self.sent, self.line_at) = (0, 0, 0);
        self.began = false;
    }
}

/// Returns true if a line with this first byte belongs to no event: a comment, or a field other than `data`, `event` and
/// `id`.
fn is_aside(first: u8) -> bool {
    !matches!(first, b'd' | b'e' | b'i')
}

/// The lines within a removed event that do not belong to it.
fn asides(event: &[u8]) -> Vec<u8> {
    let (mut kept, mut rest) = (Vec::new(), event);
    while let Some(&first) = rest.first() {
        let length = memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len());
        let line_end = match rest.get(length..) {
            Some([b'\r', b'\n', ..]) => 2,
            Some([_, ..]) => 1,
            Some([]) | None => 0,
        };
        let (line, others) = rest.split_at_checked(length + line_end).unwrap_or((rest, &[]));
        if length > 0 && is_aside(first) {
            kept.extend_from_slice(line);
        }
        rest = others;
    }
    kept
}
