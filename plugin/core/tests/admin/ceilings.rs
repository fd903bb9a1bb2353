//! Ceilings that administrators of an organization set for a team.

use serde_json::{Value, json};
use tollgate_core::policy::PolicyLoader;
use tollgate_core::policy::access::AccessChain;
use tollgate_core::quota::Window;

use super::random::Random;
use super::world::{World, policy};

const TEAM: &str = "/teams/search";

fn with_ceiling(ceiling: &Value) -> World {
    let mut world = World::new();
    let set = world.send("org-admin", "PATCH", TEAM, json!({ "ceiling": ceiling }));
    assert_eq!(set.status, 200, "{}", set.body);
    world
}

#[test]
fn a_team_admin_moves_within_the_ceiling_down_and_up_again() {
    let mut world = with_ceiling(&json!({
        "limits": { "rpm": 80, "rpd": 5000 }, "budget": { "max": "50.00", "period": "month" },
    }));
    for (limits, pointer) in [
        (json!({ "rpm": 10 }), None),
        (json!({ "rpm": 80, "rpd": 5000 }), None),
        (json!({ "rpm": 81 }), Some("/limits/rpm")),
        (json!({ "rpm": null, "rpd": null }), None),
        (json!({ "rpd": 5001 }), Some("/limits/rpd")),
        (json!({ "tpm": 1000 }), None),
    ] {
        let answer = world.send("team-admin", "PATCH", TEAM, json!({ "limits": limits }));
        match pointer {
            None => assert_eq!(answer.status, 200, "{limits}: {}", answer.body),
            Some(pointer) => {
                assert_eq!((answer.status, answer.code()), (400, "above_ceiling"), "{limits}");
                assert_eq!(answer.pointers(), [pointer]);
            }
        }
    }
    let above =
        world.send("owner", "PATCH", TEAM, json!({ "budget": { "max": "50.01", "period": "month" } }));
    assert_eq!((above.status, above.code(), above.pointers()), (400, "above_ceiling", vec!["/budget/max"]));
    let other =
        world.send("team-admin", "PATCH", TEAM, json!({ "budget": { "max": "1.00", "period": "day" } }));
    assert_eq!((other.status, other.pointers()), (400, vec!["/budget/period"]), "{}", other.body);
    // The ceiling is not the team admin's, whatever the value.
    for ceiling in [json!(null), json!({ "limits": { "rpm": 80 } }), json!({ "limits": { "rpm": 1 } })] {
        let answer = world.send("team-admin", "PATCH", TEAM, json!({ "ceiling": ceiling }));
        assert_eq!((answer.status, answer.code()), (403, "not_allowed"), "{ceiling}");
    }
    assert_eq!(world.get("team-admin", TEAM).body["ceiling"]["limits"]["rpm"], 80, "but may be read");
}

#[test]
fn a_lower_ceiling_holds_at_once_for_the_team_and_below_it() {
    let mut world = with_ceiling(&json!({ "limits": { "rpm": 7 } }));
    // The team's own limit stays, and holds again without the ceiling.
    assert_eq!(world.get("team-admin", TEAM).body["limits"]["rpm"], 100);
    let usage = world.get("team-admin", "/teams/search/usage");
    assert_eq!(usage.body["limits"][0]["limit"], 7, "{}", usage.body);
    let key = json!({ "name": "x", "limits": { "rpm": 8 } });
    let refused = world.send("team-admin", "POST", "/teams/search/keys", key);
    assert_eq!((refused.status, refused.pointers()), (400, vec!["/limits/rpm"]), "{}", refused.body);
    let refused =
        world.send("developer", "POST", "/teams/search/keys", json!({ "name": "x", "limits": { "rpm": 8 } }));
    assert_eq!((refused.status, refused.code()), (400, "invalid_limits"));
    let key = json!({ "name": "x", "limits": { "rpm": 7 } });
    assert_eq!(world.send("team-admin", "POST", "/teams/search/keys", key).status, 201);
    // A ceiling below a key is refused as a limit below it is, and one above the organization as well.
    let conflict = world.send("owner", "PATCH", TEAM, json!({ "ceiling": { "limits": { "rpm": 6 } } }));
    assert_eq!(conflict.status, 409, "{}", conflict.body);
    let above = world.send("owner", "PATCH", TEAM, json!({ "ceiling": { "limits": { "rpm": 1001 } } }));
    assert_eq!((above.status, above.pointers()), (400, vec!["/ceiling/limits/rpm"]), "{}", above.body);
    assert_eq!(world.send("owner", "PATCH", TEAM, json!({ "ceiling": null })).status, 200);
    assert_eq!(world.get("team-admin", "/teams/search/usage").body["limits"][0]["limit"], 100);
}

