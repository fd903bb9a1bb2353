//! The command `tollgate import`: adds keys that another gateway stores as SHA-256 digests to a policy file.

mod rows;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::Args;
use serde_json::{Value, json};
use tollgate_core::policy::{Change, Diagnostic, Policy, PolicyHandle, Section};
use tollgate_core::secret::api_key;
use tollgate_core::time::Timestamp;

use self::rows::{Row, RowsError};
use super::document::{Document, LoadError};
use super::fleet::text;
use super::pull::write;
use super::say;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Arguments {
    /// The keys: CSV with a header line, or JSON Lines (`.jsonl`). The columns are `id` and a key's fields in
    /// a policy; nested fields are written as `limits.rpm`. Only `digest` is required, with or without
    /// `sha256:`.
    keys: PathBuf,
    /// The policy file to change. It is rewritten with its records sorted.
    #[arg(long, value_name = "FILE")]
    policy: PathBuf,
    /// The team of keys that name none.
    #[arg(long, value_name = "ID")]
    team: Option<String>,
    /// Write the changes that are shown. Without it nothing is written.
    #[arg(long)]
    yes: bool,
}

/// An error that prevents the import.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error(transparent)]
    Load(#[from] LoadError),
    #[error(transparent)]
    Rows(#[from] RowsError),
    #[error("{}: a gateway configuration; `import` writes policies", .0.display())]
    Configuration(PathBuf),
    #[error("line {line}: the same key or the same `id` as in line {first}")]
    Repeated { line: u64, first: u64 },
    #[error("line {line}: the policy has another key `{id}`: choose another `id`")]
    Taken { line: u64, id: String },
    #[error("{}: {error}", path.display())]
    File { path: PathBuf, error: std::io::Error },
}

/// The result of reading a file of keys.
#[derive(Debug, Default)]
struct Import {
    change: Change,
    /// The source line of each key, by id.
    lines: BTreeMap<String, u64>,
    /// The number of keys that the policy already contains, regardless of their other fields.
    known: usize,
}

/// Shows the new keys, validates them within the policy, and writes it. The exit code is 1 if something is
/// wrong, or if there are new keys and they were only shown.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let path = &arguments.policy;
    let policy = match Document::load(path)?.0 {
        Document::Policy(policy) => policy,
        Document::Gateway(_) => return Err(Error::Configuration(path.clone())),
    };
    let rows = rows::read(&arguments.keys)?;
    let import = Import::of(rows, &policy.read(), arguments.team.as_deref())?;
    let (change, new) = (&import.change, import.lines.len());
    let keys = number(new);
    let known = match import.known {
        0 => String::new(),
        known => format!(", {} already there", number(known)),
    };
    let applied = policy.change(|policy| policy.try_change(change).and_then(|_| policy.apply(change)));
    match applied.unwrap_or_else(|| Err(Vec::new())) {
        Ok(()) => show(&import),
        Err(findings) => {
            findings.iter().for_each(|finding| say!("{}", import.describe(finding)));
            eprintln!("{}: nothing is written: {keys} do not form a valid policy with it", path.display());
            return Ok(ExitCode::FAILURE);
        }
    }
    if new == 0 {
        eprintln!("{}: nothing is new{known}", path.display());
        return Ok(ExitCode::SUCCESS);
    }
    if !arguments.yes {
        eprintln!("{keys} would be added{known}; nothing is written without `--yes`");
        return Ok(ExitCode::FAILURE);
    }
    save(path, &policy)?;
    eprintln!("{}: {keys} added{known}", path.display());
    Ok(ExitCode::SUCCESS)
}

impl Import {
    fn of(rows: Vec<Row>, policy: &Policy, team: Option<&str>) -> Result<Import, Error> {
        let mut import = Import::default();
        for Row { line, id, digest, mut record } in rows {
            // At the start of time no earlier digest has expired.
            let early = Timestamp(0);
            if digest.is_some_and(|digest| policy.key_by_digest(&digest, early).is_some()) {
                import.known += 1;
                continue;
            }
            // Importing the same keys again yields the same names.
            let id = id.unwrap_or_else(|| match digest {
                Some(digest) => {
                    let name = api_key::format_digest(&api_key::digest(&digest));
                    format!("imported-{}", &name["sha256:".len()..][..16])
                }
                None => format!("line-{line}"),
            });
            if policy.keys.find(&id).is_some() {
                return Err(Error::Taken { line, id: discreet(&id) });
            }
            if let Some(first) = import.lines.insert(id.clone(), line) {
                return Err(Error::Repeated { line, first });
            }
            if let Some(team) = team {
                record.entry("team").or_insert_with(|| json!(team));
            }
            import.change.put(Section::Keys, &id, Value::Object(record));
        }
        Ok(import)
    }

    /// Formats a finding with its source line.
    fn describe(&self, finding: &Diagnostic) -> String {
        let id = finding.pointer.strip_prefix("/keys/").and_then(|rest| rest.split('/').next());
        let line = id.and_then(|id| self.lines.get(id)).map(|line| format!("line {line}: "));
        discreet(&format!("{}{finding}", line.unwrap_or_default()))
    }
}

fn show(import: &Import) {
    for edit in &import.change.edits {
        let field = |name: &str| edit.record.as_ref().and_then(|record| record[name].as_str());
        let mut words = format!("+ keys/{}: team {}", edit.id, field("team").unwrap_or_default());
        for name in ["owner", "name"] {
            if let Some(value) = field(name) {
                words += &format!(", {name} {value}");
            }
        }
        say!("{}", discreet(&words));
    }
}

fn save(path: &Path, policy: &PolicyHandle) -> Result<(), Error> {
    write(path, &text(&policy.read())).map_err(|error| Error::File { path: path.to_owned(), error })
}

fn number(keys: usize) -> String {
    if keys == 1 { "1 key".to_owned() } else { format!("{keys} keys") }
}

/// Redacts a possible digest, or a secret in the wrong column.
fn discreet(line: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "-_+/=.".contains(c);
    let mut shown = String::new();
    let mut rest = line;
    while let Some(begin) = rest.find(is_part) {
        let (before, after) = rest.split_at(begin);
        let (word, after) = after.split_at(after.find(|c| !is_part(c)).unwrap_or(after.len()));
        let longest = word.split(['/', '.']).map(str::len).max().unwrap_or_default();
        shown += before;
        shown += if longest >= 32 { "…" } else { word };
        rest = after;
    }
    shown + rest
}
