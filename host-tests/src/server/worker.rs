//! A worker: one thread with a runtime, a VM, and its connections.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{oneshot, watch};
use tokio::task::{JoinSet, LocalSet};

use crate::proxy_wasm::{Process, StartError, StreamInfo, Vm};

use super::ServeError;
use super::callout::{self, Clusters, carry_out};
use super::exchange::{Exchanger, protocol};
use super::forward::Target;
use super::gate::Gate;
use super::lines::Lines;

/// The size limit of a head. Large, so that the module rejects hostile heads itself.
const HEAD: usize = 256 << 10;
/// The pause before another accept after the system ran out of a resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The handle of a worker's thread.
pub(super) struct Worker {
    commands: UnboundedSender<Command>,
    thread: JoinHandle<()>,
}

enum Command {
    Connection(TcpStream, SocketAddr),
    Reconfigure(mpsc::Sender<Result<(), StartError>>),
    Stop(Duration),
}

/// A worker that is switching to another configuration.
pub(super) struct Pending(mpsc::Receiver<Result<(), StartError>>);

impl Pending {
    pub(super) fn wait(self) -> Result<(), StartError> {
        // A worker that has stopped has nothing to configure.
        self.0.recv().unwrap_or(Ok(()))
    }
}

impl Worker {
    pub(super) fn start(
        process: &Process,
        target: &Target,
        clusters: &[(String, Target)],
        lines: &Lines,
    ) -> Result<Worker, ServeError> {
        let vm = process.worker()?;
        let client = target.client()?;
        let clusters = Clusters::new(clusters)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Worker)?;
        let (commands, received) = unbounded_channel();
        let (target, lines) = (target.clone(), lines.clone());
        let thread = std::thread::Builder::new()
            .name("worker".to_owned())
            .spawn(move || {
                let local = LocalSet::new();
                let run = move |vm: Vm| async move {
                    let (outbox, calls) = callout::outbox();
                    let gate = Rc::new(Gate::new(vm, outbox, lines));
                    let calling = tokio::task::spawn_local(carry_out(calls, clusters, Rc::clone(&gate)));
                    let exchanger = Exchanger { gate, target, client };
                    serve(Rc::new(exchanger), received).await;
                    calling.abort();
                };
                local.block_on(&runtime, run(vm));
            })
            .map_err(ServeError::Worker)?;
        Ok(Worker { commands, thread })
    }

    pub(super) fn reconfigure(&self) -> Pending {
        let (done, receiver) = mpsc::channel();
        // An error means that the worker has stopped, which `Pending` also sees.
        let _ = self.commands.send(Command::Reconfigure(done));
        Pending(receiver)
    }

    pub(super) fn stop(&self, drain: Duration) {
        let _ = self.commands.send(Command::Stop(drain));
    }

    pub(super) fn join(self) {
        let _ = self.thread.join();
    }
}

/// Deals connections to the workers in turn: on a quiet machine the kernel would give all of them to one
/// worker.
pub(super) fn accept(
    listener: TcpListener,
    workers: &[Worker],
) -> io::Result<(oneshot::Sender<()>, JoinHandle<()>)> {
    let workers: Vec<_> = workers.iter().map(|worker| worker.commands.clone()).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let deal = async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        for worker in workers.iter().cycle() {
            let (stream, client) = loop {
                match listener.accept().await {
                    Ok(accepted) => break accepted,
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                }
            };
            if worker.send(Command::Connection(stream.into_std()?, client)).is_err() {
                break;
            }
        }
        io::Result::Ok(())
    };
    let thread = std::thread::Builder::new().name("accept".to_owned()).spawn(move || {
        runtime.block_on(async move {
            tokio::select! {
                ended = deal => {
                    if let Err(error) = ended {
                        eprintln!("tollgate: no longer accepting connections: {error}");
                    }
                }
                _ = stopped => {}
            }
        });
    })?;
    Ok((stop, thread))
}

async fn serve(exchanger: Rc<Exchanger>, mut commands: UnboundedReceiver<Command>) {
    let gate = Rc::clone(&exchanger.gate);
    let (draining, drained) = watch::channel(false);
    let mut connections = JoinSet::new();
    let ticks = gate.tick();
    tokio::pin!(ticks);
    let drain = loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            () = &mut ticks => return,
            Some(_) = connections.join_next() => continue,
        };
        match command {
            Some(Command::Connection(stream, client)) => {
                connections.spawn_local(connection(Rc::clone(&exchanger), stream, client, drained.clone()));
            }
            Some(Command::Reconfigure(done)) => {
                let _ = done.send(gate.reconfigure());
            }
            Some(Command::Stop(drain)) => break drain,
            None => break Duration::ZERO,
        }
    };
    let _ = draining.send(true);
    let rest = async { while connections.join_next().await.is_some() {} };
    let _ = tokio::time::timeout(drain, rest).await;
    gate.drain();
    connections.shutdown().await;
}

/// Serves a connection to its end, or until its exchange ends while the server drains.
async fn connection(
    exchanger: Rc<Exchanger>,
    stream: TcpStream,
    client: SocketAddr,
    mut drained: watch::Receiver<bool>,
) {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let Ok(stream) = tokio::net::TcpStream::from_std(stream) else { return };
    let _ = stream.set_nodelay(true);
    let here = stream.local_addr().ok();
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    let service = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
        let exchanger = Rc::clone(&exchanger);
        let info = StreamInfo {
            source: Some(client),
            destination: here,
            protocol: protocol(request.version()).to_owned(),
            connection_id: number,
            ..StreamInfo::default()
        };
        async move { exchanger.exchange(request, info).await }
    });
    let mut builder = auto::Builder::new(LocalExecutor);
    builder.http1().timer(TokioTimer::new()).max_buf_size(HEAD);
    builder.http2().timer(TokioTimer::new()).max_header_list_size(HEAD as u32);
    let connection = builder.serve_connection_with_upgrades(TokioIo::new(stream), service);
    tokio::pin!(connection);
    tokio::select! {
        // Its outcome is in the log lines of its requests.
        _ = connection.as_mut() => return,
        _ = drained.wait_for(|drained| *drained) => connection.as_mut().graceful_shutdown(),
    }
    let _ = connection.await;
}

/// Runs a connection's streams on the thread of their VM.
#[derive(Clone, Copy)]
struct LocalExecutor;

impl<F: Future<Output = ()> + 'static> hyper::rt::Executor<F> for LocalExecutor {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}
