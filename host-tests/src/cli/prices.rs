//! The commands `tollgate prices import` and `tollgate prices check`: prices from a file, such as LiteLLM's public price map.

mod amount;
mod edit;
mod map;
mod offer;
mod plan;
mod table;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Subcommand};
use tollgate_core::policy::Severity;

use self::offer::{Offer, Reason};
use self::plan::{Plan, plan};
use self::table::TableError;
use super::document::{Document, LoadError};
use super::pull::replace;
use super::say;

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Take prices and maxima of tokens into the targets of a policy. Everything else of the file stays as it is written.
    Import(ImportArguments),
    /// Show the targets whose prices or maxima differ from those of a file.
    Check(Source),
}

#[derive(Debug, Args)]
#[group(skip)]
pub struct Source {
    /// The prices: LiteLLM's price map (JSON), or CSV with a column `target` and columns named as the fields of a target's
    /// price, in dollars as in a policy (`input`, `tiers.flex.input`, `above.input_tokens`, `above.input`, `max_input_tokens`, ...).
    prices: PathBuf,
    /// The policy, or the gateway configuration with one.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// Take prices of zero. Without it they count as unknown.
    #[arg(long)]
    free: bool,
    /// Only targets with this name; `*` stands for any text. Can be given several times.
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
}

#[derive(Debug, Args)]
#[group(skip)]
pub struct ImportArguments {
    #[command(flatten)]
    source: Source,
    /// Add targets that the policy does not have.
    #[arg(long)]
    create: bool,
    /// Write the changes that are shown. Without it nothing is written.
    #[arg(long)]
    yes: bool,
}

/// An error that prevents reading prices.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error("{}: {error}", path.display())]
    Table { path: PathBuf, error: TableError },
    #[error("{}: neither CSV (`.csv`) nor a JSON map of models with their `mode`", .0.display())]
    Kind(PathBuf),
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
}

/// Runs a command. The exit code is 1 if there are changes and they are only shown.
pub fn run(command: &Command) -> Result<ExitCode, Error> {
    let (source, create, writes) = match command {
        Command::Import(arguments) => (&arguments.source, arguments.create, arguments.yes),
        Command::Check(source) => (source, false, false),
    };
    let path = &source.policy;
    let text = read(path)?;
    Document::parse(text.as_bytes(), path)?;
    let is_selected =
        |name: &str| source.only.is_empty() || source.only.iter().any(|only| matches(only, name));
    let mut offers = offers(&source.prices, source.free)?;
    offers.retain(|offer| is_selected(&offer.name));
    let plan = plan(&text, &offers, |_| create).unwrap_or_default();
    show(&plan);
    let changes = plan.changes.len();
    if plan.edits.is_empty() {
        eprintln!("{}: nothing differs", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    let new = plan.edits.apply(&text);
    if let Err(error) = Document::parse(new.as_bytes(), path) {
        if let LoadError::Wrong { findings, .. } = &error {
            findings
                .iter()
                .filter(|finding| finding.severity == Severity::Error)
                .for_each(|finding| say!("{finding}"));
        }
        eprintln!("{}: nothing is written: the prices do not form a valid policy with it", path.display());
        return Ok(ExitCode::FAILURE);
    }
    if !writes {
        let hint =
            if matches!(command, Command::Import(_)) { "; nothing is written without `--yes`" } else { "" };
        eprintln!("{}: {} differ{hint}", path.display(), number(changes));
        return Ok(ExitCode::FAILURE);
    }
    replace(path, &new).map_err(|error| Error::File { path: path.clone(), error })?;
    eprintln!("{}: {} changed", path.display(), number(changes));
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path)
        .map_err(|error| LoadError::Unreadable { path: path.to_owned(), error }.into())
}

fn offers(path: &Path, free: bool) -> Result<Vec<Offer>, Error> {
    let text = read(path)?;
    if path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) {
        let table = table::read(text.as_bytes(), free);
        return table.map_err(|error| Error::Table { path: path.to_owned(), error });
    }
    map::node(text.as_bytes())
        .and_then(|map| map::read(&map, free))
        .ok_or_else(|| Error::Kind(path.to_owned()))
}

/// Returns true if a name has the form of a pattern, in which `*` stands for any text.
fn matches(pattern: &str, name: &str) -> bool {
    let Some((start, rest)) = pattern.split_once('*') else { return pattern == name };
    let Some(after) = name.strip_prefix(start) else { return false };
    (0..=after.len()).filter_map(|at| after.get(at..)).any(|after| matches(rest, after))
}

fn show(plan: &Plan) {
    for change in &plan.changes {
        let sign = if change.is_new { '+' } else { '~' };
        say!("{sign} targets/{}: {}", change.target, change.words.join(", "));
    }
    let mut reasons: BTreeMap<Reason, usize> = BTreeMap::new();
    for (target, left_out) in &plan.in_part {
        let fields: Vec<String> =
            left_out.iter().map(|(field, reason)| format!("{field} ({})", reason.text())).collect();
        say!("? targets/{target}: left out: {}", fields.join(", "));
        let mut each: Vec<Reason> = left_out.iter().map(|(_, reason)| *reason).collect();
        each.sort_unstable();
        each.dedup();
        each.into_iter().for_each(|reason| *reasons.entry(reason).or_default() += 1);
    }
    for (target, reason) in &plan.not_at_all {
        say!("! targets/{target}: no price: {}", reason.text());
    }
    let taken = plan.changes.len() + plan.same;
    eprintln!(
        "{} with a price in the file: {} whole, {} in part; {} without one; {} of the policy not in the file",
        number(taken),
        taken - plan.in_part.len(),
        plan.in_part.len(),
        plan.not_at_all.len(),
        plan.absent,
    );
    for (reason, count) in reasons {
        eprintln!("  in part {count}: {}", reason.text());
    }
    let mut none: BTreeMap<Reason, usize> = BTreeMap::new();
    plan.not_at_all.iter().for_each(|(_, reason)| *none.entry(*reason).or_default() += 1);
    for (reason, count) in none {
        eprintln!("  without {count}: {}", reason.text());
    }
    if plan.maxima > 0 {
        eprintln!(
            "warning: `max_input_tokens` of {}: reservations rely on it, and the file does not promise it. Input above it is charged, \
             and the access log says so",
            number(plan.maxima)
        );
    }
}

fn number(targets: usize) -> String {
    if targets == 1 { "1 target".to_owned() } else { format!("{targets} targets") }
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn a_star_stands_for_any_text() {
        for (pattern, name, is_one) in [
            ("gpt-5", "gpt-5", true),
            ("gpt-5", "gpt-5-mini", false),
            ("gpt-*", "gpt-5", true),
            ("*-mini", "gpt-5-mini", true),
            ("azure/*/gpt-*", "azure/eu/gpt-5", true),
            ("azure/*/gpt-*", "azure/gpt-5", false),
            ("*", "", true),
        ] {
            assert_eq!(matches(pattern, name), is_one, "{pattern} {name}");
        }
    }
}
