//! Everything that is wrong with a policy is said at once, each with its place.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Value, json};
use tollgate_core::config;
use tollgate_core::policy::{Diagnostic, Policy, PolicyLoader, Severity};

fn load(document: &Value) -> Result<(Policy, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut loader = PolicyLoader::default();
    loader.push(document.to_string().as_bytes());
    loader.finish()
}

fn places(findings: &[Diagnostic], severity: Severity) -> Vec<&str> {
    let mut places: Vec<&str> =
        findings.iter().filter(|f| f.severity == severity).map(|f| f.pointer.as_str()).collect();
    places.sort_unstable();
    places
}

fn digest(n: u8) -> String {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
}

/// A policy without a mistake.
fn sound() -> Value {
    json!({
        "version": 1,
        "targets": {"small": {"access_groups": ["basic"]}, "large": {"access_groups": ["premium"]}},
        "organizations": {"acme": {
            "name": "Acme", "access": {"access_groups": ["basic"]},
            "limits": {"rpm": 100}, "budget": {"max": "100", "period": "month"},
            "members": {"alice": "org_owner", "bob": "org_member"},
        }},
        "teams": {"search": {
            "organization": "acme", "name": "Search",
            "limits": {"rpm": 50}, "members": {"bob": "team_developer"},
        }},
        "users": {"alice": {"name": "Alice"}, "bob": {"name": "Bob", "limits": {"rph": 10}}},
        "service_accounts": {"ci": {"team": "search", "name": "CI"}},
        "keys": {
            "one": {"team": "search", "owner": "user/bob", "digest": digest(1)},
            "two": {"team": "search", "owner": "service_account/ci", "digest": digest(2)},
        },
    })
}

#[test]
fn a_sound_policy_has_no_findings() {
    let (_, warnings) = load(&sound()).unwrap();
    assert_eq!(warnings, []);
}

#[test]
fn ten_mistakes_are_ten_findings_at_ten_places() {
    let mut policy = sound();
    policy["teams"]["search"]["limits"]["rpm"] = json!(500);
    policy["teams"]["search"]["access"] = json!({"mode": "restrict", "targets": ["large", "gone"]});
    policy["teams"]["search"]["models"] = json!(["small"]);
    policy["targets"]["small"]["price"] = json!({"input": "0.1234567", "output": "1"});
    policy["organizations"]["acme"]["limits"]["tpd"] = json!(0);
    policy["users"]["bob"]["tokens"] = json!(["sk-something"]);
    policy["keys"]["one"]["expires_at"] = json!("tomorrow");
    policy["keys"]["one"]["owner"] = json!("user/alice");
    policy["keys"]["two"]["digest"] = json!(digest(1));
    let findings = load(&policy).unwrap_err();
    assert_eq!(
        places(&findings, Severity::Error),
        [
            "/keys/one/expires_at",
            "/keys/one/owner",
            "/keys/two/digest",
            "/organizations/acme/limits/tpd",
            "/targets/small/price/input",
            "/teams/search/access/targets/1",
            "/teams/search/limits/rpm",
            "/teams/search/models",
            "/users/bob/tokens/0",
        ],
        "{findings:#?}"
    );
    assert_eq!(places(&findings, Severity::Warning), ["/teams/search/access/targets/0"]);
    let words = |place: &str| findings.iter().find(|finding| finding.pointer == place).unwrap().to_string();
    assert_eq!(
        words("/teams/search/limits/rpm"),
        "error /teams/search/limits/rpm: rpm of 500 exceeds the 100 of organization `acme`: lower this limit, or raise that one"
    );
    assert!(words("/teams/search/models").contains("`access`"), "it says where a model list belongs");
}

/// One mistake in a sound policy: where it is put, what, and where it is found.
#[test]
fn each_mistake_is_found_where_it_stands() {
    let cases = [
        ("/version", json!(2), "/version"),
        ("/teams/search/organization", json!("nobody"), "/teams/search/organization"),
        ("/teams/search/members/carol", json!("team_viewer"), "/teams/search/members/carol"),
        ("/teams/search/access", json!({"mode": "inherit", "targets": ["small"]}), "/teams/search/access"),
        ("/teams/search/budget", json!({"max": "101", "period": "month"}), "/teams/search/budget/max"),
        ("/teams/search/budget", json!({"max": 5}), "/teams/search/budget/max"),
        ("/teams/search/member_limits", json!({"rpm": 51}), "/teams/search/member_limits/rpm"),
        ("/keys/one/limits", json!({"rpm": 51}), "/keys/one/limits/rpm"),
        ("/keys/one/limits", json!({"rph": 11}), "/keys/one/limits/rph"),
        ("/keys/one/limits", json!({"rpm": -1}), "/keys/one/limits/rpm"),
        (
            "/keys/two/previous",
            json!({"digest": digest(1), "until": "2030-01-01T00:00:00Z"}),
            "/keys/two/previous/digest",
        ),
        ("/users/bob/limits", json!({"rpm": 101}), "/users/bob/limits/rpm"),
        ("/organizations/acme/access/targets", json!(["gone"]), "/organizations/acme/access/targets/0"),
        (
            "/organizations/acme/target_limits",
            json!({"gone": {"rpm": 1}}),
            "/organizations/acme/target_limits/gone",
        ),
        ("/organizations/acme/members/alice", json!("boss"), "/organizations/acme/members/alice"),
        ("/targets/small/access_groups", json!(["not a group"]), "/targets/small/access_groups/0"),
    ];
    for (at, mistake, found) in cases {
        let mut policy = sound();
        let (object, name) = at.rsplit_once('/').unwrap();
        policy.pointer_mut(object).unwrap()[name] = mistake.clone();
        let findings = load(&policy).expect_err(&format!("{at}: {mistake}"));
        assert_eq!(places(&findings, Severity::Error), [found], "{at}: {mistake}: {findings:#?}");
    }
}

