//! All of one VM's traffic with etcd: writes take turns, one poll at a time, the audit beside them.
//!
//! A write is decided when its turn comes, on the policy as it is then, and decided again after each that another
//! gateway made in between. So within a VM nobody loses to a neighbour, and among VMs each round one gets through.
//! It is to be submitted only once it has been decided to be a write: refusals and reads need no turn.

use alloc::collections::VecDeque;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use serde_json::Value;

use super::kv::EtcdReply;
use super::{
    Append, AuditPage, Changes, CommitOperation, Committed, Credentials, EtcdCall, EtcdError, KeySpace, Poll,
    Progress, Session, Trim,
};
use crate::admin::audit::AuditQuery;
use crate::config::EtcdConfig;
use crate::policy::Document;
use crate::time::{Now, SECOND};

/// How long a write may take from its submission to its answer (ns): under the two seconds promised.
pub const PATIENCE: u64 = SECOND * 18 / 10;
/// How often a write is decided before others have been faster too often. Time runs out first.
pub const TRIES: u32 = 64;
/// How long a poll, and what nobody waits for, may take (ns).
const BACKGROUND: u64 = 2 * SECOND;
/// Entries of refused attempts on their way at once; more are left to the log.
const APPENDS: usize = 64;

/// Who waits: the adapter's own number, such as the stream's context.
pub type RequestId = u32;

/// What an adapter is to do, in this order.
#[derive(Clone, Debug, PartialEq)]
pub enum EtcdEffect {
    /// Make this call, and bring its answer to [`Desk::answer`].
    Call {
        /// To bring back with the answer.
        slot: u32,
        /// What to send.
        call: EtcdCall,
        /// Milliseconds.
        timeout: u32,
    },
    /// Publish this, unless what is published is newer.
    Loaded {
        /// What etcd had.
        loaded: Changes,
        /// When the reading began: for [`super::Seen`].
        at: u64,
    },
    /// It is this one's turn: decide it, then [`Desk::commit`] or [`Desk::finish`].
    Decide(RequestId),
    /// It is kept: publish and answer.
    Committed {
        /// Whose write.
        ticket: RequestId,
        /// The revision it became.
        revision: u64,
    },
    /// A page of the audit.
    Page {
        /// Who asked.
        ticket: RequestId,
        /// Names with their entries' JSON, newest first.
        entries: Vec<(String, String)>,
        /// Whether older ones follow.
        more: bool,
    },
    /// This one's write or page did not come about: 503, or 400 where it was too large.
    Failed {
        /// Whose.
        ticket: RequestId,
        /// Why.
        trouble: EtcdError,
    },
    /// Something that nobody waits for went wrong: for the log.
    Trouble(EtcdError),
}

#[derive(Debug)]
enum Task {
    Poll {
        talk: Session<Poll>,
        at: u64,
    },
    /// A poll on behalf of the turn, after it has lost.
    Reload {
        talk: Session<Poll>,
        at: u64,
    },
    Commit {
        talk: Session<CommitOperation>,
        base: u64,
        trim: Option<Trim>,
    },
    Page {
        talk: Session<AuditPage>,
        ticket: RequestId,
    },
    Append {
        talk: Session<Append>,
        trim: Option<Trim>,
    },
    Trim {
        talk: Session<Trim>,
    },
}

#[derive(Debug)]
struct Flight {
    task: Task,
    deadline: u64,
}

/// An entry of the audit for a store: organization, name, JSON.
pub type Named<'e> = (Option<&'e str>, &'e str, &'e str);

/// One VM's traffic with etcd.
#[derive(Debug)]
pub struct EtcdClient {
    keys: KeySpace,
    login: Credentials,
    /// The first has its turn; each with its deadline.
    line: VecDeque<(RequestId, u64)>,
    tries: u32,
    /// By their numbers; few at a time.
    flights: Vec<(u32, Flight)>,
    next: u32,
}

impl EtcdClient {
    /// With nothing on its way.
    pub fn new(fleet: &EtcdConfig) -> Self {
        let user = fleet.login.as_ref().map(|(user, password)| (&**user, &**password));
        EtcdClient {
            keys: KeySpace::new(&fleet.prefix),
            login: Credentials::new(user),
            line: VecDeque::new(),
            tries: 0,
            flights: Vec::new(),
            next: 0,
        }
    }

    /// Asks for a turn.
    pub fn submit(&mut self, ticket: RequestId, now: Now) -> Vec<EtcdEffect> {
        self.line.push_back((ticket, now.monotonic.saturating_add(PATIENCE)));
        if self.line.len() == 1 { self.turn(now) } else { Vec::new() }
    }

