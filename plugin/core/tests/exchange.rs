//! What a request is charged, what the upstream is told of it, and what is known about it afterwards.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::cell::Cell;
use std::rc::Rc;

use serde_json::{Value, json};
use tollgate_core::admission::{Admitted, Charges, Receipt};
use tollgate_core::exchange::{Exchange, Step};
use tollgate_core::facts::Decision;
use tollgate_core::gateway::{Gateway, Loader};
use tollgate_core::head::{Edit, Head};
use tollgate_core::key;
use tollgate_core::standing::Standing;
use tollgate_core::time::{Now, SECOND};

const KEY: &str = "a-key-of-another-gateway";
const ROTATED: &str = "its-secret-before-the-last-rotation";
const TOKEN: &str = "a-users-token";
const CHAT: &str = "/v1/chat/completions";

const NOW: Now = Now { wall: 1_800_000_000 * SECOND, monotonic: 1_800_000_000 * SECOND };

fn digest(secret: &str) -> String {
    key::spell(&key::digest(secret.as_bytes()))
}

/// One team with a budget, whose key may call `small` and not `large`.
fn policy() -> Value {
    json!({
        "version": 1,
        "targets": {
            "small": { "price": { "input": "1", "output": "10" } },
            "large": { "price": { "input": "100", "output": "1000" } },
        },
        "organizations": { "acme": { "name": "Acme", "access": { "targets": ["small"] } } },
        "teams": { "blue": { "organization": "acme", "name": "Blue", "budget": { "max": "1000" } } },
        "users": { "bob": { "name": "Bob", "tokens": [digest(TOKEN)] } },
        "keys": { "laptop": {
            "team": "blue",
            "digest": digest(KEY),
            "previous": { "digest": digest(ROTATED), "until": "2026-01-01T00:00:00Z" },
        } },
    })
}

/// A gateway with that policy, unless the settings have another.
fn gateway(settings: &Value) -> Rc<Gateway> {
    let mut document = json!({ "policy": policy() });
    document.as_object_mut().unwrap().extend(settings.as_object().unwrap().clone());
    let mut loader = Loader::default();
    loader.push(document.to_string().as_bytes());
    Rc::new(loader.finish().expect("it is right").0)
}

/// A request up to its decision: that, what is known about it, and what was changed in its head.
struct Decided {
    step: Step,
    exchange: Exchange,
    edits: Vec<(String, Option<String>)>,
}

impl Decided {
    fn charges(&self) -> &Charges {
        match &self.step {
            Step::Admit(charges) => charges,
            other => panic!("it is not to be admitted: {other:?}"),
        }
    }

    /// What was last done to a field: a value it got, or that it was removed.
    fn edited(&self, name: &str) -> Option<Option<&str>> {
        let edit = self.edits.iter().rfind(|(known, _)| known == name)?;
        Some(edit.1.as_deref())
    }
}

fn decide(gateway: &Rc<Gateway>, path: &str, fields: &[(&str, &str)], body: Option<&str>) -> Decided {
    decide_as(gateway, if body.is_some() { "POST" } else { "GET" }, path, fields, body)
}

fn decide_as(
    gateway: &Rc<Gateway>,
    method: &str,
    path: &str,
    fields: &[(&str, &str)],
    body: Option<&str>,
) -> Decided {
    let mut exchange = Exchange::new(Rc::clone(gateway));
    let mut head = vec![(":method", method), (":path", path)];
    head.extend_from_slice(fields);
    let head: Vec<_> = head.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
    let mut edits = Vec::new();
    let mut edit = |edit: Edit<'_>| {
        edits.push(match edit {
            Edit::Remove(name) => (name.to_owned(), None),
            Edit::Replace(name, value) => (name.to_owned(), Some(value.to_owned())),
        });
    };
    let mut step = exchange.head(&Head::new(&head), body.is_none(), NOW.timestamp(), &mut edit);
    if let (Step::Hold, Some(body)) = (&step, body) {
        step = exchange.body(body.as_bytes(), true, NOW.timestamp(), &mut edit);
    }
    Decided { step, exchange, edits }
}

fn with_key(gateway: &Rc<Gateway>, path: &str, body: Option<&str>) -> Decided {
    decide(gateway, path, &[("authorization", &format!("Bearer {KEY}"))], body)
}

