//! Bounded logs in which no actor can remove the entries of another that has fewer.

use alloc::vec::Vec;

use super::sort::sort;

/// The bounds of a log.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shares {
    /// Maximum number of entries of one actor.
    pub per_actor: usize,
    /// Maximum number of entries of all actors.
    pub in_sum: usize,
}

impl Shares {
    /// Returns the position of the entry to remove from a log, given by the hashes of its actors, oldest entry first. `None`
    /// within the bounds. Beyond the bound of the newest entry's actor, it is that actor's oldest one; beyond the sum, the
    /// oldest one of an actor with the most entries.
    pub(crate) fn surplus(self, actors: &[u64]) -> Option<usize> {
        let newest = *actors.last()?;
        let count = |actor: u64| actors.iter().filter(|other| **other == actor).count();
        let loudest = match (count(newest) > self.per_actor, actors.len() > self.in_sum) {
            (true, _) => newest,
            (false, true) => loudest(actors, newest),
            (false, false) => return None,
        };
        actors.iter().position(|actor| *actor == loudest)
    }

    /// Removes surplus entries of a log, newest last, until it is within the bounds, and returns them. At most `limit`.
    pub(crate) fn trim<T>(self, log: &mut Vec<T>, limit: usize, actor: impl Fn(&T) -> u64) -> Vec<T> {
        let mut removed = Vec::new();
        let mut kept: Vec<u64> = Vec::with_capacity(log.len());
        let mut positions: Vec<usize> = Vec::with_capacity(log.len());
        for (position, entry) in log.iter().enumerate() {
            kept.push(actor(entry));
            positions.push(position);
            if let Some(surplus) = self.surplus(&kept).filter(|_| removed.len() < limit) {
                kept.remove(surplus);
                removed.push(positions.remove(surplus));
            }
        }
        sort(&mut removed);
        removed.into_iter().rev().map(|position| log.remove(position)).collect()
    }
}

/// Returns the actor with the most entries, of several the one with the oldest entry; the newest one only if it alone has
/// that many.
fn loudest(actors: &[u64], newest: u64) -> u64 {
    let mut sorted = actors.to_vec();
    sort(&mut sorted);
    let runs = sorted.chunk_by(|one, other| one == other);
    let most = runs.clone().map(<[u64]>::len).max().unwrap_or_default();
    let loud: Vec<u64> =
        runs.filter(|run| run.len() == most).filter_map(|run| run.first().copied()).collect();
    let oldest = actors.iter().find(|actor| **actor != newest && loud.binary_search(actor).is_ok());
    oldest.copied().unwrap_or(newest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_actor_loses_an_entry_beyond_its_bound_and_the_loudest_beyond_the_sum() {
        let shares = Shares { per_actor: 3, in_sum: 5 };
        assert_eq!(shares.surplus(&[]), None);
        assert_eq!(shares.surplus(&[1, 2, 2, 2]), None);
        assert_eq!(shares.surplus(&[1, 2, 2, 2, 2]), Some(1));
        assert_eq!(shares.surplus(&[1, 2, 2, 3, 3]), None);
        assert_eq!(shares.surplus(&[1, 2, 2, 2, 3, 3]), Some(1));
        assert_eq!(shares.surplus(&[1, 2, 3, 4, 5, 6]), Some(0), "the oldest");
        assert_eq!(shares.surplus(&[2, 1, 1, 3, 3, 3]), Some(3), "the newest alone has the most");
        let mut log = Vec::from([1, 1, 1, 1, 1, 2, 3, 3, 3]);
        let removed = shares.trim(&mut log, 10, |actor| *actor);
        assert_eq!((removed.len(), log.len()), (4, 5));
        assert!(log.contains(&2), "{log:?}");
        assert_eq!(shares.trim(&mut Vec::from([1; 10]), 2, |actor| *actor).len(), 2);
    }
}
