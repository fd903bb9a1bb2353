//! Counters of the host. Their names come from a bounded set: decisions, refusal codes, troubles.

use std::cell::{Cell, RefCell};

use crate::host;

/// Counters by name, defined when first needed.
#[derive(Debug, Default)]
pub struct Metrics {
    /// In the order of their names: a few dozen at most.
    ids: RefCell<Vec<(String, Option<u32>)>>,
    /// Ids of what nearly every request adds to, beside the others.
    reserved: Cell<Option<u32>>,
    settled: Cell<Option<u32>>,
}

impl Metrics {
    /// Whether the host has metrics, as far as it says so: the counter that every gateway has is defined.
    pub fn work(&self) -> bool {
        self.define("allowed").is_some()
    }

    /// An admission. Those that are never settled, since the module trapped, are what this counts more.
    pub fn reserved(&self) {
        self.count_at(&self.reserved, "reserved");
    }

    /// A settlement.
    pub fn settled(&self) {
        self.count_at(&self.settled, "settled");
    }

    fn count_at(&self, place: &Cell<Option<u32>>, name: &str) {
        if place.get().is_none() {
            place.set(self.define(name));
        }
        if let Some(id) = place.get() {
            let _ = host::count(id, 1);
        }
    }

    /// Adds one to `tollgate.<name>`; nothing on a host without metrics.
    pub fn count(&self, name: &str) {
        self.add(name, 1);
    }

    /// Adds to `tollgate.<name>`; nothing on a host without metrics.
    #[inline(never)]
    pub fn add(&self, name: &str, by: u128) {
        // Hosts refuse a step of 0, and take none that is larger.
        let by = i64::try_from(by).unwrap_or(i64::MAX);
        if by == 0 {
            return;
        }
        if let Some(id) = self.define(name) {
            let _ = host::count(id, by);
        }
    }

    fn define(&self, name: &str) -> Option<u32> {
        let mut ids = self.ids.try_borrow_mut().ok()?;
        match ids.binary_search_by(|(known, _)| known.as_str().cmp(name)) {
            Ok(at) => ids.get(at).and_then(|(_, id)| *id),
            Err(at) => {
                let id = host::define_counter(&format!("tollgate.{name}")).ok();
                ids.insert(at, (name.to_owned(), id));
                id
            }
        }
    }
}
