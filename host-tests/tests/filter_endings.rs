//! The endings of a call: each is settled once, to its usage, and a trap leaves the reservation charged.

mod filtered;

use filtered::{CACHED, CHAT, ENVELOPE, Filtered, INPUT, OUTPUT, chat, configuration, events, logged, roomy};
use serde_json::json;
use tollgate_host::proxy_wasm::{Effect, Ending, Flow, HostCall, Status, StreamId, When};

const STREAM: &str = "text/event-stream";
const ANSWER: &[u8] = br#"{"choices":[{"message":{"content":"Hello."}}],"usage":{"prompt_tokens":100,"completion_tokens":20,"prompt_tokens_details":{"cached_tokens":40}}}"#;

fn estimate(body: &[u8]) -> (u64, u128) {
    let most_input = (body.len() + ENVELOPE) as u128;
    (body.len().div_ceil(4) as u64 + 100, most_input * INPUT + 100 * OUTPUT)
}

#[test]
fn an_answer_that_reports_its_usage_costs_that_on_every_ending() {
    let mut filter = Filtered::new(&roomy());
    let mut charged = (0, 0);
    // A client that has read the last event may disconnect before the host reports the end.
    for ending in [Ending::Complete, Ending::ClientGone, Ending::UpstreamReset, Ending::Drain, Ending::Idle] {
        for told in [true, false] {
            let (stream, _) = filter.admitted(CHAT, &chat(100, false));
            filter.answers(stream, "200", "application/json");
            filter.more(stream, ANSWER, told);
            let closed = filter.close(stream, &ending);
            charged = (charged.0 + 120, charged.1 + 60 * INPUT + 40 * CACHED + 20 * OUTPUT);
            assert_eq!(filter.charged(), charged, "{ending:?}");
            let facts = [
                "team",
                "key",
                "target",
                "input_tokens",
                "output_tokens",
                "cached_tokens",
                "cost",
                "estimated",
            ];
            let seen = facts.map(|name| logged(&closed, name).unwrap_or("-"));
            assert_eq!(seen, ["blue", "laptop", "small", "100", "20", "40", "0.000264", "false"]);
        }
    }
    assert_eq!(filter.metric("settled"), 10);
    for (name, value) in
        [("tokens_input", 1_000), ("tokens_output", 200), ("tokens_cached", 400), ("estimated", 0)]
    {
        assert_eq!(filter.metric(name), value, "{name}");
    }
}

#[test]
fn a_response_that_breaks_off_costs_the_input_and_the_observed_output() {
    let mut filter = Filtered::new(&roomy());
    let body = chat(100, true);
    let input = (body.len() as u64).div_ceil(4);
    for (number, ending) in [Ending::ClientGone, Ending::UpstreamReset, Ending::Drain].into_iter().enumerate()
    {
        let (stream, _) = filter.admitted(CHAT, &body);
        assert_eq!(filter.charged().0, number as u64 * (input + 3) + input + 100, "charged as spent at once");
        filter.answers(stream, "200", STREAM);
        for event in &events(9, 50, 9).0[..3] {
            filter.more(stream, event.as_bytes(), false);
        }
        let closed = filter.close(stream, &ending);
        assert_eq!(logged(&closed, "estimated"), Some("true"));
        let calls = number as u64 + 1;
        let cost = u128::from(input) * INPUT + 3 * OUTPUT;
        assert_eq!(filter.charged(), (calls * (input + 3), u128::from(calls) * cost), "{ending:?}");
    }
    assert_eq!(filter.metric("estimated"), 3);
}

