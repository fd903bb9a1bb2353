//! The management module of a build without management API and etcd: the policy is the configuration's.

use proxy_wasm::types::LogLevel;
use tollgate_core::admin::AdminRequest;
use tollgate_core::config::GatewayConfig;
use tollgate_core::counters::SharedDataStore;

use crate::host::{self, Shared};
use crate::root_context::Plugin;

/// A type without values, so that the code of changes is not in the module.
pub enum Management {}

impl Management {
    /// Removes from a configuration what this build does not support: the management API.
    ///
    /// # Errors
    /// If the configuration names etcd, whose policy would replace the configuration's.
    pub fn restrict(gateway: &mut GatewayConfig) -> Result<(), ()> {
        gateway.admin = None;
        if gateway.etcd.is_some() {
            host::log(
                LogLevel::Error,
                "error /fleet: this build has no etcd support: load tollgate.wasm, or remove the setting",
            );
            return Err(());
        }
        host::log(
            LogLevel::Info,
            "this build has no management API: the policy is that of the configuration",
        );
        Ok(())
    }

    /// Returns `None`: the policy cannot change.
    pub fn open(_: &GatewayConfig, _: &mut SharedDataStore<Shared>, _: u32) -> Option<Management> {
        None
    }
}

impl Plugin {
    /// Returns `None`: no request is one of the management API.
    pub fn subject(&self) -> Option<String> {
        None
    }

    /// Does nothing: the policy does not change.
    pub fn refresh(&self) {}

    /// Returns false: the policy is there.
    pub fn awaits_policy(&self) -> bool {
        false
    }

    /// Does nothing: [`Management::restrict`] has removed the endpoints.
    pub fn manage(&self, _: u32, _: AdminRequest) {}

    /// Does nothing: no write is under way.
    pub fn tick(&self) {}

    /// Does nothing: no call was made.
    pub fn on_callout_response(&self, _: u32, _: usize) {}
}
