//! The decision of [`evaluate`], which `tollgate explain` prints, against that of a request through [`Exchange`].

use proptest::prelude::*;
use tollgate_core::admission::{AdmissionError, NotAdmitted, acquire};
use tollgate_core::api::Api;
use tollgate_core::counters::{Cas, CounterStore, RecordKey, StoreError};
use tollgate_core::exchange::access_log::Decision;
use tollgate_core::exchange::authorize::{Call, CallForm, Step, Trace, evaluate};
use tollgate_core::http::rejection::Rejection;
use tollgate_core::llm::request::{BodyParser, LlmRequest};

use super::policies::{Plain, Tape};
use super::*;

/// The texts of the steps.
#[derive(Default)]
struct Steps(Vec<String>);

impl Trace for Steps {
    fn step<'s>(&mut self, step: impl FnOnce() -> Step<'s>) {
        self.0.push(format!("{:?}", step()));
    }
}

/// A store in which every counter is empty.
struct EmptyStore;

impl CounterStore for EmptyStore {
    type Version = ();

    fn read(&mut self, _: &RecordKey) -> Result<(Vec<u8>, ()), StoreError> {
        Ok((Vec::new(), ()))
    }

    fn compare_and_swap(&mut self, _: &RecordKey, (): (), _: &[u8]) -> Result<Cas, StoreError> {
        Ok(Cas::Stored)
    }
}

/// The code of a rejection; `None`: the call passes.
type Code = Option<String>;

/// The outcome of [`evaluate`] and of the admission, and the steps.
fn explained(config: &GatewayConfig, key: &str, target: &str, call: &Call<'_>) -> (Code, Vec<String>) {
    let mut steps = Steps::default();
    let policy = config.policy.read();
    let now = NOW.timestamp();
    let granted = evaluate(&policy, &config.record_keys, config.mode, key, target, call, now, &mut steps);
    let outcome = granted.and_then(|grant| match acquire(&mut EmptyStore, grant.admission, NOW) {
        Ok(_) => Ok(()),
        Err(NotAdmitted { error: AdmissionError::Denied(exceeded), .. }) => Err(Rejection::Denied(exceeded)),
        Err(other) => panic!("{other:?}"),
    });
    (outcome.err().map(|rejection| rejection.label().code.into_owned()), steps.0)
}

/// The outcome and steps of a request, and whether it was forwarded. A request with a body is decided twice; the steps
/// of the second time replace the same ones of the first.
fn requested(
    config: &Rc<GatewayConfig>,
    path: &str,
    key: &str,
    body: Option<&str>,
) -> (Code, Vec<String>, bool) {
    let bearer = format!("Bearer {key}");
    let method = if body.is_some() { "POST" } else { "GET" };
    let head = [(":method", method), (":path", path), ("authorization", &bearer)];
    let head = head.map(|(name, value)| (name.as_bytes(), value.as_bytes()));
    let head = Headers::new(&head);
    let mut exchange = Exchange::new(Rc::clone(config));
    let (mut steps, mut of_body) = (Steps::default(), Steps::default());
    let now = NOW.timestamp();
    let mut action = exchange.request_headers_traced(&head, body.is_none(), now, &mut |_| (), &mut steps);
    if let (Action::Hold, Some(body)) = (&action, body) {
        action = exchange.request_body_traced(body.as_bytes(), true, now, &mut |_| (), &mut of_body);
        // Format, key, identity, and perhaps shadow mode; then key and identity again.
        assert_eq!(steps.0[1..3], of_body.0[..2]);
        steps.0.extend(of_body.0.drain(2..));
    }
    if let Action::Admit(request) = action {
        action = exchange.admitted(acquire(&mut EmptyStore, request, NOW)).0;
    }
    let forwarded = match action {
        Action::Forward(_) => true,
        Action::Answer(_) => false,
        other => panic!("{other:?}"),
    };
    let log = exchange.log();
    assert_eq!(forwarded, matches!(log.decision, Decision::Allowed | Decision::Shadowed));
    assert_eq!(log.reason.is_some(), log.decision != Decision::Allowed);
    (log.reason.as_deref().map(str::to_owned), steps.0, forwarded)
}

