//! On nginx with WasmX no head is said to be a request's end, and no body callback comes without a body.

mod modules;

use modules::filter;
use serde_json::{Value, json};
use tollgate_core::secret::api_key::{digest, spell};
use tollgate_host::host::{
    Dialect, Ending, Flow, HeaderMap, LocalReply, Log, Process, StreamId, StreamInfo, Vm,
};

const KEY: &str = "a-key-of-another-gateway";
const TOKEN: &str = "a-token-of-the-admin";
const MEMBER: &str = "/tollgate/v1/teams/blue/members/ann";
const CHAT: &str = "/v1/chat/completions";

fn vm() -> Vm {
    let digest = |secret: &str| spell(&digest(secret.as_bytes()));
    let configuration = json!({"policy": {
        "version": 1,
        "targets": {"small": {}, "reports-api": {}},
        "organizations": {"acme": {
            "name": "Acme", "access": {"targets": ["*"]}, "members": {"ann": "org_member"},
        }},
        "teams": {"blue": {"organization": "acme", "name": "Blue", "limits": {"rpm": 1_000}}},
        "users": {
            "root": {"name": "Root", "tokens": [digest(TOKEN)], "role": "platform_admin"},
            "ann": {"name": "Ann"},
        },
        "keys": {"laptop": {"team": "blue", "digest": digest(KEY)}},
    }});
    let process = Process::builder(&filter()).dialect(Dialect::WasmX).log(Log::discard());
    let process = process.start(configuration.to_string().as_bytes()).expect("it is right");
    process.worker().expect("the canary took it")
}

/// A request's head, and what the host does after it; as far as nginx knows, a body may follow.
fn begin(
    vm: &mut Vm,
    protocol: &str,
    [method, path, secret]: [&str; 3],
    fields: &[(&str, &str)],
) -> (StreamId, Flow) {
    let stream = vm.open(StreamInfo { protocol: protocol.to_owned(), ..StreamInfo::default() }).unwrap();
    let bearer = format!("Bearer {secret}");
    let mut head = HeaderMap::from([
        (":method", method),
        (":path", path),
        (":authority", "gateway"),
        (":scheme", "http"),
        ("authorization", &bearer),
    ]);
    fields.iter().for_each(|(name, value)| head.add(name, value));
    let flow = vm.request_headers(stream, head, true).unwrap();
    (stream, flow)
}

/// The same of a request that the gateway answers; it ends with that.
fn answered(
    vm: &mut Vm,
    protocol: &str,
    request: [&str; 3],
    fields: &[(&str, &str)],
    body: Option<&Value>,
) -> LocalReply {
    let (stream, mut flow) = begin(vm, protocol, request, fields);
    if let Some(body) = body {
        assert_eq!(flow, Flow::Hold, "{request:?}: its body decides");
        flow = vm.request_body(stream, body.to_string().as_bytes(), true).unwrap();
    }
    let reply = match flow {
        Flow::Reply(reply) => reply,
        flow => panic!("{request:?} on {protocol}: {flow:?}"),
    };
    vm.close(stream, &Ending::Complete).unwrap();
    reply
}

#[test]
fn management_is_answered_with_a_body_and_without() {
    let mut vm = vm();
    let json = ("content-type", "application/json");
    for protocol in ["HTTP/1.1", "HTTP/2.0"] {
        let get = |vm: &mut Vm| answered(vm, protocol, ["GET", MEMBER, TOKEN], &[], None).status;
        assert_eq!(get(&mut vm), 404);
        let body = json!({"role": "team_viewer"});
        let length = body.to_string().len().to_string();
        let fields = [json, ("content-length", &length)];
        let put = answered(&mut vm, protocol, ["PUT", MEMBER, TOKEN], &fields, Some(&body));
        assert_eq!(put.status, 200, "{put:?}");
        assert_eq!(get(&mut vm), 200);
        assert_eq!(answered(&mut vm, protocol, ["DELETE", MEMBER, TOKEN], &[], None).status, 204);
        assert_eq!(get(&mut vm), 404);
    }
    // Announced in pieces, without a length.
    let chunked = [json, ("transfer-encoding", "chunked")];
    let body = json!({"role": "team_viewer"});
    let put = answered(&mut vm, "HTTP/1.1", ["PUT", MEMBER, TOKEN], &chunked, Some(&body));
    assert_eq!(put.status, 200, "{put:?}");
    // Without any it says what it lacks.
    assert_eq!(answered(&mut vm, "HTTP/1.1", ["PUT", MEMBER, TOKEN], &[json], None).status, 400);
}

#[test]
fn a_call_without_the_body_that_its_api_needs_is_refused_at_once() {
    let mut vm = vm();
    for (protocol, fields) in [
        ("HTTP/1.1", &[][..]),
        ("HTTP/1.1", &[("content-length", "0")]),
        ("HTTP/2.0", &[("content-length", "0")]),
    ] {
        let reply = answered(&mut vm, protocol, ["POST", CHAT, KEY], fields, None);
        let body: Value = serde_json::from_slice(&reply.body).unwrap();
        assert_eq!((reply.status, &body["error"]["code"]), (400, &json!("invalid_body")), "{protocol}");
    }
}

#[test]
fn where_a_body_may_come_unannounced_it_is_waited_for() {
    let mut vm = vm();
    let json = [("content-type", "application/json")];
    // A protocol that the host does not tell may be HTTP/2.
    for protocol in ["HTTP/2.0", "HTTP/3.0", ""] {
        let (stream, flow) = begin(&mut vm, protocol, ["POST", CHAT, KEY], &json);
        assert_eq!(flow, Flow::Hold, "{protocol}");
        let flow = vm.request_body(stream, br#"{"model":"small","messages":[]}"#, true).unwrap();
        assert!(matches!(flow, Flow::Forward(_)), "{protocol}: {flow:?}");
        vm.close(stream, &Ending::ClientGone).unwrap();
    }
}
