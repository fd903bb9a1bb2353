//! The sums that all workers of a server bound together: connections, running requests, and bytes in flight.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;

/// The limits of a server towards its clients.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// The time for a TLS handshake, and for the head of a request from its first byte. A new connection has
    /// it from its start.
    pub head: Duration,
    /// The time between two parts of a request's body.
    pub body: Duration,
    /// The time that a whole body may wait for its client.
    pub request: Duration,
    /// The time that a connection stays open without a request.
    pub keep_alive: Duration,
    /// The time for the first byte of a response, and then between two parts of it, whether the upstream or
    /// the client is slow. A response may take any time as long as parts of it arrive.
    pub stream: Duration,
    /// The number of connections.
    pub connections: usize,
    /// The number of requests that run at the same time.
    pub requests: usize,
    /// The number of bytes of heads and request bodies that are held at the same time.
    pub held_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            head: Duration::from_secs(10),
            body: Duration::from_secs(60),
            request: Duration::from_secs(300),
            keep_alive: Duration::from_secs(75),
            // Models take long to think; SDKs wait as long.
            stream: Duration::from_secs(600),
            connections: 4096,
            requests: 4096,
            held_bytes: 512 << 20,
        }
    }
}

/// The receive window of a connection of HTTP/2 that a server cannot lower (RFC 9113, 6.9.2).
const SMALLEST_WINDOW: u32 = 65_535;
/// The largest receive window of a connection of HTTP/2.
const LARGEST_WINDOW: u32 = 1 << 20;

impl Limits {
    /// Returns the number of bytes that a connection of HTTP/2 may send before they are read. Those of all connections
    /// together stay within [`Limits::held_bytes`] once more, except that each has at least the 65,535 bytes of the protocol.
    pub(super) fn window(&self) -> u32 {
        let share = self.held_bytes.checked_div(self.connections).unwrap_or_default();
        u32::try_from(share).unwrap_or(u32::MAX).clamp(SMALLEST_WINDOW, LARGEST_WINDOW)
    }

    /// Returns the shortest of the times.
    pub(super) fn shortest(&self) -> Duration {
        self.head.min(self.body).min(self.request).min(self.keep_alive).min(self.stream)
    }
}

/// A sum with a limit.
#[derive(Debug)]
pub(super) struct Counter {
    used: AtomicUsize,
    limit: usize,
}

impl Counter {
    fn new(limit: usize) -> Arc<Counter> {
        Arc::new(Counter { used: AtomicUsize::new(0), limit })
    }

    /// Returns an empty share.
    pub(super) fn share(self: &Arc<Counter>) -> Share {
        Share { counter: Arc::clone(self), amount: 0 }
    }

    /// Returns a share of this amount; `None` if the sum would exceed the limit.
    pub(super) fn take(self: &Arc<Counter>, amount: usize) -> Option<Share> {
        let mut share = self.share();
        share.grow(amount).then_some(share)
    }

    /// Returns a share of one beyond the limit.
    pub(super) fn exceed(self: &Arc<Counter>) -> Share {
        self.used.fetch_add(1, Ordering::Relaxed);
        Share { counter: Arc::clone(self), amount: 1 }
    }
}

/// A part of a sum, which is returned on drop.
#[derive(Debug)]
pub(super) struct Share {
    counter: Arc<Counter>,
    amount: usize,
}

impl Share {
    /// Adds an amount; false, without effect, if the sum would exceed the limit.
    pub(super) fn grow(&mut self, amount: usize) -> bool {
        let Counter { used, limit } = &*self.counter;
        let grown = used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |used| {
            used.checked_add(amount).filter(|sum| sum <= limit)
        });
        if grown.is_ok() {
            self.amount += amount;
        }
        grown.is_ok()
    }

    pub(super) fn amount(&self) -> usize {
        self.amount
    }

    /// Moves the whole amount into another share.
    pub(super) fn split(&mut self) -> Share {
        Share { counter: Arc::clone(&self.counter), amount: std::mem::take(&mut self.amount) }
    }

    /// Returns bytes that keep this share until the last reference to them is gone.
    pub(super) fn attach(self, bytes: Vec<u8>) -> Bytes {
        struct Counted(Vec<u8>, #[expect(dead_code, reason = "its drop returns the share")] Share);
        impl AsRef<[u8]> for Counted {
            fn as_ref(&self) -> &[u8] {
                &self.0
            }
        }
        if self.amount == 0 { bytes.into() } else { Bytes::from_owner(Counted(bytes, self)) }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.counter.used.fetch_sub(self.amount, Ordering::Relaxed);
    }
}

/// The load of a server, with its limits.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) limits: Limits,
    pub(super) connections: Arc<Counter>,
    pub(super) requests: Arc<Counter>,
    pub(super) held: Arc<Counter>,
    reported: Mutex<HashMap<&'static str, Instant>>,
}

/// The pause between two reports of the same limit.
const REPORT_PAUSE: Duration = Duration::from_secs(10);

impl Load {
    pub(super) fn new(limits: Limits) -> Arc<Load> {
        Arc::new(Load {
            connections: Counter::new(limits.connections),
            requests: Counter::new(limits.requests),
            held: Counter::new(limits.held_bytes),
            reported: Mutex::default(),
            limits,
        })
    }

    /// Writes to standard error that a limit is reached, at most once in ten seconds for each limit.
    pub(super) fn report(&self, flag: &'static str, limit: usize) {
        let mut reported = self.reported.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        if reported.get(flag).is_none_or(|last| now.duration_since(*last) >= REPORT_PAUSE) {
            reported.insert(flag, now);
            eprintln!("tollgate: the limit `{flag} {limit}` is reached: clients get 503 until there is room");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_share_is_returned_with_the_last_reference_to_its_bytes() {
        let counter = Counter::new(10);
        let mut share = counter.take(6).unwrap();
        assert!(counter.take(5).is_none() && !share.grow(5));
        assert!(share.grow(4));
        let bytes = share.split().attach(vec![0; 10]);
        assert_eq!(share.amount(), 0);
        drop(share);
        let part = bytes.slice(2..3);
        drop(bytes);
        assert!(counter.take(1).is_none());
        drop(part);
        assert!(counter.take(10).is_some());
    }

    #[test]
    fn the_windows_of_all_connections_stay_within_the_bound_on_held_bytes() {
        let window = |connections, held_bytes| {
            Limits { connections, held_bytes, ..Limits::default() }.window() as usize
        };
        let defaults = Limits::default();
        assert_eq!(defaults.window() as usize * defaults.connections, defaults.held_bytes);
        assert_eq!(window(10, 64 << 20), 1 << 20, "the largest");
        assert_eq!(window(1_000_000, 1), 65_535, "the protocol's own");
        assert_eq!(window(0, 1), 65_535);
    }
}
