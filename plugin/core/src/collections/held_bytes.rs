//! A bound on the bytes that requests hold in memory, for each person and in sum.

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::cell::RefCell;

/// The most bytes that the requests of one person may hold: four whole bodies with their heads.
const PER_PERSON: usize = 4 * (256 + 16) * 1024;

/// The most bytes that all requests together may hold.
const IN_SUM: usize = 8 * 1024 * 1024;

/// The bytes that a request counts for besides those of its fields and body.
const PER_REQUEST: usize = 1024;

/// The bytes held by each person. Persons without a request have no entry.
type ByPerson = Rc<RefCell<Vec<(u32, usize)>>>;

/// The bytes held by all management requests of one configuration in one VM. A request counts from its head until its
/// response is decided, which includes the time that it waits for etcd.
#[derive(Clone, Debug, Default)]
pub struct HeldBytes(ByPerson);

/// The bytes held by one request, which are given back when it is dropped. The default holds none, and cannot grow.
#[derive(Debug, Default)]
pub struct HeldLease(Option<Lease>);

#[derive(Debug)]
struct Lease {
    all: ByPerson,
    person: u32,
    bytes: usize,
}

impl HeldBytes {
    /// Counts a request of a person, with the bytes of its head; `None` if too much is held already.
    pub(crate) fn begin(&self, person: u32, head: usize) -> Option<HeldLease> {
        let mut held = HeldLease(Some(Lease { all: Rc::clone(&self.0), person, bytes: 0 }));
        held.grow(head.saturating_add(PER_REQUEST)).then_some(held)
    }

    /// Returns the bytes held in sum.
    #[cfg(test)]
    fn sum(&self) -> usize {
        self.0.borrow().iter().map(|(_, bytes)| bytes).sum()
    }
}

impl HeldLease {
    /// Counts more bytes. Returns false, and counts nothing, if they exceed a bound.
    pub(crate) fn grow(&mut self, more: usize) -> bool {
        let Some(Lease { all, person, bytes }) = &mut self.0 else { return false };
        let mut all = all.borrow_mut();
        let sum = all.iter().fold(more, |sum, (_, bytes)| sum.saturating_add(*bytes));
        let known = all.iter().position(|(known, _)| known == person);
        let own = known.and_then(|at| all.get(at)).map_or(0, |(_, bytes)| *bytes).saturating_add(more);
        if sum > IN_SUM || own > PER_PERSON {
            return false;
        }
        match known.and_then(|at| all.get_mut(at)) {
            Some((_, bytes)) => *bytes = own,
            None => all.push((*person, own)),
        }
        *bytes = bytes.saturating_add(more);
        true
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let mut all = self.all.borrow_mut();
        let Some(at) = all.iter().position(|(known, _)| *known == self.person) else { return };
        let left = all.get(at).map_or(0, |(_, bytes)| bytes.saturating_sub(self.bytes));
        match all.get_mut(at) {
            Some((_, bytes)) if left > 0 => *bytes = left,
            _ => drop(all.swap_remove(at)),
        }
    }
}

/// A copy holds nothing: the original gives the bytes back.
impl Clone for HeldLease {
    fn clone(&self) -> Self {
        HeldLease::default()
    }
}

/// Requests are equal whatever they hold.
impl PartialEq for HeldLease {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for HeldLease {}

#[cfg(test)]
mod tests {
    use super::*;

    const BODY: usize = 256 * 1024;

    #[test]
    fn held_bytes_are_bounded_for_each_person_and_in_sum_and_are_given_back() {
        let all = HeldBytes::default();
        let mut requests = Vec::new();
        for person in 0..20 {
            for _ in 0..20 {
                if let Some(mut held) = all.begin(person, 100)
                    && held.grow(BODY)
                {
                    requests.push((person, held));
                }
            }
            let own = requests.iter().filter(|(of, _)| *of == person).count();
            assert!(own <= 4, "a person holds {own} bodies");
        }
        assert!(all.sum() <= IN_SUM && all.sum() + BODY + 2 * PER_REQUEST > IN_SUM, "{}", all.sum());
        assert!(all.begin(30, BODY).is_none(), "one more person is refused");
        requests.truncate(1);
        assert_eq!(all.sum(), BODY + 100 + PER_REQUEST, "the others were given back");
        drop(requests);
        assert_eq!(*all.0.borrow(), []);
    }
}