#[test]
fn the_clock_is_asked_for_a_head_that_is_decided_or_whose_key_may_be_too_late() {
    let until = |end: &str| {
        let mut policy = policy();
        policy["keys"]["laptop"]["expires_at"] = json!(end);
        gateway(&json!({ "policy": policy }))
    };
    let (for_ever, later, over) =
        (gateway(&json!({})), until("2027-06-01T00:00:00Z"), until("2027-01-01T00:00:00Z"));
    for (gateway, key, asked, held) in [
        (&for_ever, KEY, false, true),
        (&later, KEY, true, true),
        (&over, KEY, true, false),
        (&for_ever, ROTATED, true, false),
        (&for_ever, "nobody's", true, false),
    ] {
        let bearer = format!("Bearer {key}");
        let head = [(":method", "POST"), (":path", CHAT), ("authorization", &bearer)];
        let head = head.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
        let asks = Cell::new(0);
        let clock = || {
            asks.set(asks.get() + 1);
            NOW.timestamp()
        };
        let mut exchange = Exchange::new(Rc::clone(gateway));
        let step = exchange.head(&Head::new(&head), false, clock, &mut |_| ());
        assert_eq!((asks.get() > 0, step == Step::Hold), (asked, held), "{key}");
        assert_eq!(exchange.facts().time.is_some(), !held, "{key}");
        if held {
            exchange.body(br#"{"model":"small"}"#, true, NOW.timestamp(), &mut |_| ());
        }
        assert_eq!(exchange.facts().time, Some(NOW.timestamp()), "{key}");
    }
}

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
        charges.charges().reservation.cost.0 - (body.len() as u128 + 3_072) * 1_000_000
    };
    assert_eq!(cost(10), 10 * cost(1));
}

#[test]
fn a_key_of_ours_does_not_reach_an_upstream_that_asks_for_none_and_another_credential_does() {
    let public = gateway(&json!({ "routes": [{ "path": "/open/**", "public": true }] }));
    let unmatched = gateway(&json!({ "unmatched": "pass" }));
    let minted = key::mint("laptop1", &[7; 32]);
    for (gateway, what) in [(public, "public"), (unmatched, "unmatched")] {
        let passes = |path: &str, fields: &[(&str, &str)]| {
            let decided = decide(&gateway, path, fields, None);
            assert_eq!(decided.step, Step::Forward(None), "{what} {path} {fields:?}");
            assert_eq!(decided.exchange.facts().decision, Decision::Public);
            decided
        };
        for ours in [KEY, ROTATED, TOKEN, &minted, "sk-tg-mistyped"] {
            let bearer = format!("bearer {ours}");
            let decided = passes(
                "/open/x",
                &[("authorization", &bearer), ("x-api-key", "theirs"), ("x-goog-api-key", ours)],
            );
            assert_eq!(
                decided.edits,
                [("authorization".into(), None), ("x-goog-api-key".into(), None)],
                "{what} {ours}"
            );
            let decided = passes(&format!("/open/x?a=b&key={ours}"), &[("api-key", "theirs")]);
            assert_eq!(decided.edits, [(":path".into(), Some("/open/x?a=b".into()))], "{what} {ours}");
        }
        for fields in [
            &[][..],
            &[("authorization", "Bearer theirs"), ("x-api-key", "theirs"), ("cookie", "a=b")],
            &[("authorization", "Basic YTpi"), ("api-key", "")],
        ] {
            assert_eq!(passes("/open/x?key=theirs&a=%zz", fields).edits, [], "{what} {fields:?}");
        }
    }
}

#[test]
fn a_refusal_says_which_target_it_was_about_if_the_catalogue_has_it() {
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
        assert!(matches!(&refused.step, Step::Answer(answer) if answer.status == 403), "{:?}", refused.step);
        let facts = refused.exchange.facts();
        assert_eq!(facts.target.as_deref(), target, "{path} {body:?}");
        assert_eq!(facts.reason.as_deref(), Some("target_not_allowed"));

        let shadowed = with_key(&shadowing, path, body.as_deref());
        assert!(matches!(shadowed.step, Step::Forward(_)), "{:?}", shadowed.step);
        let facts = shadowed.exchange.facts();
        assert_eq!((facts.decision, facts.target.as_deref()), (Decision::Shadowed, target));
        assert_eq!(shadowed.edited("x-tollgate-target").flatten(), target, "{path} {body:?}");
    }
    // To the client a forbidden target is none.
    let answer = |model: &str| match with_key(&enforcing, CHAT, ask(model).as_deref()).step {
        Step::Answer(answer) => (answer.status, answer.fields, answer.body.replace(model, "M")),
        other => panic!("{other:?}"),
    };
    assert_eq!(answer("large"), answer("nowhere"));
}

