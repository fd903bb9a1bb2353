//! The parameters of a query that a call of an LLM may have.

use alloc::string::String;

use crate::auth::credential::CredentialSources;
use crate::http::query::{self, QueryParameter};
use crate::http::rejection::Rejection;
use crate::http::route::{ModelSource, Route};
use crate::http::spelling::METHOD_PARAMETERS;
use crate::llm::dialect::{Dialect, parameters};

/// Returns true for a parameter that the table of the route's API has, or that names a model: each of those is compared with the
/// target. APIs of the operator's have no table; of them no parameter is unknown that does not name another method.
pub(super) fn is_known(route: &Route, parameter: &QueryParameter<'_>) -> bool {
    let Some(table) = Dialect::of(route.api).parameters else {
        return parameter.name().is_none_or(|name| !METHOD_PARAMETERS.contains(&&*name));
    };
    if parameter.text.is_empty() {
        return true;
    }
    if query::is_ambiguous(parameter) {
        return false;
    }
    let (name, value) = (parameter.name().unwrap_or_default(), parameter.value().unwrap_or_default());
    let names_model = query::MODELS.contains(&&*name)
        || matches!(&route.model, ModelSource::Query(known) if **known == *name);
    names_model || parameters::has(table, &name, &value)
}

/// Returns the rejection of the first parameter that is neither known nor a source of keys.
pub(super) fn first_unknown(
    credentials: &CredentialSources,
    route: &Route,
    target: &str,
) -> Option<Rejection> {
    let (_, query) = query::split(target);
    let mut all = query::parameters(query?);
    let unknown =
        all.find(|parameter| !credentials.has_parameter(parameter) && !is_known(route, parameter))?;
    let name = unknown.name().map_or_else(|| String::from(unknown.text), |name| name.into_owned());
    Some(Rejection::UnknownParameter { name: name.into() })
}
