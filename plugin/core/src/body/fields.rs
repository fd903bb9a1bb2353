//! The fields a decision reads, and their names.

use super::BodyError;

/// A field that the decision reads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Field {
    Model,
    Models,
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
}

type Names = [(&'static str, Field)];

/// Members of the body. Protobuf's JSON reads both spellings of a name as one field.
pub(super) const BODY: &Names = &[
    ("model", Field::Model),
    ("models", Field::Models),
    ("stream", Field::Stream),
    ("stream_options", Field::StreamOptions),
    ("max_tokens", Field::MaxTokens),
    ("max_completion_tokens", Field::MaxCompletionTokens),
    ("max_output_tokens", Field::MaxOutputTokens),
    ("max_tokens_to_sample", Field::MaxTokensToSample),
    ("n", Field::N),
    ("best_of", Field::BestOf),
    ("generationConfig", Field::GenerationConfig),
    ("generation_config", Field::GenerationConfig),
    ("previous_response_id", Field::PreviousResponseId),
    ("conversation", Field::Conversation),
    ("cachedContent", Field::CachedContent),
    ("cached_content", Field::CachedContent),
    ("prompt", Field::Prompt),
];

/// Members of `stream_options`.
pub(super) const STREAM_OPTIONS: &Names = &[("include_usage", Field::IncludeUsage)];

/// Members of `generationConfig`.
pub(super) const GENERATION_CONFIG: &Names = &[
    ("maxOutputTokens", Field::GeminiMaxOutputTokens),
    ("max_output_tokens", Field::GeminiMaxOutputTokens),
    ("candidateCount", Field::GeminiCandidateCount),
    ("candidate_count", Field::GeminiCandidateCount),
];

/// Parts of a form.
pub(super) const FORM: &Names =
    &[("model", Field::Model), ("models", Field::Models), ("stream", Field::Stream), ("n", Field::N)];

impl Field {
    /// Its name, as messages give it.
    pub(super) fn name(self) -> &'static str {
        let all = [BODY, STREAM_OPTIONS, GENERATION_CONFIG];
        all.into_iter().flatten().find(|(_, field)| *field == self).map_or("", |(name, _)| name)
    }

    /// The field of this name.
    ///
    /// # Errors
    /// [`BodyError::Lookalike`]: some servers match names without regard to case (Go's `encoding/json`,
    /// which also folds `ſ` and the Kelvin sign) or only up to a NUL.
    pub(super) fn find(names: &Names, name: &str, offset: u64) -> Result<Option<Self>, BodyError> {
        if let Some((_, field)) = names.iter().find(|(known, _)| *known == name) {
            return Ok(Some(*field));
        }
        let folded = |known: &str| {
            let plain = name.chars().take_while(|c| *c != '\0').map(fold);
            plain.eq(known.chars().map(fold))
        };
        match names.iter().find(|(known, _)| folded(known)) {
            Some((field, _)) => Err(BodyError::Lookalike { field, offset }),
            None => Ok(None),
        }
    }
}

fn fold(character: char) -> char {
    match character {
        'ſ' => 's',
        '\u{212a}' => 'k',
        other => other.to_ascii_lowercase(),
    }
}

/// Which fields were there.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen(u32);

impl Seen {
    /// Notes one more.
    ///
    /// # Errors
    /// [`BodyError::Duplicate`] for the second of its kind.
    pub(super) fn note(&mut self, field: Field, offset: u64) -> Result<(), BodyError> {
        let bit = 1 << field as u8;
        if self.0 & bit != 0 {
            return Err(BodyError::Duplicate { field: field.name(), offset });
        }
        self.0 |= bit;
        Ok(())
    }
}

/// A whole number in plain digits: what every reader takes for the same value.
pub(super) fn whole_number(text: &str) -> Option<u64> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    digits.then(|| text.parse().ok()).flatten()
}

/// A target's name: not empty, nothing that one reader shows and another cuts at.
pub(super) fn is_name(text: &str) -> bool {
    !text.is_empty() && !text.contains(char::is_control)
}
