//! Reservations, and the log entries of decided requests.

use serde_json::json;
use tollgate_core::admission::status::RateLimitStatus;
use tollgate_core::admission::{Admitted, Receipt};
use tollgate_core::exchange::Action;
use tollgate_core::exchange::access_log::Decision;

use super::*;

#[test]
fn legacy_completions_are_reserved_for_every_prompt_and_no_other_api_is() {
    let gateway = gateway(&json!({}));
    let output = |path: &str, prompt: &str, n: u64| {
        let body = format!(r#"{{"model":"small","max_tokens":100,"n":{n},"prompt":{prompt}}}"#);
        let input = (body.len() as u64).div_ceil(4);
        with_key(&gateway, path, Some(&body)).charges().reservation.tokens - input
    };
    let completions = "/v1/completions";
    for (prompt, prompts) in [
        (r#""one""#, 1),
        ("[]", 1),
        ("[1,2,3]", 1),
        (r#"["one"]"#, 1),
        (r#"["one","two","three"]"#, 3),
        ("[[1,2,3],[4,5]]", 2),
    ] {
        assert_eq!(output(completions, prompt, 1), 100 * prompts, "{prompt}");
        assert_eq!(output(completions, prompt, 4), 400 * prompts, "{prompt}, four answers to each");
        assert_eq!(output(CHAT, prompt, 1), 100, "{prompt} to a chat");
        let azure = "/openai/deployments/small/completions";
        assert_eq!(output(azure, prompt, 1), 100 * prompts, "{prompt} at Azure's path");
    }
    let cost = |prompts: usize| {
        let prompt = json!(vec!["x"; prompts]);
        let body = json!({ "model": "small", "max_tokens": 100, "prompt": prompt }).to_string();
        let charges = with_key(&gateway, completions, Some(&body));
        charges.charges().reservation.cost.0 - (body.len() as u128 + 32) * 1_000_000
    };
    assert_eq!(cost(10), 10 * cost(1));
}

#[test]
fn a_rejection_logs_its_target_if_the_catalogue_has_it() {
    let ask = |model: &str| Some(format!(r#"{{"model":"{model}"}}"#));
    let routes = json!([
        { "path": CHAT, "api": "openai-chat" },
        { "path": "/large", "target": "large" },
    ]);
    let enforcing = gateway(&json!({ "routes": routes }));
    let shadowing = gateway(&json!({ "routes": routes, "mode": "shadow" }));
    for (path, body, target) in [
        (CHAT, ask("large"), Some("large")),
        ("/large", None, Some("large")),
        (CHAT, ask("nowhere"), None),
        (CHAT, Some(r#"{"model":"small","models":["large"]}"#.into()), Some("small")),
    ] {
        let refused = with_key(&enforcing, path, body.as_deref());
        assert!(
            matches!(&refused.step, Action::Answer(answer) if answer.status == 403),
            "{:?}",
            refused.step
        );
        let log = refused.exchange.log();
        assert_eq!(log.target.as_deref(), target, "{path} {body:?}");
        assert_eq!(log.reason.as_deref(), Some("target_not_allowed"));

        let shadowed = with_key(&shadowing, path, body.as_deref());
        assert!(matches!(shadowed.step, Action::Forward(_)), "{:?}", shadowed.step);
        let log = shadowed.exchange.log();
        assert_eq!((log.decision, log.target.as_deref()), (Decision::Shadowed, target));
        assert_eq!(shadowed.edited("x-tollgate-target").flatten(), target, "{path} {body:?}");
    }
    // To the client a forbidden target is none.
    let answer = |model: &str| match with_key(&enforcing, CHAT, ask(model).as_deref()).step {
        Action::Answer(answer) => (answer.status, answer.fields, answer.body.replace(model, "M")),
        other => panic!("{other:?}"),
    };
    assert_eq!(answer("large"), answer("nowhere"));
}

#[test]
fn an_escaped_member_name_is_named_in_the_rejection() {
    let body = Some(r#"{"mod\u0065l":"small"}"#);
    match with_key(&gateway(&json!({})), CHAT, body).step {
        Action::Answer(answer) => {
            assert_eq!(answer.status, 400);
            assert!(
                answer.body.contains("invalid_body") && answer.body.contains("`/model`"),
                "{}",
                answer.body
            );
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_side_tool_needs_max_input_tokens_under_a_budget() {
    let body = Some(r#"{"model":"small","max_tokens":1,"tools":[{"type":"web_search_20250305"}]}"#);
    match with_key(&gateway(&json!({})), "/v1/messages", body).step {
        Action::Answer(answer) => assert!(answer.body.contains("unbounded_cost"), "{}", answer.body),
        other => panic!("{other:?}"),
    }
    let mut policy = policy();
    policy["targets"]["small"]["max_input_tokens"] = json!(50_000);
    let bounded = with_key(&gateway(&json!({ "policy": policy })), "/v1/messages", body);
    assert_eq!(bounded.charges().reservation.input_tokens, 50_000);
}

#[test]
fn every_model_that_may_answer_must_be_allowed_and_is_reserved_for() {
    let gateway = gateway(&json!({}));
    for forbidden in [
        r#"{"model":"small","max_tokens":1,"fallbacks":[{"model":"large"}]}"#,
        r#"{"model":"small","max_tokens":1,"fallbacks":["small","unknown"]}"#,
        r#"{"model":"small","max_tokens":1,"tools":[{"type":"custom","model":"large"}]}"#,
    ] {
        let refused = with_key(&gateway, "/v1/messages", Some(forbidden));
        assert!(refusal(&refused).contains("target_not_allowed"), "{forbidden}");
    }
    let left_to_the_upstream = r#"{"model":"small","max_tokens":1,"fallbacks":"default"}"#;
    let refused = with_key(&gateway, "/v1/messages", Some(left_to_the_upstream));
    assert!(refusal(&refused).contains("`default` is not available to this key"), "{}", refusal(&refused));
    let allowed = r#"{"model":"small","max_tokens":1,"fallbacks":[{"model":"small","max_tokens":900}]}"#;
    let reservation = with_key(&gateway, "/v1/messages", Some(allowed)).charges().reservation;
    assert_eq!(reservation.tokens - reservation.input_tokens, 900);
}

#[test]
fn a_maximum_of_another_api_lowers_no_reservation() {
    let gateway = gateway(&json!({}));
    for (path, body, output) in [
        (CHAT, r#"{"model":"small","max_output_tokens":1}"#, 4_096),
        (CHAT, r#"{"model":"small","max_tokens":0}"#, 4_096),
        (CHAT, r#"{"model":"small","max_completion_tokens":9,"generationConfig":{"maxOutputTokens":1}}"#, 9),
        ("/v1/responses", r#"{"model":"small","max_tokens":1}"#, 4_096),
        ("/v1/messages", r#"{"model":"small","max_output_tokens":1}"#, 4_096),
        ("/v1/messages", r#"{"model":"small","max_tokens":0}"#, 0),
        ("/v1beta/models/small:generateContent", r#"{"max_tokens":1}"#, 4_096),
    ] {
        let reservation = with_key(&gateway, path, Some(body)).charges().reservation;
        assert_eq!(reservation.tokens - reservation.input_tokens, output, "{path} {body}");
    }
}

#[test]
fn partial_responses_are_rejected_if_usage_counts() {
    let path = "/v1beta/models/small:generateContent";
    let mut free = policy();
    free["teams"]["blue"].as_object_mut().unwrap().remove("budget");
    let (counts, free) = (gateway(&json!({})), gateway(&json!({ "policy": free })));
    for query in
        ["?fields=candidates", "?alt=sse&%24fields=usageMetadata.promptTokenCount", "?%66ields=candidates&x"]
    {
        let masked = with_key(&counts, &format!("{path}{query}"), Some("{}"));
        assert!(refusal(&masked).contains("partial_answer"), "{query}");
        assert!(!matches!(with_key(&free, &format!("{path}{query}"), Some("{}")).step, Action::Answer(_)));
    }
    let bearer = format!("Bearer {KEY}");
    let fields = [("authorization", bearer.as_str()), ("X-Goog-FieldMask", "candidates")];
    assert!(refusal(&decide(&counts, path, &fields, Some("{}"))).contains("partial_answer"));
    with_key(&counts, &format!("{path}?alt=sse&field=x"), Some("{}")).charges();
    with_key(&counts, &format!("{CHAT}?fields=x"), Some(r#"{"model":"small"}"#)).charges();
}

#[test]
fn a_form_is_forwarded_without_a_usage_request() {
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form = part("model", "small") + &part("stream", "true") + "--b--\r\n";
    let bearer = format!("Bearer {KEY}");
    let fields = [
        ("authorization", bearer.as_str()),
        ("content-type", "multipart/form-data; boundary=b"),
        ("content-length", "153"),
    ];
    let mut decided = decide(&gateway(&json!({})), CHAT, &fields, Some(&form));
    decided.charges();
    assert_eq!(decided.edited("content-length"), None);
    let outcome = Ok(Admitted { receipt: Receipt::default(), status: RateLimitStatus::default() });
    assert!(is_unpatched(&decided.exchange.admitted(outcome).0), "the form is forwarded unchanged");
}
