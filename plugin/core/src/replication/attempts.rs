//! The last attempts of an organization that changed nothing, as the lines of one record.
//!
//! ```text
//! <name> TAB <actor> TAB <entry as JSON> LF
//! ```
//!
//! The number of attempts is bounded for each actor and in sum. Above the sum, the actor with the most attempts loses the
//! oldest one, so that one actor cannot remove the attempts of others.

use alloc::string::String;
use alloc::vec::Vec;

use super::JournalError;
use crate::collections::shares::Shares;
use crate::text::hash::fingerprint;

/// The bounds of an organization's attempts.
const SHARES: Shares = Shares { per_actor: 32, in_sum: 256 };

/// One attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Attempt<'t> {
    /// Name of the entry.
    pub(super) name: &'t str,
    /// Id of the user.
    pub(super) actor: &'t str,
    /// The entry as JSON.
    pub(super) entry: &'t str,
}

/// The attempts of an organization, oldest first.
#[derive(Debug)]
pub(super) struct Attempts<'t>(Vec<Attempt<'t>>);

impl<'t> Attempts<'t> {
    /// Reads the body of a record.
    pub(super) fn read(body: &'t [u8]) -> Result<Self, JournalError> {
        let text = core::str::from_utf8(body).map_err(|_| JournalError::Damaged)?;
        let attempts = text.lines().map(|line| {
            let (name, rest) = line.split_once('\t')?;
            let (actor, entry) = rest.split_once('\t')?;
            Some(Attempt { name, actor, entry })
        });
        attempts.collect::<Option<_>>().map(Attempts).ok_or(JournalError::Damaged)
    }

    /// Returns all attempts, oldest first.
    pub(super) fn all(&self) -> &[Attempt<'t>] {
        &self.0
    }

    /// Adds an attempt, and removes one beyond the bounds.
    pub(super) fn push(&mut self, attempt: Attempt<'t>) {
        self.0.push(attempt);
        let actors: Vec<u64> = self.0.iter().map(|attempt| fingerprint(attempt.actor.as_bytes())).collect();
        if let Some(surplus) = SHARES.surplus(&actors) {
            self.0.remove(surplus);
        }
    }

    /// Returns the body of the record.
    pub(super) fn text(&self) -> String {
        let mut text = String::new();
        for Attempt { name, actor, entry } in &self.0 {
            for part in [name, "\t", actor, "\t", entry, "\n"] {
                text.push_str(part);
            }
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use alloc::format;
    use alloc::string::ToString;

    use super::*;

    #[test]
    fn one_actor_cannot_remove_the_attempts_of_others() {
        let mut body = String::new();
        let mut add = |actor: &str, number: usize| {
            let name = number.to_string();
            let stored = body.clone();
            let mut attempts = Attempts::read(stored.as_bytes()).unwrap();
            attempts.push(Attempt { name: &name, actor, entry: "{}" });
            body = attempts.text();
        };
        add("quiet", 0);
        for number in 1..1_000 {
            add("loud", number);
        }
        for number in 1_000..1_400 {
            add(&format!("crowd-{}", number % 40), number);
        }
        let attempts = Attempts::read(body.as_bytes()).unwrap();
        assert_eq!(attempts.all().len(), SHARES.in_sum);
        assert_eq!(attempts.all().first().map(|first| (first.name, first.actor)), Some(("0", "quiet")));
        let loud = attempts.all().iter().filter(|attempt| attempt.actor == "loud").count();
        assert!(loud < SHARES.per_actor, "the loudest gave way");
        assert_eq!(attempts.all().last().map(|last| last.name), Some("1399"));
        assert_eq!(Attempts::read(b"no tab\n").err(), Some(JournalError::Damaged));
    }
}