    /// Commits what was decided in a turn on the policy as of the revision `base`.
    pub fn commit(
        &mut self,
        ticket: RequestId,
        base: u64,
        documents: &[(Document, Option<Value>)],
        entry: Named<'_>,
        now: Now,
    ) -> Vec<EtcdEffect> {
        let Some((_, deadline)) = self.line.front().copied().filter(|(first, _)| *first == ticket) else {
            return Vec::new();
        };
        match CommitOperation::new(&self.keys, base, documents, entry) {
            Ok(commit) => {
                let talk = Session::new(commit, &self.login);
                let trim = self.trim(entry);
                self.fly(Task::Commit { talk, base, trim }, deadline, now)
            }
            Err(trouble) => self.end(EtcdEffect::Failed { ticket, trouble }, now),
        }
    }

    /// Gives up a turn: it was no write after all, and has its answer.
    pub fn finish(&mut self, ticket: RequestId, now: Now) -> Vec<EtcdEffect> {
        if self.line.front().is_none_or(|(first, _)| *first != ticket) {
            return Vec::new();
        }
        self.line.pop_front();
        self.turn(now)
    }

    /// Asks what was written after the revision `known`, unless that is being asked.
    pub fn poll(&mut self, known: u64, now: Now) -> Vec<EtcdEffect> {
        let polls = |(_, flight): &(u32, Flight)| matches!(flight.task, Task::Poll { .. });
        if self.flights.iter().any(polls) {
            return Vec::new();
        }
        let talk = Session::new(Poll::new(&self.keys, known), &self.login);
        let deadline = now.monotonic.saturating_add(BACKGROUND);
        self.fly(Task::Poll { talk, at: now.monotonic }, deadline, now)
    }

    /// Asks for a page of the audit.
    pub fn page(&mut self, ticket: RequestId, query: &AuditQuery, now: Now) -> Vec<EtcdEffect> {
        let talk = Session::new(AuditPage::new(&self.keys, query), &self.login);
        self.fly(Task::Page { talk, ticket }, now.monotonic.saturating_add(PATIENCE), now)
    }

    /// Appends an attempt that changed nothing. Nobody waits for it.
    pub fn append(&mut self, entry: Named<'_>, now: Now) -> Vec<EtcdEffect> {
        let appends =
            self.flights.iter().filter(|(_, flight)| matches!(flight.task, Task::Append { .. })).count();
        if appends >= APPENDS {
            return Vec::new();
        }
        let (organization, name, text) = entry;
        let talk = Session::new(Append::new(&self.keys, organization, name, text), &self.login);
        let trim = self.trim(entry);
        self.fly(Task::Append { talk, trim }, now.monotonic.saturating_add(BACKGROUND), now)
    }

    /// Takes the answer to a call; status 0 where there was none, or where it could not be made.
    pub fn answer(&mut self, slot: u32, status: u16, body: &[u8], now: Now) -> Vec<EtcdEffect> {
        let Some(at) = self.flights.iter().position(|(number, _)| *number == slot) else {
            return Vec::new();
        };
        let (_, Flight { mut task, deadline }) = self.flights.swap_remove(at);
        let login = &mut self.login;
        let answer = EtcdReply::new(body);
        match &mut task {
            Task::Poll { talk, at } => match talk.answer(login, status, &answer) {
                Ok(Progress::More) => self.fly(task, deadline, now),
                Ok(Progress::Done(loaded)) => vec![EtcdEffect::Loaded { loaded, at: *at }],
                Err(trouble) => vec![EtcdEffect::Trouble(trouble)],
            },
            Task::Reload { talk, at } => match talk.answer(login, status, &answer) {
                Ok(Progress::More) => self.fly(task, deadline, now),
                Ok(Progress::Done(loaded)) => {
                    let mut effects = vec![EtcdEffect::Loaded { loaded, at: *at }];
                    effects.extend(self.again(now));
                    effects
                }
                Err(trouble) => self.fail(trouble, now),
            },
            Task::Commit { talk, base, trim } => match talk.answer(login, status, &answer) {
                Ok(Progress::More) => self.fly(task, deadline, now),
                Ok(Progress::Done(Committed::Lost)) => {
                    let talk = Session::new(Poll::new(&self.keys, *base), &self.login);
                    self.fly(Task::Reload { talk, at: now.monotonic }, deadline, now)
                }
                Ok(Progress::Done(Committed::Done { revision })) => {
                    let trim = trim.take();
                    let ticket = self.line.front().map_or(0, |(ticket, _)| *ticket);
                    let mut effects = self.end(EtcdEffect::Committed { ticket, revision }, now);
                    effects.extend(self.trimming(trim, now));
                    effects
                }
                Err(trouble) => self.fail(trouble, now),
            },
            Task::Page { talk, ticket } => match talk.answer(login, status, &answer) {
                Ok(Progress::More) => self.fly(task, deadline, now),
                Ok(Progress::Done((entries, more))) => {
                    vec![EtcdEffect::Page { ticket: *ticket, entries, more }]
                }
                Err(trouble) => vec![EtcdEffect::Failed { ticket: *ticket, trouble }],
            },
            Task::Append { talk, trim } => match talk.answer(login, status, &answer) {
                Ok(Progress::More) => self.fly(task, deadline, now),
                Ok(Progress::Done(())) => {
                    let trim = trim.take();
                    self.trimming(trim, now)
                }
                Err(trouble) => vec![EtcdEffect::Trouble(trouble)],
            },
            Task::Trim { talk } => match talk.answer(login, status, &answer) {
                Ok(Progress::More) => self.fly(task, deadline, now),
                Ok(Progress::Done(())) => Vec::new(),
                Err(trouble) => vec![EtcdEffect::Trouble(trouble)],
            },
        }
    }

