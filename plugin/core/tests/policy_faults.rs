//! A record with several faults: each of them is reported, in a document and for a change.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_core::policy::{Change, Diagnostic, PolicyLoader, Section, Severity};

fn digest(n: u8) -> String {
    format!("sha256:{}", format!("{n:02x}").repeat(32))
}

/// Returns a valid policy with one record of each kind to break.
fn valid() -> Value {
    json!({
        "version": 1,
        "targets": {"small": {"access_groups": ["basic"], "price": {"input": "1", "output": "2"}}, "large": {}},
        "organizations": {"acme": {
            "name": "Acme", "access": {"targets": ["small", "large"]},
            "limits": {"rpm": 100, "rpd": 1000}, "budget": {"max": "100", "period": "month"},
            "target_limits": {"small": {"rpm": 50}},
            "members": {"alice": "org_owner", "bob": "org_member"},
        }},
        "teams": {"search": {
            "organization": "acme", "name": "Search", "access": {"mode": "restrict", "targets": ["small"]},
            "limits": {"rpm": 50}, "member_limits": {"rpm": 20}, "members": {"bob": "team_developer"},
        }},
        "users": {
            "alice": {"name": "Alice", "tokens": [digest(8), digest(9)]},
            "bob": {"name": "Bob", "access": {"mode": "restrict", "targets": ["small"]}, "limits": {"rph": 10}},
        },
        "service_accounts": {"ci": {"team": "search", "name": "CI"}},
        "keys": {
            "one": {
                "team": "search", "owner": "user/bob", "digest": digest(1), "name": "Laptop",
                "access": {"mode": "restrict", "targets": ["small"]}, "limits": {"rpm": 5, "rph": 5},
                "previous": {"digest": digest(3), "until": "2027-01-01T00:00:00Z"},
            },
            "two": {"team": "search", "owner": "service_account/ci", "digest": digest(2)},
        },
    })
}

/// A fault: the member to set (`null` removes it), and the pointer of its diagnostic.
type Fault = (&'static str, Value, &'static str);

/// Returns faults of which any selection can be in a document at once. They name different members.
fn faults() -> Vec<Fault> {
    vec![
        ("/targets/small/price/input", json!("-1"), "/targets/small/price/input"),
        ("/targets/small/max_input_tokens", json!(0), "/targets/small/max_input_tokens"),
        ("/targets/small/surprise", json!(1), "/targets/small/surprise"),
        ("/organizations/acme/name", json!(7), "/organizations/acme/name"),
        (
            "/organizations/acme/access/targets",
            json!(["small", "gone"]),
            "/organizations/acme/access/targets/1",
        ),
        ("/organizations/acme/members/ghost", json!("org_member"), "/organizations/acme/members/ghost"),
        (
            "/organizations/acme/target_limits/gone",
            json!({"rpm": 1}),
            "/organizations/acme/target_limits/gone",
        ),
        ("/organizations/acme/budget/period", json!("fortnight"), "/organizations/acme/budget/period"),
        ("/organizations/acme/limits/tpm", json!(-1), "/organizations/acme/limits/tpm"),
        ("/teams/search/organization", json!("nowhere"), "/teams/search/organization"),
        ("/teams/search/access/targets", json!(["gone", "small"]), "/teams/search/access/targets/0"),
        ("/teams/search/target_limits", json!({"gone": {"rpm": 1}}), "/teams/search/target_limits/gone"),
        ("/teams/search/members/ghost", json!("team_viewer"), "/teams/search/members/ghost"),
        ("/teams/search/member_limits/rpm", json!(60), "/teams/search/member_limits/rpm"),
        ("/teams/search/state", json!("asleep"), "/teams/search/state"),
        ("/users/bob/access/targets", json!(["gone"]), "/users/bob/access/targets/0"),
        ("/users/bob/name", json!(""), "/users/bob/name"),
        ("/users/alice/tokens", json!([digest(8), "sha256:short"]), "/users/alice/tokens/1"),
        ("/users/alice/role", json!("king"), "/users/alice/role"),
        ("/service_accounts/ci/team", json!("gone"), "/service_accounts/ci/team"),
        ("/service_accounts/ci/name", json!(0), "/service_accounts/ci/name"),
        ("/service_accounts/ci/state", json!(true), "/service_accounts/ci/state"),
        ("/keys/one/digest", json!("sha256:short"), "/keys/one/digest"),
        ("/keys/one/team", json!("gone"), "/keys/one/team"),
        ("/keys/one/access/targets", json!(["gone"]), "/keys/one/access/targets/0"),
        ("/keys/one/limits/rph", json!(11), "/keys/one/limits/rph"),
        ("/keys/one/expires_at", json!("soon"), "/keys/one/expires_at"),
        ("/keys/one/previous/digest", json!("sha256:"), "/keys/one/previous/digest"),
        ("/keys/two/owner", json!("user/ghost"), "/keys/two/owner"),
        ("/keys/two/digest", Value::Null, "/keys/two"),
        ("/keys/two/budget", json!({"max": "-1"}), "/keys/two/budget/max"),
    ]
}

/// Returns faults that leave out, or make unreadable, the names that a record cannot do without.
fn nameless() -> Vec<Fault> {
    vec![
        ("/teams/search/organization", Value::Null, "/teams/search"),
        ("/teams/search/organization", json!(5), "/teams/search/organization"),
        ("/keys/one/team", json!(["search"]), "/keys/one/team"),
        ("/keys/one/team", Value::Null, "/keys/one"),
        ("/service_accounts/ci/team", json!({}), "/service_accounts/ci/team"),
    ]
}

