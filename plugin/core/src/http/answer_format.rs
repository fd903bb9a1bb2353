//! The form in which the client of a request reads the filter's own responses.

use alloc::string::String;

use crate::api::{Api, Provider};
use crate::http::headers::Headers;
use crate::http::query;

/// The form of the filter's own responses to a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct AnswerFormat {
    /// The provider whose shapes the client reads.
    pub provider: Provider,
    /// The kind of gRPC that the client speaks, if it does.
    pub grpc: Option<Grpc>,
}

impl AnswerFormat {
    /// The format for a request to this target (path and query). `api`: that of its route; `Plain` without a route.
    pub fn of(api: Api, target: &str, head: &Headers<'_>) -> Self {
        let provider = api.provider().unwrap_or_else(|| provider_of(target, head));
        AnswerFormat { provider, grpc: Grpc::of(head) }
    }
}

/// The paths of a provider, up to a slash or their end, before those that they are within.
const PATHS: &[(&str, Provider)] = &[
    ("/v1/messages", Provider::Anthropic),
    ("/v1beta/openai", Provider::OpenAi),
    ("/v1beta", Provider::Gemini),
    ("/v1alpha", Provider::Gemini),
    ("/upload", Provider::Gemini),
    ("/download", Provider::Gemini),
    ("/resumable", Provider::Gemini),
    ("/ws", Provider::Gemini),
];

/// The provider that the client means: by the path or, where several have the same, by a header that only its SDKs send.
fn provider_of(target: &str, head: &Headers<'_>) -> Provider {
    let (path, _) = query::split(target);
    let is_within =
        |base: &str| path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'));
    if let Some((_, provider)) = PATHS.iter().find(|(base, _)| is_within(base)) {
        return *provider;
    }
    let has = |name| head.first(name).is_some();
    if has("anthropic-version") {
        Provider::Anthropic
    } else if has("x-goog-api-key") || has("x-goog-api-client") {
        Provider::Gemini
    } else {
        Provider::OpenAi
    }
}

/// Headers besides the credentials on which a local response depends.
pub const FORMAT_HEADERS: &str = "anthropic-version, x-goog-api-key, x-goog-api-client";

/// A kind of gRPC: its errors are HTTP 200 with a status in headers, and no body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Grpc {
    /// `application/grpc`: gRPC over HTTP/2.
    Native,
    /// `application/grpc-web`
    Web,
    /// `application/grpc-web-text`
    WebText,
}

impl Grpc {
    /// The kind that the content-type names: one of these, perhaps with `+` and a format, or with parameters.
    fn of(head: &Headers<'_>) -> Option<Self> {
        let value = head.first("content-type")?;
        let end =
            value.iter().position(|byte| matches!(byte, b'+' | b';' | b' ' | b'\t')).unwrap_or(value.len());
        let name = value.get(..end)?;
        let kinds = [Grpc::Native, Grpc::Web, Grpc::WebText];
        kinds.into_iter().find(|kind| name.eq_ignore_ascii_case(kind.content_type().as_bytes()))
    }

    /// The content-type of a response without messages.
    pub fn content_type(self) -> &'static str {
        match self {
            Grpc::Native => "application/grpc",
            Grpc::Web => "application/grpc-web",
            Grpc::WebText => "application/grpc-web-text",
        }
    }
}

/// The gRPC status for an HTTP status of a rejection (`google.rpc.Code`). A limit is RESOURCE_EXHAUSTED: clients that take
/// HTTP 429 for UNAVAILABLE would retry at once.
pub fn grpc_status(status: u16) -> u8 {
    match status {
        401 => 16,
        403 => 7,
        // UNIMPLEMENTED, as in gRPC's own mapping from HTTP.
        404 => 12,
        429 => 8,
        503 => 14,
        // INVALID_ARGUMENT
        _ => 3,
    }
}

/// Encodes a message for `grpc-message`: all but printable ASCII, and `%`, as bytes of UTF-8 ("PROTOCOL-HTTP2" of gRPC,
/// Percent-Encoded).
pub fn grpc_message(message: &str) -> String {
    const DIGITS: [char; 16] =
        ['0', '1', '2', '3', '4', '5', '6', '7', '8', '9', 'A', 'B', 'C', 'D', 'E', 'F'];
    let digit = |value: u8| DIGITS.get(usize::from(value)).copied().unwrap_or('0');
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        match byte {
            b' '..=b'~' if byte != b'%' => encoded.push(char::from(byte)),
            _ => encoded.extend(['%', digit(byte >> 4), digit(byte & 15)]),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_that_of_the_path_or_else_of_the_sdk() {
        let anthropic: &[(&[u8], &[u8])] = &[(b"anthropic-version", b"2023-06-01")];
        let gemini: &[(&[u8], &[u8])] = &[(b"x-goog-api-key", b"k")];
        let google: &[(&[u8], &[u8])] = &[(b"X-Goog-Api-Client", b"google-genai-sdk/3.6")];
        for (target, fields, provider) in [
            ("/v1/files", &[] as &[_], Provider::OpenAi),
            ("/v1/files", anthropic, Provider::Anthropic),
            ("/v1/models", gemini, Provider::Gemini),
            ("/v1/models", google, Provider::Gemini),
            ("/v1/messages", &[], Provider::Anthropic),
            ("/v1/messages?beta=true", &[], Provider::Anthropic),
            ("/v1/messages/batches/1", &[], Provider::Anthropic),
            ("/v1/messagesX", &[], Provider::OpenAi),
            ("/v1beta/cachedContents", anthropic, Provider::Gemini),
            ("/v1beta/openai/files", gemini, Provider::OpenAi),
            ("/v1beta", &[], Provider::Gemini),
            ("/v1beta2/x", &[], Provider::OpenAi),
            ("/upload/v1beta/files", &[], Provider::Gemini),
            ("", &[], Provider::OpenAi),
        ] {
            assert_eq!(
                AnswerFormat::of(Api::Plain, target, &Headers::new(fields)).provider,
                provider,
                "{target}"
            );
        }
        let of_api = AnswerFormat::of(Api::AnthropicMessages, "/claude", &Headers::new(gemini));
        assert_eq!(of_api.provider, Provider::Anthropic);
    }

    #[test]
    fn a_grpc_content_type_is_one_of_three_with_a_format_or_parameters() {
        for (value, grpc) in [
            ("application/grpc", Some(Grpc::Native)),
            ("application/grpc+proto", Some(Grpc::Native)),
            ("Application/GRPC+json; x=y", Some(Grpc::Native)),
            ("application/grpc;charset=utf-8", Some(Grpc::Native)),
            ("application/grpc-web", Some(Grpc::Web)),
            ("application/grpc-web+proto", Some(Grpc::Web)),
            ("application/grpc-web-text+proto", Some(Grpc::WebText)),
            ("application/grpcx", None),
            ("application/grpc-webs", None),
            ("application/json", None),
            ("", None),
        ] {
            let fields: &[(&[u8], &[u8])] = &[(b"content-type", value.as_bytes())];
            assert_eq!(Grpc::of(&Headers::new(fields)), grpc, "{value}");
        }
        assert_eq!(Grpc::of(&Headers::new(&[])), None);
    }

    #[test]
    fn a_grpc_message_has_only_printable_characters() {
        for (message, encoded) in [
            ("Try again in 12.001s. ~", "Try again in 12.001s. ~"),
            ("80 % of $1", "80 %25 of $1"),
            ("a…\n\u{7f}", "a%E2%80%A6%0A%7F"),
            ("", ""),
        ] {
            assert_eq!(grpc_message(message), encoded);
        }
    }
}
