//! Harness for the tests in real Envoy.
//!
//! It runs the files that an operator deploys, with only those replacements that [`shipped::Site`] lists.
//! Everything stays on the loopback interface, on ports that the system chose, and ends with the value that
//! started it.
//!
//! This is test code: these functions panic with details where a test cannot continue.

pub mod client;
pub mod envoy;
pub mod fleet;
pub mod gateway;
pub mod http2;
pub mod http3;
pub mod live;
pub mod native;
pub mod scripted;
pub mod shipped;
pub mod suite;
pub mod wire;
pub mod workerd;
pub mod world;
