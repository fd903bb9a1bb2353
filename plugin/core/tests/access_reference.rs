//! Effective access, compared with a reference model that builds the sets of the definition.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

#[path = "support/access.rs"]
mod access;

use access::{Choice, Names, group, worlds};
use proptest::prelude::*;
use serde_json::Value;
use tollgate_core::policy::access::AccessChain;
use tollgate_core::policy::{Owner, Policy, PolicyLoader, UserId};

fn load(document: &Value) -> Policy {
    let mut loader = PolicyLoader::default();
    loader.push(document.to_string().as_bytes());
    loader.finish().unwrap_or_else(|diagnostics| panic!("{document}: {diagnostics:?}")).0
}

fn effective(policy: &Policy) -> [Names; 2] {
    let (_, _, key) = policy.keys.iter().next().unwrap();
    let team = policy.teams.get(key.team.0).unwrap();
    let organization = policy.organizations.get(team.organization.0).unwrap();
    let Owner::User(UserId(user)) = key.owner else { panic!("the key has no user") };
    let names = |levels: AccessChain| levels.targets(policy).map(|(_, t)| t.name.to_string()).collect();
    [
        names(AccessChain::of_team(organization, team)),
        names(AccessChain::new(organization, team, key, policy.users.get(user))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn effective_access_equals_the_reference_model(world in worlds()) {
        let [_, team, key] = world.effective();
        prop_assert_eq!(effective(&load(&world.document())), [team, key]);
    }

    #[test]
    fn access_never_grows_from_level_to_level(world in worlds()) {
        let [team, key] = effective(&load(&world.document()));
        let [organization, ..] = world.effective();
        prop_assert!(key.is_subset(&team) && team.is_subset(&organization));
    }

    #[test]
    fn a_group_removed_from_the_organization_is_removed_below(mut world in worlds(), taken in group()) {
        world.everything = false;
        world.organization.groups.remove(&taken);
        let [team, key] = effective(&load(&world.document()));
        let granted = world.members(&world.organization);
        prop_assert!(team.is_subset(&granted) && key.is_subset(&granted));
    }

    #[test]
    fn restrict_without_a_selection_allows_nothing(mut world in worlds(), level in 0..3) {
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
