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
    let exceeded = |name: &str| filter.labeled(name, &[";reason=team_rpm_exceeded"]);
    assert_eq!((exceeded("shadowed"), exceeded("denied")), (2, 0));
}

#[test]
fn denied_is_the_sum_of_its_reasons() {
    let mut filter = Filtered::new(&limited());
    filter.refused(CHAT, &[], br#"{"model":"large"}"#);
    filter.refused(CHAT, &[], b"no json");
    filter.refused("/nowhere", &[], b"");
    let all = filter.process.metrics().snapshot();
    let series = all.iter().filter(|(name, (_, value))| name.starts_with("tollgate.denied") && *value > 0);
    let series: Vec<_> = series.map(|(name, (_, value))| (name.as_str(), *value)).collect();
    let team = ";organization=acme;team=blue";
    let expected = [
        (format!("tollgate.denied;reason=invalid_body{team}"), 1),
        (format!("tollgate.denied;reason=target_not_allowed{team}"), 1),
        ("tollgate.denied;reason=unknown_route".to_owned(), 1),
    ];
    assert_eq!(series, expected.each_ref().map(|(name, value)| (name.as_str(), *value)));
}

#[test]
fn requests_tokens_cost_and_refusals_have_the_labels_of_their_team() {
    let mut filter = Filtered::new(&limited());
    let stream = admit(&mut filter);
    settle(&mut filter, stream);
    filter.refused(CHAT, &[], b"no json");
    let of_team = |name| filter.labeled(name, &[";organization=acme", ";team=blue"]);
    let names = ["allowed", "denied", "tokens_input", "tokens_output"];
    assert_eq!(names.map(of_team), [1, 1, 100, 20]);
    assert!(of_team("cost_picodollars") > 0);
    for name in names.into_iter().chain(["cost_picodollars"]) {
        assert_eq!(of_team(name), filter.metric(name), "{name} is counted once");
    }
}

#[test]
fn teams_above_the_maximum_are_counted_as_other_also_after_a_new_configuration() {
    let mut configuration = limited();
    configuration["metrics"] = json!({"max_teams": 1});
    let mut filter = Filtered::new(&configuration);
    let stream = admit(&mut filter);
    settle(&mut filter, stream);
    let green = configuration["policy"]["teams"]["blue"].clone();
    let teams = configuration["policy"]["teams"].as_object_mut().unwrap();
    teams.remove("blue");
    teams.insert("green".to_owned(), green);
    for key in configuration["policy"]["keys"].as_object_mut().unwrap().values_mut() {
        key["team"] = json!("green");
    }
    filter.process.configure(configuration.to_string().as_bytes()).unwrap();
    filter.vm.reconfigure().unwrap();
    let stream = admit(&mut filter);
    settle(&mut filter, stream);
    let team = |team: &str| filter.labeled("allowed", &[&format!(";team={team}")]);
    assert_eq!((team("blue"), team("green"), team("other")), (1, 0, 1));
}

#[test]
fn every_series_without_a_team_exists_before_its_first_event() {
    let filter = Filtered::new(&limited());
    let all = filter.process.metrics().snapshot();
    for name in
        ["allowed", "denied", "tokens_input", "cost_picodollars", "retries", "contended", "replies_failed"]
    {
        let found = all.get(&format!("tollgate.{name}")).map(|(_, value)| *value);
        assert_eq!(found, Some(0), "{name}");
    }
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
        let seen = (filter.labeled("denied", &[";reason=limits_unavailable"]), filter.metric("uncounted"));
        assert_eq!(seen, if on == "deny" { (2, 0) } else { (0, 2) });
    }
}
