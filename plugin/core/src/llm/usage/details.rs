//! The parts of a response, besides its usage figures, that some prices depend on: the service tier, the searches that
//! are listed instead of counted, and the length of a recording.

use smol_str::SmolStr;

use super::figures;
use crate::json::lexer::{Container, Scalar};
use crate::llm::dialect::{Dialect, Figure, SearchLists};

/// The tiers whose name says that they are none.
const STANDARD: [&str; 4] = ["default", "standard", "on_demand", "auto"];
/// The event that ends an item of OpenAI's streams.
const ITEM_DONE: &str = "response.output_item.done";
/// The type of an item that stands for the searches of the provider.
const SEARCH_CALL: &str = "web_search_call";
/// The actions of such an item that are no searches ("Web search" in OpenAI's guides).
const OTHER_ACTIONS: [&str; 3] = ["open_page", "find_in_page", "find"];

/// The place of a name, for the names that are read.
#[derive(Clone, Copy, Debug)]
pub(super) struct NamePlace {
    pub(super) depth: usize,
    /// The name is a member of the response itself, or of what wraps it.
    pub(super) is_outer: bool,
    /// The name is a member of the response itself, or of the event.
    pub(super) is_own: bool,
    /// The depth of the usage object's members, within it.
    pub(super) usage: Option<usize>,
    /// The depth of the response's own members.
    pub(super) base: usize,
    /// The response is a stream.
    pub(super) streamed: bool,
}

/// The meaning of the next value.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Expected {
    #[default]
    Nothing,
    Tier,
    Duration,
    EventType,
    /// The list of output items, or the item of an event.
    Items,
    Item,
    ItemType,
    /// The action of an item.
    Action,
    ActionType,
    /// The list of texts that were searched for.
    Queries,
}

/// Collects them from the documents of one response.
#[derive(Clone, Debug)]
pub(super) struct ResponseDetails {
    dialect: &'static Dialect,
    expected: Expected,
    tier: Option<SmolStr>,
    /// The tier is from an earlier document.
    is_earlier_tier: bool,
    nanoseconds: Option<u64>,
    /// The depth of an item's members, while within the list of items or the item of an event.
    items: Option<usize>,
    /// The depth of the members of an item's action, while within it.
    action: Option<usize>,
    /// The depth of the texts that were searched for, while within their list.
    queries: Option<usize>,
    /// The item is the one of an event.
    is_alone: bool,
    /// The present item is a search call, and its action another one than a search.
    item: (bool, bool),
    ends_item: bool,
    /// The searches listed in this document, and the most in one document.
    listed: (u64, u64),
    /// The searches in events of their own.
    alone: u64,
}

impl ResponseDetails {
    pub(super) fn new(dialect: &'static Dialect) -> Self {
        Self {
            dialect,
            expected: Expected::Nothing,
            tier: None,
            is_earlier_tier: false,
            nanoseconds: None,
            items: None,
            action: None,
            queries: None,
            is_alone: false,
            item: (false, false),
            ends_item: false,
            listed: (0, 0),
            alone: 0,
        }
    }

    /// Begins another document.
    pub(super) fn restart(&mut self) {
        *self = Self {
            tier: self.tier.take(),
            is_earlier_tier: true,
            nanoseconds: self.nanoseconds,
            listed: (0, self.listed.1),
            alone: self.alone,
            ..Self::new(self.dialect)
        };
    }

    pub(super) fn tier(&self) -> Option<SmolStr> {
        self.tier.clone()
    }

    pub(super) fn nanoseconds(&self) -> Option<u64> {
        self.nanoseconds
    }

    pub(super) fn searches(&self) -> u64 {
        self.listed.1.max(self.alone)
    }

