//! The names of the principals whose slices this process holds: shared data cannot be listed.
//!
//! A record for each of a few shards, so that VMs rarely conflict:
//!
//! ```text
//! record  "TGi" version:u8  writes:u32  fingerprint:u64  (length:u16 name)*
//! ```
//!
//! A VM writes a principal's shard before it creates the slice, also if the name is there already. [`Index::retain`] removes
//! a slice and then its name, and starts over if the shard was written meanwhile. So a slice always has its name here, at any
//! interleaving and after a trap.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::counters::{CounterStore, RecordKey, StoreError, UnavailableError, Update};

/// The number of records.
const SHARDS: usize = 16;

/// The first bytes of a record.
pub const INDEX_MAGIC: [u8; 4] = *b"TGi\x01";
const HEADER: usize = 16;

/// The names of the records.
#[derive(Clone, Debug)]
pub struct Index {
    shards: Vec<RecordKey>,
}

impl Index {
    /// The index whose records have names with this prefix.
    pub fn new(prefix: &str) -> Self {
        let shard = |number| RecordKey::new(prefix, &["index", &format!("{number}")]);
        Index { shards: (0..SHARDS).map(shard).collect() }
    }

    /// The number of records, for [`Index::retain`].
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// Adds a name, before its slice is created.
    ///
    /// # Errors
    /// Those of the store.
    pub fn add<C: CounterStore>(&self, store: &mut C, name: &RecordKey) -> Result<(), StoreError> {
        let shard = usize::try_from(name.fingerprint() % SHARDS as u64).unwrap_or(0);
        let Some(shard) = self.shards.get(shard) else { return Ok(()) };
        store.update_bytes(shard, |_, bytes| {
            let mut names = read(bytes, shard)?;
            if !names.iter().any(|known| known == name.as_str()) {
                names.push(name.as_str().to_string());
            }
            write(bytes, shard, &names);
            Ok(Update::Write(()))
        })
    }

    /// Calls `keep` with each name of a shard, and removes those for which it returns false: it has removed the slice then.
    /// It is called again for all of them if another VM adds a name meanwhile.
    ///
    /// # Errors
    /// Those of the store.
    pub fn retain<C: CounterStore>(
        &self,
        store: &mut C,
        shard: usize,
        mut keep: impl FnMut(&mut C, &str) -> bool,
    ) -> Result<(), StoreError> {
        let Some(shard) = self.shards.get(shard) else { return Ok(()) };
        store.update_bytes(shard, |store, bytes| {
            let mut names = read(bytes, shard)?;
            let all = names.len();
            names.retain(|name| keep(store, name));
            if names.len() == all {
                return Ok(Update::Keep(()));
            }
            write(bytes, shard, &names);
            Ok(Update::Write(()))
        })
    }
}

fn read(bytes: &[u8], shard: &RecordKey) -> Result<Vec<String>, StoreError> {
    let mut names = Vec::new();
    if bytes.is_empty() {
        return Ok(names);
    }
    let format = || StoreError::Unavailable(UnavailableError::Format);
    let (header, mut rest) = bytes.split_at_checked(HEADER).ok_or_else(format)?;
    if !header.starts_with(&INDEX_MAGIC) {
        return Err(format());
    }
    if !header.ends_with(&shard.fingerprint().to_le_bytes()) {
        return Err(StoreError::Unavailable(UnavailableError::Foreign));
    }
    while let Some((length, names_left)) = rest.split_first_chunk::<2>() {
        let length = usize::from(u16::from_le_bytes(*length));
        let (name, after) = names_left.split_at_checked(length).ok_or_else(format)?;
        names.push(core::str::from_utf8(name).map_err(|_| format())?.to_string());
        rest = after;
    }
    if rest.is_empty() { Ok(names) } else { Err(format()) }
}

