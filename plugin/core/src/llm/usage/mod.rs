//! The usage in a response, read as it streams.
//!
//! A [`UsageMeter`] reads the bytes of a response, keeps none of them, and returns the usage that the provider
//! reported: in a JSON document or in server-sent events, in the dialect of the API. Figures are absolute: the last
//! one that is not null counts (with Anthropic, the largest), and of two usage objects in one document the later.
//! A figure is a number or a string, and its value a whole number: `10`, `10.0`, `"10"`; others are ignored.

mod details;
mod extract;
mod figures;
mod marks;
mod sse;
mod strip;
mod tail;

use extract::UsageExtractor;
use smol_str::SmolStr;
use sse::SseParser;

pub use strip::UsageChunkFilter;

use crate::api::Api;
use crate::json::lexer::Lexer;
use crate::money::Pico;
use crate::text::media_type::MediaType;

/// The deepest nesting that is read in a response.
const MAX_DEPTH: usize = 512;

/// The average number of bytes per token in the text of providers.
const BYTES_PER_TOKEN: u64 = 4;

/// The tokens that a provider reported.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Usage {
    /// All input, cached or not.
    pub input: u64,
    /// All output, reasoning included.
    pub output: u64,
    /// The part of `input` that came from a cache.
    pub cached_input: u64,
    /// The part of `input` that was written to a cache.
    pub cache_write: u64,
    /// The part of `cache_write` that is kept for an hour.
    pub cache_write_1h: u64,
    /// The part of `input` that is sound and did not come from a cache.
    pub input_audio: u64,
    /// The part of `output` that is sound.
    pub output_audio: u64,
    /// The part of `input` that is images and did not come from a cache.
    pub input_image: u64,
    /// The part of `output` that is images.
    pub output_image: u64,
    /// The part of `output` that is reasoning, if the provider reports it.
    pub reasoning: u64,
}

impl Usage {
    /// Returns the sum of both.
    #[must_use]
    pub fn plus(self, other: Usage) -> Usage {
        Usage {
            input: self.input.saturating_add(other.input),
            output: self.output.saturating_add(other.output),
            cached_input: self.cached_input.saturating_add(other.cached_input),
            cache_write: self.cache_write.saturating_add(other.cache_write),
            cache_write_1h: self.cache_write_1h.saturating_add(other.cache_write_1h),
            input_audio: self.input_audio.saturating_add(other.input_audio),
            output_audio: self.output_audio.saturating_add(other.output_audio),
            input_image: self.input_image.saturating_add(other.input_image),
            output_image: self.output_image.saturating_add(other.output_image),
            reasoning: self.reasoning.saturating_add(other.reasoning),
        }
    }
}

/// The result of metering a response.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsageReport {
    /// The usage that the provider reported; in an aborted response perhaps less than was sent.
    pub usage: Option<Usage>,
    /// The cost that the provider reported.
    pub cost: Option<Pico>,
    /// The length of the recording that the provider reported, in nanoseconds.
    pub nanoseconds: Option<u64>,
    /// The searches that the provider reported. Those that it lists instead of counting them are in the report of a meter
    /// [with details](UsageMeter::with_details) only.
    pub searches: u64,
    /// The service tier that the response names, in lower case, if the meter is one with details.
    pub tier: Option<SmolStr>,
    /// An estimate of the output that was seen: one token per string of a stream, or per four bytes of text,
    /// whichever is more.
    pub output_seen_tokens: u64,
    /// The response has output that is not text, so that its tokens cannot be estimated.
    pub uncounted: bool,
    /// Nothing shows that the response was cut short.
    pub complete: bool,
    /// The response itself shows its end: a whole document, or the last event of its API.
    pub closed: bool,
    /// The response reports that the call failed: an error in place of the answer or after a part of it, whatever the
    /// HTTP status is.
    pub failed: bool,
    /// The response came in several parts, so that output may have preceded a failure: events, or a list of responses.
    pub in_parts: bool,
}

#[derive(Clone, Debug)]
enum MeteredBody {
    /// No bytes so far, and no content-type.
    Unknown,
    /// No bytes so far, and a content-type for text: servers also label JSON with it.
    Text,
    Json {
        lexer: Lexer,
        broken: bool,
    },
    /// A JSON document that was read as a whole.
    Read,
    Events(SseParser),
    /// Sound, images or text, which hold no usage.
    Opaque,
}

/// Reads the usage of one response in fixed memory.
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
    extractor: UsageExtractor,
    /// Bytes were read.
    began: bool,
}

