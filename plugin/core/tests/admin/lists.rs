//! Lists contain readable items only, in stable pages.

use serde_json::{Value, json};

use super::world::{World, policy};

fn ids(list: &Value, field: &str) -> Vec<String> {
    list["items"].as_array().unwrap().iter().map(|item| item[field].as_str().unwrap().to_string()).collect()
}

#[test]
fn pages_contain_each_item_once_while_others_are_added() {
    let mut policy = policy();
    for n in 0..25 {
        policy["teams"][format!("t{n:02}")] = json!({ "organization": "acme", "name": "T" });
    }
    let mut world = World::of(policy);
    let mut seen = Vec::new();
    let mut after = String::new();
    loop {
        let page = world.get("member", &format!("/organizations/acme/teams?limit=7{after}")).body;
        let found = ids(&page, "id");
        assert!(found.len() <= 7);
        seen.extend(found);
        // A member is added before the items read so far.
        world.send("owner", "POST", "/organizations/acme/teams", json!({ "id": "aaa", "name": "A" }));
        match page["next"].as_str() {
            Some(next) => after = format!("&after={next}"),
            None => break,
        }
    }
    let mut expected: Vec<String> = (0..25).map(|n| format!("t{n:02}")).collect();
    expected.extend(["search", "other", "empty"].map(str::to_string));
    expected.sort();
    assert_eq!(seen, expected);
}

#[test]
fn a_full_last_page_has_no_next() {
    let mut world = World::new();
    let page = world.get("member", "/organizations/acme/teams?limit=3").body;
    assert_eq!((ids(&page, "id").len(), &page["next"]), (3, &Value::Null));
    let page = world.get("member", "/organizations/acme/teams?limit=2").body;
    assert_eq!(page["next"], "other");
}

#[test]
fn a_caller_sees_only_readable_organizations() {
    let mut world = World::new();
    for (person, expected) in
        [("platform", vec!["acme", "globex"]), ("viewer", vec!["acme"]), ("foreign-owner", vec!["globex"])]
    {
        assert_eq!(ids(&world.get(person, "/organizations").body, "id"), expected, "{person}");
    }
}

#[test]
fn targets_are_listed_with_team_and_grant() {
    let mut policy = policy();
    policy["teams"]["other"]["members"]["developer"] = json!("team_developer");
    policy["teams"]["other"]["access"] = json!({ "mode": "restrict", "targets": ["small"] });
    let mut world = World::of(policy.clone());
    assert_eq!(
        world.get("developer", "/targets").body["items"],
        json!([
            { "target": "large", "teams": [{ "team": "search", "through": "name" }] },
            { "target": "small", "teams": [
                { "team": "search", "through": "group:basic" },
                { "team": "other", "through": "group:basic" },
            ] },
        ])
    );
    assert_eq!(world.get("platform", "/targets").body["items"], json!([]), "no team, no key, no call");
    policy["users"]["developer"]["access"] = json!({ "mode": "restrict", "access_groups": ["premium"] });
    assert_eq!(ids(&World::of(policy).get("developer", "/targets").body, "target"), ["large"]);
}
