//! The fields that decisions need, and the lookup of their names.

use alloc::borrow::Cow;

use super::BodyError;
use crate::collections::name_filter::NameFilter;
use crate::llm::dialect::{gemini, joined, openai};

/// A field that decisions need.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(in crate::llm) enum Field {
    Model,
    Models,
    Fallbacks,
    Stream,
    StreamOptions,
    IncludeUsage,
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
    MaxTokensToSample,
    N,
    BestOf,
    GenerationConfig,
    GeminiMaxOutputTokens,
    GeminiCandidateCount,
    PreviousResponseId,
    Conversation,
    CachedContent,
    Prompt,
    Input,
    Tools,
    Functions,
    McpServers,
    WebSearchOptions,
    ContextManagement,
    Background,
    Requests,
    GenerateContentRequest,
    ServiceTier,
    Speed,
}

/// The fields of one object by name.
pub(super) struct FieldNames {
    /// The JSON pointer of the object.
    pub(super) within: &'static str,
    list: &'static [(&'static str, Field)],
    /// A Bloom filter over the list: most names are not in it.
    filter: NameFilter,
}

impl FieldNames {
    const fn of(list: &'static [(&'static str, Field)]) -> Self {
        Self { within: "", list, filter: NameFilter::listed(list) }
    }

    const fn within(self, pointer: &'static str) -> Self {
        Self { within: pointer, ..self }
    }
}

/// Members of the body, of all APIs.
pub(super) const BODY: &FieldNames = &FieldNames::of(joined!(body: Field, Field::Model));

/// Members of `stream_options`.
pub(super) const STREAM_OPTIONS: &FieldNames =
    &FieldNames::of(openai::STREAM_OPTIONS).within("/stream_options");

/// Members of `generationConfig`.
pub(super) const GENERATION_CONFIG: &FieldNames =
    &FieldNames::of(gemini::GENERATION_CONFIG).within("/generationConfig");

/// Parts of a form.
pub(super) const FORM: &FieldNames = &FieldNames::of(&[
    ("model", Field::Model),
    ("models", Field::Models),
    ("stream", Field::Stream),
    ("n", Field::N),
]);

impl Field {
    /// Returns the field's name for messages.
    pub(super) fn name(self) -> &'static str {
        let all = [BODY, STREAM_OPTIONS, GENERATION_CONFIG];
        all.into_iter()
            .flat_map(|names| names.list)
            .find(|(_, field)| *field == self)
            .map_or("", |(name, _)| name)
    }

    /// Finds the field with this name.
    ///
    /// # Errors
    /// [`BodyError::Lookalike`]: some servers match names without regard to case (Go's `encoding/json`,
    /// which also folds `ſ` and the Kelvin sign) or only up to a NUL.
    pub(super) fn find(names: &FieldNames, name: &str, offset: u64) -> Result<Option<Self>, BodyError> {
        // Nearly all names are plain ASCII; two of these are alike only if they differ in case.
        let plain = name.bytes().fold(true, |plain, byte| plain & (1..0x80).contains(&byte));
        if plain && !names.filter.may_contain(name.as_bytes()) {
            return Ok(None);
        }
        if let Some((_, field)) = names.list.iter().find(|(known, _)| *known == name) {
            return Ok(Some(*field));
        }
        let folded = |known: &str| {
            if plain {
                return known.eq_ignore_ascii_case(name);
            }
            let seen = name.chars().take_while(|c| *c != '\0').map(fold);
            seen.eq(known.chars().map(fold))
        };
        match names.list.iter().find(|(known, _)| folded(known)) {
            Some((field, _)) => Err(BodyError::Lookalike { field, offset }),
            None => Ok(None),
        }
    }
}

/// Returns a name as servers read it that fold letters, or end it at a NUL.
pub(super) fn folded(name: &str) -> Cow<'_, str> {
    if name.bytes().all(|byte| (1..0x80).contains(&byte)) {
        return Cow::Borrowed(name);
    }
    Cow::Owned(name.chars().take_while(|c| *c != '\0').map(fold).collect())
}

fn fold(character: char) -> char {
    match character {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

/// The set of fields that were seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct SeenFields(u64);

impl SeenFields {
    /// Adds a field.
    ///
    /// # Errors
    /// [`BodyError::Duplicate`] if it was seen before.
    pub(super) fn add(&mut self, field: Field, offset: u64) -> Result<(), BodyError> {
        let bit = 1_u64 << field as u8;
        if self.0 & bit != 0 {
            return Err(BodyError::Duplicate { field: field.name(), offset });
        }
        self.0 |= bit;
        Ok(())
    }
}

/// Parses a whole number in plain digits, which every reader takes for the same value.
pub(super) fn whole_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// Returns true for a valid target name: not empty, without control characters, at which some readers stop.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use alloc::string::String;
    use alloc::vec::Vec;

    use super::*;

    /// A known name with some characters replaced, by similar ones or by others.
    fn names() -> impl Strategy<Value = String> {
        let known: Vec<&str> = [BODY, STREAM_OPTIONS, GENERATION_CONFIG, FORM]
            .into_iter()
            .flat_map(|names| names.list.iter().map(|(name, _)| *name))
            .collect();
        let tail = prop_oneof![4 => Just(String::new()), 1 => "\0?[a-z]{0,3}"];
        let odd = proptest::collection::vec(0..12_u8, 30);
        (proptest::sample::select(known), odd, tail).prop_map(|(name, odd, tail)| {
            let written = |(character, odd)| match (character, odd) {
                ('s', 0) => 'ſ',
                ('k', 0 | 1) => '\u{212a}',
                (other, 1) => other.to_ascii_uppercase(),
                (_, 2) => 'x',
                (other, _) => other,
            };
            name.chars().zip(odd).map(written).chain(tail.chars()).collect()
        })
    }

    proptest! {
        #[test]
        fn look_alikes_of_known_names_are_rejected(name in names()) {
            let seen: String = name.split('\0').next().unwrap_or_default().chars().map(fold).collect();
            for names in [BODY, STREAM_OPTIONS, GENERATION_CONFIG, FORM] {
                let alike = names.list.iter().find(|(known, _)| known.to_ascii_lowercase() == seen);
                let expected = match alike {
                    Some((known, field)) if *known == name => Ok(Some(*field)),
                    Some((known, _)) => Err(BodyError::Lookalike { field: known, offset: 7 }),
                    None => Ok(None),
                };
                prop_assert_eq!(Field::find(names, &name, 7), expected);
            }
        }
    }
}
