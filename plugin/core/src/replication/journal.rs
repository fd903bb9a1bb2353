//! The journal: the order of all changes, and the changes that a VM lacks.
//!
//! ```text
//! head        the newest change with its epoch n; replacing it by that of n + 1 is the commit
//! delta/I     the change of epoch n, I = n mod 64
//! d/NAME      a document at some epoch
//! index       the names of all documents that were ever changed
//! epoch       n, once all of the above is written
//! ```

use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use serde_json::json;

use super::head::{JournalHead, LogEntry, VersionedHead, documents};
use super::record::{self, VersionedRecord, compare_and_swap, read, write_if_newer};
use super::{JournalError, Replica, audit_log};
use crate::admin::audit::AuditQuery;
use crate::collections::sort::once;
use crate::counters::{Cas, CounterStore, RecordKey, StoreError, retry_conflicts};
use crate::json::out_of_line::text;
use crate::policy::Change;

/// Number of stored changes: a VM that lacks more reads all documents.
pub const DELTA_SLOTS: u64 = 64;

/// Maximum size of a record in bytes; hosts copy a record at every read.
pub(super) const MAX_RECORD_BYTES: usize = 4 * 1024 * 1024;

/// Maximum number of attempts to read all documents while others write.
const MAX_READS: u32 = 8;

/// One VM's position in the journal of its process.
#[derive(Clone, Debug)]
pub struct Journal {
    prefix: String,
    epoch_key: RecordKey,
    head_key: RecordKey,
    /// First epoch of this configuration.
    base: u64,
    /// Epoch of the replica.
    epoch: u64,
    revision: u64,
    superseded: bool,
    /// Number of changes that were dropped when the journal was opened.
    dropped: u64,
}

/// The content of one commit.
#[derive(Clone, Debug, Default)]
pub struct JournalCommit {
    /// The change, decided on the current replica.
    pub change: Change,
    /// Documents to store besides those that the change affects, for VMs that start later.
    pub documents: Vec<String>,
    /// The audit entry.
    pub entry: Option<LogEntry>,
    /// Revision of etcd that the documents came from; never decreases.
    pub revision: Option<u64>,
}

impl Journal {
    /// Opens the journal of the process, or creates it. If it has another format, its changes are dropped and it starts
    /// over.
    ///
    /// # Errors
    /// Errors of shared data.
    pub fn open<C: CounterStore>(store: &mut C, prefix: &str, format: u64) -> Result<Journal, JournalError> {
        let prefix = alloc::format!("{prefix}doc/");
        let key = |part: &str| RecordKey::new(&prefix, &[part]);
        let (epoch_key, head_key) = (key("epoch"), key("head"));
        let (base, dropped) = retry_conflicts::<_, JournalError>(|| {
            let current = read(store, &head_key)?;
            if let Some(head) = JournalHead::read(&current.body).filter(|head| head.format == format) {
                return Ok(Some((head.base, 0)));
            }
            let dropped =
                JournalHead::base_of(&current.body).map_or(0, |base| current.number.saturating_sub(base));
            // Epochs only grow, so that no VM mistakes an old one for a new one.
            let newest = current.number.max(read(store, &epoch_key)?.number);
            let base = newest.saturating_add(1);
            let head = JournalHead {
                base,
                format,
                revision: 0,
                documents: Vec::new(),
                change: Change::default(),
                entry: None,
            };
            let body = head.to_json();
            let stored = compare_and_swap(store, &head_key, current.version, base, body.as_bytes())?;
            Ok((stored == Cas::Stored).then_some((base, dropped)))
        })?;
        Ok(Journal {
            prefix,
            epoch_key,
            head_key,
            base,
            epoch: base,
            revision: 0,
            superseded: false,
            dropped,
        })
    }

    /// Returns the epoch of the replica.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// Returns the revision of etcd that the replica's documents came from; 0 if none.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Returns the number of changes in another format that were dropped when this VM began the journal anew.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Returns true if another journal has replaced this one.
    pub fn is_superseded(&self) -> bool {
        self.superseded
    }

    /// Returns true if the replica lacks an acknowledged change. Costs one short read, for each request. Always false once
    /// superseded: the VM keeps serving its replica.
    ///
    /// # Errors
    /// Errors of shared data.
    pub fn is_behind<C: CounterStore>(&self, store: &mut C) -> Result<bool, JournalError> {
        Ok(!self.superseded && read(store, &self.epoch_key)?.number > self.epoch)
    }

