//! Effective access against a model that builds the sets as the definition says.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_core::policy::access::Levels;
use tollgate_core::policy::{Loader, Owner, Policy, UserIx};

type Names = BTreeSet<String>;

/// What somebody selects: targets and groups.
#[derive(Clone, Debug)]
struct Choice {
    targets: Names,
    groups: Names,
}

#[derive(Clone, Debug)]
struct World {
    catalogue: BTreeMap<String, Names>,
    everything: bool,
    organization: Choice,
    team: Option<Choice>,
    user: Option<Choice>,
    key: Option<Choice>,
}

impl World {
    fn members(&self, choice: &Choice) -> Names {
        let carries = |groups: &Names| !groups.is_disjoint(&choice.groups);
        let chosen = |(name, groups): &(&String, &Names)| choice.targets.contains(*name) || carries(groups);
        self.catalogue.iter().filter(chosen).map(|(name, _)| name.clone()).collect()
    }

    /// The definition, level by level: the organization's, the team's, then the user's and the key's.
    fn effective(&self) -> [Names; 3] {
        let all = self.catalogue.keys().cloned().collect();
        let organization = if self.everything { all } else { self.members(&self.organization) };
        let narrow = |set: &Names, choice: &Option<Choice>| match choice {
            Some(choice) => set & &self.members(choice),
            None => set.clone(),
        };
        let team = narrow(&organization, &self.team);
        let key = narrow(&narrow(&team, &self.user), &self.key);
        [organization, team, key]
    }

    fn document(&self) -> Value {
        let scope = |choice: &Option<Choice>| match choice {
            Some(c) => json!({"mode": "restrict", "targets": c.targets, "access_groups": c.groups}),
            None => json!({"mode": "inherit"}),
        };
        let targets: BTreeMap<_, _> =
            self.catalogue.iter().map(|(name, groups)| (name, json!({"access_groups": groups}))).collect();
        let granted = if self.everything { json!(["*"]) } else { json!(self.organization.targets) };
        json!({
            "version": 1,
            // Keys before all that they name.
            "keys": {"k": {"team": "t", "owner": "user/u", "access": scope(&self.key),
                           "digest": format!("sha256:{}", "ab".repeat(32))}},
            "teams": {"t": {"organization": "o", "name": "T", "access": scope(&self.team),
                            "members": {"u": "team_developer"}}},
            "users": {"u": {"name": "U", "access": scope(&self.user)}},
            "organizations": {"o": {"name": "O", "members": {"u": "org_member"},
                              "access": {"targets": granted, "access_groups": self.organization.groups}}},
            "targets": targets,
        })
    }
}

fn load(document: &Value) -> Policy {
    let mut loader = Loader::default();
    loader.push(document.to_string().as_bytes());
    loader.finish().unwrap_or_else(|findings| panic!("{document}: {findings:?}")).0
}

fn effective(policy: &Policy) -> [Names; 2] {
    let (_, _, key) = policy.keys.iter().next().unwrap();
    let team = policy.teams.get(key.team.0).unwrap();
    let organization = policy.organizations.get(team.organization.0).unwrap();
    let Owner::User(UserIx(user)) = key.owner else { panic!("the key has no user") };
    let names = |levels: Levels| levels.targets(policy).map(|(_, t)| t.name.to_string()).collect();
    [
        names(Levels::of_team(organization, team)),
        names(Levels::new(organization, team, key, policy.users.get(user))),
    ]
}

fn group() -> impl Strategy<Value = String> {
    "g[0-3]"
}

fn worlds() -> impl Strategy<Value = World> {
    let catalogue = btree_map("t[0-7]", btree_set(group(), 0..3), 1..8);
    catalogue.prop_flat_map(|catalogue| {
        let names: Vec<String> = catalogue.keys().cloned().collect();
        let choice = move || {
            let some = proptest::sample::subsequence(names.clone(), 0..=names.len());
            (some, btree_set(group(), 0..3))
                .prop_map(|(targets, groups)| Choice { targets: targets.into_iter().collect(), groups })
        };
        let restricted = || option::weighted(0.6, choice());
        (proptest::bool::weighted(0.2), choice(), restricted(), restricted(), restricted()).prop_map(
            move |(everything, organization, team, user, key)| World {
                catalogue: catalogue.clone(),
                everything,
                organization,
                team,
                user,
                key,
            },
        )
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn effective_access_is_what_the_definition_says(world in worlds()) {
        let [_, team, key] = world.effective();
        prop_assert_eq!(effective(&load(&world.document())), [team, key]);
    }

    #[test]
    fn it_only_shrinks_on_the_way_down(world in worlds()) {
        let [team, key] = effective(&load(&world.document()));
        let [organization, ..] = world.effective();
        prop_assert!(key.is_subset(&team) && team.is_subset(&organization));
    }

    #[test]
    fn a_group_taken_from_the_organization_is_gone_below(mut world in worlds(), taken in group()) {
        world.everything = false;
        world.organization.groups.remove(&taken);
        let [team, key] = effective(&load(&world.document()));
        let granted = world.members(&world.organization);
        prop_assert!(team.is_subset(&granted) && key.is_subset(&granted));
    }

    #[test]
    fn restrict_with_nothing_selected_is_nothing(mut world in worlds(), level in 0..3) {
        let nothing = Some(Choice { targets: Names::new(), groups: Names::new() });
        match level {
            0 => world.team = nothing,
            1 => world.user = nothing,
            _ => world.key = nothing,
        }
        let [_, key] = effective(&load(&world.document()));
        prop_assert!(key.is_empty());
    }
}
