//! The usage of a call, for every ending: failures inside a 200, and clients that leave.

use serde_json::json;
use tollgate_core::admission::status::RateLimitStatus;
use tollgate_core::admission::{ActualUsage, Admitted, Receipt, Reservation};
use tollgate_core::exchange::Action;

use super::*;

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream";
const RESPONSES: &str = "/v1/responses";
const MESSAGES: &str = "/v1/messages";
const EMBEDDINGS: &str = "/v1/embeddings";
const GEMINI: &str = "/v1beta/models/small:streamGenerateContent";

/// Picodollars for a token of input and of output.
const INPUT: u128 = 1_000_000;
const OUTPUT: u128 = 10 * INPUT;

/// An admitted and forwarded call.
struct Call {
    exchange: Exchange,
    reservation: Reservation,
}

impl Call {
    fn new(path: &str, body: &str) -> Self {
        let mut decided = with_key(&gateway(&json!({})), path, Some(body));
        let reservation = decided.charges().reservation;
        let admitted = Ok(Admitted { receipt: Receipt::default(), status: RateLimitStatus::default() });
        let (step, _) = decided.exchange.admitted(admitted);
        assert!(matches!(step, Action::Forward(_)), "{path}: {step:?}");
        Call { exchange: decided.exchange, reservation }
    }