impl UsageMeter {
    /// A meter for a response of this API with this `content-type`.
    #[must_use]
    pub fn new(api: Api, content_type: Option<&str>) -> Self {
        let media_type = MediaType::of(content_type.unwrap_or_default());
        let extractor = UsageExtractor::new(api);
        let body = if media_type.essence.is_empty() {
            MeteredBody::Unknown
        } else if media_type.is_json() {
            MeteredBody::json()
        } else if media_type.is("text/event-stream") {
            MeteredBody::events()
        } else if media_type.is("text/plain") && api != Api::OpenAiAudio {
            MeteredBody::Text
        } else {
            // Among them the text of a recording, which is the caller's: what it says is no report.
            MeteredBody::Opaque
        };
        let mut meter = Self { body: MeteredBody::Unknown, extractor, began: false };
        meter.begin(body);
        meter
    }

    /// Reads all of the response: what only some prices depend on may lie outside of the usage. Without this, parts of a
    /// response that have no usage are skipped.
    #[must_use]
    pub fn with_details(mut self) -> Self {
        self.extractor.set_detailed();
        self
    }

    fn begin(&mut self, body: MeteredBody) {
        if let MeteredBody::Events(_) = body {
            self.extractor.set_streamed();
        }
        self.body = body;
    }

    /// Returns true if the response consists of server-sent events, or may still turn out to.
    #[must_use]
    pub fn may_be_events(&self) -> bool {
        matches!(self.body, MeteredBody::Events(_) | MeteredBody::Unknown)
    }

    /// Reads a whole response: like [`UsageMeter::push`], but reads only the end of a document if the usage is there.
    /// `output_seen_tokens` is then 0; the document reports its output.
    pub fn push_whole(&mut self, bytes: &[u8]) {
        self.began |= !bytes.is_empty();
        if let MeteredBody::Json { broken: false, lexer } = &mut self.body
            && lexer.offset() == 0
            && !self.extractor.is_detailed()
        {
            if tail::read(bytes, lexer, &mut self.extractor).is_some() {
                self.body = MeteredBody::Read;
                return;
            }
            self.extractor = self.extractor.anew();
            self.body = MeteredBody::json();
        }
        self.push(bytes);
    }

    /// Reads the next bytes of the response.
    pub fn push(&mut self, bytes: &[u8]) {
        self.began |= !bytes.is_empty();
        if let MeteredBody::Unknown | MeteredBody::Text = self.body {
            match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
                Some(b'{' | b'[') => self.begin(MeteredBody::json()),
                Some(_) if matches!(self.body, MeteredBody::Text) => self.begin(MeteredBody::Opaque),
                Some(_) => self.begin(MeteredBody::events()),
                None => {}
            }
        }
        match &mut self.body {
            MeteredBody::Json { lexer, broken } => {
                *broken = *broken || lexer.push(bytes, &mut self.extractor).is_err();
            }
            MeteredBody::Events(events) => events.push(bytes, &mut self.extractor),
            MeteredBody::Read | MeteredBody::Unknown | MeteredBody::Text | MeteredBody::Opaque => {}
        }
    }

    /// Ends the response.
    #[must_use]
    pub fn finish(mut self) -> UsageReport {
        let no_text =
            matches!(self.body, MeteredBody::Text | MeteredBody::Opaque) || self.extractor.may_be_no_text();
        let (complete, closed) = match self.body {
            // Invalid JSON, or nested too deeply: nothing shows whether it is complete.
            MeteredBody::Json { broken: true, .. } => (true, false),
            MeteredBody::Json { mut lexer, broken: false } => {
                let whole = lexer.finish(&mut self.extractor).is_ok();
                (whole, whole)
            }
            MeteredBody::Read => (true, true),
            MeteredBody::Events(events) => (events.finish(&mut self.extractor), self.extractor.is_last()),
            MeteredBody::Unknown | MeteredBody::Text | MeteredBody::Opaque => (true, false),
        };
        let output_seen_tokens = self.extractor.output_seen_tokens();
        UsageReport {
            usage: self.extractor.usage(),
            cost: self.extractor.figures().cost(),
            nanoseconds: self.extractor.nanoseconds(),
            searches: self.extractor.searches(),
            tier: self.extractor.tier(),
            output_seen_tokens,
            uncounted: self.began && no_text && output_seen_tokens == 0,
            complete,
            closed,
            failed: self.extractor.is_failed(),
            in_parts: self.extractor.in_parts(),
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
