//! Posting: the sums of an inbox go to the sheets, by steps that any VM may repeat.

use alloc::vec::Vec;

use super::inbox::Inbox;
use super::names::LISTS;
use super::rows::Label;
use super::sheet::{Posting, Sheet};
use super::{HOUR, LedgerNames, Subject, Unit};
use crate::counters::{Cas, CounterStore, RecordKey, StoreError, Update, retry_conflicts};
use crate::text::hash::fingerprint;

/// The maximum number of inboxes that a tick reads.
const READS: usize = 64;

/// The maximum number of inboxes that a tick posts.
const POSTS: usize = 16;

/// The part of one VM in posting.
#[derive(Debug, Default)]
pub struct Poster {
    /// The list that the next tick reads first, and the number of its teams that were read before.
    cursor: (u64, usize),
}

impl Poster {
    /// Posts inboxes: at most 64 are read and 16 posted, and the next call goes on with the others.
    ///
    /// # Errors
    /// Those of the store. What is not posted stays in its inbox.
    pub fn tick<C: CounterStore>(
        &mut self,
        store: &mut C,
        names: &LedgerNames,
        wall: u64,
    ) -> Result<(), StoreError> {
        let (mut reads, mut posts) = (0, 0);
        for _ in 0..LISTS {
            let (list, start) = self.cursor;
            let (bytes, _) = store.read(&names.list(list))?;
            for team in teams(&bytes).skip(start) {
                if reads == READS || posts == POSTS {
                    return Ok(());
                }
                self.cursor.1 = self.cursor.1.saturating_add(1);
                reads = reads.saturating_add(1);
                posts = posts.saturating_add(usize::from(post(store, names, team, wall)?));
            }
            self.cursor = (list.saturating_add(1) % LISTS, 0);
        }
        Ok(())
    }
}

/// The names in a list of teams.
fn teams(bytes: &[u8]) -> impl Iterator<Item = &str> {
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.filter_map(|line| core::str::from_utf8(line).ok())
}

/// Adds a team to the list that it belongs to.
pub(super) fn list<C: CounterStore>(
    store: &mut C,
    names: &LedgerNames,
    team: &str,
) -> Result<(), StoreError> {
    let name = names.list(fingerprint(team.as_bytes()) % LISTS);
    store.update_bytes(&name, |_, bytes| {
        if teams(bytes).any(|known| known == team) {
            return Ok(Update::Keep(()));
        }
        bytes.extend_from_slice(team.as_bytes());
        bytes.push(b'\n');
        Ok(Update::Write(()))
    })
}

/// Posts the inbox of a team, or ends a posting that another VM began. Returns false if there is nothing to post.
pub(super) fn post<C: CounterStore>(
    store: &mut C,
    names: &LedgerNames,
    team: &str,
    wall: u64,
) -> Result<bool, StoreError> {
    let name = names.inbox(team);
    let closed = retry_conflicts(|| {
        let (bytes, version) = store.read(&name)?;
        let mut inbox = Inbox::read(&bytes)?;
        if !inbox.closed.is_empty() {
            return Ok(Some(Some(inbox)));
        }
        if !inbox.close(wall) {
            return Ok(Some(None));
        }
        let stored = store.compare_and_swap(&name, version, &inbox.to_bytes(name.fingerprint()))?;
        Ok::<_, StoreError>((stored == Cas::Stored).then_some(Some(inbox)))
    })?;
    let Some(inbox) = closed else { return Ok(false) };
    for SheetPostings { name, unit, postings } in by_sheet(names, team, &inbox) {
        store.update_bytes::<_, StoreError>(&name, |_, bytes| {
            let mut sheet = Sheet::read(bytes)?;
            if !sheet.take(inbox.number, &postings, unit, wall) {
                return Ok(Update::Keep(()));
            }
            *bytes = sheet.to_bytes(name.fingerprint());
            Ok(Update::Write(()))
        })?;
    }
    store.update_bytes::<_, StoreError>(&name, |_, bytes| {
        let mut current = Inbox::read(bytes)?;
        if !current.finish(inbox.number) {
            return Ok(Update::Keep(()));
        }
        *bytes = current.to_bytes(name.fingerprint());
        Ok(Update::Write(()))
    })?;
    Ok(true)
}

/// The sums of a posting for one sheet, which takes them at once.
struct SheetPostings<'i> {
    name: RecordKey,
    unit: Unit,
    postings: Vec<Posting<'i>>,
}

/// The sums of a posting by the record of their sheet.
fn by_sheet<'i>(names: &LedgerNames, team: &str, inbox: &'i Inbox) -> Vec<SheetPostings<'i>> {
    let mut all: Vec<SheetPostings<'i>> = Vec::new();
    for (label, amounts) in inbox.closed.iter() {
        for (subject, unit) in sheets_of(&label) {
            let wall = label.period.saturating_mul(HOUR);
            let sheet = unit.sheet(wall);
            let target = if subject == Subject::Team { label.target } else { "" };
            let posting = Posting { sheet, period: unit.index(wall), target, amounts };
            let name = names.sheet(team, subject, unit, sheet);
            // A few dozen at most.
            match all.iter_mut().find(|known| known.name == name) {
                Some(known) => known.postings.push(posting),
                None => all.push(SheetPostings { name, unit, postings: Vec::from([posting]) }),
            }
        }
    }
    all
}

/// The sheets on which a row of an inbox counts.
fn sheets_of<'i>(label: &Label<'i>) -> impl Iterator<Item = (Subject<'i>, Unit)> + use<'i> {
    let of_team = Unit::ALL.map(|unit| (Subject::Team, unit));
    let of_user = (!label.user.is_empty()).then_some((Subject::Member(label.user), Unit::Day));
    of_team.into_iter().chain([(Subject::Key(label.key), Unit::Day)]).chain(of_user)
}

/// Returns true if a row of an inbox counts on the sheets of a subject.
pub(super) fn matching(label: &Label<'_>, subject: Subject<'_>) -> bool {
    match subject {
        Subject::Team => true,
        Subject::Key(key) => label.key == key,
        Subject::Member(user) => label.user == user,
    }
}
