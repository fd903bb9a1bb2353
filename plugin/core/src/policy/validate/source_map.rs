//! The indexes of selected targets and groups in the document, for the pointers of diagnostics.

use alloc::vec::Vec;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::policy::change::Section;
use crate::policy::index::Policy;
use crate::policy::model::{GroupId, Organization, TargetId, TargetSet};
use crate::text::hash::fast_hash;

/// A selected target or group.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Selected {
    Target(TargetId),
    Group(GroupId),
}

/// The lists of a selection in the order of the document, each item with its index.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct SourceList {
    pub targets: Vec<(TargetId, u32)>,
    pub groups: Vec<(GroupId, u32)>,
}

/// Facts about a document that diagnostics need and that are not in the policy.
#[derive(Debug, Default)]
pub(in crate::policy) struct SourceMap {
    /// The lists of each record. A record without an entry lists its names as [`Policy::record`] does: `*` first, then
    /// by name.
    lists: HashTable<(Section, u32, SourceList)>,
    /// Records that could not be read. They were reported, and are not to be reported as missing.
    unread: HashTable<(Section, u32)>,
}

fn hash(section: Section, position: u32) -> u64 {
    fast_hash(&(u64::from(position) << 3 | section as u64).to_le_bytes())
}

impl SourceMap {
    /// Stores the lists of a record, in place of earlier ones.
    pub fn keep(&mut self, policy: &Policy, section: Section, position: u32, list: SourceList, all: bool) {
        let by_name = list.is_by_name(policy, all);
        let same = |(known, at, _): &(Section, u32, SourceList)| (*known, *at) == (section, position);
        let entry = self.lists.entry(hash(section, position), same, |(section, at, _)| hash(*section, *at));
        match entry {
            Entry::Occupied(known) if by_name => drop(known.remove()),
            Entry::Occupied(mut known) => known.get_mut().2 = list,
            Entry::Vacant(_) if by_name => {}
            Entry::Vacant(entry) => drop(entry.insert((section, position, list))),
        }
    }

    /// Stores that a record could not be read.
    pub fn keep_unread(&mut self, section: Section, position: u32) {
        let again = |(section, position): &(Section, u32)| hash(*section, *position);
        self.unread.insert_unique(hash(section, position), (section, position), again);
    }

    /// Returns true if the record could not be read.
    pub fn is_unread(&self, section: Section, position: u32) -> bool {
        self.unread.find(hash(section, position), |known| *known == (section, position)).is_some()
    }

    /// Returns every index of a selected target or group in its list.
    pub fn indexes(
        &self,
        policy: &Policy,
        section: Section,
        position: u32,
        selection: &TargetSet,
        selected: Selected,
    ) -> Vec<u32> {
        fn of<T: PartialEq>(list: &[(T, u32)], item: &T) -> Vec<u32> {
            list.iter().filter(|(listed, _)| listed == item).map(|(_, index)| *index).collect()
        }
        fn rank<'p>(names: impl Iterator<Item = &'p str>, name: &str, first: bool) -> Vec<u32> {
            let before = names.filter(|other| *other < name).count();
            Vec::from([u32::try_from(before).unwrap_or(u32::MAX).saturating_add(first.into())])
        }
        let names = (&policy.targets, &policy.groups);
        let same = |(known, at, _): &&(Section, u32, SourceList)| (*known, *at) == (section, position);
        let list = self.lists.find(hash(section, position), |entry| same(&entry)).map(|(_, _, list)| list);
        match (list, selected) {
            (Some(list), Selected::Target(target)) => of(&list.targets, &target),
            (Some(list), Selected::Group(group)) => of(&list.groups, &group),
            (None, Selected::Target(target)) => {
                let all = selection.targets.iter().map(|other| names.0.name(other.0));
                rank(all, names.0.name(target.0), selection.all)
            }
            (None, Selected::Group(group)) => {
                let all = selection.groups.iter().map(|other| names.1.name(other.0));
                rank(all, names.1.name(group.0), false)
            }
        }
    }
}

impl Selected {
    /// Returns true if an organization grants at least part of a selection: the target itself, the group, or one target
    /// in the group.
    pub fn is_granted(self, policy: &Policy, organization: &Organization) -> bool {
        match self {
            Selected::Target(id) => {
                policy.targets.get(id.0).is_none_or(|target| organization.access.has(id, target).is_some())
            }
            Selected::Group(group) => organization.grants_group(policy, group),
        }
    }
}

impl SourceList {
    fn is_by_name(&self, policy: &Policy, all: bool) -> bool {
        let targets = self.targets.iter().map(|(target, index)| (policy.targets.name(target.0), *index));
        let groups = self.groups.iter().map(|(group, index)| (policy.groups.name(group.0), *index));
        is_by_name(targets, all.into()) && is_by_name(groups, 0)
    }
}

fn is_by_name<'p>(list: impl Iterator<Item = (&'p str, u32)>, first: u32) -> bool {
    let mut last = None;
    (first..).zip(list).all(|(expected, (name, index))| {
        let above = last.is_none_or(|last| last < name);
        last = Some(name);
        above && index == expected
    })
}
