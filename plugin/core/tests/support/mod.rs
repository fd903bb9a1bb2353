//! Stores that the core's tests run on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

use tollgate_core::counters::{Entry, HostStatus, SharedData, Swap};

/// Which host's rules a [`Map`] follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rules {
    /// Envoy: a missing name takes any version, version 0 overwrites.
    Lenient,
    /// ngx_wasm_module: a missing name takes version 0 only.
    Strict,
}

/// Every value by name, with its version.
pub type Rows = BTreeMap<String, (Vec<u8>, u32)>;

#[derive(Debug)]
struct Inner {
    rules: Rules,
    rows: Rows,
    next: u32,
}

/// Shared data in memory.
#[derive(Clone, Debug)]
pub struct Map(Rc<RefCell<Inner>>);

impl Map {
    pub fn new(rules: Rules) -> Self {
        Map(Rc::new(RefCell::new(Inner { rules, rows: Rows::new(), next: 1 })))
    }

    /// A copy that no longer shares anything with this one.
    #[allow(dead_code, reason = "not every test binary explores")]
    pub fn fork(&self) -> Self {
        let inner = self.0.borrow();
        let copy = Inner { rules: inner.rules, rows: inner.rows.clone(), next: inner.next };
        Map(Rc::new(RefCell::new(copy)))
    }

    /// Every value by name.
    #[allow(dead_code, reason = "not every test binary looks inside")]
    pub fn rows(&self) -> BTreeMap<String, Vec<u8>> {
        self.0.borrow().rows.iter().map(|(name, (bytes, _))| (name.clone(), bytes.clone())).collect()
    }

    /// The same with versions.
    #[allow(dead_code, reason = "not every test binary explores")]
    pub fn versions(&self) -> Rows {
        self.0.borrow().rows.clone()
    }
}

impl SharedData for Map {
    fn get(&mut self, name: &str) -> Result<Entry, HostStatus> {
        let inner = self.0.borrow();
        Ok(match inner.rows.get(name) {
            Some((bytes, cas)) => Entry { bytes: bytes.clone(), version: Some(*cas) },
            None => Entry { bytes: Vec::new(), version: None },
        })
    }

    fn set(&mut self, name: &str, bytes: &[u8], version: u32) -> Result<Swap, HostStatus> {
        let mut inner = self.0.borrow_mut();
        let current = inner.rows.get(name).map(|(_, cas)| *cas);
        let fits = match (inner.rules, current) {
            (Rules::Lenient, None) => true,
            (Rules::Lenient, Some(cas)) => version == 0 || version == cas,
            (Rules::Strict, None) => version == 0,
            (Rules::Strict, Some(cas)) => version == cas,
        };
        if !fits {
            return Ok(Swap::Lost);
        }
        let cas = inner.next;
        inner.next += 1;
        inner.rows.insert(name.to_owned(), (bytes.to_vec(), cas));
        Ok(Swap::Done)
    }
}
