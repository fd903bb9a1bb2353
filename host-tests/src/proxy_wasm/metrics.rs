//! Counters, gauges and histograms that modules define.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::Status;

/// The type of a metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MetricKind {
    /// A value that only grows.
    Counter,
    /// A value that goes up and down.
    Gauge,
    /// A series of samples, represented by their number and sum.
    Histogram,
}

impl MetricKind {
    fn from_abi(value: u32) -> Option<MetricKind> {
        Some(match value {
            0 => MetricKind::Counter,
            1 => MetricKind::Gauge,
            2 => MetricKind::Histogram,
            _ => return None,
        })
    }
}

#[derive(Debug)]
pub(crate) struct Metric {
    kind: MetricKind,
    value: AtomicU64,
    samples: AtomicU64,
}

impl Metric {
    /// Adds as Envoy does: to a counter positive values only, to a gauge any, to a histogram none.
    pub(crate) fn increment(&self, offset: i64) -> Status {
        match self.kind {
            MetricKind::Counter if offset <= 0 => return Status::BadArgument,
            MetricKind::Histogram => return Status::BadArgument,
            // Two's complement: adding a negative step subtracts.
            MetricKind::Counter | MetricKind::Gauge => self.value.fetch_add(offset as u64, Ordering::Relaxed),
        };
        Status::Ok
    }

    /// Records a value as Envoy does: on a counter it is added.
    pub(crate) fn record(&self, value: u64) -> Status {
        match self.kind {
            MetricKind::Counter => _ = self.value.fetch_add(value, Ordering::Relaxed),
            MetricKind::Gauge => self.value.store(value, Ordering::Relaxed),
            MetricKind::Histogram => {
                self.value.fetch_add(value, Ordering::Relaxed);
                self.samples.fetch_add(1, Ordering::Relaxed);
            }
        }
        Status::Ok
    }

    pub(crate) fn get(&self) -> Result<u64, Status> {
        match self.kind {
            MetricKind::Histogram => Err(Status::BadArgument),
            MetricKind::Counter | MetricKind::Gauge => Ok(self.value.load(Ordering::Relaxed)),
        }
    }
}

/// All metrics of a process, by the name that the module gave them (Envoy adds the prefix `wasmcustom.`).
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    all: Arc<Mutex<Registry>>,
}

#[derive(Debug, Default)]
struct Registry {
    ids: BTreeMap<String, u32>,
    metrics: Vec<Arc<Metric>>,
}

impl Metrics {
    /// Returns the value of a counter or gauge, or the sum of a histogram's samples.
    pub fn get(&self, name: &str) -> Option<u64> {
        self.find(name).map(|metric| metric.value.load(Ordering::Relaxed))
    }

    /// Returns the number of a histogram's samples.
    pub fn samples(&self, name: &str) -> Option<u64> {
        self.find(name).map(|metric| metric.samples.load(Ordering::Relaxed))
    }

    /// Returns every name with its type and value.
    pub fn snapshot(&self) -> BTreeMap<String, (MetricKind, u64)> {
        let registry = self.lock();
        let value = |id: u32| {
            let metric = &registry.metrics[id as usize];
            (metric.kind, metric.value.load(Ordering::Relaxed))
        };
        registry.ids.iter().map(|(name, id)| (name.clone(), value(*id))).collect()
    }

    /// Returns the id of the metric and creates it if it is new. The type given first is kept.
    pub(crate) fn define(&self, kind: u32, name: &str) -> Result<u32, Status> {
        let kind = MetricKind::from_abi(kind).ok_or(Status::BadArgument)?;
        let mut registry = self.lock();
        if let Some(id) = registry.ids.get(name) {
            return Ok(*id);
        }
        let id = registry.metrics.len() as u32;
        registry.metrics.push(Arc::new(Metric {
            kind,
            value: AtomicU64::new(0),
            samples: AtomicU64::new(0),
        }));
        registry.ids.insert(name.to_owned(), id);
        Ok(id)
    }

    /// Returns handles that a VM caches, so that recording takes no lock.
    pub(crate) fn handles(&self) -> Vec<Arc<Metric>> {
        self.lock().metrics.clone()
    }

    fn find(&self, name: &str) -> Option<Arc<Metric>> {
        let registry = self.lock();
        let id = *registry.ids.get(name)?;
        registry.metrics.get(id as usize).cloned()
    }

    fn lock(&self) -> MutexGuard<'_, Registry> {
        self.all.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