    /// Applies all commits that the replica lacks.
    ///
    /// # Errors
    /// Errors of shared data, and [`JournalError::Superseded`]. The replica is unchanged then.
    pub fn catch_up<C: CounterStore>(
        &mut self,
        store: &mut C,
        replica: &mut impl Replica,
    ) -> Result<(), JournalError> {
        for _ in 0..MAX_READS {
            let newest = self.head(store)?;
            if newest.epoch <= self.epoch {
                return Ok(());
            }
            // A new VM reads all documents.
            let known = self.epoch > self.base;
            let next = self.epoch.saturating_add(1);
            if known
                && let Some(changes) = self.changes(store, next..=newest.epoch, &newest)?
                && changes.iter().all(|change| replica.apply(change))
            {
                (self.epoch, self.revision) = (newest.epoch, newest.head.revision);
                return Ok(());
            }
            if self.read_all(store, replica)? {
                return Ok(());
            }
        }
        Err(StoreError::Contention.into())
    }

    /// Commits a change that was decided on the current replica. Returns false after a conflict: catch up and decide again.
    /// Once committed, the replica has the change, and every other VM has it from its next request on.
    ///
    /// # Errors
    /// Errors before the compare-and-swap mean that nothing was written. After it, only [`JournalError::Store`] is possible:
    /// the change is committed, and the next tick of any VM completes it.
    pub fn commit<C: CounterStore>(
        &mut self,
        store: &mut C,
        replica: &mut impl Replica,
        commit: JournalCommit,
    ) -> Result<bool, JournalError> {
        let newest = self.head(store)?;
        let revision = commit.revision.unwrap_or(newest.head.revision);
        if newest.epoch != self.epoch || revision < newest.head.revision {
            return Ok(false);
        }
        self.finish(store, replica, &newest)?;
        let mut documents = replica.touched(&commit.change);
        documents.extend(commit.documents);
        once(&mut documents);
        let head = JournalHead {
            base: self.base,
            format: newest.head.format,
            revision,
            documents,
            change: commit.change,
            entry: commit.entry,
        };
        let epoch = newest.epoch.saturating_add(1);
        let body = head.to_json();
        if body.len() > MAX_RECORD_BYTES {
            return Err(JournalError::TooLarge(body.len()));
        }
        if compare_and_swap(store, &self.head_key, newest.version, epoch, body.as_bytes())? == Cas::Conflict {
            return Ok(false);
        }
        if !replica.apply(&head.change) {
            // Impossible for a validated change. If it happens, the next catch-up reads all documents.
            self.epoch = self.base;
            return Err(JournalError::Damaged);
        }
        (self.epoch, self.revision) = (epoch, revision);
        self.finish(store, replica, &VersionedHead { epoch, head, version: newest.version })?;
        Ok(true)
    }

    /// Catches up and completes the commit of a writer that trapped. Runs on every tick.
    ///
    /// # Errors
    /// Those of [`Journal::catch_up`].
    pub fn recover<C: CounterStore>(
        &mut self,
        store: &mut C,
        replica: &mut impl Replica,
    ) -> Result<(), JournalError> {
        self.catch_up(store, replica)?;
        let newest = self.head(store)?;
        if newest.epoch == self.epoch { self.finish(store, replica, &newest) } else { Ok(()) }
    }

    /// Writes the records of the commit at the replica's epoch. Idempotent, also for several VMs and after a long delay:
    /// record numbers never decrease.
    fn finish<C: CounterStore>(
        &self,
        store: &mut C,
        replica: &impl Replica,
        newest: &VersionedHead<C::Version>,
    ) -> Result<(), JournalError> {
        if read(store, &self.epoch_key)?.number >= newest.epoch {
            return Ok(());
        }
        let change = text(&newest.head.change.to_json());
        write_if_newer(store, &self.delta_key(newest.epoch), newest.epoch, change.as_bytes())?;
        for document in &newest.head.documents {
            let content = text(&replica.document(document).unwrap_or_default());
            write_if_newer(store, &self.document_key(document), newest.epoch, content.as_bytes())?;
        }
        self.add_to_index(store, newest.epoch, &newest.head.documents)?;
        if let Some(entry) = &newest.head.entry {
            audit_log::append(store, &self.prefix, entry, newest.epoch)?;
        }
        write_if_newer(store, &self.epoch_key, newest.epoch, &[])
    }

    /// Adds names to the index; an index of an earlier base is replaced.
    fn add_to_index<C: CounterStore>(
        &self,
        store: &mut C,
        epoch: u64,
        documents: &[String],
    ) -> Result<(), JournalError> {
        let name = self.index_key();
        retry_conflicts(|| {
            let current = read(store, &name)?;
            if current.number >= epoch {
                return Ok(Some(()));
            }
            let mut names = self.index_names(&current)?;
            let before = names.len();
            names.extend_from_slice(documents);
            once(&mut names);
            if names.len() == before && current.number > self.base {
                return Ok(Some(()));
            }
            let body = text(&json!(names));
            let stored = compare_and_swap(store, &name, current.version, epoch, body.as_bytes())?;
            Ok((stored == Cas::Stored).then_some(()))
        })
    }

