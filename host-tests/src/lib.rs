//! The `tollgate` command, a proxy-wasm host on wasmtime, the server that runs the filter in it, and test
//! tools.

pub mod etcd;
pub mod host;
pub mod module;
pub mod provision;
pub mod serve;
pub mod upstream;
pub mod worker;
