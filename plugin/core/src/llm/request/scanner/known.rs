//! The values of fields that have the same meaning in every API that has them.

use alloc::boxed::Box;

use super::ScannedMember;
use crate::json::lexer::{Container, Scalar};
use crate::llm::request::fields::{Field, is_name, whole_number};
use crate::llm::request::{BodyError, MAX_FALLBACKS, MAX_NAME, StreamOptions, Switch};

impl ScannedMember {
    pub(super) fn wrong(&self, field: Field, expected: &'static str) -> BodyError {
        BodyError::WrongType { field: field.name(), offset: self.reached, expected }
    }

    #[allow(clippy::wildcard_enum_match_arm, reason = "every other field or JSON type is treated alike")]
    pub(super) fn target(&self, field: Field, value: Scalar<'_>) -> Result<Box<str>, BodyError> {
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
    pub(super) fn count(
        &self,
        field: Field,
        value: Scalar<'_>,
        least: u64,
    ) -> Result<Option<u64>, BodyError> {
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
    pub(super) fn switch(&self, field: Field, value: Scalar<'_>) -> Result<Switch, BodyError> {
        let (on, length) = match value {
            Scalar::Bool(true) => (true, 4),
            Scalar::Bool(false) => (false, 5),
            Scalar::Null => (false, 4),
            _ => return Err(self.wrong(field, "true or false")),
        };
        Ok(Switch { on, at: self.reached.saturating_sub(length)..self.reached })
    }

    pub(super) fn field_value(
        &mut self,
        field: Field,
        depth: usize,
        value: Scalar<'_>,
    ) -> Result<(), BodyError> {
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
            // A name that is cut, or no text, may be that of any tier.
            Field::ServiceTier => {
                self.request.service_tier = match value {
                    Scalar::String(text) if text.whole => Some(text.text.into()),
                    Scalar::String(_) | Scalar::Number(_) | Scalar::Bool(_) | Scalar::Null => None,
                }
            }
            // In the audio API this is a number.
            Field::Speed => self.request.fast = matches!(value, Scalar::String(text) if !text.is("standard")),
            Field::Input => self.spoken(value),
            // In the images API this is a colour.
            Field::Background => self.request.unmetered_output |= value == Scalar::Bool(true),
            Field::Models
            | Field::Fallbacks
            | Field::GenerationConfig
            | Field::Prompt
            | Field::Tools
            | Field::Functions
            | Field::ContextManagement
            | Field::Requests
            | Field::GenerateContentRequest => {}
        }
        Ok(())
    }

    /// Counts the characters of a text to speak. Those of a text that is too long to be kept count by their bytes.
    fn spoken(&mut self, value: Scalar<'_>) {
        if let (true, Scalar::String(text)) = (self.speaks, value) {
            let bytes = self.reached.saturating_sub(self.before);
            let rest = if text.whole { 0 } else { bytes.saturating_sub(text.text.len() as u64) };
            self.request.characters = (text.text.chars().count() as u64).saturating_add(rest);
        }
    }

    /// Adds the name of another model that may be called.
    pub(super) fn fallback(&mut self, field: Field, value: Scalar<'_>) -> Result<(), BodyError> {
        let name = self.target(field, value)?;
        // Each call of a batch names its model.
        if field == Field::Requests && self.request.fallbacks.contains(&name) {
            return Ok(());
        }
        self.another_model(field.name(), name)
    }

    pub(super) fn another_model(&mut self, field: &'static str, name: Box<str>) -> Result<(), BodyError> {
        if self.request.fallbacks.len() >= MAX_FALLBACKS {
            return Err(BodyError::TooMany { field, offset: self.reached, max: MAX_FALLBACKS });
        }
        self.request.fallbacks.push(name);
        Ok(())
    }

    pub(super) fn field_container(
        &mut self,
        field: Field,
        depth: usize,
        kind: Container,
    ) -> Result<(), BodyError> {
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
                | Field::ServiceTier
                | Field::Speed
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
}
