//! Hosts that give a filter nothing but requests: no shared data, ticks, metrics or callouts, 16 MiB of memory for
//! each VM and 1 ms for each callback.

use std::fmt::Write as _;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::json;
use tollgate_core::secret::api_key::{digest, format_digest};
use tollgate_host::host::{
    Dialect, Ending, Flow, HeaderMap, Log, LogLevel, Module, Process, StreamId, StreamInfo, Vm,
};

const BARE: [Dialect; 2] = [Dialect::Forgetful, Dialect::Unimplemented];
const MEMORY: usize = 16 << 20;
const KEYS: usize = 10_000;
const STREAMS: usize = 1_000;
const CALLBACK: Duration = Duration::from_millis(1);

fn filter() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| tollgate_host::module::load(&["bare"]).expect("the filter builds and loads"))
}

fn key(number: usize) -> String {
    format!("a-key-of-another-gateway-{number}")
}

/// Even keys belong to a team with limits, odd ones to a team without.
fn configuration(keys: usize, on_unavailable: &str) -> Vec<u8> {
    let mut records = String::new();
    for number in 0..keys {
        let team = if number % 2 == 0 { "limited" } else { "free" };
        let digest = format_digest(&digest(key(number).as_bytes()));
        let comma = if number == 0 { "" } else { "," };
        write!(records, r#"{comma}"key{number}":{{"team":"{team}","digest":"{digest}"}}"#).unwrap();
    }
    let rest = json!({
        "version": 1,
        "targets": {"gpt-5-mini": {}},
        "organizations": {"acme": {"name": "Acme", "access": {"targets": ["gpt-5-mini"]}}},
        "teams": {
            "limited": {"organization": "acme", "name": "Limited", "limits": {"rpm": 10}},
            "free": {"organization": "acme", "name": "Free"},
        },
    });
    let policy = rest.to_string().replacen('{', &format!("{{\"keys\":{{{records}}},"), 1);
    format!(r#"{{"on_unavailable":"{on_unavailable}","policy":{policy}}}"#).into_bytes()
}

fn head(key: &str) -> HeaderMap {
    let bearer = format!("Bearer {key}");
    HeaderMap::from([
        (":method", "POST"),
        (":path", "/v1/chat/completions"),
        (":authority", "gateway"),
        (":scheme", "https"),
        ("content-type", "application/json"),
        ("authorization", &bearer),
    ])
}

const BODY: &[u8] = br#"{"model": "gpt-5-mini", "messages": [{"role": "user", "content": "Say hello."}]}"#;

/// A whole call: its status, and the code of its refusal.
fn call(vm: &mut Vm, key: &str) -> (u16, String) {
    let stream = vm.open(StreamInfo::default()).unwrap();
    let mut flow = vm.request_headers(stream, head(key), false).unwrap();
    if !matches!(flow, Flow::Reply(_)) {
        flow = vm.request_body(stream, BODY, true).unwrap();
    }
    let end = match flow {
        Flow::Reply(reply) => {
            let body: serde_json::Value = serde_json::from_slice(&reply.body).unwrap();
            (reply.status, body["error"]["code"].as_str().unwrap_or_default().to_owned())
        }
        Flow::Forward(_) => {
            let head = HeaderMap::from([(":status", "200"), ("content-type", "application/json")]);
            vm.response_headers(stream, head, true).unwrap();
            (200, String::new())
        }
        flow => panic!("{flow:?}"),
    };
    vm.close(stream, &Ending::Complete).unwrap();
    end
}

#[test]
fn keys_and_access_hold_and_limits_follow_the_configuration() {
    for dialect in BARE {
        for (on_unavailable, limited) in
            [("deny", (503, "limits_unavailable".to_owned())), ("allow", (200, String::new()))]
        {
            let (sink, log) = Log::capture();
            let process = Process::builder(filter()).dialect(dialect).log(sink);
            let process = process.start(&configuration(2, on_unavailable)).unwrap();
            let mut vm = process.worker().unwrap();
            let warned = log.lines().into_iter().any(|line| {
                line.level == LogLevel::Warn && line.text.contains("limits and budgets cannot be checked")
            });
            assert!(warned, "{dialect:?}: {:?}", log.lines());
            for _ in 0..20 {
                assert_eq!(call(&mut vm, &key(0)), limited, "{dialect:?} {on_unavailable}");
            }
            assert_eq!(call(&mut vm, &key(1)), (200, String::new()));
            assert_eq!(call(&mut vm, "unknown"), (401, "invalid_api_key".to_owned()));
            vm.tick().unwrap();
        }
    }
}

#[test]
fn ten_thousand_keys_and_a_thousand_streams_fit_the_memory_and_the_time() {
    for dialect in BARE {
        let process = Process::builder(filter()).dialect(dialect).log(Log::discard()).memory_limit(MEMORY);
        let configuration = configuration(KEYS, "allow");
        let begun = Instant::now();
        let process = process.start(&configuration).expect("the policy fits");
        let mut vm = process.worker().expect("it fits again");
        println!("{dialect:?}: {KEYS} keys load twice in {:?}", begun.elapsed());

        let mut open: Vec<StreamId> = Vec::new();
        let mut shortest = [Duration::MAX; 3];
        let mut timed = |at: usize, begun: Instant| shortest[at] = shortest[at].min(begun.elapsed());
        for number in 0..STREAMS {
            let stream = vm.open(StreamInfo::default()).unwrap();
            let head = head(&key(number * 7 % KEYS));
            let begun = Instant::now();
            vm.request_headers(stream, head, false).expect("there is memory");
            timed(0, begun);
            open.push(stream);
        }
        for stream in &open {
            let begun = Instant::now();
            let flow = vm.request_body(*stream, BODY, true).expect("there is memory");
            timed(1, begun);
            assert!(matches!(flow, Flow::Forward(_)), "{flow:?}");
        }
        for stream in &open {
            let head = HeaderMap::from([(":status", "200"), ("content-type", "application/json")]);
            let begun = Instant::now();
            vm.response_headers(*stream, head, false).expect("there is memory");
            timed(2, begun);
        }
        for stream in open {
            vm.close(stream, &Ending::ClientGone).unwrap();
        }
        // The shortest of a thousand: what the callback costs, whatever else the machine does.
        println!("{dialect:?}: head, body and answer take {shortest:?}");
        assert!(shortest.iter().all(|time| *time < CALLBACK), "{shortest:?}");
    }
}
