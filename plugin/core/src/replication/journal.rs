//! The journal: which change came after which, and what a VM has missed.
//!
//! ```text
//! head        the newest change with its epoch n: swapping it from n to n + 1 is the commit
//! delta/I     the change of epoch n, I = n mod 64
//! d/NAME      a document, as it was at some epoch
//! index       the names of all documents that were ever changed
//! epoch       n, once all of the above is written
//! ```

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::ops::RangeInclusive;

use serde_json::{Value, json};

use super::record::{self, VersionedRecord, compare_and_swap, read, write_if_newer};
use super::{JournalError, Replica, audit_log};
use crate::admin::audit::AuditQuery;
use crate::collections::sort::once;
use crate::counters::{Cas, CounterStore, RecordKey, StoreError, retry_conflicts};
use crate::json::out_of_line::{object, text};
use crate::policy::{Change, Document};

/// Changes that a VM can be behind and still catch up one by one.
pub const RING: u64 = 64;

/// Bytes that a record may have: hosts copy it whole at every read.
pub const MOST: usize = 4 * 1024 * 1024;

/// How often reading everything begins anew because too much was written meanwhile.
const TRIES: u32 = 8;

/// One VM's place in the journal of its process.
#[derive(Clone, Debug)]
pub struct Journal {
    prefix: String,
    epoch_name: RecordKey,
    head_name: RecordKey,
    /// The epoch at which this configuration's documents began.
    base: u64,
    /// Where the replica is.
    epoch: u64,
    revision: u64,
    superseded: bool,
}

/// What is committed together.
#[derive(Clone, Debug, Default)]
pub struct Commit {
    /// It was decided on the replica as it is.
    pub change: Change,
    /// Documents beyond those that the change touches, whose content is to be known to VMs that start later.
    pub documents: Vec<Document>,
    /// Whose it is, and the audit entry as JSON.
    pub entry: Option<(Option<String>, String)>,
    /// The revision of the store that the documents came from; it never falls.
    pub revision: Option<u64>,
}

/// The head record.
struct JournalHead {
    base: u64,
    /// Fingerprint of the inline policy that the documents stand on.
    inline: u64,
    revision: u64,
    documents: Vec<Document>,
    change: Change,
    entry: Option<(Option<String>, String)>,
}

impl JournalHead {
    fn to_json(&self) -> String {
        let names: Vec<String> = self.documents.iter().map(Document::to_string).collect();
        let entry = self.entry.as_ref().map(|(organization, text)| json!([organization, text]));
        text(&object!({
            "base": self.base,
            "inline": self.inline,
            "revision": self.revision,
            "documents": names,
            "change": self.change.to_json(),
            "entry": entry,
        }))
    }

    fn read(body: &[u8]) -> Option<JournalHead> {
        let json = record::json(body).ok()?;
        let number = |name: &str| json.get(name)?.as_u64();
        let entry = match json.get("entry")?.as_array().map(Vec::as_slice) {
            Some([organization, text]) => {
                Some((organization.as_str().map(ToString::to_string), text.as_str()?.to_string()))
            }
            _ => None,
        };
        Some(JournalHead {
            base: number("base")?,
            inline: number("inline")?,
            revision: number("revision")?,
            documents: documents(json.get("documents")?)?,
            change: Change::from_json(json.get("change")?)?,
            entry,
        })
    }
}

fn documents(names: &Value) -> Option<Vec<Document>> {
    names.as_array()?.iter().map(|name| Document::named(name.as_str()?)).collect()
}

/// The head with its epoch, and the version to swap it against.
struct At<V> {
    epoch: u64,
    head: JournalHead,
    version: V,
}

impl Journal {
    /// Joins the journal of the process, or begins it. Where another inline policy was loaded before, what was changed
    /// since is dropped: documents begin anew on this one.
    ///
    /// # Errors
    /// Where shared data fails.
    pub fn open<C: CounterStore>(store: &mut C, prefix: &str, inline: u64) -> Result<Journal, JournalError> {
        let prefix = format!("{prefix}doc/");
        let name = |part: &str| RecordKey::new(&prefix, &[part]);
        let (epoch_name, head_name) = (name("epoch"), name("head"));
        let base = retry_conflicts::<_, JournalError>(|| {
            let current = read(store, &head_name)?;
            if let Some(head) = JournalHead::read(&current.body).filter(|head| head.inline == inline) {
                return Ok(Some(head.base));
            }
            // Epochs only grow, so that no VM mistakes an old one for a new one.
            let newest = current.number.max(read(store, &epoch_name)?.number);
            let base = newest.saturating_add(1);
            let head = JournalHead {
                base,
                inline,
                revision: 0,
                documents: Vec::new(),
                change: Change::default(),
                entry: None,
            };
            let body = head.to_json();
            let stored = compare_and_swap(store, &head_name, current.version, base, body.as_bytes())?;
            Ok((stored == Cas::Stored).then_some(base))
        })?;
        Ok(Journal { prefix, epoch_name, head_name, base, epoch: base, revision: 0, superseded: false })
    }

