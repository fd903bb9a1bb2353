//! `tollgate check`: everything that is wrong, one finding a line.

use std::path::PathBuf;
use std::process::ExitCode;

use tollgate_core::policy::{Diagnostic, Severity};

use super::document::{Document, LoadError};
use super::say;

/// Findings go to standard output, the summary of each file to standard error.
pub fn run(files: &[PathBuf]) -> ExitCode {
    let (mut wrong, mut unread) = (false, false);
    for path in files {
        let (kind, findings) = match Document::load(path) {
            Ok((document, warnings)) => (document.kind(), warnings),
            Err(LoadError::Wrong { findings, .. }) => ("document", findings),
            Err(error) => {
                // The others are checked all the same.
                eprintln!("tollgate: {error}");
                unread = true;
                continue;
            }
        };
        for finding in &findings {
            say!("{}: {finding}", path.display());
        }
        let errors = count(&findings, Severity::Error);
        let warnings = count(&findings, Severity::Warning);
        if errors == 0 {
            eprintln!("{}: a valid {kind}, {}", path.display(), number(warnings, "warning"));
        } else {
            eprintln!(
                "{}: not loadable, {} and {}",
                path.display(),
                number(errors, "error"),
                number(warnings, "warning")
            );
            wrong = true;
        }
    }
    match (unread, wrong) {
        (true, _) => ExitCode::from(2),
        (false, true) => ExitCode::FAILURE,
        (false, false) => ExitCode::SUCCESS,
    }
}

/// How many of them are of this severity.
pub fn count(findings: &[Diagnostic], severity: Severity) -> usize {
    findings.iter().filter(|finding| finding.severity == severity).count()
}

/// So many of them, in words.
pub fn number(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