#[test]
fn a_budget_over_another_period_is_not_compared() {
    let mut policy = sound();
    policy["teams"]["search"]["budget"] = json!({"max": "1000", "period": "lifetime"});
    assert!(load(&policy).is_ok());
}

#[test]
fn a_group_that_no_target_carries_is_a_warning() {
    let mut policy = sound();
    policy["organizations"]["acme"]["access"]["access_groups"] = json!(["basic", "future"]);
    let (_, warnings) = load(&policy).unwrap();
    assert_eq!(places(&warnings, Severity::Warning), ["/organizations/acme/access/access_groups/1"]);
}

#[test]
fn a_malformed_digest_does_not_get_into_a_message() {
    let mut policy = sound();
    policy["keys"]["one"]["digest"] = json!("sk-tg-demo-verysecret");
    let findings = load(&policy).unwrap_err();
    assert_eq!(places(&findings, Severity::Error), ["/keys/one/digest"]);
    let text = findings.iter().map(ToString::to_string).collect::<String>();
    assert!(!text.contains("verysecret"), "{text}");
}

#[test]
fn a_key_in_the_place_of_a_name_is_not_repeated() {
    let key = "sk-tg-demo-verysecret";
    let mut policy = sound();
    policy["organizations"]["acme"]["access"]["targets"] = json!([key]);
    policy["teams"][key] = json!({});
    let findings = load(&policy).unwrap_err();
    let text = findings.iter().map(ToString::to_string).collect::<String>();
    assert!(text.contains("no target `sk-tg-demo-…`") && text.contains("/teams/sk-tg-demo-…"), "{text}");
    assert!(!text.contains("verysecret"), "{text}");
}

