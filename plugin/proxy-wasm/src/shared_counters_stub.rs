//! The counters of a build without etcd: those of this process.

use tollgate_core::admission::{
    ActualUsage, AdmissionRequest, Admitted, Correction, NotAdmitted, Receipt, retry, settle,
};
use tollgate_core::config::GatewayConfig;
use tollgate_core::counters::SharedDataStore;
use tollgate_core::time::Now;

use crate::host::Shared;
use crate::root_context::Plugin;

/// A type without values, so that the code of shared counters is not in the module.
pub enum SharedCounters {}

impl SharedCounters {
    /// Returns `None`: the configuration names no etcd.
    pub fn open(_: &GatewayConfig, _: u32) -> Option<SharedCounters> {
        None
    }

    /// Retries a correction of a counter record.
    pub fn retry(store: &mut SharedDataStore<Shared>, correction: Correction) -> Option<Correction> {
        retry(store, correction)
    }

    /// Settles an admission.
    pub fn settle(
        &self,
        store: &mut SharedDataStore<Shared>,
        receipt: Receipt,
        actual: ActualUsage,
    ) -> Vec<Correction> {
        settle(store, receipt, actual)
    }

    /// Not called: there are no values.
    pub fn admit(
        &self,
        _: &Plugin,
        _: u32,
        _: AdmissionRequest,
        _: Now,
    ) -> Option<Result<Admitted, NotAdmitted>> {
        None
    }

    /// Not called.
    pub fn cancel(&self, _: &Plugin, _: u32) {}

    /// Not called.
    pub fn look(&self, _: &Plugin) {}

    /// Not called.
    pub fn tick(&self, _: &Plugin) {}
}
