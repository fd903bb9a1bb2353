//! The command `tollgate check`: reports every error and warning, one per line.

use std::path::PathBuf;
use std::process::ExitCode;

use tollgate_core::policy::{Diagnostic, Severity};

use super::document::{Document, LoadError};
use super::say;

/// Writes findings to standard output and the summary of each file to standard error.
pub fn run(files: &[PathBuf]) -> ExitCode {
    let (mut wrong, mut unread) = (false, false);
    for path in files {
        let (kind, findings) = match Document::load(path) {
            Ok((document, warnings)) => (document.kind(), warnings),
            Err(LoadError::Wrong { findings, .. }) => ("document", findings),
            Err(error) => {
                // Continue with the remaining files.
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

/// Returns the number of findings of this severity.
pub fn count(findings: &[Diagnostic], severity: Severity) -> usize {
    findings.iter().filter(|finding| finding.severity == severity).count()
}

/// Formats a count with its noun, such as `2 errors`.
pub fn number(count: usize, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}
