//! The management API against its OpenAPI description: schemathesis generates valid and invalid requests from
//! the document and checks every response against it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::{Map, Value, json};
use serving::Serving;
use tollgate_core::admin;
use tollgate_core::secret::api_key;
use tollgate_host::tools;

mod filtered;
mod serving;

const PREFIX: &str = "/tollgate/v1";
const TOKEN: &str = "tg-openapi-root";

fn digest(text: &str) -> String {
    api_key::format_digest(&api_key::digest(text.as_bytes()))
}

/// Returns a configuration with every record in the dictionaries of `openapi/schemathesis.toml`.
fn configuration() -> Value {
    let people = ["ada", "bob", "cleo", "dan"];
    let teams = ["search", "support", "research"];
    let mut users: Map<String, Value> =
        people.iter().map(|person| ((*person).to_owned(), json!({ "name": person }))).collect();
    users.insert(
        "root".to_owned(),
        json!({ "name": "Root", "role": "platform_admin", "tokens": [digest(TOKEN)] }),
    );
    let organization = |members: Value| {
        json!({
            "name": "An organization", "access": { "targets": ["*"] }, "limits": { "rpm": 1000 },
            "members": members,
        })
    };
    let mut organizations: Map<String, Value> =
        (1..=6).map(|n| (format!("bare{n}"), organization(json!({})))).collect();
    let members: Map<String, Value> =
        people.iter().map(|person| ((*person).to_owned(), json!("org_member"))).collect();
    organizations.insert("acme".to_owned(), organization(members.into()));
    let team = |name: &str| {
        json!({
            "organization": "acme", "name": name, "limits": { "rpm": 100 },
            "self_service": { "enabled": true, "max_keys_per_user": 3 },
            "members": { "ada": "team_admin", "bob": "team_developer" },
        })
    };
    let keys = (0..6_usize).map(|n| {
        let owner = if n % 2 == 0 { "user/bob" } else { "user/ada" };
        let record = json!({ "team": teams[n % 3], "owner": owner, "digest": digest(&format!("key {n}")) });
        (format!("key{n}"), record)
    });
    json!({
        "policy": {
            "version": 1,
            "targets": { "small": { "access_groups": ["basic"] }, "large": { "access_groups": ["premium"] } },
            "organizations": organizations,
            "teams": teams.iter().chain(&["idle1", "idle2", "idle3"])
                .map(|name| ((*name).to_owned(), team(name))).collect::<Map<String, Value>>(),
            "users": users,
            "service_accounts": {
                "nightly": { "team": "search", "name": "Nightly" },
                "weekly": { "team": "support", "name": "Weekly" },
            },
            "keys": keys.collect::<Map<String, Value>>(),
        },
        "volatile_keys": true,
    })
}

fn tests() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests")
}

/// Runs schemathesis in a folder of its own, and returns its report and its output.
fn run(python: &Path, url: &str) -> (Vec<Value>, Output) {
    let folder = std::env::temp_dir().join(format!("tollgate-openapi-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let document = folder.join("management.openapi.json");
    std::fs::write(&document, admin::openapi::document().to_string()).unwrap();
    let report = folder.join("report.ndjson");
    let output = Command::new(python)
        .current_dir(&folder)
        .args(["-m", "schemathesis.cli", "--config-file"])
        .arg(tests().join("openapi/schemathesis.toml"))
        .arg("run")
        .arg(&document)
        .args(["--url", url, "--header", &format!("Authorization: Bearer {TOKEN}")])
        .args(["--phases", "coverage,fuzzing,stateful", "--max-examples", "25", "--seed", "2"])
        .args(["--request-timeout", "20", "--continue-on-failure", "--warnings", "off"])
        .args(["--report", "ndjson", "--report-ndjson-path"])
        .arg(&report)
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let lines = std::fs::read_to_string(&report).unwrap_or_default();
    let events = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    std::fs::remove_dir_all(&folder).unwrap();
    (events, output)
}

#[test]
fn every_response_conforms_to_the_openapi_document() {
    let Some(python) = tools::require(tools::schemathesis()) else { return };
    let serving = Serving::new(filtered::module(), &configuration().to_string());
    let (events, output) = run(&python, &format!("http://{}{PREFIX}", serving.addr()));
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}\n{}", String::from_utf8_lossy(&output.stderr));

    // Valid responses alone would say little about operations that were only ever rejected.
    let all = operations(&admin::openapi::document());
    let succeeded = succeeded(&events, &all);
    let missing: Vec<&String> = all.difference(&succeeded).collect();
    assert!(missing.is_empty(), "never successful: {missing:?}\n{said}");
}

/// Returns every operation of a document, as `GET /me`.
fn operations(document: &Value) -> BTreeSet<String> {
    let mut all = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        let methods = item.as_object().unwrap().keys().filter(|method| *method != "parameters");
        all.extend(methods.map(|method| format!("{} {path}", method.to_uppercase())));
    }
    all
}

/// Returns the operations that were answered with 2xx at least once.
fn succeeded(events: &[Value], all: &BTreeSet<String>) -> BTreeSet<String> {
    let recorders =
        events.iter().filter_map(|event| event.pointer("/ScenarioFinished/recorder/interactions"));
    let exchanges = recorders.filter_map(Value::as_object).flat_map(Map::values);
    let successes = exchanges.filter(|exchange| {
        exchange["response"]["status_code"].as_u64().is_some_and(|status| (200..300).contains(&status))
    });
    let requests = successes.filter_map(|exchange| {
        let (_, below) = exchange["request"]["uri"].as_str()?.split_once(PREFIX)?;
        let path = below.split('?').next()?;
        Some(format!("{} {path}", exchange["request"]["method"].as_str()?))
    });
    requests.filter_map(|request| all.iter().find(|operation| fits(operation, &request)).cloned()).collect()
}

fn fits(operation: &str, request: &str) -> bool {
    let (expected, found) = (operation.split('/'), request.split('/'));
    expected.clone().count() == found.clone().count()
        && expected.zip(found).all(|(one, other)| one == other || one.starts_with('{'))
}
