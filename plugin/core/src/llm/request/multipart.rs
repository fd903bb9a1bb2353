//! A parser of `multipart/form-data` bodies, fed as they arrive (RFC 7578, RFC 2046).
//!
//! It is stricter than servers: no preamble, no epilogue, CRLF at the end of every line, and the boundary only in
//! delimiters. It accepts a body only if servers agree on its meaning.

use alloc::string::String;
use alloc::vec::Vec;

use super::content_type::{parameters, spells};
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

/// The most frames of an animated image (OpenAI's API reference, "Create image edit").
const MAX_FRAMES: u64 = 16;

const NAMED: &str = "`Content-Disposition: form-data` with one `name` in each part";

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
    /// CRLF, two hyphens and the boundary.
    delimiter: Vec<u8>,
    /// The number of bytes of the delimiter that were just read.
    matched: usize,
    /// The `matched` bytes began at the start of a part's content; the CRLF that ends its headers counts as theirs.
    at_start: bool,
    /// Before the first delimiter.
    opening: bool,
    state: MultipartState,
    head: Vec<u8>,
    field: Option<Field>,
    /// The present part is a file of this kind.
    file: Option<MediaKind>,
    /// The offset of the present part's content.
    content_at: u64,
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
    /// [`BodyError::Boundary`] for a boundary that RFC 2046 does not allow.
    pub fn new(boundary: &str) -> Result<Self, BodyError> {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"'()+_,-./:=?".contains(&byte);
        if boundary.is_empty() || boundary.len() > MAX_BOUNDARY || !boundary.bytes().all(allowed) {
            return Err(BodyError::Boundary);
        }
        Ok(Self {
            delimiter: [b"\r\n--", boundary.as_bytes()].concat(),
            matched: 2,
            at_start: true,
            opening: true,
            state: MultipartState::Content,
            head: Vec::new(),
            field: None,
            file: None,
            content_at: 0,
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
                // A delimiter begins with CR.
                MultipartState::Content if self.matched == 0 => {
                    memchr::memchr(b'\r', rest).unwrap_or(rest.len())
                }
                _ => 0,
            };
            let result = if plain > 0 {
                let (content, others) = rest.split_at_checked(plain).unwrap_or_default();
                rest = others;
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
        if self.delimiter.get(self.matched) == Some(&byte) {
            self.matched += 1;
            if self.matched < self.delimiter.len() {
                return Ok(());
            }
            if self.at_start && !self.opening {
                return Err(self.unreadable("CRLF before the boundary, also after an empty part"));
            }
            if !self.opening {
                self.part_ended()?;
            }
            self.opening = false;
            self.state = MultipartState::Delimited(None);
            return Ok(());
        }
        if self.opening {
            return Err(self.unreadable("the boundary of the content-type"));
        }
        let from = if self.at_start { 2 } else { 0 };
        let matched = core::mem::take(&mut self.matched);
        self.at_start = false;
        if self.field.is_some() {
            let read = self.delimiter.get(from..matched).unwrap_or_default().to_vec();
            self.keep(&read)?;
        }
        if byte == b'\r' {
            self.matched = 1;
            return Ok(());
        }
        self.keep(&[byte])
    }

    fn keep(&mut self, content: &[u8]) -> Result<(), BodyError> {
        let Some(field) = self.field else { return Ok(()) };
        let room = MAX_NAME.saturating_sub(self.value.len());
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
        let head = core::mem::take(&mut self.head);
        self.field = self.part_named(&head)?;
        self.head = head;
        self.content_at = self.offset.saturating_add(1);
        self.value.clear();
        self.matched = 2;
        self.at_start = true;
        self.state = MultipartState::Content;
        Ok(())
    }

    /// Finds the field of a part with these headers.
    fn part_named(&mut self, head: &[u8]) -> Result<Option<Field>, BodyError> {
        let head = core::str::from_utf8(head).map_err(|_| BodyError::Utf8 { offset: self.offset })?;
        if head.contains('\0') {
            return Err(self.unreadable("no NUL in a part's headers"));
        }
        let mut disposition = None;
        for line in head.split("\r\n").filter(|line| !line.is_empty()) {
            if line.starts_with([' ', '\t']) {
                return Err(self.unreadable("each header of a part on one line"));
            }
            let (name, value) = line.split_once(':').ok_or_else(|| self.unreadable("a header's `:`"))?;
            if name.trim() != name {
                return Err(self.unreadable("a header's name without spaces around it"));
            }
            if name.eq_ignore_ascii_case("content-disposition") && disposition.replace(value.trim()).is_some()
            {
                return Err(self.unreadable(NAMED));
            }
            let identity =
                ["7bit", "8bit", "binary"].iter().any(|known| value.trim().eq_ignore_ascii_case(known));
            if name.eq_ignore_ascii_case("content-transfer-encoding") && !identity {
                return Err(self.unreadable("no content-transfer-encoding"));
            }
        }
        let (kind, rest) = disposition.and_then(|text| text.split_once(';')).unwrap_or_default();
        let parameters = parameters(rest).ok_or_else(|| self.unreadable(NAMED))?;
        let mut names = parameters.iter().filter(|(name, _)| spells(name, "name"));
        let name: String = match (names.next(), names.next()) {
            (Some((name, value)), None) if !name.contains('*') => value.clone(),
            _ => return Err(self.unreadable(NAMED)),
        };
        if !kind.trim().eq_ignore_ascii_case("form-data") {
            return Err(self.unreadable(NAMED));
        }
        let is_file = parameters.iter().any(|(name, _)| spells(name, "filename"));
        self.file = kind_of_part(&name).filter(|_| is_file);
        let decoded = crate::text::percent::decode(&name).unwrap_or_default();
        let plain = decoded.trim().trim_end_matches("[]");
        let field = Field::find(FORM, plain, self.offset)?;
        let Some(field) = field else {
            self.find_member(plain)?;
            return Ok(None);
        };
        // Some servers take `model[]` or `%6dodel` for `model`; others do not.
        if plain != name && !(field == Field::Models && name == "models[]") {
            return Err(BodyError::Lookalike { field: field.name(), offset: self.offset });
        }
        if is_file {
            let (field, offset) = (field.name(), self.offset);
            return Err(BodyError::WrongType { field, offset, expected: "a plain field, not a file" });
        }
        if field != Field::Models {
            self.seen.add(field, self.offset)?;
        }
        Ok(Some(field))
    }

    /// Looks up a part that is no field. Its content is not read: a part whose value would count is an error, and
    /// others with an effect refer to hidden content.
    fn find_member(&mut self, name: &str) -> Result<(), BodyError> {
        let Some(tables) = self.tables else { return Ok(()) };
        let name = name.split('[').next().unwrap_or_default();
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
    fn part_ended(&mut self) -> Result<(), BodyError> {
        if let Some(kind) = self.file.take() {
            // The delimiter's last byte is the present one.
            let end = (self.offset + 1).saturating_sub(self.delimiter.len() as u64);
            let bytes = end.saturating_sub(self.content_at);
            self.request.media.add(kind, bytes, bytes);
        }
        let Some(field) = self.field.take() else { return Ok(()) };
        let offset = self.offset;
        let wrong = |expected| BodyError::WrongType { field: field.name(), offset, expected };
        let text = core::str::from_utf8(&self.value).map_err(|_| BodyError::Utf8 { offset })?;
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
