//! Hundreds of bodies that never come to their end: bounded memory, and room for others.

use std::sync::Barrier;
use std::time::{Duration, Instant};

use serde_json::json;
use tollgate_envoy::client::{Connection, Request};
use tollgate_envoy::gateway::Gateway;
use tollgate_envoy::world::{chat, configuration, key_of, secret};

const SENDERS: usize = 300;
/// The bytes that each sends; one more was announced.
const SENT: usize = 9_000_000;
/// The bound of the configuration.
const MAX_HELD: u64 = 128 * 1024 * 1024;
/// The memory beside held bodies: buffers of connections, bodies that are cut off, and copies of pieces.
const ROOM: u64 = 256 * 1024 * 1024;

#[test]
fn three_hundred_unfinished_bodies_stay_within_the_bound_and_leave_room_afterwards() {
    let mut configuration = configuration(
        &json!({"ml": {"organization": "acme", "name": "ML"}}),
        &json!({"laptop": key_of("ml", "laptop")}),
    );
    configuration["max_held"] = json!(MAX_HELD);
    let Some(gateway) = Gateway::start(&configuration) else { return };
    let warm = gateway.request(&chat().bearer(&secret("laptop")));
    assert_eq!(warm.status, 200, "{warm:?}");
    gateway.envoy.forget_peak_memory();
    let before = gateway.envoy.peak_memory();

    let head = Request::new("POST", "/v1/chat/completions")
        .header("content-type", "application/json")
        .header("content-length", (SENT + 1).to_string())
        .bearer(&secret("laptop"))
        .bytes();
    let body = format!("{{\"x\":\"{}", "a".repeat(SENT - 6));
    let (sent, measured) = (Barrier::new(SENDERS + 1), Barrier::new(SENDERS + 1));
    std::thread::scope(|scope| {
        for _ in 0..SENDERS {
            scope.spawn(|| {
                let mut connection = Connection::open(gateway.address());
                // A body that is cut off by its 503 cannot be sent to its end.
                let _ = connection.send(&head).and_then(|()| connection.send(body.as_bytes()));
                sent.wait();
                measured.wait();
                connection.leave();
            });
        }
        sent.wait();
        let grown = gateway.envoy.peak_memory().saturating_sub(before);
        assert!(grown < MAX_HELD + ROOM, "{} MiB", grown >> 20);
        println!("{SENDERS} bodies of {SENT} bytes: {} MiB", grown >> 20);
        let other = gateway.request(&chat().bearer(&secret("laptop")));
        assert!([200, 503].contains(&other.status), "decided, not stuck: {other:?}");
        measured.wait();
    });

    let end = Instant::now() + Duration::from_secs(20);
    while gateway.request(&chat().bearer(&secret("laptop"))).status != 200 {
        assert!(Instant::now() < end, "the bodies that were held have left");
        std::thread::sleep(Duration::from_millis(50));
    }
    let series = "wasmcustom.tollgate.denied;reason=busy";
    let busy: u64 =
        gateway.envoy.stats().iter().filter(|(name, _)| name.starts_with(series)).map(|(_, n)| n).sum();
    let held = SENDERS as u64 - busy.min(SENDERS as u64);
    assert!(held * SENT as u64 <= MAX_HELD, "{held} bodies were held");
    gateway.assert_no_trap();
}
