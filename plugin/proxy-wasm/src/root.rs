//! One configuration: read in pieces, kept for all streams that begin under it.

use std::cell::Cell;
use std::rc::Rc;

use tollgate_core::admission::{Correction, retry};
use tollgate_core::cell::{SharedCells, Support};
use tollgate_core::gateway::{Gateway, Loader};
use tollgate_core::time::Now;

use crate::host::{self, Level, Shared};
use crate::metrics::Metrics;
use crate::stream::Stream;

/// Bytes of the configuration that are in memory at once.
const PIECE: usize = 64 * 1024;

/// How often corrections that lost too many swaps are tried again.
const TICK_MILLIS: u32 = 1_000;

/// What the streams of one configuration share.
pub struct Plugin {
    /// The configuration.
    pub gateway: Rc<Gateway>,
    /// Which kind of shared data the host has.
    pub support: Support,
    /// Counters.
    pub metrics: Metrics,
    corrections: Cell<Vec<Correction>>,
}

impl Plugin {
    /// The cells in the host's shared data.
    pub fn cells(&self) -> SharedCells<Shared> {
        SharedCells::new(Shared, self.support)
    }

    /// This moment.
    pub fn now(&self) -> Now {
        host::now(self.support)
    }

    /// Keeps corrections for the next tick: none is ever dropped.
    pub fn keep(&self, mut corrections: Vec<Correction>) {
        if !corrections.is_empty() {
            self.metrics.count("corrections_kept");
            let mut kept = self.corrections.take();
            kept.append(&mut corrections);
            self.corrections.set(kept);
        }
    }

    fn retry_corrections(&self) {
        let mut cells = self.cells();
        let left = self.corrections.take().into_iter().filter_map(|one| retry(&mut cells, one)).collect();
        self.corrections.set(left);
    }
}

/// The root context.
#[derive(Default)]
pub struct Root {
    plugin: Option<Rc<Plugin>>,
}

impl Root {
    fn load() -> Result<Gateway, ()> {
        let mut loader = Loader::default();
        let mut start = 0;
        loop {
            let piece = host::buffer(host::Buffer::Configuration, start, PIECE).unwrap_or_default();
            loader.push(&piece);
            start += piece.len();
            if piece.len() < PIECE {
                break;
            }
        }
        let (gateway, warnings) = loader.finish().map_err(|findings| {
            for finding in &findings {
                host::log(Level::Error, &finding.to_string());
            }
        })?;
        for warning in &warnings {
            host::log(Level::Warning, &warning.to_string());
        }
        Ok(gateway)
    }
}

impl Root {
    /// Reads the configuration; `false`: it has an error, and whatever was in force stays so.
    pub fn on_configure(&mut self) -> bool {
        let Ok(gateway) = Self::load() else {
            host::log(Level::Error, "the configuration is not loaded: see the errors above");
            return false;
        };
        let support = SharedCells::<Shared>::probe(&mut Shared, &gateway.prefix);
        let (level, words) = match support {
            Support::Lenient => {
                (Level::Info, "shared data found: limits are shared by all VMs of this process")
            }
            Support::Strict => {
                (Level::Info, "strict shared data found: limits are shared by all workers of its zone")
            }
            Support::None => (
                Level::Warning,
                "no shared data: limits and budgets cannot be checked, `on_unavailable` applies",
            ),
        };
        host::log(level, words);
        host::set_tick_period(TICK_MILLIS);
        self.plugin = Some(Rc::new(Plugin {
            gateway: Rc::new(gateway),
            support,
            metrics: Metrics::default(),
            corrections: Cell::default(),
        }));
        true
    }

    /// Once every `TICK_MILLIS`, in every VM.
    pub fn on_tick(&mut self) {
        if let Some(plugin) = &self.plugin {
            plugin.retry_corrections();
        }
    }

    /// A stream that begins under this configuration.
    pub fn stream(&self) -> Stream {
        Stream::new(self.plugin.clone())
    }
}
