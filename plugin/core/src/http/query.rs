//! The query of a request target.

use alloc::borrow::Cow;
use alloc::string::String;
use alloc::vec::Vec;

use crate::text::ascii;
use crate::text::percent::decode;

/// One parameter of a query, as it is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct QueryParameter<'t> {
    /// The whole parameter; empty between two `&` in a row.
    pub(crate) text: &'t str,
    name: &'t str,
    value: &'t str,
}

impl<'t> QueryParameter<'t> {
    /// Returns the name; `None` for invalid percent-encoding.
    pub(crate) fn name(&self) -> Option<Cow<'t, str>> {
        decode(self.name)
    }

    /// Returns the value; `None` for invalid percent-encoding.
    pub(crate) fn value(&self) -> Option<Cow<'t, str>> {
        decode(self.value)
    }
}

/// Splits a request target into its path and its query, without the `?`.
pub(crate) fn split(target: &str) -> (&str, Option<&str>) {
    let end = ascii::position(b'?', target.as_bytes()).unwrap_or(target.len());
    let (path, query) = target.split_at_checked(end).unwrap_or((target, ""));
    (path, query.get(1..))
}

/// Returns the parameters of a query in order.
pub(crate) fn parameters(query: &str) -> impl Iterator<Item = QueryParameter<'_>> {
    query.split('&').map(|text| {
        let (name, value) = text.split_once('=').unwrap_or((text, ""));
        QueryParameter { text, name, value }
    })
}

/// Returns the models that a query names, as realtime APIs do: `model`, and Azure's `deployment`. A value that cannot be decoded is
/// returned as it is, and names no target.
pub(crate) fn models(target: &str) -> Vec<String> {
    let (_, query) = split(target);
    let is_model = |parameter: &QueryParameter<'_>| {
        parameter.name().is_some_and(|name| matches!(&*name, "model" | "deployment"))
    };
    let value = |parameter: QueryParameter<'_>| {
        parameter.value().unwrap_or(Cow::Borrowed(parameter.value)).into_owned()
    };
    query.map_or_else(Vec::new, |query| parameters(query).filter(is_model).map(value).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_is_split_at_its_first_question_mark() {
        for (target, split_at) in [
            ("/a", ("/a", None)),
            ("/a?", ("/a", Some(""))),
            ("/a?b=?&c", ("/a", Some("b=?&c"))),
            ("", ("", None)),
        ] {
            assert_eq!(split(target), split_at, "{target}");
        }
    }

    #[test]
    fn names_and_values_are_decoded_one_by_one() {
        let found: Vec<_> = parameters("%61=b%3D&&c&d==%").map(|it| (it.name(), it.value())).collect();
        let text = |text: &'static str| Some(Cow::Borrowed(text));
        assert_eq!(
            found,
            [(text("a"), text("b=")), (text(""), text("")), (text("c"), text("")), (text("d"), None)]
        );
    }
}