    /// The epoch of the replica. It changes whenever the replica does.
    pub fn epoch(&self) -> u64 {
        self.epoch
    }

    /// The revision that the replica's documents came from; 0: none yet.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whether another configuration has taken over.
    pub fn is_superseded(&self) -> bool {
        self.superseded
    }

    /// Whether the replica lacks something that was acknowledged: asked for every request, one short read. Never once another
    /// configuration has taken over: serving goes on with what there is.
    ///
    /// # Errors
    /// Where shared data fails.
    pub fn is_behind<C: CounterStore>(&self, store: &mut C) -> Result<bool, JournalError> {
        Ok(!self.superseded && read(store, &self.epoch_name)?.number > self.epoch)
    }

    /// Brings the replica up to the newest commit: before something is decided that is to be written.
    ///
    /// # Errors
    /// Where shared data fails, or another configuration has taken over. The replica is then as before.
    pub fn catch_up<C: CounterStore>(
        &mut self,
        store: &mut C,
        replica: &mut impl Replica,
    ) -> Result<(), JournalError> {
        for _ in 0..TRIES {
            let at = self.head(store)?;
            if at.epoch <= self.epoch {
                return Ok(());
            }
            // What came first may have been there before this VM was: its documents are read whole.
            let known = self.epoch > self.base;
            let next = self.epoch.saturating_add(1);
            if known
                && let Some(changes) = self.changes(store, next..=at.epoch, &at)?
                && changes.iter().all(|change| replica.apply(change))
            {
                (self.epoch, self.revision) = (at.epoch, at.head.revision);
                return Ok(());
            }
            if self.read_all(store, replica)? {
                return Ok(());
            }
        }
        Err(StoreError::Contention.into())
    }

    /// Commits what was decided on the replica as it is, if nobody was faster: `false`: somebody was, catch up and decide
    /// again. Once it is committed the replica has it, and so has every VM from its next request on.
    ///
    /// # Errors
    /// Before the commit: nothing was written. After it, only [`JournalError::CounterStore`]: the change holds, and the next tick of
    /// any VM goes on from there.
    pub fn commit<C: CounterStore>(
        &mut self,
        store: &mut C,
        replica: &mut impl Replica,
        commit: Commit,
    ) -> Result<bool, JournalError> {
        let at = self.head(store)?;
        let revision = commit.revision.unwrap_or(at.head.revision);
        if at.epoch != self.epoch || revision < at.head.revision {
            return Ok(false);
        }
        self.finish(store, replica, &at)?;
        let mut documents = replica.touched(&commit.change);
        documents.extend(commit.documents);
        once(&mut documents);
        let head = JournalHead {
            base: self.base,
            inline: at.head.inline,
            revision,
            documents,
            change: commit.change,
            entry: commit.entry,
        };
        let epoch = at.epoch.saturating_add(1);
        let body = head.to_json();
        if body.len() > MOST {
            return Err(JournalError::TooLarge(body.len()));
        }
        if compare_and_swap(store, &self.head_name, at.version, epoch, body.as_bytes())? == Cas::Conflict {
            return Ok(false);
        }
        if !replica.apply(&head.change) {
            // It was checked, so this cannot be; if it is, the documents say what holds.
            self.epoch = self.base;
            return Err(JournalError::Damaged);
        }
        (self.epoch, self.revision) = (epoch, revision);
        self.finish(store, replica, &At { epoch, head, version: at.version })?;
        Ok(true)
    }

    /// Catches up, and finishes what a writer left that trapped behind its commit: on every tick.
    ///
    /// # Errors
    /// As [`Journal::catch_up`].
    pub fn recover<C: CounterStore>(
        &mut self,
        store: &mut C,
        replica: &mut impl Replica,
    ) -> Result<(), JournalError> {
        self.catch_up(store, replica)?;
        let at = self.head(store)?;
        if at.epoch == self.epoch { self.finish(store, replica, &at) } else { Ok(()) }
    }

    /// Writes what belongs to a commit that the replica has just reached. Everything in it can be done twice, by
    /// different VMs, and by one that was held up for long: records never go back.
    fn finish<C: CounterStore>(
        &self,
        store: &mut C,
        replica: &impl Replica,
        at: &At<C::Version>,
    ) -> Result<(), JournalError> {
        if read(store, &self.epoch_name)?.number >= at.epoch {
            return Ok(());
        }
        let change = text(&at.head.change.to_json());
        write_if_newer(store, &self.delta_name(at.epoch), at.epoch, change.as_bytes())?;
        for document in &at.head.documents {
            let content = text(&replica.document(document).unwrap_or_default());
            write_if_newer(store, &self.document_name(document), at.epoch, content.as_bytes())?;
        }
        self.add_to_index(store, at.epoch, &at.head.documents)?;
        if let Some((organization, text)) = &at.head.entry {
            audit_log::keep(store, &self.prefix, organization.as_deref(), text, Some(at.epoch))?;
        }
        write_if_newer(store, &self.epoch_name, at.epoch, &[])
    }

