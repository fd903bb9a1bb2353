//! Modules stay small enough for every host: CDNs bound what they load. README.md says how large they are.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tollgate_host::build::{module, worker};

const KIB: usize = 1024;

/// How far the table may be from the truth, so that not every change writes it anew.
const DRIFT: usize = 8;

const BEGIN: &str =
    "<!-- Written by `TOLLGATE_WRITE_TABLES=1 cargo test -p tollgate-host --test module_size`. -->\n";
const END: &str = "<!-- End of the generated table. -->";

/// How large a file is, and how large `gzip -9` makes it.
type Sizes = [usize; 2];

/// In bytes.
fn sizes(path: &Path) -> Sizes {
    let raw = fs::read(path).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&raw).unwrap();
    [raw.len(), gzip.finish().unwrap().len()]
}

#[test]
fn every_module_is_within_its_bound_and_as_large_as_the_table_says() {
    let modules = [
        // Envoy and its kin bound nothing: this is what it is, so that it grows on purpose only. Management and fleet are the
        // difference to the bare one.
        ("`tollgate.wasm`", module::build(&[]).unwrap(), 345 * KIB),
        ("`tollgate-bare.wasm`", module::build(&["bare"]).unwrap(), 207 * KIB),
        ("`worker/tollgate_bg.wasm`", worker::build().unwrap().join("tollgate_bg.wasm"), 205 * KIB),
    ];
    let rows = modules.map(|(name, path, bound)| {
        let sizes = sizes(&path);
        assert!(sizes[1] < bound, "{name}: {} bytes compressed", sizes[1]);
        (name, sizes.map(|bytes| bytes.div_ceil(KIB)))
    });
    hold(&rows);
}

/// Holds the rows, in KiB, against the table, or writes them there where `TOLLGATE_WRITE_TABLES` is set.
fn hold(rows: &[(&str, Sizes)]) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the table has a begin");
    let (table, after) = rest.split_once(END).expect("and an end");
    let said = |name: &str, sizes: Sizes| {
        let row = table.lines().find(|line| line.starts_with(&format!("| {name} |")));
        let numbers = row.into_iter().flat_map(|row| row.split('|').skip(2));
        let numbers = numbers.map_while(|cell| cell.trim().strip_suffix(" KiB")?.parse::<usize>().ok());
        let numbers: Vec<_> = numbers.collect();
        numbers.len() == sizes.len() && numbers.iter().zip(sizes).all(|(said, is)| said.abs_diff(is) <= DRIFT)
    };
    if table.lines().count() == rows.len() + 2 && rows.iter().all(|(name, sizes)| said(name, *sizes)) {
        return;
    }
    let rows: String =
        rows.iter().map(|(name, [raw, gzip])| format!("| {name} | {raw} KiB | {gzip} KiB |\n")).collect();
    let fresh = format!("| module | uncompressed | with `gzip -9` |\n|---|---|---|\n{rows}");
    assert!(
        std::env::var_os("TOLLGATE_WRITE_TABLES").is_some(),
        "the table in README.md is not as it is:\n{fresh}\n{BEGIN}"
    );
    fs::write(&path, [before, BEGIN, &fresh, END, after].concat()).unwrap();
}
