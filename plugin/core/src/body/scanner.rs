//! A strict reader of JSON request bodies, in pieces and in fixed memory.
//!
//! It is a validator that takes note of a few fields. A field that decides anything and stands there
//! twice, in whatever spelling, is refused: the upstream might read the other one.

use alloc::format;
use alloc::string::String;
use core::fmt;

use super::Ask;
use crate::json::lexer::{Container, Error, Lexer, Scalar, Text, Visitor};

/// Deepest nesting of a body.
const MOST_DEPTH: usize = 256;
/// Longest name of a target.
const MOST_NAME: usize = 256;
/// Most fallback targets.
const MOST_FALLBACKS: usize = 32;

/// Why a body is refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyError {
    /// It is not one JSON object; says where and what would be right.
    NotJson(String),
    /// A field that decides stands there twice.
    Twice(&'static str),
    /// A field that decides has another form.
    Form {
        /// Which, as a JSON Pointer.
        field: &'static str,
        /// What would be right.
        expected: &'static str,
    },
    /// More fallback targets than are read.
    TooManyFallbacks,
}

impl fmt::Display for BodyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BodyError::NotJson(what) => f.write_str(what),
            BodyError::Twice(field) => write!(f, "`{field}` stands there twice; send it once"),
            BodyError::Form { field, expected } => write!(f, "`{field}` must be {expected}"),
            BodyError::TooManyFallbacks => write!(f, "`/models` names more than {MOST_FALLBACKS} targets"),
        }
    }
}

/// A field that decides.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Field {
    Model,
    Models,
    Stream,
    StreamOptions,
    MaxTokens,
    MaxCompletionTokens,
    MaxOutputTokens,
    MaxTokensToSample,
    Choices,
    BestOf,
    GenerationConfig,
    PreviousResponse,
    Conversation,
    CachedContent,
}

const FIELDS: [(&str, Field); 16] = [
    ("model", Field::Model),
    ("models", Field::Models),
    ("stream", Field::Stream),
    ("stream_options", Field::StreamOptions),
    ("max_tokens", Field::MaxTokens),
    ("max_completion_tokens", Field::MaxCompletionTokens),
    ("max_output_tokens", Field::MaxOutputTokens),
    ("max_tokens_to_sample", Field::MaxTokensToSample),
    ("n", Field::Choices),
    ("best_of", Field::BestOf),
    ("generationConfig", Field::GenerationConfig),
    ("generation_config", Field::GenerationConfig),
    ("previous_response_id", Field::PreviousResponse),
    ("conversation", Field::Conversation),
    ("cachedContent", Field::CachedContent),
    ("cached_content", Field::CachedContent),
];

const CONFIG_FIELDS: [(&str, Field); 4] = [
    ("maxOutputTokens", Field::MaxOutputTokens),
    ("max_output_tokens", Field::MaxOutputTokens),
    ("candidateCount", Field::Choices),
    ("candidate_count", Field::Choices),
];

fn pointer(field: Field) -> &'static str {
    match field {
        Field::Model => "/model",
        Field::Models => "/models",
        Field::Stream => "/stream",
        Field::StreamOptions => "/stream_options",
        Field::MaxTokens => "/max_tokens",
        Field::MaxCompletionTokens => "/max_completion_tokens",
        Field::MaxOutputTokens => "/max_output_tokens",
        Field::MaxTokensToSample => "/max_tokens_to_sample",
        Field::Choices => "/n",
        Field::BestOf => "/best_of",
        Field::GenerationConfig => "/generationConfig",
        Field::PreviousResponse => "/previous_response_id",
        Field::Conversation => "/conversation",
        Field::CachedContent => "/cachedContent",
    }
}

/// Names of members, at any depth, whose string refers to content outside of the body if it is a URL.
const URL_NAMES: [&str; 6] = ["url", "image_url", "file_url", "audio_url", "fileUri", "file_uri"];
/// Names of members, at any depth, that refer to content outside of the body.
const ID_NAMES: [&str; 3] = ["file_id", "vector_store_ids", "container"];

/// Reads a body as it arrives.
#[derive(Debug)]
pub struct RequestScanner {
    lexer: Lexer,
    notes: Notes,
}

#[derive(Debug, Default)]
struct Notes {
    ask: Ask,
    /// The depth-1 field whose value is being read.
    field: Option<Field>,
    /// The member of `generationConfig` whose value is being read.
    config_field: Option<Field>,
    seen: u32,
    config_seen: u32,
    refers: Refers,
    is_object: bool,
}

/// What the value to come would refer to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Refers {
    #[default]
    Nothing,
    IfUrl,
    Always,
}

impl Default for RequestScanner {
    fn default() -> Self {
        RequestScanner { lexer: Lexer::new(MOST_DEPTH), notes: Notes::default() }
    }
}

