//! The builds of the filter, of the CDN worker and of the console.

pub mod console;
pub mod module;
pub mod worker;
