//! An embedded store that answers the calls which the filter makes to its fleet's etcd, for `tollgate serve
//! --data`.
//!
//! It behaves as the part of etcd's JSON gateway that gateways use: ranges, puts, removals and transactions
//! with etcd's revisions, compaction, and leases. `tests/data_suite.rs` runs one suite against it and against
//! etcd. It differs from an etcd that is configured by default in these points:
//!
//! - The history is compacted by itself: ranges at a revision that was superseded more than two minutes ago
//!   may fail with etcd's error for compacted revisions.
//! - There is no watch, no authentication, and no other member.
//! - The size of a request that writes is the sum of its keys and values, without the few bytes of etcd's
//!   encoding.
//!
//! The file is one of redb. A thread of its own reads and writes it: requests that arrive while the disk is
//! busy are stored by one commit, and each is answered after the commit that has it.

mod backup;
mod call;
mod engine;
mod file;
mod folder;
mod lease;
mod refusal;
mod request;
mod response;
mod socket;
mod tables;
mod transaction;
mod writer;

use std::path::Path;
use std::sync::mpsc::{Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use tokio::sync::oneshot;

pub use self::folder::{DataError, Folder};
pub(crate) use self::socket::BACKUP;
pub use self::socket::{Local, SOCKET};
use self::writer::{Call, Job, Writer};
use crate::proxy_wasm::Clock;

/// A response of the store: the status of HTTP, and the body as JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// The status.
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

/// A handle of a store. The file is closed with the last one.
#[derive(Clone, Debug)]
pub struct Store(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    clock: Clock,
    jobs: Mutex<Option<Sender<Job>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

impl Store {
    /// Opens the store of a folder, and creates both if they are missing.
    ///
    /// # Errors
    /// If other users may read the folder, another process has it open, or the file cannot be used.
    pub fn open(folder: &Path) -> Result<Store, DataError> {
        Store::with_clock(&Folder::prepare(folder)?, Clock::system())
    }

    /// Opens the store of a folder whose leases end by this clock.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn with_clock(folder: &Folder, clock: Clock) -> Result<Store, DataError> {
        let writer = Writer::open(folder.clone(), clock.clone())?;
        let (sender, jobs) = channel();
        let thread = std::thread::Builder::new()
            .name("data".to_owned())
            .spawn(move || writer.run(&jobs))
            .map_err(|error| folder.unusable(error))?;
        Ok(Store(Arc::new(Inner { clock, jobs: Mutex::new(Some(sender)), thread: Mutex::new(Some(thread)) })))
    }

    /// Makes a call to etcd's gateway; `None` if the store has ended.
    pub async fn call(&self, path: &str, body: Vec<u8>) -> Option<Reply> {
        self.submit(path, body)?.await.ok()
    }

    /// Makes a call to etcd's gateway and waits for its reply; `None` if the store has ended.
    pub fn call_blocking(&self, path: &str, body: Vec<u8>) -> Option<Reply> {
        self.submit(path, body)?.blocking_recv().ok()
    }

    fn submit(&self, path: &str, body: Vec<u8>) -> Option<oneshot::Receiver<Reply>> {
        let (reply, receiver) = oneshot::channel();
        self.send(Job::Call(Call { made: writer::now(&self.0.clock), path: path.to_owned(), body, reply }))?;
        Some(receiver)
    }

    /// Copies the keys and leases of this moment into a new file of mode 0600, which a store may be started
    /// with. Requests are answered meanwhile.
    ///
    /// # Errors
    /// If the file exists, or cannot be written.
    pub fn backup(&self, to: &Path) -> Result<(), DataError> {
        let (reply, receiver) = oneshot::channel();
        let ended = || DataError::Ended;
        self.send(Job::Backup(reply)).ok_or_else(ended)?;
        let database = receiver.blocking_recv().map_err(|_| ended())?.ok_or_else(ended)?;
        backup::write(&database, to)
    }

    fn send(&self, job: Job) -> Option<()> {
        let jobs = self.0.jobs.lock().unwrap_or_else(PoisonError::into_inner);
        jobs.as_ref()?.send(job).ok()
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The thread ends with its queue, and then the file is closed.
        drop(self.jobs.get_mut().unwrap_or_else(PoisonError::into_inner).take());
        if let Some(thread) = self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take() {
            let _ = thread.join();
        }
    }
}
