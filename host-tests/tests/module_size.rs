//! Modules stay small enough for every host: CDNs bound what they load.

use std::fs;
use std::io::Write as _;
use std::path::Path;

use flate2::Compression;
use flate2::write::GzEncoder;
use tollgate_host::{module, worker};

const KIB: usize = 1024;

/// Bytes of a file, raw and as `gzip -9` makes them.
fn sizes(path: &Path) -> (usize, usize) {
    let raw = fs::read(path).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&raw).unwrap();
    (raw.len(), gzip.finish().unwrap().len())
}

#[test]
fn every_module_is_within_its_bound() {
    let modules = [
        // Envoy and its kin bound nothing; management is half of it.
        ("proxy-wasm", module::build(&[]).unwrap(), 450 * KIB),
        ("proxy-wasm for CDNs", module::build(&["bare"]).unwrap(), 300 * KIB),
        ("worker", worker::build().unwrap().join("tollgate_bg.wasm"), 400 * KIB),
    ];
    println!("| module | raw | gzip -9 | bound |\n|---|---|---|---|");
    for (name, path, bound) in modules {
        let (raw, compressed) = sizes(&path);
        println!("| {name} | {} KiB | {} KiB | {} KiB |", raw / KIB, compressed / KIB, bound / KIB);
        assert!(compressed < bound, "{name}: {compressed} bytes compressed");
    }
}
