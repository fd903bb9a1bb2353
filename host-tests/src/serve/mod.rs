//! A reverse proxy around a proxy-wasm module: HTTP/1.1 and HTTP/2 on one port, streaming both ways.
//!
//! It decides nothing. Every head, every piece of a body and every trailer goes through the module in wasmtime
//! ([`crate::host`]), and what the module lets go is sent on. As in Envoy there are N workers, each a thread
//! with a VM of its own; a connection stays with its worker, and the VMs share data and nothing else. A module
//! that traps costs its worker's streams; the VM is made again, and shared data stays.
//!
//! Trailers reach an HTTP/1.1 peer only if the head announced them (`Trailer`), and a client only if it said
//! `TE: trailers`. CONNECT is shown to the module and goes no further.

mod answer;
mod callout;
mod exchange;
mod forward;
mod gate;
mod head;
mod inbound;
mod length;
pub mod lines;
pub mod source;
mod tunnel;
mod worker;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::oneshot;

use crate::host::{Process, ProcessBuilder, StartError};

pub use self::forward::{Target, TargetError};
use self::lines::Lines;
use self::worker::Worker;

/// The largest body that the module may ask to hold: well above what it allows itself, so that it is the one
/// who refuses.
pub const BUFFER_LIMIT: usize = 32 << 20;

/// Everything a server is started with.
#[derive(Debug)]
pub struct Options {
    /// Where to listen; port 0: one that the system chooses.
    pub listen: SocketAddr,
    /// How many threads, each with its own VM. At least one.
    pub workers: usize,
    /// The module with its shared data, clock and log.
    pub process: ProcessBuilder,
    /// The gateway configuration that the module is given.
    pub configuration: Vec<u8>,
    /// Where requests go that the module lets through.
    pub upstream: Target,
    /// Where the module's own HTTP calls may go, by the names that its configuration uses.
    pub clusters: Vec<(String, Target)>,
    /// Where the line of each request goes.
    pub lines: Lines,
    /// How long [`Server::shutdown`] waits for open exchanges before it cuts them.
    pub drain: Duration,
}

/// Why a server did not start.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address is taken, or not this machine's.
    #[error("cannot listen on {addr}: {error}")]
    Listen {
        /// Where.
        addr: SocketAddr,
        /// What the system said.
        error: io::Error,
    },
    /// The module does not start, or refuses the configuration.
    #[error(transparent)]
    Module(#[from] StartError),
    /// The upstream cannot be used.
    #[error(transparent)]
    Upstream(#[from] TargetError),
    /// A thread or its runtime could not be made.
    #[error("a worker cannot start: {0}")]
    Worker(io::Error),
}

/// Why an exchange was broken off.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Cut {
    /// The client left.
    #[error("the client has gone")]
    ClientGone,
    /// The upstream left.
    #[error("the upstream broke off")]
    UpstreamGone,
    /// The module wanted it so.
    #[error("the filter ended the exchange")]
    Refused,
    /// A body's length is not the one in its head.
    #[error(
        "a body has {seen} bytes under `content-length: {announced}`: the filter changed one and not the other"
    )]
    Length {
        /// What the head says.
        announced: u64,
        /// How many there are, or were when it was noticed.
        seen: u64,
    },
    /// The module made trailers that HTTP has no form for.
    #[error("the filter made trailers that cannot be sent")]
    Trailers,
    /// The module made a head that HTTP has no form for.
    #[error("the filter made a head that cannot be sent")]
    Head,
}

/// A running server. Dropped, it stops at once and cuts what is open.
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
        let workers = (0..options.workers.max(1))
            .map(|_| Worker::start(&process, &options.upstream, &options.clusters, &options.lines))
            .collect::<Result<Vec<_>, _>>()?;
        let accepting = worker::accept(listener, &workers).map_err(ServeError::Worker)?;
        Ok(Server { addr, process, workers, accepting: Some(accepting), drain: options.drain })
    }

    /// Where it listens.
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What the workers' VMs share: metrics, shared data, clock, faults.
    pub fn process(&self) -> &Process {
        &self.process
    }

    /// Goes over to another configuration, in every worker before this returns. A canary VM must take it first.
    ///
    /// # Errors
    /// Where the module refuses it; the one before stays.
    pub fn reload(&self, configuration: &[u8]) -> Result<(), StartError> {
        self.process.configure(configuration)?;
        let waiting: Vec<_> = self.workers.iter().map(Worker::reconfigure).collect();
        waiting.into_iter().try_for_each(worker::Pending::wait)
    }

    /// Stops listening, waits for open exchanges as long as the options say, and cuts what is left.
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
