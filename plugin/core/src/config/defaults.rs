//! The default routes and key sources: LLM traffic at the providers' own paths.

use alloc::borrow::Cow;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::api::Api;
use crate::auth::credential::CredentialSource;
use crate::http::route::{ModelSource, Route, Segment, is_exact, matches};
use crate::llm::dialect::Dialect;

/// Requests of one API: paths below some bases.
#[derive(Debug)]
pub struct DefaultRoute {
    /// The beginnings of the path.
    pub bases: &'static [&'static str],
    /// The path behind each of them.
    pub path: &'static str,
    /// The methods; none: all.
    pub methods: &'static [&'static str],
    /// The API.
    pub api: Api,
    /// The source of the target's name.
    pub model: ModelSource,
}

/// OpenAI's API, Azure's version 1 of it, and Gemini's compatible one ("OpenAI compatibility" in its documentation).
pub const OPENAI: &[&str] = &["/v1", "/openai/v1", "/v1beta/openai"];

/// The API of a deployment in Azure.
pub const DEPLOYMENT: &[&str] = &["/openai/deployments/{model}"];

/// Gemini's API.
pub const GEMINI: &[&str] = &["/v1beta", "/v1"];

const AZURE: &[&str] = &["/openai"];
const V1: &[&str] = &["/v1"];
const GET: &[&str] = &["GET"];
const POST: &[&str] = &["POST"];
const ANY: &[&str] = &[];
/// An extended CONNECT (RFC 8441) opens a WebSocket too.
const WEBSOCKET: &[&str] = &["GET", "CONNECT"];
/// All that SDKs send, without the OPTIONS of browsers.
const OBJECTS: &[&str] = &["GET", "POST", "DELETE"];

const fn route(
    bases: &'static [&'static str],
    path: &'static str,
    methods: &'static [&'static str],
    api: Api,
) -> DefaultRoute {
    DefaultRoute { bases, path, methods, api, model: ModelSource::PathOrBody }
}

const fn websocket(bases: &'static [&'static str], parameter: &'static str) -> DefaultRoute {
    let model = ModelSource::Query(Cow::Borrowed(parameter));
    DefaultRoute { bases, path: "/realtime", methods: WEBSOCKET, api: Api::OpenAiRealtime, model }
}

