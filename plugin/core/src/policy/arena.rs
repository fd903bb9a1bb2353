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

/// Names by position, and positions by name. Apart from the records: those are of many types, and this is one.
#[derive(Clone, Debug, Default)]
struct Names {
    names: Vec<Box<str>>,
    positions: HashTable<u32>,
    /// Positions whose name is forgotten, to be used again.
    free: Vec<u32>,
}

impl Names {
    fn reserve(&mut self, name: &str) -> u32 {
        if let Some(position) = self.find(name) {
            return position;
        }
        let free = self.free.pop().and_then(|free| Some((free, self.names.get_mut(free as usize)?)));
        let position = match free {
            Some((position, free)) => {
                *free = name.into();
                position
            }
            None => {
                let position = u32::try_from(self.names.len()).unwrap_or(u32::MAX);
                self.names.push(name.into());
                position
            }
        };
        let names = &self.names;
        let hash_of = |position: &u32| names.get(*position as usize).map_or(0, |name| hash(name));
        self.positions.insert_unique(hash(name), position, hash_of);
        position
    }

    fn find(&self, name: &str) -> Option<u32> {
        let same = |position: &u32| self.names.get(*position as usize).is_some_and(|known| **known == *name);
        self.positions.find(hash(name), same).copied()
    }

    fn release(&mut self, position: u32) {
        let Some(name) = self.names.get_mut(position as usize).map(core::mem::take) else { return };
        if let Ok(entry) = self.positions.find_entry(hash(&name), |known| *known == position) {
            entry.remove();
            self.free.push(position);
        }
    }

    fn truncate(&mut self, length: usize) {
        let from = length.min(self.names.len());
        for (position, name) in (from..).zip(self.names.drain(from..)) {
            if let Ok(entry) = self.positions.find_entry(hash(&name), |known| *known as usize == position) {
                entry.remove();
            }
        }
    }

    fn shrink(&mut self) {
        self.names.shrink_to_fit();
        let names = &self.names;
        self.positions.shrink_to_fit(|position| names.get(*position as usize).map_or(0, |name| hash(name)));
    }
}

/// Rows found by name or by position.
#[derive(Clone, Debug)]
pub struct Arena<T> {
    names: Names,
    rows: Vec<Option<T>>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena { names: Names::default(), rows: Vec::new() }
    }
}

impl<T> Arena<T> {
    /// The position of a name, also of one that has no record (yet).
    pub fn reserve(&mut self, name: &str) -> u32 {
        let position = self.names.reserve(name);
        if self.rows.len() < self.names.names.len() {
            self.rows.push(None);
        }
        position
    }

    /// The position of a name, if it was ever mentioned.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.names.find(name)
    }

    /// Puts a record in its place, or takes it away; the one that was there. The name keeps its position.
    pub fn replace(&mut self, position: u32, record: Option<T>) -> Option<T> {
        core::mem::replace(self.rows.get_mut(position as usize)?, record)
    }

    /// Forgets a name that has no record: its position may come to mean another. Only where nothing that
    /// lives on refers to positions of this table.
    pub(super) fn release(&mut self, position: u32) {
        if let Some(None) = self.rows.get(position as usize) {
            self.names.release(position);
        }
    }

    /// How many positions there are.
    pub(super) fn len(&self) -> usize {
        self.rows.len()
    }

    /// Forgets the names from this position on, and their records.
    pub(super) fn truncate(&mut self, length: usize) {
        self.names.truncate(length);
        self.rows.truncate(length);
    }

    /// The record at a position.
    pub fn get(&self, position: u32) -> Option<&T> {
        self.rows.get(position as usize)?.as_ref()
    }

    /// The record at a position.
    pub fn get_mut(&mut self, position: u32) -> Option<&mut T> {
        self.rows.get_mut(position as usize)?.as_mut()
    }

    /// The name at a position.
    pub fn name(&self, position: u32) -> &str {
        self.names.names.get(position as usize).map_or("", |name| name)
    }

    /// All records, with position and name.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str, &T)> {
        let rows = self.names.names.iter().zip(&self.rows);
        (0..).zip(rows).filter_map(|(position, (name, row))| Some((position, &**name, row.as_ref()?)))
    }

    /// Gives back what growing left over.
    pub fn shrink(&mut self) {
        self.names.shrink();
        self.rows.shrink_to_fit();
    }
}
