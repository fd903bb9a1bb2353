//! The addresses of the console's pages.

/// The path below which all pages are.
pub const ROOT: &str = "/tollgate/console";

/// A page.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Page {
    /// The person's own teams and keys.
    #[default]
    Home,
    /// The teams of an organization, from a place in the list.
    Teams {
        /// The organization; the first one without it.
        organization: Option<String>,
        /// The last team of the page before.
        after: Option<String>,
    },
    /// The form of a new team.
    NewTeam {
        /// The organization that is chosen at the start.
        organization: Option<String>,
    },
    /// One team.
    Team {
        /// Its id.
        id: String,
        /// The part that is shown.
        tab: Tab,
    },
    /// The form of a new key.
    NewKey {
        /// The team that it belongs to.
        team: String,
    },
    /// One key.
    Key {
        /// Its id.
        id: String,
    },
    /// An address without a page.
    Unknown,
}

/// A part of a team's page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tab {
    /// Limits, budget, self-service.
    Overview,
    /// The targets that the team may call.
    Access,
    /// The people of the team.
    Members,
    /// The keys of the team.
    Keys,
}

impl Tab {
    /// All tabs, in the order of the page.
    pub const ALL: [Tab; 4] = [Tab::Overview, Tab::Access, Tab::Members, Tab::Keys];

    fn name(self) -> &'static str {
        match self {
            Tab::Overview => "overview",
            Tab::Access => "access",
            Tab::Members => "members",
            Tab::Keys => "keys",
        }
    }
}

impl Page {
    /// Reads a path with its query, as in `/tollgate/console/teams?organization=acme`.
    pub fn parse(address: &str) -> Page {
        let address = address.split('#').next().unwrap_or_default();
        let (path, query) = address.split_once('?').unwrap_or((address, ""));
        let Some(path) = path.strip_prefix(ROOT) else { return Page::Unknown };
        let parts: Vec<String> = path.split('/').filter(|part| !part.is_empty()).map(decode).collect();
        let parts: Vec<&str> = parts.iter().map(String::as_str).collect();
        let value = |name: &str| {
            let found =
                query.split('&').find_map(|pair| pair.split_once('=').filter(|(key, _)| *key == name));
            found.map(|(_, value)| decode(value)).filter(|value| !value.is_empty())
        };
        match parts.as_slice() {
            [] => Page::Home,
            ["teams"] => Page::Teams { organization: value("organization"), after: value("after") },
            ["teams", "new"] => Page::NewTeam { organization: value("organization") },
            ["teams", id, "keys", "new"] => Page::NewKey { team: (*id).to_owned() },
            ["teams", id] => Page::Team { id: (*id).to_owned(), tab: Tab::Overview },
            ["teams", id, name] => match Tab::ALL.into_iter().find(|tab| tab.name() == *name) {
                Some(tab) => Page::Team { id: (*id).to_owned(), tab },
                None => Page::Unknown,
            },
            ["keys", id] => Page::Key { id: (*id).to_owned() },
            _ => Page::Unknown,
        }
    }

    /// Returns the path with its query.
    pub fn address(&self) -> String {
        let with_query = |path: &str, pairs: &[(&str, &Option<String>)]| {
            let mut text = format!("{ROOT}{path}");
            let mut separator = '?';
            for (name, value) in pairs {
                if let Some(value) = value {
                    text += &format!("{separator}{name}={}", encode(value));
                    separator = '&';
                }
            }
            text
        };
        match self {
            Page::Home => ROOT.to_owned(),
            Page::Teams { organization, after } => {
                with_query("/teams", &[("organization", organization), ("after", after)])
            }
            Page::NewTeam { organization } => with_query("/teams/new", &[("organization", organization)]),
            Page::Team { id, tab: Tab::Overview } => format!("{ROOT}/teams/{}", encode(id)),
            Page::Team { id, tab } => format!("{ROOT}/teams/{}/{}", encode(id), tab.name()),
            Page::NewKey { team } => format!("{ROOT}/teams/{}/keys/new", encode(team)),
            Page::Key { id } => format!("{ROOT}/keys/{}", encode(id)),
            Page::Unknown => format!("{ROOT}/unknown"),
        }
    }
}

/// Returns a text in the form of one part of a path or of a query.
pub fn encode(text: &str) -> String {
    let mut out = String::new();
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out += &format!("%{byte:02X}"),
        }
    }
    out
}

/// Reverses [`encode`]. What is not a valid escape stays as it is.
fn decode(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let escaped = (first == b'%').then(|| after.get(..2)).flatten();
        let byte = escaped
            .and_then(|digits| std::str::from_utf8(digits).ok())
            .and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { after.get(2..).unwrap_or_default() } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_page_is_read_back_from_its_address() {
        let id = || "a b/ü%".to_owned();
        let mut pages = vec![
            Page::Home,
            Page::Teams { organization: None, after: None },
            Page::Teams { organization: Some(id()), after: Some("x@y+z".into()) },
            Page::NewTeam { organization: None },
            Page::NewTeam { organization: Some("acme".into()) },
            Page::NewKey { team: id() },
            Page::Key { id: id() },
        ];
        pages.extend(Tab::ALL.map(|tab| Page::Team { id: id(), tab }));
        for page in pages {
            assert_eq!(Page::parse(&page.address()), page);
        }
    }

    #[test]
    fn other_addresses_are_unknown_and_never_fail() {
        for address in
            ["/", "/tollgate/console/teams/a/b", "/tollgate/console/nothing", "/tollgate/console/a/b/c/d"]
        {
            assert_eq!(Page::parse(address), Page::Unknown, "{address}");
        }
        let page = Page::parse("/tollgate/console/keys/%zz%4%C3");
        assert_eq!(page, Page::Key { id: "%zz%4\u{fffd}".into() });
        assert_eq!(Page::parse("/tollgate/console/?x#token=y"), Page::Home);
    }
}