/// The paths of the providers' API references, and of their SDKs: the `openai` and `anthropic` packages, `google-genai`,
/// `cohere` and `voyageai`. The first match wins, and paths without wildcards come before the others.
pub const ROUTES: &[DefaultRoute] = &[
    route(OPENAI, "/chat/completions", POST, Api::OpenAiChat),
    route(V1, "/messages", POST, Api::AnthropicMessages),
    route(OPENAI, "/responses", POST, Api::OpenAiResponses),
    route(AZURE, "/responses", POST, Api::OpenAiResponses),
    route(OPENAI, "/responses/compact", POST, Api::OpenAiResponses),
    route(OPENAI, "/responses/input_tokens", POST, Api::OpenAiCountTokens),
    route(OPENAI, "/completions", POST, Api::OpenAiCompletions),
    route(OPENAI, "/embeddings", POST, Api::OpenAiEmbeddings),
    route(V1, "/contextualizedembeddings", POST, Api::OpenAiEmbeddings),
    route(V1, "/multimodalembeddings", POST, Api::OpenAiEmbeddings),
    route(OPENAI, "/images/generations", POST, Api::OpenAiImages),
    route(OPENAI, "/images/edits", POST, Api::OpenAiImages),
    route(OPENAI, "/images/variations", POST, Api::OpenAiImages),
    route(OPENAI, "/audio/transcriptions", POST, Api::OpenAiAudio),
    route(OPENAI, "/audio/translations", POST, Api::OpenAiAudio),
    route(OPENAI, "/audio/speech", POST, Api::OpenAiAudio),
    route(OPENAI, "/moderations", POST, Api::OpenAiModerations),
    route(V1, "/messages/count_tokens", POST, Api::AnthropicCountTokens),
    route(&["/v1", "/v2", ""], "/rerank", POST, Api::Rerank),
    route(&["/v1", "/v1beta", "/openai/v1", "/v1beta/openai", "/openai"], "/models", GET, Api::Models),
    websocket(&["/v1", "/openai/v1"], "model"),
    websocket(AZURE, "deployment"),
    route(GEMINI, "/models/{model}:generateContent", POST, Api::GeminiGenerate),
    route(GEMINI, "/models/{model}:streamGenerateContent", POST, Api::GeminiGenerate),
    route(GEMINI, "/models/{model}:countTokens", POST, Api::GeminiCountTokens),
    route(GEMINI, "/models/{model}:embedContent", POST, Api::GeminiEmbed),
    route(GEMINI, "/models/{model}:batchEmbedContents", POST, Api::GeminiEmbed),
    route(DEPLOYMENT, "/chat/completions", POST, Api::OpenAiChat),
    route(DEPLOYMENT, "/completions", POST, Api::OpenAiCompletions),
    route(DEPLOYMENT, "/embeddings", POST, Api::OpenAiEmbeddings),
    route(DEPLOYMENT, "/images/generations", POST, Api::OpenAiImages),
    route(DEPLOYMENT, "/images/edits", POST, Api::OpenAiImages),
    route(DEPLOYMENT, "/audio/transcriptions", POST, Api::OpenAiAudio),
    route(DEPLOYMENT, "/audio/translations", POST, Api::OpenAiAudio),
    route(DEPLOYMENT, "/audio/speech", POST, Api::OpenAiAudio),
    route(&["/v1", "/v1beta", "/openai/v1", "/v1beta/openai", "/openai"], "/models/**", GET, Api::Models),
    // Objects that belong to an account at the provider.
    route(OPENAI, "/responses/**", OBJECTS, Api::StoredObjects),
    route(OPENAI, "/chat/completions/**", OBJECTS, Api::StoredObjects),
    route(V1, "/messages/batches/**", ANY, Api::StoredObjects),
    route(OPENAI, "/files/**", ANY, Api::StoredObjects),
    route(OPENAI, "/uploads/**", ANY, Api::StoredObjects),
    route(OPENAI, "/batches/**", ANY, Api::StoredObjects),
    route(OPENAI, "/conversations/**", ANY, Api::StoredObjects),
    route(OPENAI, "/vector_stores/**", ANY, Api::StoredObjects),
    route(OPENAI, "/assistants/**", ANY, Api::StoredObjects),
    route(OPENAI, "/threads/**", ANY, Api::StoredObjects),
    route(OPENAI, "/fine_tuning/**", ANY, Api::StoredObjects),
    route(OPENAI, "/models/**", &["DELETE"], Api::StoredObjects),
    route(OPENAI, "/containers/**", ANY, Api::StoredObjects),
    route(OPENAI, "/evals/**", ANY, Api::StoredObjects),
    route(OPENAI, "/videos/**", ANY, Api::StoredObjects),
    route(OPENAI, "/audio/voices/**", ANY, Api::StoredObjects),
    route(OPENAI, "/audio/voice_consents/**", ANY, Api::StoredObjects),
    route(V1, "/skills/**", ANY, Api::StoredObjects),
    route(V1, "/agents/**", ANY, Api::StoredObjects),
    route(V1, "/vaults/**", ANY, Api::StoredObjects),
    route(V1, "/sessions/**", ANY, Api::StoredObjects),
    route(V1, "/environments/**", ANY, Api::StoredObjects),
    route(V1, "/memory_stores/**", ANY, Api::StoredObjects),
    route(AZURE, "/responses/**", OBJECTS, Api::StoredObjects),
    route(AZURE, "/files/**", ANY, Api::StoredObjects),
    route(AZURE, "/batches/**", ANY, Api::StoredObjects),
    route(AZURE, "/vector_stores/**", ANY, Api::StoredObjects),
    route(AZURE, "/assistants/**", ANY, Api::StoredObjects),
    route(AZURE, "/threads/**", ANY, Api::StoredObjects),
    route(AZURE, "/fine_tuning/**", ANY, Api::StoredObjects),
    route(GEMINI, "/models/{model}:batchGenerateContent", ANY, Api::StoredObjects),
    route(GEMINI, "/models/{model}:asyncBatchEmbedContent", ANY, Api::StoredObjects),
    route(&["/v1beta"], "/files/**", ANY, Api::StoredObjects),
    route(&["/v1beta"], "/batches/**", ANY, Api::StoredObjects),
    route(GEMINI, "/cachedContents/**", ANY, Api::StoredObjects),
    route(GEMINI, "/fileSearchStores/**", ANY, Api::StoredObjects),
    route(GEMINI, "/tunedModels/**", ANY, Api::StoredObjects),
    route(GEMINI, "/corpora/**", ANY, Api::StoredObjects),
    route(GEMINI, "/operations/**", ANY, Api::StoredObjects),
    route(GEMINI, "/interactions/**", ANY, Api::StoredObjects),
    route(&["/upload", "/download", "/resumable/upload"], "/v1beta/**", ANY, Api::StoredObjects),
    // Credentials of the provider, and connections past the gateway.
    route(OPENAI, "/realtime/**", ANY, Api::DirectSessions),
    route(OPENAI, "/live/**", ANY, Api::DirectSessions),
    route(OPENAI, "/chatkit/**", ANY, Api::DirectSessions),
    route(AZURE, "/realtime/**", ANY, Api::DirectSessions),
    route(AZURE, "/realtimeapi/**", ANY, Api::DirectSessions),
    route(&["/v1alpha", "/v1beta"], "/auth_tokens/**", ANY, Api::DirectSessions),
];

/// Returns the default routes.
pub fn routes() -> Vec<Route> {
    let of_row = |row: &'static DefaultRoute| row.bases.iter().filter_map(move |base| expand(row, base));
    ROUTES.iter().flat_map(of_row).collect()
}

fn expand(row: &DefaultRoute, base: &str) -> Option<Route> {
    let path = template(&[base, row.path].concat())?;
    Some(Route {
        exact: is_exact(&path),
        path,
        methods: row.methods.iter().map(|method| Box::from(*method)).collect(),
        headers: [].into(),
        api: row.api,
        target: None,
        model: row.model.clone(),
        path_model: None,
        public: false,
        unmetered: false,
    })
}

