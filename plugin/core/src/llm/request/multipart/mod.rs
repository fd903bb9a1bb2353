//! A parser of `multipart/form-data` bodies, fed as they arrive (RFC 7578, RFC 2046).
//!
//! It is stricter than servers: no preamble, no epilogue, CRLF at the end of every line, the boundary only in delimiters, and the
//! headers of parts in one form. It accepts a body only if servers agree on its meaning.

mod head;

use alloc::vec::Vec;

use super::fields::{self, FORM, Field, SeenFields, is_name, whole_number};
use super::media::{MediaKind, kind_of_part};
use super::{BodyError, LlmRequest, MAX_FALLBACKS, MAX_NAME};
use crate::api::Api;
use crate::llm::dialect::Dialect;
use crate::llm::dialect::members::{self, Member, MemberTable};

/// The maximum number of bytes in the headers of one part.
const MAX_HEAD: usize = 4096;

/// The maximum number of characters in a boundary (RFC 2046, 5.1.1).
const MAX_BOUNDARY: usize = 70;

/// The most parts of a form. Some servers ignore the parts after the thousandth.
const MAX_PARTS: usize = 256;

/// The most frames of an animated image (OpenAI's API reference, "Create image edit").
const MAX_FRAMES: u64 = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum MultipartState {
    /// In a part's content, or before the first delimiter.
    Content,
    /// After a delimiter, before CRLF or `--`; holds the first byte of either.
    Delimited(Option<u8>),
    /// In a part's headers.
    Head,
    /// After the last delimiter; holds the number of bytes of the one CRLF that may follow.
    Closed(usize),
    Failed,
}

/// Reads a form in fixed memory.
///
/// ```
/// use tollgate_core::llm::request::MultipartScanner;
///
/// let mut form = MultipartScanner::new("b").unwrap();
/// form.push(b"--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nwhisper-1\r\n--b--\r\n").unwrap();
/// assert_eq!(form.finish().unwrap().model.as_deref(), Some("whisper-1"));
/// ```
#[derive(Clone, Debug)]
pub struct MultipartScanner {
    /// Two hyphens and the boundary.
    dashed: Vec<u8>,
    /// For each length of a beginning of `dashed`, that of the longest shorter one which also ends it.
    shorter: Vec<usize>,
    /// The number of bytes of `dashed` that were just read.
    matched: usize,
    /// The byte before was CR.
    after_cr: bool,
    /// The offset after the last CRLF.
    line_at: u64,
    /// Before the first delimiter.
    opening: bool,
    state: MultipartState,
    head: Vec<u8>,
    field: Option<Field>,
    /// The present part is a file of this kind.
    file: Option<MediaKind>,
    /// The length that the present part announces.
    announced: Option<u64>,
    /// The offset of the present part's content.
    content_at: u64,
    parts: usize,
    value: Vec<u8>,
    offset: u64,
    seen: SeenFields,
    /// The members of the API's requests.
    tables: Option<[MemberTable; 2]>,
    /// The API has no forms, so that a server that takes one reads its parts as the members of a JSON body.
    as_json: bool,
    request: LlmRequest,
}

