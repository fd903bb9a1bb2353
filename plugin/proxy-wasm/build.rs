//! Lets this crate's exports take the place of those of the `proxy-wasm` crate.
//!
//! Version 0.2.5 defines every `proxy_on_*` export beside its traits and types, and has no feature to leave them
//! out. The linker takes the first definition it meets, which is this crate's; `host-tests/tests/module_contexts.rs`
//! fails if it does not.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // Native builds of the workspace link an empty library with another linker.
    if std::env::var("CARGO_CFG_TARGET_ARCH").is_ok_and(|arch| arch == "wasm32") {
        println!("cargo::rustc-link-arg-cdylib=--allow-multiple-definition");
    }
}
