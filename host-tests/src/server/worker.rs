//! A worker: one thread with a runtime, a VM, and its connections.

use std::cell::RefCell;
use std::collections::HashMap;
use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::rc::Rc;
use std::sync::{Arc, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::Instant;

use crate::proxy_wasm::{Process, StartError, Vm};

use super::ServeError;
use super::callout::{self, Cluster, Clusters, carry_out};
use super::connection::{self, Accepted, Seat};
use super::console::Console;
use super::exchange::Exchanger;
use super::forward::Target;
use super::gate::Gate;
use super::lines::Lines;
use super::load::Load;
use super::tls::Tls;
use super::watch::Watch;

/// The number of connections beyond the limit that get an answer at the same time. Others wait in the
/// system's queue.
const SPARE: usize = 64;
/// The pause between two looks at streams that no connection belongs to, while the server drains.
const DRAIN_PAUSE: Duration = Duration::from_millis(20);
/// The pause before another accept after the system ran out of a resource.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// The values that all workers of a server share.
#[derive(Clone)]
pub(super) struct Shared {
    pub(super) load: Arc<Load>,
    pub(super) tls: Option<Arc<Tls>>,
    pub(super) lines: Lines,
    pub(super) console: Option<Arc<Console>>,
}

/// The handle of a worker's thread.
pub(super) struct Worker {
    commands: UnboundedSender<Command>,
    thread: JoinHandle<()>,
}

enum Command {
    Connection(TcpStream, SocketAddr, OwnedSemaphorePermit),
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
        clusters: &[(String, Cluster)],
        shared: &Shared,
    ) -> Result<Worker, ServeError> {
        let vm = process.worker()?;
        let client = target.client()?;
        let clusters = Clusters::new(clusters)?;
        let runtime =
            tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(ServeError::Worker)?;
        let (commands, received) = unbounded_channel();
        let (target, shared) = (target.clone(), shared.clone());
        let thread = std::thread::Builder::new()
            .name("worker".to_owned())
            .spawn(move || {
                let local = LocalSet::new();
                let run = move |vm: Vm| async move {
                    let (outbox, calls) = callout::outbox();
                    let (tls, console) = (shared.tls.clone(), shared.console.clone());
                    let gate = Rc::new(Gate::new(vm, outbox, shared));
                    let calling = tokio::task::spawn_local(carry_out(calls, clusters, Rc::clone(&gate)));
                    let exchanger = Exchanger { gate, target, client, console };
                    serve(Rc::new(exchanger), tls, received).await;
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

/// A handle that cuts what a draining server still runs.
#[derive(Clone)]
pub struct Stopper(Vec<UnboundedSender<Command>>);

impl Stopper {
    /// Cuts all exchanges. The module sees the end of each, so what they cost is settled.
    pub fn stop(&self) {
        for worker in &self.0 {
            // An error means that the worker has stopped.
            let _ = worker.send(Command::Stop(Duration::ZERO));
        }
    }
}

pub(super) fn stopper(workers: &[Worker]) -> Stopper {
    Stopper(workers.iter().map(|worker| worker.commands.clone()).collect())
}

/// Deals connections to the workers in turn: on a quiet machine the kernel would give all of them to one
/// worker.
pub(super) fn accept(
    listener: TcpListener,
    workers: &[Worker],
    load: &Load,
) -> io::Result<(oneshot::Sender<()>, JoinHandle<()>)> {
    let workers: Vec<_> = workers.iter().map(|worker| worker.commands.clone()).collect();
    let places = load.limits.connections.saturating_add(SPARE).min(Semaphore::MAX_PERMITS);
    let places = Arc::new(Semaphore::new(places));
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (stop, stopped) = oneshot::channel();
    let deal = async move {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        for worker in workers.iter().cycle() {
            // The semaphore is never closed.
            let Ok(permit) = Arc::clone(&places).acquire_owned().await else { break };
            let (stream, client) = loop {
                match listener.accept().await {
                    Ok(accepted) => break accepted,
                    Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
                }
            };
            if worker.send(Command::Connection(stream.into_std()?, client, permit)).is_err() {
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

/// The connections of a worker.
#[derive(Default)]
struct Connections {
    open: RefCell<HashMap<u64, Rc<Watch>>>,
}

impl Connections {
    /// Closes the connection that has been without a request for the longest time. Returns false if each of
    /// them has one.
    fn evict(&self) -> bool {
        let open = self.open.borrow();
        let idle = open.values().filter_map(|watch| Some((watch.idle_since()?, watch)));
        let oldest = idle.min_by_key(|(since, _)| *since);
        oldest.map(|(_, watch)| watch.evict()).is_some()
    }

    /// Counts a connection, and makes room for it if there is none.
    fn admit(&self, load: &Arc<Load>, permit: OwnedSemaphorePermit) -> (Seat, Rc<Watch>) {
        let mut share = load.connections.take(1);
        if share.is_none() && self.evict() {
            share = Some(load.connections.exceed());
        }
        if share.is_none() {
            load.report("--max-connections", load.limits.connections);
        }
        let watch = Watch::new(load, share.is_none());
        (Seat { _permit: permit, _share: share }, watch)
    }
}

async fn serve(exchanger: Rc<Exchanger>, tls: Option<Arc<Tls>>, mut commands: UnboundedReceiver<Command>) {
    let gate = Rc::clone(&exchanger.gate);
    let (draining, drained) = watch::channel(false);
    let mut tasks = JoinSet::new();
    let connections = Rc::new(Connections::default());
    let mut numbers = 0_u64..;
    let ticks = gate.tick();
    tokio::pin!(ticks);
    let drain = loop {
        let command = tokio::select! {
            command = commands.recv() => command,
            () = &mut ticks => return,
            Some(_) = tasks.join_next() => continue,
        };
        match command {
            Some(Command::Connection(stream, client, permit)) => {
                let (Ok(stream), Some(number)) = (tokio::net::TcpStream::from_std(stream), numbers.next())
                else {
                    continue;
                };
                let (seat, watch) = connections.admit(gate.load(), permit);
                connections.open.borrow_mut().insert(number, Rc::clone(&watch));
                let accepted = Accepted { stream, client, seat };
                let served =
                    connection::serve(Rc::clone(&exchanger), accepted, tls.clone(), watch, drained.clone());
                let connections = Rc::clone(&connections);
                tasks.spawn_local(async move {
                    served.await;
                    connections.open.borrow_mut().remove(&number);
                });
            }
            Some(Command::Reconfigure(done)) => {
                let _ = done.send(gate.reconfigure());
            }
            Some(Command::Stop(drain)) => break drain,
            None => break Duration::ZERO,
        }
    };
    let _ = draining.send(true);
    let mut end = Instant::now() + drain;
    let rest = async {
        while tasks.join_next().await.is_some() {}
        // Tunnels outlive their connection's task.
        while gate.open_streams() > 0 {
            tokio::time::sleep(DRAIN_PAUSE).await;
        }
    };
    {
        tokio::pin!(rest);
        loop {
            tokio::select! {
                () = &mut rest => break,
                () = tokio::time::sleep_until(end) => break,
                () = &mut ticks => {}
                command = commands.recv() => match command {
                    Some(Command::Stop(drain)) => end = end.min(Instant::now() + drain),
                    Some(Command::Reconfigure(done)) => {
                        let _ = done.send(gate.reconfigure());
                    }
                    Some(Command::Connection(..)) => {}
                    None => end = Instant::now(),
                },
            }
        }
    }
    gate.drain();
    tasks.shutdown().await;
}
