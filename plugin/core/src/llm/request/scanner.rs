//! A scanner of JSON bodies, fed as they arrive.

use alloc::boxed::Box;

use super::external_content::{ContentItem, ExternalMark, MARK_BYTES, is_upstream_tool};
use super::fields::{self, Field, SeenFields, is_name, whole_number};
use super::media::{OpenObject, Place};
use super::{BodyError, LlmRequest, MAX_DEPTH, MAX_FALLBACKS, MAX_NAME, StreamOptions, Switch};
use crate::api::Api;
use crate::json::lexer::{Container, JsonText, Lexer, Scalar, Visitor};
use crate::llm::dialect::Dialect;
use crate::llm::dialect::members::{self, Member, MemberTable};

/// The longest look-alike spelling of a known name has fewer bytes.
const FIELD_NAME_BYTES: usize = 64;
/// The longest name that marks external content has fewer bytes.
const MEMBER_NAME_BYTES: usize = 24;
/// The most digits of a `u64`; a longer number is not a count of tokens.
const NUMBER_BYTES: usize = 20;

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

    fn wrong(&self, field: Field, expected: &'static str) -> BodyError {
        BodyError::WrongType { field: field.name(), offset: self.reached, expected }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other field or JSON type is treated alike")]
    fn target(&self, field: Field, value: Scalar<'_>) -> Result<Box<str>, BodyError> {
        match value {
            Scalar::String(text) if !text.whole => {
                Err(BodyError::TooLong { field: field.name(), offset: self.reached, max: MAX_NAME })
            }
            Scalar::String(text) if is_name(text.text) => Ok(text.text.into()),
            _ => Err(self.wrong(field, "a name: a string that is not empty, without control characters")),
        }
    }

    /// Reads a number; `None` for null, which every API takes for an absent field.
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other field or JSON type is treated alike")]
    fn count(&self, field: Field, value: Scalar<'_>, least: u64) -> Result<Option<u64>, BodyError> {
        let expected = if least == 0 { "a whole number" } else { "a whole number, at least 1" };
        match value {
            Scalar::Null => Ok(None),
            Scalar::Number(text) if text.whole => whole_number(text.text)
                .filter(|number| *number >= least)
                .map(Some)
                .ok_or_else(|| self.wrong(field, expected)),
            _ => Err(self.wrong(field, expected)),
        }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other field or JSON type is treated alike")]
    fn switch(&self, field: Field, value: Scalar<'_>) -> Result<Switch, BodyError> {
        let (on, length) = match value {
            Scalar::Bool(true) => (true, 4),
            Scalar::Bool(false) => (false, 5),
            Scalar::Null => (false, 4),
            _ => return Err(self.wrong(field, "true or false")),
        };
        Ok(Switch { on, at: self.reached.saturating_sub(length)..self.reached })
    }

    fn field_value(&mut self, field: Field, depth: usize, value: Scalar<'_>) -> Result<(), BodyError> {
        match field {
            Field::Model => self.request.model = Some(self.target(field, value)?),
            Field::Models | Field::Fallbacks if depth == 2 => self.fallback(field, value)?,
            // `"default"` leaves the choice to the provider; it is treated as a target's name like any other.
            Field::Fallbacks if matches!(value, Scalar::String(_)) => self.fallback(field, value)?,
            Field::Models | Field::Fallbacks if value != Scalar::Null => {
                return Err(self.wrong(field, "a list of names"));
            }
            Field::Stream => self.request.stream = self.switch(field, value)?.on,
            Field::StreamOptions => {
                if value != Scalar::Null {
                    return Err(self.wrong(field, "an object"));
                }
                self.request.stream_options = StreamOptions::Null { at: self.switch(field, value)?.at };
            }
            Field::IncludeUsage => {
                let switch = self.switch(field, value)?;
                if let StreamOptions::Object { include_usage, .. } = &mut self.request.stream_options {
                    *include_usage = Some(switch);
                }
            }
            Field::MaxTokens => self.request.max_output.tokens = self.count(field, value, 0)?,
            Field::MaxCompletionTokens => {
                self.request.max_output.completion_tokens = self.count(field, value, 0)?
            }
            Field::MaxOutputTokens => self.request.max_output.output_tokens = self.count(field, value, 0)?,
            Field::MaxTokensToSample => {
                self.request.max_output.tokens_to_sample = self.count(field, value, 0)?
            }
            Field::GeminiMaxOutputTokens => {
                self.request.max_output.generation = self.count(field, value, 0)?
            }
            Field::N | Field::BestOf | Field::GeminiCandidateCount => {
                if let Some(choices) = self.count(field, value, 1)? {
                    self.request.choices_at_least(choices);
                }
            }
            Field::GenerationConfig if value != Scalar::Null => {
                return Err(self.wrong(field, "an object"));
            }
            Field::PreviousResponseId
            | Field::Conversation
            | Field::CachedContent
            | Field::McpServers
            | Field::WebSearchOptions => self.request.external_input |= value != Scalar::Null,
            Field::Prompt if depth == 2 => {
                // All numbers together are the tokens of one prompt.
                let token = matches!(value, Scalar::Number(_));
                if !(token && self.token_prompt) {
                    self.request.prompts += 1;
                }
                self.token_prompt |= token;
            }
            // In the images API this is a colour.
            Field::Background => self.request.unmetered_output |= value == Scalar::Bool(true),
            Field::Models
            | Field::Fallbacks
            | Field::GenerationConfig
            | Field::Prompt
            | Field::Input
            | Field::Tools
            | Field::Functions
            | Field::ContextManagement
            | Field::Requests
            | Field::GenerateContentRequest => {}
        }
        Ok(())
    }

    /// Adds the name of another model that may be called.
    fn fallback(&mut self, field: Field, value: Scalar<'_>) -> Result<(), BodyError> {
        let name = self.target(field, value)?;
        // Each call of a batch names its model.
        if field == Field::Requests && self.request.fallbacks.contains(&name) {
            return Ok(());
        }
        self.another_model(field.name(), name)
    }

    fn another_model(&mut self, field: &'static str, name: Box<str>) -> Result<(), BodyError> {
        if self.request.fallbacks.len() >= MAX_FALLBACKS {
            return Err(BodyError::TooMany { field, offset: self.reached, max: MAX_FALLBACKS });
        }
        self.request.fallbacks.push(name);
        Ok(())
    }

    fn field_container(&mut self, field: Field, depth: usize, kind: Container) -> Result<(), BodyError> {
        match (field, kind) {
            (Field::Models | Field::Fallbacks, Container::Array) if depth == 1 => {}
            (Field::Fallbacks, Container::Object) if depth == 2 => {}
            (Field::GenerationConfig, Container::Object) => {}
            (Field::StreamOptions, Container::Object) => {
                let start = self.reached.saturating_sub(1);
                self.request.stream_options =
                    StreamOptions::Object { at: start..self.reached, empty: true, include_usage: None };
            }
            (Field::Prompt, _) if depth == 2 => self.request.prompts += 1,
            // An object is a stored prompt; a list is text or tokens.
            (
                Field::Prompt | Field::Conversation | Field::McpServers | Field::WebSearchOptions,
                Container::Object,
            ) => self.request.external_input = true,
            (
                Field::Prompt
                | Field::McpServers
                | Field::Input
                | Field::Tools
                | Field::Functions
                | Field::ContextManagement
                | Field::Background
                | Field::Requests
                | Field::GenerateContentRequest,
                _,
            ) => {}
            (Field::Models | Field::Fallbacks, _) => return Err(self.wrong(field, "a list of names")),
            (Field::StreamOptions | Field::GenerationConfig, _) => {
                return Err(self.wrong(field, "an object"));
            }
            (Field::Model | Field::PreviousResponseId | Field::Conversation | Field::CachedContent, _) => {
                return Err(self.wrong(field, "a string"));
            }
            (Field::WebSearchOptions, _) => return Err(self.wrong(field, "an object")),
            (Field::Stream | Field::IncludeUsage, _) => return Err(self.wrong(field, "true or false")),
            _ => return Err(self.wrong(field, "a whole number")),
        }
        Ok(())
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other field or JSON type is treated alike")]
    fn content(&mut self, depth: usize, text: &str) {
        let parent = depth.checked_sub(1).map(|depth| self.mark(depth)).unwrap_or_default();
        let mark = self.mark(depth);
        match mark {
            ExternalMark::ItemType => self.item.set_type(text),
            ExternalMark::ItemContent => self.item.set_content(!text.is_empty()),
            _ => {}
        }
        self.request.external_input |= mark.is_external(parent, text);
    }

    /// Returns true inside of a member that stands for content that the body does not show.
    fn is_hidden(&self, depth: usize) -> bool {
        self.member.1 == Member::Hidden && depth > self.member_depth
    }

    /// Looks up a member of the body, or of `generationConfig`, in the table of the API.
    fn find_member(&mut self, depth: usize, name: &str, known: bool) {
        let Some(of_api) = self.tables else { return };
        let tables = if depth == 1 { of_api } else { [members::GENERATION_CONFIG, &[]] };
        let found = members::find(tables, &fields::folded(name));
        if found.is_none() && !known && self.request.unknown.is_none() {
            self.request.unknown = Some(name.into());
        }
        self.member = found.filter(|_| !known).unwrap_or_default();
        self.member_depth = depth;
        self.member_at = self.reached;
    }

    /// Takes a value of the current member of the body, or inside of it. Returns true if that is all.
    fn member_value(&mut self, depth: usize, value: Scalar<'_>) -> Result<bool, BodyError> {
        let (name, member) = self.member;
        let wrong = |expected| BodyError::WrongType { field: name, offset: self.reached, expected };
        let number = match value {
            Scalar::Number(text) if text.whole => whole_number(text.text),
            Scalar::Number(_) | Scalar::String(_) | Scalar::Bool(_) | Scalar::Null => None,
        };
        match (member, value) {
            (Member::Plain | Member::Predicted, _) | (_, Scalar::Null) => return Ok(false),
            (Member::Hidden, Scalar::Bool(false)) => {}
            (Member::Hidden, Scalar::String(text)) if text.is("") => {}
            (Member::Hidden, _) => {
                self.request.external_input |= number != Some(0);
                return Ok(false);
            }
            (Member::Models, Scalar::String(text)) => {
                if !text.whole || !is_name(text.text) {
                    return Err(wrong("a name of at most 256 bytes"));
                }
                self.another_model(name, text.text.into())?;
            }
            (Member::Models, _) if depth == self.member_depth => {
                return Err(wrong("a name, or a list of names"));
            }
            (Member::Models, _) => {}
            (Member::Choices, _) => {
                let number = number.ok_or_else(|| wrong("a whole number"))?;
                self.request.choices_at_least(number.max(1));
            }
            (Member::Frames, _) => {
                let number = number.ok_or_else(|| wrong("a whole number"))?;
                // A server reads one of several spellings.
                self.request.frames = self.request.frames.max(Some(number.max(1)));
            }
            (Member::MaxOutput, _) => {
                let number = number.ok_or_else(|| wrong("a whole number"))?;
                self.request.max_output.of_fallbacks = self.request.max_output.of_fallbacks.max(number);
            }
            (Member::Series, Scalar::String(text)) if text.is("disabled") => {}
            (Member::Series, _) => self.request.choices_at_least(members::SERIES),
            (Member::Deferred, _) => self.request.unmetered_output |= value == Scalar::Bool(true),
        }
        Ok(true)
    }

    /// Returns true for a member of an entry of `fallbacks` that adds to the call what the body itself does not show.
    fn adds_to_fallback(&self, name: &str) -> bool {
        const NAMES: [&str; 8] = [
            "tools",
            "functions",
            "mcp_servers",
            "web_search_options",
            "previous_response_id",
            "conversation",
            "cached_content",
            "context_management",
        ];
        let of_table = self.tables.and_then(|tables| members::find(tables, name));
        of_table.is_some_and(|(_, member)| member == Member::Hidden)
            || NAMES.iter().any(|known| known.eq_ignore_ascii_case(name))
    }

    /// Ends a predicted answer. A server reads one of several spellings.
    fn predicted(&mut self) {
        let bytes = self.reached.saturating_sub(self.member_at);
        self.request.predicted = self.request.predicted.max(bytes);
    }

    /// Returns the mark of a member at this depth.
    fn member(&mut self, depth: usize, name: &str) -> ExternalMark {
        let parent = depth.checked_sub(1).map(|parent| self.place(parent)).unwrap_or_default();
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
        let mark = self.member(depth, text);
        self.set_mark(depth, mark);
        let parent = depth.checked_sub(1).map(|parent| self.place(parent)).unwrap_or_default();
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
