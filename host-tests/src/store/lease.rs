//! Leases: a key with a lease is removed when the lease ends.
//!
//! Leases and their times to live are in the file; the times at which they end are not. As in etcd, each
//! lease has its whole time to live after a start.

use std::time::Duration;

use super::engine::{Engine, Failure, State};
use super::refusal::Refusal;
use super::request::{LeaseGrant, LeaseTimeToLive};
use super::response::Message;

/// The shortest time to live in seconds. etcd has the same minimum with its default election timeout.
const MIN_TTL: i64 = 2;
/// The longest time to live in seconds.
const MAX_TTL: i64 = 9_000_000_000;

/// Returns the end of a lease that begins or is renewed now.
pub(super) fn end(now: Duration, ttl: i64) -> Duration {
    now.saturating_add(Duration::from_secs(ttl.max(0).unsigned_abs()))
}

impl State {
    /// Renews a lease by a request that was made before its end and waited since: the client was in time.
    pub(super) fn renew(&mut self, id: i64, made: Duration, now: Duration) {
        if let Some((ttl, until)) = self.leases.get_mut(&id)
            && made < *until
        {
            *until = end(now, *ttl);
        }
    }

    /// Returns the leases that have ended.
    pub(super) fn expired(&self, now: Duration) -> Vec<i64> {
        let mut expired: Vec<_> = self
            .leases
            .iter()
            .filter(|(_, (_, until))| *until <= now)
            .map(|(id, (_, until))| (*until, *id))
            .collect();
        expired.sort_unstable();
        expired.into_iter().map(|(_, id)| id).collect()
    }
}

impl Engine<'_, '_> {
    pub(super) fn check_lease(&self, id: i64) -> Result<(), Refusal> {
        if id == 0 || self.state.leases.contains_key(&id) { Ok(()) } else { Err(Refusal::LeaseNotFound) }
    }

    /// Creates a lease, with a random id if the request has none.
    pub(super) fn lease_grant(&mut self, request: &LeaseGrant) -> Result<Message, Failure> {
        if request.TTL > MAX_TTL {
            return Err(Refusal::LeaseTooLong.into());
        }
        let id = match request.ID {
            // Positive, and never 0.
            0 => (getrandom::u64().map_err(|_| Refusal::Unavailable)? >> 1).cast_signed().max(1),
            id => id,
        };
        if self.state.leases.contains_key(&id) {
            return Err(Refusal::LeaseExists.into());
        }
        let ttl = request.TTL.max(MIN_TTL);
        self.tables.leases.insert(id, ttl)?;
        self.state.leases.insert(id, (ttl, end(self.now, ttl)));
        Ok(Message::new().long("ID", id).long("TTL", ttl))
    }

    /// Ends a lease and removes its keys.
    pub(super) fn lease_revoke(&mut self, id: i64) -> Result<(), Failure> {
        if !self.state.leases.contains_key(&id) {
            return Err(Refusal::LeaseNotFound.into());
        }
        for key in self.lease_keys(id)? {
            if let Some(row) = self.row(&key)? {
                self.remove(&key, &row)?;
            }
        }
        self.tables.leases.remove(id)?;
        self.state.leases.remove(&id);
        Ok(())
    }

    /// Renews a lease, or reports that there is none.
    pub(super) fn lease_keep_alive(&mut self, id: i64) -> Message {
        let ttl = self.state.leases.get_mut(&id).map_or(0, |(ttl, until)| {
            *until = end(self.now, *ttl);
            *ttl
        });
        Message::new().long("ID", id).long("TTL", ttl)
    }

    pub(super) fn lease_time_to_live(&self, request: &LeaseTimeToLive) -> Result<Message, redb::Error> {
        let message = Message::new().long("ID", request.ID);
        let Some((ttl, until)) = self.state.leases.get(&request.ID) else {
            return Ok(message.long("TTL", -1));
        };
        let left = i64::try_from(until.saturating_sub(self.now).as_secs()).unwrap_or(i64::MAX);
        let message = message.long("TTL", left).long("grantedTTL", *ttl);
        if !request.keys {
            return Ok(message);
        }
        Ok(message.list_of_bytes("keys", &self.lease_keys(request.ID)?))
    }

    /// Lists the leases in the order in which they end.
    pub(super) fn lease_list(&self) -> Message {
        let mut leases: Vec<_> = self.state.leases.iter().map(|(id, (_, until))| (*until, *id)).collect();
        leases.sort_unstable();
        Message::new().list("leases", leases.into_iter().map(|(_, id)| Message::new().long("ID", id)))
    }

    fn lease_keys(&self, id: i64) -> Result<Vec<Vec<u8>>, redb::Error> {
        use redb::ReadableTable as _;
        let keys = self.tables.lease_keys.range::<(i64, &[u8])>((id, [].as_slice())..)?;
        let mut found = Vec::new();
        for entry in keys {
            let (at, _) = entry?;
            let (lease, key) = at.value();
            if lease != id {
                break;
            }
            found.push(key.to_vec());
        }
        Ok(found)
    }
}
