//! The operations on keys: ranges at a revision, puts, removals and compaction, within a transaction of the
//! file.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::Bound;
use std::time::Duration;

use redb::{ReadableTable as _, StorageError};

use super::refusal::Refusal;
use super::request::{DeleteRangeRequest, PutRequest, RangeRequest, SortOrder, SortTarget};
use super::response::{Message, Pair, key_value};
use super::tables::{FORMAT, Row, Tables, number, take};

/// The number of rows of the history that one commit removes at most. More would delay the requests behind
/// it.
const SWEEP: usize = 2_000;

/// An error of a request.
#[derive(Debug)]
pub(super) enum Failure {
    /// The request is refused; nothing has changed.
    Refused(Refusal),
    /// The file failed. The transaction must be aborted.
    Storage(redb::Error),
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Failure {
        Failure::Refused(refusal)
    }
}

impl<E: Into<redb::Error>> From<E> for Failure {
    fn from(error: E) -> Failure {
        Failure::Storage(error.into())
    }
}

/// The numbers of the store, as they are in the file, and the times of leases, which are not.
#[derive(Clone, Debug, Default)]
pub(super) struct State {
    /// The revision of the last write; 1 in an empty store.
    pub(super) revision: i64,
    /// The revision up to which the history is forgotten; -1 if it is whole.
    pub(super) compacted: i64,
    pub(super) cluster: u64,
    pub(super) member: u64,
    /// The number of starts, in the place of the term of an election.
    pub(super) starts: u64,
    /// The time to live of each lease in seconds, and the end of it on the monotonic clock.
    pub(super) leases: HashMap<i64, (i64, Duration)>,
}

impl State {
    /// Reads the state when the file is opened, and counts the start. Leases begin anew, as in etcd after an
    /// election.
    pub(super) fn load(tables: &mut Tables, now: Duration) -> Result<State, redb::Error> {
        let starts = tables.number(number::STARTS)?.unwrap_or(0) + 1;
        let id = |tables: &mut Tables, name| -> Result<u64, redb::Error> {
            if let Some(id) = tables.number(name)? {
                return Ok(id.cast_unsigned());
            }
            let id =
                getrandom::u64().map_err(|error| redb::Error::Io(io::Error::other(error.to_string())))?;
            tables.set_number(name, id.cast_signed())?;
            Ok(id)
        };
        let cluster = id(tables, number::CLUSTER)?;
        let member = id(tables, number::MEMBER)?;
        tables.set_number(number::STARTS, starts)?;
        tables.set_number(number::FORMAT, FORMAT)?;
        let mut leases = HashMap::new();
        for lease in tables.leases.iter()? {
            let (id, ttl) = lease?;
            leases.insert(id.value(), (ttl.value(), super::lease::end(now, ttl.value())));
        }
        Ok(State {
            revision: tables.number(number::REVISION)?.unwrap_or(1),
            compacted: tables.number(number::COMPACTED)?.unwrap_or(-1),
            cluster,
            member,
            starts: starts.cast_unsigned(),
            leases,
        })
    }
}

/// One request in a transaction of the file.
pub(super) struct Engine<'e, 't> {
    pub(super) tables: &'e mut Tables<'t>,
    pub(super) state: &'e mut State,
    pub(super) now: Duration,
    /// True once the request has changed a key: its writes then have the next revision.
    changed: bool,
}

/// The first and the last key of a range.
type Bounds<'k> = (Bound<&'k [u8]>, Bound<&'k [u8]>);

/// Returns the bounds of a range of keys: one key without an end, all keys from `key` on with the end `\0`.
fn bounds<'k>(key: &'k [u8], end: &'k [u8]) -> Option<Bounds<'k>> {
    match end {
        [] => Some((Bound::Included(key), Bound::Included(key))),
        [0] => Some((Bound::Included(key), Bound::Unbounded)),
        end if key < end => Some((Bound::Included(key), Bound::Excluded(end))),
        _ => None,
    }
}

impl<'e, 't> Engine<'e, 't> {
    pub(super) fn new(tables: &'e mut Tables<'t>, state: &'e mut State, now: Duration) -> Engine<'e, 't> {
        Engine { tables, state, now, changed: false }
    }

    /// Returns the revision of the request: that of its writes, if there are any.
    pub(super) fn revision(&self) -> i64 {
        self.state.revision + i64::from(self.changed)
    }

    /// Ends a request: its writes get their revision. Returns true if there were any.
    pub(super) fn finish(self) -> Result<bool, redb::Error> {
        if self.changed {
            self.state.revision += 1;
            self.tables.set_number(number::REVISION, self.state.revision)?;
        }
        Ok(self.changed)
    }

