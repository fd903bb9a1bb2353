//! The response: its usage is read, and a usage chunk that the client did not request is removed.

use alloc::borrow::Cow;

use super::{Exchange, ExchangeState};
use crate::http::headers::{HeaderMutation, HeaderMutator, Headers};
use crate::llm::usage::{UsageChunkFilter, UsageMeter};

impl Exchange {
    /// Takes the response's headers, and mutates them.
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
            let mut meter = UsageMeter::new(self.api, content_type);
            if self.price.as_ref().is_some_and(|call| call.price.details.is_some()) {
                meter = meter.with_details();
            }
            self.announced = head.text("content-length").and_then(|length| length.parse().ok());
            if self.usage_added && (200..300).contains(&self.status) && meter.may_be_events() {
                self.usage_filter = Some(UsageChunkFilter::new());
                // The stream gets shorter than its announced length.
                edit(HeaderMutation::Remove("content-length"));
            }
            self.meter = Some(meter);
        }
        // Rate-limit headers of the upstream are about another account, so they are not mixed with ours.
        let alone = self.metered || !self.rate_limit_status.is_empty();
        self.rate_limit_status.headers(self.config.headers, self.budget, &mut |name, value| match value {
            Some(value) => edit(HeaderMutation::Replace(name, value)),
            None if alone && head.all(name).next().is_some() => edit(HeaderMutation::Remove(name)),
            None => {}
        });
    }

    /// True if the response's bytes have to be passed to [`Exchange::response_body`].
    pub fn reads_answer(&self) -> bool {
        self.meter.is_some()
    }

    /// True if [`Exchange::response_body`] may change the bytes.
    pub fn changes_answer(&self) -> bool {
        self.usage_filter.is_some()
    }

    /// Takes the next bytes of the response, and returns those for the client; borrowed if they are unchanged.
    /// `end_of_stream`: they are the last. A response that ends with trailers has no last bytes; all that is then held back
    /// is a usage chunk that the client did not request, or an incomplete document.
    pub fn response_body<'a>(&mut self, bytes: &'a [u8], end_of_stream: bool) -> Cow<'a, [u8]> {
        if let Some(meter) = &mut self.meter {
            if end_of_stream || self.announced == Some(bytes.len() as u64) {
                meter.push_whole(bytes);
            } else {
                meter.push(bytes);
            }
        }
        let Some(filter) = &mut self.usage_filter else {
            return Cow::Borrowed(bytes);
        };
        let passed = filter.push(bytes);
        if !end_of_stream {
            return passed;
        }
        let rest = core::mem::take(filter).finish();
        if rest.is_empty() { passed } else { Cow::Owned([passed.as_ref(), &rest].concat()) }
    }
}
