//! Requests through a module in wasmtime, in batches.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tollgate_host::build::module;
use tollgate_host::proxy_wasm::{Ending, Flow, HeaderMap, Log, Module, Process, StreamInfo, Vm};

use crate::piece::Piece;
use crate::world;

/// Requests in one batch.
const BATCH: u32 = 64;

/// The timed part of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// From the request's head to the decision.
    Request,
    /// From the response's head to its last byte, with the settlement.
    Response,
    /// The end of the stream, with the properties for logs and metrics.
    End,
}

/// A request and its response.
#[derive(Clone, Debug)]
pub struct Call {
    head: HeaderMap,
    body: Option<Vec<u8>>,
    answer_head: HeaderMap,
    answer: Vec<Vec<u8>>,
}

impl Call {
    /// Creates a call without a body.
    pub fn bodyless() -> Call {
        Call {
            head: world::head("/reports", None),
            body: None,
            answer_head: world::answer_head("application/json"),
            answer: vec![b"{}".to_vec()],
        }
    }

    /// Creates a chat of 2 KB with a response of 2 KB.
    pub fn chat() -> Call {
        let body = world::chat(false);
        Call {
            head: world::head("/v1/chat/completions", Some(body.len())),
            body: Some(body),
            answer_head: world::answer_head("application/json"),
            answer: vec![world::answer()],
        }
    }

    /// Creates a chat of 2 KB with a stream of events as the response.
    pub fn stream() -> Call {
        let body = world::chat(true);
        Call {
            head: world::head("/v1/chat/completions", Some(body.len())),
            body: Some(body),
            answer_head: world::answer_head("text/event-stream"),
            answer: world::events(),
        }
    }

    /// Returns the sizes of the request's body and the response's, in bytes.
    pub fn sizes(&self) -> [usize; 2] {
        [self.body.as_ref().map_or(0, Vec::len), self.answer.iter().map(Vec::len).sum()]
    }

    /// Creates a bench of one leg of this call in this VM.
    pub fn piece(self, name: impl Into<String>, mut vm: Vm, leg: Leg) -> Piece {
        Piece::new(name, BATCH, move || self.batch(&mut vm, leg))
    }

    /// Runs the call once.
    pub fn once(&self, vm: &mut Vm) {
        self.run(vm, 1);
    }

    fn batch(&self, vm: &mut Vm, leg: Leg) -> Duration {
        let times = self.run(vm, BATCH);
        match leg {
            Leg::Request => times[0],
            Leg::Response => times[1],
            Leg::End => times[2],
        }
    }

    fn run(&self, vm: &mut Vm, count: u32) -> [Duration; 3] {
        // A new map, as in a host: a clone would be copied at its first change.
        let own = |head: &HeaderMap| head.iter().collect::<HeaderMap>();
        let open = |vm: &mut Vm| vm.open(StreamInfo::default()).unwrap_or_else(|error| panic!("{error}"));
        let streams: Vec<_> =
            (0..count).map(|_| (open(vm), own(&self.head), own(&self.answer_head))).collect();
        let (mut heads, mut answer_heads) = (Vec::new(), Vec::new());
        for (stream, head, answer_head) in streams {
            heads.push((stream, head));
            answer_heads.push((stream, answer_head));
        }

        let began = Instant::now();
        let ids: Vec<_> = heads
            .into_iter()
            .map(|(id, head)| {
                let mut flow = vm.request_headers(id, head, self.body.is_none());
                if let Some(body) = &self.body {
                    flow = vm.request_body(id, body, true);
                }
                assert!(matches!(flow, Ok(Flow::Forward(_))), "{flow:?}");
                id
            })
            .collect();
        let request = began.elapsed();

        let began = Instant::now();
        for (id, head) in answer_heads {
            let mut flow = vm.response_headers(id, head, false);
            for (position, piece) in self.answer.iter().enumerate() {
                flow = vm.response_body(id, piece, position + 1 == self.answer.len());
            }
            assert!(matches!(flow, Ok(Flow::Forward(_))), "{flow:?}");
        }
        let response = began.elapsed();

        let began = Instant::now();
        for id in ids {
            vm.close(id, &Ending::Complete).unwrap_or_else(|error| panic!("{error}"));
        }
        [request, response, began.elapsed()]
    }
}

/// Returns the filter as it is shipped.
///
/// # Panics
/// If it cannot be built.
pub fn filter() -> &'static Module {
    static FILTER: OnceLock<Module> = OnceLock::new();
    FILTER.get_or_init(|| module::load(&[]).unwrap_or_else(|error| panic!("{error}")))
}

/// Starts a process that runs a module with this configuration.
///
/// # Panics
/// If the module rejects it.
pub fn process(module: &Module, configuration: &Value) -> Process {
    Process::builder(module)
        .log(Log::discard())
        .start(configuration.to_string().as_bytes())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// Starts a VM of a process.
///
/// # Panics
/// If it does not start.
pub fn vm(process: &Process) -> Vm {
    process.worker().unwrap_or_else(|error| panic!("{error}"))
}
