//! Removes from an OpenAI stream what the added `include_usage` causes: the extra chunk, and the null in all others.

use alloc::borrow::Cow;
use alloc::vec::Vec;
use core::convert::Infallible;
use core::ops::Range;

use crate::json::lexer::{Container, JsonText, Lexer, Scalar, Visitor};
use crate::llm::dialect::MemberName;
use crate::llm::dialect::openai::{self, CHUNK_CHOICES};

/// The most bytes of one event that are held back. The extra chunk has about five hundred.
const MAX_HELD: usize = 8192;

/// The member that holds the usage of a chunk.
const USAGE: MemberName = openai::USAGE.member;

/// The most bytes of a name that matter: one more than the longer one has.
const NAME_BYTES: usize =
    1 + if CHUNK_CHOICES.len() > USAGE.name.len() { CHUNK_CHOICES.len() } else { USAGE.name.len() };

/// The deepest nesting of a chunk that is read; one that is deeper is forwarded unchanged.
const MAX_DEPTH: usize = 64;

/// Removes events whose `choices` are empty and whose `usage` is an object, and the member `"usage": null` of others:
/// by OpenAI's API reference streams have both only if usage was requested.
///
/// An event is held back until it is complete: a client cannot use a part of an event. An event of more than 8 KiB
/// cannot be the extra chunk and is forwarded as it arrives.
///
/// ```
/// use tollgate_core::llm::usage::UsageChunkFilter;
///
/// let mut strip = UsageChunkFilter::new();
/// let stream = b"data: {\"choices\":[{}]}\n\ndata: {\"choices\":[],\"usage\":{}}\n\ndata: [DONE]\n\n";
/// assert_eq!(&*strip.push(stream), b"data: {\"choices\":[{}]}\n\ndata: [DONE]\n\n");
/// assert!(strip.finish().is_empty());
/// ```
#[derive(Clone, Debug, Default)]
pub struct UsageChunkFilter {
    held: Vec<u8>,
    /// The event is too long to be held back.
    passing: bool,
    /// The current line is not empty.
    in_line: bool,
    after_cr: bool,
    /// The last event was removed; an LF that belongs to its end is removed too.
    dropped: bool,
}

impl UsageChunkFilter {
    /// A filter at the start of a stream.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Filters the next bytes, and returns the bytes that are forwarded now.
    pub fn push<'a>(&mut self, bytes: &'a [u8]) -> Cow<'a, [u8]> {
        let between = self.held.is_empty() && !self.passing && !self.in_line && !self.after_cr;
        if between && bytes.ends_with(b"\n\n") {
            let Some(at) = find_usage(bytes) else {
                return Cow::Borrowed(bytes);
            };
            if bytes.len() <= MAX_HELD
                && let Some(null) = plain_null(bytes, at)
            {
                self.dropped = false;
                return Cow::Owned(without(bytes, &null).concat());
            }
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
                // The second half of a line end belongs to the line that the CR ended.
                if self.held.is_empty() && !self.passing {
                    if !self.dropped {
                        out.push(byte);
                    }
                } else {
                    self.append(piece, &mut out);
                }
                continue;
            }
            self.append(piece, &mut out);
            if !matches!(byte, b'\r' | b'\n') {
                self.in_line = true;
                continue;
            }
            self.after_cr = byte == b'\r';
            if !core::mem::take(&mut self.in_line) {
                self.end_event(&mut out);
            }
        }
        Cow::Owned(out)
    }

    /// Ends the stream, and returns the bytes that were held back.
    #[must_use]
    pub fn finish(self) -> Vec<u8> {
        self.held
    }

    fn append(&mut self, piece: &[u8], out: &mut Vec<u8>) {
        if !self.passing && self.held.len() + piece.len() > MAX_HELD {
            self.passing = true;
            out.append(&mut self.held);
        }
        if self.passing { out.extend_from_slice(piece) } else { self.held.extend_from_slice(piece) }
    }

    fn end_event(&mut self, out: &mut Vec<u8>) {
        let verdict = if self.passing { Verdict::Keep } else { judge(&self.held) };
        self.dropped = verdict == Verdict::Remove;
        match verdict {
            Verdict::Remove => {}
            Verdict::Keep => out.extend_from_slice(&self.held),
            Verdict::Without(range) => {
                without(&self.held, &range).iter().for_each(|part| out.extend_from_slice(part));
            }
        }
        self.held.clear();
        self.passing = false;
    }
}

