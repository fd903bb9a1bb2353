//! The documents of a policy, and the change between two versions of them.

use alloc::collections::BTreeMap;
use alloc::string::{String, ToString};
use alloc::vec::Vec;

use serde_json::{Map, Value};

use crate::collections::sort::{once, sort};
use crate::policy::change::{Change, Document, Edit, Section};
use crate::policy::diagnostic::{Diagnostic, DiagnosticKind, Diagnostics};
use crate::policy::index::Policy;
use crate::policy::model::{TeamId, Unpriced};

/// The section and the id of a record.
type RecordName = (Section, String);

impl Policy {
    /// Returns the content of a document, a fragment of a policy document: `{"teams": {…}, "keys": {…}}`. `None` if
    /// it does not exist.
    pub fn document(&self, document: &Document) -> Option<Value> {
        let mut sections = Map::new();
        for (section, position) in self.positions_of(document) {
            if let Some(record) = self.record_at(section, position)
                && let Value::Object(records) =
                    sections.entry(section.name()).or_insert_with(|| Value::Object(Map::new()))
            {
                records.insert(self.name(section, position).to_string(), record);
            }
        }
        if *document == Document::Catalog && self.unpriced != Unpriced::default() {
            sections.insert("unpriced".to_string(), self.unpriced.name().into());
        }
        (!sections.is_empty()).then_some(Value::Object(sections))
    }

    /// Returns all documents of the policy, sorted.
    pub fn documents(&self) -> Vec<Document> {
        let mut all = Vec::new();
        if self.targets.iter().next().is_some() || self.unpriced != Unpriced::default() {
            all.push(Document::Catalog);
        }
        all.extend(self.organizations.iter().map(|(_, id, _)| Document::Organization(id.to_string())));
        all.extend(self.users.iter().map(|(_, id, _)| Document::User(id.to_string())));
        let teams = self.teams.iter().map(|(position, ..)| TeamId(position));
        // A removed team has a document as long as it has service accounts or keys.
        let of_accounts = self.service_accounts.iter().map(|(_, _, account)| account.team);
        let of_keys = self.keys.iter().map(|(_, _, key)| key.team);
        let mut teams: Vec<TeamId> = teams.chain(of_accounts).chain(of_keys).collect();
        once(&mut teams);
        all.extend(teams.into_iter().map(|team| Document::Team(self.teams.name(team.0).to_string())));
        sort(&mut all);
        all
    }

    /// Returns the document that a record belongs to: the given record, or else the one in the policy. `None` if there
    /// is no such record, or if it names no team.
    pub fn document_of(&self, section: Section, id: &str, record: Option<&Value>) -> Option<Document> {
        match section {
            Section::Targets => Some(Document::Catalog),
            Section::Organizations => Some(Document::Organization(id.to_string())),
            Section::Users => Some(Document::User(id.to_string())),
            Section::Teams => Some(Document::Team(id.to_string())),
            Section::ServiceAccounts | Section::Keys => {
                let team = match record {
                    Some(record) => record.get("team")?.as_str()?,
                    None => {
                        let position = self.position(section, id)?;
                        let of_key = || self.keys.get(position).map(|key| key.team);
                        let of_account = || self.service_accounts.get(position).map(|account| account.team);
                        let team = if section == Section::Keys { of_key() } else { of_account() };
                        self.teams.name(team?.0)
                    }
                };
                Some(Document::Team(team.to_string()))
            }
        }
    }

    /// Returns the documents that a change modifies: those that its records belong to before and after it.
    pub fn touched(&self, change: &Change) -> Vec<Document> {
        let mut touched = Vec::new();
        for Edit { section, id, record, basis: _ } in &change.edits {
            touched.extend(self.document_of(*section, id, None));
            touched.extend(record.as_ref().and_then(|record| self.document_of(*section, id, Some(record))));
        }
        if change.unpriced.is_some() {
            touched.push(Document::Catalog);
        }
        once(&mut touched);
        touched
    }