#[test]
fn a_response_that_breaks_off_without_observable_output_costs_the_estimate() {
    let speech = r#"{"model":"small","input":"Hello.","voice":"alloy"}"#;
    let image = r#"{"model":"small","prompt":"A circle.","stream":true,"partial_images":3}"#;
    let partial = b"data: {\"type\":\"image_generation.partial_image\",\"b64_json\":\"AA\"}\n\n".as_slice();
    let later =
        r#"{"model":"small","input":"Hello.","stream":true,"background":true,"max_output_tokens":100}"#;
    let created = b"data: {\"type\":\"response.created\",\"response\":{\"usage\":null}}\n\n".as_slice();
    let spoken =
        r#"{"model":"small","messages":[],"stream":true,"audio":{"voice":"alloy","format":"pcm16"}}"#;
    let sound = b"data: {\"choices\":[{\"delta\":{\"audio\":{\"data\":\"AA\"}}}]}\n\n".as_slice();
    // Each with a flag: it continues in the background although no response was received.
    for (path, body, field, answer, goes_on) in [
        ("/v1/audio/speech", speech, ("content-type", "audio/mpeg"), b"ID3".as_slice(), false),
        ("/v1/images/generations", image, ("content-type", STREAM), partial, false),
        ("/v1/responses", later, ("content-type", STREAM), created, true),
        (CHAT, spoken, ("content-type", STREAM), sound, true),
        (CHAT, r#"{"model":"small"}"#, ("content-encoding", "gzip"), b"\x1f\x8b", true),
    ] {
        for began in [true, false] {
            let mut filter = Filtered::new(&roomy());
            let (stream, _) = filter.admitted(path, body.as_bytes());
            let reserved = filter.charged();
            filter.vm.response_headers(stream, [(":status", "200"), field].into(), false).unwrap();
            if began {
                filter.more(stream, answer, false);
            }
            let closed = filter.close(stream, &Ending::ClientGone);
            assert_eq!(logged(&closed, "estimated"), Some("true"), "{path}");
            let input = (body.len() as u64).div_ceil(4);
            let only_input = (input, u128::from(input) * INPUT);
            assert_eq!(
                filter.charged(),
                if began || goes_on { reserved } else { only_input },
                "{path} {began}"
            );
        }
    }
}

#[test]
fn a_response_without_usage_costs_the_estimate_and_a_failure_nothing() {
    let mut filter = Filtered::new(&roomy());
    let body = chat(100, false);
    let answer = |filter: &mut Filtered, stream: StreamId, status: &str, fields: &str, bytes: &[u8]| {
        filter.answers(stream, status, fields);
        filter.more(stream, bytes, true);
        let closed = filter.close(stream, &Ending::Complete);
        logged(&closed, "estimated").map(str::to_owned)
    };
    let (stream, _) = filter.admitted(CHAT, &body);
    assert_eq!(answer(&mut filter, stream, "200", "application/json", b"{}").as_deref(), Some("true"));
    assert_eq!(filter.charged(), estimate(&body));
    for (status, content_type) in [("500", "application/json"), ("429", "text/plain"), ("302", "text/html")] {
        let (stream, _) = filter.admitted(CHAT, &body);
        answer(&mut filter, stream, status, content_type, b"{\"error\":{}}");
        assert_eq!(filter.charged(), estimate(&body), "{status}");
    }
    // The host answers in place of an upstream that did not.
    let (stream, _) = filter.admitted(CHAT, &body);
    filter.vm.reply(stream, 503, "no upstream", "no_healthy_upstream").unwrap();
    filter.close(stream, &Ending::UpstreamReset);
    assert_eq!(filter.charged(), estimate(&body));
}

#[test]
fn a_client_that_disconnects_before_the_response_pays_the_input_or_for_work_that_continues() {
    let later = r#"{"model":"small","input":"Hello.","background":true,"max_output_tokens":100}"#.as_bytes();
    for (path, body, goes_on) in [(CHAT, chat(100, false).as_slice(), false), ("/v1/responses", later, true)]
    {
        for ending in [Ending::ClientGone, Ending::Drain] {
            let mut filter = Filtered::new(&roomy());
            let (stream, _) = filter.admitted(path, body);
            let reserved = filter.charged();
            let closed = filter.close(stream, &ending);
            assert_eq!(logged(&closed, "estimated"), Some("true"), "{path}");
            let input = (body.len() as u64).div_ceil(4);
            let only_input = (input, u128::from(input) * INPUT);
            assert_eq!(filter.charged(), if goes_on { reserved } else { only_input }, "{path}");
        }
    }
}

#[test]
fn a_failure_in_a_200_costs_nothing_or_what_was_seen_of_a_stream() {
    let mut filter = Filtered::new(&roomy());
    let error = br#"{"error":{"message":"Provider returned error","code":502}}"#;
    for told in [true, false] {
        let (stream, _) = filter.admitted(CHAT, &chat(100, false));
        filter.answers(stream, "200", "application/json");
        assert_eq!(filter.more(stream, error, told), error);
        filter.close(stream, &Ending::Complete);
        assert_eq!(filter.charged(), (0, 0));
    }
    let body = chat(100, true);
    let (stream, _) = filter.admitted(CHAT, &body);
    filter.answers(stream, "200", STREAM);
    let said = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
    let failed = b"data: {\"error\":{\"code\":502}}\n\ndata: [DONE]\n\n";
    assert_eq!(filter.more(stream, said, false), said);
    assert_eq!(filter.more(stream, failed, true), failed);
    filter.close(stream, &Ending::Complete);
    let input = (body.len() as u64).div_ceil(4);
    assert_eq!(filter.charged(), (input + 1, u128::from(input) * INPUT + OUTPUT));
}

#[test]
fn an_encoded_response_is_not_requested_and_costs_the_estimate() {
    let mut filter = Filtered::new(&roomy());
    let body = chat(100, false);
    let (stream, flow) = filter.send(CHAT, &[("accept-encoding", "gzip, br")], &body);
    assert_eq!(flow.forward().unwrap().headers.unwrap().get("accept-encoding"), Some(b"identity".as_slice()));
    let head = [(":status", "200"), ("content-type", "application/json"), ("content-encoding", "gzip")];
    filter.vm.response_headers(stream, head.into(), false).unwrap();
    assert_eq!(filter.more(stream, b"\x1f\x8b\x08 not for us", true), b"\x1f\x8b\x08 not for us");
    assert_eq!(logged(&filter.close(stream, &Ending::Complete), "estimated"), Some("true"));
    assert_eq!(filter.charged(), estimate(&body));
}

#[test]
fn every_other_api_is_metered_by_its_own_usage_fields() {
    let form = "--b\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nsmall\r\n--b--\r\n";
    let (json, multipart) = ("application/json", "multipart/form-data; boundary=b");
    let model = r#"{"model":"small"}"#;
    let gemini = "/v1beta/models/small:streamGenerateContent";
    let table = [
        ("/v1/embeddings", json, model, r#"{"usage":{"prompt_tokens":100,"total_tokens":100}}"#, [100, 0, 0]),
        (
            "/v1/images/generations",
            json,
            model,
            r#"{"usage":{"input_tokens":7,"output_tokens":1056,"total_tokens":1063}}"#,
            [7, 1056, 0],
        ),
        ("/v1/images/edits", multipart, form, r#"{"usage":{"input_tokens":7,"output_tokens":9}}"#, [7, 9, 0]),
        (
            "/v1/audio/transcriptions",
            multipart,
            form,
            r#"{"text":"a","usage":{"type":"tokens","input_tokens":5,"output_tokens":6}}"#,
            [5, 6, 0],
        ),
        (
            "/v1/messages",
            json,
            model,
            r#"{"usage":{"input_tokens":1,"cache_creation_input_tokens":2,"cache_read_input_tokens":4,"output_tokens":8}}"#,
            [7, 8, 4],
        ),
        (
            gemini,
            json,
            "{}",
            r#"[{"usageMetadata":{"promptTokenCount":3}},{"usageMetadata":{"promptTokenCount":3,"candidatesTokenCount":4,"thoughtsTokenCount":5}}]"#,
            [3, 9, 0],
        ),
    ];
    for (path, content_type, body, answer, [input, output, cached]) in table {
        let mut filter = Filtered::new(&roomy());
        let (stream, flow) = filter.send(path, &[("content-type", content_type)], body.as_bytes());
        assert!(flow.forward().is_some(), "{path}");
        filter.answers(stream, "200", "application/json; charset=UTF-8");
        filter.more(stream, answer.as_bytes(), true);
        let closed = filter.close(stream, &Ending::Complete);
        let cost =
            u128::from(input - cached) * INPUT + u128::from(cached) * CACHED + u128::from(output) * OUTPUT;
        assert_eq!(filter.charged(), (input + output, cost), "{path}");
        assert_eq!(logged(&closed, "estimated"), Some("false"), "{path}");
    }
}

#[test]
fn a_request_whose_header_edit_failed_is_not_forwarded_and_costs_nothing() {
    for call in [HostCall::ReplaceHeaderMapValue, HostCall::RemoveHeaderMapValue] {
        let mut filter = Filtered::new(&roomy());
        filter.process.faults().inject(Some(call), When::Nth(1), Effect::Answer(Status::InternalFailure));
        let (stream, flow) = filter.send(CHAT, &[("content-type", "application/json")], &chat(100, false));
        let Flow::Reply(reply) = flow else { panic!("{flow:?}") };
        assert_eq!(reply.status, 500, "{call:?}");
        filter.close(stream, &Ending::Complete);
        assert_eq!((filter.charged(), filter.metric("header_edits_failed")), ((0, 0), 1), "{call:?}");
    }
}

#[test]
fn a_stream_from_before_a_reload_settles_what_it_was_charged() {
    let mut filter = Filtered::new(&roomy());
    let (stream, _) = filter.admitted(CHAT, &chat(100, false));
    filter.answers(stream, "200", "application/json");
    let tighter = configuration(json!({"tpd": 1_000}), json!({"max": "1"}));
    filter.process.configure(tighter.to_string().as_bytes()).unwrap();
    filter.vm.reconfigure().unwrap();
    filter.more(stream, ANSWER, true);
    filter.close(stream, &Ending::Complete);
    assert_eq!(filter.charged(), (120, 60 * INPUT + 40 * CACHED + 20 * OUTPUT));
}

/// Ends a stream while every swap of its settlement has a conflict.
fn end_against_all_others(filter: &mut Filtered, stream: StreamId) {
    filter.process.faults().inject(Some(HostCall::SetSharedData), When::Always, Effect::LoseSwap);
    filter.answers(stream, "200", "application/json");
    filter.more(stream, ANSWER, true);
    filter.close(stream, &Ending::Complete);
    filter.process.faults().clear();
}

fn reconfigure(filter: &mut Filtered) {
    let tighter = configuration(json!({"tpd": 1_000}), json!({"max": "1"}));
    filter.process.configure(tighter.to_string().as_bytes()).unwrap();
    filter.vm.reconfigure().unwrap();
}

#[test]
fn a_settlement_with_conflicts_is_made_at_the_next_tick_under_any_configuration() {
    let body = chat(100, false);
    let used = (120, 60 * INPUT + 40 * CACHED + 20 * OUTPUT);
    // Before and after the old configuration's root is deleted.
    for late in [false, true] {
        let mut filter = Filtered::new(&roomy());
        let (stream, _) = filter.admitted(CHAT, &body);
        if late {
            reconfigure(&mut filter);
        }
        end_against_all_others(&mut filter, stream);
        assert_eq!((filter.charged(), filter.metric("corrections_kept")), (estimate(&body), 1));
        if !late {
            reconfigure(&mut filter);
        }
        filter.vm.tick().unwrap();
        assert_eq!(filter.charged(), used, "late: {late}");
        filter.vm.tick().unwrap();
        assert_eq!(filter.charged(), used, "once");
    }
}

#[test]
fn a_settlement_with_conflicts_again_waits_for_another_tick() {
    let mut filter = Filtered::new(&roomy());
    let body = chat(100, false);
    let (stream, _) = filter.admitted(CHAT, &body);
    end_against_all_others(&mut filter, stream);
    filter.process.faults().inject(Some(HostCall::SetSharedData), When::Always, Effect::LoseSwap);
    filter.vm.tick().unwrap();
    assert_eq!(filter.charged(), estimate(&body));
    filter.process.faults().clear();
    filter.vm.tick().unwrap();
    assert_eq!(filter.charged().0, 120);
}

#[test]
fn after_a_trap_the_reservation_stays_charged_and_the_metrics_show_it() {
    let mut filter = Filtered::new(&roomy());
    let body = chat(100, false);
    let (_, _) = filter.admitted(CHAT, &body);
    filter.process.faults().inject(None, When::Nth(1), Effect::Trap);
    let other = filter.vm.open(Default::default());
    assert!(
        other.is_err() || filter.vm.request_headers(other.unwrap(), [(":path", "/")].into(), true).is_err()
    );
    filter.process.faults().clear();
    filter.vm.reload().unwrap();
    assert_eq!(filter.charged(), estimate(&body));
    let (stream, _) = filter.admitted(CHAT, &body);
    filter.answers(stream, "200", "application/json");
    filter.more(stream, ANSWER, true);
    filter.close(stream, &Ending::Complete);
    let (tokens, cost) = estimate(&body);
    assert_eq!(filter.charged(), (tokens + 120, cost + 60 * INPUT + 40 * CACHED + 20 * OUTPUT));
    assert_eq!((filter.metric("reserved"), filter.metric("settled")), (2, 1));
}

#[test]
fn above_the_soft_mark_responses_warn_and_a_metric_counts() {
    let budget = json!({"max": "10", "soft": "0.00116"});
    let mut filter = Filtered::new(&configuration(json!({}), budget));
    let mut warned = Vec::new();
    for _ in 0..3 {
        let (stream, _) = filter.admitted(CHAT, &chat(10, false));
        let head = filter.answers(stream, "200", "application/json");
        warned.push(head.text("x-tollgate-warning").map(str::to_owned));
        let usage = br#"{"usage":{"prompt_tokens":0,"completion_tokens":70}}"#;
        filter.more(stream, usage, true);
        filter.close(stream, &Ending::Complete);
    }
    let over = Some("soft_budget_exceeded".to_owned());
    assert_eq!(warned, [None, None, over]);
    assert_eq!(filter.metric("over_soft_budget"), 1);
}
