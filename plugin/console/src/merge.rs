//! The merge of two changes of one record: what a person typed, and what was saved meanwhile.

/// The outcome of a field that was changed by another person, by this one, or by both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Merged {
    /// The saved value is as it was: what was typed stays.
    Mine,
    /// Only the saved value changed: it is taken over.
    Theirs,
    /// Both changed, to different values: the person chooses.
    Both,
}

/// Compares the value that was read first, the typed one, and the one that is saved now.
pub fn merge(read: &str, typed: &str, saved: &str) -> Merged {
    if saved == read || saved == typed {
        Merged::Mine
    } else if typed == read {
        Merged::Theirs
    } else {
        Merged::Both
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_change_is_lost() {
        for (read, typed, saved, merged) in [
            ("1", "1", "1", Merged::Mine),
            ("1", "2", "1", Merged::Mine),
            ("1", "1", "3", Merged::Theirs),
            ("1", "2", "3", Merged::Both),
            ("1", "2", "2", Merged::Mine),
            ("1", "", "3", Merged::Both),
        ] {
            assert_eq!(merge(read, typed, saved), merged, "{read} {typed} {saved}");
        }
    }
}
