//! Images, sound, video and documents inside a body, and the tokens that they stand for.
//!
//! A string counts as media by its place in the request, as the API references define it, and never by its look: the same
//! text in a message, in a tool's schema or in a function's arguments is text. Media count by kind instead of by bytes:
//!
//! | kind | at most, for money | estimate, for token limits |
//! |---|---|---|
//! | image | 16,384 tokens | 1,600 tokens |
//! | sound | 32 tokens for 600 bytes | 32 tokens for 4,000 bytes |
//! | video | 300 tokens for 4,000 bytes | 300 tokens for 40,000 bytes |
//! | PDF | one token for a byte, and 4,600 | one token for 4 bytes, and 1,600 |
//!
//! - Image: Qwen-VL takes up to 16,384 tokens (its model card), OpenAI's newest models some 10,000 patches, Anthropic's 4,784
//!   ("Vision"), Gemini 2,240 ("Media resolution"). Most take far less: Anthropic 1,568, OpenAI's tiles 1,445, Gemini 1,120.
//!   `gpt-4o-mini` alone counts more (up to 48,169, at a price that makes up for it); the settlement charges its true figure.
//! - Sound: Gemini counts 32 tokens a second, OpenAI 10 ("Understand and count tokens", "Audio"). 600 bytes a second is the
//!   lowest mode of AMR; speech in MP3 takes some 4,000.
//! - Video: Gemini counts 263 tokens a second, and 32 for its sound.
//! - PDF: text and an image of each page, up to 3,000 and 1,600 tokens (Anthropic, "PDF support"). Compressed text has up to four
//!   characters, or one token, in a byte.
//!
//! Other files, and files of an unknown type, are text: each of their bytes counts.

use crate::json::lexer::JsonText;

/// The number of bytes to keep of a string that may be media: the longest beginning of a data URL that is compared.
pub(super) const MEDIA_BYTES: usize = 48;

/// The kinds of media whose tokens do not follow from their bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MediaKind {
    Image,
    Sound,
    Video,
    Pdf,
}

impl MediaKind {
    /// The kind of a media type such as `image/png`; `None` for types that may hold text, SVG among them.
    fn of_type(media_type: &str) -> Option<Self> {
        let (kind, format) = media_type.split_once('/')?;
        let is = |known: &str| kind.eq_ignore_ascii_case(known);
        let bitmap = || {
            let known = ["png", "jpeg", "jpg", "webp", "gif", "heic", "heif", "avif", "bmp", "tiff"];
            known.iter().any(|known| format.eq_ignore_ascii_case(known))
        };
        if is("image") && bitmap() {
            Some(Self::Image)
        } else if is("audio") {
            Some(Self::Sound)
        } else if is("video") {
            Some(Self::Video)
        } else if is("application") && format.eq_ignore_ascii_case("pdf") {
            Some(Self::Pdf)
        } else {
            None
        }
    }

    /// The kind of a data URL by its media type (RFC 2397); `None` for other URLs and for text.
    fn of_data_url(start: &str) -> Option<Self> {
        let (scheme, rest) = start.split_at_checked(5)?;
        let media_type = rest.split([';', ',']).next().filter(|_| rest.contains([';', ',']))?;
        if scheme.eq_ignore_ascii_case("data:") { Self::of_type(media_type) } else { None }
    }
}

/// The media of one request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct InlineMedia {
    /// The bytes of the body that are media; all others are text.
    pub bytes: u64,
    /// The number of images.
    pub images: u64,
    /// The number of recordings.
    pub sounds: u64,
    /// Their bytes, decoded.
    pub sound_bytes: u64,
    /// The number of videos.
    pub videos: u64,
    /// Their bytes, decoded.
    pub video_bytes: u64,
    /// The number of PDF documents.
    pub documents: u64,
    /// Their bytes, decoded.
    pub document_bytes: u64,
}

