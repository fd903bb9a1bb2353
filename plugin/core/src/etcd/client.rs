//! Queue of one VM's etcd requests: one write and one poll at a time, audit requests in parallel.
//!
//! A write is decided when it reaches the front of the queue, against the policy at that time, and decided again after
//! each conflict with another gateway. Writes of one VM therefore never conflict with each other, and in each round of
//! conflicts one VM succeeds. Only requests that are writes enter the queue.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use serde_json::Value;

use super::kv::EtcdReply;
use super::{
    Append, AuditPage, Changes, CommitOperation, Committed, Credentials, EtcdCall, EtcdError, KeySpace, Poll,
    Progress, Read, Session, Snapshot, Stored, Trim,
};
use crate::admin::audit::AuditQuery;
use crate::config::EtcdConfig;
use crate::policy::Document;
use crate::time::{Now, SECOND};

/// Timeout of a write from submission to response (ns): below the documented two seconds.
pub const WRITE_TIMEOUT: u64 = SECOND * 18 / 10;
/// Maximum number of decisions of one write. [`WRITE_TIMEOUT`] normally ends it earlier.
const MAX_TRIES: u32 = 64;
/// Timeout of a poll and of other background requests (ns).
const BACKGROUND_TIMEOUT: u64 = 2 * SECOND;
/// Maximum number of [`Append`] operations in flight; further entries are only in the log.
const MAX_APPENDS: usize = 64;

/// The adapter's identifier of a waiting request, such as the context id of its stream.
pub type RequestId = u32;

/// An effect of the client. Effects are carried out in order.
#[derive(Clone, Debug, PartialEq)]
pub enum EtcdEffect {
    /// Send this call, and pass its response to [`EtcdClient::answer`].
    Call {
        /// Identifies the call in [`EtcdClient::answer`].
        slot: u32,
        /// The call.
        call: EtcdCall,
        /// Timeout in milliseconds.
        timeout: u32,
    },
    /// Publish these changes, unless a newer revision is published.
    Loaded {
        /// The changes.
        changes: Changes,
        /// Start of the read, for `Freshness`.
        at: u64,
    },
    /// Decide this write, then call [`EtcdClient::commit`] or [`EtcdClient::finish`].
    Decide(RequestId),
    /// The write is stored: publish it and send its response.
    Committed {
        /// The request.
        id: RequestId,
        /// Revision of the write.
        revision: u64,
    },
    /// Send this page of the audit log.
    Page {
        /// The request.
        id: RequestId,
        /// Names with their entries as JSON, newest first.
        entries: Vec<(String, String)>,
        /// True if older entries follow.
        more: bool,
    },
    /// The keys that a request reads, in their order.
    Read {
        /// The request.
        id: RequestId,
        /// For each read, the keys that were found.
        values: Vec<Vec<Stored>>,
    },
    /// The write or page failed: 400 if it was too large, otherwise 503.
    Failed {
        /// The request.
        id: RequestId,
        /// The error.
        error: EtcdError,
    },
    /// Log this error of a background request.
    BackgroundError(EtcdError),
}

#[derive(Debug)]
enum Task {
    Poll {
        session: Session<Poll>,
        at: u64,
    },
    /// A poll after the current write found a conflict.
    Reload {
        session: Session<Poll>,
        at: u64,
    },
    Commit {
        session: Session<CommitOperation>,
        base: u64,
        trim: Option<Trim>,
    },
    Page {
        session: Session<AuditPage>,
        id: RequestId,
    },
    Read {
        session: Session<Snapshot>,
        id: RequestId,
    },
    Append {
        session: Session<Append>,
        trim: Option<Trim>,
    },
    Trim {
        session: Session<Trim>,
    },
}

/// An operation whose call is in flight.
#[derive(Debug)]
struct InFlight {
    task: Task,
    deadline: u64,
}

/// An audit entry: organization, name, JSON.
pub type NamedEntry<'e> = (Option<&'e str>, &'e str, &'e str);

/// The etcd requests of one VM.
#[derive(Debug)]
pub struct EtcdClient {
    keys: KeySpace,
    credentials: Credentials,
    /// Waiting writes with their deadlines. The first is being decided or committed.
    queue: VecDeque<(RequestId, u64)>,
    tries: u32,
    /// Operations by the slot of their call; few at a time.
    in_flight: Vec<(u32, InFlight)>,
    last_slot: u32,
}

impl EtcdClient {
    /// Creates a client without requests.
    pub fn new(config: &EtcdConfig) -> Self {
        EtcdClient {
            keys: KeySpace::new(&config.prefix),
            credentials: Credentials::new(config.user()),
            queue: VecDeque::new(),
            tries: 0,
            in_flight: Vec::new(),
            last_slot: 0,
        }
    }

    /// Appends a write to the queue.
    pub fn submit(&mut self, id: RequestId, now: Now) -> Vec<EtcdEffect> {
        self.queue.push_back((id, now.monotonic.saturating_add(WRITE_TIMEOUT)));
        if self.queue.len() == 1 { self.start_next(now) } else { Vec::new() }
    }

