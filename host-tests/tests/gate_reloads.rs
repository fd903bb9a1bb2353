//! Revocations, blocks and removals of members in `serve`, under everything that can happen to the filter.

mod modules;
mod serving;

use serde_json::json;
use serving::{Choices, Client, Serving, eventually, rest, whole};
use tollgate_core::secret::api_key;

const CHAT: &str = r#"{"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello."}]}"#;
const ROOT: &str = "tg-test-root";

fn secret(id: &str) -> String {
    api_key::mint(id, &api_key::digest(id.as_bytes()))
}

fn digest(text: &str) -> String {
    api_key::format_digest(&api_key::digest(text.as_bytes()))
}

/// Returns a configuration whose records differ in their names from those of another `version`.
fn configuration(version: usize) -> String {
    let name = |what: &str| json!(format!("{what}, version {version}"));
    let key =
        |id: &str, team: &str| json!({"team": team, "digest": digest(&secret(id)), "name": name("A key")});
    let mut of_bob = key("ofbob", "ml");
    of_bob["owner"] = json!("user/bob");
    json!({"volatile_keys": true, "policy": {
        "version": 1,
        "targets": {"gpt-5-mini": {}},
        "organizations": {"acme": {
            "name": name("Acme"), "access": {"targets": ["*"]}, "members": {"bob": "org_member"},
        }},
        "users": {
            "root": {"name": "Root", "role": "platform_admin", "tokens": [digest(ROOT)]},
            "bob": {"name": "Bob"},
        },
        "teams": {
            "ml": {"organization": "acme", "name": name("ML"), "members": {"bob": "team_developer"}},
            "paused": {"organization": "acme", "name": name("Paused")},
        },
        "keys": {
            "revoked": key("revoked", "ml"), "blocked": key("blocked", "ml"), "kept": key("kept", "ml"),
            "ofpaused": key("ofpaused", "paused"), "ofbob": of_bob,
        },
    }})
    .to_string()
}

/// Sends a request and returns the status; 0 if there is no response.
async fn send(client: &mut Client, bearer: &str, method: &str, path: &str, body: &str) -> u16 {
    let request = client.request(method, path).header("authorization", format!("Bearer {bearer}"));
    let request = request.header("content-type", "application/json").body(whole(body.to_owned())).unwrap();
    match client.send(request).await {
        Ok(response) => {
            let status = response.status().as_u16();
            rest(response.into_body()).await;
            status
        }
        Err(_) => 0,
    }
}

async fn chat(client: &mut Client, id: &str) -> u16 {
    send(client, &secret(id), "POST", "/v1/chat/completions", CHAT).await
}

/// Asserts that what was taken away is gone, in every worker.
async fn assert_taken(serving: &Serving, when: &str) {
    for _ in 0..2 {
        let mut client = Client::http1(serving.addr()).await;
        for id in ["revoked", "blocked", "ofbob", "ofpaused"] {
            let status = chat(&mut client, id).await;
            assert!(status == 401 || status == 403, "{id} gets {status} {when}");
        }
        assert_eq!(chat(&mut client, "kept").await, 200, "{when}");
        let path = "/tollgate/v1/teams/ml/members/bob";
        assert_eq!(send(&mut client, ROOT, "GET", path, "").await, 404, "{when}");
    }
}

#[tokio::test]
async fn revocations_blocks_and_removals_outlast_policies_modules_and_traps() {
    let module = tollgate_host::build::module::load(&["inject-trap"]).unwrap();
    let serving = Serving::with(&module, &configuration(0), Choices { workers: 2, ..Choices::default() });
    let mut client = Client::http1(serving.addr()).await;
    for id in ["revoked", "blocked", "ofbob", "ofpaused", "kept"] {
        assert_eq!(chat(&mut client, id).await, 200, "{id}");
    }
    let blocked = r#"{"state": "blocked"}"#;
    for (method, path, body) in [
        ("DELETE", "/keys/revoked", ""),
        ("PATCH", "/keys/blocked", blocked),
        ("DELETE", "/teams/ml/members/bob", ""),
        ("PATCH", "/teams/paused", blocked),
    ] {
        let path = format!("/tollgate/v1{path}");
        assert_eq!(send(&mut client, ROOT, method, &path, body).await, 200, "{method} {path}");
    }
    assert_taken(&serving, "at once").await;
    for worker in 0..2 {
        let mut client = Client::http1(serving.addr()).await;
        let request = client.request("POST", "/v1/chat/completions").header("x-tollgate-inject-trap", "1");
        let trapped = client.send(request.body(whole(CHAT)).unwrap()).await;
        assert!(
            trapped.is_err() || trapped.is_ok_and(|response| response.status().as_u16() == 503),
            "{worker}"
        );
    }
    for _ in 0..2 {
        let mut served = false;
        while !served {
            let mut client = Client::http1(serving.addr()).await;
            served = chat(&mut client, "kept").await == 200;
        }
    }
    let trapped =
        || serving.lines.all().iter().filter(|line| line.to_string().contains("filter_trapped")).count();
    eventually("both workers trapped", || trapped() >= 2).await;
    assert_taken(&serving, "after traps").await;
    for version in 1..=100 {
        serving.server.reload(configuration(version).as_bytes()).unwrap();
        if version % 20 == 0 {
            assert_taken(&serving, &format!("after reload {version}")).await;
        }
    }
}
