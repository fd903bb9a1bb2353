//! What host calls work on: the part of a VM that wasmtime's store carries.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use wasmtime::{Memory, StoreLimits, TypedFunc};

use super::metrics::Metric;
use super::process::Shared;
use super::schedule::Turn;
use super::stream::Stream;
use super::{Direction, HeaderMap, HostCall, LogLevel, LogLine};

/// An HTTP call that the module dispatched; the embedder makes it and answers with `Vm::callout_response`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCall {
    /// Names the call in its answer.
    pub token: u32,
    /// The name of the cluster.
    pub upstream: String,
    /// With `:method`, `:path` and `:authority`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: HeaderMap,
    /// When it counts as failed.
    pub timeout: Duration,
}

/// The complete answer to an [`HttpCall`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpCallResponse {
    /// With `:status`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: HeaderMap,
}

/// What the module is in the middle of, as far as host calls care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `_initialize`, `on_vm_start`, `on_configure`: no callouts yet.
    Starting,
    Serving,
}

#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) id: u32,
    pub(crate) configuration: Arc<[u8]>,
    /// Zero: no ticks.
    pub(crate) tick_period: Duration,
    /// Streams that were opened under it and are not closed.
    pub(crate) streams: usize,
    pub(crate) end: RootEnd,
}

/// How far the end of a root context has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum RootEnd {
    No,
    /// `on_done` was called.
    Asked,
    /// `on_done` returned true, or the module called `proxy_done`.
    Done,
}

pub(crate) struct VmState {
    pub(crate) memory: Option<Memory>,
    pub(crate) allocate: Option<TypedFunc<u32, u32>>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) index: Option<u32>,
    pub(crate) phase: Phase,
    pub(crate) streams: HashMap<u32, Stream, BuildHasherDefault<ContextHasher>>,
    pub(crate) roots: Vec<Root>,
    /// The context whose callback runs.
    pub(crate) current: u32,
    /// The context that the module chose with `set_effective_context`.
    pub(crate) effective: Option<u32>,
    /// The answer that `on_http_call_response` reads.
    pub(crate) callout: Option<HttpCallResponse>,
    pub(crate) calls: Vec<HttpCall>,
    /// Callouts without an answer, and the root contexts that get it.
    pub(crate) open_calls: HashMap<u32, u32>,
    pub(crate) next_token: u32,
    /// Shared queues whose readiness this VM is told of, and the root context that is.
    pub(crate) queues: Vec<(u32, u32)>,
    /// Streams that were continued, closed or answered outside their own callbacks.
    pub(crate) touched: Vec<(u32, Direction)>,
    pub(crate) metrics: Vec<Arc<Metric>>,
    pub(crate) counts: [u64; HostCall::COUNT],
    /// Used again by every call that returns data.
    pub(crate) scratch: Vec<u8>,
    pub(crate) turn: Option<Turn>,
    /// An injected fault: somebody else writes before the next write.
    pub(crate) lose_swap: bool,
    pub(crate) limits: StoreLimits,
    /// SplitMix64 state of `random_get`; `None`: the system's own randomness.
    pub(crate) random: Option<u64>,
}

impl VmState {
    pub(crate) fn new(
        shared: Arc<Shared>,
        index: Option<u32>,
        limits: StoreLimits,
        random: Option<u64>,
    ) -> VmState {
        VmState {
            memory: None,
            allocate: None,
            shared,
            index,
            phase: Phase::Starting,
            streams: HashMap::default(),
            roots: Vec::new(),
            current: 0,
            effective: None,
            callout: None,
            calls: Vec::new(),
            open_calls: HashMap::new(),
            next_token: 1,
            queues: Vec::new(),
            touched: Vec::new(),
            metrics: Vec::new(),
            counts: [0; HostCall::COUNT],
            scratch: Vec::new(),
            turn: None,
            lose_swap: false,
            limits,
            random,
        }
    }

    /// The context that host calls work on.
    pub(crate) fn context(&self) -> u32 {
        match self.effective {
            // As in proxy-wasm-cpp-host: a chosen context that is gone means the true one.
            Some(id) if self.knows(id) => id,
            _ => self.current,
        }
    }

    pub(crate) fn knows(&self, context: u32) -> bool {
        self.streams.contains_key(&context) || self.roots.iter().any(|root| root.id == context)
    }

    pub(crate) fn stream(&self) -> Option<&Stream> {
        self.streams.get(&self.context())
    }

    pub(crate) fn stream_mut(&mut self) -> Option<&mut Stream> {
        let context = self.context();
        self.streams.get_mut(&context)
    }

    /// The root context of what host calls work on.
    pub(crate) fn root(&self) -> Option<&Root> {
        let context = self.context();
        let id = self.streams.get(&context).map_or(context, |stream| stream.root);
        self.roots.iter().find(|root| root.id == id)
    }

    pub(crate) fn root_mut(&mut self, id: u32) -> Option<&mut Root> {
        self.roots.iter_mut().find(|root| root.id == id)
    }

    pub(crate) fn log(&self, level: LogLevel, text: &[u8]) {
        if level >= self.shared.options.log_level {
            let text = String::from_utf8_lossy(text).into_owned();
            self.shared.log.write(LogLine { level, vm: self.index, text });
        }
    }
}

/// Context ids count up from 1: they are their own hash, spread over the table's upper bits.
#[derive(Default)]
pub(crate) struct ContextHasher(u64);

impl Hasher for ContextHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_u32(&mut self, id: u32) {
        self.0 = u64::from(id).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