#[test]
fn a_key_in_the_query_may_be_percent_encoded() {
    let gateway = gateway(&json!({}));
    let encoded = KEY.replace('-', "%2D");
    let path = format!("/v1/models?key={encoded}");
    assert!(matches!(decide(&gateway, &path, &[], None).step, Step::Answer(answer) if answer.status == 200));
    let body = Some(r#"{"model":"small"}"#);
    let decided = decide(&gateway, &format!("{CHAT}?key={encoded}&a=%2D"), &[], body);
    assert_eq!(decided.edited(":path"), Some(Some("/v1/chat/completions?a=%2D")));
    decided.charges();
}

#[test]
fn a_body_that_spells_a_field_with_escapes_is_told_which() {
    let body = Some(r#"{"mod\u0065l":"small"}"#);
    match with_key(&gateway(&json!({})), CHAT, body).step {
        Step::Answer(answer) => {
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
fn a_tool_that_the_upstream_runs_has_no_bound_under_a_budget_but_the_targets_own() {
    let body = Some(r#"{"model":"small","max_tokens":1,"tools":[{"type":"web_search_20250305"}]}"#);
    match with_key(&gateway(&json!({})), "/v1/messages", body).step {
        Step::Answer(answer) => assert!(answer.body.contains("unbounded_cost"), "{}", answer.body),
        other => panic!("{other:?}"),
    }
    let mut policy = policy();
    policy["targets"]["small"]["max_input_tokens"] = json!(50_000);
    let bounded = with_key(&gateway(&json!({ "policy": policy })), "/v1/messages", body);
    assert_eq!(bounded.charges().reservation.input_tokens, 50_000);
}

fn refusal(decided: &Decided) -> &str {
    match &decided.step {
        Step::Answer(answer) => &answer.body,
        other => panic!("it is let through: {other:?}"),
    }
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
fn a_part_of_an_answer_is_not_asked_for_where_its_usage_counts() {
    let path = "/v1beta/models/small:generateContent";
    let mut free = policy();
    free["teams"]["blue"].as_object_mut().unwrap().remove("budget");
    let (counts, free) = (gateway(&json!({})), gateway(&json!({ "policy": free })));
    for query in
        ["?fields=candidates", "?alt=sse&%24fields=usageMetadata.promptTokenCount", "?%66ields=candidates&x"]
    {
        let masked = with_key(&counts, &format!("{path}{query}"), Some("{}"));
        assert!(refusal(&masked).contains("partial_answer"), "{query}");
        assert!(!matches!(with_key(&free, &format!("{path}{query}"), Some("{}")).step, Step::Answer(_)));
    }
    let bearer = format!("Bearer {KEY}");
    let fields = [("authorization", bearer.as_str()), ("X-Goog-FieldMask", "candidates")];
    assert!(refusal(&decide(&counts, path, &fields, Some("{}"))).contains("partial_answer"));
    with_key(&counts, &format!("{path}?alt=sse&field=x"), Some("{}")).charges();
    with_key(&counts, &format!("{CHAT}?fields=x"), Some(r#"{"model":"small"}"#)).charges();
}

#[test]
fn no_spelling_of_a_governed_path_passes_without_a_key() {
    let routes = json!([
        { "path": "/Status", "public": true },
        { "path": "/v1/chat/completions", "methods": ["POST"], "api": "openai-chat" },
        { "path": "/v1beta/models/{model}:generateContent", "api": "gemini-generate" },
        { "path": "/public/**", "public": true },
        { "path": "/reports/**", "target": "small" },
    ]);
    let mut all = routes.clone();
    all.as_array_mut().unwrap().push(json!({ "path": "/**", "public": true }));
    for settings in [json!({ "routes": all }), json!({ "routes": routes, "unmatched": "pass" })] {
        let gateway = gateway(&settings);
        for (method, path, passes) in [
            ("POST", "/V1/Chat/Completions", false),
            ("POST", "/v1/chat/completionS?x=1", false),
            ("POST", "/v1beta/models/small:GENERATECONTENT", false),
            ("GET", "/Reports/2026", false),
            ("GET", "/V1/chat/completions", true),
            ("GET", "/Public/a", true),
            ("GET", "/status", true),
            ("GET", "/Status", true),
            ("GET", "/other", true),
        ] {
            match decide_as(&gateway, method, path, &[], None).step {
                Step::Forward(None) => assert!(passes, "{path}"),
                Step::Answer(answer) => assert!(!passes && answer.body.contains("ambiguous_path"), "{path}"),
                other => panic!("{path}: {other:?}"),
            }
        }
    }
}

#[test]
fn the_body_of_a_stranger_to_the_management_api_is_not_waited_for() {
    let path = "/tollgate/v1/teams/blue";
    let decided_at_once = |gateway: &Rc<Gateway>, fields: &[(&str, &str)]| {
        let mut head = vec![(":method", "PATCH"), (":path", path), ("content-length", "9")];
        head.extend_from_slice(fields);
        let head: Vec<_> = head.iter().map(|(name, value)| (name.as_bytes(), value.as_bytes())).collect();
        let mut exchange = Exchange::new(Rc::clone(gateway));
        match exchange.head(&Head::new(&head), false, NOW.timestamp(), &mut |_| ()) {
            Step::Manage(request) => {
                assert_eq!((request.body.len(), exchange.is_held()), (0, true));
                true
            }
            Step::Hold => false,
            other => panic!("{other:?}"),
        }
    };
    let tokens_only = gateway(&json!({}));
    let also_jwt = gateway(&json!({ "manage": { "jwt": { "metadata": "login", "claim": "sub" } } }));
    let (token, unknown) = (format!("Bearer {TOKEN}"), format!("Bearer {KEY}"));
    for (name, value) in [("authorization", unknown.as_str()), ("x-api-key", TOKEN), ("accept", "*/*")] {
        assert!(decided_at_once(&tokens_only, &[(name, value)]), "{name}: {value}");
        assert!(!decided_at_once(&also_jwt, &[(name, value)]), "a JWT may say who it is");
    }
    assert!(!decided_at_once(&tokens_only, &[("authorization", &token)]));
}

#[test]
fn a_path_is_plain_whatever_the_method_and_a_host_is_no_path() {
    let gateway = gateway(&json!({ "routes": [
        { "path": "/open/**", "public": true },
        { "path": "/v1/realtime", "target": "small" },
    ]}));
    let refused = |path: &str| match decide_as(&gateway, "CONNECT", path, &[], None).step {
        Step::Answer(answer) => answer.body,
        other => panic!("{path}: {other:?}"),
    };
    assert!(refused("/open/../v1/realtime").contains("ambiguous_path"));
    assert!(refused("/v1/realtime?model=small").contains("missing_api_key"), "its query is none of its path");
    assert!(refused("other:443").contains("unknown_route"));
    assert_eq!(decide_as(&gateway, "CONNECT", "/open/chat", &[], None).step, Step::Forward(None));
}

#[test]
fn a_body_has_one_type() {
    let inner = "--c\r\nContent-Disposition: form-data; name=\"model\"\r\n\r\nlarge\r\n--c--";
    let part = |name: &str, value: &str| {
        format!("--b\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n")
    };
    let form = part("model", "small") + &part("file", inner) + "--b--\r\n";
    let bearer = format!("Bearer {KEY}");
    let asked = |types: &[&str]| {
        let mut fields = vec![("authorization", bearer.as_str())];
        fields.extend(types.iter().map(|value| ("content-type", *value)));
        decide(&gateway(&json!({})), "/v1/audio/transcriptions", &fields, Some(&form))
    };
    let ours = "multipart/form-data; boundary=b";
    asked(&[ours]).charges();
    asked(&[ours, ours]).charges();
    for second in ["multipart/form-data; boundary=c", "application/json"] {
        match asked(&[ours, second]).step {
            Step::Answer(answer) => assert!(answer.body.contains("one content-type"), "{}", answer.body),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_form_is_not_asked_for_usage_as_json_is() {
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
    let outcome = Ok(Admitted { receipt: Receipt::default(), standing: Standing::default() });
    assert_eq!(decided.exchange.admitted(outcome).0, Step::Forward(None), "the form goes on as it came");
}

#[test]
fn nobody_is_let_into_another_form_of_http() {
    let routes = json!([
        { "path": "/open/**", "public": true },
        { "path": "/jobs", "target": "small" },
        { "path": CHAT, "api": "openai-chat" },
    ]);
    let gateway = gateway(&json!({ "routes": routes }));
    let bearer = format!("Bearer {KEY}");
    let asks = |path: &str, protocol: &str, body: Option<&str>| {
        decide(&gateway, path, &[("authorization", &bearer), ("upgrade", protocol)], body)
    };
    for protocol in ["h2c", "websocket, H2C", "HTTP/2.0", "TLS/1.3"] {
        let public = asks("/open/x", protocol, None);
        assert_eq!(
            (&public.step, public.edited("upgrade")),
            (&Step::Forward(None), Some(None)),
            "{protocol}"
        );
        let chat = asks(CHAT, protocol, Some(r#"{"model":"small","max_tokens":7}"#));
        assert!(chat.charges().reservation.tokens > 7, "it is read and charged as any other");
        assert_eq!(chat.edited("upgrade"), Some(None));
        asks("/jobs", protocol, None).charges();
    }
    let left = asks("/open/x", "websocket", None);
    assert_eq!((&left.step, left.edited("upgrade")), (&Step::Forward(None), None));
    match asks("/jobs", "websocket", None).step {
        Step::Answer(answer) => assert!(answer.body.contains("upgrade_not_metered"), "{}", answer.body),
        other => panic!("{other:?}"),
    }
}
