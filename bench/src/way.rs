//! A request's way through a module in wasmtime, many at once.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use serde_json::Value;
use tollgate_host::host::{Ending, Flow, HeaderMap, Log, Module, Process, StreamInfo, Vm};
use tollgate_host::module;

use crate::piece::Piece;
use crate::world;

/// Requests in one batch.
const BATCH: u32 = 64;

/// Of which part of the way the time is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// From the head's coming to the decision.
    Request,
    /// From the answer's head to its last byte, with the settlement.
    Response,
    /// The end of the stream, with the facts for logs and metrics.
    End,
}

/// One call and its answer.
#[derive(Clone, Debug)]
pub struct Call {
    head: HeaderMap,
    body: Option<Vec<u8>>,
    answer_head: HeaderMap,
    answer: Vec<Vec<u8>>,
}

impl Call {
    /// A call without a body.
    pub fn bodyless() -> Call {
        Call {
            head: world::head("/reports", None),
            body: None,
            answer_head: world::answer_head("application/json"),
            answer: vec![b"{}".to_vec()],
        }
    }

    /// A chat of 2 KB, answered by 2 KB.
    pub fn chat() -> Call {
        let body = world::chat(false);
        Call {
            head: world::head("/v1/chat/completions", Some(body.len())),
            body: Some(body),
            answer_head: world::answer_head("application/json"),
            answer: vec![world::answer()],
        }
    }

    /// A chat of 2 KB, answered by a stream of events.
    pub fn stream() -> Call {
        let body = world::chat(true);
        Call {
            head: world::head("/v1/chat/completions", Some(body.len())),
            body: Some(body),
            answer_head: world::answer_head("text/event-stream"),
            answer: world::events(),
        }
    }

    /// Bytes of the request's body and of the answer's.
    pub fn sizes(&self) -> [usize; 2] {
        [self.body.as_ref().map_or(0, Vec::len), self.answer.iter().map(Vec::len).sum()]
    }

    /// One of these legs, of one of these calls, in this VM.
    pub fn piece(self, name: impl Into<String>, mut vm: Vm, leg: Leg) -> Piece {
        Piece::new(name, BATCH, move || self.batch(&mut vm, leg))
    }

    /// Sends it once.
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
        // As a host has it: a clone would be copied at the first change of it.
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

/// The filter as it is shipped.
///
/// # Panics
/// If it cannot be built.
pub fn filter() -> &'static Module {
    static FILTER: OnceLock<Module> = OnceLock::new();
    FILTER.get_or_init(|| module::load(&[]).unwrap_or_else(|error| panic!("{error}")))
}

/// A process that runs a module with this configuration.
///
/// # Panics
/// If the module refuses it.
pub fn process(module: &Module, configuration: &Value) -> Process {
    Process::builder(module)
        .log(Log::discard())
        .start(configuration.to_string().as_bytes())
        .unwrap_or_else(|error| panic!("{error}"))
}

/// A VM of a process.
///
/// # Panics
/// If it does not start.
pub fn vm(process: &Process) -> Vm {
    process.worker().unwrap_or_else(|error| panic!("{error}"))
}
