//! Bodies that two parsers could read differently: rejected by the module, in bounded memory.

mod filtered;

use std::time::Duration;

use filtered::{CHAT, Filtered, INPUT, KEY, OUTPUT, chat, configuration, logged, roomy};
use serde_json::{Value, json};
use tollgate_host::proxy_wasm::{Ending, Flow, HeaderMap, StreamInfo};

const JSON: &[(&str, &str)] = &[("content-type", "application/json")];
const FORM: &[(&str, &str)] = &[("content-type", "multipart/form-data; boundary=b")];

fn part(name: &str, text: &str) -> String {
    format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{text}\r\n")
}

/// Path, fields and body of a request, with the status and code of its rejection.
type Row<'a> = (&'a str, &'a [(&'a str, &'a str)], &'a [u8], u16, &'a str);

#[test]
fn no_body_gets_a_forbidden_target_or_a_cheaper_reservation_through() {
    let azure = "/openai/deployments/small/chat/completions";
    let gemini = "/v1beta/models/small:generateContent";
    let transcription = "/v1/audio/transcriptions";
    let late = format!(r#"{{"messages":"{}","model":"large"}}"#, "x".repeat(1 << 20));
    let two_parts = [part("model", "small"), part("model", "large"), "--b--\r\n".into()].concat();
    let one_part = [part("model", "large"), "--b--\r\n".into()].concat();
    let deep = format!(r#"{{"model":"small","x":{}{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
    let table: &[Row<'_>] = &[
        (CHAT, JSON, br#"{"model":"small","model":"large"}"#, 400, "invalid_body"),
        (CHAT, JSON, br#"{"model":"small","\u006dodel":"large"}"#, 400, "invalid_body"),
        (CHAT, JSON, br#"{"model":"small","Model":"large"}"#, 400, "invalid_body"),
        (CHAT, JSON, br#"{"model":"small","max_tokens":1,"max_tokens":99999}"#, 400, "invalid_body"),
        (CHAT, JSON, br#"{"model":"small","n":1,"n":128}"#, 400, "invalid_body"),
        (CHAT, JSON, br#"{"model":"small","models":["small","large"]}"#, 403, "target_not_allowed"),
        (azure, JSON, br#"{"model":"large"}"#, 400, "model_mismatch"),
        (gemini, JSON, br#"{"model":"models/large"}"#, 400, "model_mismatch"),
        (transcription, FORM, two_parts.as_bytes(), 400, "invalid_body"),
        (transcription, FORM, one_part.as_bytes(), 403, "target_not_allowed"),
        (CHAT, JSON, br#"{"metadata":{"model":"small"}}"#, 400, "model_required"),
        (CHAT, JSON, br#"{"metadata":{"model":"small"},"model":"large"}"#, 403, "target_not_allowed"),
        (CHAT, JSON, br#"{"messages":"\"model\":\"small\"","model":"large"}"#, 403, "target_not_allowed"),
        (CHAT, JSON, late.as_bytes(), 403, "target_not_allowed"),
        (CHAT, JSON, b"{\"model\":\"small\",\"x\":\"a\0b\"}", 400, "invalid_body"),
        (CHAT, JSON, b"{\"model\":\"small\\u0000large\"}", 400, "invalid_body"),
        (CHAT, JSON, b"\xef\xbb\xbf{\"model\":\"small\"}", 400, "invalid_body"),
        (CHAT, JSON, br#"{"model":"small"} trailing"#, 400, "invalid_body"),
        (CHAT, JSON, br#"{"model":"small"}{"model":"large"}"#, 400, "invalid_body"),
        (CHAT, JSON, b"{\"model\":\"small\",\"x\":\"\xff\"}", 400, "invalid_body"),
        (CHAT, JSON, br#"{"model":"small","x":"\ud800"}"#, 400, "invalid_body"),
        (CHAT, JSON, deep.as_bytes(), 400, "invalid_body"),
        (CHAT, JSON, br#"{"model":5}"#, 400, "invalid_body"),
        (CHAT, JSON, b"", 400, "invalid_body"),
        (CHAT, &[("content-encoding", "gzip")], b"\x1f\x8b\x08\0", 415, "unsupported_encoding"),
        (
            CHAT,
            &[("content-encoding", "identity"), ("content-encoding", "gzip")],
            b"\x1f\x8b",
            415,
            "unsupported_encoding",
        ),
        (CHAT, JSON, b"\x1f\x8b\x08\0", 400, "invalid_body"),
        (CHAT, &[("content-type", "text/plain")], br#"{"model":"small"}"#, 415, "unsupported_media_type"),
        (
            CHAT,
            &[("content-type", "application/json, text/plain")],
            br#"{"model":"small"}"#,
            415,
            "unsupported_media_type",
        ),
        (CHAT, &[], br#"{"model":"large"}"#, 403, "target_not_allowed"),
        (CHAT, &[], br#"model=small"#, 400, "invalid_body"),
        (CHAT, JSON, br#"{"mod\u0065l":"small"}"#, 400, "invalid_body"),
        (CHAT, JSON, br#"{"model":"small","web_search_options":{}}"#, 400, "unbounded_cost"),
        ("/v1/%63hat/completions", JSON, br#"{"model":"large"}"#, 400, "ambiguous_path"),
        ("/v1beta/models/large%3AgenerateContent", JSON, b"{}", 400, "ambiguous_path"),
    ];
    let mut filter = Filtered::new(&roomy());
    for (path, fields, body, status, code) in table {
        let refused = filter.refused(path, fields, body);
        let answer: Value = serde_json::from_slice(&refused.body).unwrap();
        // Gemini's format has the code among its details.
        let found = answer["error"]["code"].as_str().or(answer["error"]["details"][0]["reason"].as_str());
        assert_eq!(
            (refused.status, found),
            (*status, Some(*code)),
            "{path} {:.80}",
            String::from_utf8_lossy(body)
        );
    }
    assert_eq!(filter.charged(), (0, 0));
    // A valid body passes, also without a content-type.
    for fields in [JSON, &[]] {
        let (stream, flow) = filter.send(CHAT, fields, br#"{"model":"small"}"#);
        assert!(matches!(flow, Flow::Forward(_)), "{flow:?}");
        filter.close(stream, &Ending::ClientGone);
    }
}

#[test]
fn a_fallback_is_reserved_at_the_highest_price_of_all_targets() {
    let mut configuration = configuration(json!({}), json!({"max": "0.5"}));
    configuration["policy"]["organizations"]["acme"]["access"]["targets"] = json!(["small", "large"]);
    let mut filter = Filtered::new(&configuration);
    let (stream, _) = filter.admitted(CHAT, br#"{"model":"small","max_tokens":1000}"#);
    filter.close(stream, &Ending::ClientGone);
    let refused = filter.refused(CHAT, JSON, br#"{"model":"small","models":["large"],"max_tokens":1000}"#);
    let answer: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(answer["error"]["code"], "request_too_large_for_budget");
}

#[test]
fn ten_prompts_at_a_time_do_not_exceed_a_budget() {
    let budget = 36_000 * INPUT;
    let mut filter = Filtered::new(&configuration(json!({}), json!({"max": "0.036"})));
    let prompts = json!({"model": "small", "max_tokens": 100, "prompt": vec!["Say hello."; 10]}).to_string();
    // None is settled before the last is decided: each could use its whole reservation.
    let streams = [(); 3].map(|()| filter.admitted("/v1/completions", prompts.as_bytes()).0);
    let refused = filter.refused("/v1/completions", JSON, prompts.as_bytes());
    let answer: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(answer["error"]["code"], "team_budget_exceeded");
    for stream in streams {
        filter.answers(stream, "200", "application/json");
        filter.more(stream, br#"{"usage":{"prompt_tokens":40,"completion_tokens":1000}}"#, true);
        filter.close(stream, &Ending::Complete);
    }
    let (_, spent) = filter.charged();
    assert_eq!(spent, 3 * (40 * INPUT + 1_000 * OUTPUT));
    assert!(spent <= budget);
}

#[test]
fn a_body_of_ten_mebibytes_costs_the_vm_no_more_memory_than_a_small_one() {
    let mut filter = Filtered::new(&roomy());
    let mut sizes = Vec::new();
    for bytes in [100 << 10, (10 << 20) - 200] {
        let body = format!(
            r#"{{"messages":"{}","model":"small","stream":true,"stream_options":{{}}}}"#,
            "x".repeat(bytes)
        );
        // In chunks as from a connection.
        let pieces: Vec<&[u8]> = body.as_bytes().chunks(16 << 10).collect();
        let (stream, flow) = filter.send_pieces(CHAT, JSON, &pieces);
        let sent = flow.forward().expect("it is sent on").body;
        assert!(sent.ends_with(br#""stream_options":{"include_usage":true}}"#));
        filter.close(stream, &Ending::ClientGone);
        sizes.push(filter.vm.memory_size());
    }
    assert_eq!(sizes[0], sizes[1]);
}

#[test]
fn a_call_larger_than_a_limit_is_rejected_with_the_limit_or_reduced_to_it() {
    let mut filter =
        Filtered::new(&configuration(json!({"tpd": 1_000, "tpm": 1_000}), json!({"max": "0.03"})));
    let large = format!(r#"{{"model":"small","max_tokens":1,"messages":"{}"}}"#, "x".repeat(4_100));
    let refused = filter.refused(CHAT, JSON, large.as_bytes());
    let answer: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((refused.status, &answer["error"]["code"]), (400, &json!("request_too_large_for_limit")));
    assert_eq!(refused.headers.text("x-should-retry"), Some("false"));

    // A budget's reservation is never cut: the message names both amounts.
    let body = br#"{"model":"small","max_tokens":5000}"#;
    let refused = filter.refused(CHAT, JSON, body);
    let answer: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!(answer["error"]["code"], "request_too_large_for_budget");
    let could_cost = "$0.050067";
    let message = answer["error"]["message"].as_str().unwrap();
    assert!(message.contains(could_cost) && message.contains("$0.03"), "{message}");

    // A limit's is: nine input and 995 output tokens are more than 1,000.
    let (stream, _) = filter.admitted(CHAT, br#"{"model":"small","max_tokens":995}"#);
    assert_eq!(filter.charged().0, 1_000);
    let refused = filter.refused(CHAT, JSON, br#"{"model":"small","max_tokens":1}"#);
    let answer: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((refused.status, answer["error"]["type"].as_str()), (429, Some("rate_limit_error")));
    // A proxy that does not reach the upstream responds itself.
    filter.answers(stream, "503", "text/plain");
    filter.close(stream, &Ending::UpstreamReset);
    assert_eq!(filter.charged(), (0, 0));
}

#[test]
fn a_wait_for_tokens_is_exact() {
    let mut filter = Filtered::new(&configuration(json!({"tpm": 1_000}), json!({"max": "1000"})));
    let call = br#"{"model":"small","max_tokens":300}"#;
    // Three of about 309 in three different seconds: the fourth waits until the first one's second leaves the
    // window.
    for _ in 0..3 {
        let (stream, _) = filter.admitted(CHAT, call);
        filter.answers(stream, "200", "application/json");
        filter.more(stream, br#"{"usage":{"prompt_tokens":9,"completion_tokens":300}}"#, true);
        filter.close(stream, &Ending::Complete);
        filter.clock.advance(Duration::from_millis(1_700));
    }
    let refused = filter.refused(CHAT, JSON, call);
    assert_eq!(refused.status, 429);
    let told = |name: &str| refused.headers.text(name).and_then(|value| value.parse::<u64>().ok()).unwrap();
    let (seconds, millis) = (told("retry-after"), told("retry-after-ms"));
    assert_eq!(seconds, millis.div_ceil(1_000));
    filter.clock.advance(Duration::from_millis(millis - 1));
    assert_eq!(filter.refused(CHAT, JSON, call).status, 429);
    filter.clock.advance(Duration::from_millis(1));
    filter.admitted(CHAT, call);
}

#[test]
fn the_log_has_the_time_of_the_decision_also_for_a_late_body() {
    let mut filter = Filtered::new(&roomy());
    let stream = filter.vm.open(StreamInfo::default()).unwrap();
    let bearer = format!("Bearer {KEY}");
    let head = [
        (":method", "POST"),
        (":path", CHAT),
        (":authority", "gateway"),
        (":scheme", "http"),
        ("authorization", bearer.as_str()),
        ("content-type", "application/json"),
    ];
    assert_eq!(filter.vm.request_headers(stream, HeaderMap::from(head), false).unwrap(), Flow::Hold);
    filter.clock.advance(Duration::from_millis(2_500));
    assert!(matches!(filter.vm.request_body(stream, &chat(10, false), true), Ok(Flow::Forward(_))));
    filter.clock.advance(Duration::from_secs(7));
    let closed = filter.close(stream, &Ending::ClientGone);
    assert_eq!(logged(&closed, "time"), Some("1800000002.500"));
}
