//! Large bodies through `tollgate serve`: the filter's limit is the one that holds.

mod modules;
mod serving;

use http_body_util::BodyExt as _;
use hyper::body::Bytes;
use serde_json::{Value, json};
use serving::{Client, Serving, eventually, growing, whole};
use tollgate_core::config::MAX_BODY;
use tollgate_core::secret::api_key::{digest, format_digest};

const KEY: &str = "a-key-of-another-gateway";

fn configuration(max_body: Option<u64>) -> String {
    let mut configuration = json!({"policy": {
        "version": 1,
        "targets": {"gpt-5-mini": {}},
        "organizations": {"acme": {"name": "Acme", "access": {"targets": ["*"]}}},
        "teams": {"ml": {"organization": "acme", "name": "ML"}},
        "keys": {"laptop": {"team": "ml", "digest": format_digest(&digest(KEY.as_bytes()))}},
    }});
    if let Some(bytes) = max_body {
        configuration["max_body"] = json!(bytes);
    }
    configuration.to_string()
}

fn chat(bytes: u64) -> Bytes {
    let frame = r#"{"model":"gpt-5-mini","messages":[{"role":"user","content":""}]}"#;
    let text = "a".repeat(usize::try_from(bytes).unwrap() - frame.len());
    frame.replace("\"\"", &format!("\"{text}\"")).into()
}

/// Sends a chat of this size, with or without its length. Returns the status and the error's code.
async fn ask(client: &mut Client, bytes: u64, announced: bool) -> (u16, Value) {
    let request = client
        .request("POST", "/v1/chat/completions")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {KEY}"));
    let body = chat(bytes);
    let request = if announced {
        request.body(whole(body)).unwrap()
    } else {
        let (mut sender, growing) = growing();
        tokio::spawn(async move {
            for start in (0..body.len()).step_by(64 * 1024) {
                // The server may answer before the end.
                let piece = body.slice(start..body.len().min(start + 64 * 1024));
                if sender.send_data(piece).await.is_err() {
                    return;
                }
            }
        });
        request.body(growing).unwrap()
    };
    let response = client.send(request).await.unwrap();
    let status = response.status().as_u16();
    let body = response.into_body().collect().await.unwrap().to_bytes();
    let answer: Value = serde_json::from_slice(&body).unwrap();
    (status, answer["error"]["code"].clone())
}

#[tokio::test]
async fn bodies_up_to_max_body_pass_and_larger_ones_get_the_filters_rejection() {
    let module = modules::filter();
    // The default, and a limit that an operator has raised above it.
    for (setting, max, cases) in [
        (None, MAX_BODY, [(false, true), (false, false), (true, false)].as_slice()),
        (Some(40 << 20), 40 << 20, &[(true, false)]),
    ] {
        let serving = Serving::new(&module, &configuration(setting));
        for &(http2, announced) in cases {
            for (bytes, expected) in [(max, (200, Value::Null)), (max + 1, (413, json!("body_too_large")))] {
                let address = serving.addr();
                let mut client =
                    if http2 { Client::http2(address).await } else { Client::http1(address).await };
                let found = ask(&mut client, bytes, announced).await;
                assert_eq!(found, expected, "{bytes} bytes, HTTP/2: {http2}, announced: {announced}");
            }
        }
    }
}

#[tokio::test]
async fn the_line_of_a_request_that_was_never_decided_has_its_time() {
    let serving = Serving::new(&modules::filter(), &configuration(None));
    let mut client = Client::http1(serving.addr()).await;
    let (mut sender, body) = growing();
    let request = client
        .request("POST", "/v1/chat/completions")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {KEY}"))
        .body(body)
        .unwrap();
    let answer = tokio::spawn(async move { client.send(request).await.is_ok() });
    // The channel holds one piece, so the head is on its way before the third.
    for _ in 0..3 {
        sender.send_data(" ".into()).await.unwrap();
    }
    answer.abort();
    drop(sender);
    eventually("a line", || !serving.lines.all().is_empty()).await;
    let line = serving.lines.all().remove(0);
    assert!(line["time"].as_f64().is_some_and(|time| time > 1_700_000_000.0), "{line}");
}
