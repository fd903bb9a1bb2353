//! The command `tollgate push`: copies a policy from a file to a fleet's etcd or a data folder.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::SystemTime;

use clap::Args;
use serde_json::{Value, json};
use tollgate_core::admin::audit::{AuditEntry, EntryKind};
use tollgate_core::etcd::{Changes, CommitOperation, Committed, MAX_BYTES, MAX_DOCUMENTS, entry_name};
use tollgate_core::policy::{Change, Document as Part, Edit, Policy};
use tollgate_core::time::Timestamp;
use tollgate_host::etcd::Etcd;

use super::document::Document;
use super::fleet::{Error, Place, Shown, between, nothing, over, read};
use super::write_out;

#[derive(Debug, Args)]
#[group(skip)]
pub struct Arguments {
    /// The policy, or a gateway configuration that contains one.
    file: PathBuf,
    #[command(flatten)]
    place: Place,
    /// Write the changes that are shown. Without it nothing is written.
    #[arg(long)]
    yes: bool,
}

/// A document and its content; `None` removes it.
type Content = (Part, Option<Value>);

/// Shows the changes to the place and applies them. The exit code is 1 if there is a difference and it was only
/// shown.
pub fn run(arguments: &Arguments) -> Result<ExitCode, Error> {
    let (file, _) = Document::load(&arguments.file)?;
    let place = &arguments.place;
    let etcd = &mut place.etcd()?;
    let loaded = read(etcd)?;
    let mut before = nothing();
    let change = over(&before, loaded.clone())?;
    before.apply(&change).map_err(Error::Foreign)?;

    let mut policy = Policy::clone(&file.policy());
    keep_created(&before, &mut policy)?;
    let documents = outdated(&loaded.documents, &policy);
    if documents.is_empty() {
        eprintln!("{place} already holds this policy");
        return Ok(ExitCode::SUCCESS);
    }
    write_out(format_args!("{}", Shown { before: &before, change: &between(&before, &policy)? }));
    if loaded.documents.is_empty() {
        eprintln!("{place} holds no policy yet");
    }
    if !arguments.yes {
        eprintln!("nothing is written without `--yes`");
        return Ok(ExitCode::FAILURE);
    }
    let revision = write(etcd, loaded.revision, &documents, "tollgate push")?;
    eprintln!("written: revision {revision}, {} documents", documents.len());
    Ok(ExitCode::SUCCESS)
}

/// Writes a policy over what was loaded.
pub(super) fn write_policy(
    etcd: &mut Etcd,
    loaded: &Changes,
    policy: &Policy,
    actor: &str,
) -> Result<(), Error> {
    write(etcd, loaded.revision, &outdated(&loaded.documents, policy), actor).map(|_| ())
}

/// Gives each record of the policy without a creation number that of its record in etcd: counters are named with it, and
/// a person who writes a file does not know it.
fn keep_created(held: &Policy, policy: &mut Policy) -> Result<(), Error> {
    let mut numbered = Change::default();
    for Edit { section, id, record, basis: _ } in between(held, policy)?.edits {
        let created = held.record(section, &id).and_then(|record| record.get("created").cloned());
        if let (Some(mut record), Some(created)) = (record, created)
            && let Some(fields) = record.as_object_mut()
            && !fields.contains_key("created")
        {
            fields.insert("created".to_owned(), created);
            numbered.put(section, &id, record);
        }
    }
    policy.apply(&numbered).map_err(Error::Foreign)
}

/// Returns the documents of etcd that differ from the policy. The catalog comes last: once it is written,
/// documents that etcd lacks count as deleted, so all others must exist before.
fn outdated(held: &[Content], policy: &Policy) -> Vec<Content> {
    let mut catalog = policy.document(&Part::Catalog).unwrap_or_else(|| json!({}));
    if let Some(fields) = catalog.as_object_mut() {
        fields.insert("complete".to_owned(), true.into());
    }
    let mut parts = policy.documents();
    parts.retain(|part| *part != Part::Catalog);
    let wanted: Vec<Content> = parts
        .into_iter()
        .map(|part| {
            let content = policy.document(&part);
            (part, content)
        })
        .chain([(Part::Catalog, Some(catalog))])
        .collect();
    let gone = held
        .iter()
        .filter(|(part, _)| wanted.iter().all(|(other, _)| other != part))
        .map(|(part, _)| (part.clone(), None));
    let found =
        |part: &Part| held.iter().find(|(other, _)| other == part).and_then(|(_, content)| content.as_ref());
    gone.chain(wanted.iter().cloned()).filter(|(part, content)| found(part) != content.as_ref()).collect()
}

/// Writes with as few transactions as etcd allows. Each succeeds only if there was no other write since the
/// one before.
fn write(etcd: &mut Etcd, mut revision: u64, documents: &[Content], actor: &str) -> Result<u64, Error> {
    let mut written = 0;
    for portion in portions(documents) {
        let time = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let time = Timestamp(u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
        let entry = AuditEntry {
            kind: EntryKind::Change,
            time,
            organization: None,
            organization_created: None,
            actor: actor.to_owned(),
            action: format!("push {} documents", portion.len()),
            status: 200,
            reason: None,
            before: None,
            after: Some(portion.iter().map(|(part, _)| part.to_string()).collect()),
        };
        let name = entry_name(time, getrandom::u64().map_err(Error::Random)?, &entry.actor);
        let commit = CommitOperation::new(
            etcd.keys(),
            revision,
            portion,
            (None, &name, &entry.to_json().to_string()),
        )?;
        match etcd.run(commit)? {
            Committed::Stored { revision: new } => revision = new,
            Committed::Conflict => return Err(Error::Overtaken(written)),
        }
        written += portion.len();
    }
    Ok(revision)
}

/// Splits documents into transactions. A document that is too large by itself gets its own, so that the
/// rejection names it.
fn portions(mut documents: &[Content]) -> Vec<&[Content]> {
    // Leaves room for the audit entry.
    const BYTES: usize = MAX_BYTES - 64 * 1024;
    let mut portions = Vec::new();
    while !documents.is_empty() {
        let mut bytes = 0;
        let fitting = documents
            .iter()
            .take(MAX_DOCUMENTS)
            .take_while(|(_, content)| {
                bytes += content.as_ref().map_or(4, |content| content.to_string().len());
                bytes <= BYTES
            })
            .count();
        let (portion, rest) = documents.split_at(fitting.max(1));
        portions.push(portion);
        documents = rest;
    }
    portions
}
