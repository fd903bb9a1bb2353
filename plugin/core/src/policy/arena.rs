//! Records by name and by position. A name gets its position before its record is read.

use alloc::boxed::Box;
use alloc::vec::Vec;
use hashbrown::HashTable;

use crate::text::hash::fast_hash;

/// Names by position, and positions by name. Separate from the records, so that it is compiled for one type only.
#[derive(Clone, Debug, Default)]
struct Names {
    names: Vec<Box<str>>,
    positions: HashTable<u32>,
    /// Released positions, for reuse.
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
        let hash_of =
            |position: &u32| names.get(*position as usize).map_or(0, |name| fast_hash(name.as_bytes()));
        self.positions.insert_unique(fast_hash(name.as_bytes()), position, hash_of);
        position
    }

    fn find(&self, name: &str) -> Option<u32> {
        let same = |position: &u32| self.names.get(*position as usize).is_some_and(|known| **known == *name);
        self.positions.find(fast_hash(name.as_bytes()), same).copied()
    }

    fn release(&mut self, position: u32) {
        let Some(name) = self.names.get_mut(position as usize).map(core::mem::take) else { return };
        if let Ok(entry) = self.positions.find_entry(fast_hash(name.as_bytes()), |known| *known == position) {
            entry.remove();
            self.free.push(position);
        }
    }

    fn truncate(&mut self, length: usize) {
        let from = length.min(self.names.len());
        for (position, name) in (from..).zip(self.names.drain(from..)) {
            if let Ok(entry) =
                self.positions.find_entry(fast_hash(name.as_bytes()), |known| *known as usize == position)
            {
                entry.remove();
            }
        }
    }

    fn shrink(&mut self) {
        self.names.shrink_to_fit();
        let names = &self.names;
        self.positions.shrink_to_fit(|position| {
            names.get(*position as usize).map_or(0, |name| fast_hash(name.as_bytes()))
        });
    }
}

/// Records that are found by name or by position.
#[derive(Clone, Debug)]
pub struct Arena<T> {
    names: Names,
    records: Vec<Option<T>>,
}

impl<T> Default for Arena<T> {
    fn default() -> Self {
        Arena { names: Names::default(), records: Vec::new() }
    }
}

impl<T> Arena<T> {
    /// Returns the position of a name, and adds the name if it is new. The position may have no record.
    pub(crate) fn reserve(&mut self, name: &str) -> u32 {
        let position = self.names.reserve(name);
        if self.records.len() < self.names.names.len() {
            self.records.push(None);
        }
        position
    }

    /// Returns the position of a name, if it has one.
    pub fn find(&self, name: &str) -> Option<u32> {
        self.names.find(name)
    }

    /// Replaces or removes the record at a position. Returns the previous one. The name keeps its position.
    pub(crate) fn replace(&mut self, position: u32, record: Option<T>) -> Option<T> {
        core::mem::replace(self.records.get_mut(position as usize)?, record)
    }

    /// Removes a name without a record, so that its position can be reused. Only for arenas whose positions are not
    /// stored anywhere else.
    pub(super) fn release(&mut self, position: u32) {
        if let Some(None) = self.records.get(position as usize) {
            self.names.release(position);
        }
    }

    /// Returns the number of positions.
    pub(super) fn len(&self) -> usize {
        self.records.len()
    }

    /// Removes the names from this position on, with their records.
    pub(super) fn truncate(&mut self, length: usize) {
        self.names.truncate(length);
        self.records.truncate(length);
    }

    /// Returns the record at a position.
    pub fn get(&self, position: u32) -> Option<&T> {
        self.records.get(position as usize)?.as_ref()
    }

    /// Returns the name at a position.
    pub fn name(&self, position: u32) -> &str {
        self.names.names.get(position as usize).map_or("", |name| name)
    }

    /// Returns all records with their positions and names.
    pub fn iter(&self) -> impl Iterator<Item = (u32, &str, &T)> {
        let records = self.names.names.iter().zip(&self.records);
        (0..)
            .zip(records)
            .filter_map(|(position, (name, record))| Some((position, &**name, record.as_ref()?)))
    }

    /// Frees unused capacity.
    pub(crate) fn shrink(&mut self) {
        self.names.shrink();
        self.records.shrink_to_fit();
    }
}