impl MultipartScanner {
    /// A scanner for a form with this boundary.
    ///
    /// # Errors
    /// [`BodyError::Boundary`] for a boundary that is none of RFC 2046, or one that some server cuts.
    pub fn new(boundary: &str) -> Result<Self, BodyError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"+_-.=".contains(&byte);
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY || !boundary.bytes().all(allowed) {
            return Err(BodyError::Boundary);
        }
        let dashed = [b"--", boundary.as_bytes()].concat();
        Ok(Self {
            shorter: shorter(&dashed),
            dashed,
            matched: 0,
            after_cr: false,
            line_at: 0,
            opening: true,
            state: MultipartState::Content,
            head: Vec::new(),
            field: None,
            file: None,
            announced: None,
            content_at: 0,
            parts: 0,
            value: Vec::new(),
            offset: 0,
            seen: SeenFields::default(),
            tables: None,
            as_json: false,
            request: LlmRequest { form: true, ..LlmRequest::default() },
        })
    }

    /// Looks up parts in the table of an API. Without one no part is unknown.
    #[must_use]
    pub fn for_api(mut self, api: Api) -> Self {
        self.tables = Dialect::of(api).member_tables();
        self.as_json = !Dialect::of(api).takes_files;
        self
    }

    /// Reads the next bytes of the body.
    ///
    /// # Errors
    /// As soon as the form is invalid or ambiguous; every further call fails too.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other state is treated alike")]
    pub fn push(&mut self, new_bytes: &[u8]) -> Result<(), BodyError> {
        let mut rest = new_bytes;
        let end = self.offset + new_bytes.len() as u64;
        while let [byte, after @ ..] = rest {
            let plain = match self.state {
                MultipartState::Content if self.matched == 0 && !self.opening => {
                    memchr::memchr3(b'-', b'\r', b'\n', rest).unwrap_or(rest.len())
                }
                _ => 0,
            };
            let result = if plain > 0 {
                let (content, others) = rest.split_at_checked(plain).unwrap_or_default();
                rest = others;
                self.after_cr = false;
                self.keep(content)
            } else {
                rest = after;
                self.step(*byte)
            };
            self.offset = end - rest.len() as u64;
            result.inspect_err(|_| self.state = MultipartState::Failed)?;
        }
        Ok(())
    }

    /// Ends the form.
    ///
    /// # Errors
    /// If it is incomplete; every further call fails too.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other state is treated alike")]
    pub fn finish(&mut self) -> Result<&LlmRequest, BodyError> {
        match self.state {
            MultipartState::Closed(0 | 2) => {
                self.request.bytes = self.offset;
                Ok(&self.request)
            }
            _ => {
                self.state = MultipartState::Failed;
                Err(self.unreadable("the closing delimiter"))
            }
        }
    }

    fn unreadable(&self, expected: &'static str) -> BodyError {
        BodyError::Form { offset: self.offset, expected }
    }

    fn step(&mut self, byte: u8) -> Result<(), BodyError> {
        match (self.state, byte) {
            (MultipartState::Content, _) => self.content(byte),
            (MultipartState::Delimited(None), b'\r' | b'-') => {
                self.state = MultipartState::Delimited(Some(byte));
                Ok(())
            }
            (MultipartState::Delimited(Some(b'\r')), b'\n') => {
                self.head.clear();
                self.state = MultipartState::Head;
                Ok(())
            }
            (MultipartState::Delimited(Some(b'-')), b'-') => {
                self.state = MultipartState::Closed(0);
                Ok(())
            }
            (MultipartState::Delimited(_), _) => Err(self.unreadable("CRLF or `--` after the boundary")),
            (MultipartState::Head, _) => self.head_byte(byte),
            (MultipartState::Closed(0), b'\r') => {
                self.state = MultipartState::Closed(1);
                Ok(())
            }
            (MultipartState::Closed(1), b'\n') => {
                self.state = MultipartState::Closed(2);
                Ok(())
            }
            (MultipartState::Closed(_), _) => Err(self.unreadable("nothing after the closing delimiter")),
            (MultipartState::Failed, _) => Err(self.unreadable("nothing more after an error")),
        }
    }

    fn content(&mut self, byte: u8) -> Result<(), BodyError> {
        let after_cr = core::mem::replace(&mut self.after_cr, byte == b'\r');
        if after_cr && byte == b'\n' {
            self.line_at = self.offset.saturating_add(1);
        }
        self.matched = longer(&self.dashed, &self.shorter, self.matched, byte);
        if self.matched == self.dashed.len() {
            return self.delimited();
        }
        if self.opening && self.matched as u64 <= self.offset {
            return Err(self.unreadable("the boundary of the content-type"));
        }
        self.keep(&[byte])
    }

    /// Ends a part at the boundary, whose last byte is the present one.
    fn delimited(&mut self) -> Result<(), BodyError> {
        let start = (self.offset + 1).saturating_sub(self.dashed.len() as u64);
        self.matched = 0;
        // Some servers cut a part at the boundary wherever it is.
        if start != self.line_at {
            return Err(self.unreadable("a boundary that no part contains: send another one"));
        }
        if !self.opening {
            if start == self.content_at {
                return Err(self.unreadable("CRLF before the boundary, also after an empty part"));
            }
            self.part_ended(start.saturating_sub(2))?;
        }
        self.opening = false;
        self.state = MultipartState::Delimited(None);
        Ok(())
    }

    /// Keeps content of a field, and the beginning of a delimiter that it may be.
    fn keep(&mut self, content: &[u8]) -> Result<(), BodyError> {
        let Some(field) = self.field else { return Ok(()) };
        let room = (MAX_NAME + 2 + self.dashed.len()).saturating_sub(self.value.len());
        if content.len() > room {
            let offset = self.offset + room as u64;
            return Err(BodyError::TooLong { field: field.name(), offset, max: MAX_NAME });
        }
        self.value.extend_from_slice(content);
        Ok(())
    }

    fn head_byte(&mut self, byte: u8) -> Result<(), BodyError> {
        if self.head.len() >= MAX_HEAD {
            return Err(self.unreadable("headers of a part of at most 4096 bytes"));
        }
        if byte == b'\n' && self.head.last() != Some(&b'\r') {
            return Err(self.unreadable("CRLF at a line's end"));
        }
        if byte != b'\n' && self.head.last() == Some(&b'\r') {
            return Err(self.unreadable("LF after CR"));
        }
        self.head.push(byte);
        if self.head.as_slice() != b"\r\n" && !self.head.ends_with(b"\r\n\r\n") {
            return Ok(());
        }
        self.parts += 1;
        if self.parts > MAX_PARTS {
            return Err(self.unreadable("at most 256 parts"));
        }
        let head = core::mem::take(&mut self.head);
        self.field = self.part_named(&head)?;
        self.head = head;
        self.content_at = self.offset.saturating_add(1);
        self.value.clear();
        self.line_at = self.content_at;
        self.state = MultipartState::Content;
        Ok(())
    }

    /// Finds the field of a part with these headers.
    fn part_named(&mut self, head: &[u8]) -> Result<Option<Field>, BodyError> {
        let head = core::str::from_utf8(head).map_err(|_| BodyError::Utf8 { offset: self.offset })?;
        let head = head::read(head).map_err(|expected| self.unreadable(expected))?;
        self.announced = head.length;
        self.file = kind_of_part(head.name).filter(|_| head.is_file);
        let base = head.name.split('[').next().unwrap_or_default();
        let field = Field::find(FORM, base, self.offset)?;
        let Some(field) = field else {
            self.find_member(base)?;
            return Ok(None);
        };
        let offset = self.offset;
        // Some servers take `model[]` or `model[0]` for `model`; others do not.
        if base != head.name && !(field == Field::Models && head.name == "models[]") {
            return Err(BodyError::Lookalike { field: field.name(), offset });
        }
        let wrong = |expected| BodyError::WrongType { field: field.name(), offset, expected };
        if head.is_file {
            return Err(wrong("a plain field, not a file"));
        }
        if !head.is_text {
            return Err(wrong("text in UTF-8: a part without content-type, or with `text/plain`"));
        }
        if field != Field::Models {
            self.seen.add(field, offset)?;
        }
        Ok(Some(field))
    }

    /// Looks up a part that is no field. Its content is not read: a part whose value would count is an error, and
    /// others with an effect refer to hidden content.
    fn find_member(&mut self, name: &str) -> Result<(), BodyError> {
        let Some(tables) = self.tables else { return Ok(()) };
        let field = if self.as_json { Field::find(fields::BODY, name, self.offset)? } else { None };
        if let Some(field) = field.filter(|field| !matches!(field, Field::Prompt | Field::Input)) {
            let (field, offset) = (field.name(), self.offset);
            return Err(BodyError::WrongType { field, offset, expected: "a member of a JSON body" });
        }
        match members::find(tables, &fields::folded(name)) {
            Some((_, Member::Plain | Member::Predicted)) => {}
            Some((_, Member::Hidden | Member::Deferred)) => self.request.external_input = true,
            Some((_, Member::Frames)) => self.request.frames = Some(MAX_FRAMES),
            Some((_, Member::Series)) => self.request.choices_at_least(members::SERIES),
            Some((field, Member::Models | Member::Choices | Member::MaxOutput)) => {
                let expected = "a member of a JSON body, not a part of a form";
                return Err(BodyError::WrongType { field, offset: self.offset, expected });
            }
            None => {
                let short = || name.chars().take(64).collect();
                self.request.unknown.get_or_insert_with(short);
            }
        }
        Ok(())
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other state is treated alike")]
    fn part_ended(&mut self, end: u64) -> Result<(), BodyError> {
        let bytes = end.saturating_sub(self.content_at);
        if self.announced.take().is_some_and(|announced| announced != bytes) {
            return Err(self.unreadable("the content-length of a part to be its length"));
        }
        if let Some(kind) = self.file.take() {
            self.request.media.add(kind, bytes, bytes);
        }
        let Some(field) = self.field.take() else { return Ok(()) };
        let offset = self.offset;
        let wrong = |expected| BodyError::WrongType { field: field.name(), offset, expected };
        let value = usize::try_from(bytes).ok().and_then(|bytes| self.value.get(..bytes)).unwrap_or_default();
        if value.len() > MAX_NAME {
            return Err(BodyError::TooLong { field: field.name(), offset, max: MAX_NAME });
        }
        let text = core::str::from_utf8(value).map_err(|_| BodyError::Utf8 { offset })?;
        let name = || is_name(text).then(|| text.into()).ok_or_else(|| wrong("a name"));
        match field {
            Field::Model => self.request.model = Some(name()?),
            Field::Models => {
                let name = name()?;
                if self.request.fallbacks.len() >= MAX_FALLBACKS {
                    return Err(BodyError::TooMany { field: field.name(), offset, max: MAX_FALLBACKS });
                }
                self.request.fallbacks.push(name);
            }
            Field::Stream => {
                self.request.stream = match text {
                    "true" | "True" | "1" => true,
                    "false" | "False" | "0" => false,
                    _ => return Err(wrong("true or false")),
                }
            }
            _ => {
                let number = whole_number(text).filter(|number| *number > 0);
                self.request.choices_at_least(number.ok_or_else(|| wrong("a whole number, at least 1"))?);
            }
        }
        Ok(())
    }
}

/// Returns, for each length of a beginning of a text, that of the longest shorter beginning which also ends it.
fn shorter(text: &[u8]) -> Vec<usize> {
    let mut all: Vec<usize> = Vec::with_capacity(text.len());
    for (at, byte) in text.iter().enumerate() {
        let before = all.last().copied().unwrap_or_default();
        let length = if at == 0 { 0 } else { longer(text, &all, before, *byte) };
        all.push(length);
    }
    all
}

/// Returns how much of the beginning of a text is read with this byte, after `matched` bytes of it.
fn longer(text: &[u8], shorter: &[usize], mut matched: usize, byte: u8) -> usize {
    loop {
        if text.get(matched) == Some(&byte) {
            return matched + 1;
        }
        let Some(last) = matched.checked_sub(1) else { return 0 };
        matched = shorter.get(last).copied().unwrap_or_default();
    }
}
