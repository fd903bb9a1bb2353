//! A reference model of access: sets, built level by level. With a generator of random policies.

use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::{btree_map, btree_set};
use proptest::option;
use proptest::prelude::*;
use serde_json::{Value, json};

pub type Names = BTreeSet<String>;

/// A selection of targets and groups.
#[derive(Clone, Debug)]
pub struct Choice {
    pub targets: Names,
    pub groups: Names,
}

#[derive(Clone, Debug)]
pub struct World {
    pub catalogue: BTreeMap<String, Names>,
    pub everything: bool,
    pub organization: Choice,
    pub team: Option<Choice>,
    pub user: Option<Choice>,
    pub key: Option<Choice>,
}

impl World {
    pub fn members(&self, choice: &Choice) -> Names {
        let carries = |groups: &Names| !groups.is_disjoint(&choice.groups);
        let chosen = |(name, groups): &(&String, &Names)| choice.targets.contains(*name) || carries(groups);
        self.catalogue.iter().filter(chosen).map(|(name, _)| name.clone()).collect()
    }

    /// Returns the effective access of the organization, of the team, and of the key with its user.
    pub fn effective(&self) -> [Names; 3] {
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

    pub fn document(&self) -> Value {
        let scope = |choice: &Option<Choice>| match choice {
            Some(c) => json!({"mode": "restrict", "targets": c.targets, "access_groups": c.groups}),
            None => json!({"mode": "inherit"}),
        };
        let targets: BTreeMap<_, _> =
            self.catalogue.iter().map(|(name, groups)| (name, json!({"access_groups": groups}))).collect();
        let granted = if self.everything { json!(["*"]) } else { json!(self.organization.targets) };
        json!({
            "version": 1,
            // Keys come before the records that they name.
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

pub fn group() -> impl Strategy<Value = String> {
    "g[0-3]"
}

pub fn worlds() -> impl Strategy<Value = World> {
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
