//! In the place of `manage` in a build without it: the policy is the configuration's.

use tollgate_core::admin::AdminRequest;
use tollgate_core::config::GatewayConfig;
use tollgate_core::counters::SharedDataStore;

use crate::host::{self, Level, Shared};
use crate::root::Plugin;

/// There are none, so that nothing which would change them is in the module.
pub enum Documents {}

impl Documents {
    /// Takes out of a configuration what this build does not do: management is off.
    ///
    /// # Errors
    /// A fleet decides who may do what, and cannot be passed over.
    pub fn fit(gateway: &mut GatewayConfig) -> Result<(), ()> {
        gateway.admin = None;
        if gateway.etcd.is_some() {
            host::log(
                Level::Error,
                "error /fleet: this build has no fleet; load tollgate.wasm, or leave it out",
            );
            return Err(());
        }
        host::log(Level::Info, "this build has no management API: the policy is the configuration's");
        Ok(())
    }

    /// Nothing can change.
    pub fn open(_: &GatewayConfig, _: &mut SharedDataStore<Shared>, _: u32) -> Option<Documents> {
        None
    }
}

impl Plugin {
    /// The policy is what it was.
    pub fn refresh(&self) {}

    /// There is no fleet.
    pub fn awaits_fleet(&self) -> bool {
        false
    }

    /// No such request comes: see [`Documents::fit`].
    pub fn manage(&self, _: u32, _: AdminRequest) {}

    /// There is nothing to do.
    pub fn tick(&self) {}

    /// No call was made.
    pub fn called(&self, _: u32, _: usize) {}
}