    pub(super) fn name(&mut self, place: NamePlace, name: &str) {
        let NamePlace { depth, is_outer, is_own, usage, base, streamed } = place;
        let format = self.dialect.usage;
        let lists_items = format.searches == SearchLists::OutputItems;
        self.expected = if format.tiers.contains(name.as_bytes())
            && (usage == Some(depth) || usage.is_none() && is_outer)
        {
            Expected::Tier
        } else if usage.is_some() {
            Expected::Nothing
        } else if is_own && !streamed && self.dialect.has_duration && name == "duration" {
            Expected::Duration
        } else if is_own && streamed && lists_items && name == "type" {
            Expected::EventType
        } else if is_own && streamed && lists_items && name == "item" {
            Expected::Item
        } else if is_outer && lists_items && name == "output" {
            Expected::Items
        } else if format.searches == SearchLists::Queries && depth == base + 3 && name == "webSearchQueries" {
            Expected::Queries
        } else {
            match self.items {
                Some(items) if depth == items && name == "type" => Expected::ItemType,
                Some(items) if depth == items && name == "action" => Expected::Action,
                Some(_) if self.action == Some(depth) && name == "type" => Expected::ActionType,
                _ => Expected::Nothing,
            }
        };
    }

    pub(super) fn begin(&mut self, depth: usize, kind: Container) {
        match (core::mem::take(&mut self.expected), kind) {
            (Expected::Items, Container::Array) => (self.items, self.is_alone) = (Some(depth + 2), false),
            (Expected::Item, Container::Object) => {
                (self.items, self.is_alone) = (Some(depth + 1), true);
                self.item = (false, false);
            }
            (Expected::Action, Container::Object) => self.action = Some(depth + 1),
            (Expected::Queries, Container::Array) => self.queries = Some(depth + 1),
            _ if self.items == Some(depth + 1) => self.item = (false, false),
            _ => {}
        }
    }

    pub(super) fn end(&mut self, depth: usize) {
        if self.queries == Some(depth + 1) {
            self.queries = None;
        }
        if self.action == Some(depth + 1) {
            self.action = None;
        }
        let Some(items) = self.items else { return };
        if depth + 1 == items && !self.is_alone {
            self.listed.0 += u64::from(self.item == (true, false));
            self.listed.1 = self.listed.1.max(self.listed.0);
        } else if depth + 2 == items && !self.is_alone {
            self.items = None;
        }
        if depth == 0 && self.is_alone {
            self.alone += u64::from(self.ends_item && self.item == (true, false));
        }
    }

    /// The number of bytes to keep of the next text.
    pub(super) fn reads_text(&self) -> bool {
        self.expected != Expected::Nothing
    }

    pub(super) fn scalar(&mut self, depth: usize, value: Scalar<'_>) {
        let text = match value {
            Scalar::String(text) | Scalar::Number(text) if text.whole => text.text,
            Scalar::String(_) | Scalar::Number(_) | Scalar::Bool(_) | Scalar::Null => "",
        };
        match core::mem::take(&mut self.expected) {
            Expected::Tier if !text.is_empty() => self.set_tier(text),
            Expected::Duration => {
                self.nanoseconds = figures::value(Figure::Seconds, text).or(self.nanoseconds)
            }
            Expected::EventType => self.ends_item = text == ITEM_DONE,
            Expected::ItemType => self.item.0 = text == SEARCH_CALL,
            Expected::ActionType => self.item.1 = OTHER_ACTIONS.contains(&text),
            Expected::Nothing
            | Expected::Tier
            | Expected::Items
            | Expected::Item
            | Expected::Action
            | Expected::Queries => {}
        }
        if self.queries == Some(depth) && matches!(value, Scalar::String(_)) {
            self.listed.0 += 1;
            self.listed.1 = self.listed.1.max(self.listed.0);
        }
    }

    /// A later document names the tier that served the call, an earlier one perhaps the one that was requested. In one
    /// document, a name for no tier does not replace another member's.
    fn set_tier(&mut self, text: &str) {
        let lower = text.to_ascii_lowercase();
        let name = lower.strip_prefix("on_demand_").unwrap_or(&lower);
        let is_earlier = core::mem::take(&mut self.is_earlier_tier);
        if self.tier.is_none() || is_earlier || !STANDARD.contains(&name) {
            self.tier = Some(SmolStr::new(name));
        }
    }
}
