//! Harness for the tests against real Envoy.
//!
//! It runs what an operator deploys: the files of this folder, with nothing replaced but what
//! [`shipped::Site`] lists. Everything stays on the loopback interface, on ports that the system chose,
//! and ends with the value that started it.
//!
//! This is test code: where a test could not go on, these functions panic with what they saw.

pub mod client;
pub mod envoy;
pub mod fleet;
pub mod gateway;
pub mod http2;
pub mod shipped;
pub mod suite;
pub mod wire;
pub mod workerd;
pub mod world;
