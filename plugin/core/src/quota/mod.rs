//! Limits and budgets: windows, whose they are, and how they refuse.

mod limits;
mod scope;
mod violation;
mod windows;

pub use limits::Limits;
pub use scope::{Level, Scope};
pub use violation::{Denial, Denials, Reason};
pub use windows::Window;
