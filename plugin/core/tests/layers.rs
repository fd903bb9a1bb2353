//! The order of the core's modules: a module uses only those before it in [`LAYERS`].
//!
//! The test reads the sources as `cargo fmt` writes them. Paths in comments and in `#[cfg(test)]` modules do not
//! count, so a lower layer's documentation may link to a higher layer.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The modules of `lib.rs`, lowest layer first.
const LAYERS: [&str; 22] = [
    "collections",
    "money",
    "time",
    "text",
    "secret",
    "json",
    "api",
    "quota",
    "counters",
    "admission",
    "fleet",
    "ledger",
    "policy",
    "llm",
    "http",
    "auth",
    "config",
    "admin",
    "exchange",
    "etcd",
    "leases",
    "replication",
];

/// One source file without comments and test modules.
struct Source {
    /// The path below `src`.
    path: String,
    /// The path's modules: `["policy", "load"]` for `policy/load/mod.rs`.
    modules: Vec<String>,
    lines: Vec<String>,
}

/// A use of another top-level module.
#[derive(Debug, PartialEq)]
struct Use {
    line: usize,
    /// The name after `crate::`.
    name: String,
}

fn source_folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("src")
}

fn sources() -> Vec<Source> {
    let root = source_folder();
    let mut folders = vec![root.clone()];
    let mut sources = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).unwrap();
                sources.push(Source::new(path.strip_prefix(&root).unwrap().to_str().unwrap(), &text));
            }
        }
    }
    sources
}

impl Source {
    fn new(path: &str, text: &str) -> Self {
        let modules = path.trim_end_matches(".rs").split('/').filter(|name| !["mod", "lib"].contains(name));
        let mut lines = Vec::new();
        // The line that closes the test module being skipped.
        let mut end: Option<String> = None;
        let mut is_test = false;
        for line in text.lines() {
            let code = line.split("//").next().unwrap_or_default();
            let word = code.trim_start();
            if let Some(closing) = &end {
                if code.trim_end() == closing {
                    end = None;
                }
                lines.push(String::new());
                continue;
            }
            if is_test && word.starts_with("mod ") && word.trim_end().ends_with('{') {
                end = Some(format!("{}}}", &code[..code.len() - word.len()]));
            }
            is_test =
                word.starts_with("#[cfg(test)]") || is_test && (word.is_empty() || word.starts_with("#["));
            lines.push(if end.is_some() { String::new() } else { code.to_owned() });
        }
        Self { path: path.to_owned(), modules: modules.map(str::to_owned).collect(), lines }
    }

    fn layer(&self) -> Option<&str> {
        self.modules.first().map(String::as_str)
    }

    /// Every path that starts at the crate's root: `crate::a`, `$crate::a`, the branches of `crate::{a, b}`, and
    /// chains of `super` that reach the root.
    fn uses(&self) -> Vec<Use> {
        let text = self.lines.join("\n");
        let to_root = "super::".repeat(self.modules.len());
        let mut uses = Vec::new();
        for prefix in ["crate::", to_root.as_str()].into_iter().filter(|prefix| !prefix.is_empty()) {
            for (at, _) in text.match_indices(prefix) {
                let is_start =
                    !text[..at].ends_with(|before: char| before.is_alphanumeric() || "_:".contains(before));
                if is_start {
                    let line = text[..at].matches('\n').count() + 1;
                    let names = first_names(&text[at + prefix.len()..]);
                    uses.extend(names.into_iter().map(|name| Use { line, name }));
                }
            }
        }
        uses
    }
}

/// The first identifier of each path of a use tree.
fn first_names(tree: &str) -> Vec<String> {
    let identifier = |path: &str| {
        let path = path.trim_start();
        path[..path.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(path.len())].to_owned()
    };
    let Some(branches) = tree.strip_prefix('{') else { return vec![identifier(tree)] };
    let mut names = Vec::new();
    let [mut depth, mut start] = [0_usize; 2];
    for (at, c) in branches.char_indices() {
        if matches!(c, ',' | '}') && depth == 0 {
            names.push(identifier(&branches[start..at]));
            start = at + 1;
        }
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            _ => {}
        }
    }
    names.retain(|name| !name.is_empty());
    names
}

/// The layer that defines each macro, since `#[macro_export]` moves a macro's path to the root.
fn macros(sources: &[Source]) -> BTreeMap<&str, &str> {
    let mut macros = BTreeMap::new();
    for source in sources {
        for line in &source.lines {
            if let (Some((_, rest)), Some(layer)) = (line.split_once("macro_rules! "), source.layer()) {
                macros.insert(rest.split(' ').next().unwrap(), layer);
            }
        }
    }
    macros
}

fn rank(layer: &str) -> Option<usize> {
    LAYERS.iter().position(|name| *name == layer)
}

#[test]
fn a_module_uses_only_the_layers_below_it() {
    let sources = sources();
    let macros = macros(&sources);
    let mut violations = Vec::new();
    let mut count = 0_usize;
    for source in &sources {
        let Some(layer) = source.layer() else { continue };
        for Use { line, name } in source.uses() {
            let used = macros.get(name.as_str()).copied().unwrap_or(&name);
            count += 1;
            if rank(used).is_none() || rank(used) > rank(layer) {
                violations.push(format!("{}:{line}: `{layer}` uses `{used}`", source.path));
            }
        }
    }
    assert!(violations.is_empty(), "not in the order of LAYERS:\n{}", violations.join("\n"));
    assert!(count > 200, "only {count} uses were found");
}

#[test]
fn every_module_has_a_layer() {
    let library = fs::read_to_string(source_folder().join("lib.rs")).unwrap();
    let mut modules: Vec<_> =
        library.lines().filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';')).collect();
    let mut layers = LAYERS.to_vec();
    modules.sort_unstable();
    layers.sort_unstable();
    assert_eq!(modules, layers);
}

/// The compiler then rejects clocks, files and sockets.
#[test]
fn the_core_is_no_std() {
    let library = fs::read_to_string(source_folder().join("lib.rs")).unwrap();
    assert!(library.lines().any(|line| line == "#![no_std]"));
    for source in sources() {
        let uses_std = |line: &&String| line.contains("std::") || line.contains("extern crate std");
        let uses: Vec<_> = source.lines.iter().filter(uses_std).collect();
        let allowed = if source.path == "lib.rs" { 1 } else { 0 };
        assert_eq!(uses.len(), allowed, "{}: {uses:?}", source.path);
    }
}

#[test]
fn uses_are_found_in_every_form() {
    let text = "\
use crate::json::Node;
use crate::{http::{self, route}, policy, time::Now as Present};
// crate::comment
/// [`crate::documentation`]
macro_rules! of { () => { $crate::llm::Usage } }
fn f(a: super::super::api::Api, b: my_crate::x, c: super::sibling::Type) -> crate::text::Text {}
#[cfg(test)]
mod tests {
    use crate::exchange::Exchange;
}
use crate::money::
    Usd;
";
    let source = Source::new("policy/model.rs", text);
    let mut uses: Vec<_> = source.uses().into_iter().map(|found| (found.line, found.name)).collect();
    uses.sort();
    let expected = [
        (1, "json"),
        (2, "http"),
        (2, "policy"),
        (2, "time"),
        (5, "llm"),
        (6, "api"),
        (6, "text"),
        (11, "money"),
    ];
    assert_eq!(uses, expected.map(|(line, name)| (line, name.to_owned())));
    assert_eq!(source.layer(), Some("policy"));
}
