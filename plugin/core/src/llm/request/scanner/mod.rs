//! A scanner of JSON bodies, fed as they arrive.

mod known;
mod table;

use super::external_content::{ContentItem, ExternalMark, MARK_BYTES, is_upstream_tool};
use super::fields::{self, Field, SeenFields};
use super::media::{OpenObject, Place};
use super::{BodyError, LlmRequest, MAX_DEPTH, MAX_NAME, StreamOptions};
use crate::api::Api;
use crate::json::lexer::{Container, JsonText, Lexer, Scalar, Visitor};
use crate::llm::dialect::Dialect;
use crate::llm::dialect::members::{Member, MemberTable};

/// The longest look-alike spelling of a known name has fewer bytes.
const FIELD_NAME_BYTES: usize = 64;
/// The longest name that marks external content has fewer bytes.
const MEMBER_NAME_BYTES: usize = 24;
/// The most digits of a `u64`; a longer number is not a count of tokens.
const NUMBER_BYTES: usize = 20;
/// The longest text to speak whose characters are counted, in bytes. No provider takes a longer one.
const SPOKEN_BYTES: usize = 65_536;

/// Reads a JSON body in fixed memory.
///
/// ```
/// use tollgate_core::llm::request::RequestScanner;
///
/// let mut scanner = RequestScanner::new();
/// scanner.push(br#"{"messages": [], "mod"#).unwrap();
/// scanner.push(br#"el": "gpt-5-mini", "n": 2}"#).unwrap();
/// let request = scanner.finish().unwrap();
/// assert_eq!(request.model.as_deref(), Some("gpt-5-mini"));
/// assert_eq!(request.choices, Some(2));
/// ```
#[derive(Clone, Debug)]
pub struct RequestScanner {
    lexer: Lexer,
    found: ScannedMember,
}

impl Default for RequestScanner {
    fn default() -> Self {
        Self::new()
    }
}

impl RequestScanner {
    /// A scanner at a body's start.
    #[must_use]
    pub fn new() -> Self {
        Self { lexer: Lexer::new(MAX_DEPTH), found: ScannedMember::new() }
    }

    /// Looks up members in the table of an API. Without one no member is unknown.
    #[must_use]
    pub fn for_api(mut self, api: Api) -> Self {
        self.found.tables = Dialect::of(api).member_tables();
        self.found.speaks = Dialect::of(api).speaks;
        self
    }

    /// Reads the next bytes of the body.
    ///
    /// # Errors
    /// As soon as the body is invalid or ambiguous; every further call fails too.
    pub fn push(&mut self, new_bytes: &[u8]) -> Result<(), BodyError> {
        Ok(self.lexer.push(new_bytes, &mut self.found)?)
    }

    /// Ends the body.
    ///
    /// # Errors
    /// If it is incomplete; every further call fails too.
    pub fn finish(&mut self) -> Result<&LlmRequest, BodyError> {
        self.lexer.finish(&mut self.found)?;
        self.found.request.bytes = self.lexer.offset();
        Ok(&self.found.request)
    }
}

#[derive(Clone, Debug)]
struct ScannedMember {
    request: LlmRequest,
    seen: SeenFields,
    /// The current member of the body, if it is a known field.
    field: Option<Field>,
    /// The same in `stream_options` and `generationConfig`.
    inner: Option<Field>,
    /// The members of the API's requests.
    tables: Option<[MemberTable; 2]>,
    /// The name of the current member of the body, as its table has it, and its effect; that of a member of
    /// `generationConfig` inside of it.
    member: (&'static str, Member),
    /// The depth of that member's name.
    member_depth: usize,
    /// The end of that member's name.
    member_at: u64,
    /// The current item of `input`.
    item: ContentItem,
    /// The number of names before the current entry of `fallbacks`.
    names_before: usize,
    /// `prompt` is a list of numbers: one prompt of tokens.
    token_prompt: bool,
    /// `input` is a text to speak.
    speaks: bool,
    /// The mark of the last name, by depth; entries of a list have the mark of their list.
    marks: [ExternalMark; MAX_DEPTH + 2],
    /// The place of the last name, by depth, as marks.
    places: [Place; MAX_DEPTH + 2],
    /// The innermost object that may hold media.
    object: OpenObject,
    /// The end of the event before the present one.
    before: u64,
    reached: u64,
}

impl ScannedMember {
    fn new() -> Self {
        Self {
            request: LlmRequest::default(),
            seen: SeenFields::default(),
            field: None,
            inner: None,
            tables: None,
            member: ("", Member::Plain),
            member_depth: 1,
            member_at: 0,
            item: ContentItem::default(),
            names_before: 0,
            token_prompt: false,
            speaks: false,
            marks: [ExternalMark::None; MAX_DEPTH + 2],
            places: [Place::Elsewhere; MAX_DEPTH + 2],
            object: OpenObject::default(),
            before: 0,
            reached: 0,
        }
    }

