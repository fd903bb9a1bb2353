//! The option `http3` of `envoy.yaml`: decisions, charges and the log are those of the other protocols.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tollgate_envoy::client::Response;
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::http2::Request;
use tollgate_envoy::http3::Client;
use tollgate_envoy::world::{configuration, key_of, secret};
use tollgate_host::tools;

const CHAT: &str = "/v1/chat/completions";

fn ml() -> Value {
    let mut configuration = configuration(
        &json!({"ml": {"organization": "acme", "name": "ML", "limits": {"rpm": 4, "tpm": 1_000_000}}}),
        &json!({"laptop": key_of("ml", "laptop")}),
    );
    configuration["policy"]["targets"]["gpt-5-mini"] = json!({"price": {"input": "1", "output": "2"}});
    configuration
}

#[test]
fn requests_over_http3_are_decided_charged_and_logged_like_others() {
    let Some(client) = tools::require(Client::new()) else { return };
    let Some(mut gateway) =
        Gateway::with_options(&ml(), &["http3"], |folder| client.install_certificate(folder))
    else {
        return;
    };
    let quic = gateway.envoy.listener(Some("gateway-http3")).unwrap();
    let bearer = format!("Bearer {}", secret("laptop"));
    let [plain, stream] = [false, true].map(|stream| {
        let messages = json!([{"role": "user", "content": "Hi."}]);
        json!({"model": "gpt-5-mini", "messages": messages, "stream": stream, "max_tokens": 100}).to_string()
    });
    let forbidden = plain.replace("gpt-5-mini", "gpt-5");
    let (plain, stream, forbidden) = ([plain.as_bytes()], [stream.as_bytes()], [forbidden.as_bytes()]);
    let fields = |simulate| {
        [
            ("content-type", "application/json"),
            ("authorization", bearer.as_str()),
            ("x-simulate", simulate),
            ("x-tollgate-team", "another"),
        ]
    };
    let exact = fields("usage=7:5");
    let post = |headers, body| Request { method: "POST", path: CHAT, headers, body, trailers: &[] };
    let whole = post(&exact, &plain);
    let unknown = [("content-type", "application/json"), ("authorization", "Bearer sk-unknown")];
    let answers = client.requests(
        quic,
        &[
            std::slice::from_ref(&whole),
            &[post(&exact, &forbidden)],
            &[post(&unknown, &plain)],
            &[post(&exact, &stream)],
        ],
    );
    assert_eq!(answers.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 403, 401, 200]);
    assert_eq!(answers[0].headers.get("x-ratelimit-remaining-requests"), Some("3"));
    assert!(answers[3].text().ends_with("data: [DONE]\n\n"), "{:?}", answers[3]);
    let arrived = gateway.upstream.recording().requests()[0].clone();
    assert_eq!(arrived.header("x-tollgate-team"), [b"ml"], "not the client's");

    // A client that leaves during a stream: its charge is settled, though Envoy logs such streams without the filter.
    let slow = fields("tokens=50, chunk-ms=100");
    let left: Response = client.leave_during(quic, &post(&slow, &stream));
    assert_eq!(left.status, 200);
    let end = Instant::now() + Duration::from_secs(20);
    // Over all organizations, teams and reasons.
    let count = |name: &str| -> u64 {
        let whole = format!("wasmcustom.tollgate.{name}");
        let is_series = |stat: &str| stat.split(';').next() == Some(&whole);
        gateway.envoy.stats().into_iter().filter(|(stat, _)| is_series(stat)).map(|(_, value)| value).sum()
    };
    while count("settled") < 3 || count("allowed") < 3 {
        assert!(Instant::now() < end, "{} settled, {} allowed", count("settled"), count("allowed"));
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(["reserved", "settled", "allowed", "denied"].map(count), [3, 3, 3, 2]);
    // The fourth request of the minute, and one above the limit.
    let last = client.requests(quic, &[std::slice::from_ref(&whole), std::slice::from_ref(&whole)]);
    assert_eq!(last.iter().map(|answer| answer.status).collect::<Vec<_>>(), [200, 429], "{last:?}");

    let mut log = gateway.envoy.access_log(7);
    let of = |line: &Value, names: [&str; 3]| names.map(|name| line[name].as_str().unwrap_or("-").to_owned());
    log.sort_by_key(|line| line["time"].as_str().unwrap_or_default().to_owned());
    let found: Vec<_> = log.iter().map(|line| of(line, ["decision", "reason", "input_tokens"])).collect();
    let expected = [
        ["allowed", "-", "7"],
        ["denied", "target_not_allowed", "-"],
        ["denied", "invalid_api_key", "-"],
        ["allowed", "-", "7"],
    ];
    assert_eq!(found[..4], expected, "{log:#?}");
    assert_eq!(
        (&log[4]["decision"], &log[4]["estimated"]),
        (&json!("allowed"), &json!("true")),
        "{}",
        log[4]
    );
    assert_eq!(found[6][..2], ["denied", "team_rpm_exceeded"], "{log:#?}");
    gateway.assert_no_trap();
}
