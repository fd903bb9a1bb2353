//! A request's or response's head, as bytes: nothing in it is trusted to be text.

use crate::collections::name_filter::NameFilter;
use crate::text::ascii;

/// Header fields in the order they came; names are compared without case.
#[derive(Clone, Copy, Debug)]
pub struct Headers<'a> {
    fields: &'a [(&'a [u8], &'a [u8])],
    /// Of its names: most of what is looked for is not there.
    sketch: NameFilter,
}

impl<'a> Headers<'a> {
    /// A head of these fields, pseudo-headers included.
    pub fn new(fields: &'a [(&'a [u8], &'a [u8])]) -> Self {
        let sketch = fields.iter().fold(NameFilter::new(), |sketch, (name, _)| sketch.with(name));
        Headers { fields, sketch }
    }

    /// Every value of a header.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = if self.sketch.may_contain(name.as_bytes()) { self.fields } else { &[] };
        fields
            .iter()
            .filter(move |(known, _)| ascii::same_but_for_case(known, name.as_bytes()))
            .map(|(_, value)| *value)
    }

    /// The names that look like one of these: few, which the caller compares.
    pub fn like(&self, names: NameFilter) -> impl Iterator<Item = &'a [u8]> {
        let fields = if self.sketch.intersects(names) { self.fields } else { &[] };
        fields.iter().map(|(name, _)| *name).filter(move |name| names.may_contain(name))
    }

    /// The first value of a header.
    pub fn first(&self, name: &str) -> Option<&'a [u8]> {
        self.all(name).next()
    }

    /// The first value of a header, if it is text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        ascii::text(self.first(name)?)
    }
}

/// A change to a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HeaderMutation<'a> {
    /// Take every value of the field out.
    Remove(&'a str),
    /// Let the field have this value alone.
    Replace(&'static str, &'a str),
}

/// Who makes the changes to a head, in the order in which they are told.
pub type HeaderMutator<'e> = dyn FnMut(HeaderMutation<'_>) + 'e;
