//! A request's or response's head, as bytes: nothing in it is trusted to be text.

use alloc::vec::Vec;

use smol_str::SmolStr;

/// Header fields in the order they came; names are compared without case.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    fields: &'a [(&'a [u8], &'a [u8])],
    /// A bit for each length that a name of these has, the last one for all that are longer: most of what is
    /// looked for is not there.
    lengths: u64,
}

fn length_bit(name: &[u8]) -> u64 {
    1 << name.len().min(63)
}

impl<'a> Head<'a> {
    /// A head of these fields, pseudo-headers included.
    pub fn new(fields: &'a [(&'a [u8], &'a [u8])]) -> Self {
        let lengths = fields.iter().fold(0, |lengths, (name, _)| lengths | length_bit(name));
        Head { fields, lengths }
    }

    /// Every value of a header.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = if self.lengths & length_bit(name.as_bytes()) == 0 { &[] } else { self.fields };
        fields
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| *value)
    }

    /// The fields whose names are as long as one of these (or both longer than 62 bytes): few, of which the caller
    /// compares the names.
    pub fn as_long_as<'n>(
        &self,
        names: impl Iterator<Item = &'n str>,
    ) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let lengths = names.fold(0, |lengths, name| lengths | length_bit(name.as_bytes()));
        let fields = if self.lengths & lengths == 0 { &[] } else { self.fields };
        fields.iter().copied().filter(move |(name, _)| lengths & length_bit(name) != 0)
    }

    /// The first value of a header, if it is text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.all(name).next().and_then(|value| core::str::from_utf8(value).ok())
    }

    /// The names of all fields.
    pub fn names(&self) -> impl Iterator<Item = &'a [u8]> {
        self.fields.iter().map(|(name, _)| *name)
    }
}

/// A change to a head.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// Take every value of the field out.
    Remove(SmolStr),
    /// Let the field have this value alone.
    Replace(&'static str, SmolStr),
}

/// Changes to a head, in order.
pub type Edits = Vec<Edit>;
