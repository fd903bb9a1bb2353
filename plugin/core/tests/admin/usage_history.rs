//! Usage that is counted whether or not a limit is set: by period, target, key, member and team.

use serde_json::{Value, json};
use tollgate_core::counters::{CounterStore, RecordKey, StoreError};
use tollgate_core::ledger::{Amounts, EndedCall, Poster, Recorder, begin};
use tollgate_core::money::Pico;
use tollgate_core::time::{DAY, SECOND};

use super::world::{Answer, START, World, policy};

const HOUR: u64 = 3_600 * SECOND;
const DOLLAR: u128 = 1_000_000_000_000;

/// Counts a call of a key for some cents, with 100 input and 10 output tokens.
fn call(world: &mut World, key: &str, target: &str, cents: u128, wall: u64) {
    let call = {
        let policy = world.policy.read();
        let key = policy.keys.get(policy.keys.find(key).unwrap()).unwrap();
        let user = match key.owner {
            tollgate_core::policy::Owner::User(user) => policy.users.get(user.0).unwrap().instance().into(),
            _ => "".into(),
        };
        EndedCall {
            team: policy.teams.get(key.team.0).unwrap().instance().into(),
            key: key.instance().into(),
            user,
            target: Some(target.into()),
            wall,
            amounts: Amounts {
                requests: 1,
                input: 100,
                output: 10,
                cost: Pico(cents * DOLLAR / 100),
                ..Amounts::default()
            },
        }
    };
    assert!(Recorder::default().count(&mut world.store, &world.gateway.ledger, call));
}

fn post(world: &mut World) {
    Poster::default().tick(&mut world.store, &world.gateway.ledger, world.now.wall).unwrap();
}

/// A world with calls of three days and three keys of the team `search`; some of them are posted.
fn spent() -> World {
    let mut world = World::new();
    begin(&mut world.store, &world.gateway.ledger, START - 40 * DAY).unwrap();
    call(&mut world, "developers", "small", 1, START - 2 * DAY);
    call(&mut world, "admins", "large", 2, START - 2 * DAY);
    call(&mut world, "jobs", "small", 4, START - DAY);
    post(&mut world);
    call(&mut world, "developers", "small", 8, START - HOUR);
    call(&mut world, "developers", "large", 16, START);
    world
}

fn ask(world: &mut World, person: &str, path: &str) -> Value {
    let Answer { status, body, .. } = world.get(person, path);
    assert_eq!(status, 200, "{path}: {body}");
    body["usage"].clone()
}

/// The rows, each as `start name cost`.
fn rows(usage: &Value) -> Vec<String> {
    let items = usage["items"].as_array().unwrap().iter().map(|item| {
        let group = usage["group"].as_str().unwrap_or_default();
        let parts = [&item["start"], &item[group], &item["cost"]].map(|part| part.as_str().unwrap_or("-"));
        parts.map(|part| part.trim_end_matches(":00Z")).join(" ")
    });
    items.collect()
}

#[test]
fn spend_is_shown_where_no_limit_is_set() {
    let usage = ask(&mut spent(), "team-admin", "/teams/search/usage");
    let total = json!({
        "requests": 5, "refused": 0, "input_tokens": 500, "cached_input_tokens": 0, "output_tokens": 50,
        "cost": "0.31", "estimated_cost": "0.00",
    });
    assert_eq!(usage["total"], total);
    assert_eq!(usage["items"], json!([total]));
    let about =
        json!(["2027-01-01T00:00:00Z", "2027-02-01T00:00:00Z", "gateway", "2026-12-06T08:00:00Z", null]);
    assert_eq!(json!([usage["from"], usage["to"], usage["source"], usage["since"], usage["next"]]), about);
}

