//! Limits and budgets: windows, whose they are, and how they refuse.

mod limits;
mod scope;
mod violation;
mod windows;

pub use limits::Limits;
pub use scope::{PrincipalKind, QuotaScope};
pub use violation::{QuotaExceeded, QuotaReason, QuotaViolations};
pub use windows::Window;