    fn streamed(path: &str) -> Self {
        Self::new(path, r#"{"model":"small","stream":true,"stream_options":{"include_usage":true}}"#)
    }

    fn answered(&mut self, status: &str, content_type: &str) {
        let head: [(&[u8], &[u8]); 2] =
            [(b":status", status.as_bytes()), (b"content-type", content_type.as_bytes())];
        self.exchange.response_headers(&Headers::new(&head), &mut |_| ());
    }

    /// The call's usage after this 200; `complete`: it came to its end.
    fn after(mut self, content_type: &str, body: &str, complete: bool) -> (ActualUsage, Reservation) {
        self.answered("200", content_type);
        self.exchange.response_body(body.as_bytes(), complete);
        self.end(complete)
    }

    fn end(mut self, complete: bool) -> (ActualUsage, Reservation) {
        let (_, actual) = self.exchange.finish(complete).expect("the first end settles");
        assert!(self.exchange.finish(true).is_none(), "a call is settled once");
        (actual, self.reservation)
    }
}

fn input_and(reservation: &Reservation, output: u64) -> ActualUsage {
    ActualUsage {
        tokens: reservation.input_tokens + output,
        cost: Pico(u128::from(reservation.input_tokens) * INPUT + u128::from(output) * OUTPUT),
        estimated: true,
    }
}

fn reserved(reservation: &Reservation) -> ActualUsage {
    ActualUsage { tokens: reservation.tokens, cost: reservation.cost, estimated: true }
}

#[test]
fn a_document_that_is_an_error_costs_nothing() {
    for (path, document) in [
        (CHAT, r#"{"error":{"message":"Provider returned error","code":502}}"#),
        (CHAT, r#"{"error":"the model is overloaded"}"#),
        (CHAT, r#" { "id" : "c" , "error" : { } , "usage" : null } "#),
        (CHAT, r#"{"id":"c","choices":[],"usage":null,"error":{"code":"upstream_error"}}"#),
        (CHAT, r#"{"choices":[{"index":0,"message":{"content":""},"error":{"code":502}}]}"#),
        (CHAT, r#"{"object":"error","message":"out of memory","type":"InternalServerError","code":500}"#),
        (CHAT, r#"{"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#),
        (
            RESPONSES,
            r#"{"id":"r","status":"failed","error":{"code":"server_error"},"output":[],"usage":null}"#,
        ),
        (RESPONSES, r#"{"id":"r","object":"response","status":"failed","error":null,"usage":null}"#),
        (MESSAGES, r#"{"type":"error","error":{"type":"api_error","message":"Internal server error"}}"#),
        (GEMINI, r#"{"error":{"code":503,"message":"The model is overloaded.","status":"UNAVAILABLE"}}"#),
        (EMBEDDINGS, r#"{"error":{"message":"no instance is left"}}"#),
    ] {
        for content_type in [JSON, "application/json; charset=utf-8", ""] {
            let (actual, _) = Call::new(path, r#"{"model":"small"}"#).after(content_type, document, true);
            assert_eq!(actual, ActualUsage::default(), "{path} {document}");
        }
        // The error is read although the end of the document is missing.
        let cut = &document[..document.len() - 1];
        let (actual, _) = Call::new(path, r#"{"model":"small"}"#).after(JSON, cut, false);
        assert_eq!(actual, ActualUsage::default(), "{path} {cut}");
    }
}

#[test]
fn a_member_that_reports_no_error_is_no_failure() {
    for (path, document) in [
        (CHAT, r#"{"error":null,"choices":[]}"#),
        (CHAT, r#"{"error":"","choices":[]}"#),
        (CHAT, r#"{"error":false,"choices":[]}"#),
        (CHAT, r#"{"choices":[{"message":{"content":"{\"error\":{}}","error":{"message":"x"}}}]}"#),
        (
            CHAT,
            r#"{"choices":[{"message":{"tool_calls":[{"error":"x","status":"failed","type":"error"}]}}]}"#,
        ),
        (RESPONSES, r#"{"status":"completed","error":null,"output":[{"type":"mcp_call","error":"x"}]}"#),
        (RESPONSES, r#"{"status":"completed","output":[{"status":"failed"}],"metadata":{"error":"x"}}"#),
        (MESSAGES, r#"{"type":"message","content":[{"type":"error","error":{"type":"x"}}]}"#),
        (GEMINI, r#"{"candidates":[{"content":{"parts":[{"functionResponse":{"error":{}}}]}}]}"#),
    ] {
        let (actual, reservation) = Call::new(path, r#"{"model":"small"}"#).after(JSON, document, true);
        assert_eq!(actual, reserved(&reservation), "{path} {document}");
    }
}

#[test]
fn a_stream_that_reports_a_failure_costs_its_input_and_the_output_seen() {
    let said = r#"{"choices":[{"index":0,"delta":{"content":"a"}}]}"#;
    let delta = r#"{"type":"response.output_text.delta","delta":"x"}"#;
    let created = r#"{"type":"response.created","response":{"id":"r","status":"in_progress","error":null,"usage":null}}"#;
    let failed = r#"{"type":"response.failed","response":{"id":"r","status":"failed","error":{"code":"server_error"},"usage":null}}"#;
    let data =
        |events: &[&str]| -> String { events.iter().map(|event| format!("data: {event}\n\n")).collect() };
    for (path, stream, output) in [
        (CHAT, data(&[said, r#"{"error":{"message":"Provider returned error","code":502}}"#]), 1),
        (CHAT, data(&[said, said, r#"{"error":"overloaded"}"#, "[DONE]"]), 2),
        (CHAT, data(&[r#"{"error":{"message":"x"}}"#, "[DONE]"]), 0),
        (
            CHAT,
            data(&[
                said,
                r#"{"id":"c","choices":[{"index":0,"delta":{"content":""},"finish_reason":"error"}],"error":{"code":502}}"#,
                "[DONE]",
            ]),
            1,
        ),
        (CHAT, data(&[said, r#"{"object":"error","message":"x"}"#, "[DONE]"]), 1),
        (CHAT, data(&[said, r#"{"choices":[],"x_groq":{"id":"q","error":"over_capacity"}}"#, "[DONE]"]), 1),
        (CHAT, format!("{}event: error\ndata: the backend is gone\n\ndata: [DONE]\n\n", data(&[said])), 1),
        (CHAT, format!("{}event:error\r\ndata: {{}}\r\n\r\ndata: [DONE]\r\n\r\n", data(&[said])), 1),
        (RESPONSES, data(&[created, delta, failed]), 1),
        (
            RESPONSES,
            data(&[created, r#"{"type":"error","code":"server_error","message":"x","param":null}"#]),
            0,
        ),
        (
            RESPONSES,
            data(&[created, delta, r#"{"type":"error","error":{"type":"server_error"}}"#, "[DONE]"]),
            1,
        ),
        (GEMINI, data(&[r#"{"error":{"code":503,"status":"UNAVAILABLE"}}"#]), 0),
        (
            GEMINI,
            data(&[
                r#"{"candidates":[{"content":{"parts":[{"text":"a"}]}}]}"#,
                r#"{ "error": { "code": 503 } }"#,
            ]),
            1,
        ),
    ] {
        for complete in [true, false] {
            let (actual, reservation) = Call::streamed(path).after(EVENTS, &stream, complete);
            assert_eq!(actual, input_and(&reservation, output), "{path} {stream}");
        }
        let mut call = Call::streamed(path);
        call.answered("200", EVENTS);
        for byte in stream.as_bytes().chunks(1) {
            call.exchange.response_body(byte, false);
        }
        let (actual, reservation) = call.end(true);
        assert_eq!(actual, input_and(&reservation, output), "{path} byte by byte: {stream}");
    }
    // A list of responses is a stream too.
    let list = r#"[{"candidates":[{"content":{"parts":[{"text":"a"}]}}]},{"error":{"code":503}}]"#;
    let (actual, reservation) = Call::streamed(GEMINI).after(JSON, list, true);
    assert_eq!(actual, input_and(&reservation, 1));
}

#[test]
fn the_usage_that_a_failure_reports_is_charged() {
    let started =
        r#"data: {"type":"message_start","message":{"usage":{"input_tokens":25,"output_tokens":1}}}"#;
    let said = r#"data: {"type":"content_block_delta","delta":{"type":"text_delta","text":"hello"}}"#;
    let overloaded = r#"data: {"type":"error","error":{"type":"overloaded_error","message":"Overloaded"}}"#;
    for (path, content_type, answer, input, output) in [
        (CHAT, JSON, r#"{"error":{"code":502},"usage":{"prompt_tokens":7,"completion_tokens":3}}"#.to_owned(), 7, 3),
        (CHAT, JSON, r#"{"error":{"code":502},"usage":{"prompt_tokens":0,"completion_tokens":0}}"#.to_owned(), 0, 0),
        (
            RESPONSES,
            EVENTS,
            "data: {\"type\":\"response.failed\",\"response\":{\"status\":\"failed\",\"usage\":{\"input_tokens\":7,\"output_tokens\":3}}}\n\n".to_owned(),
            7,
            3,
        ),
        (MESSAGES, EVENTS, [started, said, said, "event: error", overloaded].join("\n\n") + "\n\n", 25, 2),
        (
            CHAT,
            EVENTS,
            "data: {\"error\":{}}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3}}\n\ndata: [DONE]\n\n".to_owned(),
            7,
            3,
        ),
    ] {
        let (actual, _) = Call::streamed(path).after(content_type, &answer, true);
        assert_eq!((actual.tokens, actual.cost.0), (input + output, u128::from(input) * INPUT + u128::from(output) * OUTPUT), "{answer}");
    }
}

#[test]
fn a_client_that_leaves_pays_the_input_also_before_the_response_headers() {
    for path in [CHAT, RESPONSES, MESSAGES, EMBEDDINGS, GEMINI] {
        let (actual, reservation) = Call::streamed(path).end(false);
        assert!(reservation.input_tokens > 0);
        assert_eq!(actual, input_and(&reservation, 0), "{path}");
    }
    let mut call = Call::streamed(CHAT);
    call.answered("200", EVENTS);
    let (actual, reservation) = call.end(false);
    assert_eq!(actual, input_and(&reservation, 0), "after the headers");
    // A call in the background goes on without its client.
    let (actual, reservation) = Call::new(RESPONSES, r#"{"model":"small","background":true}"#).end(false);
    assert_eq!(actual, reserved(&reservation));
}

#[test]
fn an_upstream_that_fails_before_it_answers_costs_nothing() {
    for body in [r#"{"model":"small"}"#, r#"{"model":"small","background":true}"#] {
        for complete in [true, false] {
            let mut call = Call::new(RESPONSES, body);
            call.exchange.upstream_failed();
            assert_eq!(call.end(complete).0, ActualUsage::default(), "{body}");
            for status in ["400", "429", "500", "503", "504"] {
                let mut call = Call::new(RESPONSES, body);
                call.answered(status, JSON);
                assert_eq!(call.end(complete).0, ActualUsage::default(), "{status} {body}");
            }
        }
    }
}

#[test]
fn a_call_whose_bodies_are_not_read_costs_its_price_if_its_client_leaves() {
    let mut policy = policy();
    policy["targets"]["small"]["price"] = json!({ "input": "1", "output": "10", "request": "2" });
    let routes = json!([{ "path": "/reports", "target": "small" }]);
    let gateway = gateway(&json!({ "policy": policy, "routes": routes }));
    for (status, cost) in [(None, 2), (Some("200"), 2), (Some("404"), 0), (Some("503"), 0)] {
        let mut decided = with_key(&gateway, "/reports", None);
        let reservation = decided.charges().reservation;
        let admitted = Ok(Admitted { receipt: Receipt::default(), status: RateLimitStatus::default() });
        decided.exchange.admitted(admitted);
        let mut call = Call { exchange: decided.exchange, reservation };
        if let Some(status) = status {
            call.answered(status, JSON);
        }
        assert_eq!(call.end(false).0.cost, Pico(cost * 1_000_000_000_000), "{status:?}");
    }
}

#[test]
fn a_target_may_keep_the_reservation_of_calls_whose_client_leaves() {
    let mut policy = policy();
    policy["targets"]["small"]["abandoned"] = json!("reserved");
    let gateway = gateway(&json!({ "policy": policy }));
    let call = || {
        let body = r#"{"model":"small","stream":true,"stream_options":{"include_usage":true}}"#;
        let mut decided = with_key(&gateway, CHAT, Some(body));
        let reservation = decided.charges().reservation;
        let admitted = Ok(Admitted { receipt: Receipt::default(), status: RateLimitStatus::default() });
        decided.exchange.admitted(admitted);
        Call { exchange: decided.exchange, reservation }
    };
    let (actual, reservation) = call().end(false);
    assert_eq!(actual, reserved(&reservation), "before the response");
    let said = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    let (actual, reservation) = call().after(EVENTS, said, false);
    assert_eq!(actual, reserved(&reservation), "within the response");
    // More than was reserved is charged as reported.
    let usage = "data: {\"choices\":[],\"usage\":{\"prompt_tokens\":9000,\"completion_tokens\":9000}}\n\n";
    let (actual, reservation) = call().after(EVENTS, &format!("{said}{usage}"), false);
    assert_eq!(actual.tokens, 18_000, "{reservation:?}");
    // A response that ends, and a failure, are charged as those of other targets.
    let (actual, _) = call().after(EVENTS, &format!("{said}{usage}data: [DONE]\n\n"), true);
    assert_eq!(actual.tokens, 18_000);
    let (actual, reservation) = call().after(EVENTS, "data: {\"error\":{\"code\":502}}\n\n", false);
    assert_eq!(actual, input_and(&reservation, 0));
}

#[test]
fn unseen_reasoning_is_estimated_when_a_client_leaves() {
    let mut policy = policy();
    policy["targets"]["small"]["reasoning"] = json!(true);
    let gateway = gateway(&json!({ "policy": policy }));
    let call = |most: u64| {
        let body = format!(
            r#"{{"model":"small","max_tokens":{most},"stream":true,"stream_options":{{"include_usage":true}}}}"#
        );
        let mut decided = with_key(&gateway, CHAT, Some(&body));
        let reservation = decided.charges().reservation;
        let admitted = Ok(Admitted { receipt: Receipt::default(), status: RateLimitStatus::default() });
        decided.exchange.admitted(admitted);
        Call { exchange: decided.exchange, reservation }
    };
    let said = "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\n";
    let output = |(actual, reservation): (ActualUsage, Reservation)| actual.tokens - reservation.input_tokens;
    // Within the reservation, and at most as much as a model may need.
    assert_eq!(output(call(300).end(false)), 300);
    assert_eq!(output(call(300).after(EVENTS, said, false)), 300);
    assert_eq!(output(call(90_000).end(false)), 25_000);
    assert_eq!(output(call(90_000).after(EVENTS, said, false)), 25_001);
    let (actual, reservation) = call(300).after(EVENTS, said, false);
    assert_eq!(actual, input_and(&reservation, 300));
    // A report of the reasoning is better than an estimate, and what came to its end was reported.
    let usage = |details: &str| {
        format!(
            "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":9,\"completion_tokens\":70{details}}}}}\n\n"
        )
    };
    let reported = usage(",\"completion_tokens_details\":{\"reasoning_tokens\":64}");
    assert_eq!(call(300).after(EVENTS, &format!("{said}{reported}"), false).0.tokens, 79);
    assert_eq!(call(300).after(EVENTS, &format!("{said}{}", usage("")), false).0.tokens, 309);
    assert_eq!(call(300).after(EVENTS, &format!("{said}{}data: [DONE]\n\n", usage("")), true).0.tokens, 79);
    // A call that failed is not one that was left.
    let (actual, reservation) = call(300).after(EVENTS, "data: {\"error\":{\"code\":502}}\n\n", false);
    assert_eq!(actual, input_and(&reservation, 0));
}
