//! The request for usage in a stream: only where it counts, and never against the target's setting.

use serde_json::{Value, json};
use tollgate_core::admission::status::RateLimitStatus;
use tollgate_core::admission::{Admitted, Receipt};
use tollgate_core::exchange::Action;

use super::*;

const STREAM: &str = r#"{"model":"small","messages":[],"stream":true}"#;
const COMPLETIONS: &str = "/v1/completions";

/// The forwarded request: true if its body requests usage.
fn is_requested(gateway: &Rc<GatewayConfig>, path: &str, body: &str) -> bool {
    let bearer = format!("Bearer {KEY}");
    let length = body.len().to_string();
    let fields = [("authorization", bearer.as_str()), ("content-length", length.as_str())];
    let mut decided = decide(gateway, path, &fields, Some(body));
    let action = match decided.step {
        Action::Admit(_) => {
            let outcome = Ok(Admitted { receipt: Receipt::default(), status: RateLimitStatus::default() });
            decided.exchange.admitted(outcome).0
        }
        ref forwarded => {
            assert!(matches!(forwarded, Action::Forward(_)), "{forwarded:?}");
            std::mem::replace(&mut decided.step, Action::Hold)
        }
    };
    let Action::Forward(forward) = action else { panic!("{action:?}") };
    let length = forward.body_patch().map(|patch| patch.length_of(body.len() as u64).to_string());
    assert_eq!(
        decided.edited("content-length").flatten(),
        length.as_deref(),
        "the length is that of the body"
    );
    forward.body_patch().is_some()
}

fn gateway_of(change: impl Fn(&mut Value)) -> Rc<GatewayConfig> {
    let mut policy = policy();
    policy["organizations"]["acme"]["access"]["targets"] = json!(["*"]);
    policy["teams"]["blue"].as_object_mut().unwrap().remove("budget");
    change(&mut policy);
    gateway(&json!({ "policy": policy }))
}

/// A kind of caller, true if the usage of its streams counts, and its change to the policy.
type Case = (&'static str, bool, fn(&mut Value));

#[test]
fn usage_is_requested_only_if_tokens_or_money_of_the_caller_count() {
    let cases: [Case; 9] = [
        ("nothing", false, |_| {}),
        ("requests", false, |policy| policy["teams"]["blue"]["limits"] = json!({ "rpm": 5, "rpd": 9 })),
        ("the team's tokens", true, |policy| policy["teams"]["blue"]["limits"] = json!({ "tpm": 100_000 })),
        ("the team's money", true, |policy| policy["teams"]["blue"]["budget"] = json!({ "max": "10" })),
        ("the organization's tokens", true, |policy| {
            policy["organizations"]["acme"]["limits"] = json!({ "tpd": 100_000 });
        }),
        ("the key's money", true, |policy| policy["keys"]["laptop"]["budget"] = json!({ "max": "10" })),
        ("the user's tokens", true, |policy| {
            policy["users"]["bob"]["limits"] = json!({ "tpm": 100_000 });
            policy["organizations"]["acme"]["members"] = json!({ "bob": "org_member" });
            policy["teams"]["blue"]["members"] = json!({ "bob": "team_developer" });
            policy["keys"]["laptop"]["owner"] = json!("user/bob");
        }),
        ("tokens of the target", true, |policy| {
            policy["teams"]["blue"]["target_limits"] = json!({ "small": { "tpm": 100_000 } });
        }),
        ("tokens of another target", false, |policy| {
            policy["teams"]["blue"]["target_limits"] = json!({ "large": { "tpm": 100_000 } });
        }),
    ];
    for (limited, requested, change) in cases {
        let gateway = gateway_of(change);
        for path in [CHAT, COMPLETIONS, "/openai/deployments/small/chat/completions"] {
            assert_eq!(is_requested(&gateway, path, STREAM), requested, "{limited} at {path}");
        }
        for settled in [
            r#"{"model":"small","messages":[]}"#,
            r#"{"model":"small","stream":true,"stream_options":{"include_usage":true}}"#,
        ] {
            assert!(!is_requested(&gateway, CHAT, settled), "{limited}: {settled}");
        }
    }
}

#[test]
fn usage_is_never_requested_from_a_target_that_rejects_it() {
    let gateway = gateway_of(|policy| {
        policy["teams"]["blue"]["budget"] = json!({ "max": "1000" });
        policy["targets"]["small"]["usage_chunk"] = json!("never");
        policy["targets"]["large"]["usage_chunk"] = json!("add");
    });
    assert!(!is_requested(&gateway, CHAT, STREAM));
    assert!(is_requested(&gateway, CHAT, &STREAM.replace("small", "large")));
    for body in [
        r#"{"model":"large","models":["small"],"stream":true}"#,
        r#"{"model":"small","models":["large"],"stream":true}"#,
        r#"{"model":"small","stream":true,"stream_options":{"include_usage":false}}"#,
    ] {
        assert!(!is_requested(&gateway, CHAT, body), "{body}");
    }
}

#[test]
fn a_stream_without_usage_is_charged_what_was_reserved() {
    let gateway = gateway_of(|policy| {
        policy["teams"]["blue"]["budget"] = json!({ "max": "1000" });
        policy["targets"]["small"]["usage_chunk"] = json!("never");
    });
    let mut decided = with_key(&gateway, CHAT, Some(STREAM));
    let reserved = decided.charges().reservation;
    let outcome = Ok(Admitted { receipt: Receipt::default(), status: RateLimitStatus::default() });
    decided.exchange.admitted(outcome);
    let head: &[(&[u8], &[u8])] = &[(b":status", b"200"), (b"content-type", b"text/event-stream")];
    decided.exchange.response_headers(&Headers::new(head), &mut |_| {});
    let events = b"data: {\"choices\":[{\"delta\":{\"content\":\"ok\"}}]}\n\ndata: [DONE]\n\n";
    assert_eq!(&*decided.exchange.response_body(events, true), events);
    let (_, actual) = decided.exchange.finish(true).unwrap();
    assert_eq!((actual.cost, actual.tokens, actual.estimated), (reserved.cost, reserved.tokens, true));
}
