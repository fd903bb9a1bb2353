//! The credential of a request, and the identity behind it.

pub mod credential;
pub mod identity;
