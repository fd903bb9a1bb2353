//! Where selected things stand in the text they came from.

use alloc::vec::Vec;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry;

use crate::policy::change::Section;
use crate::policy::index::Policy;
use crate::policy::model::{GroupId, TargetId, TargetSet};

/// A selected thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Selected {
    Target(TargetId),
    Group(GroupId),
}

/// A selection's lists as a text writes them: each item with its place.
#[derive(Clone, Debug, Default)]
pub(in crate::policy) struct SourceList {
    pub targets: Vec<(TargetId, u32)>,
    pub groups: Vec<(GroupId, u32)>,
}

/// What findings need to know of the text that was just read, beside its records.
#[derive(Debug, Default)]
pub(in crate::policy) struct SourceMap {
    /// The listings of its records, to point at. A record that is not among them is listed as [`Policy::record`]
    /// writes it: by name, `*` first.
    listings: HashTable<(Section, u32, SourceList)>,
    /// Records that stand there and could not be read: that was said, and is no reason to say that they are missing.
    unread: HashTable<(Section, u32)>,
}

fn hash(section: Section, position: u32) -> u64 {
    (u64::from(position) << 3 | section as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

impl SourceMap {
    /// Keeps a record's listing; the last one of a record holds.
    pub fn keep(&mut self, policy: &Policy, section: Section, position: u32, listing: SourceList, all: bool) {
        let by_name = listing.is_by_name(policy, all);
        let same = |(known, at, _): &(Section, u32, SourceList)| (*known, *at) == (section, position);
        let entry =
            self.listings.entry(hash(section, position), same, |(section, at, _)| hash(*section, *at));
        match entry {
            Entry::Occupied(known) if by_name => drop(known.remove()),
            Entry::Occupied(mut known) => known.get_mut().2 = listing,
            Entry::Vacant(_) if by_name => {}
            Entry::Vacant(place) => drop(place.insert((section, position, listing))),
        }
    }

    /// Keeps that a record is there, though too little of it is right to be read.
    pub fn keep_unread(&mut self, section: Section, position: u32) {
        let again = |(section, position): &(Section, u32)| hash(*section, *position);
        self.unread.insert_unique(hash(section, position), (section, position), again);
    }

    /// Whether a record is there that could not be read.
    pub fn is_unread(&self, section: Section, position: u32) -> bool {
        self.unread.find(hash(section, position), |known| *known == (section, position)).is_some()
    }

    /// Every place of a selected thing in its list.
    pub fn places(
        &self,
        policy: &Policy,
        section: Section,
        position: u32,
        selection: &TargetSet,
        choice: Selected,
    ) -> Vec<u32> {
        fn of<T: PartialEq>(list: &[(T, u32)], item: &T) -> Vec<u32> {
            list.iter().filter(|(listed, _)| listed == item).map(|(_, place)| *place).collect()
        }
        fn rank<'p>(names: impl Iterator<Item = &'p str>, name: &str, first: bool) -> Vec<u32> {
            let before = names.filter(|other| *other < name).count();
            Vec::from([u32::try_from(before).unwrap_or(u32::MAX).saturating_add(first.into())])
        }
        let names = (&policy.targets, &policy.groups);
        let same = |(known, at, _): &&(Section, u32, SourceList)| (*known, *at) == (section, position);
        let listing =
            self.listings.find(hash(section, position), |entry| same(&entry)).map(|(_, _, listing)| listing);
        match (listing, choice) {
            (Some(listing), Selected::Target(target)) => of(&listing.targets, &target),
            (Some(listing), Selected::Group(group)) => of(&listing.groups, &group),
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

impl SourceList {
    fn is_by_name(&self, policy: &Policy, all: bool) -> bool {
        let targets = self.targets.iter().map(|(target, place)| (policy.targets.name(target.0), *place));
        let groups = self.groups.iter().map(|(group, place)| (policy.groups.name(group.0), *place));
        is_by_name(targets, all.into()) && is_by_name(groups, 0)
    }
}

fn is_by_name<'p>(list: impl Iterator<Item = (&'p str, u32)>, first: u32) -> bool {
    let mut last = None;
    (first..).zip(list).all(|(expected, (name, place))| {
        let above = last.is_none_or(|last| last < name);
        last = Some(name);
        above && place == expected
    })
}
