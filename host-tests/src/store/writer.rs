//! The thread of a store: one commit for all requests that wait.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::Duration;

use redb::Database;
use tokio::sync::oneshot;

use super::engine::{Engine, Failure, State};
use super::folder::{DataError, Folder};
use super::refusal::Refusal;
use super::request::Request;
use super::tables::Tables;
use super::{Reply, call, file};
use crate::proxy_wasm::Clock;

/// The number of requests that one commit stores at most.
const BATCH: usize = 256;
/// The interval between looks at leases and at the history, if there are no requests.
const TICK: Duration = Duration::from_millis(250);
/// The age from which replaced rows are forgotten. Some are kept for twice as long. A range of several pages
/// takes two seconds.
const KEEP: Duration = Duration::from_secs(60);
/// The pause before the file is opened again after it failed.
const REOPEN: Duration = Duration::from_secs(1);

/// A request to the thread.
#[derive(Debug)]
pub(super) enum Job {
    /// A call to etcd's gateway.
    Call(Call),
    /// A request for the file, to copy it; `None` if it cannot be used.
    Backup(oneshot::Sender<Option<Arc<Database>>>),
}

/// A call with the place of its reply.
#[derive(Debug)]
pub(super) struct Call {
    /// The time at which it was made.
    pub(super) made: Duration,
    pub(super) path: String,
    pub(super) body: Vec<u8>,
    pub(super) reply: oneshot::Sender<Reply>,
}

/// The owner of the file.
pub(super) struct Writer {
    folder: Folder,
    clock: Clock,
    /// `None` after the file failed, until it is opened again.
    open: Option<Open>,
    /// The time before which the file is not opened again.
    retry: Duration,
}

struct Open {
    database: Arc<Database>,
    state: State,
    /// The revision up to which the history is forgotten at this time.
    compact: (Duration, i64),
    /// True if forgotten rows may be left.
    sweeping: bool,
}

impl Writer {
    pub(super) fn open(folder: Folder, clock: Clock) -> Result<Writer, DataError> {
        let open = Open::new(&folder, now(&clock))?;
        folder.tidy().map_err(|error| folder.unusable(error))?;
        Ok(Writer { folder, clock, open: Some(open), retry: Duration::ZERO })
    }

    /// Answers requests until no handle is left.
    pub(super) fn run(mut self, jobs: &Receiver<Job>) {
        loop {
            let first = match jobs.recv_timeout(TICK) {
                Ok(job) => Some(job),
                Err(RecvTimeoutError::Timeout) => None,
                Err(RecvTimeoutError::Disconnected) => return,
            };
            let more = std::iter::from_fn(|| jobs.try_recv().ok());
            let mut calls = Vec::new();
            for job in first.into_iter().chain(more.take(BATCH)) {
                match job {
                    // A caller that no longer waits has timed out.
                    Job::Call(call) if call.reply.is_closed() => {}
                    Job::Call(call) => calls.push(call),
                    Job::Backup(reply) => {
                        let database = self.open.as_ref().map(|open| Arc::clone(&open.database));
                        // An error means that the caller is gone.
                        let _ = reply.send(database);
                    }
                }
            }
            let replies = self.replies(&calls);
            for (call, reply) in calls.into_iter().zip(replies) {
                let _ = call.reply.send(reply);
            }
        }
    }

    /// Runs the calls and stores their effects. If the file fails, none of them has an effect that is
    /// certain.
    fn replies(&mut self, calls: &[Call]) -> Vec<Reply> {
        let now = now(&self.clock);
        if self.open.is_none() && self.retry <= now {
            self.retry = now.saturating_add(REOPEN);
            match Open::new(&self.folder, now) {
                Ok(open) => {
                    eprintln!("tollgate: {} is usable again", self.folder.path().display());
                    self.open = Some(open);
                }
                Err(error) => eprintln!("tollgate: {error}"),
            }
        }
        if let Some(open) = &mut self.open {
            match open.run(calls, now) {
                Ok(replies) => return replies,
                Err(error) => {
                    eprintln!("tollgate: {}: {error}", self.folder.file().display());
                    self.retry = now.saturating_add(REOPEN);
                    self.open = None;
                }
            }
        }
        calls.iter().map(|_| Refusal::Unavailable.reply()).collect()
    }
}

pub(super) fn now(clock: &Clock) -> Duration {
    Duration::from_nanos(clock.monotonic())
}

