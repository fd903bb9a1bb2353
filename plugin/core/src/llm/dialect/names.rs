//! Sets of names that are built at compile time.

/// A set of names.
#[derive(Clone, Copy, Debug)]
pub(in crate::llm) struct NameSet {
    names: &'static [&'static str],
    lengths: Lengths,
}

impl NameSet {
    /// The empty set.
    pub(in crate::llm) const NONE: Self = Self::of(&[]);

    /// The set of these names.
    pub(in crate::llm) const fn of(names: &'static [&'static str]) -> Self {
        let (mut lengths, mut rest) = (Lengths(0), names);
        while let [name, others @ ..] = rest {
            lengths = lengths.with(name.len());
            rest = others;
        }
        Self { names, lengths }
    }

    /// Returns true if the name is in the set.
    #[inline]
    pub(in crate::llm) fn contains(&self, name: &[u8]) -> bool {
        self.lengths.may_contain(name.len()) && self.names.iter().any(|known| is_same(known.as_bytes(), name))
    }
}

/// Values by name.
#[derive(Clone, Copy, Debug)]
pub(in crate::llm) struct NameTable<T: 'static> {
    entries: &'static [(&'static str, T)],
    lengths: Lengths,
}

impl<T: Copy> NameTable<T> {
    /// The table without entries.
    pub(in crate::llm) const NONE: Self = Self::of(&[]);

    /// The table with these entries.
    pub(in crate::llm) const fn of(entries: &'static [(&'static str, T)]) -> Self {
        let (mut lengths, mut rest) = (Lengths(0), entries);
        while let [(name, _), others @ ..] = rest {
            lengths = lengths.with(name.len());
            rest = others;
        }
        Self { entries, lengths }
    }

    /// Returns the value of a name.
    #[inline]
    pub(in crate::llm) fn get(&self, name: &str) -> Option<T> {
        if !self.lengths.may_contain(name.len()) {
            return None;
        }
        let is_named = |(known, _): &&(&str, T)| is_same(known.as_bytes(), name.as_bytes());
        self.entries.iter().find(is_named).map(|(_, value)| *value)
    }
}

/// A filter by length: most names that are looked up have another length than all known ones. One bit per length,
/// modulo 64.
#[derive(Clone, Copy, Debug)]
struct Lengths(u64);

impl Lengths {
    const fn with(self, length: usize) -> Self {
        Self(self.0 | 1 << (length % 64))
    }

    fn may_contain(self, length: usize) -> bool {
        self.0 >> (length % 64) & 1 != 0
    }
}

/// Compares two short names. An own comparison: a call of `memcmp` takes longer than all of this.
#[inline]
pub(in crate::llm) fn is_same(one: &[u8], other: &[u8]) -> bool {
    if one.len() != other.len() {
        return false;
    }
    // The first and the last bytes overlap where a name is shorter than both together.
    match one.len() {
        4..=8 => is_same_at_ends::<4>(one, other),
        9..=16 => is_same_at_ends::<8>(one, other),
        17..=32 => is_same_at_ends::<16>(one, other),
        _ => one == other,
    }
}

#[inline]
fn is_same_at_ends<const N: usize>(one: &[u8], other: &[u8]) -> bool {
    one.first_chunk::<N>() == other.first_chunk::<N>() && one.last_chunk::<N>() == other.last_chunk::<N>()
}

/// The name of a member that is searched in bytes without a parser.
#[derive(Clone, Copy, Debug)]
pub(in crate::llm) struct MemberName {
    /// The name.
    pub(in crate::llm) name: &'static str,
    /// The name behind its opening quote.
    pub(in crate::llm) quoted: &'static str,
    /// The byte of `quoted` that is rarest in other text.
    pub(in crate::llm) rare: u8,
    /// The position of that byte in `quoted`.
    pub(in crate::llm) rare_at: usize,
}

impl MemberName {
    /// The first letter of all these names: what [`QuoteMarks`](crate::llm::usage) stops at.
    pub(in crate::llm) const INITIAL: u8 = b'u';

    /// The name that follows a quote. A name with another first letter than [`Self::INITIAL`] does not compile.
    pub(in crate::llm) const fn behind_quote(quoted: &'static str) -> Self {
        assert!(
            matches!(quoted.as_bytes(), [b'"', Self::INITIAL, ..]),
            "a usage member is a quote and a name with the first letter that `QuoteMarks` stops at"
        );
        let name = match quoted.split_at_checked(1) {
            Some((_, name)) => name,
            None => "",
        };
        let (rare, rare_at) = rarest(quoted.as_bytes());
        Self { name, quoted, rare, rare_at }
    }
}

/// The byte of a text that is rarest in English, and its position.
const fn rarest(text: &[u8]) -> (u8, usize) {
    let mut letters: &[u8] = b"zqxjkvbgpwyfmucdhlrsnioate";
    while let [letter, others @ ..] = letters {
        let (mut at, mut rest) = (0, text);
        while let [byte, more @ ..] = rest {
            if *byte == *letter {
                return (*byte, at);
            }
            (at, rest) = (at + 1, more);
        }
        letters = others;
    }
    (b'"', 0)
}

/// A member of every entry of [`REQUESTS`](super::REQUESTS), a list, as one array.
macro_rules! joined {
    ($member:ident: $entry:ty, $filler:expr) => {{
        const LENGTH: usize = {
            let (mut length, mut rest) = (0, $crate::llm::dialect::REQUESTS);
            while let [request, others @ ..] = rest {
                length += request.$member.len();
                rest = others;
            }
            length
        };
        const ENTRIES: [(&str, $entry); LENGTH] = {
            let mut entries = [("", $filler); LENGTH];
            let (mut slots, mut rest) = (entries.as_mut_slice(), $crate::llm::dialect::REQUESTS);
            while let [request, others @ ..] = rest {
                let (head, tail) = slots.split_at_mut(request.$member.len());
                head.copy_from_slice(request.$member);
                (slots, rest) = (tail, others);
            }
            entries
        };
        &ENTRIES
    }};
}

pub(in crate::llm) use joined;

#[cfg(test)]
mod tests {
    use alloc::vec;

    use super::*;

    #[test]
    fn the_rarest_letter_of_each_usage_member_is_found_at_its_position() {
        for (quoted, at) in [("\"usage", 4), ("\"usageMetadata", 4)] {
            let name = MemberName::behind_quote(quoted);
            assert_eq!((name.name, name.rare, name.rare_at), (&quoted[1..], b'g', at));
        }
    }

    #[test]
    fn a_set_contains_its_names_only() {
        let set = NameSet::of(&["text", "delta"]);
        for (name, contained) in [("text", true), ("delta", true), ("test", false), ("", false)] {
            assert_eq!(set.contains(name.as_bytes()), contained, "{name}");
        }
        assert!(!set.contains("x".repeat(64 + 4).as_bytes()));
    }

    #[test]
    fn names_of_every_length_are_the_same_only_if_all_their_bytes_are() {
        for length in 0..70 {
            let name = vec![b'a'; length];
            assert!(is_same(&name, &name.clone()), "{length}");
            assert!(!is_same(&name, &vec![b'a'; length + 1]), "{length}");
            for at in 0..length {
                let mut other = name.clone();
                other[at] = b'b';
                assert!(!is_same(&name, &other), "{length} {at}");
            }
        }
    }
}