    pub(super) fn row(&self, key: &[u8]) -> Result<Option<Row>, redb::Error> {
        Ok(self.tables.keys.get(key)?.map(|row| Row::from_bytes(row.value())))
    }

    /// Returns at most `limit` present rows of a range, and the number of all of them.
    pub(super) fn rows(&self, key: &[u8], end: &[u8], limit: usize) -> Result<(Vec<Pair>, i64), redb::Error> {
        let Some(bounds) = bounds(key, end) else { return Ok((Vec::new(), 0)) };
        let mut found = Vec::new();
        let mut count = 0;
        for entry in self.tables.keys.range::<&[u8]>(bounds)? {
            let (key, row) = entry?;
            if found.len() < limit {
                found.push((key.value().to_vec(), Row::from_bytes(row.value())));
            }
            count += 1;
        }
        Ok((found, count))
    }

    /// Returns the rows of a range as they were at an earlier revision.
    fn rows_at(&self, key: &[u8], end: &[u8], revision: i64) -> Result<Vec<Pair>, redb::Error> {
        let Some(range) = bounds(key, end) else { return Ok(Vec::new()) };
        let (present, _) = self.rows(key, end, usize::MAX)?;
        let mut found: BTreeMap<_, _> =
            present.into_iter().filter(|(_, row)| row.modified <= revision).collect();
        let start = (key, i64::MIN);
        let stop = match range.1 {
            Bound::Included(key) => Bound::Included((key, i64::MAX)),
            Bound::Excluded(key) => Bound::Excluded((key, i64::MIN)),
            Bound::Unbounded => Bound::Unbounded,
        };
        let history = self.tables.history.range::<(&[u8], i64)>((Bound::Included(start), stop))?;
        for entry in history {
            let (at, value) = entry?;
            let (key, modified) = at.value();
            let (ended, row) = take(value.value());
            if modified <= revision && revision < ended {
                found.insert(key.to_vec(), Row::from_bytes(row));
            }
        }
        Ok(found.into_iter().collect())
    }

    /// Returns an error if the rows of this revision are not known. In a transaction, negative numbers are
    /// revisions too.
    pub(super) fn check_revision(&self, revision: i64) -> Result<(), Refusal> {
        if revision > self.state.revision {
            Err(Refusal::FutureRevision)
        } else if revision < self.state.compacted {
            Err(Refusal::Compacted)
        } else {
            Ok(())
        }
    }

    /// Returns the response without its header.
    pub(super) fn range(&self, request: &RangeRequest) -> Result<Message, redb::Error> {
        let RangeRequest { key, range_end, limit, .. } = request;
        let limit = usize::try_from(*limit).ok().filter(|limit| *limit > 0);
        let filtered = [
            request.min_mod_revision,
            request.max_mod_revision,
            request.min_create_revision,
            request.max_create_revision,
        ]
        .iter()
        .any(|bound| *bound != 0);
        // etcd applies the limit first if a target other than the key has no order.
        let read = match limit {
            Some(limit) if request.sort_order == SortOrder::None && !filtered => limit.saturating_add(1),
            _ => usize::MAX,
        };
        // A write of the same request is visible at the next revision only.
        let (mut found, count) = if request.revision > 0 && request.revision < self.revision() {
            let found = self.rows_at(key, range_end, request.revision)?;
            let count = i64::try_from(found.len()).unwrap_or(i64::MAX);
            (found, count)
        } else {
            self.rows(key, range_end, read)?
        };
        found.truncate(read);
        if request.count_only {
            found.clear();
        }
        let above = |number: i64, bound: i64| bound == 0 || number <= bound;
        let below = |number: i64, bound: i64| number >= bound || bound == 0;
        found.retain(|(_, row)| {
            above(row.modified, request.max_mod_revision)
                && below(row.modified, request.min_mod_revision)
                && above(row.created, request.max_create_revision)
                && below(row.created, request.min_create_revision)
        });
        sort(&mut found, request.sort_order, request.sort_target);
        let more = limit.is_some_and(|limit| found.len() > limit);
        if let Some(limit) = limit {
            found.truncate(limit);
        }
        let found = found.iter().map(|pair| key_value(pair, !request.keys_only));
        Ok(Message::new().list("kvs", found).flag("more", more).long("count", count))
    }

