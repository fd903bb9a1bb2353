//! The metrics of decisions and of errors of the counters.

mod filtered;

use filtered::{CHAT, Filtered, chat, configuration};
use serde_json::{Value, json};
use tollgate_host::proxy_wasm::{Effect, Ending, Flow, HostCall, StreamId, When};

const USAGE: &[u8] = br#"{"usage":{"prompt_tokens":100,"completion_tokens":20}}"#;

/// Returns a configuration with one team, whose counter is the only one.
fn limited() -> Value {
    configuration(json!({"tpd": 1_000_000}), json!({"max": "1000"}))
}

/// Injects conflicts with other writers.
fn lose(filter: &Filtered, when: When) {
    filter.process.faults().inject(Some(HostCall::SetSharedData), when, Effect::LoseSwap);
}

fn admit(filter: &mut Filtered) -> StreamId {
    filter.admitted(CHAT, &chat(100, false)).0
}

fn settle(filter: &mut Filtered, stream: StreamId) {
    filter.answers(stream, "200", "application/json");
    filter.more(stream, USAGE, true);
    filter.close(stream, &Ending::Complete);
}

#[test]
fn a_request_that_shadow_mode_lets_pass_is_shadowed_and_not_denied() {
    let mut configuration = configuration(json!({"rpm": 1}), Value::Null);
    configuration["policy"]["teams"]["blue"].as_object_mut().unwrap().remove("budget");
    configuration["policy"]["teams"]["blue"]["mode"] = json!("shadow");
    let mut filter = Filtered::new(&configuration);
    for _ in 0..3 {
        let stream = admit(&mut filter);
        settle(&mut filter, stream);
    }
    let count = |name: &str| filter.metric(name);
    assert_eq!((count("allowed"), count("shadowed"), count("denied")), (1, 2, 0));
    assert_eq!((count("shadowed_team_rpm_exceeded"), count("denied_team_rpm_exceeded")), (2, 0));
}

#[test]
fn denied_is_the_sum_of_its_reasons() {
    let mut filter = Filtered::new(&limited());
    filter.refused(CHAT, &[], br#"{"model":"large"}"#);
    filter.refused(CHAT, &[], b"no json");
    filter.refused("/nowhere", &[], b"");
    let all = filter.process.metrics().snapshot();
    let reasons = all.iter().filter(|(name, _)| name.starts_with("tollgate.denied_"));
    let values: Vec<u64> = reasons.map(|(_, (_, value))| *value).collect();
    assert_eq!((values, filter.metric("denied")), (vec![1, 1, 1], 3));
}

#[test]
fn each_conflict_of_an_admission_or_a_settlement_counts_as_a_retry() {
    let mut filter = Filtered::new(&limited());
    // The creation of a record never has a conflict.
    let stream = admit(&mut filter);
    settle(&mut filter, stream);
    assert_eq!(filter.metric("retries"), 0);

    lose(&filter, When::Next(3));
    let stream = admit(&mut filter);
    assert_eq!(filter.metric("retries"), 3);
    lose(&filter, When::Next(2));
    settle(&mut filter, stream);
    assert_eq!((filter.metric("retries"), filter.metric("contended")), (5, 0));
    assert_eq!(filter.charged().0, 240, "and nothing of it is lost");
}

#[test]
fn exhausted_retries_are_distinguished_from_an_unavailable_store() {
    for (on, status) in [("deny", Some(503)), ("allow", None)] {
        let mut configuration = limited();
        configuration["on_contention"] = json!(on);
        configuration["on_unavailable"] = json!(on);
        let mut filter = Filtered::new(&configuration);
        let stream = admit(&mut filter);
        settle(&mut filter, stream);
        let ask = |filter: &mut Filtered| match filter.send(CHAT, &[], &chat(100, false)) {
            (stream, Flow::Reply(reply)) => {
                filter.close(stream, &Ending::Complete);
                Some(reply.status)
            }
            (stream, _) => {
                settle(filter, stream);
                None
            }
        };

        lose(&filter, When::Always);
        assert_eq!(ask(&mut filter), status);
        let retries = filter.metric("retries");
        assert!(retries > 100, "it goes on trying: {retries}");
        filter.process.faults().clear();
        let away = Effect::Answer(tollgate_host::proxy_wasm::Status::InternalFailure);
        filter.process.faults().inject(Some(HostCall::GetSharedData), When::Always, away);
        assert_eq!(ask(&mut filter), status);
        filter.process.faults().clear();

        assert_eq!((filter.metric("contended"), filter.metric("retries")), (1, retries));
        let seen = (filter.metric("denied_limits_unavailable"), filter.metric("uncounted"));
        assert_eq!(seen, if on == "deny" { (2, 0) } else { (0, 2) });
    }
}
