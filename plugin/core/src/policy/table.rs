//! Tables by name: a name has its position before its record is read.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::hash::{BuildHasher, BuildHasherDefault, Hasher};
use hashbrown::HashTable;

/// Eight bytes a step, and none of what it says is stored. Names come from the operator's own document.
#[derive(Default)]
struct NameHasher(u64);

impl Hasher for NameHasher {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        let mut last = [0; 8];
        for (place, byte) in last.iter_mut().zip(rest) {
            *place = *byte;
        }
        // A step loses nothing of either of its sides: names that differ in one word differ to the end.
        self.0 = words.iter().chain([&last]).fold(self.0 ^ bytes.len() as u64, |hash, word| {
            let mixed = (hash ^ u64::from_le_bytes(*word)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            mixed ^ mixed >> 32
        });
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

fn hash(name: &str) -> u64 {
    BuildHasherDefault::<NameHasher>::default().hash_one(name)
}

/// Rows found by name or by position.
#[derive(Clone, Debug)]
pub struct Table<T> {
    rows: Vec<(Box<str>, Option<T>)>,
    names: HashTable<u32>,
    /// Rows whose name is forgotten, to be used again.
    free: Vec<u32>,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Table { rows: Vec::new(), names: HashTable::new(), free: Vec::new() }
    }
}

impl<T> Table<T> {
    /// The position of a name, also of one that has no record (yet).
    pub fn reserve(&mut self, name: &str) -> u32 {
        if let Some(position) = self.find(name) {
            return position;
        }
        let free = self.free.pop().and_then(|free| Some((free, self.rows.get_mut(free as usize)?)));
        let position = match free {
            Some((position, row)) => {
                row.0 = name.into();
                position
            }
            None => {
                let position = u32::try_from(self.rows.len()).unwrap_or(u32::MAX);
                self.rows.push((name.into(), None));
                position
            }
        };
        let rows = &self.rows;
        self.names.insert_unique(hash(name), position, |row| {
            rows.get(*row as usize).map_or(0, |(name, _)| hash(name))
        });
        position
    }

    /// The position of a name, if it was ever mentioned.
    pub fn find(&self, name: &str) -> Option<u32> {
        let same = |row: &u32| self.rows.get(*row as usize).is_some_and(|(known, _)| **known == *name);
        self.names.find(hash(name), same).copied()
    }

    /// Puts a record in its place, or takes it away; the one that was there. The name keeps its position.
    pub fn replace(&mut self, position: u32, record: Option<T>) -> Option<T> {
        let (_, row) = self.rows.get_mut(position as usize)?;
        core::mem::replace(row, record)
    }

    /// Forgets a name that has no record: its position may come to mean another. Only where nothing that
    /// lives on refers to positions of this table.
    pub(super) fn release(&mut self, position: u32) {
        let Some((name, None)) = self.rows.get_mut(position as usize) else { return };
        let name = core::mem::take(name);
        if let Ok(entry) = self.names.find_entry(hash(&name), |row| *row == position) {
            entry.remove();
            self.free.push(position);
        }
    }

    /// How many positions there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Forgets the names from this position on, and their records.
    pub(super) fn truncate(&mut self, length: usize) {
        let from = length.min(self.rows.len());
        for (position, (name, _)) in (from..).zip(self.rows.drain(from..)) {
            if let Ok(entry) = self.names.find_entry(hash(&name), |row| *row as usize == position) {
                entry.remove();
            }
        }
    }

    /// The record at a position.
    pub fn get(&self, position: u32) -> Option<&T> {
        self.rows.get(position as usize)?.1.as_ref()
    }

    /// The record at a position.
    pub fn get_mut(&mut self, position: u32) -> Option<&mut T> {
        self.rows.get_mut(position as usize)?.1.as_mut()
    }

    /// The name at a position.
    pub fn name(&self, position: u32) -> &str {
        self.rows.get(position as usize).map_or("", |(name, _)| name)
    }

    /// All records, with position and name.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str, &T)> {
        (0..).zip(&self.rows).filter_map(|(position, (name, row))| Some((position, &**name, row.as_ref()?)))
    }

    /// Gives back what growing left over.
    pub fn shrink(&mut self) {
        self.rows.shrink_to_fit();
        let rows = &self.rows;
        self.names.shrink_to_fit(|row| rows.get(*row as usize).map_or(0, |(name, _)| hash(name)));
    }
}
