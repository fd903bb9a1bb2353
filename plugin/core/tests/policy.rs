//! Documents: every mistake at once with its place; access against a naive reading.

#![allow(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test may fail so"
)]

use proptest::prelude::*;
use tollgate_core::gateway;
use tollgate_core::policy::access::Levels;
use tollgate_core::policy::{Finding, Loader, Policy, Severity};
use tollgate_core::time::Now;

fn load(text: &str) -> Result<(Policy, Vec<Finding>), Vec<Finding>> {
    let mut loader = Loader::default();
    loader.push(text.as_bytes());
    let whole = loader.finish();
    for size in [1, 7, 64] {
        let mut loader = Loader::default();
        text.as_bytes().chunks(size).for_each(|piece| loader.push(piece));
        let (a, b) = (loader.finish().map(|loaded| loaded.1), whole.as_ref().map(|loaded| &loaded.1));
        assert_eq!(
            a.as_ref(),
            b.as_ref().map(|warnings| *warnings).map_err(|findings| *findings),
            "in pieces of {size}"
        );
    }
    whole
}

const DIGEST: &str = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

#[test]
fn ten_mistakes_are_ten_findings_with_ten_places() {
    let text = format!(
        r#"{{
        "version": 1,
        "keys": {{
            "k1": {{"team": "nowhere", "digest": "{DIGEST}"}},
            "k2": {{"team": "search", "digest": "{DIGEST}", "models": ["gpt-5"]}},
            "k3": {{"team": "search", "digest": "not a digest"}}
        }},
        "teams": {{
            "search": {{
                "organization": "acme", "name": "Search",
                "limits": {{"rpm": 700, "rph": 0}},
                "access": {{"mode": "restrict", "targets": ["gpt-5", "claude"]}},
                "members": {{"alice": "team_admin"}}
            }},
            "lab": {{"organization": "acme", "name": "Lab", "access": {{"mode": "inherit", "targets": ["gpt-5"]}}}}
        }},
        "users": {{"alice": {{"name": "Alice"}}}},
        "organizations": {{
            "acme": {{"name": "Acme", "access": {{"targets": ["gpt-5"]}}, "limits": {{"rpm": 600}}, "budget": {{"max": 5}}}}
        }},
        "targets": {{
            "gpt-5": {{"price": {{"input": "1.0000001", "output": "1"}}}},
            "claude": {{}}
        }}
    }}"#
    );
    let findings = load(&text).unwrap_err();
    let mut places: Vec<(Severity, &str)> =
        findings.iter().map(|finding| (finding.severity, finding.pointer.as_str())).collect();
    places.sort_unstable();
    let mut expected = [
        (Severity::Error, "/keys/k1/team"),
        (Severity::Error, "/keys/k2/digest"),
        (Severity::Error, "/keys/k2/models"),
        (Severity::Error, "/keys/k3/digest"),
        (Severity::Error, "/organizations/acme/budget/max"),
        (Severity::Error, "/targets/gpt-5/price/input"),
        (Severity::Error, "/teams/lab/access"),
        (Severity::Error, "/teams/search/limits/rph"),
        (Severity::Error, "/teams/search/limits/rpm"),
        (Severity::Error, "/teams/search/members/alice"),
        (Severity::Warning, "/teams/search/access/targets/1"),
    ];
    expected.sort_unstable();
    assert_eq!(places, expected, "{findings:#?}");
    let words =
        |pointer: &str| findings.iter().find(|finding| finding.pointer == pointer).unwrap().to_string();
    assert_eq!(
        words("/teams/search/limits/rpm"),
        "error /teams/search/limits/rpm: rpm of 700 is above the 600 of its organization `acme`: lower it, or raise that"
    );
    assert!(words("/keys/k2/models").contains("`access`"));
    assert!(!words("/keys/k3/digest").contains("not a digest"), "what stands there may be a secret");
}

