//! How one gateway uses the policy: its configuration, read and checked.

mod defaults;
mod load;
mod records;

#[cfg(feature = "schema")]
pub use load::schema;
pub use load::{Loader, MAX_BODY, PREFIX};

use alloc::boxed::Box;
use alloc::vec::Vec;

use crate::credential::Credentials;
use crate::identity::CellNames;
use crate::policy::{Live, Mode, TargetIx};

/// A gateway's whole configuration. Only `policy` is required; the defaults serve LLM traffic at the
/// providers' own paths.
#[derive(Debug)]
pub struct Gateway {
    /// The index; it changes under requests in flight.
    pub policy: Live,
    /// Where a key is looked for. Default: the headers and the query parameter that the providers' SDKs use.
    pub credentials: Credentials,
    /// First match wins. Default: the providers' own paths.
    pub routes: Vec<Route>,
    /// What happens to a request that no route names.
    pub unmatched: Unmatched,
    /// What happens when the cells cannot be asked.
    pub on_unavailable: OnTrouble,
    /// What happens when a swap was lost too often.
    pub on_contention: OnTrouble,
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
    pub cells: CellNames,
    /// The management API; `None`: switched off.
    pub manage: Option<Manage>,
    /// Where documents live that outlast the process; `None`: they live as long as it does.
    pub fleet: Option<Fleet>,
}

/// The management API of one gateway.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Manage {
    /// What its paths begin with. Default `/tollgate/v1`.
    pub prefix: Box<str>,
    /// Whose verified JWTs say who asks; `None`: user tokens only.
    pub jwt: Option<Jwt>,
}

impl Default for Manage {
    fn default() -> Self {
        Manage { prefix: "/tollgate/v1".into(), jwt: None }
    }
}

/// Where Envoy's own jwt_authn filter leaves the payload of a token that it has verified.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Jwt {
    /// Its `payload_in_metadata`.
    pub metadata: Box<str>,
    /// The claim that is the user's id. Default `sub`.
    pub claim: Box<str>,
}

/// The etcd that a fleet of gateways shares.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fleet {
    /// The host's name for it: a cluster in Envoy.
    pub cluster: Box<str>,
    /// What its keys begin with. Default `tollgate/1/`.
    pub prefix: Box<str>,
    /// User and password, where etcd's authentication is on.
    pub login: Option<(Box<str>, Box<str>)>,
}

/// One place in a request's head where a key may stand.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CredentialPlace {
    /// `{"header": "x-api-key"}`: the whole value.
    Header(Box<str>),
    /// `{"header": "authorization", "scheme": "Bearer"}`: what follows the scheme (RFC 9110, 11.4).
    Scheme {
        /// The header's name, lower case.
        header: Box<str>,
        /// The scheme, compared without case.
        scheme: Box<str>,
    },
    /// `{"query": "key"}`: a parameter of the query string.
    Query(Box<str>),
}

/// Which requests a route takes, and how their target is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its template, in segments.
    pub path: Box<[Segment]>,
    /// Whether a target may be compared with the path to the byte: what [`crate::route::is_exact`] says of it.
    pub exact: bool,
    /// Empty: every method.
    pub methods: Box<[Box<str>]>,
    /// Headers that must have exactly this value. Names in lower case.
    pub headers: Box<[(Box<str>, Box<str>)]>,
    /// The API spoken there: where target and usage stand, and the shape of refusals.
    pub api: Api,
    /// The target of every call there.
    pub target: Option<TargetIx>,
    /// No key is needed.
    pub public: bool,
    /// Upgrades pass although a token limit or a budget cannot govern them.
    pub unmetered: bool,
}

impl Route {
    /// Whether it takes requests of this method.
    pub fn takes(&self, method: &str) -> bool {
        self.methods.is_empty() || self.methods.iter().any(|known| **known == *method)
    }
}

/// A segment of a path template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Segment {
    /// `v1/chat`: one segment, or several in a row.
    Literal(Box<str>),
    /// `*`: any one segment.
    Any,
    /// `{model}` or `{model}:generateContent`: names the target.
    Model {
        /// What must follow the name within the segment; empty: nothing.
        suffix: Box<str>,
    },
    /// `**`, last only: any rest, also none.
    Rest,
}

/// An API as the field knows it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Api {
    /// `plain`: nothing is known of the bodies.
    #[default]
    Plain,
    /// `openai-chat`: `/v1/chat/completions`
    OpenAiChat,
    /// `openai-completions`: `/v1/completions`
    OpenAiCompletions,
    /// `openai-responses`: `/v1/responses`
    OpenAiResponses,
    /// `openai-embeddings`: `/v1/embeddings`
    OpenAiEmbeddings,
    /// `openai-images`: `/v1/images/*`
    OpenAiImages,
    /// `openai-audio`: `/v1/audio/*`
    OpenAiAudio,
    /// `anthropic-messages`: `/v1/messages`
    AnthropicMessages,
    /// `gemini-generate`: `/v1beta/models/{model}:generateContent` and `:streamGenerateContent`
    GeminiGenerate,
    /// `models`: the model list, answered by the filter itself.
    Models,
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
pub enum OnTrouble {
    /// 503 `limits_unavailable`.
    #[default]
    Deny,
    /// The request passes uncounted.
    Allow,
}

/// Which rate-limit headers answers carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HeaderStyle {
    /// `x-ratelimit-*`, as OpenAI sends them.
    #[default]
    OpenAi,
    /// `RateLimit` and `RateLimit-Policy` (draft-ietf-httpapi-ratelimit-headers).
    Ietf,
    /// Both families.
    Both,
    /// None but `x-tollgate-*` and `Retry-After`.
    None,
}
