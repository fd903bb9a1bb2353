//! Shared data and shared queues, in the dialects of real hosts.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hashbrown::HashMap;

use super::{Dialect, Status};

/// The shared data of a process. A clone is another handle of the same data.
#[derive(Debug, Clone)]
pub struct SharedData {
    dialect: Dialect,
    cells: Arc<Mutex<Cells>>,
    queues: Arc<Mutex<Queues>>,
}

#[derive(Debug)]
struct Cells {
    entries: HashMap<Box<[u8]>, Cell>,
    /// The next number: Envoy numbers every write of the process in one series.
    next_cas: u32,
}

#[derive(Debug)]
struct Cell {
    value: Vec<u8>,
    cas: u32,
}

#[derive(Debug, Default)]
struct Queues {
    ids: BTreeMap<Vec<u8>, u32>,
    items: Vec<VecDeque<Vec<u8>>>,
}

impl SharedData {
    /// Creates empty shared data, as at the start of a process.
    pub fn new(dialect: Dialect) -> SharedData {
        SharedData {
            dialect,
            cells: Arc::new(Mutex::new(Cells { entries: HashMap::new(), next_cas: 1 })),
            queues: Arc::default(),
        }
    }

    /// Returns the emulated dialect.
    pub fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Returns the value and its compare-and-swap number.
    ///
    /// # Errors
    /// `NotFound`, or `Unimplemented` if the host has no shared data.
    pub fn get(&self, key: &[u8]) -> Result<(Vec<u8>, u32), Status> {
        let mut value = Vec::new();
        let cas = self.read_into(key, &mut value)?;
        Ok((value, cas))
    }

    /// Writes a value. `None` (the SDK's `set(None)`) stores an empty value.
    ///
    /// # Errors
    /// `CasMismatch` by the rules of the dialect, or `Unimplemented` if the host has no shared data.
    pub fn set(&self, key: &[u8], value: Option<&[u8]>, cas: u32) -> Result<(), Status> {
        match self.dialect {
            Dialect::Envoy | Dialect::InsertIfAbsent => self.write(key, value.unwrap_or_default(), cas),
            Dialect::Forgetful => Ok(()),
            Dialect::Unimplemented => Err(Status::Unimplemented),
        }
    }

    /// Stores the current value again, so that the next swap of an earlier reader fails.
    pub fn write_again(&self, key: &[u8]) {
        if let Ok((value, cas)) = self.get(key) {
            // On a conflict the other writer has changed the number just as well.
            let _ = self.set(key, Some(&value), cas);
        }
    }

    /// Removes everything, as when the last VM of the process ends.
    pub fn clear(&self) {
        self.cells().entries.clear();
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.cells().entries.len()
    }

    /// Returns true if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Returns every key with its value, sorted.
    pub fn snapshot(&self) -> BTreeMap<Vec<u8>, Vec<u8>> {
        let cells = self.cells();
        cells.entries.iter().map(|(key, cell)| (key.to_vec(), cell.value.clone())).collect()
    }

    /// Reads like [`SharedData::get`], into a reusable buffer.
    pub(crate) fn read_into(&self, key: &[u8], value: &mut Vec<u8>) -> Result<u32, Status> {
        match self.dialect {
            Dialect::Forgetful => return Err(Status::NotFound),
            Dialect::Unimplemented => return Err(Status::Unimplemented),
            Dialect::Envoy | Dialect::InsertIfAbsent => {}
        }
        let cells = self.cells();
        let cell = cells.entries.get(key).ok_or(Status::NotFound)?;
        value.clear();
        value.extend_from_slice(&cell.value);
        Ok(cell.cas)
    }

    /// Writes by the rules of Envoy (`proxy-wasm-cpp-host/src/shared_data.cc`): the number is compared only
    /// if the key exists and the number is not 0. Or by those of ngx_wasm_module
    /// (`ngx_wasm_module/src/common/shm/ngx_wa_shm_kv.c`): the number must be the entry's, or 0 if there is
    /// none.
    fn write(&self, key: &[u8], value: &[u8], cas: u32) -> Result<(), Status> {
        let mut cells = self.cells();
        let current = cells.entries.get(key).map(|cell| cell.cas);
        let fits = match self.dialect {
            Dialect::InsertIfAbsent => cas == current.unwrap_or(0),
            _ => cas == 0 || current.is_none_or(|current| cas == current),
        };
        if !fits {
            return Err(Status::CasMismatch);
        }
        let next = cells.next_cas;
        match cells.entries.get_mut(key) {
            Some(cell) => {
                cell.value.clear();
                cell.value.extend_from_slice(value);
                cell.cas = next;
            }
            None => _ = cells.entries.insert(key.into(), Cell { value: value.to_vec(), cas: next }),
        }
        cells.next_cas = next.checked_add(1).unwrap_or(1);
        Ok(())
    }

    fn cells(&self) -> MutexGuard<'_, Cells> {
        self.cells.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn queues(&self) -> MutexGuard<'_, Queues> {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the id of the queue with this name and creates it if it is new. Ids start at 1.
    pub(crate) fn register_queue(&self, name: &[u8]) -> u32 {
        let mut queues = self.queues();
        if let Some(id) = queues.ids.get(name) {
            return *id;
        }
        queues.items.push(VecDeque::new());
        let id = queues.items.len() as u32;
        queues.ids.insert(name.to_vec(), id);
        id
    }

    pub(crate) fn resolve_queue(&self, name: &[u8]) -> Result<u32, Status> {
        self.queues().ids.get(name).copied().ok_or(Status::NotFound)
    }

    pub(crate) fn enqueue(&self, id: u32, item: &[u8]) -> Result<(), Status> {
        let mut queues = self.queues();
        let items =
            (id as usize).checked_sub(1).and_then(|at| queues.items.get_mut(at)).ok_or(Status::NotFound)?;
        items.push_back(item.to_vec());
        Ok(())
    }

    pub(crate) fn dequeue(&self, id: u32) -> Result<Vec<u8>, Status> {
        let mut queues = self.queues();
        let items =
            (id as usize).checked_sub(1).and_then(|at| queues.items.get_mut(at)).ok_or(Status::NotFound)?;
        items.pop_front().ok_or(Status::Empty)
    }

    pub(crate) fn queue_length(&self, id: u32) -> usize {
        let queues = self.queues();
        let items = (id as usize).checked_sub(1).and_then(|at| queues.items.get(at));
        items.map_or(0, VecDeque::len)
    }
}
