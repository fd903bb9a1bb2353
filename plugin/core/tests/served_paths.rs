//! The table of README.md that lists the default routes.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::fmt::Write as _;
use std::fs;
use std::path::PathBuf;

use tollgate_core::api::Api;
use tollgate_core::config::{DEFAULT_ROUTES, DefaultRoute};
use tollgate_core::http::route::ModelSource;

const BEGIN: &str =
    "<!-- Written by `TOLLGATE_WRITE_TABLES=1 cargo test -p tollgate-core --test served_paths`. -->\n";
const END: &str = "<!-- End of the table of paths. -->";

const BY_USE: &str = "a request; tokens and money as the provider reports them";
const FREE: &str = "a request, no tokens and no money";
const NOT_SERVED: &str = "not served: 403";

/// The API's name in the configuration, the target that is checked, and the charge.
fn described(api: Api) -> (&'static str, &'static str, &'static str) {
    match api {
        Api::Plain => ("plain", "that of the route", "a request, and the price per request"),
        Api::OpenAiChat => ("openai-chat", "`model`", BY_USE),
        Api::OpenAiCompletions => ("openai-completions", "`model`", BY_USE),
        Api::OpenAiResponses => ("openai-responses", "`model`", BY_USE),
        Api::OpenAiCountTokens => ("openai-count-tokens", "`model`", FREE),
        Api::OpenAiEmbeddings => ("openai-embeddings", "`model`", BY_USE),
        Api::OpenAiImages => ("openai-images", "`model`", BY_USE),
        Api::OpenAiAudio => ("openai-audio", "`model`", BY_USE),
        Api::OpenAiModerations => ("openai-moderations", "`model`, or `omni-moderation-latest`", FREE),
        Api::OpenAiRealtime => (
            "openai-realtime",
            "`model` in the query (`deployment` below `/openai`)",
            "a request, and the price per request; 403 `upgrade_not_metered` under a token limit or budget",
        ),
        Api::AnthropicMessages => ("anthropic-messages", "`model`", BY_USE),
        Api::AnthropicCountTokens => ("anthropic-count-tokens", "`model`", FREE),
        Api::GeminiGenerate => ("gemini-generate", "the path's", BY_USE),
        Api::GeminiCountTokens => {
            ("gemini-count-tokens", "the path's, and that of the counted request", FREE)
        }
        Api::GeminiEmbed => ("gemini-embed", "the path's, and that of each request of a batch", BY_USE),
        Api::Rerank => ("rerank", "`model`", BY_USE),
        Api::Models => (
            "models",
            "the key alone",
            "nothing: the gateway responds, with the models that the key may call",
        ),
        Api::StoredObjects => ("stored-objects", "the key alone", NOT_SERVED),
        Api::DirectSessions => ("direct-sessions", "the key alone", NOT_SERVED),
    }
}

/// The paths of a route, with `BASE` and `GEMINI` for the bases that many share.
fn paths(route: &DefaultRoute) -> Vec<String> {
    let shared = [
        ("BASE", ["/v1", "/openai/v1", "/v1beta/openai"].as_slice()),
        ("GEMINI", ["/v1beta", "/v1"].as_slice()),
    ];
    let bases = match shared.iter().find(|(_, bases)| *bases == route.bases) {
        Some((name, _)) => vec![*name],
        None => route.bases.to_vec(),
    };
    bases.into_iter().map(|base| format!("`{base}{}`", route.path)).collect()
}

fn table() -> String {
    let mut table = String::from("| paths | API | target | charge |\n|---|---|---|---|\n");
    let mut apis = Vec::new();
    for route in DEFAULT_ROUTES {
        if !apis.contains(&route.api) {
            apis.push(route.api);
        }
    }
    for api in apis {
        let of_api = || DEFAULT_ROUTES.iter().filter(move |route| route.api == api);
        let mut groups: Vec<(&[&str], Vec<String>)> = Vec::new();
        for route in of_api() {
            match groups.iter_mut().find(|(methods, _)| *methods == route.methods) {
                Some((_, all)) => all.extend(paths(route)),
                None => groups.push((route.methods, paths(route))),
            }
        }
        let groups: Vec<_> = groups
            .into_iter()
            .map(|(methods, paths)| match methods {
                [] => format!("any method: {}", paths.join(", ")),
                methods => format!("{}: {}", methods.join(", "), paths.join(", ")),
            })
            .collect();
        let (name, target, charge) = described(api);
        assert_eq!(Api::named(name), Some(api));
        writeln!(table, "| {} | `{name}` | {target} | {charge} |", groups.join("; ")).unwrap();
    }
    table
}

#[test]
fn the_readme_lists_the_default_routes() {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the table has a begin");
    let (known, after) = rest.split_once(END).expect("and an end");
    let fresh = table();
    if known != fresh {
        assert!(
            std::env::var_os("TOLLGATE_WRITE_TABLES").is_some(),
            "README.md has another table:\n{fresh}\n{BEGIN}"
        );
        fs::write(&path, [before, BEGIN, &fresh, END, after].concat()).unwrap();
    }
}

#[test]
fn a_path_names_its_target_where_the_table_says() {
    for route in DEFAULT_ROUTES {
        let in_path =
            route.bases.iter().any(|base| base.contains("{model}")) || route.path.contains("{model}");
        let in_query = matches!(route.model, ModelSource::Query(_));
        assert!(!in_path || !in_query, "{route:?}");
        assert_eq!(in_query, route.api == Api::OpenAiRealtime, "{route:?}");
    }
}
