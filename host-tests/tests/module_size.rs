//! The sizes of the modules: within the limits of every host, and as in the table of README.md.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use tollgate_host::build::{module, worker};

const KIB: usize = 1024;

/// The tolerated difference to the table, so that not every change rewrites it.
const DRIFT: usize = 8;

const BEGIN: &str =
    "<!-- Written by `TOLLGATE_WRITE_TABLES=1 cargo test -p tollgate-host --test module_size`. -->\n";
const END: &str = "<!-- End of the generated table. -->";

/// The size of a file, and its size after `gzip -9`.
type Sizes = [usize; 2];

/// Returns the sizes in bytes.
fn sizes(path: &Path) -> Sizes {
    let raw = fs::read(path).unwrap();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::best());
    gzip.write_all(&raw).unwrap();
    [raw.len(), gzip.finish().unwrap().len()]
}

#[test]
fn every_module_is_within_its_bound_and_matches_the_table() {
    let modules = [
        // Envoy and similar hosts have no limit: this bound prevents accidental growth. Management and fleet
        // are the difference to the bare one.
        ("`tollgate.wasm`", module::build(&[]).unwrap(), 690 * KIB),
        ("`tollgate-bare.wasm`", module::build(&["bare"]).unwrap(), 312 * KIB),
        ("`worker/tollgate_bg.wasm`", worker::build().unwrap().join("tollgate_bg.wasm"), 290 * KIB),
    ];
    let rows = modules.map(|(name, path, bound)| {
        let sizes = sizes(&path);
        assert!(sizes[1] < bound, "{name}: {} bytes compressed", sizes[1]);
        (name, sizes.map(|bytes| bytes.div_ceil(KIB)))
    });
    hold(&rows);
}

/// Compares the rows, in KiB, with the table, or writes them there if `TOLLGATE_WRITE_TABLES` is set.
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
