//! The answer on its way: its usage is read, and what the client did not ask for is taken out.

use alloc::borrow::Cow;

use super::{Exchange, ExchangeState};
use crate::http::headers::{HeaderMutation, HeaderMutator, Headers};
use crate::llm::usage::{UsageChunkFilter, UsageMeter};

impl Exchange {
    /// The answer's head: its status, and what is to be changed in it.
    pub fn response_headers(&mut self, head: &Headers<'_>, edit: &mut HeaderMutator<'_>) {
        if let Some(status) = head.text(":status").and_then(|status| status.parse().ok()) {
            self.status = status;
        }
        if !matches!(self.state, ExchangeState::Running(..)) {
            return;
        }
        let encoded = head.all("content-encoding").any(|value| !value.eq_ignore_ascii_case(b"identity"));
        if self.metered && !encoded {
            let content_type = head.text("content-type");
            let meter = UsageMeter::new(self.api, content_type);
            self.announced = head.text("content-length").and_then(|length| length.parse().ok());
            if self.usage_added && (200..300).contains(&self.status) && meter.may_be_events() {
                self.usage_filter = Some(UsageChunkFilter::new());
                // A stream that announced its length would be cut, or waited for.
                edit(HeaderMutation::Remove("content-length"));
            }
            self.meter = Some(meter);
        }
        // What an upstream says of its own limits is another account's standing beside ours.
        let alone = self.metered || !self.rate_limit_status.is_empty();
        self.rate_limit_status.headers(self.config.headers, self.budget, &mut |name, value| match value {
            Some(value) => edit(HeaderMutation::Replace(name, value)),
            None if alone && head.all(name).next().is_some() => edit(HeaderMutation::Remove(name)),
            None => {}
        });
    }

    /// Whether the bytes of the answer are to be told to [`Exchange::answer_body`].
    pub fn reads_answer(&self) -> bool {
        self.meter.is_some()
    }

    /// Whether [`Exchange::answer_body`] may change what it is told.
    pub fn changes_answer(&self) -> bool {
        self.usage_filter.is_some()
    }

    /// The next bytes of the answer, and whether they are the last: what of them the client is to see now.
    /// A borrowed value is `bytes` themselves, unchanged. An answer that ends with trailers has no last
    /// bytes: of a stream that ends so within a line, that part of a line is not seen.
    pub fn response_body<'a>(&mut self, bytes: &'a [u8], end_of_stream: bool) -> Cow<'a, [u8]> {
        if let Some(meter) = &mut self.meter {
            if end_of_stream || self.announced == Some(bytes.len() as u64) {
                meter.push_whole(bytes);
            } else {
                meter.push(bytes);
            }
        }
        let Some(strip) = &mut self.usage_filter else {
            return Cow::Borrowed(bytes);
        };
        let passed = strip.push(bytes);
        if !end_of_stream {
            return passed;
        }
        let rest = core::mem::take(strip).finish();
        if rest.is_empty() { passed } else { Cow::Owned([passed.as_ref(), &rest].concat()) }
    }
}
