//! A proxy-wasm host (ABI 0.2.1) on wasmtime, as a library.
//!
//! It runs the filter that real proxies run, and behaves as those were observed to: as Envoy 1.40 by default, or
//! in another [dialect](Dialect). HTTP itself is left to the embedder, which delivers events and carries out their
//! results.
//!
//! - A [`Module`] is compiled once. [`Module::load`] rejects files that are not proxy-wasm filters.
//! - A [`Process`] holds the state that its VMs share: [`SharedData`], the [`Clock`], [`Metrics`], the [`Log`],
//!   [`Faults`], the configuration. A configuration must pass a temporary canary VM first.
//! - A [`Vm`] is one instance, on one thread at a time. [`Vm::open`] opens a stream; each of its events returns a
//!   [`Flow`]: forward a part, hold, send a local reply, or reset the exchange. [`Vm::close`] closes it: `on_log`,
//!   `on_done`, `on_delete`, for any ending.
//! - A trap ends the VM and every stream in it, without a last callback. Answer 503 until [`Vm::reload`].
//! - Effects outside a stream's own events are polled: [`Vm::take_callouts`] after each event (make the HTTP call and
//!   pass its response to [`Vm::callout_response`]), [`Vm::take_resumed`] after ticks, callout responses and queue
//!   deliveries.
//! - [`interleave`] runs several VMs in an order that a seed determines, down to the single host call.
//!
//! ```
//! use tollgate_host::proxy_wasm::{Ending, HeaderMap, Module, Process, StreamInfo};
//!
//! // A filter that rejects everything.
//! let module = wat::parse_str(r#"
//!     (module
//!       (import "env" "proxy_send_local_response"
//!         (func $reply (param i32 i32 i32 i32 i32 i32 i32 i32) (result i32)))
//!       (memory (export "memory") 1)
//!       (data (i32.const 16) "no entry")
//!       (func (export "proxy_abi_version_0_2_1"))
//!       (func (export "proxy_on_memory_allocate") (param i32) (result i32) (i32.const 1024))
//!       (func (export "proxy_on_request_headers") (param i32 i32 i32) (result i32)
//!         (drop (call $reply (i32.const 403) (i32.const 0) (i32.const 0) (i32.const 16) (i32.const 8)
//!           (i32.const 0) (i32.const 0) (i32.const -1)))
//!         (i32.const 1)))
//! "#)?;
//! let module = Module::from_bytes(&module)?;
//! let process = Process::builder(&module).start(b"its configuration")?;
//! let mut vm = process.worker()?;
//!
//! let stream = vm.open(StreamInfo::default())?;
//! let head = HeaderMap::from([(":method", "GET"), (":path", "/"), (":authority", "gateway"), (":scheme", "http")]);
//! let reply = vm.request_headers(stream, head, true)?.reply().expect("a local reply");
//! assert_eq!((reply.status, reply.body.as_slice()), (403, &b"no entry"[..]));
//! vm.close(stream, &Ending::Complete)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! The module gets headers as the embedder passes them. Envoy joins some that occur twice before any filter (two
//! `authorization` headers are one with a comma in it); a test of that passes the joined value.
//!
//! Not supported: gRPC calls (they fail as for an unknown cluster), layer-4 filters, and WASI beyond the few functions
//! that a standard library links.

mod abi;
mod calls;
mod clock;
mod dialect;
mod error;
mod exchange;
mod faults;
mod headers;
mod log;
mod metrics;
mod module;
mod process;
mod schedule;
mod shared;
mod state;
mod stream;
mod vm;

pub use abi::{Direction, HostCall, LogLevel, Status};
pub use clock::{Clock, ManualClock, SystemClock};
pub use dialect::Dialect;
pub use error::{ModuleError, StartError, VmError};
pub use faults::{Effect, Faults, When};
pub use headers::HeaderMap;
pub use log::{CapturedLog, Log, LogLine};
pub use metrics::{MetricKind, Metrics};
pub use module::Module;
pub use process::{Process, ProcessBuilder};
pub use schedule::{Interleaving, Step, interleave};
pub use shared::SharedData;
pub use state::{HttpCall, HttpCallResponse};
pub use stream::{ClosedStream, Ending, Flow, Forward, LocalReply, StreamId, StreamInfo};
pub use vm::{Resumed, Vm};
