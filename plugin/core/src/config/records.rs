//! The records of a gateway's configuration, as documents write them.

#[cfg(feature = "schema")]
use alloc::format;
use alloc::string::ToString;

use super::defaults::template;
use super::{
    AdminConfig, CounterSharing, EtcdConfig, FailureMode, JwtConfig, PREFIX as DEFAULT_PREFIX, Password,
    UnknownMembers, UnknownQuery, Unmatched,
};
use crate::admission::headers::HeaderStyle;
use crate::api::Api;
use crate::auth::credential::CredentialSource;
use crate::http::route::{ModelSource, Segment};
use crate::json::node::Node;
use crate::policy::diagnostic::{DiagnosticKind, Diagnostics};
use crate::policy::load::record::{choice, record};
use crate::policy::load::value::{
    Count, DisplayText, FromNode, HeaderName, Map, Method, Present, TargetName, Token,
};

choice!(Unmatched, "`deny` or `pass`", "deny" => Unmatched::Deny, "pass" => Unmatched::Pass);
choice!(UnknownMembers, "`allow`, `reserve` or `deny`",
    "allow" => UnknownMembers::Allow, "reserve" => UnknownMembers::Reserve, "deny" => UnknownMembers::Deny);
choice!(UnknownQuery, "`remove`, `deny` or `allow`",
    "remove" => UnknownQuery::Remove, "deny" => UnknownQuery::Deny, "allow" => UnknownQuery::Allow);
choice!(FailureMode, "`deny` or `allow`", "deny" => FailureMode::Deny, "allow" => FailureMode::Allow);
choice!(CounterSharing, "`shared` or `own`", "shared" => CounterSharing::Shared, "own" => CounterSharing::Own);
choice!(HeaderStyle, "`openai`, `ietf`, `both` or `none`",
    "openai" => HeaderStyle::OpenAi, "ietf" => HeaderStyle::Ietf, "both" => HeaderStyle::Both, "none" => HeaderStyle::None);
choice!(Api, "`plain`, `openai-chat`, `openai-completions`, `openai-responses`, `openai-count-tokens`, `openai-embeddings`, `openai-images`, `openai-audio`, `openai-moderations`, `openai-realtime`, `anthropic-messages`, `anthropic-count-tokens`, `gemini-generate`, `gemini-count-tokens`, `gemini-embed`, `rerank`, `models`, `stored-objects` or `direct-sessions`",
    "plain" => Api::Plain,
    "openai-chat" => Api::OpenAiChat,
    "openai-completions" => Api::OpenAiCompletions,
    "openai-responses" => Api::OpenAiResponses,
    "openai-count-tokens" => Api::OpenAiCountTokens,
    "openai-embeddings" => Api::OpenAiEmbeddings,
    "openai-images" => Api::OpenAiImages,
    "openai-audio" => Api::OpenAiAudio,
    "openai-moderations" => Api::OpenAiModerations,
    "openai-realtime" => Api::OpenAiRealtime,
    "anthropic-messages" => Api::AnthropicMessages,
    "anthropic-count-tokens" => Api::AnthropicCountTokens,
    "gemini-generate" => Api::GeminiGenerate,
    "gemini-count-tokens" => Api::GeminiCountTokens,
    "gemini-embed" => Api::GeminiEmbed,
    "rerank" => Api::Rerank,
    "models" => Api::Models,
    "stored-objects" => Api::StoredObjects,
    "direct-sessions" => Api::DirectSessions);

/// The value of a route's `unmetered`; `allow` is the only one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AllowUnmetered;
choice!(AllowUnmetered, "`allow`", "allow" => AllowUnmetered);

/// A path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template(pub alloc::boxed::Box<[Segment]>);

const TEMPLATE: &str = "a path such as `/v1/chat/completions`, its segments literal, `*`, `{model}`, `{model}:suffix`, or `**` at the end";

impl FromNode for Template {
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other JSON type is an error")]
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        let segments = match &node {
            Node::String(text) => template(text),
            _ => None,
        };
        if segments.is_none() {
            report.error(DiagnosticKind::Expected { expected: TEMPLATE, found: node.describe() });
        }
        segments.map(Template)
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^/", "description": TEMPLATE })
    }
}

/// The prefix of the names of records in shared data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Prefix(pub alloc::boxed::Box<str>);

const PREFIX: &str = "1 to 64 of letters, digits, `.`, `_`, `-` and `/`, with `/` at the end";