impl InlineMedia {
    /// Adds a piece that takes `bytes` in the body, of which `decoded` are content.
    pub(super) fn add(&mut self, kind: MediaKind, bytes: u64, decoded: u64) {
        self.bytes = self.bytes.saturating_add(bytes);
        match kind {
            MediaKind::Image => self.images += 1,
            MediaKind::Sound => {
                self.sounds += 1;
                self.sound_bytes = self.sound_bytes.saturating_add(decoded);
            }
            MediaKind::Video => {
                self.videos += 1;
                self.video_bytes = self.video_bytes.saturating_add(decoded);
            }
            MediaKind::Pdf => {
                self.documents += 1;
                self.document_bytes = self.document_bytes.saturating_add(decoded);
            }
        }
    }

    fn add_base64(&mut self, kind: MediaKind, bytes: u64) {
        self.add(kind, bytes, base64_content(bytes));
    }

    /// Returns an upper bound of the input tokens.
    #[must_use]
    pub fn most_tokens(&self) -> u64 {
        let MediaTokens { image, sound, mixed } = self.most_tokens_by_kind();
        image.saturating_add(sound).saturating_add(mixed)
    }

    /// Returns the parts of that bound.
    #[must_use]
    pub fn most_tokens_by_kind(&self) -> MediaTokens {
        let video = (self.video_bytes / 4_000).saturating_add(self.videos).saturating_mul(300);
        let documents = self.document_bytes.saturating_add(self.documents.saturating_mul(4_600));
        MediaTokens {
            image: self.images.saturating_mul(16_384),
            sound: self.most_seconds().saturating_mul(32),
            mixed: video.saturating_add(documents),
        }
    }

    /// Returns an upper bound of the length of all recordings, in seconds.
    #[must_use]
    pub fn most_seconds(&self) -> u64 {
        (self.sound_bytes / 600).saturating_add(self.sounds)
    }

    /// Returns the input tokens as token limits estimate them.
    #[must_use]
    pub fn likely_tokens(&self) -> u64 {
        sum([
            self.images.saturating_mul(1_600),
            (self.sound_bytes / 4_000).saturating_add(self.sounds).saturating_mul(32),
            (self.video_bytes / 40_000).saturating_add(self.videos).saturating_mul(300),
            (self.document_bytes / 4).saturating_add(self.documents.saturating_mul(1_600)),
        ])
    }
}

/// Tokens by the kinds of media that providers count apart.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MediaTokens {
    /// Images.
    pub image: u64,
    /// Sound.
    pub sound: u64,
    /// Videos and documents: images with sound or text.
    pub mixed: u64,
}

fn sum(tokens: [u64; 4]) -> u64 {
    tokens.into_iter().fold(0, u64::saturating_add)
}

/// The bytes that this many characters of base64 stand for.
fn base64_content(characters: u64) -> u64 {
    (characters / 4).saturating_mul(3).saturating_add(characters % 4)
}

/// The place of a value in a request, as far as media can be below it. Lists have no place of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Place {
    /// No media.
    #[default]
    Elsewhere,
    /// The body.
    Body,
    /// `messages`, and the items of `input` and `inputs`.
    Messages,
    /// The content of a message, of a tool's result or of a document.
    Parts,
    /// `image_url` and its like: a data URL, or an object with one in `url`.
    Link,
    /// `input_audio`
    Recording,
    /// The base64 text of a recording.
    RecordingData,
    /// `file` of a chat: `file_data` and `filename`.
    File,
    /// `file_data`: a data URL.
    FileData,
    /// `filename`
    FileName,
    /// Anthropic's `source`.
    Source,
    /// `type` of a source; only `base64` is media.
    SourceType,
    /// `media_type` of a source, `mimeType` of Gemini's inline data.
    MediaType,
    /// The base64 text of a source or of inline data.
    Data,
    /// Gemini's `contents` and its like.
    Contents,
    /// Gemini's `parts`.
    GeminiParts,
    /// Gemini's `inlineData`.
    InlineData,
    /// Gemini's `functionResponse`, whose `parts` may be media.
    FunctionResponse,
    /// A member that describes media in letters of another case: some servers read it in place of the other.
    Lookalike,
}

