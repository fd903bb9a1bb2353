//! The access preview agrees with the decisions on calls.

use std::collections::BTreeSet;

use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_core::policy::access::AccessChain;

use super::world::{World, policy};

const TARGETS: [&str; 6] = ["t0", "t1", "t2", "t3", "t4", "t5"];
const GROUPS: [&str; 4] = ["g0", "g1", "g2", "g3"];

fn some(of: &'static [&'static str]) -> impl Strategy<Value = Vec<&'static str>> {
    proptest::sample::subsequence(of, 0..=of.len())
}

/// The groups of each target.
fn catalogue() -> impl Strategy<Value = Vec<Vec<&'static str>>> {
    proptest::collection::vec(some(&GROUPS), TARGETS.len())
}

#[derive(Debug, Clone)]
struct Case {
    carried: Vec<Vec<&'static str>>,
    all: bool,
    granted: (Vec<&'static str>, Vec<&'static str>),
    selected: Option<(Vec<&'static str>, Vec<&'static str>)>,
}

fn cases() -> impl Strategy<Value = Case> {
    let granted = (some(&TARGETS), some(&GROUPS));
    let selected = proptest::option::of((some(&TARGETS), some(&GROUPS)));
    (catalogue(), proptest::bool::weighted(0.2), granted, selected)
        .prop_map(|(carried, all, granted, selected)| Case { carried, all, granted, selected })
}

fn world(case: &Case) -> World {
    let mut policy = policy();
    policy["targets"] = TARGETS
        .iter()
        .zip(&case.carried)
        .map(|(name, groups)| (name.to_string(), json!({ "access_groups": groups })))
        .collect();
    for organization in ["acme", "globex"] {
        let mut targets = case.granted.0.clone();
        if case.all {
            targets.push("*");
        }
        policy["organizations"][organization]["access"] =
            json!({ "targets": targets, "access_groups": case.granted.1 });
    }
    if let Some((targets, groups)) = &case.selected {
        policy["teams"]["search"]["access"] =
            json!({ "mode": "restrict", "targets": targets, "access_groups": groups });
    }
    World::of(policy)
}

/// The specification in terms of sets: the organization's targets and members of its groups, intersected with the
/// team's selection if it restricts.
fn expected(case: &Case) -> BTreeSet<&'static str> {
    let has = |selection: &(Vec<&str>, Vec<&str>), at: usize| {
        selection.0.contains(&TARGETS[at]) || case.carried[at].iter().any(|group| selection.1.contains(group))
    };
    (0..TARGETS.len())
        .filter(|at| case.all || has(&case.granted, *at))
        .filter(|at| case.selected.as_ref().is_none_or(|selected| has(selected, *at)))
        .map(|at| TARGETS[at])
        .collect()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]
    #[test]
    fn the_preview_agrees_with_access_decisions(case in cases()) {
        let mut world = world(&case);
        let shown = world.get("viewer", "/teams/search/access").body;
        let lines = shown["preview"].as_array().unwrap();
        prop_assert_eq!(lines.len(), TARGETS.len());
        let effective: BTreeSet<&str> = lines
            .iter()
            .filter(|line| line["effective"] == true)
            .map(|line| line["target"].as_str().unwrap())
            .collect();
        prop_assert_eq!(&effective, &expected(&case));

        let policy = world.policy.read();
        let team = policy.teams.get(policy.teams.find("search").unwrap()).unwrap();
        let organization = policy.organizations.get(team.organization.0).unwrap();
        let called: BTreeSet<&str> =
            AccessChain::of_team(organization, team).targets(&policy).map(|(_, target)| &*target.name).collect();
        prop_assert_eq!(effective, called);

        for line in lines {
            // Effective means selected and available; otherwise the entry names the level that rejects.
            let both = !line["selected"].is_null() && !line["available"].is_null();
            prop_assert_eq!(line["effective"].as_bool().unwrap(), both, "{}", line);
            prop_assert_eq!(line["refused_by"].is_null(), both, "{}", line);
            prop_assert!(!line["reason"].as_str().unwrap().is_empty());
        }
    }
}

#[test]
fn each_entry_has_its_reason() {
    let mut policy = policy();
    policy["teams"]["search"]["access"] = json!({ "mode": "restrict", "access_groups": ["basic"] });
    let shown = World::of(policy).get("viewer", "/teams/search/access").body;
    assert_eq!(
        shown["preview"],
        json!([
            {
                "target": "large", "selected": null, "available": "name", "effective": false, "refused_by": "team",
                "reason": "team `search` restricts its access and has not selected it",
            },
            {
                "target": "secret", "selected": null, "available": null, "effective": false,
                "refused_by": "organization", "reason": "organization `acme` does not grant it",
            },
            {
                "target": "small", "selected": "group:basic", "available": "group:basic", "effective": true,
                "refused_by": null, "reason": "granted by organization `acme` through group `basic`",
            },
        ])
    );
    assert_eq!(shown["mode"], "restrict");
    assert_eq!(shown["inert"], json!({ "targets": [], "access_groups": [] }));
}

#[test]
fn the_response_to_a_change_contains_the_new_preview() {
    let mut world = World::new();
    let put = world.send("team-admin", "PUT", "/teams/search/access", json!({ "mode": "restrict" }));
    assert_eq!(put.status, 200);
    let effective = |shown: &Value| {
        shown["preview"].as_array().unwrap().iter().filter(|line| line["effective"] == true).count()
    };
    assert_eq!(effective(&put.body), 0, "restrict with nothing selected is nothing");
    let read = world.get("team-admin", "/teams/search/access");
    assert_eq!(read.body, put.body);
    assert_eq!(read.field("etag"), put.field("etag"));
    let put = world.send("team-admin", "PUT", "/teams/search/access", json!({ "mode": "inherit" }));
    assert_eq!(effective(&put.body), 2);
}
