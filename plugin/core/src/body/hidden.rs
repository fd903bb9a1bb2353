//! What tells of content the body does not show.

use crate::json::lexer::Container;

/// Long enough to tell every value here from the others.
pub(super) const MARK_BYTES: usize = 24;

/// A name that tells of content the body does not show, or whose value may.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Mark {
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
}

impl Mark {
    /// Names that are alike but for case are one to some servers, and to tell too much of them is safe.
    pub(super) fn of(name: &str) -> Self {
        let is = |known: &str| name.eq_ignore_ascii_case(known);
        match name.len() {
            2 if is("id") => Self::Id,
            3 if is("url") => Self::Url,
            4 if is("type") => Self::Type,
            5 if is("audio") => Self::Audio,
            6 if is("source") => Self::Source,
            8 if is("file_url") => Self::Link,
            9 if is("image_url") || is("video_url") || is("audio_url") => Self::Link,
            7 if is("file_id") || is("fileUri") => Self::Stored,
            8 if is("file_ids") || is("file_uri") => Self::Stored,
            16 if is("vector_store_ids") => Self::Stored,
            _ => Self::None,
        }
    }

    /// Of a member of the body itself.
    pub(super) fn of_body(name: &str) -> Self {
        if name.eq_ignore_ascii_case("data_sources") { Self::DataSources } else { Self::of(name) }
    }

    /// Of a tool's member.
    pub(super) fn of_tool(name: &str) -> Self {
        if name == "type" { Self::ToolType } else { Self::of(name) }
    }

    /// Whether this text, which stands under the name, tells of hidden content; `around`: what the name around says.
    pub(super) fn hides(self, around: Mark, text: &str) -> bool {
        let remote = || {
            let inline = text.get(..5).is_some_and(|start| start.eq_ignore_ascii_case("data:"));
            !text.is_empty() && !inline
        };
        match (self, around) {
            (Mark::Link, _) | (Mark::Url, Mark::Link | Mark::Source) => remote(),
            (Mark::Id, Mark::Audio) => true,
            (Mark::Type, Mark::Source) => matches!(text, "url" | "file"),
            (Mark::Stored, _) => true,
            (Mark::ToolType, _) => {
                !RUN_BY_CLIENT.iter().any(|start| text.starts_with(start)) || text.starts_with(TOOLSET)
            }
            (Mark::ItemType, _) => STORED_ITEMS.contains(&text),
            _ => false,
        }
    }
}

/// What the types of tools begin with that the client runs: it sends what they give in a later request. What the
/// upstream runs (`web_search`, `file_search`, `mcp`, `code_execution_20250825`, …) adds to the input as it goes, and
/// there are new ones every few months: every other type is taken for one of those.
const RUN_BY_CLIENT: &[&str] = &[
    "function",
    "custom",
    "local_shell",
    "apply_patch",
    "computer",
    "bash_",
    "text_editor_",
    "memory_",
    // Finds tools that the request holds.
    "tool_search",
];

/// A set of tools that the client runs, and that the upstream explains to the model at greater length than a reservation
/// has room for: some 4,600 tokens.
const TOOLSET: &str = "computer_toolset_";

/// Items of the Responses API that stand for what the upstream stores.
const STORED_ITEMS: &[&str] = &["item_reference", "image_generation_call"];

/// Whether a tool with a member of this name is one that Gemini runs itself. Its tools have no type.
pub(super) fn is_run_by_gemini(member: &str) -> bool {
    matches!(
        member,
        "googleSearch"
            | "google_search"
            | "googleSearchRetrieval"
            | "google_search_retrieval"
            | "googleMaps"
            | "google_maps"
            | "urlContext"
            | "url_context"
            | "codeExecution"
            | "code_execution"
            | "fileSearch"
            | "file_search"
            | "retrieval"
            | "enterpriseWebSearch"
            | "enterprise_web_search"
            | "parallelAiSearch"
            | "parallel_ai_search"
            | "exaAiSearch"
            | "exa_ai_search"
            | "mcpServers"
            | "mcp_servers"
    )
}

/// An item of the input. One with an id and nothing that says what it is refers to what the upstream stores.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Item {
    id: bool,
    told: bool,
}

impl Item {
    /// What a member of this name is, and takes note of it.
    pub(super) fn member(&mut self, name: &str) -> Mark {
        match name {
            "type" => return Mark::ItemType,
            "id" => self.id = true,
            "role" => self.told = true,
            _ => {}
        }
        Mark::of(name)
    }

    /// It has a type.
    pub(super) fn typed(&mut self) {
        self.told = true;
    }

    /// The item ends here: whether it is a reference.
    pub(super) fn refers(self, kind: Container) -> bool {
        kind == Container::Object && self.id && !self.told
    }
}
