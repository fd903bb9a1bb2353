//! The builds of the filter and of the CDN worker.

pub mod module;
pub mod worker;
