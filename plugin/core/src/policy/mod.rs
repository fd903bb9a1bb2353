//! The policy: who is who, who may call what, and how much.

pub mod model;

pub use model::*;
