//! The command `cargo run`: the requests that it prints, and the modules that it loads.

mod command;

use std::fs;
use std::path::PathBuf;

use command::{Serve, sh, tollgate};

/// Writes a file of this test's own.
fn file(name: &str, bytes: &[u8]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    fs::write(&path, bytes).unwrap();
    path
}

/// Returns status, head and body of a response of `curl -i`.
fn answer(request: &str) -> (u16, String, String) {
    let output = sh(&request.replace("curl -i", "curl -isS"));
    let text = String::from_utf8(output.stdout).unwrap();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{request}: {text}"));
    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
    (status.unwrap_or_else(|| panic!("{text}")), head.to_ascii_lowercase(), body.to_owned())
}

fn field<'a>(head: &'a str, name: &str) -> &'a str {
    let field = head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    field.unwrap_or_else(|| panic!("no {name} in {head}"))
}

#[test]
fn the_printed_requests_have_the_printed_results() {
    let mut serve = Serve::start(&[]);
    let requests = serve.requests(4);
    let base = format!("http://{}", serve.address);
    let [passes, keyless, forbidden, limited] = requests.as_slice() else { panic!("{}", serve.said) };
    assert!(requests.iter().all(|request| request.contains(&base)));

    let (status, head, body) = answer(passes);
    assert_eq!(status, 200, "{body}");
    assert_eq!(field(&head, "x-ratelimit-limit-requests"), "30");
    assert_eq!(field(&head, "x-ratelimit-remaining-requests"), "29");
    assert_eq!(field(&head, "x-tollgate-scope"), "member_rpm");
    let (status, _, body) = answer(keyless);
    assert!(status == 401 && body.contains("missing_api_key"), "{status} {body}");
    let (status, _, body) = answer(forbidden);
    assert!(status == 403 && body.contains("target_not_allowed"), "{status} {body}");

    // Rejections are not counted: all three of a minute are left.
    for left in ["2", "1", "0"] {
        let (status, head, body) = answer(limited);
        assert_eq!((status, field(&head, "x-ratelimit-remaining-requests")), (200, left), "{body}");
    }
    let (status, head, body) = answer(limited);
    assert!(status == 429 && body.contains("team_rpm_exceeded"), "{status} {body}");
    let wait = |head: &str| field(head, "retry-after-ms").parse::<u64>().unwrap();
    let first = wait(&head);
    assert!((1..=61_000).contains(&first), "{head}");
    assert_eq!(field(&head, "retry-after"), first.div_ceil(1_000).to_string());
    // The wait ends at a fixed time, independent of the time of the request.
    assert!(wait(&answer(limited).1) <= first);

    let statuses: Vec<_> = (0..8).map(|_| serve.line()["status"].clone()).collect();
    assert_eq!(statuses, [200, 401, 403, 200, 200, 200, 429, 429]);
}

#[test]
fn an_invalid_module_does_not_start() {
    let built = fs::read(tollgate_host::build::module::build(&[]).unwrap()).unwrap();
    let foreign = wat::parse_str(r#"(module (func (export "main")))"#).unwrap();
    let cases = [
        ("text.wasm", b"#!/bin/sh\n".to_vec(), "not a WebAssembly module"),
        ("half.wasm", built[..built.len() / 2].to_vec(), ""),
        ("foreign.wasm", foreign, "proxy_abi_version"),
        ("empty.wasm", Vec::new(), "nothing"),
    ];
    for (name, bytes, why) in cases {
        let path = file(name, &bytes);
        let output = tollgate(&["serve", "--listen", "127.0.0.1:0", "--module"]).arg(&path).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{name}: {said}");
        assert!(said.contains(name) && said.contains(why), "{name}: {said}");
    }
    let output =
        tollgate(&["serve", "--listen", "127.0.0.1:0", "--module", "/nowhere/at.wasm"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}

#[test]
fn an_address_may_have_a_host_s_name_and_needs_a_port() {
    let serve = Serve::start(&["--listen", "localhost:0"]);
    let host = serve.address.rsplit_once(':').unwrap().0;
    assert!(["127.0.0.1", "[::1]"].contains(&host), "{}", serve.address);
    for (flag, wrong, says) in [
        ("--listen", "8787", "HOST:PORT"),
        ("--listen", "127.0.0.1", "HOST:PORT"),
        ("--listen", "127.0.0.1:70000", "HOST:PORT"),
        ("--workers", "0", "--workers"),
    ] {
        let output = tollgate(&["serve", flag, wrong]).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{flag} {wrong}: {said}");
        assert!(said.contains(says), "{flag} {wrong}: {said}");
    }
}

#[test]
fn a_module_that_rejects_everything_can_be_served() {
    let refuses = wat::parse_str(include_str!("modules/refuses.wat")).unwrap();
    let path = file("refuses.wasm", &refuses);
    let mut serve = Serve::start(&["--module", path.to_str().unwrap()]);
    let requests = serve.requests(4);
    for request in requests {
        let (status, _, body) = answer(&request);
        assert_eq!((status, body.as_str()), (403, "closed for today"));
    }
    for path in ["/", "/v1/models", "/healthz", "/tollgate/v1/me"] {
        assert_eq!(answer(&format!("curl -i http://{}{path}", serve.address)).0, 403);
    }
}
