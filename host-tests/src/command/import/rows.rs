//! Files of keys: CSV and JSON Lines, each row a key as a policy writes it.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};
use tollgate_core::json::node::Node;
use tollgate_core::policy::load::FromNode as _;
use tollgate_core::policy::{DiagnosticKind, Diagnostics, PolicyLoader};
use tollgate_core::secret::api_key::Digest;

/// One key of a file.
#[derive(Debug)]
pub struct Row {
    /// Where it stands, from 1.
    pub line: u64,
    /// What it is to be called in the policy.
    pub id: Option<String>,
    /// Its digest, if it is one.
    pub digest: Option<Digest>,
    /// Its record, as far as the file says.
    pub record: Map<String, Value>,
}

/// Why there are no rows. What stands in a file is never repeated: it may be a secret in the wrong place.
#[derive(Debug, thiserror::Error)]
pub enum RowsError {
    #[error("{}: {error}", path.display())]
    Unreadable { path: PathBuf, error: io::Error },
    #[error("{}: of an unknown kind: `.csv` or `.jsonl`", .0.display())]
    Kind(PathBuf),
    #[error("there is no column `digest`: the first line names the columns, among them {FIELDS}")]
    NoDigest,
    #[error("line {0}: another number of columns than the first line, or no UTF-8")]
    Csv(u64),
    #[error("the first line names a column twice: keep one")]
    Column,
    #[error("line {0}: not a JSON object")]
    Json(u64),
    #[error("line {0}: a field stands there twice: keep one")]
    Twice(u64),
}

const FIELDS: &str =
    "id, digest, team, owner, name, hint, expires_at, state, limits.rpm, budget.max, budget.period";

/// Reads a file of keys, by its ending.
pub fn read(path: &Path) -> Result<Vec<Row>, RowsError> {
    let bytes =
        std::fs::read(path).map_err(|error| RowsError::Unreadable { path: path.to_owned(), error })?;
    match path.extension().and_then(|ending| ending.to_str()) {
        Some("csv") => csv(&bytes),
        Some("jsonl" | "ndjson") => json_lines(&bytes),
        _ => Err(RowsError::Kind(path.to_owned())),
    }
}

fn csv(bytes: &[u8]) -> Result<Vec<Row>, RowsError> {
    let at = |error: &csv::Error| error.position().map_or(1, csv::Position::line);
    let mut reader = csv::ReaderBuilder::new().trim(csv::Trim::All).from_reader(bytes);
    let columns = reader.headers().map_err(|error| RowsError::Csv(at(&error)))?.clone();
    if !columns.iter().any(|column| column == "digest") {
        return Err(RowsError::NoDigest);
    }
    let mut names: Vec<&str> = columns.iter().collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair[0] == pair[1]) {
        return Err(RowsError::Column);
    }
    let mut rows = Vec::new();
    for cells in reader.records() {
        let cells = cells.map_err(|error| RowsError::Csv(at(&error)))?;
        let mut record = Map::new();
        for (column, cell) in columns.iter().zip(&cells).filter(|(_, cell)| !cell.is_empty()) {
            put(&mut record, column, column, cell);
        }
        rows.push(Row::new(cells.position().map_or(0, csv::Position::line), record));
    }
    Ok(rows)
}

/// Puts a cell where its column's name says; `limits.rpm` is a field of a field.
fn put(record: &mut Map<String, Value>, column: &str, rest: &str, cell: &str) {
    match rest.split_once('.') {
        Some((field, rest)) => {
            let inner = record.entry(field).or_insert_with(|| Value::Object(Map::new()));
            if let Value::Object(inner) = inner {
                put(inner, column, rest, cell);
            }
        }
        None => {
            record.insert(rest.to_owned(), typed(column, cell));
        }
    }
}

/// A cell as JSON: limits are numbers, selections are lists with blanks between, all else is text.
fn typed(column: &str, cell: &str) -> Value {
    match column {
        "access.targets" | "access.access_groups" => {
            cell.split_whitespace().map(Value::from).collect::<Vec<_>>().into()
        }
        _ if column.starts_with("limits.") => {
            cell.parse::<u64>().map_or_else(|_| Value::from(cell), Value::from)
        }
        _ => Value::from(cell),
    }
}

fn json_lines(bytes: &[u8]) -> Result<Vec<Row>, RowsError> {
    let lines = (1..).zip(bytes.split(|byte| *byte == b'\n'));
    let lines = lines.filter(|(_, line)| !line.trim_ascii().is_empty());
    lines
        .map(|(number, line)| match serde_json::from_slice(line) {
            Ok(Value::Object(_)) if has_repeats(line) => Err(RowsError::Twice(number)),
            Ok(Value::Object(record)) => Ok(Row::new(number, record)),
            _ => Err(RowsError::Json(number)),
        })
        .collect()
}

/// Whether a name stands twice in a record, which a policy refuses: which of the two is meant nobody knows.
fn has_repeats(record: &[u8]) -> bool {
    let mut loader = PolicyLoader::default();
    [&br#"{"version": 1, "keys": {"k": "#[..], record, b"}}"].iter().for_each(|piece| loader.push(piece));
    loader
        .finish()
        .is_err_and(|findings| findings.iter().any(|finding| finding.kind == DiagnosticKind::Duplicate))
}

impl Row {
    fn new(line: u64, mut record: Map<String, Value>) -> Row {
        let id = match record.remove("id") {
            Some(Value::String(id)) => Some(id),
            Some(other) => Some(other.to_string()),
            None => None,
        };
        let mut digest = None;
        if let Some(Value::String(text)) = record.get_mut("digest") {
            if text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
                text.insert_str(0, "sha256:");
            }
            digest = Digest::read(Node::String(text.clone()), &mut Diagnostics::default());
        }
        Row { line, id, digest, record }
    }
}