/// Members that may hold an address in place of media.
const ADDRESSES: &[(Place, &[&str])] = &[
    // xAI's and Volcengine's images.
    (Place::Body, &["image", "images", "mask"]),
    // Jina's documents, DashScope's frames of a video.
    (Place::Messages, &["image", "pdf", "video"]),
    (Place::Parts, &["image", "pdf", "video"]),
    // DashScope's recordings.
    (Place::Recording, &["data"]),
];

/// Members that may say that the content is text.
const DESCRIPTIONS: &[(Place, &[&str])] = &[
    (Place::Parts, &["file_data", "filename"]),
    (Place::File, &["file_data", "filename"]),
    (Place::Source, &["type", "media_type", "data"]),
    (Place::InlineData, &["mimeType", "mime_type", "data"]),
];

impl Place {
    /// The place of a member. Other spellings of its name are text.
    pub(super) fn member(self, name: &str) -> Self {
        let place = self.exact_member(name);
        if place == Self::Elsewhere && self.is_described_by(name) { Self::Lookalike } else { place }
    }

    /// Returns true for a member that holds media as base64 text or as a URL, which only its value shows.
    pub(super) fn may_be_address(self, name: &str) -> bool {
        self.has_any_of(ADDRESSES, name)
    }

    /// Returns true if a member of this object with this name, in letters of any case, may say that the content is text.
    fn is_described_by(self, name: &str) -> bool {
        self.has_any_of(DESCRIPTIONS, name)
    }

    /// Returns true if a table has the name, in letters of any case, for this object.
    fn has_any_of(self, table: &[(Self, &[&str])], name: &str) -> bool {
        // Nearly every member is elsewhere.
        if self == Self::Elsewhere {
            return false;
        }
        let mut names = table.iter().filter(|(place, _)| *place == self).flat_map(|(_, names)| *names);
        names.any(|known| known.eq_ignore_ascii_case(name))
    }

    fn exact_member(self, name: &str) -> Self {
        match self {
            Self::Body => match name {
                "messages" | "input" | "inputs" => Self::Messages,
                "contents" | "content" | "systemInstruction" | "system_instruction" | "requests" => {
                    Self::Contents
                }
                // OpenAI's and xAI's image edits; Cohere's embeddings.
                "image" | "images" | "mask" => Self::Link,
                _ => Self::Elsewhere,
            },
            Self::Messages => match name {
                "content" | "output" => Self::Parts,
                _ => Self::Elsewhere,
            },
            Self::Parts => match name {
                "image_url" | "audio_url" | "video_url" | "image_base64" => Self::Link,
                "input_audio" => Self::Recording,
                "file" => Self::File,
                "file_data" => Self::FileData,
                "filename" => Self::FileName,
                "source" => Self::Source,
                "content" => Self::Parts,
                _ => Self::Elsewhere,
            },
            Self::Link => match name {
                "url" | "image_url" => Self::Link,
                _ => Self::Elsewhere,
            },
            Self::Recording if name == "data" => Self::RecordingData,
            Self::File => match name {
                "file_data" => Self::FileData,
                "filename" => Self::FileName,
                _ => Self::Elsewhere,
            },
            Self::Source => match name {
                "type" => Self::SourceType,
                "media_type" => Self::MediaType,
                "data" => Self::Data,
                "content" => Self::Parts,
                _ => Self::Elsewhere,
            },
            Self::Contents => match name {
                "parts" => Self::GeminiParts,
                "content" => Self::Contents,
                _ => Self::Elsewhere,
            },
            Self::GeminiParts => match name {
                "inlineData" | "inline_data" => Self::InlineData,
                "functionResponse" | "function_response" => Self::FunctionResponse,
                _ => Self::Elsewhere,
            },
            Self::InlineData => match name {
                "mimeType" | "mime_type" => Self::MediaType,
                "data" => Self::Data,
                _ => Self::Elsewhere,
            },
            Self::FunctionResponse if name == "parts" => Self::GeminiParts,
            Self::Elsewhere
            | Self::Recording
            | Self::RecordingData
            | Self::FileData
            | Self::FileName
            | Self::SourceType
            | Self::MediaType
            | Self::Data
            | Self::FunctionResponse
            | Self::Lookalike => Self::Elsewhere,
        }
    }