    /// Returns the names in an index record; none if it belongs to an earlier base.
    fn index_names<V>(&self, index: &VersionedRecord<V>) -> Result<Vec<String>, JournalError> {
        if index.number <= self.base {
            return Ok(Vec::new());
        }
        documents(&record::json(&index.body)?).ok_or(JournalError::Damaged)
    }

    /// Returns the changes of these epochs, the last of which is that of the head; `None` if they are no longer stored.
    fn changes<C: CounterStore>(
        &self,
        store: &mut C,
        epochs: RangeInclusive<u64>,
        newest: &VersionedHead<C::Version>,
    ) -> Result<Option<Vec<Change>>, JournalError> {
        if epochs.end().saturating_sub(*epochs.start()) >= DELTA_SLOTS {
            return Ok(None);
        }
        let mut changes = Vec::new();
        for epoch in epochs {
            if epoch == newest.epoch {
                changes.push(newest.head.change.clone());
                continue;
            }
            let record = read(store, &self.delta_key(epoch))?;
            if record.number != epoch {
                return Ok(None);
            }
            let json = record::json(&record.body)?;
            changes.push(Change::from_json(&json).ok_or(JournalError::Damaged)?);
        }
        Ok(Some(changes))
    }

    /// Reads all documents and the changes made meanwhile. Returns false if those were too many.
    ///
    /// The documents may be of different epochs. Changes carry whole records, so applying all changes since the epoch
    /// that was complete before the first read brings all documents to the same epoch.
    fn read_all<C: CounterStore>(
        &mut self,
        store: &mut C,
        replica: &mut impl Replica,
    ) -> Result<bool, JournalError> {
        let complete = read(store, &self.epoch_key)?.number.max(self.base);
        let index = read(store, &self.index_key())?;
        let mut contents = Vec::new();
        for document in self.index_names(&index)? {
            let record = read(store, &self.document_key(&document))?;
            let content = record::json(&record.body)?;
            contents.push((document, (!content.is_null()).then_some(content)));
        }
        let newest = self.head(store)?;
        let since = complete.saturating_add(1)..=newest.epoch;
        let Some(changes) = self.changes(store, since, &newest)? else {
            return Ok(false);
        };
        if !replica.replace(&contents) || !changes.iter().all(|change| replica.apply(change)) {
            return Err(JournalError::Damaged);
        }
        (self.epoch, self.revision) = (newest.epoch, newest.head.revision);
        Ok(true)
    }

    /// Stores the audit entry of an attempt that changed nothing.
    ///
    /// # Errors
    /// Errors of shared data.
    pub fn append_audit<C: CounterStore>(
        &self,
        store: &mut C,
        organization: Option<&str>,
        actor: &str,
        entry: &str,
    ) -> Result<(), JournalError> {
        audit_log::append_attempt(store, &self.prefix, organization, actor, entry)
    }

    /// Returns a page of audit entries, and the name to continue from if there are more.
    ///
    /// # Errors
    /// Errors of shared data.
    pub fn audit_page<C: CounterStore>(
        &self,
        store: &mut C,
        query: &AuditQuery,
    ) -> Result<(Vec<audit_log::StoredEntry>, Option<String>), JournalError> {
        audit_log::page(store, &self.prefix, query)
    }

    fn head<C: CounterStore>(&mut self, store: &mut C) -> Result<VersionedHead<C::Version>, JournalError> {
        if self.superseded {
            return Err(JournalError::Superseded);
        }
        let record = read(store, &self.head_key)?;
        let head = JournalHead::read(&record.body).ok_or(JournalError::Damaged)?;
        if head.base != self.base {
            self.superseded = true;
            return Err(JournalError::Superseded);
        }
        Ok(VersionedHead { epoch: record.number, head, version: record.version })
    }

    fn delta_key(&self, epoch: u64) -> RecordKey {
        let slot = epoch.checked_rem(DELTA_SLOTS).unwrap_or_default().to_string();
        RecordKey::new(&self.prefix, &["delta", &slot])
    }

    fn document_key(&self, document: &str) -> RecordKey {
        RecordKey::new(&self.prefix, &["d", document])
    }

    fn index_key(&self) -> RecordKey {
        RecordKey::new(&self.prefix, &["index"])
    }
}
