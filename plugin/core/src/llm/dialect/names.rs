//! Sets of names that are built at compile time.

/// A set of names. Most names that are looked up have another length than all of these.
#[derive(Clone, Copy, Debug)]
pub(in crate::llm) struct NameSet {
    names: &'static [&'static str],
    /// A bit for each length, modulo 64.
    lengths: u64,
}

impl NameSet {
    /// The empty set.
    pub(in crate::llm) const NONE: Self = Self::of(&[]);

    /// The set of these names.
    pub(in crate::llm) const fn of(names: &'static [&'static str]) -> Self {
        let (mut lengths, mut rest) = (0, names);
        while let [name, others @ ..] = rest {
            lengths |= 1 << (name.len() % 64);
            rest = others;
        }
        Self { names, lengths }
    }

    /// Returns true if the name is in the set.
    #[inline]
    pub(in crate::llm) fn contains(&self, name: &[u8]) -> bool {
        self.lengths >> (name.len() % 64) & 1 != 0 && self.names.iter().any(|known| known.as_bytes() == name)
    }
}

/// The name of a member that is looked for in bytes that are not parsed.
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
}
