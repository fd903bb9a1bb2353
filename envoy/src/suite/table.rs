//! The table in README.md: a row for each case, a column for each host, written by the tests.

use std::fs;
use std::sync::{Mutex, PoisonError};

use super::Outcome;
use crate::shipped;

const BEGIN: &str =
    "<!-- Written by `TOLLGATE_WRITE_TABLES=1 cargo test -p tollgate-envoy --test suite`. -->\n";
const END: &str = "<!-- End of the generated table. -->";

/// The hosts, in the order of their columns.
const HOSTS: [&str; 5] =
    ["Envoy 1.40", "workerd", "wasmtime as Envoy", "as FastEdge (emulated)", "as a CDN plugin (emulated)"];

/// Compares the outcomes with the host's column, or writes them there if `TOLLGATE_WRITE_TABLES` is set.
///
/// # Panics
///
/// If the table differs.
pub fn hold(host: &str, outcomes: &[(&'static str, Outcome)]) {
    // The tests of all hosts write one file.
    static WRITING: Mutex<()> = Mutex::new(());
    let _writing = WRITING.lock().unwrap_or_else(PoisonError::into_inner);
    let path = shipped::folder().join("README.md");
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{error}"));
    let (before, rest) = text.split_once(BEGIN).unwrap_or_else(|| panic!("no {BEGIN} in README.md"));
    let (table, after) = rest.split_once(END).unwrap_or_else(|| panic!("no {END} in README.md"));
    let column =
        HOSTS.iter().position(|known| *known == host).unwrap_or_else(|| panic!("{host} has no column"));
    let fresh = with_column(table, column, outcomes);
    if fresh == table {
        return;
    }
    assert!(
        std::env::var_os("TOLLGATE_WRITE_TABLES").is_some(),
        "the table in envoy/README.md differs from the results of {host}:\n{fresh}\n{BEGIN}"
    );
    fs::write(&path, [before, BEGIN, &fresh, END, after].concat()).unwrap_or_else(|error| panic!("{error}"));
}

fn with_column(table: &str, column: usize, outcomes: &[(&'static str, Outcome)]) -> String {
    let known = |case: &str, column: usize| -> String {
        let row = table.lines().map(cells).find(|row| row.first().is_some_and(|name| *name == case));
        row.and_then(|row| row.get(column + 1).map(|cell| (*cell).to_owned()))
            .unwrap_or_else(|| "?".to_owned())
    };
    let mut lines =
        vec![format!("| | {} |", HOSTS.join(" | ")), format!("|---|{}", "---|".repeat(HOSTS.len()))];
    for (case, outcome) in outcomes {
        let cell = |at| match outcome {
            Outcome::NotTried => known(case, at),
            outcome if at == column => outcome.words().to_owned(),
            _ => known(case, at),
        };
        let row: Vec<_> = (0..HOSTS.len()).map(cell).collect();
        lines.push(format!("| {case} | {} |", row.join(" | ")));
    }
    lines.join("\n") + "\n"
}

fn cells(line: &str) -> Vec<&str> {
    line.trim_matches('|').split('|').map(str::trim).collect()
}
