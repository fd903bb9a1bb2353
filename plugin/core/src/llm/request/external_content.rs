//! Members that refer to content outside of the body, or to other models.

use crate::collections::name_filter::NameFilter;
use crate::json::lexer::Container;
use crate::llm::dialect::members::names_model;
use crate::llm::dialect::{REQUESTS, RequestFormat, joined};
use crate::text::ascii;

/// Buffer size for a value to compare; every value in the comparison list is shorter.
pub(super) const MARK_BYTES: usize = 24;

/// The mark of a member that refers to external content or to another model, or whose value may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::llm) enum ExternalMark {
    #[default]
    None,
    /// `image_url`, `file_url`, …: a URL, or an object with one in `url`.
    Link,
    /// `url`
    Url,
    /// Media, as base64 text or a URL, or an object with a URL in `url`.
    Address,
    /// `ttl` of a part that is to be cached.
    Ttl,
    /// Anthropic's `source`
    Source,
    /// `type`
    Type,
    /// An id, or a list of ids, of content that the upstream stores.
    Stored,
    /// `audio`: an earlier output of the model, if it is an object with an `id`.
    Audio,
    /// `id`
    Id,
    /// Azure's `data_sources`: a list of objects that the upstream searches.
    DataSources,
    /// `type` of a tool.
    ToolType,
    /// `type` of an item of the input.
    ItemType,
    /// The text of a message, in which DashScope's `fileid://` stands for a stored file.
    Text,
    /// `encrypted_content` of an item of the input.
    ItemContent,
    /// `type` of a context management step.
    EditType,
    /// `model` of a fallback or of a tool: another model that may be called.
    Model,
    /// `max_tokens` of a fallback, in any spelling.
    MaxTokens,
    /// `n` of a fallback.
    Choices,
}

const MARKS: &[(&str, ExternalMark)] = joined!(marks: ExternalMark, ExternalMark::None);

static FILTER: NameFilter = NameFilter::listed(MARKS);

impl ExternalMark {
    /// The mark of a member name, ignoring case, because some servers do. Marking too many members is safe.
    pub(super) fn of(name: &str) -> Self {
        if !FILTER.may_contain(name.as_bytes()) {
            return Self::None;
        }
        let known =
            MARKS.iter().find(|(known, _)| ascii::same_but_for_case(known.as_bytes(), name.as_bytes()));
        known.map_or(Self::None, |(_, mark)| *mark)
    }

    /// The mark of a member of the body itself.
    pub(super) fn of_body(name: &str) -> Self {
        if name.eq_ignore_ascii_case("data_sources") { Self::DataSources } else { Self::of(name) }
    }

    /// The mark of a tool's member.
    pub(super) fn of_tool(name: &str) -> Self {
        match name {
            "type" => Self::ToolType,
            _ if name.eq_ignore_ascii_case("model") => Self::Model,
            _ => Self::of(name),
        }
    }

    /// The mark of a member of a call within the body, which names its model.
    pub(super) fn of_call(name: &str) -> Self {
        if name.eq_ignore_ascii_case("model") { Self::Model } else { Self::of(name) }
    }

    /// The mark of a member of an entry of `fallbacks`, at any depth: an entry may have fallbacks of its own.
    pub(super) fn of_fallback(name: &str) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            10 if is("max_tokens") => Self::MaxTokens,
            17 if is("max_output_tokens") => Self::MaxTokens,
            21 if is("max_completion_tokens") => Self::MaxTokens,
            1 if is("n") => Self::Choices,
            _ => Self::of_vendor(name),
        }
    }

    /// The mark of a member inside an object of a vendor's, in which models may be named.
    pub(super) fn of_vendor(name: &str) -> Self {
        if names_model(name) { Self::Model } else { Self::of(name) }
    }

    /// The mark of a member of `context_management`.
    pub(super) fn of_edit(name: &str) -> Self {
        if name == "type" { Self::EditType } else { Self::None }
    }

    /// Returns true if this value of the member refers to external content; `parent` is the mark of the enclosing member.
    pub(super) fn is_external(self, parent: ExternalMark, text: &str) -> bool {
        let remote = || {
            let inline = text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:"));
            !text.is_empty() && !inline
        };
        match (self, parent) {
            (ExternalMark::Link, _)
            | (ExternalMark::Url, ExternalMark::Link | ExternalMark::Source | ExternalMark::Address) => {
                remote()
            }
            (ExternalMark::Address, _) => text.contains("://"),
            (ExternalMark::Id, ExternalMark::Audio) => true,
            (ExternalMark::Type, ExternalMark::Source) => matches!(text, "url" | "file"),
            (ExternalMark::Stored, _) => true,
            (ExternalMark::Text, _) => text.starts_with("fileid://"),
            (ExternalMark::ToolType, _) => {
                !begins(text, |request| request.client_tools) || begins(text, |request| request.long_tools)
            }
            (ExternalMark::ItemType, _) => {
                REQUESTS.iter().any(|request| request.stored_items.contains(&text))
            }
            (ExternalMark::EditType, _) => begins(text, |request| request.rereading_steps),
            _ => false,
        }
    }
}

/// Returns true if a text has one of these prefixes of any API.
fn begins(text: &str, prefixes: fn(&RequestFormat) -> &'static [&'static str]) -> bool {
    REQUESTS.iter().flat_map(|request| prefixes(request)).any(|prefix| text.starts_with(prefix))
}

/// Returns true if a tool with a member of this name is one that the upstream runs.
pub(super) fn is_upstream_tool(member: &str) -> bool {
    REQUESTS.iter().any(|request| request.upstream_tools.contains(member.as_bytes()))
}

/// An item of the input. It refers to content that the upstream stores if it has an id and no type or role, or if it is
/// reasoning without its encrypted content.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ContentItem {
    id: bool,
    typed: bool,
    reasoning: bool,
    has_content: bool,
}

impl ContentItem {
    /// Records a member, and returns its mark.
    pub(super) fn member(&mut self, name: &str) -> ExternalMark {
        match name {
            "type" => return ExternalMark::ItemType,
            "encrypted_content" => {
                self.has_content = false;
                return ExternalMark::ItemContent;
            }
            "id" => self.id = true,
            "role" => self.typed = true,
            _ => {}
        }
        ExternalMark::of(name)
    }

    /// Records the item's type.
    pub(super) fn set_type(&mut self, kind: &str) {
        self.typed = true;
        self.reasoning = kind == "reasoning";
    }

    /// Records the item's encrypted content.
    pub(super) fn set_content(&mut self, has_content: bool) {
        self.has_content = has_content;
    }

    /// Ends the item; returns true if it is a reference.
    pub(super) fn is_reference(self, kind: Container) -> bool {
        kind == Container::Object && self.id && (!self.typed || self.reasoning && !self.has_content)
    }
}
