//! Thousands of callers without a key, each with a body for the management API.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::json;
use tollgate_envoy::client::{Connection, Request, request};
use tollgate_envoy::envoy::{Envoy, Folder};
use tollgate_envoy::gateway::{WORKERS, site};
use tollgate_envoy::live::Live;
use tollgate_envoy::shipped;
use tollgate_envoy::world::{chat, configuration, key_of, secret};
use tollgate_host::tools;

const STRANGERS: usize = 4_600;
const BODY: usize = 255 * 1024;
/// Threads that open connections.
const SENDERS: usize = 23;
/// The memory that connections may take beside what the VMs do: buffers of at most 48 KiB each, not bodies (1.1 GiB).
const ROOM: u64 = 384 * 1024 * 1024;

/// The credential of a stranger; some have none.
fn credential(number: usize) -> String {
    match number % 4 {
        0 => String::new(),
        1 => "authorization: Bearer tg-of-another-gateway\r\n".into(),
        2 => "authorization: Bearer eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.AAAA\r\n".into(),
        _ => "x-api-key: sk-tg-none-AAAA\r\n".into(),
    }
}

#[test]
fn strangers_with_bodies_leave_memory_flat_and_a_customers_stream_untouched() {
    let Some(program) = tools::require(tools::envoy()) else { return };
    // A stream that goes on as long as the strangers do.
    let over = Arc::new(AtomicBool::new(false));
    let (sent, ends) = (Arc::new(Mutex::new(String::new())), Arc::clone(&over));
    let log = Arc::clone(&sent);
    let upstream = Live::start(move |_, to| {
        to.begin("text/event-stream")?;
        let mut number = 0;
        while !ends.load(Ordering::Relaxed) {
            let event = format!("data: {{\"choices\":[{{\"delta\":{{\"content\":\"{number}\"}}}}]}}\n\n");
            log.lock().unwrap().push_str(&event);
            to.chunk(&event)?;
            number += 1;
            std::thread::sleep(Duration::from_millis(20));
        }
        to.end(&[])
    });
    let mut configuration = configuration(
        &json!({"ml": {"organization": "acme", "name": "ML"}}),
        &json!({"laptop": key_of("ml", "laptop")}),
    );
    configuration["manage"] = json!({"jwt": {"metadata": "people"}});
    let site = site(&configuration, upstream.address());
    let folder = Folder::new();
    shipped::lay_out(folder.path(), &site);
    shipped::add_jwt(
        folder.path(),
        &site,
        &json!({"keys": [{"kty": "oct", "alg": "HS256", "kid": "one", "k": "AAAA"}]}),
    );
    let envoy = Envoy::run(&program, folder, WORKERS);

    let mut customer = Connection::open(envoy.address());
    customer.send(&chat().bearer(&secret("laptop")).bytes()).unwrap();
    let (status, headers) = customer.response_head().unwrap();
    assert_eq!(status, 200);
    let stream = std::thread::spawn(move || customer.body(&headers).unwrap());
    envoy.forget_peak_memory();
    let before = envoy.peak_memory();

    let (answered, cut) = (AtomicUsize::new(0), AtomicUsize::new(0));
    let body = vec![b'x'; BODY];
    std::thread::scope(|scope| {
        for sender in 0..SENDERS {
            let (envoy, body, answered, cut) = (&envoy, &body, &answered, &cut);
            scope.spawn(move || {
                let mut open = Vec::new();
                for number in (sender..STRANGERS).step_by(SENDERS) {
                    let mut stranger = TcpStream::connect(envoy.address()).unwrap();
                    stranger.set_write_timeout(Some(Duration::from_secs(30))).unwrap();
                    let head = format!(
                        "POST /tollgate/v1/teams/ml/keys HTTP/1.1\r\nhost: x\r\n{}content-type: application/json\r\ncontent-length: {}\r\n\r\n",
                        credential(number),
                        BODY + 1
                    );
                    // The gateway may answer and close before it has read the body.
                    let _ = stranger.write_all(head.as_bytes()).and_then(|()| stranger.write_all(body));
                    open.push(stranger);
                }
                for mut stranger in open {
                    stranger.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
                    let mut response = Vec::new();
                    let _ = stranger.read_to_end(&mut response);
                    if response.is_empty() {
                        cut.fetch_add(1, Ordering::Relaxed);
                        continue;
                    }
                    assert!(response.starts_with(b"HTTP/1.1 401 "), "{}", response.escape_ascii());
                    answered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let grown = envoy.peak_memory().saturating_sub(before);
    let (answered, cut) = (answered.into_inner(), cut.into_inner());
    println!("{answered} answered, {cut} cut, {} MiB", grown >> 20);
    assert_eq!(answered + cut, STRANGERS);
    assert!(grown < ROOM, "{} MiB", grown >> 20);

    over.store(true, Ordering::Relaxed);
    let received = stream.join().unwrap();
    assert_eq!(String::from_utf8(received.data).unwrap(), *sent.lock().unwrap());
    envoy.assert_no_trap();
    let unknown = Request::new("GET", "/tollgate/v1/me").bearer("tg-unknown");
    assert_eq!(request(envoy.address(), &unknown).status, 401, "the API still answers");
}
