//! The clocks of a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// The source of time for the host calls.
#[derive(Debug, Clone)]
pub enum Clock {
    /// The machine's clocks.
    System(SystemClock),
    /// A clock that stands still until a test moves it.
    Manual(Arc<ManualClock>),
}

impl Clock {
    /// Returns the machine's clocks; the monotonic one starts at 0.
    pub fn system() -> Clock {
        Clock::System(SystemClock { start: Instant::now() })
    }

    /// Creates a manual clock for a process, with a handle to move it.
    pub fn manual(wall: Duration) -> (Clock, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::new(wall));
        (Clock::Manual(Arc::clone(&clock)), clock)
    }

    /// Returns nanoseconds since the Unix epoch. May step back.
    pub fn wall(&self) -> u64 {
        match self {
            Clock::System(_) => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                since.as_nanos() as u64
            }
            Clock::Manual(clock) => clock.wall.load(Ordering::Relaxed),
        }
    }

    /// Returns nanoseconds since some point in the past. Never steps back.
    pub fn monotonic(&self) -> u64 {
        match self {
            Clock::System(clock) => clock.start.elapsed().as_nanos() as u64,
            Clock::Manual(clock) => clock.monotonic.load(Ordering::Relaxed),
        }
    }
}

/// The machine's clocks.
#[derive(Debug, Clone)]
pub struct SystemClock {
    start: Instant,
}

/// A clock that tests move, with separate wall and monotonic times.
#[derive(Debug)]
pub struct ManualClock {
    wall: AtomicU64,
    monotonic: AtomicU64,
}

impl ManualClock {
    /// Creates a clock at this wall time (since the Unix epoch) and at one hour of monotonic time, like a
    /// machine that has run for a while.
    pub fn new(wall: Duration) -> ManualClock {
        ManualClock {
            wall: AtomicU64::new(wall.as_nanos() as u64),
            monotonic: AtomicU64::new(Duration::from_secs(3600).as_nanos() as u64),
        }
    }

    /// Advances both clocks.
    pub fn advance(&self, by: Duration) {
        let by = by.as_nanos() as u64;
        self.wall.fetch_add(by, Ordering::Relaxed);
        self.monotonic.fetch_add(by, Ordering::Relaxed);
    }

    /// Sets the wall clock alone, also backward, as an operator or NTP does.
    pub fn set_wall(&self, since_epoch: Duration) {
        self.wall.store(since_epoch.as_nanos() as u64, Ordering::Relaxed);
    }

    /// Returns the wall time since the Unix epoch.
    pub fn wall(&self) -> Duration {
        Duration::from_nanos(self.wall.load(Ordering::Relaxed))
    }

    /// Returns the monotonic time.
    pub fn monotonic(&self) -> Duration {
        Duration::from_nanos(self.monotonic.load(Ordering::Relaxed))
    }
}
