//! The state of a VM in wasmtime's store, which host calls use.

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

/// An HTTP call that the module dispatched. The embedder makes it and passes the response to
/// `Vm::callout_response`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpCall {
    /// The id of the call for its response.
    pub token: u32,
    /// The name of the cluster.
    pub upstream: String,
    /// The headers, with `:method`, `:path` and `:authority`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: HeaderMap,
    /// The time limit.
    pub timeout: Duration,
}

/// The complete response to an [`HttpCall`].
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HttpCallResponse {
    /// The headers, with `:status`.
    pub headers: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// The trailers.
    pub trailers: HeaderMap,
}

/// The phase of a VM, as far as host calls depend on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// `_initialize`, `on_vm_start`, `on_configure`: callouts are not allowed yet.
    Starting,
    Serving,
}

#[derive(Debug)]
pub(crate) struct Root {
    pub(crate) id: u32,
    pub(crate) configuration: Arc<[u8]>,
    /// The period of ticks; zero for none.
    pub(crate) tick_period: Duration,
    /// The number of open streams under it.
    pub(crate) streams: usize,
    pub(crate) end: RootEnd,
}

/// The progress of a root context's end.
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
    /// The response that `on_http_call_response` reads.
    pub(crate) callout: Option<HttpCallResponse>,
    pub(crate) calls: Vec<HttpCall>,
    /// Callouts without a response, with the root contexts that get it.
    pub(crate) open_calls: HashMap<u32, u32>,
    pub(crate) next_token: u32,
    /// Shared queues of which this VM is notified, with the root context.
    pub(crate) queues: Vec<(u32, u32)>,
    /// Streams that were continued, closed or answered outside their own callbacks.
    pub(crate) touched: Vec<(u32, Direction)>,
    pub(crate) metrics: Vec<Arc<Metric>>,
    pub(crate) counts: [u64; HostCall::COUNT],
    /// A buffer that calls returning data reuse.
    pub(crate) scratch: Vec<u8>,
    pub(crate) turn: Option<Turn>,
    /// An injected fault: a conflict at the next write.
    pub(crate) lose_swap: bool,
    pub(crate) limits: StoreLimits,
    /// The SplitMix64 state of `random_get`; `None` for the system's own randomness.
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

    /// Returns the context that host calls use.
    pub(crate) fn context(&self) -> u32 {
        match self.effective {
            // As in proxy-wasm-cpp-host: if the chosen context is gone, the current one is used.
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

    /// Returns the root context of the current context.
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