/// Returns the bytes before this range, and those after it.
fn without<'a>(event: &'a [u8], range: &Range<usize>) -> [&'a [u8]; 2] {
    [event.get(..range.start).unwrap_or_default(), event.get(range.end..).unwrap_or_default()]
}

/// The treatment of an event.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    Keep,
    /// The event is the extra chunk.
    Remove,
    /// The event is kept without these bytes.
    Without(Range<usize>),
}

fn find_usage(text: &[u8]) -> Option<usize> {
    memchr::memmem::find(text, USAGE.quoted.as_bytes())
}

fn judge(event: &[u8]) -> Verdict {
    let Some(at) = find_usage(event) else {
        return Verdict::Keep;
    };
    match plain_null(event, at) {
        Some(null) => Verdict::Without(null),
        None => judge_parsed(event),
    }
}

/// Finds the null that nearly all events have, with the comma before it, without a parser: the event is one line of
/// compact JSON, and the usage member at `at` is the only one. Only the document is closed after it, so that it is a
/// member of the document. (Invalid JSON stays invalid without it.)
fn plain_null(event: &[u8], at: usize) -> Option<Range<usize>> {
    let (before, rest) = event.split_at_checked(at)?;
    let rest = rest.strip_prefix(USAGE.quoted.as_bytes())?.strip_prefix(b"\":null")?;
    let line = memchr::memchr2(b'\r', b'\n', rest)?;
    let (members, line_ends) = rest.split_at_checked(line)?;
    let others = members.strip_suffix(b"}")?;
    let value = before.strip_prefix(b"data:")?;
    let plain = matches!(value, [.., last, b','] if !last.is_ascii_whitespace())
        && memchr::memchr2(b'\r', b'\n', value).is_none()
        && line_ends.iter().all(|byte| matches!(byte, b'\r' | b'\n'))
        && !others.iter().any(|byte| matches!(byte, b'{' | b'}' | b'[' | b']'))
        && find_usage(others).is_none();
    plain.then(|| at - 1..event.len() - rest.len())
}

fn judge_parsed(event: &[u8]) -> Verdict {
    let (mut lexer, mut chunk) = (Lexer::new(MAX_DEPTH), ChunkScan::default());
    let (mut start, mut data_at, mut data_lines) = (0, 0, 0);
    for line in event.split(|byte| matches!(byte, b'\r' | b'\n')) {
        if let Some(data) = line.strip_prefix(b"data:") {
            data_at = start + line.len() - data.len();
            data_lines += 1;
            if lexer.push(data, &mut chunk).is_err() {
                return Verdict::Keep;
            }
        }
        start += line.len() + 1;
    }
    if lexer.finish(&mut chunk).is_err() {
        return Verdict::Keep;
    }
    match chunk.null {
        Some(null) if data_lines == 1 => {
            let data = event.get(data_at..).unwrap_or_default();
            Verdict::Without(null.start + data_at..null.end + comma_after(data, &null) + data_at)
        }
        _ if chunk.no_choices && chunk.usage => Verdict::Remove,
        _ => Verdict::Keep,
    }
}