    /// Adds names to the index; one of an earlier base begins anew.
    fn add_to_index<C: CounterStore>(
        &self,
        store: &mut C,
        epoch: u64,
        documents: &[Document],
    ) -> Result<(), JournalError> {
        let name = self.index_name();
        retry_conflicts(|| {
            let current = read(store, &name)?;
            if current.number >= epoch {
                return Ok(Some(()));
            }
            let mut names = self.listed(&current)?;
            let before = names.len();
            names.extend_from_slice(documents);
            once(&mut names);
            if names.len() == before && current.number > self.base {
                return Ok(Some(()));
            }
            let names: Vec<String> = names.iter().map(Document::to_string).collect();
            let body = text(&json!(names));
            let stored = compare_and_swap(store, &name, current.version, epoch, body.as_bytes())?;
            Ok((stored == Cas::Stored).then_some(()))
        })
    }

    /// The names in an index record; none where it belongs to an earlier base.
    fn listed<V>(&self, index: &VersionedRecord<V>) -> Result<Vec<Document>, JournalError> {
        if index.number <= self.base {
            return Ok(Vec::new());
        }
        documents(&record::json(&index.body)?).ok_or(JournalError::Damaged)
    }

    /// The changes of these epochs, the last of which is the head's; `None` where the ring no longer has them.
    fn changes<C: CounterStore>(
        &self,
        store: &mut C,
        epochs: RangeInclusive<u64>,
        at: &At<C::Version>,
    ) -> Result<Option<Vec<Change>>, JournalError> {
        if epochs.end().saturating_sub(*epochs.start()) >= RING {
            return Ok(None);
        }
        let mut changes = Vec::new();
        for epoch in epochs {
            if epoch == at.epoch {
                changes.push(at.head.change.clone());
                continue;
            }
            let there = read(store, &self.delta_name(epoch))?;
            if there.number != epoch {
                return Ok(None);
            }
            let json = record::json(&there.body)?;
            changes.push(Change::from_json(&json).ok_or(JournalError::Damaged)?);
        }
        Ok(Some(changes))
    }

    /// Reads all documents, and the changes made meanwhile; `false` where those were too many.
    ///
    /// A document may be newer than another. Changes carry whole records, so the changes since the epoch that was
    /// finished before the first document was read make them all the same age.
    fn read_all<C: CounterStore>(
        &mut self,
        store: &mut C,
        replica: &mut impl Replica,
    ) -> Result<bool, JournalError> {
        let finished = read(store, &self.epoch_name)?.number.max(self.base);
        let index = read(store, &self.index_name())?;
        let mut contents = Vec::new();
        for document in self.listed(&index)? {
            let there = read(store, &self.document_name(&document))?;
            let content = record::json(&there.body)?;
            contents.push((document, (!content.is_null()).then_some(content)));
        }
        let at = self.head(store)?;
        let since = finished.saturating_add(1)..=at.epoch;
        let Some(changes) = self.changes(store, since, &at)? else {
            return Ok(false);
        };
        if !replica.replace(&contents) || !changes.iter().all(|change| replica.apply(change)) {
            return Err(JournalError::Damaged);
        }
        (self.epoch, self.revision) = (at.epoch, at.head.revision);
        Ok(true)
    }

    /// Keeps an attempt that nothing was written for.
    ///
    /// # Errors
    /// As [`audit_log::keep`].
    pub fn keep_attempt<C: CounterStore>(
        &self,
        store: &mut C,
        organization: Option<&str>,
        entry: &str,
    ) -> Result<(), JournalError> {
        audit_log::keep(store, &self.prefix, organization, entry, None)
    }

    /// A page of the attempts that are kept.
    ///
    /// # Errors
    /// As [`audit_log::page`].
    pub fn attempts<C: CounterStore>(
        &self,
        store: &mut C,
        query: &AuditQuery,
    ) -> Result<(Vec<audit_log::KeptEntry>, Option<String>), JournalError> {
        audit_log::page(store, &self.prefix, query)
    }

    fn head<C: CounterStore>(&mut self, store: &mut C) -> Result<At<C::Version>, JournalError> {
        if self.superseded {
            return Err(JournalError::Superseded);
        }
        let there = read(store, &self.head_name)?;
        let head = JournalHead::read(&there.body).ok_or(JournalError::Damaged)?;
        if head.base != self.base {
            self.superseded = true;
            return Err(JournalError::Superseded);
        }
        Ok(At { epoch: there.number, head, version: there.version })
    }

    fn delta_name(&self, epoch: u64) -> RecordKey {
        let slot = epoch.checked_rem(RING).unwrap_or_default().to_string();
        RecordKey::new(&self.prefix, &["delta", &slot])
    }

    fn document_name(&self, document: &Document) -> RecordKey {
        RecordKey::new(&self.prefix, &["d", &document.to_string()])
    }

    fn index_name(&self) -> RecordKey {
        RecordKey::new(&self.prefix, &["index"])
    }
}
