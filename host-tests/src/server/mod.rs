//! A reverse proxy around a proxy-wasm module: HTTP/1.1 and HTTP/2 on one port, streaming both ways.
//!
//! It makes no decisions. Apart from the files of the console, every head, body chunk and trailer passes through the module in wasmtime
//! ([`crate::proxy_wasm`]), and what the module returns is forwarded. As in Envoy there are N workers, each a
//! thread with its own VM. A connection stays with its worker, and the VMs share only the shared data. A
//! module that traps ends its worker's streams; the VM is created again, and shared data stays.
//!
//! Trailers reach an HTTP/1.1 peer only if the head announced them (`Trailer`), and a client only if it sent
//! `TE: trailers`. CONNECT is passed to the module and not forwarded.

mod answer;
mod callout;
mod connection;
pub mod console;
mod exchange;
mod forward;
mod gate;
mod head;
mod inbound;
mod length;
pub mod lines;
mod load;
pub mod source;
pub mod tls;
mod tunnel;
mod watch;
mod worker;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::proxy_wasm::{Process, ProcessBuilder, StartError};

pub use self::callout::Cluster;
use self::console::Console;
pub use self::forward::{Target, TargetError};
use self::lines::Lines;
pub use self::load::Limits;
use self::load::Load;
use self::tls::Tls;
pub use self::worker::Stopper;
use self::worker::{Shared, Worker};

/// The size limit of a body that the module may buffer. The module's own limit is `max_body`, which an operator
/// may raise; this bounds a module that has none.
pub const BUFFER_LIMIT: usize = 1 << 30;

/// Options of a server.
#[derive(Debug)]
pub struct Options {
    /// The address to listen on; port 0: one that the system chooses.
    pub listen: SocketAddr,
    /// The number of threads, each with its own VM. At least one.
    pub workers: usize,
    /// The module with its shared data, clock and log.
    pub process: ProcessBuilder,
    /// The gateway configuration of the module.
    pub configuration: Vec<u8>,
    /// The upstream for requests that the module allows.
    pub upstream: Target,
    /// The targets of the module's own HTTP calls, by the names that its configuration uses.
    pub clusters: Vec<(String, Cluster)>,
    /// The destination of the access log.
    pub lines: Lines,
    /// The time that [`Server::shutdown`] gives open exchanges before it cuts them.
    pub drain: Duration,
    /// The limits towards clients.
    pub limits: Limits,
    /// The certificate with its key; `None`: HTTP in the clear.
    pub tls: Option<Arc<Tls>>,
    /// The web console; `None`: its address is a path like any other, for the module.
    pub console: Option<Arc<Console>>,
}

/// An error that prevents a server from starting.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is in use, or not one of this machine's.
    #[error("cannot listen on {addr}: {error}")]
    Listen {
        /// The address.
        addr: SocketAddr,
        /// The error of the system.
        error: io::Error,
    },
    /// The module does not start, or rejects the configuration.
    #[error(transparent)]
    Module(#[from] StartError),
    /// The upstream is invalid.
    #[error(transparent)]
    Upstream(#[from] TargetError),
    /// A thread or its runtime could not be created.
    #[error("a worker cannot start: {0}")]
    Worker(io::Error),
}

/// The reason why an exchange was aborted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// The client disconnected.
    #[error("the client disconnected")]
    ClientGone,
    /// The upstream disconnected.
    #[error("the upstream closed the connection")]
    UpstreamGone,
    /// The module ended the exchange.
    #[error("the filter ended the exchange")]
    Refused,
    /// The length of a body differs from the one in its head.
    #[error("a body has {seen} bytes under `content-length: {announced}`: the filter must change both")]
    Length {
        /// The length in the head.
        announced: u64,
        /// The number of bytes seen so far.
        seen: u64,
    },
    /// The module produced trailers that are not valid in HTTP.
    #[error("the filter produced trailers that cannot be sent")]
    Trailers,
    /// The module produced a head that is not valid in HTTP.
    #[error("the filter produced a head that cannot be sent")]
    Head,
    /// No part of the response was received or sent for too long.
    #[error("the stream was idle for too long")]
    Idle,
}

/// A running server. Dropping it stops it at once and cuts open exchanges.
pub struct Server {
    addr: SocketAddr,
    process: Process,
    workers: Vec<Worker>,
    accepting: Option<(oneshot::Sender<()>, JoinHandle<()>)>,
    drain: Duration,
}

impl Server {
    /// Starts the module, then its workers, then listens.
    pub fn start(options: Options) -> Result<Server, ServeError> {
        let named = options.clusters.iter().map(|(name, _)| name);
        let process = named.fold(options.process, |process, name| process.cluster(name));
        let process = process.start(&options.configuration)?;
        let addr = options.listen;
        let listen = |error| ServeError::Listen { addr, error };
        let listener = TcpListener::bind(addr).map_err(listen)?;
        listener.set_nonblocking(true).map_err(listen)?;
        let addr = listener.local_addr().map_err(listen)?;
        let load = Load::new(options.limits);
        let Options { tls, lines, console, .. } = options;
        let shared = Shared { load: Arc::clone(&load), tls, lines, console };
        let workers = (0..options.workers.max(1))
            .map(|_| Worker::start(&process, &options.upstream, &options.clusters, &shared))
            .collect::<Result<Vec<_>, _>>()?;
        let accepting = worker::accept(listener, &workers, &load).map_err(ServeError::Worker)?;
        Ok(Server { addr, process, workers, accepting: Some(accepting), drain: options.drain })
    }

    /// Returns the address that it listens on.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Returns the state that the workers' VMs share: metrics, shared data, clock, faults.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Switches every worker to another configuration before returning. A canary VM must accept it first.
    ///
    /// # Errors
    /// If the module rejects it; the previous one stays.
    pub fn reload(&self, configuration: &[u8]) -> Result<(), StartError> {
        self.process.configure(configuration)?;
        let waiting: Vec<_> = self.workers.iter().map(Worker::reconfigure).collect();
        waiting.into_iter().try_for_each(worker::Pending::wait)
    }

    /// Returns a handle that ends a [`Server::shutdown`] before its time.
    pub fn stopper(&self) -> Stopper {
        worker::stopper(&self.workers)
    }

    /// Stops listening, waits for open exchanges as long as the options allow, and cuts the rest.
    pub fn shutdown(mut self) {
        self.stop(self.drain);
    }

    fn stop(&mut self, drain: Duration) {
        if let Some((stop, thread)) = self.accepting.take() {
            drop(stop);
            let _ = thread.join();
        }
        for worker in &self.workers {
            worker.stop(drain);
        }
        for worker in self.workers.drain(..) {
            worker.join();
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop(Duration::ZERO);
    }
}