fn break_it(document: &mut Value, (member, value, _): &Fault) {
    let (record, name) = member.rsplit_once('/').unwrap();
    let record = document.pointer_mut(record).unwrap().as_object_mut().unwrap();
    match value {
        Value::Null => drop(record.remove(name)),
        value => drop(record.insert(name.to_owned(), value.clone())),
    }
}

fn errors(diagnostics: &[Diagnostic]) -> Vec<&str> {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    errors.map(|error| error.pointer.as_str()).collect()
}

fn check(document: &Value) -> Vec<Diagnostic> {
    let mut loader = PolicyLoader::default();
    loader.push(document.to_string().as_bytes());
    match loader.finish() {
        Ok((_, warnings)) => warnings,
        Err(diagnostics) => diagnostics,
    }
}

fn assert_reported(chosen: &[Fault], found: &[Diagnostic], context: &Value) {
    let errors = errors(found);
    for (member, _, pointer) in chosen {
        assert!(errors.contains(pointer), "{member}: nothing at {pointer} among {errors:?} of {context}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn each_of_several_faults_is_reported(
        chosen in proptest::sample::subsequence(faults(), 1..=31),
        missing in proptest::option::of(proptest::sample::select(nameless())),
    ) {
        let mut document = valid();
        // A record whose name of another record is unreadable has no other fault in that member.
        let chosen: Vec<Fault> =
            chosen.into_iter().filter(|fault| missing.as_ref().is_none_or(|other| other.0 != fault.0)).collect();
        let all: Vec<Fault> = chosen.into_iter().chain(missing).collect();
        all.iter().for_each(|fault| break_it(&mut document, fault));
        assert_reported(&all, &check(&document), &document);
    }

    #[test]
    fn each_fault_of_a_changed_record_is_reported(chosen in proptest::sample::subsequence(faults(), 1..=31)) {
        let mut loader = PolicyLoader::default();
        loader.push(valid().to_string().as_bytes());
        let (mut policy, _) = loader.finish().unwrap();
        let mut document = valid();
        chosen.iter().for_each(|fault| break_it(&mut document, fault));
        let mut change = Change::default();
        for section in Section::ALL {
            for (id, record) in document[section.name()].as_object().unwrap() {
                change.put(section, id, record.clone());
            }
        }
        let before = policy.fingerprint();
        assert_reported(&chosen, &policy.try_change(&change).unwrap_err(), &document);
        prop_assert_eq!(policy.fingerprint(), before, "the policy is as it was");
    }
}

#[test]
fn a_valid_document_and_single_faults_have_no_further_errors() {
    assert_eq!(errors(&check(&valid())), [""; 0]);
    for fault in faults().into_iter().chain(nameless()) {
        let mut document = valid();
        break_it(&mut document, &fault);
        // A team that moves to another organization, and a key to another team, cause further ones.
        let related = ["/teams/search/organization", "/keys/one/team", "/service_accounts/ci/team"];
        let found = check(&document);
        let found = errors(&found);
        assert!(found.contains(&fault.2), "{fault:?}: {found:?}");
        assert!(found.len() == 1 || related.contains(&fault.0), "{fault:?}: {found:?}");
    }
}

#[test]
fn the_faults_of_a_record_with_an_invalid_id_are_reported_as_well() {
    let mut document = valid();
    document["keys"]["no id!"] = json!({"team": "gone", "owner": "user/ghost", "digest": "md5:1"});
    document["teams"][""] = json!({"organization": "gone", "name": "X", "members": {"ghost": "team_admin"}});
    document["targets"]["a b"] = json!({"max_output_tokens": 0});
    let found = check(&document);
    let mut found = errors(&found);
    found.sort_unstable();
    let expected = [
        "/keys/no id!",
        "/keys/no id!/digest",
        "/keys/no id!/owner",
        "/keys/no id!/team",
        "/targets/a b",
        "/targets/a b/max_output_tokens",
        "/teams/",
        "/teams//members/ghost",
        "/teams//organization",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_key_with_an_unreadable_digest_is_no_key_and_shares_none() {
    let mut document = valid();
    for id in ["one", "two"] {
        document["keys"][id]["digest"] = json!("unreadable");
    }
    assert_eq!(errors(&check(&document)), ["/keys/one/digest", "/keys/two/digest"]);
}

#[test]
fn each_fault_of_a_gateway_configuration_is_reported() {
    let mut loader = tollgate_core::config::ConfigLoader::default();
    let configuration = json!({
        "policy": valid(),
        "credentials": [{"header": 1, "scheme": "no token!"}, {"query": "", "x": 1}],
        "routes": [
            {"path": "no slash", "target": "gone", "methods": ["GET", 5], "public": "yes"},
            {"target": "gone too", "api": "unheard-of", "headers": {"x-y": 1}},
        ],
        "metrics": {"max_teams": 0, "surprise": 1},
        "manage": {"prefix": "tollgate", "jwt": {"claim": ""}},
        "fleet": {"user": "u", "prefix": 4},
        "max_body": "large",
        "mode": "lenient",
    });
    loader.push(configuration.to_string().as_bytes());
    let found = loader.finish().unwrap_err();
    let found = errors(&found);
    for pointer in [
        "/credentials/0/header",
        "/credentials/0/scheme",
        "/credentials/1/query",
        "/credentials/1/x",
        "/routes/0/path",
        "/routes/0/target",
        "/routes/0/methods/1",
        "/routes/0/public",
        "/routes/1",
        "/routes/1/target",
        "/routes/1/api",
        "/routes/1/headers/x-y",
        "/metrics/max_teams",
        "/metrics/surprise",
        "/manage/prefix",
        "/manage/jwt",
        "/manage/jwt/claim",
        "/fleet",
        "/fleet/prefix",
        "/max_body",
        "/mode",
    ] {
        assert!(found.contains(&pointer), "nothing at {pointer} among {found:?}");
    }
}