    /// The number of bytes to keep of a string at this place.
    pub(super) fn bytes_to_keep(self) -> usize {
        match self {
            Self::Link | Self::FileData | Self::SourceType | Self::MediaType => MEDIA_BYTES,
            // Longer names are no PDF's.
            Self::FileName => 256,
            Self::Elsewhere
            | Self::Body
            | Self::Messages
            | Self::Parts
            | Self::Recording
            | Self::RecordingData
            | Self::File
            | Self::Source
            | Self::Data
            | Self::Contents
            | Self::GeminiParts
            | Self::InlineData
            | Self::FunctionResponse
            | Self::Lookalike => 0,
        }
    }
}

/// The innermost object that may hold media, until its end: its members come in any order, and a repeated one may differ.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct OpenObject {
    /// The depth of the object's members.
    depth: usize,
    /// Bytes of base64 text in `data` and `file_data`.
    bytes: u64,
    pieces: u64,
    kind: Option<MediaKind>,
    /// A member says that the content is text, or two members differ.
    is_text: bool,
    /// Anthropic's `type` is `base64`.
    is_base64: bool,
}

impl OpenObject {
    pub(super) fn begin(depth: usize) -> Self {
        Self { depth, ..Self::default() }
    }

    fn set_kind(&mut self, kind: Option<MediaKind>) {
        self.is_text |= kind.is_none() || self.kind.is_some_and(|known| Some(known) != kind);
        self.kind = kind;
    }

    /// Takes a string that needs `bytes` of the body, with its quotes.
    pub(super) fn string(
        &mut self,
        place: Place,
        depth: usize,
        text: JsonText<'_>,
        bytes: u64,
        media: &mut InlineMedia,
    ) {
        match place {
            Place::Link => {
                if let Some(kind) = MediaKind::of_data_url(text.text) {
                    media.add_base64(kind, bytes);
                }
            }
            Place::RecordingData => media.add_base64(MediaKind::Sound, bytes),
            _ if depth != self.depth => {}
            Place::Data => {
                self.bytes = self.bytes.saturating_add(bytes);
                self.pieces += 1;
            }
            Place::FileData => {
                self.bytes = self.bytes.saturating_add(bytes);
                self.pieces += 1;
                self.is_base64 = true;
                self.set_kind(MediaKind::of_data_url(text.text).filter(|kind| *kind == MediaKind::Pdf));
            }
            Place::FileName => {
                let end = text.text.len().checked_sub(4).and_then(|at| text.text.get(at..));
                self.is_text |= !text.whole || !end.is_some_and(|end| end.eq_ignore_ascii_case(".pdf"));
            }
            Place::SourceType => {
                self.is_base64 = text.is("base64");
                self.is_text |= !self.is_base64;
            }
            Place::MediaType => {
                let kind = MediaKind::of_type(text.text).filter(|_| text.whole);
                self.set_kind(kind);
            }
            Place::Lookalike => self.is_text = true,
            Place::Elsewhere
            | Place::Body
            | Place::Messages
            | Place::Parts
            | Place::Recording
            | Place::File
            | Place::Source
            | Place::Contents
            | Place::GeminiParts
            | Place::InlineData
            | Place::FunctionResponse => {}
        }
    }

    /// Ends an object whose members have this depth.
    pub(super) fn end(&mut self, place: Place, depth: usize, media: &mut InlineMedia) {
        if depth != self.depth {
            return;
        }
        let encoded = self.is_base64 || place == Place::InlineData;
        if let (Some(kind), true, false) = (self.kind, encoded && self.pieces > 0, self.is_text) {
            media.add_base64(kind, self.bytes);
            // One of several is read, perhaps each in turn.
            for _ in 1..self.pieces {
                media.add(kind, 0, 0);
            }
        }
        *self = Self::default();
    }
}

/// The kind of a file in a form, by the name of its part: sound for transcriptions and translations, images for edits.
pub(super) fn kind_of_part(name: &str) -> Option<MediaKind> {
    match name {
        "file" => Some(MediaKind::Sound),
        "image" | "image[]" | "mask" => Some(MediaKind::Image),
        _ => None,
    }
}
