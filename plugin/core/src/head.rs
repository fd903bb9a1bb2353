//! A request's or response's head, as bytes: nothing in it is trusted to be text.

/// Header fields in the order they came; names are compared without case.
#[derive(Clone, Copy, Debug)]
pub struct Head<'a> {
    fields: &'a [(&'a [u8], &'a [u8])],
    /// Of its names: most of what is looked for is not there.
    lengths: Lengths,
}

/// How long some names are: a bit for each length, the last one for all that are longer.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Lengths(u64);

impl Lengths {
    /// Of these names.
    pub fn of<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        names.fold(Lengths::default(), |lengths, name| lengths.with(name.as_bytes()))
    }

    fn with(self, name: &[u8]) -> Self {
        Lengths(self.0 | 1 << name.len().min(63))
    }

    fn has(self, name: &[u8]) -> bool {
        self.meets(Lengths::default().with(name))
    }

    fn meets(self, other: Lengths) -> bool {
        self.0 & other.0 != 0
    }
}

impl<'a> Head<'a> {
    /// A head of these fields, pseudo-headers included.
    pub fn new(fields: &'a [(&'a [u8], &'a [u8])]) -> Self {
        let lengths = fields.iter().fold(Lengths::default(), |lengths, (name, _)| lengths.with(name));
        Head { fields, lengths }
    }

    /// Every value of a header.
    pub fn all(&self, name: &str) -> impl Iterator<Item = &'a [u8]> {
        let fields = if self.lengths.has(name.as_bytes()) { self.fields } else { &[] };
        fields
            .iter()
            .filter(move |(known, _)| known.eq_ignore_ascii_case(name.as_bytes()))
            .map(|(_, value)| *value)
    }

    /// The fields whose names are as long as one of these (or both longer than 62 bytes): few, of which the caller
    /// compares the names.
    pub fn as_long_as(&self, lengths: Lengths) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        let fields = if self.lengths.meets(lengths) { self.fields } else { &[] };
        fields.iter().copied().filter(move |(name, _)| lengths.has(name))
    }

    /// The first value of a header, if it is text.
    pub fn text(&self, name: &str) -> Option<&'a str> {
        self.all(name).next().and_then(|value| core::str::from_utf8(value).ok())
    }
}

/// A change to a head.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Edit<'a> {
    /// Take every value of the field out.
    Remove(&'a str),
    /// Let the field have this value alone.
    Replace(&'static str, &'a str),
}

/// Who makes the changes to a head, in the order in which they are told.
pub type Editor<'e> = dyn FnMut(Edit<'_>) + 'e;
