//! The configuration of one gateway, which includes the policy.

mod defaults;
mod load;
mod records;
mod routes;

pub use defaults::{DefaultRoute, ROUTES as DEFAULT_ROUTES};
#[cfg(feature = "schema")]
pub use load::schema;
pub use load::{ConfigLoader, MAX_BODY, MAX_HELD, PREFIX};

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use crate::admission::headers::HeaderStyle;
use crate::auth::credential::CredentialSources;
use crate::collections::held_bytes::HeldBytes;
use crate::counters::{RecordKey, RecordKeys};
use crate::http::route::Route;
use crate::ledger::LedgerNames;
use crate::policy::{Mode, PolicyHandle};
use crate::text::hash::fingerprint;

/// A gateway's whole configuration. Only `policy` is required; the defaults serve LLM traffic at the
/// providers' own paths.
#[derive(Debug)]
pub struct GatewayConfig {
    /// The policy. It changes while requests are in flight.
    pub policy: PolicyHandle,
    /// The sources of keys. Default: the headers and the query parameter that the providers' SDKs use.
    pub credentials: CredentialSources,
    /// The routes; the first match wins. The operator's are before the default ones: the providers' own paths.
    pub routes: Vec<Route>,
    /// The treatment of a request that no route matches.
    pub unmatched: Unmatched,
    /// The treatment of a request while the counter store is unavailable.
    pub on_unavailable: FailureMode,
    /// The treatment of a request after too many compare-and-swap conflicts.
    pub on_contention: FailureMode,
    /// In shadow mode rejections are only logged, for every team.
    pub mode: Mode,
    /// Keys may be created although they are lost when the process ends.
    pub volatile_keys: bool,
    /// The rate-limit headers of responses.
    pub headers: HeaderStyle,
    /// The treatment of members of a request's body that the API's table does not have.
    pub unknown_members: UnknownMembers,
    /// The treatment of parameters of a query that the API's table does not have.
    pub unknown_query: UnknownQuery,
    /// The largest request body in bytes; a larger one is rejected with 413. Default 32 MiB.
    pub max_body: u64,
    /// The most bytes of undecided requests' bodies that all workers of the process hold at once; a request that would
    /// exceed it is rejected with 503. Default 512 MiB.
    pub max_held: u64,
    /// The name of the record of held bodies, below that prefix.
    pub held_bodies: RecordKey,
    /// The prefix of the names of all records in shared data. Default `tollgate/1/`.
    pub prefix: Box<str>,
    /// The names of principals' records, below that prefix: counter records, or, with counters that a fleet shares, slices.
    pub record_keys: RecordKeys,
    /// The names of the ledger's records, below that prefix.
    pub ledger: LedgerNames,
    /// The management API; `None`: turned off.
    pub admin: Option<AdminConfig>,
    /// The bytes of management requests that this VM holds.
    pub held_bytes: HeldBytes,
    /// The etcd cluster that stores documents; `None`: they are lost when the process ends.
    pub etcd: Option<EtcdConfig>,
    /// The maximum number of teams with series of their own in the metrics of the process. Default 1,000.
    pub max_metric_teams: u64,
}

/// The part of the names of slices between [`EtcdConfig::record_prefix`] and the principal.
pub(crate) const SLICES: &str = "slice/";
/// The name of the record of a drain, below [`EtcdConfig::record_prefix`].
pub(crate) const DRAIN: &str = "drain";
/// The name of the record of the membership, below [`EtcdConfig::record_prefix`].
pub(crate) const MEMBERSHIP: &str = "member";

impl GatewayConfig {
    /// The names of principals' records in shared data. Slices have names of their own, since they are no counter records.
    pub(crate) fn record_keys(prefix: &str, etcd: Option<&EtcdConfig>) -> RecordKeys {
        match etcd.filter(|etcd| etcd.counters == CounterSharing::Shared) {
            Some(etcd) => RecordKeys::new(&format!("{}{SLICES}", etcd.record_prefix(prefix))),
            None => RecordKeys::new(prefix),
        }
    }

    /// The etcd that holds the counters; `None`: they are those of this process.
    pub fn shared_counters(&self) -> Option<&EtcdConfig> {
        self.etcd.as_ref().filter(|etcd| etcd.counters == CounterSharing::Shared)
    }
}

