//! Counters of the host, whose names are a bounded set: decisions, error codes, failures.

use std::cell::{Cell, RefCell};

use crate::host;

/// The host's counters by name, defined when first used.
#[derive(Debug, Default)]
pub struct Metrics {
    /// Sorted by name; a few dozen at most. `None`: the host did not define it.
    ids: RefCell<Vec<(String, Option<u32>)>>,
    /// Ids of the two counters that nearly every request increments.
    reserved: Cell<Option<u32>>,
    settled: Cell<Option<u32>>,
}

impl Metrics {
    /// Returns true if the host supports metrics, found by defining a counter.
    pub fn available(&self) -> bool {
        self.define("allowed").is_some()
    }

    /// Counts an admission. `reserved - settled` is the number of requests lost to a trap.
    pub fn reserved(&self) {
        self.count_at(&self.reserved, "reserved");
    }

    /// Counts a settlement.
    pub fn settled(&self) {
        self.count_at(&self.settled, "settled");
    }

    fn count_at(&self, id: &Cell<Option<u32>>, name: &str) {
        if id.get().is_none() {
            id.set(self.define(name));
        }
        if let Some(id) = id.get() {
            let _ = host::increment_metric(id, 1);
        }
    }

    /// Adds one to `tollgate.<name>`. Does nothing on a host without metrics.
    pub fn count(&self, name: &str) {
        self.add(name, 1);
    }

    /// Adds `by` to `tollgate.<name>`. Does nothing on a host without metrics.
    #[inline(never)]
    pub fn add(&self, name: &str, by: u128) {
        // Hosts reject an increment of 0, and the ABI has none above `i64::MAX`.
        let by = i64::try_from(by).unwrap_or(i64::MAX);
        if by == 0 {
            return;
        }
        if let Some(id) = self.define(name) {
            let _ = host::increment_metric(id, by);
        }
    }

    /// Returns the id of `tollgate.<name>`, and defines it the first time.
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
