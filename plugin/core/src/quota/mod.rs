//! Limits and budgets: their windows and principals, and the rejections they cause.

mod scope;
mod violation;
mod windows;

pub use scope::{PrincipalKind, QuotaScope};
pub use violation::{QuotaExceeded, QuotaReason, QuotaViolations};
pub(crate) use windows::windows;
pub use windows::{Limits, Window, WindowSpan, WindowUnit};
