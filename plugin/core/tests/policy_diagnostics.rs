//! Diagnostics: everything that is wrong with a policy is reported at once, each with its JSON Pointer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use serde_json::{Value, json};
use tollgate_core::config;
use tollgate_core::policy::{Diagnostic, Policy, PolicyLoader, Severity};

fn load(document: &Value) -> Result<(Policy, Vec<Diagnostic>), Vec<Diagnostic>> {
    let mut loader = PolicyLoader::default();
    loader.push(document.to_string().as_bytes());
    loader.finish()
}

fn pointers(diagnostics: &[Diagnostic], severity: Severity) -> Vec<&str> {
    let mut pointers: Vec<&str> =
        diagnostics.iter().filter(|f| f.severity == severity).map(|f| f.pointer.as_str()).collect();
    pointers.sort_unstable();
    pointers
}

fn digest(n: u8) -> String {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
}

/// Returns a valid policy.
fn valid_policy() -> Value {
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
fn a_valid_policy_has_no_diagnostics() {
    let (_, warnings) = load(&valid_policy()).unwrap();
    assert_eq!(warnings, []);
}

#[test]
fn all_errors_are_reported_at_once_with_their_pointers() {
    let mut policy = valid_policy();
    policy["teams"]["search"]["limits"]["rpm"] = json!(500);
    policy["teams"]["search"]["access"] = json!({"mode": "restrict", "targets": ["large", "gone"]});
    policy["teams"]["search"]["models"] = json!(["small"]);
    policy["targets"]["small"]["price"] = json!({"input": "0.1234567", "output": "1"});
    policy["organizations"]["acme"]["limits"]["tpd"] = json!(0);
    policy["users"]["bob"]["tokens"] = json!(["sk-something"]);
    policy["keys"]["one"]["expires_at"] = json!("tomorrow");
    policy["keys"]["one"]["owner"] = json!("user/alice");
    policy["keys"]["two"]["digest"] = json!(digest(1));
    let diagnostics = load(&policy).unwrap_err();
    assert_eq!(
        pointers(&diagnostics, Severity::Error),
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
        "{diagnostics:#?}"
    );
    assert_eq!(pointers(&diagnostics, Severity::Warning), ["/teams/search/access/targets/0"]);
    let message =
        |place: &str| diagnostics.iter().find(|diagnostic| diagnostic.pointer == place).unwrap().to_string();
    assert_eq!(
        message("/teams/search/limits/rpm"),
        "error /teams/search/limits/rpm: rpm of 500 exceeds the 100 of organization `acme`: lower this limit, or raise that one"
    );
    assert!(
        message("/teams/search/models").contains("`access`"),
        "the hint names the field for a list of models"
    );
}

#[test]
fn all_errors_of_a_price_are_reported_at_once() {
    let mut policy = valid_policy();
    policy["targets"]["small"]["price"] = json!({
        "input": "1", "output": "2", "character": "0.0000000000001", "cache_write_1h": "0.0000001", "seconds": "1",
        "above": [
            {"input_tokens": 10, "output": "3"},
            {"output": "3"},
            {"input_tokens": 10, "output": "4"},
            {"input_tokens": 0},
            {"input_tokens": 20, "input": -1, "above": {}},
        ],
        "tiers": {
            "Priority": {"input": "2"},
            "flex": {"input": 0.5, "above": {"input": "1"}},
            "standard": {"above": {"input_tokens": 5, "output": "x"}},
        },
    });
    let diagnostics = load(&policy).unwrap_err();
    let price = |places: &[&str]| -> Vec<String> {
        places.iter().map(|place| format!("/targets/small/price/{place}")).collect()
    };
    let expected = price(&[
        "above/1",
        "above/2/input_tokens",
        "above/3/input_tokens",
        "above/4/above",
        "above/4/input",
        "cache_write_1h",
        "character",
        "seconds",
        "tiers/Priority",
        "tiers/flex/above",
        "tiers/flex/input",
        "tiers/standard/above/output",
    ]);
    assert_eq!(pointers(&diagnostics, Severity::Error), expected, "{diagnostics:#?}");
    let message = |place: &str| {
        let place = format!("/targets/small/price/{place}");
        diagnostics.iter().find(|diagnostic| diagnostic.pointer == place).unwrap().to_string()
    };
    assert!(
        message("above/2/input_tokens")
            .ends_with("expected another threshold than those before it, found 10")
    );
    assert!(message("tiers/Priority").contains("a lower-case letter"), "{}", message("tiers/Priority"));
    assert!(message("seconds").contains("did you mean `second`?"), "{}", message("seconds"));
}

/// One error in a valid policy: the pointer at which it is put, the value, and the pointer of the diagnostic.
#[test]
fn each_error_is_reported_at_its_pointer() {
    let cases = [
        ("/version", json!(2), "/version"),
        ("/teams/search/organization", json!("nobody"), "/teams/search/organization"),
        ("/targets/small/cost", json!("measured"), "/targets/small/cost"),
        ("/teams/search/members/carol", json!("team_viewer"), "/teams/search/members/carol"),
        ("/teams/search/access", json!({"mode": "inherit", "targets": ["small"]}), "/teams/search/access"),
        ("/teams/search/budget", json!({"max": "101", "period": "month"}), "/teams/search/budget/max"),
        ("/teams/search/budget", json!({"max": 5}), "/teams/search/budget/max"),
        ("/teams/search/member_limits", json!({"rpm": 51}), "/teams/search/member_limits/rpm"),
        (
            "/teams/search/members/bob",
            json!({"role": "team_developer", "limits": {"rpm": 51}}),
            "/teams/search/members/bob/limits/rpm",
        ),
        (
            "/teams/search/members/bob",
            json!({"role": "team_developer", "budget": {"max": "101", "period": "month"}}),
            "/teams/search/members/bob/budget/max",
        ),
        ("/teams/search/members/bob", json!({"limits": {"rpm": 5}}), "/teams/search/members/bob"),
        ("/teams/search/members/bob", json!({"role": "boss"}), "/teams/search/members/bob/role"),
        ("/teams/search/members/bob", json!(7), "/teams/search/members/bob"),
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
    for (at, error, found) in cases {
        let mut policy = valid_policy();
        let (object, name) = at.rsplit_once('/').unwrap();
        policy.pointer_mut(object).unwrap()[name] = error.clone();
        let diagnostics = load(&policy).expect_err(&format!("{at}: {error}"));
        assert_eq!(pointers(&diagnostics, Severity::Error), [found], "{at}: {error}: {diagnostics:#?}");
    }
}

#[test]
fn a_budget_over_another_period_is_not_compared() {
    let mut policy = valid_policy();
    policy["teams"]["search"]["budget"] = json!({"max": "1000", "period": "lifetime"});
    assert!(load(&policy).is_ok());
}

#[test]
fn a_group_without_targets_is_a_warning() {
    let mut policy = valid_policy();
    policy["organizations"]["acme"]["access"]["access_groups"] = json!(["basic", "future"]);
    let (_, warnings) = load(&policy).unwrap();
    assert_eq!(pointers(&warnings, Severity::Warning), ["/organizations/acme/access/access_groups/1"]);
}

#[test]
fn a_malformed_digest_is_not_repeated_in_a_message() {
    let mut policy = valid_policy();
    policy["keys"]["one"]["digest"] = json!("sk-tg-demo-verysecret");
    let diagnostics = load(&policy).unwrap_err();
    assert_eq!(pointers(&diagnostics, Severity::Error), ["/keys/one/digest"]);
    let text = diagnostics.iter().map(ToString::to_string).collect::<String>();
    assert!(!text.contains("verysecret"), "{text}");
}

#[test]
fn a_key_in_place_of_a_name_is_redacted_in_messages() {
    let key = "sk-tg-demo-verysecret";
    let mut policy = valid_policy();
    policy["organizations"]["acme"]["access"]["targets"] = json!([key]);
    policy["teams"][key] = json!({});
    let diagnostics = load(&policy).unwrap_err();
    let text = diagnostics.iter().map(ToString::to_string).collect::<String>();
    assert!(text.contains("no target `sk-tg-demo-…`") && text.contains("/teams/sk-tg-demo-…"), "{text}");
    assert!(!text.contains("verysecret"), "{text}");
}

#[test]
fn a_duplicate_key_is_an_error_at_every_level() {
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
        let diagnostics = loader.finish().expect_err(text);
        assert_eq!(pointers(&diagnostics, Severity::Error), [place], "{text}");
    }
}

#[test]
fn a_route_to_a_target_that_does_not_exist_is_an_error() {
    let mut loader = config::ConfigLoader::default();
    loader
        .push(br#"{"routes": [{"path": "/a", "target": "gone"}, {"path": "b"}], "policy": {"version": 1}}"#);
    let diagnostics = loader.finish().unwrap_err();
    assert_eq!(pointers(&diagnostics, Severity::Error), ["/routes/0/target", "/routes/1/path"]);
}

/// Returns the errors of a policy document as text.
fn errors(text: &str) -> Vec<String> {
    let mut loader = PolicyLoader::default();
    loader.push(text.as_bytes());
    loader.finish().expect_err(text).iter().map(ToString::to_string).collect()
}

/// Returns the errors of a gateway configuration as text.
fn gateway_errors(text: &str) -> Vec<String> {
    let mut loader = config::ConfigLoader::default();
    loader.push(text.as_bytes());
    loader.finish().expect_err(text).iter().map(ToString::to_string).collect()
}

#[test]
fn an_invalid_credential_or_api_is_reported_once() {
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
    // Methods are case-sensitive: this one would never match.
    assert_eq!(
        pointers(r#""routes": [{"path": "/x", "public": true, "methods": ["GET", "post", ""]}]"#),
        ["error /routes/0/methods/1", "error /routes/0/methods/2"]
    );
    assert_eq!(pointers(r#""routes": [{"path": "/x"}]"#), ["error /routes/0"]);
}

#[test]
fn a_missing_version_is_reported_beside_other_errors() {
    let missing = "error (document): `version` is missing";
    let wrong = "error /unpriced: expected `deny` or `allow`, found \"perhaps\"";
    assert_eq!(errors(r#"{"unpriced": "perhaps"}"#), [wrong, missing]);
    assert_eq!(errors("{}"), [missing]);
    // An invalid version is not missing, and a value that is not an object has no fields.
    assert_eq!(errors(r#"{"version": 2}"#).len(), 1);
    assert_eq!(errors("[]").len(), 1);
    // The missing rest of a truncated document is not reported.
    let cut = errors(r#"{"keys": {"k": {"team": "later", "digest": 1}}, "teams": {"#);
    assert_eq!(cut.len(), 2, "{cut:#?}");
    assert!(cut[0].contains("/keys/k/digest") && !cut.concat().contains("missing"), "{cut:#?}");
}

#[test]
fn missing_fields_of_a_gateway_are_reported_beside_other_errors() {
    let mode = "error /mode: expected `enforce` or `shadow`, found \"loose\"";
    let version = "error /policy: `version` is missing";
    assert_eq!(gateway_errors(r#"{"mode": "loose"}"#), [mode, "error (document): `policy` is missing"]);
    assert_eq!(gateway_errors(r#"{"mode": "loose", "policy": {}}"#), [mode, version]);
    assert_eq!(gateway_errors(r#"{"policy": {}}"#), [version]);
    assert_eq!(gateway_errors(r#"{"policy": 1}"#).len(), 1);
    assert_eq!(gateway_errors("1").len(), 1);
}

#[test]
fn an_unreadable_record_is_not_reported_as_missing() {
    let mut policy = valid_policy();
    policy["teams"]["search"]["organization"] = json!("no id");
    policy["service_accounts"]["ci"]["team"] = json!(5);
    policy["targets"]["large"] = json!("dear");
    policy["users"]["alice"] = json!([]);
    policy["organizations"]["acme"]["access"]["targets"] = json!(["large", "gone"]);
    policy["organizations"]["acme"]["target_limits"] = json!({"large": {"rpm": 1}});
    let diagnostics = load(&policy).unwrap_err();
    assert_eq!(
        pointers(&diagnostics, Severity::Error),
        [
            "/organizations/acme/access/targets/1",
            "/service_accounts/ci/team",
            "/targets/large",
            "/teams/search/organization",
            "/users/alice",
        ],
        "{diagnostics:#?}"
    );
    let configuration = json!({
        "routes": [{"path": "/a", "target": "large"}],
        "policy": {"version": 1, "targets": {"large": "dear"}},
    });
    let errors = gateway_errors(&configuration.to_string());
    assert!(errors.len() == 1 && errors[0].starts_with("error /policy/targets/large: "), "{errors:#?}");
}

/// One error each, in a value that others depend on.
#[test]
fn an_error_is_not_repeated_for_values_that_depend_on_it() {
    for (at, error, found) in [
        ("/organizations/acme/members/bob", json!("boss"), "/organizations/acme/members/bob"),
        ("/teams/search/members/bob", json!("boss"), "/teams/search/members/bob"),
        ("/teams/search/access", json!({"mode": "some", "targets": ["small"]}), "/teams/search/access/mode"),
        ("/teams/search/access", json!({"targets": ["small"]}), "/teams/search/access"),
        ("/teams/search/budget", json!({"max": "500", "period": "fortnight"}), "/teams/search/budget/period"),
    ] {
        let mut policy = valid_policy();
        policy["organizations"]["acme"]["budget"] = json!({"max": "100"});
        let (object, name) = at.rsplit_once('/').unwrap();
        policy.pointer_mut(object).unwrap()[name] = error;
        let diagnostics = load(&policy).unwrap_err();
        assert_eq!(pointers(&diagnostics, Severity::Error), [found], "{diagnostics:#?}");
    }
}