#[test]
fn a_teams_usage_is_told_apart_by_period_target_key_and_member() {
    let mut world = spent();
    for (query, expected) in [
        ("by=month", &["2027-01-01T00:00 - 0.31"][..]),
        ("by=day", &["2027-01-13T00:00 - 0.03", "2027-01-14T00:00 - 0.04", "2027-01-15T00:00 - 0.24"]),
        (
            "by=hour&group=target",
            &[
                // At least 48 hours are kept.
                "2027-01-14T08:00 small 0.04",
                "2027-01-15T07:00 small 0.08",
                "2027-01-15T08:00 large 0.16",
            ],
        ),
        (
            "by=hour&from=2027-01-13",
            &[
                "2027-01-13T08:00 - 0.03",
                "2027-01-14T08:00 - 0.04",
                "2027-01-15T07:00 - 0.08",
                "2027-01-15T08:00 - 0.16",
            ],
        ),
        ("group=target", &["- large 0.18", "- small 0.13"]),
        ("group=target&from=2027-01-14&to=2027-01-15", &["- small 0.04"]),
        ("from=2027-01-15T08:00:00Z", &["- - 0.16"]),
        ("group=key", &["- admins 0.02", "- developers 0.25", "- jobs 0.04"]),
        ("group=key&from=2027-01-15", &["- admins 0.00", "- developers 0.24", "- jobs 0.00"]),
        (
            "group=member&by=day",
            &[
                "2027-01-13T00:00 developer 0.01",
                "2027-01-13T00:00 team-admin 0.02",
                "2027-01-15T00:00 developer 0.24",
            ],
        ),
        ("group=member", &["- developer 0.25", "- team-admin 0.02", "- viewer 0.00"]),
        ("from=2026-11-01&to=2027-01-01", &[]),
    ] {
        let usage = ask(&mut world, "team-admin", &format!("/teams/search/usage?{query}"));
        assert_eq!(rows(&usage), expected, "{query}");
    }
    // Nothing depends on what is posted.
    let asked = ask(&mut world, "team-admin", "/teams/search/usage?by=hour&group=target");
    post(&mut world);
    assert_eq!(ask(&mut world, "team-admin", "/teams/search/usage?by=hour&group=target"), asked);
}

#[test]
fn pages_of_keys_have_the_total_of_the_team() {
    let mut world = spent();
    let first = ask(&mut world, "team-admin", "/teams/search/usage?group=key&limit=2");
    assert_eq!(
        (rows(&first), &first["next"]),
        (vec!["- admins 0.02".into(), "- developers 0.25".into()], &json!("developers"))
    );
    let second = ask(&mut world, "team-admin", "/teams/search/usage?group=key&limit=2&after=developers");
    assert_eq!((rows(&second), &second["next"]), (vec!["- jobs 0.04".to_string()], &Value::Null));
    assert_eq!((&first["total"]["cost"], &second["total"]["cost"]), (&json!("0.31"), &json!("0.31")));
    // A revoked key has no row, and is in the sums of its team and its owner.
    world.send("developer", "DELETE", "/keys/developers", Value::Null);
    let keys = ask(&mut world, "team-admin", "/teams/search/usage?group=key");
    assert_eq!((rows(&keys).len(), &keys["total"]["cost"]), (2, &json!("0.31")));
    let members = ask(&mut world, "team-admin", "/teams/search/usage?group=member");
    assert_eq!(rows(&members)[0], "- developer 0.25");
}

#[test]
fn people_see_their_own_usage() {
    let mut world = spent();
    let days = ["2027-01-13T00:00 - 0.01", "2027-01-15T00:00 - 0.24"];
    for path in ["/keys/developers/usage", "/teams/search/members/developer/usage", "/me/usage"] {
        let usage = ask(&mut world, "developer", &format!("{path}?by=day"));
        assert_eq!(rows(&usage), days, "{path}");
        assert_eq!(usage["total"]["cost"], "0.25", "{path}");
    }
    let usage = ask(&mut world, "developer", "/me/usage?group=team");
    assert_eq!(rows(&usage), ["- search 0.25"]);
    assert_eq!(world.get("developer", "/teams/search/members/team-admin/usage").status, 403);
    assert_eq!(world.get("platform", "/teams/search/members/nobody/usage").status, 404);
}