    /// Returns the change from the present content of these documents to the given one; `None` removes a document. A
    /// record can move from one of them to another. The field `complete` of the catalog is ignored.
    ///
    /// # Errors
    /// Diagnostics with pointers into the whole policy document: unknown fields, records of other documents, and
    /// records that are in two documents. The content of records is validated by [`Policy::apply`].
    pub fn difference(&self, documents: &[(Document, Option<Value>)]) -> Result<Change, Vec<Diagnostic>> {
        let mut report = Diagnostics::default();
        let mut change = Change::default();
        let mut given: BTreeMap<RecordName, &Value> = BTreeMap::new();
        for (document, content) in documents {
            if *document == Document::Catalog {
                let unpriced = self.unpriced_of(content.as_ref(), &mut report);
                change.unpriced = Some(unpriced).filter(|unpriced| *unpriced != self.unpriced);
            }
            if let Some(content) = content {
                self.collect(document, content, &mut given, &mut report);
            }
        }
        if report.has_errors() {
            return Err(report.finish());
        }
        let mut gone: Vec<RecordName> = documents
            .iter()
            .flat_map(|(document, _)| self.positions_of(document))
            .map(|(section, position)| (section, self.name(section, position).to_string()))
            .filter(|name| !given.contains_key(name))
            .collect();
        once(&mut gone);
        gone.iter().for_each(|(section, id)| change.remove(*section, id));
        for ((section, id), record) in given {
            if self.record(section, &id).as_ref() != Some(record) {
                change.put(section, &id, record.clone());
            }
        }
        change.sort();
        Ok(change)
    }

    fn unpriced_of(&self, catalog: Option<&Value>, report: &mut Diagnostics) -> Unpriced {
        let Some(value) = catalog.and_then(|catalog| catalog.get("unpriced")) else {
            return Unpriced::default();
        };
        value.as_str().and_then(Unpriced::named).unwrap_or_else(|| {
            report.within("unpriced", |report| expected("`deny` or `allow`", report));
            Unpriced::default()
        })
    }

    /// Collects the records of a document.
    fn collect<'v>(
        &self,
        document: &Document,
        content: &'v Value,
        given: &mut BTreeMap<RecordName, &'v Value>,
        report: &mut Diagnostics,
    ) {
        let Some(sections) = content.as_object() else { return expected("an object", report) };
        for (name, records) in sections {
            if *document == Document::Catalog && matches!(name.as_str(), "unpriced" | "complete") {
                continue;
            }
            report.within(name, |report| {
                let Some(section) = Section::named(name) else {
                    return report.error(DiagnosticKind::UnknownField { advice: None });
                };
                let Some(records) = records.as_object() else { return expected("an object", report) };
                for (id, record) in records {
                    report.within(id, |report| {
                        if self.document_of(section, id, Some(record)).as_ref() != Some(document) {
                            report.error(DiagnosticKind::OtherDocument(document.to_string()));
                        } else if given.insert((section, id.clone()), record).is_some() {
                            report.error(DiagnosticKind::Duplicate);
                        }
                    });
                }
            });
        }
    }

    /// Returns the positions of the records of a document.
    fn positions_of(&self, document: &Document) -> Vec<(Section, u32)> {
        let one = |section, id: &str| {
            let position = self.position(section, id).filter(|position| self.has(section, *position));
            position.map(|position| (section, position)).into_iter().collect()
        };
        match document {
            Document::Catalog => {
                self.targets.iter().map(|(position, ..)| (Section::Targets, position)).collect()
            }
            Document::Organization(id) => one(Section::Organizations, id),
            Document::User(id) => one(Section::Users, id),
            Document::Team(id) => {
                let mut records: Vec<(Section, u32)> = one(Section::Teams, id);
                if let Some(team) = self.teams.find(id).map(TeamId) {
                    let accounts = self.service_accounts_of(team);
                    records.extend(accounts.map(|(account, _)| (Section::ServiceAccounts, account.0)));
                    records.extend(self.keys_of(team).map(|(key, _)| (Section::Keys, key.0)));
                }
                records
            }
        }
    }
}

fn expected(expected: &'static str, report: &mut Diagnostics) {
    report.error(DiagnosticKind::Expected { expected, found: "another value".to_string() });
}
