//! Counter stores for tests.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tollgate_core::counters::{Cas, HostStatus, SharedData, SharedValue};

/// All values by key, each with its version.
pub type Rows = BTreeMap<String, (Vec<u8>, u32)>;

#[derive(Debug)]
struct Inner {
    insert_if_absent: bool,
    rows: Rows,
    next: u32,
}

/// Shared data in memory.
#[derive(Clone, Debug)]
pub struct Map(Rc<RefCell<Inner>>);

impl Map {
    /// Returns shared data with the compare-and-swap of Envoy: a missing key accepts any version, and version 0
    /// overwrites.
    pub fn new() -> Self {
        Self::of(false)
    }

    /// Returns shared data with the rules of ngx_wasm_module: version 0 inserts a missing key and never overwrites.
    #[allow(dead_code, reason = "only the probe is tested on it")]
    pub fn insert_if_absent() -> Self {
        Self::of(true)
    }

    fn of(insert_if_absent: bool) -> Self {
        Map(Rc::new(RefCell::new(Inner { insert_if_absent, rows: Rows::new(), next: 1 })))
    }

    /// Returns an independent copy.
    #[allow(dead_code, reason = "not every test binary explores")]
    pub fn fork(&self) -> Self {
        let inner = self.0.borrow();
        let copy =
            Inner { insert_if_absent: inner.insert_if_absent, rows: inner.rows.clone(), next: inner.next };
        Map(Rc::new(RefCell::new(copy)))
    }

    /// Returns all values by key.
    #[allow(dead_code, reason = "not every test binary looks inside")]
    pub fn rows(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.borrow().rows.iter().map(|(name, (bytes, _))| (name.clone(), bytes.clone())).collect()
    }

    /// Returns all values with their versions.
    #[allow(dead_code, reason = "not every test binary explores")]
    pub fn versions(&self) -> Rows {
        self.0.borrow().rows.clone()
    }
}

impl SharedData for Map {
    fn get(&mut self, name: &str) -> Result<SharedValue, HostStatus> {
        let inner = self.0.borrow();
        Ok(match inner.rows.get(name) {
            Some((bytes, cas)) => SharedValue { bytes: bytes.clone(), version: Some(*cas) },
            None => SharedValue { bytes: Vec::new(), version: None },
        })
    }

    fn set(&mut self, name: &str, bytes: &[u8], version: u32) -> Result<Cas, HostStatus> {
        let mut inner = self.0.borrow_mut();
        let current = inner.rows.get(name).map(|(_, cas)| *cas);
        let fits = match (inner.insert_if_absent, current) {
            (false, None) => true,
            (false, Some(cas)) => version == 0 || version == cas,
            (true, current) => version == current.unwrap_or(0),
        };
        if !fits {
            return Ok(Cas::Conflict);
        }
        let cas = inner.next;
        inner.next += 1;
        inner.rows.insert(name.to_owned(), (bytes.to_vec(), cas));
        Ok(Cas::Stored)
    }
}
