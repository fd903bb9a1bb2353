//! The bound on the bytes of request bodies that all VMs of a process hold.

mod filtered;

use filtered::{CHAT, Filtered, KEY, chat, roomy};
use serde_json::{Value, json};
use tollgate_host::proxy_wasm::{Ending, Flow, HeaderMap, StreamId, StreamInfo, Vm};

const MIB: usize = 1024 * 1024;

/// A gateway that holds at most 8 MiB, which are two blocks.
fn small() -> Filtered {
    let mut configuration = roomy();
    configuration["max_body"] = json!(8 * MIB);
    configuration["max_held"] = json!(8 * MIB);
    Filtered::new(&configuration)
}

fn open(vm: &mut Vm) -> StreamId {
    let stream = vm.open(StreamInfo::default()).unwrap();
    let bearer = format!("Bearer {KEY}");
    let head = HeaderMap::from([
        (":method", "POST"),
        (":path", CHAT),
        (":authority", "gateway"),
        (":scheme", "http"),
        ("authorization", &bearer),
        ("content-type", "application/json"),
    ]);
    assert_eq!(vm.request_headers(stream, head, false).unwrap(), Flow::Hold);
    stream
}

/// Sends the beginning of a body of this size, which stays undecided.
fn send(vm: &mut Vm, stream: StreamId, bytes: usize) -> Flow {
    let body = format!("{{\"x\":\"{}", "a".repeat(bytes - 6));
    vm.request_body(stream, body.as_bytes(), false).unwrap()
}

fn assert_busy(flow: Flow) {
    let Flow::Reply(reply) = flow else { panic!("{flow:?}") };
    let body: Value = serde_json::from_slice(&reply.body).unwrap();
    assert_eq!((reply.status, &body["error"]["code"]), (503, &json!("busy")));
    assert_eq!(reply.headers.get("retry-after"), Some(&b"1"[..]));
}

#[test]
fn a_body_beyond_the_bound_is_rejected_with_503_until_another_is_decided() {
    let mut filter = small();
    let mut other = filter.process.worker().unwrap();
    let first = open(&mut filter.vm);
    assert_eq!(send(&mut filter.vm, first, 5 * MIB), Flow::Hold, "two blocks");
    let second = open(&mut other);
    assert_busy(send(&mut other, second, MIB));
    assert_eq!(filter.metric("denied_busy"), 0, "reported when the stream ends");
    other.close(second, &Ending::Complete).unwrap();

    filter.vm.close(first, &Ending::ClientGone).unwrap();
    filter.clock.advance(std::time::Duration::from_secs(1));
    filter.vm.tick().unwrap();
    let third = open(&mut other);
    assert_eq!(send(&mut other, third, MIB), Flow::Hold, "the other VM has given its blocks back");
}

#[test]
fn decided_bodies_count_no_longer_and_ordinary_ones_cost_no_call() {
    let mut filter = small();
    for _ in 0..100 {
        let (stream, _) = filter.admitted(CHAT, &chat(10, false));
        filter.close(stream, &Ending::Complete);
    }
    let mut streams = Vec::new();
    for _ in 0..4 {
        let stream = open(&mut filter.vm);
        assert_eq!(send(&mut filter.vm, stream, 2 * MIB - 100), Flow::Hold);
        streams.push(stream);
    }
    let late = open(&mut filter.vm);
    assert_busy(send(&mut filter.vm, late, MIB));
    for stream in streams {
        filter.close(stream, &Ending::ClientGone);
    }
    let after = open(&mut filter.vm);
    assert_eq!(send(&mut filter.vm, after, MIB), Flow::Hold);
}

#[test]
fn a_bound_below_one_body_is_a_configuration_error() {
    let mut loader = tollgate_core::config::ConfigLoader::default();
    loader.push(br#"{"policy": {"version": 1}, "max_body": 1000, "max_held": 999}"#);
    let errors = loader.finish().unwrap_err();
    assert_eq!(errors.len(), 1, "{errors:?}");
    assert!(errors[0].to_string().contains("/max_held"), "{}", errors[0]);
}

#[test]
fn strangers_of_the_management_api_leave_the_memory_of_the_vm_flat() {
    const STRANGERS: usize = 4_600;
    let mut configuration = roomy();
    configuration["manage"] = json!({ "jwt": { "metadata": "people" } });
    let mut filter = Filtered::new(&configuration);
    // A stream in the meantime.
    let (customer, _) = filter.admitted(CHAT, &chat(10, true));
    filter.answers(customer, "200", "text/event-stream");
    let mut sizes = Vec::new();
    for _ in 0..2 {
        let mut open = Vec::new();
        for number in 0..STRANGERS {
            let stream = filter.vm.open(StreamInfo::default()).unwrap();
            let mut head = HeaderMap::from([
                (":method", "POST"),
                (":path", "/tollgate/v1/teams/blue/keys"),
                (":authority", "gateway"),
                (":scheme", "http"),
                ("content-type", "application/json"),
                ("content-length", "261120"),
            ]);
            if number % 2 == 0 {
                head.add("authorization", "Bearer tg-of-another-gateway");
            }
            match filter.vm.request_headers(stream, head, false).unwrap() {
                Flow::Reply(reply) => assert_eq!(reply.status, 401),
                flow => panic!("{flow:?}"),
            }
            open.push(stream);
        }
        let event = b"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n";
        assert_eq!(filter.more(customer, event, false), event);
        for stream in open {
            filter.close(stream, &Ending::ClientGone);
        }
        sizes.push(filter.vm.memory_size());
    }
    assert_eq!(sizes[0], sizes[1], "all memory of the first round was given back");
    assert!(sizes[0] < 32 * MIB, "{sizes:?}: their bodies alone have 1.1 GiB");
}