/// The management API of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AdminConfig {
    /// The prefix of its paths. Default `/tollgate/v1`.
    pub prefix: Box<str>,
    /// Verified JWTs that identify callers; `None`: only user tokens do.
    pub jwt: Option<JwtConfig>,
}

impl Default for AdminConfig {
    fn default() -> Self {
        AdminConfig { prefix: "/tollgate/v1".into(), jwt: None }
    }
}

/// The metadata in which Envoy's jwt_authn filter leaves the payload of a verified token.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JwtConfig {
    /// The filter's `payload_in_metadata`.
    pub metadata: Box<str>,
    /// The claim with the user's id. Default `sub`.
    pub claim: Box<str>,
}

/// The etcd cluster that a fleet of gateways shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EtcdConfig {
    /// The host's name for etcd: a cluster in Envoy.
    pub cluster: Box<str>,
    /// The prefix of the keys in etcd. Default `tollgate/1/`.
    pub prefix: Box<str>,
    /// User and password, if etcd requires authentication.
    pub login: Option<(Box<str>, Password)>,
    /// The counters of limits and budgets.
    pub counters: CounterSharing,
}

/// The password of an etcd user.
#[derive(Clone, PartialEq, Eq)]
pub enum Password {
    /// The password itself.
    Text(Box<str>),
    /// The name of the environment variable that holds it.
    Variable(Box<str>),
}

/// Omits the password.
impl core::fmt::Debug for Password {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Password::Text(_) => f.write_str("Text"),
            Password::Variable(name) => f.debug_tuple("Variable").field(name).finish(),
        }
    }
}

impl EtcdConfig {
    /// User and password, once a variable is read.
    pub(crate) fn user(&self) -> Option<(&str, &str)> {
        let (user, password) = self.login.as_ref()?;
        match password {
            Password::Text(password) => Some((&**user, &**password)),
            // The adapter reads variables first.
            Password::Variable(_) => None,
        }
    }

    /// The prefix of the names of the records in shared data that belong to this etcd: each has its own.
    pub fn record_prefix(&self, prefix: &str) -> String {
        let etcd = fingerprint(format!("{} {}", self.cluster, self.prefix).as_bytes());
        format!("{prefix}fleet/{etcd:016x}/")
    }

    /// Replaces the name of an environment variable by its value, without a line end.
    ///
    /// # Errors
    /// The message for the log, if the variable does not exist or is empty.
    pub fn read_password(&mut self, variable: impl Fn(&str) -> Option<String>) -> Result<(), String> {
        let Some((_, password)) = &mut self.login else { return Ok(()) };
        let Password::Variable(name) = &*password else { return Ok(()) };
        match variable(name).map(|value| value.trim_end_matches(['\r', '\n']).to_string()) {
            Some(value) if !value.is_empty() => {
                *password = Password::Text(value.into());
                Ok(())
            }
            _ => Err(format!(
                "error /fleet/password_env: there is no environment variable `{name}`: set it for the proxy's process, and in \
                 Envoy name it in `vm_config.environment_variables.host_env_keys`"
            )),
        }
    }
}

/// The gateways that a counter is for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum CounterSharing {
    /// All gateways with this etcd.
    #[default]
    Shared,
    /// This process alone.
    Own,
}

/// The treatment of requests that no route matches.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unmatched {
    /// They are rejected with 404 `unknown_route`.
    #[default]
    Deny,
    /// They are forwarded without identity headers.
    Pass,
}

/// The treatment of requests with members that the API's table does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownMembers {
    /// They are forwarded, and count as text.
    #[default]
    Allow,
    /// They count as content that the body does not show.
    Reserve,
    /// They are rejected with 400 `unknown_member`.
    Deny,
}

/// The treatment of parameters of a query that the API's table does not have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum UnknownQuery {
    /// They are removed.
    #[default]
    Remove,
    /// The request is rejected with 400 `unknown_parameter`.
    Deny,
    /// They are forwarded.
    Allow,
}

/// The treatment of requests whose limits cannot be checked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FailureMode {
    /// They are rejected with 503 `limits_unavailable`.
    #[default]
    Deny,
    /// They are forwarded uncounted.
    Allow,
}
