//! The parameters of the query of each API's requests: one table per API.
//!
//! A parameter in no table, or with another value than its table has, is unknown, and the gateway's `unknown_query` decides about
//! it. Parameters that name a model are not listed: each is compared with the target.
//!
//! Sources: the API references of Azure OpenAI, Anthropic and OpenAI, Google's "System parameters", and the providers' SDKs.

/// The values of a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Values {
    /// Letters, digits, and characters that separate nothing: of versions, of field masks and of ids.
    Text,
    /// One of these.
    OneOf(&'static [&'static str]),
}

use Values::{OneOf, Text};

/// A table of parameters.
pub(crate) type ParameterTable = &'static [(&'static str, Values)];

const FLAG: Values = OneOf(&["true", "false"]);

/// OpenAI's APIs, in which Azure has a version.
pub(super) const OPENAI: ParameterTable = &[("api-version", Text)];

/// `/v1/realtime`
pub(super) const REALTIME: ParameterTable = &[("api-version", Text), ("intent", Text)];

/// `/v1/messages`: the SDKs' `beta` namespace.
pub(super) const ANTHROPIC: ParameterTable = &[("beta", FLAG)];

/// Gemini's API. `callback` would wrap the response in a script, `access_token` name another account, and `$httpMethod` another
/// method.
pub(super) const GEMINI: ParameterTable = &[
    ("alt", FORMATS),
    ("$alt", FORMATS),
    ("fields", Text),
    ("$fields", Text),
    ("prettyPrint", FLAG),
    ("$prettyPrint", FLAG),
    ("quotaUser", Text),
    ("$quotaUser", Text),
    ("$.xgafv", OneOf(&["1", "2"])),
];

/// The formats of responses in which the usage can be read.
const FORMATS: Values = OneOf(&["json", "sse"]);

/// Returns true if a table has this parameter with this value; both are decoded.
pub(crate) fn has(table: ParameterTable, name: &str, value: &str) -> bool {
    let found = table.iter().find(|(known, _)| *known == name);
    found.is_some_and(|(_, values)| match values {
        Text => value.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._~,:()/*".contains(&byte)),
        OneOf(known) => known.contains(&value),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_parameter_is_known_by_its_exact_name_and_by_its_value() {
        for (table, name, value) in [
            (OPENAI, "api-version", "2024-10-01-preview"),
            (ANTHROPIC, "beta", "true"),
            (GEMINI, "alt", "sse"),
            (GEMINI, "$fields", "candidates(content/parts,finishReason),usageMetadata"),
            (REALTIME, "intent", "transcription"),
        ] {
            assert!(has(table, name, value), "{name}={value}");
        }
        for (table, name, value) in [
            (OPENAI, "API-Version", "1"),
            (OPENAI, "api-version", "1;model=x"),
            (OPENAI, "api-version", "1&model=x"),
            (OPENAI, "api-version", "1\u{e9}"),
            (OPENAI, "beta", "true"),
            (ANTHROPIC, "beta", "1"),
            (GEMINI, "alt", "proto"),
            (GEMINI, "callback", "f"),
        ] {
            assert!(!has(table, name, value), "{name}={value}");
        }
    }
}