    /// Commits the decided documents of the current write, unless another write came after revision `base`.
    pub fn commit(
        &mut self,
        id: RequestId,
        base: u64,
        documents: &[(Document, Option<Value>)],
        entry: NamedEntry<'_>,
        now: Now,
    ) -> Vec<EtcdEffect> {
        let Some((_, deadline)) = self.queue.front().copied().filter(|(first, _)| *first == id) else {
            return Vec::new();
        };
        match CommitOperation::new(&self.keys, base, documents, entry) {
            Ok(commit) => {
                let session = Session::new(commit, &self.credentials);
                let trim = self.due_trim(entry);
                self.send(Task::Commit { session, base, trim }, deadline, now)
            }
            Err(error) => self.end(EtcdEffect::Failed { id, error }, now),
        }
    }

    /// Ends the current write without a commit.
    pub fn finish(&mut self, id: RequestId, now: Now) -> Vec<EtcdEffect> {
        if self.queue.front().is_none_or(|(first, _)| *first != id) {
            return Vec::new();
        }
        self.queue.pop_front();
        self.start_next(now)
    }

    /// Reads the changes after revision `known`, unless a poll is in flight.
    pub fn poll(&mut self, known: u64, now: Now) -> Vec<EtcdEffect> {
        let polls = |(_, flight): &(u32, InFlight)| matches!(flight.task, Task::Poll { .. });
        if self.in_flight.iter().any(polls) {
            return Vec::new();
        }
        let session = Session::new(Poll::new(&self.keys, known), &self.credentials);
        let deadline = now.monotonic.saturating_add(BACKGROUND_TIMEOUT);
        self.send(Task::Poll { session, at: now.monotonic }, deadline, now)
    }

    /// Reads a page of the audit log.
    pub fn page(&mut self, id: RequestId, query: &AuditQuery, now: Now) -> Vec<EtcdEffect> {
        let session = Session::new(AuditPage::new(&self.keys, query), &self.credentials);
        self.send(Task::Page { session, id }, now.monotonic.saturating_add(WRITE_TIMEOUT), now)
    }

    /// Reads keys for a request.
    pub fn read(&mut self, id: RequestId, reads: Vec<Read>, now: Now) -> Vec<EtcdEffect> {
        let session = Session::new(Snapshot::new(reads), &self.credentials);
        self.send(Task::Read { session, id }, now.monotonic.saturating_add(WRITE_TIMEOUT), now)
    }

    /// Appends the audit entry of an attempt that changed nothing, in the background.
    pub fn append(&mut self, entry: NamedEntry<'_>, actor: &str, now: Now) -> Vec<EtcdEffect> {
        let appends =
            self.in_flight.iter().filter(|(_, flight)| matches!(flight.task, Task::Append { .. })).count();
        if appends >= MAX_APPENDS {
            return Vec::new();
        }
        let (organization, name, text) = entry;
        let append = Append::new(&self.keys, organization, actor, (name, text));
        let session = Session::new(append, &self.credentials);
        let trim = Trim::is_due(name).then(|| Trim::attempts(&self.keys, organization));
        self.send(Task::Append { session, trim }, now.monotonic.saturating_add(BACKGROUND_TIMEOUT), now)
    }

    /// Accepts the response to a call. Status 0 means that there was none or that the call failed.
    pub fn answer(&mut self, slot: u32, status: u16, body: &[u8], now: Now) -> Vec<EtcdEffect> {
        let Some(at) = self.in_flight.iter().position(|(sent, _)| *sent == slot) else {
            return Vec::new();
        };
        let (_, InFlight { mut task, deadline }) = self.in_flight.swap_remove(at);
        let credentials = &mut self.credentials;
        let answer = EtcdReply::new(body);
        match &mut task {
            Task::Poll { session, at } => match session.answer(credentials, status, &answer) {
                Ok(Progress::More) => self.send(task, deadline, now),
                Ok(Progress::Done(changes)) => vec![EtcdEffect::Loaded { changes, at: *at }],
                Err(error) => vec![EtcdEffect::BackgroundError(error)],
            },
            Task::Reload { session, at } => match session.answer(credentials, status, &answer) {
                Ok(Progress::More) => self.send(task, deadline, now),
                Ok(Progress::Done(changes)) => {
                    let mut effects = vec![EtcdEffect::Loaded { changes, at: *at }];
                    effects.extend(self.retry(now));
                    effects
                }
                Err(error) => self.fail(error, now),
            },
            Task::Commit { session, base, trim } => match session.answer(credentials, status, &answer) {
                Ok(Progress::More) => self.send(task, deadline, now),
                Ok(Progress::Done(Committed::Conflict)) => {
                    let session = Session::new(Poll::new(&self.keys, *base), &self.credentials);
                    self.send(Task::Reload { session, at: now.monotonic }, deadline, now)
                }
                Ok(Progress::Done(Committed::Stored { revision })) => {
                    let trim = trim.take();
                    let id = self.queue.front().map_or(0, |(id, _)| *id);
                    let mut effects = self.end(EtcdEffect::Committed { id, revision }, now);
                    effects.extend(self.start_trim(trim, now));
                    effects
                }
                Err(error) => self.fail(error, now),
            },
            Task::Page { session, id } => match session.answer(credentials, status, &answer) {
                Ok(Progress::More) => self.send(task, deadline, now),
                Ok(Progress::Done((entries, more))) => {
                    vec![EtcdEffect::Page { id: *id, entries, more }]
                }
                Err(error) => vec![EtcdEffect::Failed { id: *id, error }],
            },
            Task::Read { session, id } => match session.answer(credentials, status, &answer) {
                Ok(Progress::More) => self.send(task, deadline, now),
                Ok(Progress::Done((_, values))) => vec![EtcdEffect::Read { id: *id, values }],
                Err(error) => vec![EtcdEffect::Failed { id: *id, error }],
            },
            Task::Append { session, trim } => match session.answer(credentials, status, &answer) {
                Ok(Progress::More) => self.send(task, deadline, now),
                Ok(Progress::Done(())) => {
                    let trim = trim.take();
                    self.start_trim(trim, now)
                }
                Err(error) => vec![EtcdEffect::BackgroundError(error)],
            },
            Task::Trim { session } => match session.answer(credentials, status, &answer) {
                Ok(Progress::More) => self.send(task, deadline, now),
                Ok(Progress::Done(())) => Vec::new(),
                Err(error) => vec![EtcdEffect::BackgroundError(error)],
            },
        }
    }