/// Writes the record. The number of writes distinguishes two records with the same names.
fn write(bytes: &mut Vec<u8>, shard: &RecordKey, names: &[String]) {
    let writes =
        bytes.get(4..).and_then(|rest| rest.first_chunk()).map_or(0, |writes| u32::from_le_bytes(*writes));
    bytes.clear();
    bytes.extend_from_slice(&INDEX_MAGIC);
    bytes.extend_from_slice(&writes.wrapping_add(1).to_le_bytes());
    bytes.extend_from_slice(&shard.fingerprint().to_le_bytes());
    for name in names {
        // Names are a prefix of 64 bytes and two ids at most.
        let Ok(length) = u16::try_from(name.len()) else { continue };
        bytes.extend_from_slice(&length.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use alloc::collections::BTreeMap;
    use alloc::vec;

    use super::*;
    use crate::counters::Cas;

    #[derive(Default)]
    struct Map(BTreeMap<String, (Vec<u8>, u64)>);

    impl CounterStore for Map {
        type Version = u64;

        fn read(&mut self, name: &RecordKey) -> Result<(Vec<u8>, u64), StoreError> {
            Ok(self.0.get(name.as_str()).cloned().unwrap_or_default())
        }

        fn compare_and_swap(&mut self, name: &RecordKey, at: u64, bytes: &[u8]) -> Result<Cas, StoreError> {
            let stored = self.0.entry(name.as_str().to_string()).or_default();
            if stored.1 != at {
                return Ok(Cas::Conflict);
            }
            *stored = (bytes.to_vec(), at + 1);
            Ok(Cas::Stored)
        }
    }

    fn all(index: &Index, store: &mut Map) -> Vec<String> {
        let mut names = Vec::new();
        for shard in 0..index.shards() {
            index
                .retain(store, shard, |_, name| {
                    names.push(name.to_string());
                    true
                })
                .unwrap();
        }
        names.sort();
        names
    }

    #[test]
    fn a_name_is_kept_until_it_is_no_longer_retained() {
        let (mut store, index) = (Map::default(), Index::new("t/"));
        let names: Vec<_> =
            (0..40).map(|n| RecordKey::new("t/", &["team", &format!("team{n:02}")])).collect();
        for name in names.iter().chain(&names) {
            index.add(&mut store, name).unwrap();
        }
        let mut expected: Vec<_> = names.iter().map(|name| name.as_str().to_string()).collect();
        assert_eq!(all(&index, &mut store), expected);
        for shard in 0..index.shards() {
            index.retain(&mut store, shard, |_, name| !name.ends_with('7')).unwrap();
        }
        expected.retain(|name| !name.ends_with('7'));
        assert_eq!(all(&index, &mut store), expected);
    }

    #[test]
    fn a_name_that_is_added_while_it_is_removed_stays() {
        let (mut store, index) = (Map::default(), Index::new("t/"));
        let name = RecordKey::new("t/", &["team", "search"]);
        index.add(&mut store, &name).unwrap();
        let shard = usize::try_from(name.fingerprint() % SHARDS as u64).unwrap();
        let mut calls = 0;
        index
            .retain(&mut store, shard, |store, _| {
                calls += 1;
                if calls == 1 {
                    // Another VM creates the slice again.
                    index.add(store, &name).unwrap();
                }
                calls > 1
            })
            .unwrap();
        assert_eq!((calls, all(&index, &mut store)), (2, vec![name.as_str().to_string()]));
    }

    #[test]
    fn a_record_of_another_format_is_not_overwritten() {
        let (mut store, index) = (Map::default(), Index::new("t/"));
        let name = RecordKey::new("t/", &["team", "search"]);
        index.add(&mut store, &name).unwrap();
        for stored in store.0.values_mut() {
            stored.0[3] = 2;
        }
        let before = store.0.clone();
        assert_eq!(index.add(&mut store, &name), Err(StoreError::Unavailable(UnavailableError::Format)));
        assert_eq!(store.0, before);
    }
}
