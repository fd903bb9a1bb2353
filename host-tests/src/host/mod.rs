//! A proxy-wasm host (ABI 0.2.1) on wasmtime, as a library.
//!
//! It runs the filter that real proxies run, and behaves as they were seen to: as Envoy 1.40 by default, in the
//! [dialects](Dialect) of others where a test asks for it. HTTP itself is not in here: an embedder tells what comes in
//! and carries out what goes on.
//!
//! - A [`Module`] is compiled once. [`Module::load`] refuses what is not a proxy-wasm filter, and says why.
//! - A [`Process`] is what its VMs share: [`SharedData`], the [`Clock`], [`Metrics`], the [`Log`], [`Faults`], the
//!   configuration. A configuration must pass a throw-away canary VM first.
//! - A [`Vm`] is one instance, on one thread at a time. [`Vm::open`] begins a stream; each event of it answers with a
//!   [`Flow`]: what goes on now, that the host holds it, a local reply, or that the exchange is cut. [`Vm::close`] ends
//!   it: `on_log`, `on_done`, `on_delete`, whatever the ending.
//! - A trap kills the VM and every stream in it, with no last callback. Answer 503 until [`Vm::reload`].
//! - What happens outside a stream's own events is asked for: [`Vm::take_callouts`] after each event (make the HTTP call,
//!   answer with [`Vm::callout_response`]), [`Vm::take_resumed`] after ticks, callout answers and queue deliveries.
//! - [`interleave`] runs several VMs in the one order that a seed stands for, down to the single host call.
//!
//! ```
//! use tollgate_host::host::{Ending, HeaderMap, Module, Process, StreamInfo};
//!
//! // A filter that refuses everything.
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
//! let reply = vm.request_headers(stream, head, true)?.reply().expect("it refuses everything");
//! assert_eq!((reply.status, reply.body.as_slice()), (403, &b"no entry"[..]));
//! vm.close(stream, &Ending::Complete)?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```
//!
//! Headers reach the module as the embedder gives them. Envoy itself joins some that come twice before any filter sees
//! them (two `authorization` headers are one with a comma in it); a test of that gives the joined value.
//!
//! What it leaves out: gRPC calls (they answer as to a cluster that is not there), layer-4 filters, WASI beyond the
//! handful of functions that a standard library links.

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
