//! What an answer used, read as it streams.
//!
//! A [`UsageMeter`] is fed the answer's bytes, keeps none of them, and gives the usage that the provider
//! reported: from a JSON document or from server-sent events, in the dialect of its API. Values are
//! absolute: of each figure the last one that is not null holds, and of two usage objects in one document the later.

mod extract;
mod marks;
mod sse;
mod strip;
mod tail;
mod token_fields;

use extract::UsageExtractor;
use sse::SseParser;

pub use strip::UsageChunkFilter;

use crate::api::Api;
use crate::json::lexer::Lexer;

/// The deepest nesting that is followed in an answer.
const MAX_DEPTH: usize = 512;

/// What the names of types end in that are JSON (RFC 6839).
const JSON_SUFFIX: &[u8] = b"+json";

/// Bytes of text for a token, as providers write it on average.
const BYTES_PER_TOKEN: u64 = 4;

/// Tokens that a provider reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// Everything that was read, cached or not.
    pub input: u64,
    /// Everything that was written, reasoning included.
    pub output: u64,
    /// The part of `input` that came from a cache.
    pub cached_input: u64,
    /// The part of `input` that was written to a cache.
    pub cache_write: u64,
    /// The part of `output` that is reasoning, where the provider tells it apart.
    pub reasoning: u64,
}

impl Usage {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Usage) -> Usage {
        Usage {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cached_input: self.cached_input.saturating_add(other.cached_input),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }
}

/// What was found when an answer ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct UsageReport {
    /// What the provider reported; in an answer that broke off perhaps less than what was sent.
    pub usage: Option<Usage>,
    /// An estimate of the output that went by: a token for each piece of a stream, or for each four
    /// bytes of its text, whichever is more.
    pub output_seen_tokens: u64,
    /// Output went by that is no text, so that nothing tells how many tokens it is.
    pub uncounted: bool,
    /// Nothing shows that more was to come.
    pub complete: bool,
    /// The answer itself shows that it is over: a whole document, or the event that is its API's last.
    pub closed: bool,
}

#[derive(Clone, Debug)]
enum MeteredBody {
    /// Nothing came yet, and the head does not say what will.
    Unknown,
    Json {
        lexer: Lexer,
        broken: bool,
    },
    /// A JSON document whose usage is known, and of which no more comes.
    Read,
    Events(SseParser),
    /// Sound, images, text: no usage can be in it.
    Opaque,
}

/// Reads the usage of one answer in fixed memory.
///
/// ```
/// use tollgate_core::api::Api;
/// use tollgate_core::llm::usage::UsageMeter;
///
/// let mut meter = UsageMeter::new(Api::OpenAiChat, Some("application/json"));
/// meter.push(br#"{"usage": {"prompt_tokens": 12, "comple"#);
/// meter.push(br#"tion_tokens": 30, "total_tokens": 42}}"#);
/// let usage = meter.finish().usage.unwrap();
/// assert_eq!((usage.input, usage.output), (12, 30));
/// ```
#[derive(Clone, Debug)]
pub struct UsageMeter {
    body: MeteredBody,
    answer: UsageExtractor,
    /// Some of it came.
    began: bool,
}

impl UsageMeter {
    /// A meter for an answer of this API, with this `content-type`.
    #[must_use]
    pub fn new(api: Api, content_type: Option<&str>) -> Self {
        let value = content_type.unwrap_or_default().as_bytes();
        let essence = value.split(|byte| *byte == b';').next().unwrap_or(value).trim_ascii();
        let is = |name: &[u8]| essence.eq_ignore_ascii_case(name);
        let suffix = essence.last_chunk::<{ JSON_SUFFIX.len() }>();
        let body = if essence.is_empty() {
            MeteredBody::Unknown
        } else if is(b"application/json") || suffix.is_some_and(|end| end.eq_ignore_ascii_case(JSON_SUFFIX)) {
            MeteredBody::json()
        } else if is(b"text/event-stream") {
            MeteredBody::events()
        } else {
            MeteredBody::Opaque
        };
        let mut meter = Self { body: MeteredBody::Unknown, answer: UsageExtractor::new(api), began: false };
        meter.begin(body);
        meter
    }

    fn begin(&mut self, body: MeteredBody) {
        if let MeteredBody::Events(_) = body {
            self.answer.set_streamed();
        }
        self.body = body;
    }

    /// Whether the answer comes, or may yet turn out to come, as server-sent events.
    #[must_use]
    pub fn may_be_events(&self) -> bool {
        matches!(self.body, MeteredBody::Events(_) | MeteredBody::Unknown)
    }

    /// Reads an answer that is there as a whole: as [`UsageMeter::push`] does, and at its end only where that is enough.
    /// What output went by is then not known, and not asked for: the document says what it was.
    pub fn push_whole(&mut self, bytes: &[u8]) {
        self.began |= !bytes.is_empty();
        if let MeteredBody::Json { broken: false, lexer } = &mut self.body
            && lexer.offset() == 0
        {
            if tail::read(bytes, lexer, &mut self.answer).is_some() {
                self.body = MeteredBody::Read;
                return;
            }
            self.answer = self.answer.anew();
            self.body = MeteredBody::json();
        }
        self.push(bytes);
    }

    /// Reads the answer's next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        self.began |= !bytes.is_empty();
        if let MeteredBody::Unknown = self.body {
            match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
                Some(b'{' | b'[') => self.begin(MeteredBody::json()),
                Some(_) => self.begin(MeteredBody::events()),
                None => {}
            }
        }
        match &mut self.body {
            MeteredBody::Json { lexer, broken } => {
                *broken = *broken || lexer.push(bytes, &mut self.answer).is_err();
            }
            MeteredBody::Events(events) => events.push(bytes, &mut self.answer),
            MeteredBody::Read | MeteredBody::Unknown | MeteredBody::Opaque => {}
        }
    }

    /// The answer ends here.
    #[must_use]
    pub fn finish(mut self) -> UsageReport {
        let no_text = matches!(self.body, MeteredBody::Opaque) || self.answer.may_be_no_text();
        let (complete, closed) = match self.body {
            // No JSON, or none that is followed so deep: nothing shows whether it is all.
            MeteredBody::Json { broken: true, .. } => (true, false),
            MeteredBody::Json { mut lexer, broken: false } => {
                let whole = lexer.finish(&mut self.answer).is_ok();
                (whole, whole)
            }
            MeteredBody::Read => (true, true),
            MeteredBody::Events(events) => (events.finish(&mut self.answer), self.answer.is_last()),
            MeteredBody::Unknown | MeteredBody::Opaque => (true, false),
        };
        let output_seen_tokens = self.answer.output_seen_tokens();
        UsageReport {
            usage: self.answer.usage(),
            output_seen_tokens,
            uncounted: self.began && no_text && output_seen_tokens == 0,
            complete,
            closed,
        }
    }
}

impl MeteredBody {
    fn json() -> Self {
        Self::Json { lexer: Lexer::new(MAX_DEPTH), broken: false }
    }

    fn events() -> Self {
        Self::Events(SseParser::new())
    }
}