    /// Puts a key. The lease exists, and with `ignore_value` or `ignore_lease` the key does.
    pub(super) fn put(&mut self, request: &PutRequest) -> Result<Message, redb::Error> {
        let key = request.key.as_slice();
        let before = self.row(key)?;
        self.changed = true;
        let revision = self.revision();
        let (created, version) = before.as_ref().map_or((revision, 1), |row| (row.created, row.version + 1));
        let value = match &before {
            Some(before) if request.ignore_value => before.value.clone(),
            _ => request.value.clone(),
        };
        let lease = match &before {
            Some(before) if request.ignore_lease => before.lease,
            _ => request.lease,
        };
        if let Some(before) = &before {
            self.archive(key, before, revision)?;
        }
        if lease != 0 {
            self.tables.lease_keys.insert((lease, key), ())?;
        }
        let row = Row { created, modified: revision, version, lease, value };
        self.tables.keys.insert(key, row.to_bytes().as_slice())?;
        let response = Message::new();
        Ok(match before {
            Some(before) if request.prev_kv => {
                response.message("prev_kv", key_value(&(request.key.clone(), before), true))
            }
            _ => response,
        })
    }

    /// Removes the keys of a range.
    pub(super) fn delete_range(&mut self, request: &DeleteRangeRequest) -> Result<Message, redb::Error> {
        let (found, count) = self.rows(&request.key, &request.range_end, usize::MAX)?;
        for (key, row) in &found {
            self.remove(key, row)?;
        }
        let previous = found.iter().filter(|_| request.prev_kv).map(|pair| key_value(pair, true));
        Ok(Message::new().long("deleted", count).list("prev_kvs", previous))
    }

    pub(super) fn remove(&mut self, key: &[u8], row: &Row) -> Result<(), redb::Error> {
        self.changed = true;
        self.archive(key, row, self.revision())?;
        self.tables.keys.remove(key)?;
        Ok(())
    }

    /// Moves a row into the history, and detaches its key from its lease.
    fn archive(&mut self, key: &[u8], row: &Row, ended: i64) -> Result<(), redb::Error> {
        if row.lease != 0 {
            self.tables.lease_keys.remove((row.lease, key))?;
        }
        // A row that ends at the revision that put it was never visible.
        if row.modified < ended {
            let mut value = ended.to_le_bytes().to_vec();
            value.extend_from_slice(&row.to_bytes());
            self.tables.history.insert((key, row.modified), value.as_slice())?;
            self.tables.ended.insert((ended, key, row.modified), ())?;
        }
        Ok(())
    }

    /// Forgets what ended at or before a revision. The rows are removed later, by [`Engine::sweep`].
    pub(super) fn compact(&mut self, revision: i64) -> Result<(), Failure> {
        if revision <= self.state.compacted {
            return Err(Refusal::Compacted.into());
        }
        if revision > self.state.revision {
            return Err(Refusal::FutureRevision.into());
        }
        self.state.compacted = revision;
        self.tables.set_number(number::COMPACTED, revision)?;
        Ok(())
    }

    /// Removes some rows of the history that are forgotten; returns the number of them.
    pub(super) fn sweep(&mut self) -> Result<usize, redb::Error> {
        let all = ..(self.state.compacted.saturating_add(1), [].as_slice(), i64::MIN);
        let forgotten = self
            .tables
            .ended
            .range::<(i64, &[u8], i64)>(all)?
            .take(SWEEP)
            .map(|entry| {
                let (at, _) = entry?;
                let (ended, key, modified) = at.value();
                Ok((ended, key.to_vec(), modified))
            })
            .collect::<Result<Vec<_>, StorageError>>()?;
        for (ended, key, modified) in &forgotten {
            self.tables.ended.remove((*ended, key.as_slice(), *modified))?;
            self.tables.history.remove((key.as_slice(), *modified))?;
        }
        Ok(forgotten.len())
    }
}

/// Sorts rows that are in the order of their keys. Equal ones keep that order.
fn sort(rows: &mut [Pair], order: SortOrder, target: SortTarget) {
    let compare = |(a_key, a): &Pair, (b_key, b): &Pair| match target {
        SortTarget::Key => a_key.cmp(b_key),
        SortTarget::Version => a.version.cmp(&b.version),
        SortTarget::Create => a.created.cmp(&b.created),
        SortTarget::Mod => a.modified.cmp(&b.modified),
        SortTarget::Value => a.value.cmp(&b.value),
    };
    match order {
        SortOrder::None | SortOrder::Ascend => rows.sort_by(compare),
        SortOrder::Descend => rows.sort_by(|a, b| compare(b, a)),
    }
}