    fn mark(&self, depth: usize) -> ExternalMark {
        self.marks.get(depth).copied().unwrap_or_default()
    }

    fn set_mark(&mut self, depth: usize, mark: ExternalMark) {
        if let Some(slot) = self.marks.get_mut(depth) {
            *slot = mark;
        }
    }

    fn place(&self, depth: usize) -> Place {
        self.places.get(depth).copied().unwrap_or_default()
    }

    fn set_place(&mut self, depth: usize, place: Place) {
        if let Some(slot) = self.places.get_mut(depth) {
            *slot = place;
        }
    }

    /// Returns the known field of the next value at this depth.
    fn field_at(&self, depth: usize) -> Option<Field> {
        match (depth, self.field) {
            (1, field) => field,
            (2, Some(Field::Models | Field::Fallbacks | Field::Prompt | Field::McpServers)) => self.field,
            (2, Some(Field::StreamOptions | Field::GenerationConfig)) => self.inner,
            _ => None,
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other field or JSON type is treated alike")]
    fn content(&mut self, depth: usize, text: &str) {
        let parent = depth.checked_sub(1).map(|depth| self.mark(depth)).unwrap_or_default();
        let mark = self.mark(depth);
        match mark {
            ExternalMark::ItemType => self.item.set_type(text),
            ExternalMark::ItemContent => self.item.set_content(!text.is_empty()),
            ExternalMark::Ttl => self.request.hour_cache |= text != "5m",
            _ => {}
        }
        self.request.external_input |= mark.is_external(parent, text);
    }

    /// Returns the mark of a member at this depth, in an object at `parent`.
    fn member(&mut self, depth: usize, parent: Place, name: &str) -> ExternalMark {
        if parent.may_be_address(name) {
            return ExternalMark::Address;
        }
        match (depth, self.field) {
            (1, _) => ExternalMark::of_body(name),
            // Gemini's API accepts one tool in place of a list.
            (2 | 3, Some(Field::Tools)) => {
                self.request.external_input |= is_upstream_tool(name);
                ExternalMark::of_tool(name)
            }
            (2 | 3, Some(Field::Requests)) | (2, Some(Field::GenerateContentRequest)) => {
                ExternalMark::of_call(name)
            }
            (3, Some(Field::Input)) => self.item.member(name),
            (_, Some(Field::Fallbacks)) => {
                self.request.external_input |= depth == 3 && self.adds_to_fallback(name);
                ExternalMark::of_fallback(name)
            }
            (_, Some(Field::ContextManagement)) => ExternalMark::of_edit(name),
            // LiteLLM's proxy puts these in place of the body's own members.
            (2, _) if self.member.0 == "extra_body" => ExternalMark::of_fallback(name),
            _ if matches!(self.member.1, Member::Hidden | Member::Models) => ExternalMark::of_vendor(name),
            _ => ExternalMark::of(name),
        }
    }
}

impl Visitor for ScannedMember {
    type Stop = BodyError;

    fn reached(&mut self, offset: u64) {
        self.before = self.reached;
        self.reached = offset;
    }

    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), BodyError> {
        if depth == 0 && kind == Container::Array {
            return Err(BodyError::NotAnObject);
        }
        if depth == 0 {
            self.request.opens = self.reached.saturating_sub(1);
            self.set_place(0, Place::Body);
        }
        let place = self.place(depth);
        match kind {
            Container::Array => self.set_place(depth + 1, place),
            Container::Object => {
                self.set_place(depth + 1, Place::Elsewhere);
                if place != Place::Elsewhere {
                    self.object = OpenObject::begin(depth + 1);
                }
            }
        }
        self.request.tools |= depth >= 2 && matches!(self.field, Some(Field::Tools | Field::Functions));
        self.request.external_input |= self.is_hidden(depth);
        if let Some(field) = self.field_at(depth) {
            self.field_container(field, depth, kind)?;
        }
        if depth == 2 {
            self.item = ContentItem::default();
            self.names_before = self.request.fallbacks.len();
        }
        let mark = self.mark(depth);
        let within = match kind {
            Container::Array => mark,
            Container::Object => {
                self.request.external_input |= mark == ExternalMark::DataSources;
                self.request.unmetered_output |= depth == 1 && mark == ExternalMark::Audio;
                ExternalMark::None
            }
        };
        self.set_mark(depth + 1, within);
        Ok(())
    }

    fn end(&mut self, depth: usize, kind: Container) -> Result<(), BodyError> {
        if kind == Container::Object {
            let place = self.place(depth);
            self.object.end(place, depth + 1, &mut self.request.media);
        }
        if depth == 2 && self.field == Some(Field::Input) {
            self.request.external_input |= self.item.is_reference(kind);
        }
        if depth == 2
            && self.field == Some(Field::Fallbacks)
            && self.names_before == self.request.fallbacks.len()
        {
            return Err(self.wrong(Field::Fallbacks, "a list of names, or of objects with a `model`"));
        }
        if depth == 1 {
            if self.member.1 == Member::Predicted {
                self.predicted();
            }
            self.member = Default::default();
            self.inner = None;
            if let (Some(Field::StreamOptions), StreamOptions::Object { at, .. }) =
                (self.field, &mut self.request.stream_options)
            {
                at.end = self.reached;
            }
        }
        Ok(())
    }

    fn name_bytes(&self, depth: usize) -> usize {
        if depth <= 2 { FIELD_NAME_BYTES } else { MEMBER_NAME_BYTES }
    }

    fn name(&mut self, depth: usize, name: JsonText<'_>) -> Result<(), BodyError> {
        let text = if name.whole { name.text } else { "" };
        let parent = depth.checked_sub(1).map(|parent| self.place(parent)).unwrap_or_default();
        let mark = self.member(depth, parent, text);
        self.set_mark(depth, mark);
        self.set_place(depth, parent.member(text));
        self.request.tools |= depth == 2 && self.field == Some(Field::Tools);
        self.request.external_input |= self.is_hidden(depth);
        let names = match (depth, self.field) {
            (1, _) => fields::BODY,
            (2, Some(Field::StreamOptions)) => {
                if let StreamOptions::Object { empty, .. } = &mut self.request.stream_options {
                    *empty = false;
                }
                fields::STREAM_OPTIONS
            }
            (2, Some(Field::GenerationConfig)) => fields::GENERATION_CONFIG,
            _ => return Ok(()),
        };
        // A truncated name may still be a known one before a NUL.
        let field = Field::find(names, name.text, self.reached)?;
        if let Some(field) = field {
            if name.escaped {
                let (within, field, offset) = (names.within, field.name(), self.reached);
                return Err(BodyError::Escaped { within, field, offset });
            }
            self.seen.add(field, self.reached)?;
        }
        *if depth == 1 { &mut self.field } else { &mut self.inner } = field;
        if depth == 1 || self.field == Some(Field::GenerationConfig) {
            self.find_member(depth, name.text, field.is_some());
        }
        Ok(())
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other field or JSON type is treated alike")]
    fn scalar_bytes(&self, depth: usize) -> usize {
        match self.field_at(depth) {
            Some(Field::Model | Field::Models | Field::Fallbacks) => MAX_NAME,
            Some(Field::Input) if self.speaks => SPOKEN_BYTES,
            Some(Field::Prompt | Field::Input) => 0,
            Some(_) => NUMBER_BYTES,
            None => {
                let for_mark = match self.mark(depth) {
                    ExternalMark::None => 0,
                    ExternalMark::Model => MAX_NAME,
                    _ => MARK_BYTES,
                };
                let for_member = match self.member.1 {
                    Member::Plain | Member::Predicted | Member::Deferred => 0,
                    Member::Hidden => 1,
                    Member::Models => MAX_NAME,
                    Member::Choices | Member::Frames | Member::Series | Member::MaxOutput => NUMBER_BYTES,
                };
                for_mark.max(for_member).max(self.place(depth).bytes_to_keep())
            }
        }
    }

    fn scalar(&mut self, depth: usize, value: Scalar<'_>) -> Result<(), BodyError> {
        if depth == 0 {
            return Err(BodyError::NotAnObject);
        }
        if let Some(field) = self.field_at(depth) {
            return self.field_value(field, depth, value);
        }
        if depth == 2 && self.field == Some(Field::Tools) && matches!(value, Scalar::String(_)) {
            // A tool by its name alone is one that the upstream has.
            self.request.tools = true;
            self.request.external_input = true;
        }
        if self.member.1 != Member::Plain {
            if self.member.1 == Member::Predicted && depth == 1 {
                self.predicted();
            }
            if self.member_value(depth, value)? {
                return Ok(());
            }
        }
        let place = self.place(depth);
        if let (true, Scalar::String(text)) = (place != Place::Elsewhere, value) {
            let bytes = self.reached.saturating_sub(self.before);
            self.object.string(place, depth, text, bytes, &mut self.request.media);
        }
        match (self.mark(depth), value) {
            (ExternalMark::Model, Scalar::Null) => {}
            (ExternalMark::Model, _) => self.fallback(self.field.unwrap_or(Field::Model), value)?,
            (ExternalMark::MaxTokens, _) => {
                let most = self.count(Field::MaxTokens, value, 0)?.unwrap_or(0);
                self.request.max_output.of_fallbacks = self.request.max_output.of_fallbacks.max(most);
            }
            (ExternalMark::Choices, _) => {
                self.request.choices_at_least(self.count(Field::N, value, 1)?.unwrap_or(1))
            }
            (_, Scalar::String(text)) => self.content(depth, text.text),
            _ => {}
        }
        Ok(())
    }
}