/// The secret of the key with this number.
fn secret(n: u8) -> String {
    format!("secret-{n}")
}

/// A random policy, in which the digests are those of [`secret`].
fn drawn(tape: &mut Tape<'_>) -> Value {
    let mut plain = Plain::valid();
    while !tape.is_over() {
        let change = plain.draw(tape);
        let mut next = plain.clone();
        next.apply(&change);
        // A change with an error is left out.
        if next.load().is_ok() {
            plain = next;
        }
    }
    let mut text = plain.document().to_string();
    for n in 0..policies::DIGESTS {
        text = text.replace(&policies::digest(n), &digest(&secret(n)));
    }
    serde_json::from_str(&text).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1_000))]

    #[test]
    fn explain_and_a_request_decide_alike(
        tape in proptest::collection::vec(any::<u8>(), 0..240),
        number in prop_oneof![4 => 1..3u8, 1 => 0..policies::DIGESTS + 1],
        target in proptest::sample::select(vec!["a", "b", "c", "d/~e", "nowhere"]),
        shadow in proptest::bool::weighted(0.1),
        has_body in any::<bool>(),
        external in proptest::bool::weighted(0.1),
        fallback in proptest::option::weighted(0.2, proptest::sample::select(vec!["a", "b", "nowhere"])),
        mistyped in proptest::bool::weighted(0.02),
        twist in 0..20,
    ) {
        let mut policy = drawn(&mut Tape(&tape));
        // Fields that the random changes leave alone.
        for section in ["keys", "teams"] {
            for record in policy[section].as_object_mut().unwrap().values_mut() {
                match (section, twist) {
                    ("teams", 0) => record["state"] = json!("blocked"),
                    ("teams", 1) => record["mode"] = json!("shadow"),
                    ("keys", 2) => record["expires_at"] = json!("2026-01-01T00:00:00Z"),
                    _ => {}
                }
            }
        }
        let settings = json!({
            "policy": policy,
            "mode": if shadow { "shadow" } else { "enforce" },
            "routes": [
                { "path": CHAT, "api": "openai-chat" },
                { "path": "/call/{model}" },
            ],
        });
        // Each side has its own policy: records cache the names of their counters.
        let [ours, theirs] = [gateway(&settings), gateway(&settings)];
        let key = if mistyped { "sk-tg-mistyped".to_owned() } else { secret(number) };
        let mut asked = json!({ "model": target, "max_tokens": 3, "messages": [] });
        if external {
            asked["messages"] = json!([{ "role": "user", "content": [
                { "type": "image_url", "image_url": { "url": "https://example.com/a.png" } },
            ] }]);
        }
        if let Some(fallback) = fallback {
            asked["models"] = json!([fallback]);
        }
        let asked = asked.to_string();
        // An encoded slash in a path is ambiguous.
        let with_body = has_body || target.contains('/');
        let path = if with_body { CHAT.to_owned() } else { format!("/call/{target}") };
        let body = with_body.then_some(asked.as_str());

        let mut parser = BodyParser::for_head(None, None).unwrap();
        parser.push(asked.as_bytes()).unwrap();
        let request: &LlmRequest = parser.finish().unwrap();
        let call = match with_body {
            true => Call { api: Api::OpenAiChat, form: CallForm::Body(request), partial_response: false },
            false => Call::BARE,
        };
        let (code, steps) = explained(&ours, &key, target, &call);
        let (real_code, real_steps, forwarded) = requested(&theirs, &path, &key, body);
        prop_assert_eq!(&code, &real_code);
        prop_assert_eq!(&steps, &real_steps);
        let shadowed = steps.iter().any(|step| step.starts_with("Shadow"));
        prop_assert_eq!(forwarded, code.is_none() || shadowed);
    }
}
