//! Time, always as an argument: the core never asks a clock.

/// One moment, as the host's two clocks show it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Now {
    /// Nanoseconds since the Unix epoch. May step, also backward. Calendar periods and expiry use it.
    pub wall: u64,
    /// Nanoseconds of a clock that all VMs of the process share and that does not step back; where a host
    /// has none, the wall clock again. Sliding windows use it.
    pub monotonic: u64,
}

/// Nanoseconds in a second.
pub const SECOND: u64 = 1_000_000_000;
/// Nanoseconds in a UTC day (POSIX time: no leap seconds).
pub const DAY: u64 = 86_400 * SECOND;

/// A point of the wall clock: milliseconds since the Unix epoch, as RFC 3339 texts are stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Timestamp(pub u64);

impl Now {
    /// The wall clock as a [`Timestamp`] (rounded down).
    pub fn timestamp(self) -> Timestamp {
        Timestamp(self.wall / 1_000_000)
    }
}