impl FromNode for Prefix {
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other JSON type is an error")]
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        match &node {
            Node::String(text)
                if (2..=64).contains(&text.len())
                    && text.ends_with('/')
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-/".contains(&b)) =>
            {
                Some(Prefix(text.as_str().into()))
            }
            _ => {
                report.error(DiagnosticKind::Expected { expected: PREFIX, found: node.describe() });
                None
            }
        }
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^[A-Za-z0-9._/-]{1,63}/$", "description": PREFIX })
    }
}

/// The name of an environment variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct VariableName(pub alloc::boxed::Box<str>);

const VARIABLE: &str =
    "the name of an environment variable: 1 to 64 letters, digits and `_`, with no digit first";

impl FromNode for VariableName {
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other JSON type is an error")]
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        match &node {
            Node::String(text)
                if (1..=64).contains(&text.len())
                    && !text.starts_with(|first: char| first.is_ascii_digit())
                    && text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_') =>
            {
                Some(VariableName(text.as_str().into()))
            }
            _ => {
                // The value is not repeated: it may be a password in the wrong place.
                let found = "another value".to_string();
                report.error(DiagnosticKind::Expected { expected: VARIABLE, found });
                None
            }
        }
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^[A-Za-z_][A-Za-z0-9_]{0,63}$", "description": VARIABLE })
    }
}

record! {
    /// One source of keys.
    CredentialRecord {
        /// The name of a header that may hold a key.
        header: Present<HeaderName>,
        /// The scheme before the key in that header, such as `Bearer`.
        scheme: Present<Token>,
        /// The name of a query parameter that may hold a key.
        query: Present<Token>,
    }
}

impl CredentialRecord {
    /// Returns the source, if the record names exactly one.
    pub fn place(self, report: &mut Diagnostics) -> Option<CredentialSource> {
        match (self.header, self.scheme, self.query) {
            (Some(header), None, None) => Some(CredentialSource::Header(header.0?.0)),
            (Some(header), Some(scheme), None) => {
                Some(CredentialSource::Scheme { header: header.0?.0, scheme: scheme.0?.0 })
            }
            (None, None, Some(query)) => Some(CredentialSource::Query(query.0?.0)),
            _ => {
                report.error(DiagnosticKind::Expected {
                    expected: "either `header` (and perhaps `scheme`) or `query`",
                    found: "another combination".to_string(),
                });
                None
            }
        }
    }
}

const MODEL: &str = "`path`, `body`, or `query` and the name of a parameter, such as `query model`";

impl FromNode for ModelSource {
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other JSON type is an error")]
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        let source = match &node {
            Node::String(text) => match text.split_once(' ') {
                None if text == "path" => Some(ModelSource::Path),
                None if text == "body" => Some(ModelSource::Body),
                Some(("query", name)) if is_parameter(name) => {
                    Some(ModelSource::Query(name.to_string().into()))
                }
                _ => None,
            },
            _ => None,
        };
        if source.is_none() {
            report.error(DiagnosticKind::Expected { expected: MODEL, found: node.describe() });
        }
        source
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        serde_json::json!({
            "type": "string",
            "pattern": "^(path|body|query [A-Za-z0-9._~-]+)$",
            "description": MODEL,
        })
    }
}

/// Returns true for a parameter's name that needs no encoding.
fn is_parameter(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~-".contains(&byte))
}

record! {
    /// One route.
    RouteRecord {
        /// The template that the path of a request must match.
        path!required: Template,
        /// The methods that the route matches; every method by default.
        methods: alloc::vec::Vec<Method>,
        /// Request headers that must be present with exactly these values.
        headers: Map<Token>,
        /// The API that requests of the route use; by default that of a provider's path, and `plain` for other paths.
        api: Present<Api>,
        /// The target of every request of the route. A request that names another model in its path, query or body is rejected
        /// (`model_mismatch`).
        target: Present<TargetName>,
        /// The place of the target's name in a request; by default `{model}` in the path, or `model` in the body.
        model: Present<ModelSource>,
        /// `true` forwards requests without a key; `false` by default.
        public: bool,
        /// `allow` forwards protocol upgrades also if a token limit or a budget applies, which cannot meter them.
        unmetered: AllowUnmetered,
    }
}

/// The prefix of the management API's paths.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PathPrefix(pub alloc::boxed::Box<str>);

const PATH_PREFIX: &str = "a path of literal segments such as `/tollgate/v1`, without `/` at the end";

