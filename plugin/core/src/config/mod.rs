//! How one gateway uses the policy: its configuration, read and checked.

mod defaults;
mod load;
mod records;

#[cfg(feature = "schema")]
pub use load::schema;
pub use load::{ConfigLoader, MAX_BODY, PREFIX};

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::admission::headers::HeaderStyle;
use crate::auth::credential::CredentialSources;
use crate::counters::RecordKeys;
use crate::http::route::Route;
use crate::policy::{Mode, PolicyHandle};

/// A gateway's whole configuration. Only `policy` is required; the defaults serve LLM traffic at the
/// providers' own paths.
#[derive(Debug)]
pub struct GatewayConfig {
    /// The index; it changes under requests in flight.
    pub policy: PolicyHandle,
    /// Where a key is looked for. Default: the headers and the query parameter that the providers' SDKs use.
    pub credentials: CredentialSources,
    /// First match wins. Default: the providers' own paths.
    pub routes: Vec<Route>,
    /// What happens to a request that no route names.
    pub unmatched: Unmatched,
    /// What happens when the cells cannot be asked.
    pub on_unavailable: FailureMode,
    /// What happens when a swap was lost too often.
    pub on_contention: FailureMode,
    /// Shadow: refusals of every team are recorded only.
    pub mode: Mode,
    /// Keys made through the API may live in this process only.
    pub volatile_keys: bool,
    /// Which rate-limit headers answers carry.
    pub headers: HeaderStyle,
    /// Largest request body in bytes; above: 413. Default 10 MiB.
    pub max_body: u64,
    /// What the names of all records in shared data begin with. Default `tollgate/1/`.
    pub prefix: Box<str>,
    /// The names of principals' cells, below that prefix.
    pub record_keys: RecordKeys,
    /// The management API; `None`: switched off.
    pub admin: Option<AdminConfig>,
    /// Where documents live that outlast the process; `None`: they live as long as it does.
    pub etcd: Option<EtcdConfig>,
}

/// The management API of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// What its paths begin with. Default `/tollgate/v1`.
    pub prefix: Box<str>,
    /// Whose verified JWTs say who asks; `None`: user tokens only.
    pub jwt: Option<JwtConfig>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        AdminConfig { prefix: "/tollgate/v1".into(), jwt: None }
    }
}

/// Where Envoy's own jwt_authn filter leaves the payload of a token that it has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// Its `payload_in_metadata`.
    pub metadata: Box<str>,
    /// The claim that is the user's id. Default `sub`.
    pub claim: Box<str>,
}

/// The etcd that a fleet of gateways shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdConfig {
    /// The host's name for it: a cluster in Envoy.
    pub cluster: Box<str>,
    /// What its keys begin with. Default `tollgate/1/`.
    pub prefix: Box<str>,
    /// User and password, where etcd's authentication is on.
    pub login: Option<(Box<str>, Box<str>)>,
}

/// Requests that no route names.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// 404 `unknown_route`.
    #[default]
    Deny,
    /// They pass, without identity headers.
    Pass,
}

/// When limits cannot be decided.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureMode {
    /// 503 `limits_unavailable`.
    #[default]
    Deny,
    /// The request passes uncounted.
    Allow,
}
