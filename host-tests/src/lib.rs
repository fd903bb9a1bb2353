//! The `tollgate` command, a proxy-wasm host on wasmtime, the server that runs the filter in it, and test
//! tools.

pub mod build;
pub mod etcd;
pub mod proxy_wasm;
pub mod server;
pub mod simulator;
pub mod store;
pub mod tools;