impl RequestScanner {
    /// The next bytes.
    ///
    /// # Errors
    /// [`BodyError`] as soon as the body cannot be accepted any more.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), BodyError> {
        self.notes.ask.bytes = self.notes.ask.bytes.saturating_add(bytes.len() as u64);
        self.lexer.push(bytes, &mut self.notes).map_err(body_error)
    }

    /// What the whole body asks for.
    ///
    /// # Errors
    /// [`BodyError`] where it is not one whole JSON object.
    pub fn finish(mut self) -> Result<Ask, BodyError> {
        self.lexer.finish(&mut self.notes).map_err(body_error)?;
        if self.notes.is_object {
            Ok(self.notes.ask)
        } else {
            Err(BodyError::NotJson("expected a JSON object".into()))
        }
    }
}

fn body_error(error: Error<BodyError>) -> BodyError {
    match error {
        Error::Stopped(error) => error,
        other => BodyError::NotJson(format!("{other}")),
    }
}

/// Takes note that a field was seen; an error the second time.
fn see(seen: &mut u32, field: Field) -> Result<(), BodyError> {
    let bit = 1_u32.wrapping_shl(field as u32);
    if *seen & bit != 0 {
        return Err(BodyError::Twice(pointer(field)));
    }
    *seen |= bit;
    Ok(())
}

impl Notes {
    /// The member whose scalar comes now, if it decides.
    fn deciding(&self, depth: usize) -> Option<Field> {
        match (depth, self.field) {
            (1, field) => field,
            (2, Some(Field::Models)) => Some(Field::Models),
            (2, Some(Field::GenerationConfig)) => self.config_field,
            _ => None,
        }
    }

    fn decide(&mut self, field: Field, depth: usize, value: Scalar<'_>) -> Result<(), BodyError> {
        let form = |expected| Err(BodyError::Form { field: pointer(field), expected });
        match (field, value) {
            (Field::Model, Scalar::String(name)) if name.whole && !name.text.is_empty() => {
                self.ask.model = Some(name.text.into());
            }
            (Field::Model, _) => return form("a string of 1 to 256 bytes"),
            (Field::Models, Scalar::String(name)) if depth == 2 && name.whole => {
                if self.ask.fallbacks.len() >= MOST_FALLBACKS {
                    return Err(BodyError::TooManyFallbacks);
                }
                self.ask.fallbacks.push(name.text.into());
            }
            (Field::Models, Scalar::Null) if depth == 1 => {}
            (Field::Models, _) => return form("an array of strings"),
            (Field::Stream, Scalar::Bool(stream)) => self.ask.stream = stream,
            (Field::Stream, Scalar::Null) => {}
            (Field::Stream, _) => return form("true or false"),
            (
                Field::MaxTokens
                | Field::MaxCompletionTokens
                | Field::MaxOutputTokens
                | Field::MaxTokensToSample,
                value,
            ) => match count(value) {
                Ok(Some(most)) => self.ask.max_output = Some(self.ask.max_output.unwrap_or(0).max(most)),
                Ok(None) => {}
                Err(expected) => return form(expected),
            },
            (Field::Choices | Field::BestOf, value) => match count(value) {
                Ok(Some(choices)) => self.ask.choices = Some(self.ask.choices.unwrap_or(1).max(choices)),
                Ok(None) => {}
                Err(expected) => return form(expected),
            },
            (Field::PreviousResponse | Field::Conversation | Field::CachedContent, Scalar::Null) => {}
            (Field::PreviousResponse | Field::Conversation | Field::CachedContent, _) => {
                self.ask.hidden_content = true;
            }
            (Field::StreamOptions | Field::GenerationConfig, Scalar::Null) => {}
            (Field::StreamOptions | Field::GenerationConfig, _) => return form("an object"),
        }
        Ok(())
    }
}