#[test]
fn an_organizations_teams_are_one_list_by_id_by_spend_or_by_closeness_to_a_limit() {
    let mut policy = policy();
    policy["teams"]["other"]["limits"] = json!({ "rpm": 10 });
    policy["teams"]["search"]["budget"] = json!({ "max": "1.00", "period": "month" });
    policy["teams"]["search"]["limits"] = Value::Null;
    policy["teams"]["search"].as_object_mut().unwrap().remove("limits");
    policy["keys"]["others"] = json!({ "team": "other", "digest": format!("sha256:{:064}", 7) });
    let mut world = World::of(policy);
    call(&mut world, "others", "small", 50, START);
    call(&mut world, "jobs", "small", 20, START);
    let path = "/organizations/acme/usage?group=team";
    assert_eq!(rows(&ask(&mut world, "billing", path)), ["- empty 0.00", "- other 0.50", "- search 0.20"]);
    let spend = ask(&mut world, "org-admin", &format!("{path}&sort=spend"));
    assert_eq!(rows(&spend), ["- other 0.50", "- search 0.20", "- empty 0.00"]);
    assert_eq!(spend["total"]["cost"], "0.70");
    let page = ask(&mut world, "org-admin", &format!("{path}&limit=2"));
    assert_eq!((rows(&page).len(), &page["next"], &page["total"]), (2, &json!("other"), &Value::Null));
    let closeness = ask(&mut world, "org-admin", &format!("{path}&sort=closeness"));
    let nearest: Vec<_> =
        closeness["items"].as_array().unwrap().iter().map(|item| &item["nearest_limit"]).collect();
    assert_eq!(
        nearest,
        [
            &json!({ "limit": "rpm", "used_percent": 0 }),
            &json!({ "limit": "budget", "used_percent": 0 }),
            &Value::Null
        ]
    );
    assert_eq!(
        rows(&ask(&mut world, "org-admin", "/organizations/acme/usage?group=target")),
        ["- small 0.70"]
    );
    assert_eq!(world.get("org-admin", "/organizations/globex/usage").status, 404);
}

#[test]
fn usage_is_csv_if_the_query_says_so() {
    let mut world = spent();
    let answer = world.get("team-admin", "/teams/search/usage?by=day&group=target&format=csv");
    assert_eq!(answer.field("content-type"), Some("text/csv; charset=utf-8; header=present"));
    assert_eq!(answer.field("content-disposition"), Some("attachment; filename=\"usage-search.csv\""));
    let head =
        "start,target,requests,refused,input_tokens,cached_input_tokens,output_tokens,cost,estimated_cost";
    let lines: Vec<&str> = answer.body.as_str().unwrap().split("\r\n").collect();
    assert_eq!((lines[0], lines.len()), (head, 7));
    assert_eq!(lines[1], "2027-01-13T00:00:00Z,large,1,0,100,0,10,0.02,0.00");
    let page = world.get("team-admin", "/teams/search/usage?group=key&format=csv&after=a&limit=1");
    let next = "</tollgate/v1/teams/search/usage?group=key&format=csv&limit=1&after=admins>; rel=\"next\"";
    assert_eq!(page.field("link"), Some(next));
}

#[test]
fn a_question_that_has_no_answer_is_refused_with_the_reason() {
    let mut world = spent();
    for (path, parameter) in [
        ("/teams/search/usage?by=week", "by"),
        ("/teams/search/usage?group=team", "group"),
        ("/teams/search/usage?by=hour&group=key", "by"),
        ("/teams/search/usage?group=key&from=2027-01-15T08:00:00Z", "from"),
        ("/teams/search/usage?sort=spend", "sort"),
        ("/organizations/acme/usage?group=team&sort=spend&by=day", "sort"),
        ("/teams/search/usage?from=yesterday", "from"),
        ("/teams/search/usage?from=2027-01-10&to=2027-01-09", "from"),
        ("/teams/search/usage?limit=0", "limit"),
        ("/teams/search/usage?limit=1001", "limit"),
        ("/teams/search/usage?format=xml", "format"),
        ("/keys/developers/usage?group=target", "group"),
        ("/me/usage?by=hour", "by"),
        ("/teams/search/usage?start=2026-01-01", "start"),
    ] {
        let answer = world.get("platform", path);
        assert_eq!((answer.status, answer.code()), (400, "invalid_parameter"), "{path}");
        assert_eq!(answer.body["errors"][0]["parameter"], parameter, "{path}: {}", answer.body);
    }
}

