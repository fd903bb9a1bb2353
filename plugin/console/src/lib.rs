//! The web console of Tollgate: the management API as pages, in the browser.
//!
//! `README.md` maps the modules. Those that decide (addresses, roles, input, words) are plain Rust; those that draw exist in the
//! browser only.

pub mod address;
pub mod format;
pub mod input;
pub mod merge;
pub mod role;
pub mod types;
pub mod words;

#[cfg(target_arch = "wasm32")]
mod api;
#[cfg(target_arch = "wasm32")]
mod browser;
#[cfg(target_arch = "wasm32")]
mod pages;
#[cfg(target_arch = "wasm32")]
mod session;
#[cfg(target_arch = "wasm32")]
mod shell;
#[cfg(target_arch = "wasm32")]
mod view;

#[cfg(target_arch = "wasm32")]
pub use shell::start;
