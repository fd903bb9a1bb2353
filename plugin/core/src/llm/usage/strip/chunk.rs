//! The members of a chunk that tell the usage chunk from others.

use alloc::vec::Vec;
use core::convert::Infallible;
use core::ops::Range;

use super::USAGE;
use crate::json::lexer::{Container, JsonText, Scalar, Visitor};
use crate::llm::dialect::openai::CHUNK_CHOICES;

/// The member of a choice that tells it from others and says nothing else.
const INDEX: &str = "index";

/// The most bytes of a name that matter: one more than the longest one has.
const NAME_BYTES: usize =
    1 + if CHUNK_CHOICES.len() > USAGE.name.len() { CHUNK_CHOICES.len() } else { USAGE.name.len() };

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum ChunkMember {
    #[default]
    Other,
    Choices,
    Usage,
}

/// The part of a chunk, an object, that was read.
#[derive(Clone, Debug, Default)]
pub(super) struct ChunkScan {
    member: ChunkMember,
    /// The last name in a choice is [`INDEX`].
    index: bool,
    choices: bool,
    usage: bool,
    answers: bool,
    closed: bool,
    /// The members `"usage": null`, each from the end of the member before it to its own end.
    pub(super) nulls: Vec<Range<u64>>,
    /// The offset of the end of the last member, or of the start of the object, if the next member may be such a null.
    pub(super) awaiting: Option<u64>,
    /// The offset of the start of the object.
    pub(super) opened: u64,
    reached: u64,
}

impl ChunkScan {
    /// Returns true if the chunk is certainly not the usage chunk.
    pub(super) fn is_other(&self) -> bool {
        self.answers || self.closed && !self.is_usage_chunk()
    }

    /// Returns true if the chunk has usage and no answer: its choices are empty, or all that they hold is empty.
    pub(super) fn is_usage_chunk(&self) -> bool {
        self.closed && self.choices && self.usage && !self.answers
    }

    /// Returns true if a value in the choices says nothing.
    fn is_empty(&self, depth: usize, value: Scalar<'_>) -> bool {
        match value {
            Scalar::Null => true,
            Scalar::String(text) => text.whole && text.text.is_empty(),
            Scalar::Number(_) => self.index && depth == 3,
            Scalar::Bool(_) => false,
        }
    }
}

impl Visitor for ChunkScan {
    type Stop = Infallible;

    fn reached(&mut self, offset: u64) {
        self.reached = offset;
    }

    fn begin(&mut self, depth: usize, kind: Container) -> Result<(), Infallible> {
        match (depth, self.member, kind) {
            (0, ..) => {
                self.opened = self.reached;
                self.awaiting = Some(self.reached);
            }
            (1, ChunkMember::Choices, Container::Object) => self.answers = true,
            (1, ChunkMember::Choices, Container::Array) => self.choices = true,
            (1, ChunkMember::Usage, _) => {
                self.usage = kind == Container::Object;
                self.awaiting = None;
            }
            _ => {}
        }
        Ok(())
    }

    fn end(&mut self, depth: usize, _: Container) -> Result<(), Infallible> {
        match depth {
            0 => {
                self.closed = true;
                self.awaiting = None;
            }
            1 => self.awaiting = Some(self.reached),
            _ => {}
        }
        Ok(())
    }

    fn name_bytes(&self, depth: usize) -> usize {
        match (depth, self.member) {
            (1, _) => NAME_BYTES,
            (3, ChunkMember::Choices) => INDEX.len() + 1,
            _ => 0,
        }
    }

    fn name(&mut self, depth: usize, name: JsonText<'_>) -> Result<(), Infallible> {
        if depth == 1 {
            // A name with escapes is not searched for in whole events either.
            self.member = match name.text {
                CHUNK_CHOICES if name.whole => ChunkMember::Choices,
                text if name.whole && !name.escaped && text == USAGE.name => ChunkMember::Usage,
                _ => ChunkMember::Other,
            };
            if self.member != ChunkMember::Usage {
                self.awaiting = None;
            }
        }
        self.index = depth == 3 && name.is(INDEX);
        Ok(())
    }

    fn scalar_bytes(&self, depth: usize) -> usize {
        usize::from(depth > 1 && self.member == ChunkMember::Choices)
    }

    fn scalar(&mut self, depth: usize, value: Scalar<'_>) -> Result<(), Infallible> {
        match (depth, self.member, value) {
            (1, ChunkMember::Usage, Scalar::Null) => {
                self.nulls.extend(self.awaiting.map(|start| start..self.reached));
            }
            (1, ChunkMember::Usage, _) => self.usage = false,
            (1, ChunkMember::Choices, Scalar::Null) => self.choices = true,
            (1, ChunkMember::Choices, _) => self.answers = true,
            (1, ChunkMember::Other, _) => {}
            (_, ChunkMember::Choices, value) => self.answers |= !self.is_empty(depth, value),
            _ => {}
        }
        if depth == 1 {
            self.awaiting = Some(self.reached);
        }
        Ok(())
    }
}
