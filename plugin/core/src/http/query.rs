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

/// Names of parameters that name a model: of realtime APIs, of Azure, and of routers that take members of the body from the query.
pub(crate) const MODELS: [&str; 9] = [
    "model",
    "deployment",
    "models",
    "model_id",
    "model_name",
    "deployment_id",
    "engine",
    "fallbacks",
    "target_model_names",
];

/// Returns the models that a query names, in any spelling that a server may read. A value that cannot be decoded is returned as
/// it is, and names no target.
pub(crate) fn models(target: &str) -> Vec<String> {
    let is_model = |parameter: &QueryParameter<'_>| {
        parameter.name().is_some_and(|name| MODELS.iter().any(|known| may_be(&name, known)))
    };
    let value = |parameter: QueryParameter<'_>| {
        parameter.value().unwrap_or(Cow::Borrowed(parameter.value)).into_owned()
    };
    pieces(target).filter(is_model).map(value).collect()
}

/// Returns true if the query of a request target may have a parameter with this name.
pub(crate) fn has(target: &str, name: &str) -> bool {
    pieces(target).any(|parameter| parameter.name().is_none_or(|other| may_be(&other, name)))
}

/// Returns the parameters of a request target that any server may read: some take `;` for a separator too.
fn pieces(target: &str) -> impl Iterator<Item = QueryParameter<'_>> {
    let (_, query) = split(target);
    query.into_iter().flat_map(|query| query.split(';').flat_map(parameters))
}

/// Returns true for a parameter that may be read as more than one, or that cannot be decoded.
pub(crate) fn is_ambiguous(parameter: &QueryParameter<'_>) -> bool {
    parameter.text.contains(';') || parameter.name().is_none() || parameter.value().is_none()
}

/// Returns a request target without the parameters that are not kept; `None` if all are.
pub(crate) fn retain(target: &str, keeps: impl Fn(&QueryParameter<'_>) -> bool) -> Option<String> {
    let (path, query) = split(target);
    let query = query?;
    if parameters(query).all(|parameter| keeps(&parameter)) {
        return None;
    }
    let mut kept = String::from(path);
    for (position, parameter) in parameters(query).filter(|parameter| keeps(parameter)).enumerate() {
        kept.push(if position == 0 { '?' } else { '&' });
        kept.push_str(parameter.text);
    }
    Some(kept)
}

/// Returns true if a server may read a parameter as the one with this name: some ignore case and white space, end at a
/// NUL, or read `name[]` and `name[0]` as `name`.
fn may_be(parameter: &str, name: &str) -> bool {
    let stem = parameter.split(['[', '\0']).next().unwrap_or_default();
    stem.trim().eq_ignore_ascii_case(name)
}

/// Servers may read another value of a parameter, or another parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ambiguous;

/// Returns the value of the one parameter with this name; `None` without any, or if it is empty.
///
/// # Errors
/// [`Ambiguous`] for two of them, for another case of the name, which some servers read as the same, for `;`, which some
/// take for a separator, for `+`, which some take for a space, for control characters, and for invalid encoding.
pub(crate) fn one_value(query: &str, name: &str) -> Result<Option<String>, Ambiguous> {
    let mut found = None;
    for parameter in parameters(query) {
        let Some(other) = parameter.name() else { return Err(Ambiguous) };
        if !may_be(&other, name) {
            continue;
        }
        let value = parameter.value().filter(|value| !value.contains(|c: char| c.is_control()));
        let is_plain = *other == *name && !parameter.text.contains('+');
        match value {
            Some(value) if is_plain && found.is_none() => found = Some(value.into_owned()),
            _ => return Err(Ambiguous),
        }
    }
    if query.contains(';') {
        return Err(Ambiguous);
    }
    Ok(found.filter(|value| !value.is_empty()))
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

    #[test]
    fn a_value_that_servers_may_read_differently_is_ambiguous() {
        let one = |query| one_value(query, "model");
        assert_eq!(one("a=b&model=gpt%2D5"), Ok(Some("gpt-5".into())));
        assert_eq!(one("models=b&xmodel=c&a=b"), Ok(None));
        for none in ["", "model", "model=", "a&b"] {
            assert_eq!(one(none), Ok(None), "{none}");
        }
        for query in [
            "model=a&model=a",
            "model=a&model=b",
            "model=a&Model=b",
            "MODEL=a",
            "model=a&mod%65l=b",
            "model=a&model[]=b",
            "model[0]=b",
            "model=a&%20model=b",
            "model=a&model%00x=b",
            "model=a+b",
            "model=a%00b",
            "model=a%0Ab",
            "model=%zz",
            "%zz=a&model=a",
            "x=1;model=b&model=a",
            "model=a&x=1;y=2",
        ] {
            assert_eq!(one(query), Err(Ambiguous), "{query}");
        }
    }
}