impl FromNode for PathPrefix {
    #[allow(clippy::wildcard_enum_match_arm, reason = "every other JSON type is an error")]
    fn read(node: Node, report: &mut Diagnostics) -> Option<Self> {
        match &node {
            Node::String(text)
                if template(text).is_some_and(|segments| {
                    !segments.is_empty() && segments.iter().all(|one| matches!(one, Segment::Literal(_)))
                }) =>
            {
                Some(PathPrefix(text.as_str().into()))
            }
            _ => {
                report.error(DiagnosticKind::Expected { expected: PATH_PREFIX, found: node.describe() });
                None
            }
        }
    }

    #[cfg(feature = "schema")]
    fn schema() -> serde_json::Value {
        serde_json::json!({ "type": "string", "pattern": "^(/[^/{}*?#%]+)+$", "description": PATH_PREFIX })
    }
}

record! {
    /// The metadata with the payload of a verified JWT.
    JwtRecord {
        /// The value of `payload_in_metadata` in the proxy's JWT filter.
        metadata!required: Token,
        /// The claim with the user's id; `sub` by default.
        claim: Token,
    }
}

record! {
    /// The management API of this gateway.
    ManageRecord {
        /// `false` turns the management API off; `true` by default.
        enabled: bool,
        /// The prefix of the management API's paths; `/tollgate/v1` by default.
        prefix: PathPrefix,
        /// Verified JWTs that identify callers; without it only user tokens do.
        jwt: JwtRecord,
    }
}

impl ManageRecord {
    /// Returns the settings; `None` if the API is turned off.
    pub fn settings(self) -> Option<AdminConfig> {
        if self.enabled == Some(false) {
            return None;
        }
        let jwt = self.jwt.and_then(|jwt| {
            Some(JwtConfig {
                metadata: jwt.metadata?.0,
                claim: jwt.claim.map_or_else(|| "sub".into(), |claim| claim.0),
            })
        });
        let prefix = self.prefix.map_or_else(|| AdminConfig::default().prefix, |prefix| prefix.0);
        Some(AdminConfig { prefix, jwt })
    }
}

record! {
    /// The metrics of this gateway.
    MetricsRecord {
        /// The maximum number of teams with series of their own, 1,000 by default: counted from the start of the process, since
        /// a proxy never forgets a name. All other teams are counted together as `other`.
        max_teams: Count,
    }
}

record! {
    /// The etcd cluster that a fleet of gateways shares.
    FleetRecord {
        /// The proxy's name for etcd: a cluster in Envoy.
        cluster!required: DisplayText,
        /// The prefix of the keys in etcd; `tollgate/1/` by default.
        prefix: Prefix,
        /// The etcd user, if etcd requires authentication.
        user: DisplayText,
        /// The password of the etcd user. Hosts show configurations, as Envoy's `/config_dump` does: prefer `password_env`.
        password: DisplayText,
        /// The counters of limits and budgets: `shared` by all gateways with this etcd (the default), or `own` of each gateway,
        /// which then admits the whole of every limit. All gateways with one prefix need the same setting.
        counters: CounterSharing,
        /// The environment variable that holds the password. In Envoy it must be one of
        /// `vm_config.environment_variables.host_env_keys`, which shows the names of variables and not their values.
        password_env: VariableName,
    }
}

impl FleetRecord {
    /// Returns the settings, if the record is complete.
    pub fn settings(self, report: &mut Diagnostics) -> Option<EtcdConfig> {
        let password = match (self.password, self.password_env) {
            (Some(password), None) => Some(Password::Text(password.0)),
            (None, Some(variable)) => Some(Password::Variable(variable.0)),
            (None, None) => None,
            (Some(_), Some(_)) => {
                report.within("password_env", |report| {
                    let both = "`password` or `password_env`".to_string();
                    report.error(DiagnosticKind::Expected { expected: "one password", found: both });
                });
                None
            }
        };
        let login = match (self.user, password) {
            (Some(user), Some(password)) => Some((user.0, password)),
            (None, None) => None,
            (Some(_), None) => {
                report.error(DiagnosticKind::Missing("password_env"));
                None
            }
            (None, Some(_)) => {
                report.error(DiagnosticKind::Missing("user"));
                None
            }
        };
        let prefix = self.prefix.map_or_else(|| DEFAULT_PREFIX.into(), |prefix| prefix.0);
        let counters = self.counters.unwrap_or_default();
        Some(EtcdConfig { cluster: self.cluster?.0, prefix, login, counters })
    }
}