    /// Sends the task's next call, unless its deadline has passed.
    fn send(&mut self, task: Task, deadline: u64, now: Now) -> Vec<EtcdEffect> {
        let left = deadline.saturating_sub(now.monotonic) / 1_000_000;
        if left == 0 {
            return match task {
                Task::Commit { .. } | Task::Reload { .. } => self.fail(EtcdError::TimedOut, now),
                Task::Page { id, .. } | Task::Read { id, .. } => {
                    vec![EtcdEffect::Failed { id, error: EtcdError::TimedOut }]
                }
                Task::Poll { .. } | Task::Append { .. } | Task::Trim { .. } => {
                    vec![EtcdEffect::BackgroundError(EtcdError::TimedOut)]
                }
            };
        }
        let credentials = &self.credentials;
        let call = match &task {
            Task::Poll { session, .. } | Task::Reload { session, .. } => session.call(credentials),
            Task::Commit { session, .. } => session.call(credentials),
            Task::Page { session, .. } => session.call(credentials),
            Task::Read { session, .. } => session.call(credentials),
            Task::Append { session, .. } => session.call(credentials),
            Task::Trim { session } => session.call(credentials),
        };
        self.last_slot = self.last_slot.wrapping_add(1);
        self.in_flight.push((self.last_slot, InFlight { task, deadline }));
        vec![EtcdEffect::Call {
            slot: self.last_slot,
            call,
            timeout: u32::try_from(left).unwrap_or(u32::MAX),
        }]
    }

    /// Starts the first write in the queue; writes past their deadline fail.
    fn start_next(&mut self, now: Now) -> Vec<EtcdEffect> {
        self.tries = 0;
        let mut effects = Vec::new();
        while let Some((id, deadline)) = self.queue.front().copied() {
            if now.monotonic < deadline {
                self.tries = 1;
                effects.push(EtcdEffect::Decide(id));
                break;
            }
            self.queue.pop_front();
            effects.push(EtcdEffect::Failed { id, error: EtcdError::TimedOut });
        }
        effects
    }

    /// Repeats the decision of the current write after a conflict.
    fn retry(&mut self, now: Now) -> Vec<EtcdEffect> {
        let Some((id, deadline)) = self.queue.front().copied() else { return Vec::new() };
        if now.monotonic >= deadline {
            return self.fail(EtcdError::TimedOut, now);
        }
        if self.tries >= MAX_TRIES {
            return self.fail(EtcdError::Conflict { tries: self.tries }, now);
        }
        self.tries = self.tries.saturating_add(1);
        vec![EtcdEffect::Decide(id)]
    }

    #[inline(never)]
    fn fail(&mut self, error: EtcdError, now: Now) -> Vec<EtcdEffect> {
        let Some((id, _)) = self.queue.front().copied() else {
            return vec![EtcdEffect::BackgroundError(error)];
        };
        self.end(EtcdEffect::Failed { id, error }, now)
    }

    /// Ends the current write with this effect, and starts the next.
    fn end(&mut self, effect: EtcdEffect, now: Now) -> Vec<EtcdEffect> {
        self.queue.pop_front();
        let mut effects = vec![effect];
        effects.extend(self.start_next(now));
        effects
    }

    fn due_trim(&self, (organization, name, _): NamedEntry<'_>) -> Option<Trim> {
        Trim::is_due(name).then(|| Trim::changes(&self.keys, organization))
    }

    fn start_trim(&mut self, trim: Option<Trim>, now: Now) -> Vec<EtcdEffect> {
        let Some(trim) = trim else { return Vec::new() };
        let session = Session::new(trim, &self.credentials);
        self.send(Task::Trim { session }, now.monotonic.saturating_add(BACKGROUND_TIMEOUT), now)
    }
}
