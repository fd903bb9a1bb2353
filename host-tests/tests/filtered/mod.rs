//! The filter in the host, with calls of a team with a token limit and a budget.

#![allow(dead_code)] // Each test uses its own part.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use serde_json::{Value, json};
use tollgate_core::counters::{CounterRecord, RecordKey};
use tollgate_core::quota::Window;
use tollgate_core::secret::api_key;
use tollgate_host::proxy_wasm::{
    Clock, ClosedStream, Ending, Flow, Forward, HeaderMap, LocalReply, Log, ManualClock, Module, Process,
    StreamId, StreamInfo, Vm,
};

pub const KEY: &str = "a-key-of-another-gateway";
pub const CHAT: &str = "/v1/chat/completions";
/// Picodollars per token, by the prices of [`configuration`].
pub const INPUT: u128 = 1_000_000;
pub const CACHED: u128 = INPUT / 10;
pub const OUTPUT: u128 = 10 * INPUT;
/// Input tokens that a budget's reservation contains besides one per byte.
pub const ENVELOPE: usize = 32;

pub fn module() -> &'static Module {
    static MODULE: OnceLock<Module> = OnceLock::new();
    MODULE.get_or_init(|| tollgate_host::build::module::load(&[]).expect("the filter builds and loads"))
}

/// Returns one team, one key, one priced model that it may call, and one that it may not.
pub fn configuration(limits: Value, budget: Value) -> Value {
    json!({ "policy": {
        "version": 1,
        "targets": {
            "small": { "price": { "input": "1", "cached_input": "0.1", "output": "10" } },
            "large": { "price": { "input": "100", "output": "1000" } },
        },
        "organizations": { "acme": { "name": "Acme", "access": { "targets": ["small"] } } },
        "teams": { "blue": { "organization": "acme", "name": "Blue", "limits": limits, "budget": budget } },
        "keys": { "laptop": { "team": "blue", "digest": api_key::format_digest(&api_key::digest(KEY.as_bytes())) } },
    }})
}

/// Returns limits and a budget that are never reached.
pub fn roomy() -> Value {
    configuration(json!({ "tpd": 1_000_000_000 }), json!({ "max": "1000000" }))
}

pub struct Filtered {
    pub process: Process,
    pub vm: Vm,
    pub clock: Arc<ManualClock>,
}

impl Filtered {
    pub fn new(configuration: &Value) -> Filtered {
        let (clock, hands) = Clock::manual(Duration::from_secs(1_800_000_000));
        let builder = Process::builder(module()).clock(clock).log(Log::discard()).buffer_limit(32 << 20);
        let process = builder.start(configuration.to_string().as_bytes()).expect("it is right");
        let vm = process.worker().expect("the canary took it");
        Filtered { process, vm, clock: hands }
    }

    /// Sends the head and the body of a request in one piece, and returns the host's last action.
    pub fn send(&mut self, path: &str, fields: &[(&str, &str)], body: &[u8]) -> (StreamId, Flow) {
        self.send_pieces(path, fields, &[body])
    }

    /// Sends like [`Filtered::send`], in these chunks.
    pub fn send_pieces(&mut self, path: &str, fields: &[(&str, &str)], pieces: &[&[u8]]) -> (StreamId, Flow) {
        let stream = self.vm.open(StreamInfo::default()).unwrap();
        let bearer = format!("Bearer {KEY}");
        let mut head = HeaderMap::from([
            (":method", "POST"),
            (":path", path),
            (":authority", "gateway"),
            (":scheme", "http"),
            ("authorization", &bearer),
        ]);
        for (name, value) in fields {
            head.add(name, value);
        }
        let mut flow = self.vm.request_headers(stream, head, false).unwrap();
        for (number, piece) in pieces.iter().enumerate() {
            match flow {
                Flow::Hold => {}
                decided => return (stream, decided),
            }
            flow = self.vm.request_body(stream, piece, number + 1 == pieces.len()).unwrap();
        }
        (stream, flow)
    }

    /// Sends a JSON request that must be admitted, and returns the forwarded part.
    pub fn admitted(&mut self, path: &str, body: &[u8]) -> (StreamId, Forward) {
        let length = body.len().to_string();
        let fields = [("content-type", "application/json"), ("content-length", &length)];
        match self.send(path, &fields, body) {
            (stream, Flow::Forward(forward)) => (stream, forward),
            (_, flow) => panic!("not sent on: {flow:?} for {}", String::from_utf8_lossy(body)),
        }
    }