#[test]
fn names_that_stand_twice_are_found_at_every_level() {
    let places = |text: &str| -> Vec<String> {
        load(text).map(|_| ()).unwrap_err().into_iter().map(|finding| finding.pointer).collect()
    };
    assert_eq!(places(r#"{"version": 1, "version": 1}"#), ["/version"]);
    assert_eq!(places(r#"{"version": 1, "targets": {"a": {}, "\u0061": {}}}"#), ["/targets/a"]);
    assert_eq!(places(r#"{"version": 1, "targets": {}, "targets": {}}"#), ["/targets"]);
    assert_eq!(
        places(r#"{"version": 1, "targets": {"a/b": {"max_input_tokens": 1, "max_input_tokens": 2}}}"#),
        ["/targets/a~1b/max_input_tokens"]
    );
    assert_eq!(places(r#"{"version": 1, "target": {}}"#), ["/target"]);
    assert_eq!(places("{}"), [""]);
    assert_eq!(places("[]").len(), 1);
    assert_eq!(places("{\"version\": 1}}").len(), 1);
}

#[test]
fn a_route_to_a_target_that_does_not_exist_is_an_error() {
    let mut loader = gateway::Loader::default();
    loader.push(br#"{"routes": [{"path": "/a", "target": "gone"}, {"path": "b"}], "policy": {"version": 1}, "polici": 1}"#);
    let findings = loader.finish().map(|_| ()).unwrap_err();
    let places: Vec<&str> = findings.iter().map(|finding| finding.pointer.as_str()).collect();
    assert_eq!(places, ["/routes/1/path", "/polici", "/routes/0/target"]);
}

/// A random policy, as plain lists: groups of each target; what is selected at each level.
#[derive(Clone, Debug)]
struct Plain {
    targets: Vec<Vec<usize>>,
    organization: Chosen,
    narrower: [Option<Chosen>; 3],
}

#[derive(Clone, Debug)]
struct Chosen {
    all: bool,
    targets: Vec<usize>,
    groups: Vec<usize>,
}

impl Chosen {
    fn has(&self, target: usize, groups: &[usize]) -> bool {
        self.all || self.targets.contains(&target) || groups.iter().any(|group| self.groups.contains(group))
    }

    fn json(&self, mode: Option<&str>) -> serde_json::Value {
        let mut targets: Vec<String> = self.targets.iter().map(|target| format!("t{target}")).collect();
        targets.extend(self.all.then(|| "*".to_string()));
        let groups: Vec<String> = self.groups.iter().map(|group| format!("g{group}")).collect();
        match mode {
            Some(mode) => serde_json::json!({ "mode": mode, "targets": targets, "access_groups": groups }),
            None => serde_json::json!({ "targets": targets, "access_groups": groups }),
        }
    }
}

impl Plain {
    fn reference(&self, levels: usize) -> Vec<usize> {
        (0..self.targets.len())
            .filter(|target| {
                let groups = &self.targets[*target];
                self.organization.has(*target, groups)
                    && self.narrower[..levels].iter().flatten().all(|chosen| chosen.has(*target, groups))
            })
            .collect()
    }

    fn json(&self) -> String {
        let targets: serde_json::Map<String, serde_json::Value> = self
            .targets
            .iter()
            .enumerate()
            .map(|(target, groups)| {
                let groups: Vec<String> = groups.iter().map(|group| format!("g{group}")).collect();
                (format!("t{target}"), serde_json::json!({ "access_groups": groups }))
            })
            .collect();
        let access = |level: &Option<Chosen>| match level {
            Some(chosen) => chosen.json(Some("restrict")),
            None => serde_json::json!({ "mode": "inherit" }),
        };
        let [team, key, user] = &self.narrower;
        serde_json::json!({
            "version": 1,
            "targets": targets,
            "organizations": { "o": { "name": "O", "access": self.organization.json(None), "members": { "u": "org_member" } } },
            "teams": { "t": { "organization": "o", "name": "T", "access": access(team), "members": { "u": "team_viewer" } } },
            "users": { "u": { "name": "U", "access": access(user) } },
            "keys": { "k": { "team": "t", "owner": "user/u", "digest": DIGEST, "access": access(key) } },
        })
        .to_string()
    }
}

fn chosen(all: bool) -> impl Strategy<Value = Chosen> {
    let lists = (proptest::collection::vec(0_usize..8, 0..4), proptest::collection::vec(0_usize..5, 0..3));
    (any::<bool>(), lists).prop_map(move |(star, (targets, groups))| Chosen {
        all: all && star,
        targets,
        groups,
    })
}

fn plain() -> impl Strategy<Value = Plain> {
    let targets = proptest::collection::vec(proptest::collection::vec(0_usize..5, 0..3), 8);
    let level = || proptest::option::of(chosen(false));
    (targets, chosen(true), [level(), level(), level()]).prop_map(|(targets, organization, narrower)| Plain {
        targets,
        organization,
        narrower,
    })
}

proptest! {
    #[test]
    fn effective_access_is_the_naive_intersection_and_only_shrinks(plain in plain()) {
        let (policy, _) = load(&plain.json()).unwrap();
        let organization = policy.organizations.get(0).unwrap();
        let (team, key, user) = (policy.teams.get(0).unwrap(), policy.keys.get(0).unwrap(), policy.users.get(0));
        let names = |levels: Levels<'_>| -> Vec<usize> {
            let mut found: Vec<usize> =
                levels.targets(&policy).map(|(_, target)| target.name[1..].parse().unwrap()).collect();
            found.sort_unstable();
            found
        };
        let full = names(Levels::new(organization, team, key, user));
        prop_assert_eq!(&full, &plain.reference(3));
        let of_team = names(Levels::of_team(organization, team));
        prop_assert_eq!(&of_team, &plain.reference(1));
        prop_assert!(full.iter().all(|target| of_team.contains(target)));

        // A group taken away from the organization is gone everywhere at once.
        let mut without = plain.clone();
        without.organization.groups.clear();
        let (policy, _) = load(&without.json()).unwrap();
        let levels = Levels::new(
            policy.organizations.get(0).unwrap(), policy.teams.get(0).unwrap(), policy.keys.get(0).unwrap(), policy.users.get(0),
        );
        prop_assert!(levels.targets(&policy).all(|(_, target)| full.contains(&target.name[1..].parse().unwrap())));
        prop_assert_eq!(levels.targets(&policy).count(), without.reference(3).len());
    }
}

#[test]
fn explain_says_what_the_gate_decides() {
    let mut loader = gateway::Loader::default();
    let demo = include_str!("../../../policies/demo.json");
    loader.push(format!(r#"{{"policy": {demo}}}"#).as_bytes());
    let (gateway, _) = loader.finish().unwrap();
    let now = Now { wall: 1_795_000_000_000_000_000, monotonic: 0 };
    let readme = include_str!("../../../policies/README.md");
    for key in readme.split('`').filter(|word| word.starts_with("sk-tg-demo")) {
        let identity = tollgate_core::identity::identify(&gateway.policy, key, now);
        for (ix, name, target) in gateway.policy.targets.iter() {
            let steps = tollgate_core::explain::explain(&gateway, key, name, now);
            let granted = identity.as_ref().is_ok_and(|identity| {
                identity.levels().reach(tollgate_core::policy::TargetIx(ix), target).is_granted()
            });
            assert_eq!(steps.iter().all(|step| step.passes), granted, "{key} {name}: {steps:?}");
        }
    }
}

#[test]
fn mutated_documents_never_panic() {
    let demo = include_bytes!("../../../policies/demo.json");
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = |most: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % most as u64) as usize
    };
    for _ in 0..2_000 {
        let mut bytes = demo.to_vec();
        for _ in 0..=random(4) {
            let at = random(bytes.len());
            match random(3) {
                0 => bytes[at] = random(256) as u8,
                1 => drop(bytes.remove(at)),
                _ => bytes.insert(at, b"{}[],:\"0"[random(8)]),
            }
        }
        let mut loader = Loader::default();
        loader.push(&bytes);
        let _ = loader.finish();
    }
}
