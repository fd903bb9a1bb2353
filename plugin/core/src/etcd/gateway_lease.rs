//! The lease in etcd that keeps a gateway's keys alive.

use alloc::format;
use alloc::string::String;

use serde_json::Value;

use super::kv::{self, EtcdReply};
use super::transaction::{StoreState, state};
use super::{EtcdError, Operation, Progress};
use crate::json::out_of_line::{object, text};

const GRANT: &str = "/v3/lease/grant";
const KEEP_ALIVE: &str = "/v3/lease/keepalive";
const REVOKE: &str = "/v3/lease/revoke";

/// Grants a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct GrantLease {
    /// Its time to live, in seconds.
    pub seconds: u64,
    /// Its number, which no other lease has.
    pub id: u64,
}

impl Operation for GrantLease {
    type Output = StoreState;

    fn call(&self) -> (&'static str, String) {
        let (seconds, id) = (format!("{}", self.seconds), format!("{}", self.id));
        (GRANT, text(&object!({ "TTL": seconds, "ID": id })))
    }

    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<StoreState>, EtcdError> {
        let fields = answer.fields()?;
        if kv::positive(fields.get("ID")) != Some(self.id) {
            return Err(kv::unreadable("the lease in the response of etcd"));
        }
        Ok(Progress::Done(state(fields)?))
    }
}

/// Renews a lease. Its output is false if the lease has ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KeepAlive(
    /// The number of the lease.
    pub u64,
);

impl Operation for KeepAlive {
    type Output = (StoreState, bool);

    fn call(&self) -> (&'static str, String) {
        (KEEP_ALIVE, text(&object!({ "ID": format!("{}", self.0) })))
    }

    fn answer(&mut self, answer: &EtcdReply) -> Result<Progress<Self::Output>, EtcdError> {
        // One message of a stream.
        let result = answer.fields()?.get("result").and_then(Value::as_object);
        let fields = result.ok_or_else(|| kv::unreadable("the response of etcd to a renewal"))?;
        Ok(Progress::Done((state(fields)?, kv::positive(fields.get("TTL")).is_some())))
    }
}

/// Ends a lease, with the keys that are attached to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RevokeLease(
    /// The number of the lease.
    pub u64,
);

impl Operation for RevokeLease {
    type Output = ();

    fn call(&self) -> (&'static str, String) {
        (REVOKE, text(&object!({ "ID": format!("{}", self.0) })))
    }

    fn answer(&mut self, _: &EtcdReply) -> Result<Progress<()>, EtcdError> {
        Ok(Progress::Done(()))
    }
}
