//! The caller of a management request, which is known before its body is read.

use std::rc::Rc;

use serde_json::json;
use tollgate_core::config::GatewayConfig;
use tollgate_core::exchange::{Action, Exchange};
use tollgate_core::http::headers::Headers;
use tollgate_core::http::local_response::LocalResponse;

use super::*;

/// Bytes of a body within the maximum.
static BODY: [u8; 255 * 1024] = [b' '; 255 * 1024];

fn with_jwt() -> Rc<GatewayConfig> {
    gateway(&json!({ "manage": { "jwt": { "metadata": "login", "claim": "sub" } } }))
}

/// Begins `PATCH /tollgate/v1/teams/blue` with these fields. `subject` is the claim of a verified JWT.
fn begin(
    gateway: &Rc<GatewayConfig>,
    fields: &[(&str, &str)],
    subject: Option<&str>,
    last: bool,
) -> (Exchange, Action) {
    let mut head = vec![(":method", "PATCH"), (":path", "/tollgate/v1/teams/blue")];
    head.extend_from_slice(fields);
    let head: Vec<_> = head.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let mut exchange = Exchange::new(Rc::clone(gateway));
    let mut action = exchange.request_headers(&Headers::new(&head), last, NOW.timestamp(), &mut |_| ());
    if action == Action::SignIn {
        assert!(exchange.is_held(), "a request whose caller is looked up is held");
        action = exchange.signed_in(subject.map(str::to_string));
    }
    (exchange, action)
}

fn body(exchange: &mut Exchange, bytes: &[u8], last: bool) -> Action {
    exchange.request_body(bytes, last, NOW.timestamp(), &mut |_| ())
}

fn refusal(action: Action) -> LocalResponse {
    match action {
        Action::Answer(response) => response,
        other => panic!("not refused: {other:?}"),
    }
}

#[test]
fn strangers_are_answered_from_the_head() {
    let (token, key) = (format!("Bearer {TOKEN}"), format!("Bearer {KEY}"));
    for gateway in [gateway(&json!({})), with_jwt()] {
        for fields in [
            vec![],
            vec![("authorization", key.as_str())],
            vec![("x-api-key", TOKEN)],
            vec![("authorization", token.as_str()), ("authorization", token.as_str())],
            vec![("content-length", "999999999")],
        ] {
            for last in [true, false] {
                let (mut exchange, action) = begin(&gateway, &fields, None, last);
                let response = refusal(action);
                assert_eq!(response.status, 401, "{fields:?}");
                assert!(response.fields.iter().any(|(name, _)| *name == "www-authenticate"));
                assert!(!exchange.is_held());
                assert_eq!(body(&mut exchange, &BODY, true), Action::Hold, "no byte of the body is kept");
            }
        }
        let (_, action) = begin(&gateway, &[("authorization", &token)], None, false);
        assert_eq!(action, Action::Hold);
    }
}

#[test]
fn a_verified_jwt_names_the_caller_before_the_body() {
    let gateway = with_jwt();
    for (subject, expected) in [(Some("bob"), None), (Some("unheard-of"), Some(401)), (None, Some(401))] {
        let (_, action) = begin(&gateway, &[], subject, false);
        match expected {
            None => assert_eq!(action, Action::Hold),
            Some(status) => assert_eq!(refusal(action).status, status),
        }
    }
    let (mut exchange, _) = begin(&gateway, &[], Some("bob"), false);
    match body(&mut exchange, b"{}", true) {
        Action::Manage(request) => {
            assert_eq!((request.subject.as_deref(), request.body.as_slice()), (Some("bob"), &b"{}"[..]));
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_thousand_strangers_leave_room_for_a_member() {
    let gateway = with_jwt();
    let mut streams = Vec::new();
    for _ in 0..1_000 {
        let (mut exchange, action) = begin(&gateway, &[("authorization", "Bearer forged")], None, false);
        refusal(action);
        body(&mut exchange, &BODY, false);
        streams.push(exchange);
    }
    let (mut exchange, action) = begin(&gateway, &[], Some("bob"), false);
    assert_eq!(action, Action::Hold);
    assert!(matches!(body(&mut exchange, &BODY, true), Action::Manage(_)));
}

#[test]
fn bodies_of_known_callers_are_bounded() {
    let gateway = gateway(&json!({}));
    let token = format!("Bearer {TOKEN}");
    let fields = [("authorization", token.as_str())];
    let announced = [("authorization", token.as_str()), ("content-length", "262145")];
    assert_eq!(refusal(begin(&gateway, &announced, None, false).1).status, 413);
    let (mut exchange, _) = begin(&gateway, &fields, None, false);
    assert_eq!(body(&mut exchange, &BODY, false), Action::Hold);
    assert_eq!(refusal(body(&mut exchange, &BODY, false)).status, 413);

    let mut held = Vec::new();
    let response = loop {
        let (mut exchange, action) = begin(&gateway, &fields, None, false);
        assert_eq!(action, Action::Hold);
        match body(&mut exchange, &BODY, false) {
            Action::Hold => held.push(exchange),
            refused => break refusal(refused),
        }
    };
    assert_eq!((response.status, held.len()), (503, 4));
    assert!(response.body.contains("busy"), "{}", response.body);
    assert!(response.fields.contains(&("retry-after", "1".into())));
    // A complete request counts until its decision; an aborted stream gives its bytes back.
    let Action::Manage(decided) = body(&mut held[0], b"", true) else { panic!("it is complete") };
    held.truncate(3);
    let (mut exchange, _) = begin(&gateway, &fields, None, false);
    assert_eq!(body(&mut exchange, &BODY, false), Action::Hold);
    let (mut second, _) = begin(&gateway, &fields, None, false);
    assert_eq!(refusal(body(&mut second, &BODY, false)).status, 503);
    drop(decided);
    let (mut second, _) = begin(&gateway, &fields, None, false);
    assert_eq!(body(&mut second, &BODY, false), Action::Hold);
}

#[test]
fn a_gateway_without_the_fleets_policy_answers_503_to_unknown_callers() {
    let gateway = gateway(&json!({}));
    let head: [(&[u8], &[u8]); 2] = [(b":method", b"HEAD"), (b":path", b"/tollgate/v1/me")];
    let mut exchange = Exchange::new(gateway);
    exchange.policy_not_loaded();
    let action = exchange.request_headers(&Headers::new(&head), false, NOW.timestamp(), &mut |_| ());
    let response = refusal(action);
    assert_eq!((response.status, response.body.as_str()), (503, ""));
}
