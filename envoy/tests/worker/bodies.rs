//! Large bodies.

use serde_json::json;
use tollgate_envoy::client::{Connection, Request};
use tollgate_envoy::workerd::Workerd;
use tollgate_envoy::world::{chat, secret};

use crate::{ask, code, comes_to, configuration, fresh, metered, stream};

const MIB: usize = 1 << 20;

/// Returns a chat with a body of this size.
fn long(bytes: usize) -> Vec<u8> {
    let with = |text: &str| {
        json!({"model": "gpt-5-mini", "max_tokens": 1, "messages": [{"role": "user", "content": text}]})
            .to_string()
    };
    with(&"x".repeat(bytes - with("").len())).into_bytes()
}

fn post(path: &str) -> Request {
    Request::new("POST", path).header("content-type", "application/json")
}

#[test]
fn a_body_of_max_body_passes_whole_and_a_longer_one_is_refused() {
    let max = usize::try_from(tollgate_core::config::MAX_BODY).unwrap();
    let Some(workerd) = Workerd::start(&configuration(&json!({}))) else { return };
    let most = long(max);
    assert_eq!(most.len(), max);
    let chunks: Vec<_> = most.chunks(100_000).collect();
    for request in [
        post("/v1/chat/completions").body(most.as_slice()),
        post("/v1/chat/completions").chunked(&chunks, &[]),
    ] {
        let passed = ask(&workerd, request);
        assert_eq!(passed.status, 200, "{passed:?}");
    }
    let arrived = workerd.upstream.recording().requests();
    assert!(arrived.iter().all(|request| request.body == most) && arrived.len() == 2);

    let more = long(max + 1);
    let chunks: Vec<_> = more.chunks(100_000).collect();
    for request in [
        post("/v1/chat/completions").bearer(&secret("laptop")).body(more.as_slice()),
        // This one has no announced length.
        post("/v1/chat/completions").bearer(&secret("laptop")).chunked(&chunks, &[]),
    ] {
        let refused = Connection::open(workerd.address()).request_while_sending(&request);
        assert_eq!((refused.status, code(&refused)), (413, json!("body_too_large")), "{refused:?}");
    }
    assert_eq!(workerd.upstream.recording().requests().len(), 2, "the longer ones were not sent on");
}

#[test]
fn a_large_answer_passes_byte_for_byte_with_its_length() {
    let Some(workerd) = Workerd::start(&metered()) else { return };
    let body = long(8 * MIB);
    // At this length the simulated upstream must mirror the request.
    let mirrored = post("/v1/chat/completions").header("x-simulate", "mirror").body(body.as_slice());
    let answer = ask(&workerd, mirrored);
    assert_eq!(answer.status, 200);
    assert!(answer.body.data == body, "{} bytes came back", answer.body.data.len());
}

#[test]
fn a_long_stream_is_settled_to_the_usage_at_its_end_which_the_client_does_not_see() {
    let Some(workerd) = Workerd::start(&metered()) else { return };
    let fresh = fresh(&workerd);
    let answer = ask(&workerd, stream("tokens=4000, usage=700:4000"));
    let text = answer.text();
    assert_eq!((answer.status, text.matches("\"content\":").count()), (200, 4_001));
    assert!(text.ends_with("data: [DONE]\n\n") && !text.contains("\"usage\":{"));
    comes_to(&workerd, |left| left == fresh - 4_700);
}

#[test]
fn the_usage_of_an_encoded_answer_is_read() {
    let Some(workerd) = Workerd::start(&metered()) else { return };
    let fresh = fresh(&workerd);
    let answer = ask(&workerd, chat().header("x-simulate", "gzip=force, usage=700:77"));
    assert_eq!(
        (answer.headers.get("content-encoding"), &answer.json()["usage"]["total_tokens"]),
        (None, &json!(777))
    );
    comes_to(&workerd, |left| left == fresh - 777);
}

#[test]
fn unmetered_bodies_stream_through_in_both_directions() {
    let mut configuration = configuration(&json!({}));
    configuration["routes"] = json!([{"path": "/files", "target": "gpt-5-mini"}]);
    let Some(workerd) = Workerd::start(&configuration) else { return };
    let bytes = long(64 * MIB);
    let upload = Request::new("PUT", "/files").header("x-simulate", "mirror").bearer(&secret("laptop"));
    let answer = Connection::open(workerd.address()).request_while_sending(&upload.body(bytes.as_slice()));
    assert_eq!(answer.status, 200);
    assert!(answer.body.data == bytes, "{} bytes came back", answer.body.data.len());
}