/// Finds the API of a route with this path at the providers, and the model that the path names. `None` for other paths, and for APIs
/// whose bodies are not read.
pub fn provider_api(path: &[Segment]) -> Option<(Api, Option<String>)> {
    let text = text(path);
    let literal = path.iter().all(|segment| matches!(segment, Segment::Literal(_)));
    let read = ROUTES.iter().filter(|row| Dialect::of(row.api).reads_body);
    let mut known =
        read.flat_map(|row| row.bases.iter().map(move |base| ([base, row.path].concat(), row.api)));
    known.find_map(|(known, api)| {
        if known == text {
            return Some((api, None));
        }
        let model = literal.then(|| matches(&template(&known)?, &text, true)).flatten()?;
        Some((api, model))
    })
}

/// The text of a path template.
fn text(path: &[Segment]) -> String {
    let mut text = String::new();
    for segment in path {
        text.push('/');
        match segment {
            Segment::Literal(literal) => text.push_str(literal),
            Segment::Any => text.push('*'),
            Segment::Model { suffix } => {
                text.push_str("{model}");
                text.push_str(suffix);
            }
            Segment::Rest => text.push_str("**"),
        }
    }
    text
}

/// Returns the sources of keys of a configuration without `credentials`.
pub fn credentials() -> Vec<CredentialSource> {
    vec![
        CredentialSource::Scheme { header: "authorization".into(), scheme: "Bearer".into() },
        CredentialSource::Header("x-api-key".into()),
        CredentialSource::Header("api-key".into()),
        CredentialSource::Header("x-goog-api-key".into()),
        CredentialSource::Query("key".into()),
    ]
}

/// Reads a path template; `None` if it is invalid.
pub fn template(text: &str) -> Option<Box<[Segment]>> {
    let mut models = 0;
    let inner = text.strip_prefix('/')?;
    let mut segments = Vec::new();
    let mut parts = inner.split('/').peekable();
    while let Some(part) = parts.next() {
        let segment = match part {
            "" if inner.is_empty() => break,
            "" => return None,
            "*" => Segment::Any,
            "**" if parts.peek().is_none() => Segment::Rest,
            other => match other.strip_prefix("{model}") {
                Some(suffix) if !suffix.contains(['{', '}', '*']) => {
                    models += 1;
                    Segment::Model { suffix: suffix.into() }
                }
                None if !other.contains(['{', '}', '*', '?', '#', '%'])
                    && other.bytes().all(|b| b.is_ascii_graphic()) =>
                {
                    // Consecutive literals are matched as one.
                    if let Some(Segment::Literal(before)) = segments.last_mut() {
                        *before = (String::from(&**before) + "/" + other).into();
                        continue;
                    }
                    Segment::Literal(other.into())
                }
                _ => return None,
            },
        };
        segments.push(segment);
    }
    (models <= 1).then(|| segments.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_default_route_is_a_valid_template() {
        assert_eq!(routes().len(), ROUTES.iter().map(|row| row.bases.len()).sum::<usize>());
    }

    /// [`crate::http::route`] compares literal paths in a fast loop that ends at the first wildcard.
    #[test]
    fn paths_without_wildcards_come_first() {
        let is_literal = |route: &Route| matches!(&*route.path, [Segment::Literal(_)]);
        let routes = routes();
        let first = routes.iter().position(|route| !is_literal(route)).unwrap();
        assert!(!routes[first..].iter().any(is_literal));
        assert!(routes[..first].iter().all(|route| route.exact || *route.path == *template("/v1").unwrap()));
    }

    #[test]
    fn the_text_of_a_template_is_its_own_template() {
        for route in routes() {
            assert_eq!(template(&text(&route.path)), Some(route.path));
        }
    }

    #[test]
    fn the_api_and_the_model_of_a_providers_path_are_found() {
        let api = |path: &str| provider_api(&template(path).unwrap());
        assert_eq!(api("/v1/chat/completions"), Some((Api::OpenAiChat, None)));
        let deployed = api("/openai/deployments/gpt-5/chat/completions");
        assert_eq!(deployed, Some((Api::OpenAiChat, Some("gpt-5".into()))));
        let generating = api("/v1beta/models/{model}:generateContent");
        assert_eq!(generating, Some((Api::GeminiGenerate, None)));
        for other in ["/v1/models", "/v1/chat", "/v1/**", "/reports", "/"] {
            assert_eq!(api(other), None, "{other}");
        }
    }

    #[test]
    fn ambiguous_templates_are_invalid() {
        for text in [
            "v1",
            "/a//b",
            "/a/**/b",
            "/a*b",
            "/{name}",
            "/x{model}",
            "/{model}/{model}",
            "/a?b",
            "/a%20b",
            "/a/",
        ] {
            assert_eq!(template(text), None, "{text}");
        }
        assert_eq!(template("/").map(|segments| segments.len()), Some(0));
    }
}
