//! The value of a `content-type` field (RFC 9110, 8.3.1).

/// A media type, and its parameters as they are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MediaType<'v> {
    /// The type and the subtype; empty if the value is.
    pub(crate) essence: &'v str,
    /// The text after the first `;`.
    pub(crate) parameters: &'v str,
}

impl<'v> MediaType<'v> {
    /// The media type that a field value holds.
    pub(crate) fn of(value: &'v str) -> Self {
        let (essence, parameters) = value.split_once(';').unwrap_or((value, ""));
        Self { essence: essence.trim(), parameters }
    }

    /// Returns true for this type, in any case.
    pub(crate) fn is(&self, essence: &str) -> bool {
        self.essence.eq_ignore_ascii_case(essence)
    }

    /// Returns true for `application/json`, and for types with the suffix `+json` (RFC 6839).
    pub(crate) fn is_json(&self) -> bool {
        const SUFFIX: &[u8] = b"+json";
        let suffix = self.essence.as_bytes().last_chunk::<{ SUFFIX.len() }>();
        self.is("application/json") || suffix.is_some_and(|end| end.eq_ignore_ascii_case(SUFFIX))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_a_type_or_a_suffix_in_any_case() {
        for (value, json) in [
            ("application/json", true),
            (" Application/JSON ; charset=utf-8", true),
            ("application/problem+JSON", true),
            ("application/jsonl", false),
            ("text/plain; a=+json", false),
            ("", false),
        ] {
            assert_eq!(MediaType::of(value).is_json(), json, "{value}");
        }
    }
}
