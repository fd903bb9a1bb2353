//! The tables of the file.

use redb::{ReadOnlyTable, ReadTransaction, ReadableTable as _, Table, TableDefinition, WriteTransaction};

/// The present keys with their rows.
pub(super) const KEYS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("keys");
/// The rows that were replaced or removed, by key and by the revision of their put. A value is the revision
/// that ended the row, and then the row.
pub(super) const HISTORY: TableDefinition<(&[u8], i64), &[u8]> = TableDefinition::new("history");
/// The rows of the history by the revision that ended them, key, and revision of their put.
pub(super) const ENDED: TableDefinition<(i64, &[u8], i64), ()> = TableDefinition::new("ended");
/// The time to live of each lease in seconds.
pub(super) const LEASES: TableDefinition<i64, i64> = TableDefinition::new("leases");
/// The keys of each lease.
pub(super) const LEASE_KEYS: TableDefinition<(i64, &[u8]), ()> = TableDefinition::new("lease_keys");
/// Numbers of the whole store, by name.
pub(super) const NUMBERS: TableDefinition<&str, i64> = TableDefinition::new("numbers");

/// The version of this arrangement of tables.
pub(super) const FORMAT: i64 = 1;

/// The names in [`NUMBERS`].
pub(super) mod number {
    pub(in super::super) const FORMAT: &str = "format";
    pub(in super::super) const REVISION: &str = "revision";
    pub(in super::super) const COMPACTED: &str = "compacted";
    pub(in super::super) const CLUSTER: &str = "cluster";
    pub(in super::super) const MEMBER: &str = "member";
    pub(in super::super) const STARTS: &str = "starts";
}

/// A key's value with its revisions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Row {
    /// The revision that created the key.
    pub(super) created: i64,
    /// The revision of the last put.
    pub(super) modified: i64,
    /// The number of puts since the key was created.
    pub(super) version: i64,
    /// The id of its lease; 0: none.
    pub(super) lease: i64,
    pub(super) value: Vec<u8>,
}

impl Row {
    pub(super) fn to_bytes(&self) -> Vec<u8> {
        let Row { created, modified, version, lease, value } = self;
        let mut bytes = Vec::with_capacity(32 + value.len());
        for number in [created, modified, version, lease] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        bytes.extend_from_slice(value);
        bytes
    }

    /// Reads a row. The file has a checksum for each page, so a shorter value is an error of this program.
    pub(super) fn from_bytes(bytes: &[u8]) -> Row {
        let (created, rest) = take(bytes);
        let (modified, rest) = take(rest);
        let (version, rest) = take(rest);
        let (lease, value) = take(rest);
        Row { created, modified, version, lease, value: value.to_vec() }
    }
}

/// Splits a number off.
pub(super) fn take(bytes: &[u8]) -> (i64, &[u8]) {
    bytes.split_first_chunk().map_or((0, &[]), |(number, rest)| (i64::from_le_bytes(*number), rest))
}

/// All tables in a transaction that writes.
pub(super) struct Tables<'t> {
    pub(super) keys: Table<'t, &'static [u8], &'static [u8]>,
    pub(super) history: Table<'t, (&'static [u8], i64), &'static [u8]>,
    pub(super) ended: Table<'t, (i64, &'static [u8], i64), ()>,
    pub(super) leases: Table<'t, i64, i64>,
    pub(super) lease_keys: Table<'t, (i64, &'static [u8]), ()>,
    pub(super) numbers: Table<'t, &'static str, i64>,
}

impl<'t> Tables<'t> {
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Tables<'t>, redb::Error> {
        Ok(Tables {
            keys: transaction.open_table(KEYS)?,
            history: transaction.open_table(HISTORY)?,
            ended: transaction.open_table(ENDED)?,
            leases: transaction.open_table(LEASES)?,
            lease_keys: transaction.open_table(LEASE_KEYS)?,
            numbers: transaction.open_table(NUMBERS)?,
        })
    }

    pub(super) fn number(&self, name: &str) -> Result<Option<i64>, redb::Error> {
        Ok(self.numbers.get(name)?.map(|number| number.value()))
    }

    pub(super) fn set_number(&mut self, name: &str, value: i64) -> Result<(), redb::Error> {
        self.numbers.insert(name, value)?;
        Ok(())
    }
}

/// The tables of a backup in a transaction that reads.
pub(super) struct Snapshot {
    pub(super) keys: ReadOnlyTable<&'static [u8], &'static [u8]>,
    pub(super) leases: ReadOnlyTable<i64, i64>,
    pub(super) lease_keys: ReadOnlyTable<(i64, &'static [u8]), ()>,
    pub(super) numbers: ReadOnlyTable<&'static str, i64>,
}

impl Snapshot {
    pub(super) fn open(transaction: &ReadTransaction) -> Result<Snapshot, redb::Error> {
        Ok(Snapshot {
            keys: transaction.open_table(KEYS)?,
            leases: transaction.open_table(LEASES)?,
            lease_keys: transaction.open_table(LEASE_KEYS)?,
            numbers: transaction.open_table(NUMBERS)?,
        })
    }
}