impl Open {
    fn new(folder: &Folder, now: Duration) -> Result<Open, DataError> {
        let database = file::open(folder)?;
        let load = || -> Result<State, redb::Error> {
            let transaction = database.begin_write()?;
            let state = State::load(&mut Tables::open(&transaction)?, now)?;
            transaction.commit()?;
            Ok(state)
        };
        let state =
            load().map_err(|error| DataError::Damaged { path: folder.file(), error: Box::new(error) })?;
        let compact = (now.saturating_add(KEEP), state.revision);
        Ok(Open { database: Arc::new(database), state, compact, sweeping: true })
    }

    /// Runs calls in one transaction, after what is due by the clock.
    fn run(&mut self, calls: &[Call], now: Duration) -> Result<Vec<Reply>, redb::Error> {
        let Open { database, state, compact, sweeping } = self;
        for Call { made, path, body, .. } in calls {
            if let Ok(Request::LeaseKeepAlive(lease)) = Request::parse(path, body) {
                state.renew(lease.ID, *made, now);
            }
        }
        let expired = state.expired(now);
        let forget = (compact.0 <= now).then_some(compact.1);
        if forget.is_some() {
            *compact = (now.saturating_add(KEEP), state.revision);
        }
        if calls.is_empty() && expired.is_empty() && forget.is_none() && !*sweeping {
            return Ok(Vec::new());
        }
        let transaction = database.begin_write()?;
        let mut tables = Tables::open(&transaction)?;
        let mut wrote = false;
        for lease in expired {
            let mut engine = Engine::new(&mut tables, state, now);
            certain(engine.lease_revoke(lease))?;
            engine.finish()?;
            wrote = true;
        }
        if let Some(revision) = forget.filter(|revision| *revision > state.compacted) {
            certain(Engine::new(&mut tables, state, now).compact(revision))?;
            (wrote, *sweeping) = (true, true);
        }
        if *sweeping {
            *sweeping = Engine::new(&mut tables, state, now).sweep()? > 0;
            wrote |= *sweeping;
        }
        let mut replies = Vec::with_capacity(calls.len());
        for Call { path, body, .. } in calls {
            let outcome = call::run(Engine::new(&mut tables, state, now), path, body)?;
            wrote |= outcome.wrote;
            *sweeping |= outcome.compacted;
            replies.push(outcome.reply);
        }
        drop(tables);
        if wrote {
            transaction.commit()?;
        } else {
            transaction.abort()?;
        }
        Ok(replies)
    }
}

/// Returns the error of an operation that is not refused.
fn certain<T>(result: Result<T, Failure>) -> Result<(), redb::Error> {
    match result {
        Ok(_) | Err(Failure::Refused(_)) => Ok(()),
        Err(Failure::Storage(error)) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(path: &str, body: &str, made: Duration) -> Call {
        Call { made, path: path.to_owned(), body: body.into(), reply: oneshot::channel().0 }
    }

    #[test]
    fn a_renewal_that_waits_for_a_slow_disk_counts_from_the_time_it_was_made() {
        let path = std::env::temp_dir().join(format!("tollgate-writer-{}", std::process::id()));
        let folder = Folder::prepare(&path).unwrap();
        let seconds = Duration::from_secs;
        let mut open = Open::new(&folder, seconds(0)).unwrap();
        for id in ["1", "2", "3"] {
            let body = format!(r#"{{"TTL": 10, "ID": {id}}}"#);
            open.run(&[call("/v3/lease/grant", &body, seconds(0))], seconds(0)).unwrap();
        }
        // The thread was busy from 8 s to 25 s.
        let renewals = [
            call("/v3/lease/keepalive", r#"{"ID": 1}"#, seconds(9)),
            call("/v3/lease/keepalive", r#"{"ID": 2}"#, seconds(11)),
        ];
        let replies = open.run(&renewals, seconds(25)).unwrap();
        let text = |reply: &Reply| String::from_utf8(reply.body.clone()).unwrap();
        assert!(text(&replies[0]).contains(r#""TTL":"10""#), "{}", text(&replies[0]));
        assert!(!text(&replies[1]).contains("TTL"), "made after the end: {}", text(&replies[1]));
        assert_eq!(open.state.leases.keys().copied().collect::<Vec<_>>(), [1]);
        open.run(&[], seconds(34)).unwrap();
        assert_eq!(open.state.leases.len(), 1);
        open.run(&[], seconds(35)).unwrap();
        assert_eq!(open.state.leases.len(), 0);
        std::fs::remove_dir_all(path).unwrap();
    }
}
