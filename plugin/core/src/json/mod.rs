//! JSON that arrives in pieces, read strictly and in fixed memory.
//!
//! [`lexer::Lexer`] checks and splits a document of any size, and keeps only the texts that its [`lexer::Visitor`]
//! requests.

pub mod lexer;

pub mod node;
pub(crate) mod out_of_line;

pub(crate) mod simd;