#[test]
fn a_name_given_twice_is_an_error_at_every_level() {
    for (text, place) in [
        (r#"{"version": 1, "version": 1}"#, "/version"),
        (r#"{"version": 1, "targets": {}, "targets": {}}"#, "/targets"),
        (r#"{"version": 1, "targets": {"a": {}, "a": {}}}"#, "/targets/a"),
        (
            r#"{"version": 1, "targets": {"a": {"max_input_tokens": 1, "max_input_tokens": 1}}}"#,
            "/targets/a/max_input_tokens",
        ),
        (r#"{"version": 1, "targets": {"a": {}, "\u0061": {}}}"#, "/targets/a"),
        (
            r#"{"version": 1, "targets": {"a/b": {"max_input_tokens": 1, "max_input_tokens": 2}}}"#,
            "/targets/a~1b/max_input_tokens",
        ),
    ] {
        let mut loader = PolicyLoader::default();
        loader.push(text.as_bytes());
        let findings = loader.finish().expect_err(text);
        assert_eq!(places(&findings, Severity::Error), [place], "{text}");
    }
}

#[test]
fn a_route_to_a_target_that_does_not_exist_is_an_error() {
    let mut loader = config::ConfigLoader::default();
    loader
        .push(br#"{"routes": [{"path": "/a", "target": "gone"}, {"path": "b"}], "policy": {"version": 1}}"#);
    let findings = loader.finish().unwrap_err();
    assert_eq!(places(&findings, Severity::Error), ["/routes/0/target", "/routes/1/path"]);
}

/// The errors of a text, each with its place and its words.
fn errors(text: &str) -> Vec<String> {
    let mut loader = PolicyLoader::default();
    loader.push(text.as_bytes());
    loader.finish().expect_err(text).iter().map(ToString::to_string).collect()
}

/// The same of a gateway's configuration.
fn gateway_errors(text: &str) -> Vec<String> {
    let mut loader = config::ConfigLoader::default();
    loader.push(text.as_bytes());
    loader.finish().expect_err(text).iter().map(ToString::to_string).collect()
}

#[test]
fn a_credential_or_an_api_that_cannot_be_read_is_said_once_and_not_again_by_what_rests_on_it() {
    let pointers = |field: &str| {
        let text = format!(r#"{{"policy": {{"version": 1}}, {field}}}"#);
        let found = gateway_errors(&text).into_iter();
        found.map(|error| error.split(':').next().unwrap_or_default().to_string()).collect::<Vec<_>>()
    };
    let header = r#""credentials": [{"header": "Authorization", "scheme": "Bearer"}, {"query": ""}]"#;
    assert_eq!(pointers(header), ["error /credentials/0/header", "error /credentials/1/query"]);
    assert_eq!(pointers(r#""credentials": [{"scheme": "Bearer"}]"#), ["error /credentials/0"]);
    assert_eq!(pointers(r#""routes": [{"path": "/x", "api": "chat"}]"#), ["error /routes/0/api"]);
    assert_eq!(pointers(r#""routes": [{"path": "/x", "target": "*"}]"#), ["error /routes/0/target"]);
    // Compared with case, it would match nothing.
    assert_eq!(
        pointers(r#""routes": [{"path": "/x", "public": true, "methods": ["GET", "post", ""]}]"#),
        ["error /routes/0/methods/1", "error /routes/0/methods/2"]
    );
    assert_eq!(pointers(r#""routes": [{"path": "/x"}]"#), ["error /routes/0"]);
}

#[test]
fn a_missing_version_is_said_beside_other_errors_and_only_where_it_is_missing() {
    let missing = "error (document): `version` is missing";
    let wrong = "error /unpriced: expected `deny` or `allow`, found \"perhaps\"";
    assert_eq!(errors(r#"{"unpriced": "perhaps"}"#), [wrong, missing]);
    assert_eq!(errors("{}"), [missing]);
    // One that is wrong is not missing, and what is no object has none.
    assert_eq!(errors(r#"{"version": 2}"#).len(), 1);
    assert_eq!(errors("[]").len(), 1);
    // What a text lacks that breaks off may have been meant to come.
    let cut = errors(r#"{"keys": {"k": {"team": "later", "digest": 1}}, "teams": {"#);
    assert_eq!(cut.len(), 2, "{cut:#?}");
    assert!(cut[0].contains("/keys/k/digest") && !cut.concat().contains("missing"), "{cut:#?}");
}

#[test]
fn a_gateway_says_what_is_missing_beside_other_errors() {
    let mode = "error /mode: expected `enforce` or `shadow`, found \"loose\"";
    let version = "error /policy: `version` is missing";
    assert_eq!(gateway_errors(r#"{"mode": "loose"}"#), [mode, "error (document): `policy` is missing"]);
    assert_eq!(gateway_errors(r#"{"mode": "loose", "policy": {}}"#), [mode, version]);
    assert_eq!(gateway_errors(r#"{"policy": {}}"#), [version]);
    assert_eq!(gateway_errors(r#"{"policy": 1}"#).len(), 1);
    assert_eq!(gateway_errors("1").len(), 1);
}

#[test]
fn a_record_that_cannot_be_read_is_not_said_to_be_missing() {
    let mut policy = sound();
    policy["teams"]["search"]["organization"] = json!("no id");
    policy["service_accounts"]["ci"]["team"] = json!(5);
    policy["targets"]["large"] = json!("dear");
    policy["users"]["alice"] = json!([]);
    policy["organizations"]["acme"]["access"]["targets"] = json!(["large", "gone"]);
    policy["organizations"]["acme"]["target_limits"] = json!({"large": {"rpm": 1}});
    let findings = load(&policy).unwrap_err();
    assert_eq!(
        places(&findings, Severity::Error),
        [
            "/organizations/acme/access/targets/1",
            "/service_accounts/ci/team",
            "/targets/large",
            "/teams/search/organization",
            "/users/alice",
        ],
        "{findings:#?}"
    );
    let configuration = json!({
        "routes": [{"path": "/a", "target": "large"}],
        "policy": {"version": 1, "targets": {"large": "dear"}},
    });
    let errors = gateway_errors(&configuration.to_string());
    assert!(errors.len() == 1 && errors[0].starts_with("error /policy/targets/large: "), "{errors:#?}");
}

/// One mistake each, on which something else in the policy rests.
#[test]
fn a_mistake_is_not_said_again_where_something_rests_on_it() {
    for (at, mistake, found) in [
        ("/organizations/acme/members/bob", json!("boss"), "/organizations/acme/members/bob"),
        ("/teams/search/members/bob", json!("boss"), "/teams/search/members/bob"),
        ("/teams/search/access", json!({"mode": "some", "targets": ["small"]}), "/teams/search/access/mode"),
        ("/teams/search/access", json!({"targets": ["small"]}), "/teams/search/access"),
        ("/teams/search/budget", json!({"max": "500", "period": "fortnight"}), "/teams/search/budget/period"),
    ] {
        let mut policy = sound();
        policy["organizations"]["acme"]["budget"] = json!({"max": "100"});
        let (object, name) = at.rsplit_once('/').unwrap();
        policy.pointer_mut(object).unwrap()[name] = mistake;
        let findings = load(&policy).unwrap_err();
        assert_eq!(places(&findings, Severity::Error), [found], "{findings:#?}");
    }
}
