//! The other members of a body, by the table of the API.

use super::ScannedMember;
use crate::json::lexer::Scalar;
use crate::llm::dialect::members::{self, Member};
use crate::llm::request::BodyError;
use crate::llm::request::fields::{self, is_name, whole_number};

impl ScannedMember {
    /// Returns true inside of a member that stands for content that the body does not show.
    pub(super) fn is_hidden(&self, depth: usize) -> bool {
        self.member.1 == Member::Hidden && depth > self.member_depth
    }

    /// Looks up a member of the body, or of `generationConfig`, in the table of the API.
    pub(super) fn find_member(&mut self, depth: usize, name: &str, known: bool) {
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
    pub(super) fn member_value(&mut self, depth: usize, value: Scalar<'_>) -> Result<bool, BodyError> {
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
    pub(super) fn adds_to_fallback(&self, name: &str) -> bool {
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
    pub(super) fn predicted(&mut self) {
        let bytes = self.reached.saturating_sub(self.member_at);
        self.request.predicted = self.request.predicted.max(bytes);
    }
}
