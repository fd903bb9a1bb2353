//! The routes of a configuration document.

use alloc::boxed::Box;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use super::defaults;
use super::records::RouteRecord;
use crate::api::Api;
use crate::http::route::{ModelSource, Route, Segment, is_exact};
use crate::json::node::Node;
use crate::llm::dialect::Dialect;
use crate::policy::diagnostic::{DiagnosticKind, Diagnostics};
use crate::policy::load::PolicyBuilder;
use crate::policy::load::value::{FromNode, Present};

/// Reads the list of routes, without those that have an error.
pub(super) fn read(node: Node, builder: &mut PolicyBuilder, report: &mut Diagnostics) -> Option<Vec<Route>> {
    let Node::Array(items) = node else {
        report.error(DiagnosticKind::Expected { expected: "an array", found: node.describe() });
        return None;
    };
    let routes = items.into_iter().enumerate().filter_map(|(position, item)| {
        report
            .within(&position.to_string(), |report| route(RouteRecord::read(item, report)?, builder, report))
    });
    Some(routes.collect())
}

fn route(record: RouteRecord, builder: &mut PolicyBuilder, report: &mut Diagnostics) -> Option<Route> {
    // A field that could not be read might have made another one unnecessary. The others are checked nevertheless.
    let known_api = !matches!(record.api, Some(Present(None)));
    let known_source = !matches!(record.model, Some(Present(None)));
    let path = record.path.map(|path| path.0);
    let methods: Box<[Box<str>]> =
        record.methods.unwrap_or_default().into_iter().map(|method| method.0).collect();
    let takes_post = methods.is_empty() || methods.iter().any(|method| **method == *"POST");
    let of_provider = path.as_ref().and_then(|path| defaults::provider_api(path)).filter(|_| takes_post);
    let api = match record.api {
        Some(api) => api.0.unwrap_or_default(),
        None => of_provider.as_ref().map(|(api, _)| *api).unwrap_or_default(),
    };
    let public = record.public.unwrap_or_default();
    let model = record.model.and_then(|model| model.0).unwrap_or_default();
    let in_path = path.as_deref().map(names_model);
    check_source(&model, in_path, api, known_api, report);
    let unnamed = known_source && in_path == Some(false) && model == ModelSource::PathOrBody;
    if unnamed && api == Api::Plain && known_api && !public && record.target.is_none() {
        report.error(DiagnosticKind::Missing("target"));
    }
    let target = record.target.and_then(|target| target.0);
    if let Some(target) = target.as_ref().filter(|_| !public) {
        let other_format = api == Api::Plain && known_api;
        warn_of_models(&target.0, of_provider.as_ref(), in_path == Some(true), other_format, report);
    }
    let pointer = format!("{}/target", report.place());
    let target = target.map(|name| builder.mention_target(&name.0, pointer));
    let headers = record.headers.unwrap_or_default().0.into_iter();
    let path = path?;
    Some(Route {
        exact: is_exact(&path),
        path,
        methods,
        headers: headers.map(|(name, value)| (name.to_ascii_lowercase().into(), value.0)).collect(),
        api,
        path_model: of_provider.and_then(|(_, model)| model.map(Box::from)),
        target,
        model,
        public,
        unmetered: record.unmetered.is_some(),
    })
}

/// Checks that requests can have the model where the route says; `in_path` is `None` for an invalid path.
fn check_source(
    model: &ModelSource,
    in_path: Option<bool>,
    api: Api,
    known_api: bool,
    report: &mut Diagnostics,
) {
    let expected = match (model, in_path) {
        (ModelSource::Path, Some(false)) => "another source: the path has no `{model}`",
        (ModelSource::Body | ModelSource::Query(_), Some(true)) => "another source: the path has a `{model}`",
        (ModelSource::Body, _) if known_api && !Dialect::of(api).reads_body => {
            "another source, or an `api` whose bodies are read"
        }
        (ModelSource::PathOrBody | ModelSource::Path | ModelSource::Body | ModelSource::Query(_), _) => {
            return;
        }
    };
    let found = model.describe();
    report.within("model", |report| report.error(DiagnosticKind::Expected { expected, found }));
}

/// Warns if requests of a route with a target may name another model: in the path of a provider's API, which is
/// `of_provider`, or in a body that is not read.
fn warn_of_models(
    target: &str,
    of_provider: Option<&(Api, Option<String>)>,
    in_path: bool,
    other_format: bool,
    report: &mut Diagnostics,
) {
    let pointer = format!("{}/target", report.place());
    let target = || target.to_string();
    let named = of_provider.and_then(|(_, model)| model.as_deref());
    if let Some(other) = named.filter(|model| **model != *target()) {
        let kind = DiagnosticKind::OtherModel { model: other.to_string(), target: target() };
        report.warning_at(pointer, kind);
    } else if in_path {
        report.warning_at(pointer, DiagnosticKind::OneModel { target: target() });
    }
    if let Some((api, _)) = of_provider.filter(|_| other_format) {
        let kind = DiagnosticKind::UnreadModel { target: target(), api: api.name() };
        report.warning_at(report.place().to_string(), kind);
    }
}

fn names_model(path: &[Segment]) -> bool {
    path.iter().any(|segment| matches!(segment, Segment::Model { .. }))
}
