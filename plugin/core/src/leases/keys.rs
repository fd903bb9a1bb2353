//! The names of a fleet's keys in etcd, and of its records in shared data.

use alloc::format;
use alloc::string::String;

use super::index::Index;
use crate::config::{DRAIN, EtcdConfig, MEMBERSHIP, SLICES};
use crate::counters::RecordKey;
use crate::fleet::GatewayId;

/// The names of the keys in etcd, below the configured prefix.
///
/// ```text
/// clock                         the fleet's time
/// era                           put by the first gateway of a fleet
/// member/<gateway>              alive: attached to the gateway's lease
/// gateway/<gateway>             may have keys below held/<gateway>/
/// row/<principal>               what all gateways have spent and lease
/// held/<gateway>/<principal>    what one gateway leases
/// wants/<gateway>/<principal>   a request that only leases keep out
/// ```
#[derive(Clone, Debug)]
pub(super) struct FleetKeys {
    prefix: String,
}

impl FleetKeys {
    pub(super) fn new(config: &EtcdConfig) -> Self {
        FleetKeys { prefix: (*config.prefix).into() }
    }

    pub(super) fn clock(&self) -> String {
        format!("{}clock", self.prefix)
    }

    pub(super) fn era(&self) -> String {
        format!("{}era", self.prefix)
    }

    pub(super) fn members(&self) -> String {
        format!("{}member/", self.prefix)
    }

    pub(super) fn member(&self, gateway: GatewayId) -> String {
        format!("{}member/{}", self.prefix, gateway.text())
    }

    pub(super) fn gateways(&self) -> String {
        format!("{}gateway/", self.prefix)
    }

    pub(super) fn gateway(&self, gateway: GatewayId) -> String {
        format!("{}gateway/{}", self.prefix, gateway.text())
    }

    pub(super) fn wants(&self) -> String {
        format!("{}wants/", self.prefix)
    }

    /// The prefix of what a gateway wants.
    pub(super) fn wants_of(&self, gateway: GatewayId) -> String {
        format!("{}wants/{}/", self.prefix, gateway.text())
    }

    /// The principal in a key below [`FleetKeys::wants`].
    pub(super) fn wanted<'k>(&self, key: &'k str) -> Option<&'k str> {
        let (_, principal) =
            key.strip_prefix(self.prefix.as_str())?.strip_prefix("wants/")?.split_once('/')?;
        Some(principal)
    }

    pub(super) fn row(&self, principal: &str) -> String {
        format!("{}row/{principal}", self.prefix)
    }

    pub(super) fn all_held(&self, gateway: GatewayId) -> String {
        format!("{}held/{}/", self.prefix, gateway.text())
    }

    pub(super) fn held(&self, gateway: GatewayId, principal: &str) -> String {
        format!("{}held/{}/{principal}", self.prefix, gateway.text())
    }
}

/// The gateway in a key below a prefix.
pub(super) fn gateway_of(prefix: &str, key: &str) -> Option<GatewayId> {
    GatewayId::parse(key.strip_prefix(prefix)?)
}

/// The lease of a gateway in etcd. It follows from the id, so that each VM can renew it.
pub(super) fn lease_of(gateway: GatewayId) -> u64 {
    // Positive, as etcd's are.
    ((gateway.0 as u64) & (u64::MAX >> 1)).max(1)
}

/// The names of the records in shared data.
#[derive(Clone, Debug)]
pub(super) struct FleetRecords {
    /// The membership of this process.
    pub(super) membership: RecordKey,
    /// The drain of this process.
    pub(super) drain: RecordKey,
    /// The turn of one VM to renew and to refill.
    pub(super) leader: RecordKey,
    /// The principals with slices.
    pub(super) index: Index,
    /// The prefix of the names of slices.
    pub(super) slices: String,
}

impl FleetRecords {
    pub(super) fn new(config: &EtcdConfig, prefix: &str) -> Self {
        let prefix = config.record_prefix(prefix);
        FleetRecords {
            membership: RecordKey::new(&prefix, &[MEMBERSHIP]),
            drain: RecordKey::new(&prefix, &[DRAIN]),
            leader: RecordKey::new(&prefix, &["renewer"]),
            index: Index::new(&prefix),
            slices: format!("{prefix}{SLICES}"),
        }
    }

    /// The name of the principal whose slice has this name.
    pub(super) fn principal<'n>(&self, slice: &'n str) -> &'n str {
        slice.strip_prefix(self.slices.as_str()).unwrap_or(slice)
    }
}
