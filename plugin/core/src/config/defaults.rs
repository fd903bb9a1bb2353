//! The default routes and key sources: LLM traffic at the providers' own paths.

use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;

use crate::api::Api;
use crate::auth::credential::CredentialSource;
use crate::http::route::{Route, Segment, is_exact, matches};

/// The paths of the providers' API references; the first match wins.
const ROUTES: &[(&str, &[&str], Api)] = &[
    ("/v1/chat/completions", &["POST"], Api::OpenAiChat),
    ("/v1/completions", &["POST"], Api::OpenAiCompletions),
    ("/v1/responses", &["POST"], Api::OpenAiResponses),
    ("/v1/embeddings", &["POST"], Api::OpenAiEmbeddings),
    ("/v1/images/generations", &["POST"], Api::OpenAiImages),
    ("/v1/images/edits", &["POST"], Api::OpenAiImages),
    ("/v1/images/variations", &["POST"], Api::OpenAiImages),
    ("/v1/audio/transcriptions", &["POST"], Api::OpenAiAudio),
    ("/v1/audio/translations", &["POST"], Api::OpenAiAudio),
    ("/v1/audio/speech", &["POST"], Api::OpenAiAudio),
    ("/v1/messages", &["POST"], Api::AnthropicMessages),
    ("/v1/models", &["GET"], Api::Models),
    ("/v1/models/**", &["GET"], Api::Models),
    ("/openai/deployments/{model}/chat/completions", &["POST"], Api::OpenAiChat),
    ("/openai/deployments/{model}/completions", &["POST"], Api::OpenAiCompletions),
    ("/openai/deployments/{model}/embeddings", &["POST"], Api::OpenAiEmbeddings),
    ("/openai/deployments/{model}/images/generations", &["POST"], Api::OpenAiImages),
    ("/openai/deployments/{model}/audio/transcriptions", &["POST"], Api::OpenAiAudio),
    ("/openai/v1/responses", &["POST"], Api::OpenAiResponses),
    ("/openai/v1/chat/completions", &["POST"], Api::OpenAiChat),
    ("/v1beta/models/{model}:generateContent", &["POST"], Api::GeminiGenerate),
    ("/v1beta/models/{model}:streamGenerateContent", &["POST"], Api::GeminiGenerate),
    ("/v1/models/{model}:generateContent", &["POST"], Api::GeminiGenerate),
    ("/v1/models/{model}:streamGenerateContent", &["POST"], Api::GeminiGenerate),
];

/// Returns the routes of a configuration without `routes`.
pub fn routes() -> Vec<Route> {
    let route = |(path, methods, api): &(&str, &[&str], Api)| {
        let path = template(path)?;
        Some(Route {
            exact: is_exact(&path),
            path,
            methods: methods.iter().map(|method| Box::from(*method)).collect(),
            headers: [].into(),
            api: *api,
            target: None,
            model: None,
            public: false,
            unmetered: false,
        })
    };
    ROUTES.iter().filter_map(route).collect()
}

/// Finds the API of a route with this path at the providers, and the model that the path names. `None` for other paths, and for the
/// model list.
pub fn provider_api(path: &[Segment]) -> Option<(Api, Option<String>)> {
    let text = text(path);
    let literal = path.iter().all(|segment| matches!(segment, Segment::Literal(_)));
    ROUTES.iter().filter(|(_, _, api)| *api != Api::Models).find_map(|(known, _, api)| {
        if *known == text {
            return Some((*api, None));
        }
        let model = literal.then(|| matches(&template(known)?, &text, true)).flatten()?;
        Some((*api, model))
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
        assert_eq!(routes().len(), ROUTES.len());
    }

    #[test]
    fn the_text_of_a_template_is_its_own_template() {
        for (path, _, _) in ROUTES {
            assert_eq!(text(&template(path).unwrap()), *path);
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
