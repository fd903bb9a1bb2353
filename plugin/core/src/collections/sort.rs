//! A stable sort with one machine code for all types, for lists outside the request path.
//!
//! Hand-written: the standard library's sort is compiled for each type and order, at 5 to 9 KB each, and makes the module
//! 103.6 KB larger. Here one sort of positions is shared, and each type adds only its comparison and its swap.

use alloc::vec::Vec;
use core::cmp::Ordering;

/// The longest list that is sorted in place, without an allocation: most lists of a policy.
const FEW: usize = 12;

/// Sorts a list. Stable.
pub fn sort<T: Ord>(list: &mut [T]) {
    sort_items(&mut List(list, T::cmp));
}

/// Sorts a list by a key. Stable.
pub fn sort_by_key<T, K: Ord>(list: &mut [T], key: impl Fn(&T) -> K) {
    sort_items(&mut List(list, |one: &T, other: &T| key(one).cmp(&key(other))));
}

/// Sorts a list and removes duplicates.
pub fn once<T: Ord>(list: &mut Vec<T>) {
    sort(list);
    list.dedup();
}

/// A list that can be sorted, of any type.
trait Items {
    fn len(&self) -> usize;
    fn compare(&self, one: usize, other: usize) -> Ordering;
    fn swap(&mut self, one: usize, other: usize);
}

struct List<'l, T, C>(&'l mut [T], C);

impl<T, C: Fn(&T, &T) -> Ordering> Items for List<'_, T, C> {
    fn len(&self) -> usize {
        self.0.len()
    }

    fn compare(&self, one: usize, other: usize) -> Ordering {
        self.0.get(one).zip(self.0.get(other)).map_or(Ordering::Equal, |(one, other)| self.1(one, other))
    }

    fn swap(&mut self, one: usize, other: usize) {
        self.0.swap(one, other);
    }
}

#[inline(never)]
fn sort_items(items: &mut dyn Items) {
    let length = items.len();
    if length <= FEW {
        for from in 1..length {
            let mut at = from;
            while let Some(before) = at.checked_sub(1).filter(|before| items.compare(at, *before).is_lt()) {
                items.swap(before, at);
                at = before;
            }
        }
        return;
    }
    let mut sorted: Vec<usize> = (0..length).collect();
    sorted.sort_by(|one, other| items.compare(*one, *other));
    let mut places = sorted.clone();
    for (place, item) in sorted.into_iter().enumerate() {
        if let Some(there) = places.get_mut(item) {
            *there = place;
        }
    }
    for at in 0..length {
        while let Some(place) = places.get(at).copied().filter(|place| *place != at) {
            items.swap(at, place);
            places.swap(at, place);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn it_agrees_with_the_standard_library(list: Vec<(u8, u16)>) {
            let (mut ours, mut theirs) = (list.clone(), list);
            sort_by_key(&mut ours, |item| item.0);
            theirs.sort_by_key(|item| item.0);
            prop_assert_eq!(&ours, &theirs);
            once(&mut ours);
            theirs.sort();
            theirs.dedup();
            prop_assert_eq!(ours, theirs);
        }
    }
}