#[test]
fn an_id_that_is_used_again_inherits_no_usage() {
    let mut world = spent();
    for key in ["developers", "admins", "jobs"] {
        assert_eq!(world.send("platform", "DELETE", &format!("/keys/{key}"), Value::Null).status, 204);
    }
    assert_eq!(
        world.send("platform", "DELETE", "/teams/search/service-accounts/nightly", Value::Null).status,
        204
    );
    assert_eq!(world.send("platform", "DELETE", "/teams/search", Value::Null).status, 204);
    let body = json!({ "id": "search", "name": "Search" });
    assert_eq!(world.send("platform", "POST", "/organizations/acme/teams", body).status, 201);
    let usage = ask(&mut world, "platform", "/teams/search/usage");
    assert_eq!((&usage["total"]["requests"], &usage["items"]), (&json!(0), &json!([])));
}

/// A store that counts its calls.
struct Counted<'s, S> {
    store: &'s mut S,
    reads: usize,
}

impl<S: CounterStore> CounterStore for Counted<'_, S> {
    type Version = S::Version;

    fn read(&mut self, name: &RecordKey) -> Result<(Vec<u8>, S::Version), StoreError> {
        self.reads += 1;
        self.store.read(name)
    }

    fn compare_and_swap(
        &mut self,
        _: &RecordKey,
        _: S::Version,
        _: &[u8],
    ) -> Result<tollgate_core::counters::Cas, StoreError> {
        panic!("a read writes nothing")
    }
}

#[test]
fn the_work_of_an_answer_is_bounded_with_a_thousand_teams() {
    let mut policy = policy();
    for number in 0..1_000 {
        let id = format!("team-{number:04}");
        policy["teams"][&id] = json!({ "organization": "globex", "name": id });
        policy["keys"][&id] = json!({ "team": id, "digest": format!("sha256:{number:064}") });
    }
    policy["organizations"]["globex"]["access"] = json!({ "targets": ["*"] });
    let mut world = World::of(policy);
    for number in 0..1_000 {
        call(
            &mut world,
            &format!("team-{number:04}"),
            "small",
            number,
            START - u64::from(number as u32 % 60) * DAY,
        );
    }
    let mut most = 0;
    for query in [
        "group=team&sort=spend",
        "group=team&by=day",
        "group=team&limit=1000",
        "by=month&from=2026-12-01",
        "",
    ] {
        let path = format!("/organizations/globex/usage?{query}");
        let request = super::world::request("platform", "GET", &path, &Value::Null);
        let inputs = tollgate_core::admin::RequestInputs {
            now: world.now,
            random: [7; 48],
            durability: world.durability,
            counters: tollgate_core::admin::CountersRead::Own,
        };
        let mut counted = Counted { store: &mut world.store, reads: 0 };
        let gateway = &world.gateway;
        let decided = world
            .policy
            .change(|policy| tollgate_core::admin::decide(policy, gateway, &mut counted, &request, &inputs))
            .unwrap();
        let reads = counted.reads;
        let tollgate_core::admin::AdminDecision::Answer(response) = decided.outcome else {
            panic!("{query}")
        };
        assert_eq!(response.status, 200, "{query}: {}", response.body);
        most = most.max(reads);
        if query.contains("sort") {
            assert!(response.body.contains("\"team\":\"team-0"), "{}", response.body);
        }
    }
    assert!((2_000..=3_010).contains(&most), "{most} reads");
    let refused = world.get("platform", "/organizations/globex/usage?from=2026-01-10");
    assert_eq!(refused.status, 400, "{}", refused.body);
}
