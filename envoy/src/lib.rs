//! Harness for the tests against real Envoy.