    /// Sends a request that must be rejected, and returns the response.
    pub fn refused(&mut self, path: &str, fields: &[(&str, &str)], body: &[u8]) -> LocalReply {
        match self.send(path, fields, body) {
            (stream, Flow::Reply(reply)) => {
                self.vm.close(stream, &Ending::Complete).unwrap();
                reply
            }
            (_, flow) => panic!("not refused: {flow:?} for {:.200}", String::from_utf8_lossy(body)),
        }
    }

    /// Sends the head of a response, and returns the client's part.
    pub fn answers(&mut self, stream: StreamId, status: &str, content_type: &str) -> HeaderMap {
        let head = HeaderMap::from([(":status", status), ("content-type", content_type)]);
        let flow = self.vm.response_headers(stream, head, false).unwrap();
        flow.forward().and_then(|forward| forward.headers).expect("it is not held")
    }

    /// Sends more of a response, and returns the client's part.
    pub fn more(&mut self, stream: StreamId, bytes: &[u8], end: bool) -> Vec<u8> {
        self.vm.response_body(stream, bytes, end).unwrap().forward().expect("it is not held").body
    }

    pub fn close(&mut self, stream: StreamId, ending: &Ending) -> ClosedStream {
        self.vm.close(stream, ending).unwrap()
    }

    /// Returns the tokens and picodollars in the team's counter for today.
    pub fn charged(&self) -> (u64, u128) {
        let name = RecordKey::new("tollgate/1/", &["team", "blue"]);
        let Ok((bytes, _)) = self.process.shared_data().get(name.as_str().as_bytes()) else {
            return (0, 0);
        };
        let mut cell = CounterRecord::open(bytes, name.fingerprint()).unwrap();
        let tokens = cell.stored_counter(Window::Tpd, 0).map_or(0, |counter| counter.used());
        (tokens, cell.spend().spent().0)
    }

    /// Returns the sum of the series of a metric that have all of these labels, written as `;name=value`.
    pub fn labeled(&self, name: &str, labels: &[&str]) -> u64 {
        let all = self.process.metrics().snapshot();
        let is_meant = |series: &str| {
            let (series, rest) = series.split_at(series.find(';').unwrap_or(series.len()));
            let rest = format!("{rest};");
            series == format!("tollgate.{name}")
                && labels.iter().all(|label| rest.contains(&format!("{label};")))
        };
        all.iter().filter(|(series, _)| is_meant(series)).map(|(_, (_, value))| value).sum()
    }

    /// Returns the sum of all series of a metric.
    pub fn metric(&self, name: &str) -> u64 {
        self.labeled(name, &[])
    }
}

/// Returns a field of the access log.
pub fn logged<'a>(closed: &'a ClosedStream, name: &str) -> Option<&'a str> {
    closed.properties.get(&format!("tollgate.{name}")).map(|value| std::str::from_utf8(value).unwrap())
}

/// Returns a chat with the cheap model.
pub fn chat(max_tokens: u64, stream: bool) -> Vec<u8> {
    json!({"model": "small", "max_tokens": max_tokens, "stream": stream,
        "messages": [{"role": "user", "content": "Say hello."}]})
    .to_string()
    .into_bytes()
}

/// Returns the events of an OpenAI stream for a client that requested usage, and for one that did not.
pub fn events(words: usize, input: u64, output: u64) -> (Vec<String>, String) {
    let chunk = |word: usize| format!(r#"data: {{"choices":[{{"delta":{{"content":"w{word}"}}}}]"#);
    let mut asked: Vec<String> = (0..words).map(|word| chunk(word) + ",\"usage\":null}\n\n").collect();
    let plain: String = (0..words).map(|word| chunk(word) + "}\n\n").collect();
    asked.push(format!(
        "data: {{\"choices\":[],\"usage\":{{\"prompt_tokens\":{input},\"completion_tokens\":{output}}}}}\n\n"
    ));
    asked.push("data: [DONE]\n\n".into());
    (asked, plain + "data: [DONE]\n\n")
}