    /// Makes the task's next call, if there is time for it.
    fn fly(&mut self, task: Task, deadline: u64, now: Now) -> Vec<EtcdEffect> {
        let left = deadline.saturating_sub(now.monotonic) / 1_000_000;
        if left == 0 {
            return match task {
                Task::Commit { .. } | Task::Reload { .. } => self.fail(EtcdError::Late, now),
                Task::Page { ticket, .. } => vec![EtcdEffect::Failed { ticket, trouble: EtcdError::Late }],
                Task::Poll { .. } | Task::Append { .. } | Task::Trim { .. } => {
                    vec![EtcdEffect::Trouble(EtcdError::Late)]
                }
            };
        }
        let login = &self.login;
        let call = match &task {
            Task::Poll { talk, .. } | Task::Reload { talk, .. } => talk.call(login),
            Task::Commit { talk, .. } => talk.call(login),
            Task::Page { talk, .. } => talk.call(login),
            Task::Append { talk, .. } => talk.call(login),
            Task::Trim { talk } => talk.call(login),
        };
        self.next = self.next.wrapping_add(1);
        self.flights.push((self.next, Flight { task, deadline }));
        vec![EtcdEffect::Call { slot: self.next, call, timeout: u32::try_from(left).unwrap_or(u32::MAX) }]
    }

    /// Lets the first in line decide; those whose time is over fail.
    fn turn(&mut self, now: Now) -> Vec<EtcdEffect> {
        self.tries = 0;
        let mut effects = Vec::new();
        while let Some((ticket, deadline)) = self.line.front().copied() {
            if now.monotonic < deadline {
                self.tries = 1;
                effects.push(EtcdEffect::Decide(ticket));
                break;
            }
            self.line.pop_front();
            effects.push(EtcdEffect::Failed { ticket, trouble: EtcdError::Late });
        }
        effects
    }

    /// After a loss.
    fn again(&mut self, now: Now) -> Vec<EtcdEffect> {
        let Some((ticket, deadline)) = self.line.front().copied() else { return Vec::new() };
        if now.monotonic >= deadline {
            return self.fail(EtcdError::Late, now);
        }
        if self.tries >= TRIES {
            return self.fail(EtcdError::Contended { tries: self.tries }, now);
        }
        self.tries = self.tries.saturating_add(1);
        vec![EtcdEffect::Decide(ticket)]
    }

    #[inline(never)]
    fn fail(&mut self, trouble: EtcdError, now: Now) -> Vec<EtcdEffect> {
        let Some((ticket, _)) = self.line.front().copied() else { return vec![EtcdEffect::Trouble(trouble)] };
        self.end(EtcdEffect::Failed { ticket, trouble }, now)
    }

    /// Ends the turn with this, and begins the next.
    fn end(&mut self, effect: EtcdEffect, now: Now) -> Vec<EtcdEffect> {
        self.line.pop_front();
        let mut effects = vec![effect];
        effects.extend(self.turn(now));
        effects
    }

    fn trim(&self, (organization, name, _): Named<'_>) -> Option<Trim> {
        Trim::is_due(name).then(|| Trim::new(&self.keys, organization))
    }

    fn trimming(&mut self, trim: Option<Trim>, now: Now) -> Vec<EtcdEffect> {
        let Some(trim) = trim else { return Vec::new() };
        let talk = Session::new(trim, &self.login);
        self.fly(Task::Trim { talk }, now.monotonic.saturating_add(BACKGROUND), now)
    }
}
