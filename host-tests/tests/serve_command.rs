//! The command `tollgate serve` as an operator runs it: signals, the demo's public keys, messages, TLS.

mod command;

use std::fs;
use std::io::{BufRead as _, BufReader};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use command::{Serve, sh, tollgate};
use rustix::process::Signal;
use serde_json::{Value, json};
use tollgate_core::etcd::EtcdCall;
use tollgate_host::build::module;
use tollgate_host::etcd::Etcd as Client;
use tollgate_host::tools::Etcd;

const SEARCH: &str = "sk-tg-demosearch-3GYODfpXpGSveB3F2VewIQKmR6vJExi6TV_6NB1cdwIj4VW4N";

fn demo() -> Value {
    let path = module::workspace().unwrap().join("policies/demo.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

/// Writes a file of this test's own.
fn file(name: &str, text: &str) -> String {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    let new = path.with_extension("new");
    fs::write(&new, text).unwrap();
    fs::rename(new, &path).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Returns a small policy with one key that has this digest.
fn policy(digest: &str) -> Value {
    json!({
        "version": 1,
        "targets": {"gpt-5-mini": {}},
        "organizations": {"acme": {"name": "Acme", "access": {"targets": ["*"]}}},
        "teams": {"ml": {"organization": "acme", "name": "ML"}},
        "users": {},
        "keys": {"laptop": {"team": "ml", "digest": digest}},
    })
}

fn own_digest() -> String {
    format!("sha256:{}", "ab".repeat(32))
}

/// Runs `serve` and returns its exit code and standard error; it must end by itself.
fn refused(arguments: &[&str]) -> (Option<i32>, String) {
    let mut process = tollgate(&["serve"]).args(arguments).stderr(Stdio::piped()).spawn().unwrap();
    let begun = Instant::now();
    while process.try_wait().unwrap().is_none() {
        if begun.elapsed() > Duration::from_secs(120) {
            let _ = process.kill();
        }
        std::thread::sleep(Duration::from_millis(20));
    }
    let output = process.wait_with_output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn the_secrets_of_the_demo_are_not_served_to_a_network() {
    let demo = demo();
    let key = demo["keys"]["demobob"]["digest"].as_str().unwrap();
    let token = demo["users"]["pat"]["tokens"][0].as_str().unwrap();
    let upper = policy(&key.to_uppercase().replace("SHA256", "sha256"));
    let mut tokens = policy(&own_digest());
    tokens["users"] = json!({"root": {"name": "Root", "tokens": [own_digest().replace('a', "c"), token]}});
    let mut rotated = policy(&own_digest());
    rotated["keys"]["laptop"]["previous"] = json!({"digest": key, "expires_at": "2099-01-01T00:00:00Z"});
    let escaped = policy(key).to_string().replace("sha256:", "sha256\\u003a");
    let whole = json!({"policy": policy(key), "volatile_keys": true});

    let (code, said) = refused(&["--listen", "0.0.0.0:0"]);
    assert_eq!(code, Some(1), "{said}");
    for part in ["demo.json", "0.0.0.0:0", "--policy", "127.0.0.1", "--allow-demo-keys", "keys/demo"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    for (name, flag, text, record) in [
        ("own-id.json", "--policy", policy(key).to_string(), "keys/laptop"),
        ("escaped.json", "--policy", escaped, "keys/laptop"),
        ("token.json", "--policy", tokens.to_string(), "users/root"),
        ("rotated.json", "--policy", rotated.to_string(), "keys/laptop"),
        ("whole.json", "--config", whole.to_string(), "keys/laptop"),
        ("upper.json", "--policy", upper.to_string(), ""),
    ] {
        for listen in ["0.0.0.0:0", "[::]:0", "[::ffff:0.0.0.0]:0"] {
            let (code, said) = refused(&["--listen", listen, flag, &file(name, &text)]);
            assert_eq!(code, Some(1), "{name} {listen}: {said}");
            assert!(said.contains(record), "{name} {listen}: {said}");
        }
    }
}

#[test]
fn the_password_of_etcd_comes_from_a_file_and_is_never_printed() {
    const PASSWORD: &str = "unguessable-77c3";
    let Some(etcd) = Etcd::start() else { return };
    let admin = Client::new(&etcd.url(), "tollgate/1/", None).unwrap();
    for (path, body) in [
        ("/v3/auth/user/add", json!({"name": "root", "password": PASSWORD})),
        ("/v3/auth/user/grant", json!({"user": "root", "role": "root"})),
        ("/v3/auth/enable", json!({})),
    ] {
        let call = EtcdCall { path, token: None, body: body.to_string() };
        assert_eq!(admin.call(call).0, 200, "{path}");
    }
    let path = file("with-etcd.json", &policy(&own_digest()).to_string());
    let login = file("login.txt", &format!("root:{PASSWORD}\n"));
    let arguments = ["--fleet", &etcd.url(), "--login", &login, "--policy", &path];
    let mut serve = Serve::start(&arguments);
    let begun = Instant::now();
    let ready = format!("curl -s http://{}/tollgate/readyz", serve.address);
    while !String::from_utf8_lossy(&sh(&ready).stdout).contains("etcd was read") {
        assert!(begun.elapsed() < Duration::from_secs(20), "etcd is never read: {}", serve.said);
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!serve.said.contains(PASSWORD) && !serve.line().to_string().contains(PASSWORD));
    file("login.txt", "root:wrong\n");
    let mut wrong = Serve::start(&arguments);
    wrong.says("etcd");
    assert!(!wrong.said.contains("wrong"), "{}", wrong.said);
    let (code, said) =
        refused(&["--listen", "127.0.0.1:0", "--fleet", &etcd.url(), "--login", "/nowhere/login"]);
    assert!(code == Some(1) && said.contains("--login") && said.contains("/nowhere/login"), "{said}");
    serve.signal(Signal::TERM);
    serve.ended();
}

#[test]
fn a_reload_with_a_secret_of_the_demo_is_rejected_on_a_network() {
    let key = demo()["keys"]["demobob"]["digest"].as_str().unwrap().to_owned();
    let path = file("reloaded.json", &policy(&own_digest()).to_string());
    let mut serve = Serve::start(&["--listen", "0.0.0.0:0", "--policy", &path]);
    serve.says("in the clear");
    file("reloaded.json", &policy(&key).to_string());
    let said = serve.says("rejected");
    assert!(said.contains("--allow-demo-keys") && said.contains("reloaded.json"), "{said}");
    file("reloaded.json", &policy(&own_digest()).to_string());
    serve.says("is loaded");
}

#[test]
fn a_flag_allows_the_demo_on_a_network_that_is_trusted() {
    let serve = Serve::start(&["--listen", "0.0.0.0:0", "--allow-demo-keys"]);
    let port = serve.address.rsplit_once(':').unwrap().1;
    TcpStream::connect(format!("127.0.0.1:{port}")).unwrap();
}

/// Starts a chat that streams for seconds, and waits for its first events.
fn streaming(serve: &Serve, simulate: &str) -> (Child, BufReader<std::process::ChildStdout>) {
    let body = r#"{"model":"gpt-5-mini","stream":true,"messages":[{"role":"user","content":"Hello"}]}"#;
    let mut curl = Command::new("curl")
        .args(["-sSN", &format!("http://{}/v1/chat/completions", serve.address), "-d", body])
        .args(["-H", &format!("authorization: Bearer {SEARCH}"), "-H", "content-type: application/json"])
        .args(["-H", &format!("x-simulate: {simulate}")])
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut events = BufReader::new(curl.stdout.take().unwrap());
    let mut seen = String::new();
    // The first event has no text.
    while seen.matches("data: ").count() < 4 {
        assert_ne!(events.read_line(&mut seen).unwrap(), 0, "{seen}");
    }
    (curl, events)
}

#[test]
fn a_signal_lets_running_streams_end_and_settles_them() {
    for signal in [Signal::TERM, Signal::INT] {
        let mut serve = Serve::start(&[]);
        let (mut curl, events) = streaming(&serve, "tokens=30, chunk-ms=50, usage=11:7");
        serve.signal(signal);
        serve.says("stopping");
        let begun = Instant::now();
        while TcpStream::connect(&serve.address).is_ok() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it still accepts connections");
            std::thread::sleep(Duration::from_millis(10));
        }
        let last = events.lines().map_while(Result::ok).filter(|line| !line.is_empty()).last();
        assert_eq!(last.as_deref(), Some("data: [DONE]"));
        assert!(curl.wait().unwrap().success());
        assert_eq!(serve.ended().code(), Some(0));
        let line = serve.line();
        assert_eq!(
            (&line["details"], &line["input_tokens"], &line["output_tokens"]),
            (&json!("via_upstream"), &json!(11), &json!(7))
        );
        assert_eq!(line["estimated"], false);
    }
}

#[test]
fn a_second_signal_and_the_end_of_the_drain_cut_and_settle() {
    for (drain, signals) in [("600", 2), ("0.3", 1), ("0", 1)] {
        let mut serve = Serve::start(&["--drain", drain]);
        let (mut curl, events) = streaming(&serve, "tokens=3000, chunk-ms=50");
        for _ in 0..signals {
            serve.signal(Signal::TERM);
            serve.says(if signals == 2 && serve.said.contains("stopping") { "cutting" } else { "stopping" });
        }
        assert_eq!(serve.ended().code(), Some(0), "{}", serve.said);
        assert!(events.lines().map_while(Result::ok).all(|line| line != "data: [DONE]"));
        assert!(!curl.wait().unwrap().success());
        let line = serve.line();
        assert_eq!(line["details"], "downstream_local_disconnect(drain)");
        // The client pays for the delivered part.
        assert_eq!(line["estimated"], true, "{line}");
        assert!(line["output_tokens"].as_u64().is_some_and(|tokens| tokens > 0), "{line}");
    }
}

#[test]
fn every_line_has_a_time() {
    let serve = Serve::start(&[]);
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs_f64();
    let base = format!("http://{}", serve.address);
    let mut requests = 0;
    for curl in [
        format!("{base}/v1/models"),
        format!("{base}/nothing"),
        format!("-X CONNECT {base}/"),
        format!("{base}/ -H 'host: a' -H 'upgrade: websocket' -H 'connection: upgrade' -d x"),
        format!("{base}/tollgate/v1/me"),
    ] {
        sh(&format!("curl -sS -m 20 {curl} || true"));
        requests += 1;
    }
    // Two hosts: curl does not send this.
    let two_hosts = "GET / HTTP/1.1\\r\\nhost: a\\r\\nhost: b\\r\\nconnection: close\\r\\n\\r\\n";
    let (host, port) = serve.address.rsplit_once(':').unwrap();
    sh(&format!("bash -c 'exec 3<>/dev/tcp/{host}/{port}; printf \"{two_hosts}\" >&3; cat <&3'"));
    requests += 1;
    for _ in 0..requests {
        let line = serve.line();
        let time = line["time"].as_f64().unwrap_or_else(|| panic!("{line}"));
        assert!((now - 5.0..now + 300.0).contains(&time), "{line}");
    }
}

#[test]
fn messages_name_the_flag_the_value_and_what_would_be_right() {
    let (text, bad_json) = (file("text.pem", "text"), file("bad.json", "{"));
    let header = file("header.txt", "authorization secret-value");
    for (arguments, code, parts) in [
        (vec!["--policy", "/nowhere/p.json"], 1, vec!["--policy", "/nowhere/p.json", "policies/README.md"]),
        (vec!["--config", "/nowhere/c.json"], 1, vec!["--config", "/nowhere/c.json", "gateway.schema.json"]),
        (vec!["--policy", &bad_json], 1, vec!["--policy", "bad.json", "tollgate check"]),
        (vec!["--module", "/nowhere/m.wasm"], 1, vec!["--module", "/nowhere/m.wasm", "tollgate build"]),
        (vec!["--upstream", "ftp://host"], 1, vec!["--upstream", "ftp://host", "https://"]),
        (
            vec!["--upstream-header-file", &header],
            1,
            vec!["--upstream-header-file", "header.txt:1", "name: value"],
        ),
        (vec!["--fleet", "nothing"], 1, vec!["--fleet", "nothing"]),
        (vec!["--tls-cert", &text], 2, vec!["--tls-key"]),
        (vec!["--tls-key", &text], 2, vec!["--tls-cert"]),
        (
            vec!["--tls-cert", &text, "--tls-key", &text],
            1,
            vec!["--tls-cert", "text.pem", "BEGIN CERTIFICATE"],
        ),
        (
            vec!["--tls-cert", "/nowhere/c.pem", "--tls-key", &text],
            1,
            vec!["--tls-cert", "/nowhere/c.pem", "PEM"],
        ),
        (vec!["--head-timeout", "0"], 2, vec!["--head-timeout", "0.01"]),
        (vec!["--stream-timeout", "10m"], 2, vec!["--stream-timeout", "seconds"]),
        (vec!["--drain", "-1"], 2, vec!["--drain", "seconds"]),
        (vec!["--max-connections", "0"], 2, vec!["--max-connections", "at least 1"]),
        (vec!["--max-held-bytes", "1GB"], 2, vec!["--max-held-bytes", "whole number"]),
        (vec!["--listen", "192.0.2.1:0", "--allow-demo-keys"], 1, vec!["192.0.2.1:0", "--listen"]),
    ] {
        let mut all = if arguments.contains(&"--listen") { vec![] } else { vec!["--listen", "127.0.0.1:0"] };
        all.extend(&arguments);
        let (found, said) = refused(&all);
        assert_eq!(found, Some(code), "{arguments:?}: {said}");
        for part in parts {
            assert!(said.contains(part), "{arguments:?} {part:?}: {said}");
        }
        assert!(!said.contains("secret-value"), "{said}");
    }
}

#[test]
fn https_is_served_and_a_new_certificate_is_loaded() {
    use base64::Engine as _;
    let pem = |label: &str, bytes: &[u8]| {
        let text = base64::engine::general_purpose::STANDARD.encode(bytes);
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    let made = || {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        (pem("CERTIFICATE", made.cert.der()), pem("PRIVATE KEY", &made.signing_key.serialize_der()))
    };
    let (certificate, key) = made();
    let paths = (file("serve.crt", &certificate), file("serve.key", &key));
    let mut serve = Serve::start(&["--listen", "localhost:0", "--tls-cert", &paths.0, "--tls-key", &paths.1]);
    let port = serve.address.rsplit_once(':').unwrap().1.to_owned();
    let get = |trusted: &str| {
        sh(&format!(
            "curl -sS -m 20 --cacert '{trusted}' -o /dev/null -w '%{{http_code}}' https://localhost:{port}/v1/models || true"
        ))
    };
    assert_eq!(String::from_utf8_lossy(&get(&paths.0).stdout), "401");
    let old = file("old.crt", &certificate);
    let (certificate, key) = made();
    file("serve.key", &key);
    let said = serve.says("the previous certificate stays");
    assert!(said.contains("serve.key"), "{said}");
    assert_eq!(String::from_utf8_lossy(&get(&old).stdout), "401");
    file("serve.crt", &certificate);
    serve.says("serve.crt is loaded");
    assert_eq!(String::from_utf8_lossy(&get(&paths.0).stdout), "401");
    assert_eq!(String::from_utf8_lossy(&get(&old).stdout), "000");
}