#[test]
fn the_access_of_a_ceiling_bounds_selections_and_previews() {
    let mut world = with_ceiling(&json!({ "access": { "mode": "restrict", "access_groups": ["basic"] } }));
    let preview = world.get("team-admin", "/teams/search/access").body;
    let line = |name: &str| {
        preview["preview"].as_array().unwrap().iter().find(|line| line["target"] == name).unwrap().clone()
    };
    assert_eq!((&line("small")["effective"], &line("large")["effective"]), (&json!(true), &json!(false)));
    assert_eq!(
        (&line("large")["refused_by"], &line("large")["available"]),
        (&json!("ceiling"), &json!(null))
    );
    for (method, path, body, pointer) in [
        ("PUT", "/teams/search/access", json!({ "mode": "restrict", "targets": ["large"] }), "/targets/0"),
        (
            "PATCH",
            TEAM,
            json!({ "access": { "mode": "restrict", "access_groups": ["premium"] } }),
            "/access/access_groups/0",
        ),
    ] {
        let answer = world.send("team-admin", method, path, body);
        assert_eq!((answer.status, answer.code(), answer.pointers()), (400, "not_available", vec![pointer]));
    }
    let narrower = json!({ "mode": "restrict", "targets": ["small"] });
    assert_eq!(world.send("team-admin", "PUT", "/teams/search/access", narrower).status, 200);
    // A selection that a later ceiling excludes stays, without effect.
    let access = json!({ "mode": "restrict", "targets": ["large"], "access_groups": null });
    let ceiling = json!({ "ceiling": { "access": access } });
    assert_eq!(world.send("org-admin", "PATCH", TEAM, ceiling).status, 200);
    let preview = world.get("viewer", "/teams/search/access").body;
    assert_eq!(preview["inert"]["targets"], json!(["small"]));
    assert!(preview["preview"].as_array().unwrap().iter().all(|line| line["effective"] == false));
    let unknown = json!({ "ceiling": { "access": { "mode": "restrict", "targets": ["nothing"] } } });
    let refused = world.send("org-admin", "PATCH", TEAM, unknown);
    assert_eq!(
        (refused.status, refused.pointers()),
        (400, vec!["/ceiling/access/targets"]),
        "{}",
        refused.body
    );
}

/// The tighter of both, computed from the document alone.
#[test]
fn the_tighter_of_the_team_and_its_ceiling_holds_everywhere() {
    let mut random = Random(5);
    for round in 0..400 {
        let mut limits = |most: usize| {
            let mut limits = json!({});
            for window in Window::ALL {
                if random.below(2) == 0 {
                    limits[window.name()] = json!(1 + random.below(most));
                }
            }
            limits
        };
        let (own, ceiling) = (limits(900), limits(900));
        let mut budget = || (random.below(3) > 0).then(|| random.below(900));
        let budgets = [budget(), budget()];
        let mut selection = || {
            let names: Vec<&str> =
                ["small", "large", "secret"].into_iter().filter(|_| random.below(2) == 0).collect();
            (random.below(3) > 0).then_some(names)
        };
        let selections = [selection(), selection()];
        let mut document = policy();
        document["organizations"]["acme"]["access"] = json!({ "targets": ["*"] });
        let team = &mut document["teams"]["search"];
        for (at, budget) in budgets.iter().enumerate() {
            let place = if at == 0 { &mut *team } else { &mut team["ceiling"] };
            if let Some(budget) = budget {
                place["budget"] = json!({ "max": format!("{budget}.00"), "period": "month" });
            }
            place["limits"] = if at == 0 { own.clone() } else { ceiling.clone() };
            if let Some(names) = &selections[at] {
                place["access"] = json!({ "mode": "restrict", "targets": names });
            }
        }
        let mut loader = PolicyLoader::default();
        loader.push(document.to_string().as_bytes());
        let (policy, _) = loader.finish().unwrap_or_else(|errors| panic!("{errors:?}"));
        let team = policy.teams.get(policy.teams.find("search").unwrap()).unwrap();
        let organization = policy.organizations.get(team.organization.0).unwrap();
        let quota = team.allowance.as_deref();
        for window in Window::ALL {
            let of = |limits: &Value| limits[window.name()].as_u64();
            let wanted = [of(&own), of(&ceiling)].into_iter().flatten().min();
            let found = quota.and_then(|quota| quota.limits.get(window)).map(std::num::NonZeroU64::get);
            assert_eq!(found, wanted, "round {round}, {}", window.name());
        }
        let wanted = budgets.into_iter().flatten().min().map(|dollars| dollars as u128 * 1_000_000_000_000);
        let found = quota.and_then(|quota| quota.budget).map(|budget| budget.max.0);
        assert_eq!(found, wanted, "round {round}");
        for (_, record) in AccessChain::of_team(organization, team).targets(&policy) {
            let allowed =
                |names: &Option<Vec<&str>>| names.as_ref().is_none_or(|names| names.contains(&&*record.name));
            assert!(selections.iter().all(allowed), "round {round}: {}", record.name);
        }
        let callable = AccessChain::of_team(organization, team).targets(&policy).count();
        let wanted = ["small", "large", "secret"]
            .iter()
            .filter(|name| selections.iter().flatten().all(|names| names.contains(name)))
            .count();
        assert_eq!(callable, wanted, "round {round}");
    }
}
