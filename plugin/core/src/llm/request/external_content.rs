//! What tells of content the body does not show, and of models that are asked beside its own.

use crate::collections::name_filter::NameFilter;
use crate::json::lexer::Container;
use crate::llm::dialect::{REQUESTS, RequestFormat, joined};
use crate::text::ascii;

/// Long enough to tell every value here from the others.
pub(super) const MARK_BYTES: usize = 24;

/// A name that tells of such, or whose value may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::llm) enum ExternalMark {
    #[default]
    None,
    /// `image_url`, `file_url`, …: a URL, or an object with one in `url`.
    Link,
    /// `url`
    Url,
    /// Anthropic's `source`
    Source,
    /// `type`
    Type,
    /// An id, or a list of ids, of what the upstream stores.
    Stored,
    /// `audio`: what the model said before, if it is an object with an `id`.
    Audio,
    /// `id`
    Id,
    /// Azure's `data_sources`: a list of objects, each of which it searches.
    DataSources,
    /// `type` of a tool.
    ToolType,
    /// `type` of an item of the input.
    ItemType,
    /// `encrypted_content` of an item of the input.
    ItemContent,
    /// `type` of a step by which the upstream manages the context.
    EditType,
    /// `model` of a fallback or of a tool: another one that is asked.
    Model,
    /// `max_tokens` of a fallback, in any spelling.
    MaxTokens,
    /// `n` of a fallback.
    Choices,
}

const MARKS: &[(&str, ExternalMark)] = joined!(marks: ExternalMark, ExternalMark::None);

static SKETCH: NameFilter = NameFilter::listed(MARKS);

impl ExternalMark {
    /// Names that are alike but for case are one to some servers, and to tell too much of them is safe.
    pub(super) fn of(name: &str) -> Self {
        if !SKETCH.may_contain(name.as_bytes()) {
            return Self::None;
        }
        let known =
            MARKS.iter().find(|(known, _)| ascii::same_but_for_case(known.as_bytes(), name.as_bytes()));
        known.map_or(Self::None, |(_, mark)| *mark)
    }

    /// Of a member of the body itself.
    pub(super) fn of_body(name: &str) -> Self {
        if name.eq_ignore_ascii_case("data_sources") { Self::DataSources } else { Self::of(name) }
    }

    /// Of a tool's member.
    pub(super) fn of_tool(name: &str) -> Self {
        match name {
            "type" => Self::ToolType,
            _ if name.eq_ignore_ascii_case("model") => Self::Model,
            _ => Self::of(name),
        }
    }

    /// Of a member of an entry of `fallbacks`.
    pub(super) fn of_fallback(name: &str) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            5 if is("model") => Self::Model,
            10 if is("max_tokens") => Self::MaxTokens,
            17 if is("max_output_tokens") => Self::MaxTokens,
            21 if is("max_completion_tokens") => Self::MaxTokens,
            1 if is("n") => Self::Choices,
            _ => Self::None,
        }
    }

    /// Of a member of `context_management`.
    pub(super) fn of_edit(name: &str) -> Self {
        if name == "type" { Self::EditType } else { Self::None }
    }

    /// Whether this text, which stands under the name, tells of hidden content; `around`: what the name around says.
    pub(super) fn hides(self, around: ExternalMark, text: &str) -> bool {
        let remote = || {
            let inline = text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:"));
            !text.is_empty() && !inline
        };
        match (self, around) {
            (ExternalMark::Link, _) | (ExternalMark::Url, ExternalMark::Link | ExternalMark::Source) => {
                remote()
            }
            (ExternalMark::Id, ExternalMark::Audio) => true,
            (ExternalMark::Type, ExternalMark::Source) => matches!(text, "url" | "file"),
            (ExternalMark::Stored, _) => true,
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

/// An item of the input. One with an id and nothing that says what it is refers to what the upstream stores, and so does
/// reasoning that is not in it, encrypted.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct ContentItem {
    id: bool,
    told: bool,
    reasoning: bool,
    shown: bool,
}

impl ContentItem {
    /// What a member of this name is, and takes note of it.
    pub(super) fn member(&mut self, name: &str) -> ExternalMark {
        match name {
            "type" => return ExternalMark::ItemType,
            "encrypted_content" => {
                self.shown = false;
                return ExternalMark::ItemContent;
            }
            "id" => self.id = true,
            "role" => self.told = true,
            _ => {}
        }
        ExternalMark::of(name)
    }

    /// It has a type.
    pub(super) fn typed(&mut self, kind: &str) {
        self.told = true;
        self.reasoning = kind == "reasoning";
    }

    /// Whether it holds what it stands for.
    pub(super) fn shown(&mut self, shown: bool) {
        self.shown = shown;
    }

    /// The item ends here: whether it is a reference.
    pub(super) fn refers(self, kind: Container) -> bool {
        kind == Container::Object && self.id && (!self.told || self.reasoning && !self.shown)
    }
}
