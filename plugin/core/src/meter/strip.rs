//! Takes out of an OpenAI stream the extra chunk that our `include_usage` brought.

use alloc::borrow::Cow;
use alloc::vec::Vec;

use crate::json::lexer::{Container, Lexer, Scalar, Text, Visitor};

/// The most bytes of one event that are held back. The chunk in question has some five hundred.
const MAX_HELD: usize = 8192;

/// Long enough for `choices` and `usage`.
const NAME_BYTES: usize = 8;

/// The deepest nesting of the chunk; one that is deeper is none of ours.
const MAX_DEPTH: usize = 64;

/// Lets a stream pass but for events whose `choices` are empty and whose `usage` is an object.
///
/// An event is held back until it is whole, so that it goes or stays as one; a client can do nothing
/// with a part of an event. One of more than 8 KiB is none of ours and passes as it comes.
///
/// ```
/// use tollgate_core::meter::UsageStrip;
///
/// let mut strip = UsageStrip::new();
/// let stream = b"data: {\"choices\":[{}]}\n\ndata: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n";
/// assert_eq!(&*strip.push(stream), b"data: {\"choices\":[{}]}\n\ndata: [DONE]\n\n");
/// assert!(strip.finish().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct UsageStrip {
    held: Vec<u8>,
    /// The event is too long to be ours.
    passing: bool,
    /// The line being read has bytes.
    in_line: bool,
    after_cr: bool,
    /// The last event went away; an LF that ends it goes too.
    dropped: bool,
}

impl UsageStrip {
    /// At a stream's start.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// What of the stream's next bytes goes on to the client now.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let between = self.held.is_empty() && !self.passing && !self.in_line && !self.after_cr;
        if between && bytes.ends_with(b"\n\n") && memchr::memmem::find(bytes, b"\"usage").is_none() {
            return Cow::Borrowed(bytes);
        }
        let mut out = Vec::with_capacity(self.held.len() + bytes.len());
        let mut rest = bytes;
        while let Some(&byte) = rest.first() {
            let line = if matches!(byte, b'\r' | b'\n') {
                1
            } else {
                memchr::memchr2(b'\r', b'\n', rest).unwrap_or(rest.len())
            };
            let (piece, others) = rest.split_at_checked(line).unwrap_or((rest, &[]));
            rest = others;
            if core::mem::take(&mut self.after_cr) && byte == b'\n' {
                // Half a line end: it belongs to whatever the CR ended.
                if self.held.is_empty() && !self.passing {
                    if !self.dropped {
                        out.push(byte);
                    }
                } else {
                    self.take(piece, &mut out);
                }
                continue;
            }
            self.take(piece, &mut out);
            if !matches!(byte, b'\r' | b'\n') {
                self.in_line = true;
                continue;
            }
            self.after_cr = byte == b'\r';
            if !core::mem::take(&mut self.in_line) {
                self.event_ends(&mut out);
            }
        }
        Cow::Owned(out)
    }

    /// The stream ended: what was held back goes on.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.held
    }

    fn take(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if !self.passing && self.held.len() + piece.len() > MAX_HELD {
            self.passing = true;
            out.append(&mut self.held);
        }
        if self.passing { out.extend_from_slice(piece) } else { self.held.extend_from_slice(piece) }
    }

    fn event_ends(&mut self, out: &mut Vec<u8>) {
        self.dropped = !self.passing && is_extra(&self.held);
        if !self.dropped {
            out.extend_from_slice(&self.held);
        }
        self.held.clear();
        self.passing = false;
    }
}

/// Whether an event is the extra chunk.
fn is_extra(event: &[u8]) -> bool {
    if memchr::memmem::find(event, b"\"usage").is_none() {
        return false;
    }
    let (mut lexer, mut chunk) = (Lexer::new(MAX_DEPTH), Chunk::default());
    for line in event.split(|byte| matches!(byte, b'\r' | b'\n')) {
        if let Some(data) = line.strip_prefix(b"data:")
            && lexer.push(data, &mut chunk).is_err()
        {
            return false;
        }
    }
    lexer.finish(&mut chunk).is_ok() && chunk.no_choices && chunk.usage
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Member {
    #[default]
    Other,
    Choices,
    Usage,
}

#[derive(Debug, Default)]
struct Chunk {
    member: Member,
    no_choices: bool,
    usage: bool,
}

/// The chunk has choices, or no usage.
struct Kept;

impl Visitor for Chunk {
    type Stop = Kept;

    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), Kept> {
        match (depth, self.member, kind) {
            (1, Member::Choices, Container::Array) => self.no_choices = true,
            (1, Member::Usage, Container::Object) => self.usage = true,
            (1, Member::Choices | Member::Usage, _) | (2, Member::Choices, _) => return Err(Kept),
            _ => {}
        }
        Ok(())
    }

    fn name_bytes(&self, depth: usize) -> usize {
        if depth == 1 { NAME_BYTES } else { 0 }
    }

    fn name(&mut self, depth: usize, name: Text<'_>) -> Result<(), Kept> {
        if depth == 1 {
            self.member = match name.text {
                "choices" if name.whole => Member::Choices,
                "usage" if name.whole => Member::Usage,
                _ => Member::Other,
            };
        }
        Ok(())
    }

    fn scalar_bytes(&self, _: usize) -> usize {
        0
    }

    fn scalar(&mut self, depth: usize, _: Scalar<'_>) -> Result<(), Kept> {
        match (depth, self.member) {
            (1 | 2, Member::Choices) | (1, Member::Usage) => Err(Kept),
            _ => Ok(()),
        }
    }
}
