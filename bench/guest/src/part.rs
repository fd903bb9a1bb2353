//! The parts of a script.

use std::hint::black_box;

use memchr::memmem;
use serde::Deserialize;
use tollgate_core::llm::request::RequestScanner;
use tollgate_core::policy::Policy;
use tollgate_core::secret::api_key;
use tollgate_core::secret::api_key::Digest;
use tollgate_core::time::Timestamp;

use crate::host;

/// One part of a request's processing.
#[derive(Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Part {
    /// Read the request's head.
    Head,
    /// Read the wall clock.
    Wall,
    /// Read both clocks.
    Clocks,
    /// Compute the SHA-256 of a key.
    Digest(String),
    /// Look up a digest in the index.
    LookUp(Digest),
    /// Read the request's body.
    Body,
    /// Read the request's body and scan it as the filter does.
    Scan,
    /// Read the request's body and parse the fields that the filter reads.
    TypedRequest,
    /// Read one record of shared data and write it back.
    Cell(String, usize),
    /// Remove a header.
    Remove(String),
    /// Set a header.
    Replace(String, String),
    /// Read the response's head.
    AnswerHead,
    /// Set a header of the response.
    AnswerReplace(String, String),
    /// Read the response's body.
    AnswerBody,
    /// Read the response's body and parse it from its last `"usage"` on.
    Tail,
    /// Read the response's body and search it for `"usage"`.
    Search,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "what is measured is that they are parsed")]
struct Request<'a> {
    model: &'a str,
    stream: Option<bool>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: Option<u64>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "what is measured is that they are parsed")]
struct Usage {
    prompt_tokens: u64,
    completion_tokens: u64,
    prompt_tokens_details: Option<Cached>,
}

#[derive(Deserialize)]
#[allow(dead_code, reason = "what is measured is that they are parsed")]
struct Cached {
    cached_tokens: Option<u64>,
}

const ALL: usize = usize::MAX >> 1;

impl Part {
    pub fn run(&self, policy: Option<&Policy>) {
        match self {
            Part::Head => drop(black_box(host::head(host::REQUEST_HEADERS))),
            Part::Wall => _ = black_box(host::wall()),
            Part::Clocks => _ = black_box(host::clocks()),
            Part::Digest(key) => _ = black_box(api_key::digest(black_box(key).as_bytes())),
            Part::LookUp(digest) => {
                let now = Timestamp(0);
                let found = policy.and_then(|policy| policy.key_by_digest(black_box(digest), now));
                assert!(black_box(found).is_some(), "the key is in the index");
            }
            Part::Body => drop(black_box(host::buffer(host::REQUEST_BODY, ALL))),
            Part::Scan => {
                let mut scanner = RequestScanner::default();
                let pushed = scanner.push(&host::buffer(host::REQUEST_BODY, ALL));
                assert!(pushed.is_ok() && black_box(scanner.finish()).is_ok(), "the body is sound");
            }
            Part::TypedRequest => {
                let body = host::buffer(host::REQUEST_BODY, ALL);
                let request: Result<Request<'_>, _> = serde_json::from_slice(&body);
                assert!(black_box(request).is_ok(), "the body is sound");
            }
            Part::Cell(name, size) => host::swap(name, *size),
            Part::Remove(name) => host::remove(name),
            Part::Replace(name, value) => host::replace(host::REQUEST_HEADERS, name, value),
            Part::AnswerHead => drop(black_box(host::head(host::RESPONSE_HEADERS))),
            Part::AnswerReplace(name, value) => host::replace(host::RESPONSE_HEADERS, name, value),
            Part::AnswerBody => drop(black_box(host::buffer(host::RESPONSE_BODY, ALL))),
            Part::Tail => {
                let body = host::buffer(host::RESPONSE_BODY, ALL);
                let tail = memmem::rfind(&body, b"\"usage\":").and_then(|at| body.get(at + 8..));
                let usage = serde_json::Deserializer::from_slice(tail.unwrap_or_default())
                    .into_iter::<Usage>()
                    .next();
                assert!(black_box(usage).is_some_and(|usage| usage.is_ok()), "the answer has its usage");
            }
            Part::Search => {
                let body = host::buffer(host::RESPONSE_BODY, ALL);
                black_box(memmem::find(&body, b"\"usage\""));
            }
        }
    }
}