/// Returns the length up to and including the comma after a removed first member; other members are removed with the
/// comma before them.
fn comma_after(data: &[u8], member: &Range<usize>) -> usize {
    let (own, rest) =
        (data.get(member.clone()).unwrap_or_default(), data.get(member.end..).unwrap_or_default());
    let space = rest.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
    let took_one = own.trim_ascii_start().starts_with(b",");
    if !took_one && rest.get(space) == Some(&b',') { space + 1 } else { 0 }
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkMember {
    #[default]
    Other,
    Choices,
    Usage,
}

/// The members of a chunk.
#[derive(Debug, Default)]
struct ChunkScan {
    member: ChunkMember,
    no_choices: bool,
    usage: bool,
    /// The range of `usage`, if it is null: from the end of the member before it to its own end.
    null: Option<Range<usize>>,
    reached: usize,
    /// The offset of the end of the last member, or of the start of the object.
    before: usize,
}

impl Visitor for ChunkScan {
    type Stop = Infallible;

    fn reached(&mut self, offset: u64) {
        self.reached = usize::try_from(offset).unwrap_or(usize::MAX);
    }

    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), Infallible> {
        match (depth, self.member) {
            (0, _) => self.before = self.reached,
            (1, ChunkMember::Choices) => self.no_choices = kind == Container::Array,
            (1, ChunkMember::Usage) => self.usage = kind == Container::Object,
            (2, ChunkMember::Choices) => self.no_choices = false,
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, depth: usize, _: Container) -> Result<(), Infallible> {
        if depth == 1 {
            self.before = self.reached;
        }
        Ok(())
    }

    fn name_bytes(&self, depth: usize) -> usize {
        if depth == 1 { NAME_BYTES } else { 0 }
    }

    fn name(&mut self, depth: usize, name: JsonText<'_>) -> Result<(), Infallible> {
        if depth == 1 {
            self.member = match name.text {
                CHUNK_CHOICES if name.whole => ChunkMember::Choices,
                text if name.whole && text == USAGE.name => ChunkMember::Usage,
                _ => ChunkMember::Other,
            };
        }
        Ok(())
    }

    fn scalar_bytes(&self, _: usize) -> usize {
        0
    }

    fn scalar(&mut self, depth: usize, value: Scalar<'_>) -> Result<(), Infallible> {
        match (depth, self.member, value) {
            (1, ChunkMember::Usage, Scalar::Null) => self.null = Some(self.before..self.reached),
            (1, ChunkMember::Usage, _) => self.usage = false,
            (1 | 2, ChunkMember::Choices, _) => self.no_choices = false,
            _ => {}
        }
        if depth == 1 {
            self.before = self.reached;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Members of a chunk, some of which resemble the null or contain one.
    const MEMBERS: [&str; 15] = [
        r#""id":"c""#,
        r#""choices":[{"index":0,"delta":{"content":"a"}}]"#,
        r#""choices":[]"#,
        r#""usage":null"#,
        r#""usage":null"#,
        r#""usage": null"#,
        r#""usage":{"prompt_tokens":1}"#,
        r#""x":{"n":1,"usage":null}"#,
        r#""x":{"n":1,"usage":null,"m":2}"#,
        r#""x":[{"n":1,"usage":null},2]"#,
        r#""x":"}""#,
        r#""x":",\"usage\":null""#,
        r#""x\"usage":null"#,
        r#""usagex":null"#,
        r#""obfuscation":"a\\""#,
    ];

    fn at_usage(event: &[u8]) -> Option<Range<usize>> {
        plain_null(event, find_usage(event)?)
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(5000))]
        #[test]
        fn the_scan_and_the_parser_agree(
            members in proptest::collection::vec(proptest::sample::select(&MEMBERS[..]), 0..5),
            comma in proptest::sample::select(&[",", ",", ", ", " ,"][..]),
            around in proptest::sample::select(&[("{", "}"), ("[{", "}]"), ("{\"y\":{", "}}")][..]),
            line in proptest::sample::select(&["data: ", "data:", "event: x\ndata: ", "data: {\ndata:"][..]),
            end in proptest::sample::select(&["\n\n", "\r\n\r\n", "\r\r", " \n\n"][..]),
        ) {
            let event = [line, around.0, &members.join(comma), around.1, end].concat();
            if let Some(null) = at_usage(event.as_bytes()) {
                prop_assert_eq!(judge_parsed(event.as_bytes()), Verdict::Without(null), "{}", event);
            }
        }
    }

    #[test]
    fn chunks_as_openai_writes_them_need_no_parser() {
        for event in [
            "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}],\"usage\":null}\n\n",
            "data: {\"choices\":[{\"delta\":{}}],\"usage\":null,\"obfuscation\":\"x7Gq\"}\r\n\r\n",
        ] {
            assert!(at_usage(event.as_bytes()).is_some(), "{event}");
        }
    }
}
