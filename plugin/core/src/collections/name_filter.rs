//! Which names are among some, mostly: what is looked for is mostly not there.

/// How some names look: a bit for each, by its length and first letter. Names that are alike but for case have the
/// same bit; others seldom do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct NameFilter(u64);

impl NameFilter {
    /// Of no names.
    pub const fn new() -> Self {
        NameFilter(0)
    }

    /// Of these names.
    pub fn of<'n>(names: impl Iterator<Item = &'n str>) -> Self {
        names.fold(NameFilter::new(), |sketch, name| sketch.with(name.as_bytes()))
    }

    /// Of the names of a list, with whatever stands beside them.
    pub const fn listed<T>(list: &[(&str, T)]) -> Self {
        let (mut sketch, mut rest) = (NameFilter::new(), list);
        while let [(name, _), others @ ..] = rest {
            sketch = sketch.with(name.as_bytes());
            rest = others;
        }
        sketch
    }

    /// And of this one.
    pub const fn with(self, name: &[u8]) -> Self {
        const CASE: u8 = b'a' ^ b'A';
        // By this factor few of the usual headers and body members have the bit of one that is looked for.
        const SPREAD: usize = 39;
        let first = match name {
            [first, ..] => (*first | CASE) as usize,
            [] => 0,
        };
        NameFilter(self.0 | 1 << (name.len().wrapping_mul(SPREAD).wrapping_add(first) % 64))
    }

    /// Whether one of the names may be this one.
    pub const fn may_contain(self, name: &[u8]) -> bool {
        self.intersects(NameFilter::new().with(name))
    }

    /// Whether both may have a name in common.
    pub const fn intersects(self, other: NameFilter) -> bool {
        self.0 & other.0 != 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_never_missed_whatever_its_case() {
        let names = ["authorization", ":path", "x-tollgate-key", ""];
        let sketch = NameFilter::of(names.into_iter());
        for name in names {
            assert!(
                sketch.may_contain(name.as_bytes())
                    && sketch.may_contain(name.to_ascii_uppercase().as_bytes()),
                "{name}"
            );
        }
        assert!(!sketch.may_contain(b"accept") && !sketch.intersects(NameFilter::new()));
    }
}
