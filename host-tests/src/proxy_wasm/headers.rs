//! Header maps: bytes, in the order of arrival.

use std::fmt;
use std::sync::Arc;

use smallvec::SmallVec;

/// Headers or trailers. Names are lower case; values are any bytes; a name may occur more than once.
///
/// A clone shares its entries until one of the two is changed: the map that is forwarded is also kept for
/// `on_log`.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct HeaderMap {
    entries: Arc<Vec<Entry>>,
}

type Entry = (Text, Text);

/// A name or value. Most fit inline, without an allocation.
type Text = SmallVec<[u8; 32]>;

impl HeaderMap {
    /// Creates an empty map.
    pub fn new() -> HeaderMap {
        HeaderMap::default()
    }

    /// Appends a value and keeps those under the same name.
    pub fn add(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let mut name = Text::from_slice(name.as_ref());
        name.make_ascii_lowercase();
        Arc::make_mut(&mut self.entries).push((name, Text::from_slice(value.as_ref())));
    }

    /// Replaces all values under the name by one.
    pub fn set(&mut self, name: impl AsRef<[u8]>, value: impl AsRef<[u8]>) {
        let (name, value) = (name.as_ref(), value.as_ref());
        let Some(first) = self.position(name, 0) else {
            return self.add(name, value);
        };
        Arc::make_mut(&mut self.entries)[first].1 = Text::from_slice(value);
        self.remove_from(name, first + 1);
    }

    /// Removes every value under the name.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) {
        self.remove_from(name.as_ref(), 0);
    }

    /// Removes every value under the name from this entry on. There is mostly at most one, with few entries
    /// to move.
    fn remove_from(&mut self, name: &[u8], mut from: usize) {
        while let Some(found) = self.position(name, from) {
            Arc::make_mut(&mut self.entries).remove(found);
            from = found;
        }
    }

    /// Returns the first value under the name.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Option<&[u8]> {
        let (_, value) = self.entries.get(self.position(name.as_ref(), 0)?)?;
        Some(value)
    }

    /// Returns the next position of the name, from this entry on.
    fn position(&self, name: &[u8], from: usize) -> Option<usize> {
        let mut rest = self.entries.iter().skip(from);
        Some(from + rest.position(|(present, _)| present.eq_ignore_ascii_case(name))?)
    }

    /// Returns the first value under the name, if it is UTF-8.
    pub fn text(&self, name: impl AsRef<[u8]>) -> Option<&str> {
        std::str::from_utf8(self.get(name)?).ok()
    }

    /// Returns all values under the name.
    pub fn get_all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a [u8]> {
        let same = move |(present, _): &&Entry| present.eq_ignore_ascii_case(name.as_bytes());
        self.entries.iter().filter(same).map(|(_, value)| &**value)
    }

    /// Returns names and values, in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], &[u8])> + Clone {
        self.entries.iter().map(|(name, value)| (&**name, &**value))
    }

    /// Returns the number of entries.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Returns true if there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Returns the size of all names and values, in bytes.
    pub fn byte_size(&self) -> usize {
        self.entries.iter().map(|(name, value)| name.len() + value.len()).sum()
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>> FromIterator<(N, V)> for HeaderMap {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> HeaderMap {
        let pairs = pairs.into_iter();
        // Hosts and filters add some.
        let entries = Vec::with_capacity(pairs.size_hint().0 + 16);
        let mut map = HeaderMap { entries: Arc::new(entries) };
        for (name, value) in pairs {
            map.add(name, value);
        }
        map
    }
}

impl<N: AsRef<[u8]>, V: AsRef<[u8]>, const COUNT: usize> From<[(N, V); COUNT]> for HeaderMap {
    fn from(pairs: [(N, V); COUNT]) -> HeaderMap {
        pairs.into_iter().collect()
    }
}

impl fmt::Debug for HeaderMap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = |bytes: &[u8]| bytes.escape_ascii().to_string();
        f.debug_map().entries(self.iter().map(|(name, value)| (text(name), text(value)))).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::HeaderMap;

    #[test]
    fn set_leaves_one_value_in_the_place_of_the_first() {
        let mut map = HeaderMap::from([("A", "1"), ("b", "2"), ("a", "3")]);
        map.set("a", "4");
        assert_eq!(map, HeaderMap::from([("a", "4"), ("b", "2")]));
        let mut map = HeaderMap::from([("a", "1"), ("A", "2"), ("a", "3"), ("b", "4")]);
        map.set("a", "5");
        assert_eq!(map, HeaderMap::from([("a", "5"), ("b", "4")]));
        map.set("c", [0xff]);
        assert_eq!(map.get("C"), Some(&[0xff][..]));
    }

    #[test]
    fn remove_ignores_the_case_and_removes_every_value() {
        let mut map = HeaderMap::from([("x-a", "1"), ("b", "2"), ("X-A", "3")]);
        map.remove("X-a");
        assert_eq!(map, HeaderMap::from([("b", "2")]));
        let mut map = HeaderMap::from([("x-a", "1"), ("X-A", "2"), ("x-a", "3"), ("b", "4"), ("x-a", "5")]);
        map.remove("x-a");
        assert_eq!(map, HeaderMap::from([("b", "4")]));
    }
}