/// A count; `Ok(None)` for null.
fn count(value: Scalar<'_>) -> Result<Option<u64>, &'static str> {
    const EXPECTED: &str = "a whole number from 0 to 4294967295";
    match value {
        Scalar::Null => Ok(None),
        Scalar::Number(text) if text.whole => {
            text.text.parse::<u32>().map(|number| Some(u64::from(number))).map_err(|_| EXPECTED)
        }
        _ => Err(EXPECTED),
    }
}

impl Visitor for Notes {
    type Stop = BodyError;

    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), BodyError> {
        self.is_object |= depth == 0 && kind == Container::Object;
        if depth == 0 && kind != Container::Object {
            return Err(BodyError::NotJson("expected a JSON object".into()));
        }
        if let Some(field) = self.deciding(depth) {
            let fits = match field {
                Field::Models => depth == 1 && kind == Container::Array,
                Field::GenerationConfig | Field::StreamOptions => depth == 1 && kind == Container::Object,
                Field::Conversation | Field::CachedContent | Field::PreviousResponse => true,
                _ => false,
            };
            if !fits {
                let expected = if field == Field::Models { "an array of strings" } else { "of another form" };
                return Err(BodyError::Form { field: pointer(field), expected });
            }
            self.ask.hidden_content |= field == Field::Conversation;
        }
        if self.refers == Refers::Always {
            self.ask.hidden_content = true;
        }
        Ok(())
    }

    fn name_bytes(&self, _: usize) -> usize {
        32
    }

    fn name(&mut self, depth: usize, name: Text<'_>) -> Result<(), BodyError> {
        let known = |fields: &[(&str, Field)]| {
            fields.iter().find(|(known, _)| name.is(known)).map(|(_, field)| *field)
        };
        if depth == 1 {
            self.field = known(&FIELDS);
            if let Some(field) = self.field {
                see(&mut self.seen, field)?;
            }
        } else if depth == 2 && self.field == Some(Field::GenerationConfig) {
            self.config_field = known(&CONFIG_FIELDS);
            if let Some(field) = self.config_field {
                see(&mut self.config_seen, field)?;
            }
        }
        self.refers = if name.whole && URL_NAMES.contains(&name.text) {
            Refers::IfUrl
        } else if name.whole && ID_NAMES.contains(&name.text) {
            Refers::Always
        } else {
            Refers::Nothing
        };
        Ok(())
    }

    fn scalar_bytes(&self, depth: usize) -> usize {
        match self.deciding(depth) {
            Some(_) => MOST_NAME,
            None if self.refers == Refers::IfUrl => 8,
            None => 0,
        }
    }

    fn scalar(&mut self, depth: usize, value: Scalar<'_>) -> Result<(), BodyError> {
        if depth == 0 {
            return Err(BodyError::NotJson("expected a JSON object".into()));
        }
        match (self.refers, value) {
            (Refers::IfUrl, Scalar::String(text)) => {
                self.ask.hidden_content |= !text.text.starts_with("data:");
            }
            (Refers::Always, Scalar::String(_)) => self.ask.hidden_content = true,
            _ => {}
        }
        match self.deciding(depth) {
            Some(field) => self.decide(field, depth, value),
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(text: &str) -> Result<Ask, BodyError> {
        let mut whole = RequestScanner::default();
        let outcome = whole.push(text.as_bytes()).and_then(|()| whole.finish());
        for cut in 0..text.len().min(200) {
            let mut pieces = RequestScanner::default();
            let (one, two) = text.as_bytes().split_at(cut);
            let again = pieces.push(one).and_then(|()| pieces.push(two)).and_then(|()| pieces.finish());
            assert_eq!(again, outcome, "cut at {cut}: {text}");
        }
        outcome
    }

    #[test]
    fn it_finds_what_decides_and_nothing_else() {
        let ask = scan(r#"{"messages":[{"role":"user","content":"{\"model\":\"x\"}","model":"y"}],"model":"gpt-5-mini","max_tokens":5,"max_completion_tokens":9,"n":2,"stream":true}"#).unwrap();
        assert_eq!(ask.model.as_deref(), Some("gpt-5-mini"));
        assert_eq!(
            (ask.max_output, ask.choices, ask.stream, ask.hidden_content),
            (Some(9), Some(2), true, false)
        );
    }

    #[test]
    fn bodies_that_two_parsers_would_read_differently_are_refused() {
        let deep = "[".repeat(100_000);
        let refused = [
            r#"{"model":"a","model":"b"}"#,
            r#"{"model":"a","\u006dodel":"b"}"#,
            r#"{"max_tokens":1,"max_tokens":100}"#,
            r#"{"n":1,"\u006e":100}"#,
            r#"{"generationConfig":{"maxOutputTokens":1,"max_output_tokens":9}}"#,
            r#"{"generationConfig":{},"generation_config":{"maxOutputTokens":9}}"#,
            r#"{"model":7}"#,
            r#"{"model":["a"]}"#,
            r#"{"model":{"a":1}}"#,
            r#"{"model":null}"#,
            r#"{"models":"a"}"#,
            r#"{"models":["a",["b"]]}"#,
            r#"{"max_tokens":-1}"#,
            r#"{"max_tokens":1.5}"#,
            r#"{"max_tokens":"7"}"#,
            r#"{"max_tokens":1e3}"#,
            r#"{"n":[1]}"#,
            r#"{"stream":"true"}"#,
            r#"{"model":"a"} trailing"#,
            r#"{"model":"a"}{"model":"b"}"#,
            "\u{feff}{\"model\":\"a\"}",
            "{\"model\":\"a\0\"}",
            r#"{"model":"\ud800"}"#,
            r#"["model"]"#,
            r#""model""#,
            "",
            "{",
            &deep,
        ];
        for text in refused {
            assert!(scan(text).is_err(), "{}", text.get(..60.min(text.len())).unwrap_or(text));
        }
        let mut scanner = RequestScanner::default();
        assert!(scanner.push(b"{\"model\":\"\xff\"}").and_then(|()| scanner.finish()).is_err());
    }

    #[test]
    fn content_that_is_not_in_the_body_is_noticed() {
        let hidden = |text| scan(text).unwrap().hidden_content;
        assert!(hidden(
            r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"https://example.com/a.png"}}]}]}"#
        ));
        assert!(!hidden(
            r#"{"messages":[{"content":[{"type":"image_url","image_url":{"url":"data:image/png;base64,AAAA"}}]}]}"#
        ));
        assert!(hidden(r#"{"input":[{"type":"input_file","file_id":"file-1"}]}"#));
        assert!(hidden(r#"{"previous_response_id":"resp_1"}"#));
        assert!(!hidden(r#"{"previous_response_id":null}"#));
        assert!(hidden(r#"{"conversation":{"id":"conv_1"}}"#));
    }
}
