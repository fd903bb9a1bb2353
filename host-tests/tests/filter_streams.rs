//! Streams whose usage the filter requests without the client's knowledge, and many of them at once.

mod filtered;

use filtered::{CHAT, ENVELOPE, Filtered, INPUT, OUTPUT, chat, configuration, events, logged, roomy};
use serde_json::{Value, json};
use tollgate_host::proxy_wasm::{Ending, Flow, HeaderMap};

const STREAM: &str = "text/event-stream; charset=utf-8";

#[test]
fn usage_is_requested_for_a_stream_if_the_client_did_not() {
    let far = format!(
        r#"{{"model":"small","messages":"{}","stream":true,"stream_options":{{"include_usage": false}}}}"#,
        "x".repeat(300_000)
    );
    let far_asked = far.replace("\"include_usage\": false", "\"include_usage\": true");
    let table = [
        (
            r#"{"model":"small","stream":true}"#,
            r#"{"stream_options":{"include_usage":true},"model":"small","stream":true}"#,
        ),
        (
            "\n {\"stream\":true,\"model\":\"small\"}",
            "\n {\"stream_options\":{\"include_usage\":true},\"stream\":true,\"model\":\"small\"}",
        ),
        (
            r#"{"model":"small","stream":true,"stream_options":null}"#,
            r#"{"model":"small","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"small","stream":true,"stream_options":{}}"#,
            r#"{"model":"small","stream":true,"stream_options":{"include_usage":true}}"#,
        ),
        (
            r#"{"model":"small","stream":true,"stream_options":{"x":1}}"#,
            r#"{"model":"small","stream":true,"stream_options":{"include_usage":true,"x":1}}"#,
        ),
        (far.as_str(), far_asked.as_str()),
        (r#"{"model":"small","stream":true,"stream_options":{"include_usage":true}}"#, ""),
        (r#"{"model":"small","stream":false}"#, ""),
    ];
    let mut filter = Filtered::new(&roomy());
    let paths =
        [CHAT, "/v1/completions", "/openai/deployments/small/chat/completions?api-version=2024-10-21"];
    for path in paths {
        for (sent, asked) in table {
            let asked = if asked.is_empty() { sent } else { asked };
            let (stream, forward) = filter.admitted(path, sent.as_bytes());
            assert!(
                forward.body == asked.as_bytes(),
                "{path}: {:.200}",
                String::from_utf8_lossy(&forward.body)
            );
            let length = forward.headers.as_ref().and_then(|head| head.text("content-length"));
            assert_eq!(length, Some(asked.len().to_string().as_str()));
            filter.close(stream, &Ending::ClientGone);
        }
    }
    // Other APIs report usage by default.
    for path in ["/v1/responses", "/v1/messages"] {
        let body = br#"{"model":"small","stream":true}"#;
        let (stream, forward) = filter.admitted(path, body);
        assert_eq!(forward.body, body);
        filter.close(stream, &Ending::ClientGone);
    }
}

#[test]
fn an_edited_body_of_unknown_length_gets_no_length_and_keeps_its_trailers() {
    let mut filter = Filtered::new(&roomy());
    let body = chat(5, true);
    let (stream, flow) = filter.send_pieces(CHAT, &[], &[&body, &[]]);
    let Flow::Forward(forward) = flow else { panic!("{flow:?}") };
    assert_eq!(forward.headers.unwrap().get("content-length"), None);
    filter.close(stream, &Ending::ClientGone);

    let head = HeaderMap::from([
        (":method", "POST"),
        (":path", CHAT),
        (":authority", "g"),
        (":scheme", "http"),
        ("x-api-key", filtered::KEY),
    ]);
    let stream = filter.vm.open(Default::default()).unwrap();
    assert_eq!(filter.vm.request_headers(stream, head, false).unwrap(), Flow::Hold);
    assert_eq!(filter.vm.request_body(stream, &body, false).unwrap(), Flow::Hold);
    // Identity headers of the client are removed there as well.
    let trailers = [
        ("x-checksum", "abc"),
        ("X-Tollgate-Team", "red"),
        ("x_tollgate_key", "b"),
        ("x-tollgate-team", "c"),
    ];
    let flow = filter.vm.request_trailers(stream, HeaderMap::from(trailers)).unwrap();
    let forward = flow.forward().unwrap();
    assert!(forward.body.starts_with(br#"{"stream_options":{"include_usage":true},"#));
    assert_eq!(forward.trailers.unwrap(), HeaderMap::from([("x-checksum", "abc")]));
}

#[test]
fn the_client_sees_an_unchanged_stream_for_any_chunking() {
    let mut filter = Filtered::new(&roomy());
    let (asked, plain) = events(4, 30, 4);
    let asked = asked.concat();
    for cut in 0..=asked.len() {
        for last in [false, true] {
            let (stream, _) = filter.admitted(CHAT, &chat(5, true));
            let head =
                HeaderMap::from([(":status", "200"), ("content-type", STREAM), ("content-length", "999")]);
            let head = filter.vm.response_headers(stream, head, false).unwrap().forward().unwrap();
            assert_eq!(head.headers.unwrap().get("content-length"), None);
            let (one, other) = asked.as_bytes().split_at(cut);
            let mut seen = filter.more(stream, one, false);
            seen.extend(filter.more(stream, other, last));
            if !last {
                seen.extend(filter.more(stream, b"", true));
            }
            assert_eq!(String::from_utf8(seen).unwrap(), plain, "cut at {cut}");
            let closed = filter.close(stream, &Ending::Complete);
            assert_eq!(logged(&closed, "input_tokens"), Some("30"));
            assert_eq!(logged(&closed, "estimated"), Some("false"));
        }
    }
}

#[test]
fn a_chunk_of_any_size_is_forwarded_completely() {
    let mut filter = Filtered::new(&roomy());
    let (asked, plain) = events(5_000, 30, 5_000);
    let (stream, _) = filter.admitted(CHAT, &chat(5_000, true));
    filter.answers(stream, "200", STREAM);
    let seen = filter.more(stream, asked.concat().as_bytes(), true);
    assert!(seen == plain.as_bytes());
    assert_eq!(logged(&filter.close(stream, &Ending::Complete), "output_tokens"), Some("5000"));
}

#[test]
fn a_client_that_requested_usage_gets_it_and_errors_pass_unchanged() {
    let mut filter = Filtered::new(&roomy());
    let (asked, _) = events(3, 30, 3);
    let mut body: Value = serde_json::from_slice(&chat(5, true)).unwrap();
    body["stream_options"] = json!({"include_usage": true});
    let (stream, _) = filter.admitted(CHAT, body.to_string().as_bytes());
    filter.answers(stream, "200", STREAM);
    assert_eq!(filter.more(stream, asked.concat().as_bytes(), true), asked.concat().as_bytes());
    filter.close(stream, &Ending::Complete);

    let (stream, _) = filter.admitted(CHAT, &chat(5, true));
    let head = filter.answers(stream, "429", "application/json");
    assert_eq!(head.text(":status"), Some("429"));
    let error = br#"{"error":{"message":"slow down","usage":null}}"#;
    assert_eq!(filter.more(stream, error, true), error);
    filter.close(stream, &Ending::Complete);
}

#[test]
fn fifty_concurrent_streams_are_admitted_up_to_the_limit_and_settled_to_their_usage() {
    // One call reserves a token per byte and a constant for the input, and a thousand for the output.
    let body = chat(1_000, true);
    let one = (body.len() + ENVELOPE) as u128 * INPUT + 1_000 * OUTPUT;
    let budget = 20 * one + one / 2;
    let dollars = format!("{}.{:012}", budget / 1_000_000_000_000, budget % 1_000_000_000_000);
    let mut filter = Filtered::new(&configuration(json!({"tpd": 1_000_000_000}), json!({"max": dollars})));
    let running: Vec<_> = (0..50)
        .filter_map(|_| match filter.send(CHAT, &[], &body) {
            (stream, Flow::Forward(_)) => Some(stream),
            (stream, Flow::Reply(reply)) => {
                assert_eq!(reply.status, 429);
                filter.close(stream, &Ending::Complete);
                None
            }
            (_, flow) => panic!("{flow:?}"),
        })
        .collect();
    assert_eq!(running.len(), 20);
    assert_eq!(filter.charged().1, 20 * one);
    let (mut tokens, mut cost) = (0, 0);
    for (number, stream) in running.iter().enumerate() {
        let (input, output) = (10 + number as u64, 20 + 2 * number as u64);
        filter.answers(*stream, "200", STREAM);
        for event in events(4, input, output).0 {
            filter.more(*stream, event.as_bytes(), false);
        }
        filter.more(*stream, b"", true);
        filter.close(*stream, &Ending::Complete);
        tokens += input + output;
        cost += u128::from(input) * INPUT + u128::from(output) * OUTPUT;
    }
    assert_eq!(filter.charged(), (tokens, cost));
    assert_eq!((filter.metric("reserved"), filter.metric("settled")), (20, 20));
    assert_eq!(u128::from(filter.metric("cost_picodollars")), cost);
}
