//! The headers of a request or a response, as bytes: a value need not be text.

use crate::collections::name_filter::NameFilter;
use crate::text::ascii;

/// Header fields in order of arrival; names are compared without case.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    fields: &'a [(&'a [u8], &'a [u8])],
    /// A Bloom filter over the names: most lookups miss.
    names: NameFilter,
}

impl<'a> Headers<'a> {
    /// The headers with these fields, pseudo-headers included.
    pub fn new(fields: &'a [(&'a [u8], &'a [u8])]) -> Self {
        let names = fields.iter().fold(NameFilter::new(), |names, (name, _)| names.with(name));
        Headers { fields, names }
    }

    /// Returns every value of a header.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = if self.names.may_contain(name.as_bytes()) { self.fields } else { &[] };
        fields
            .iter()
            .filter(move |(known, _)| ascii::same_but_for_case(known, name.as_bytes()))
            .map(|(_, value)| *value)
    }

    /// Returns the names that may be among `names`; a few others match too.
    pub fn like(&self, names: NameFilter) -> impl Iterator<Item = &'a [u8]> {
        let fields = if self.names.intersects(names) { self.fields } else { &[] };
        fields.iter().map(|(name, _)| *name).filter(move |name| names.may_contain(name))
    }

    /// Returns the name and value of each field.
    pub fn iter(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.fields.iter().copied()
    }

    /// Returns the first value of a header.
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// Returns the first value of a header, if it is ASCII text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        ascii::text(self.first(name)?)
    }
}

/// A change to the headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderMutation<'a> {
    /// Removes every value of a field.
    Remove(&'a str),
    /// Replaces all values of a field by this one.
    Replace(&'static str, &'a str),
}

/// Receives the changes to the headers, in order.
pub type HeaderMutator<'e> = dyn FnMut(HeaderMutation<'_>) + 'e;
