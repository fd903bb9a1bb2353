//! JSON as it arrives: in pieces, strictly, in fixed memory.
//!
//! [`lexer::Lexer`] checks and splits a document of any size while it holds nothing of it but the
//! texts that its [`lexer::Visitor`] asked for.

#![cfg_attr(not(test), deny(clippy::wildcard_enum_match_arm))]

pub mod lexer;

pub mod node;
pub(crate) mod out_of_line;

pub(crate) mod simd;
