//! Access is the same everywhere: in the definition, the model list, the call and `explain`.

#[path = "../../plugin/core/tests/support/access.rs"]
mod access;
mod command;
mod modules;

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use access::{Names, World, worlds};
use command::tollgate;
use proptest::prelude::*;
use serde_json::{Value, json};
use tollgate_core::secret::api_key::{digest, format_digest};
use tollgate_host::proxy_wasm::{Ending, Flow, HeaderMap, LocalReply, Log, Process, StreamInfo, Vm};

const KEY: &str = "a-key-of-another-gateway";

fn policy(world: &World) -> Value {
    let mut policy = world.document();
    policy["keys"]["k"]["digest"] = json!(format_digest(&digest(KEY.as_bytes())));
    policy
}

fn head(method: &str, path: &str) -> HeaderMap {
    let bearer = format!("Bearer {KEY}");
    HeaderMap::from([
        (":method", method),
        (":path", path),
        (":authority", "gateway"),
        (":scheme", "http"),
        ("content-type", "application/json"),
        ("authorization", &bearer),
    ])
}

/// Returns the names of a model list.
fn listed(vm: &mut Vm) -> Names {
    let stream = vm.open(StreamInfo::default()).unwrap();
    let flow = vm.request_headers(stream, head("GET", "/v1/models"), true).unwrap();
    let LocalReply { status, body, .. } = flow.reply().unwrap();
    vm.close(stream, &Ending::Complete).unwrap();
    assert_eq!(status, 200);
    let list: Value = serde_json::from_slice(&body).unwrap();
    list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
}

/// Returns true if a chat with this model is forwarded.
fn passes(vm: &mut Vm, model: &str) -> bool {
    let stream = vm.open(StreamInfo::default()).unwrap();
    let held = vm.request_headers(stream, head("POST", "/v1/chat/completions"), false).unwrap();
    assert_eq!(held, Flow::Hold);
    let body = json!({"model": model, "messages": []}).to_string();
    let passes = match vm.request_body(stream, body.as_bytes(), true).unwrap() {
        Flow::Forward(_) => true,
        Flow::Reply(reply) => {
            assert_eq!(reply.status, 403);
            false
        }
        flow => panic!("{flow:?}"),
    };
    vm.close(stream, &Ending::Complete).unwrap();
    passes
}

/// Returns true if `tollgate explain` allows it.
fn explained(file: &PathBuf, model: &str) -> bool {
    let output =
        tollgate(&["explain", "--key", KEY, "--target", model, "--policy"]).arg(file).output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    match output.status.code() {
        Some(0) if said.contains("allowed") => true,
        Some(1) if said.contains("target_not_allowed") => false,
        code => panic!("{code:?}: {said}"),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn definition_model_list_call_and_explain_agree_on_access(world in worlds()) {
        let policy = policy(&world);
        let [_, _, expected] = world.effective();
        let configuration = json!({"policy": policy}).to_string();
        let process = Process::builder(&modules::filter()).log(Log::discard()).start(configuration.as_bytes()).unwrap();
        let mut vm = process.worker().unwrap();
        prop_assert_eq!(listed(&mut vm), expected.clone());

        let all: BTreeSet<String> = world.catalogue.keys().cloned().chain(["unheard-of".to_owned()]).collect();
        let called: Names = all.iter().filter(|name| passes(&mut vm, name)).cloned().collect();
        prop_assert_eq!(&called, &expected);
        let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("access.json");
        fs::write(&file, policy.to_string()).unwrap();
        let explained: Names = all.iter().filter(|name| explained(&file, name)).cloned().collect();
        prop_assert_eq!(&explained, &expected);
    }
}
