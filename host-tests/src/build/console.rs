//! Builds the console: the files of a page that a browser loads.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;
use sha2::{Digest as _, Sha256};
use wasm_bindgen_cli_support::Bindgen;

use super::module::{self, BuildError, Recipe, file};
use super::worker::TARGET;

const PACKAGE: &str = "tollgate-console";
/// The folder of the page, its style sheet and its icon.
const PAGE: &str = "plugin/console/page";
/// The place of the hash in the page.
const HASH: &str = "HASH";
/// The bytes of the hash in the names of files.
const HASH_BYTES: usize = 8;

/// Builds the console and returns its folder, `target/tollgate/console`: `index.html`, and `app-HASH.js`, `app-HASH_bg.wasm`,
/// `app-HASH.css` and `app-HASH.svg`, each with a copy compressed by gzip. The names change with the content.
///
/// A quiet build prints errors only.
///
/// # Errors
/// As [`module::build`], and if wasm-bindgen refuses the module.
pub fn build(quiet: bool) -> Result<PathBuf, BuildError> {
    let folder = module::output()?.join("console");
    module::once(&folder, || fill(&folder, quiet))?;
    Ok(folder)
}

fn fill(folder: &Path, quiet: bool) -> Result<(), BuildError> {
    let read = |path: PathBuf| fs::read(&path).map_err(|error| file(&path, error));
    let page = module::workspace()?.join(PAGE);
    let index = read(page.join("index.html"))?;
    let style = read(page.join("console.css"))?;
    let icon = read(page.join("icon.svg"))?;
    // It needs no vectors, and a browser that has none may load it.
    let (package, target, profile) = (PACKAGE, TARGET, "console");
    let recipe = Recipe { package, target, profile, flags: "", features: &[], quiet };
    let compiled = module::compile(&recipe)?;
    let hash = hash(&[&compiled.bytes()?, &index, &style, &icon]);
    let name = format!("app-{hash}");
    if folder.join(format!("{name}.js")).is_file() {
        return Ok(());
    }

    let fresh = folder.with_file_name("console.new");
    let _ = fs::remove_dir_all(&fresh);
    bind(&compiled.path, &name, &fresh)?;
    let script = fresh.join(format!("{name}.js"));
    let mut glue = read(script.clone())?;
    // The page's policy forbids inline scripts, so the call that starts the module is part of its JavaScript.
    let start =
        format!("\nawait __wbg_init({{ module_or_path: new URL(\"{name}_bg.wasm\", import.meta.url) }});\n");
    glue.extend_from_slice(start.as_bytes());
    let index = String::from_utf8_lossy(&index).replace(HASH, &hash);
    for (name, bytes) in [
        (script, glue),
        (fresh.join(format!("{name}.css")), style),
        (fresh.join(format!("{name}.svg")), icon),
        (fresh.join("index.html"), index.into_bytes()),
    ] {
        fs::write(&name, bytes).map_err(|error| file(&name, error))?;
    }
    compress(&fresh)?;
    let _ = fs::remove_dir_all(folder);
    fs::rename(&fresh, folder).map_err(|error| file(folder, error))
}

/// Returns the start of a digest of these texts.
fn hash(texts: &[&[u8]]) -> String {
    let digest = texts.iter().fold(Sha256::new(), |digest, text| digest.chain_update(Sha256::digest(text)));
    digest.finalize().iter().take(HASH_BYTES).map(|byte| format!("{byte:02x}")).collect()
}

/// Generates the module's JavaScript.
fn bind(module: &Path, name: &str, folder: &Path) -> Result<(), BuildError> {
    let refused = |error: &dyn std::fmt::Display| BuildError::Bindgen {
        path: module.to_owned(),
        reason: error.to_string(),
    };
    let mut tool = Bindgen::new();
    tool.input_path(module).out_name(name).typescript(false);
    tool.remove_name_section(true).remove_producers_section(true);
    let mut output =
        tool.web(true).and_then(|tool| tool.generate_output()).map_err(|error| refused(&error))?;
    output.emit(folder).map_err(|error| refused(&error))
}

/// Writes a compressed copy beside each file of the folder.
fn compress(folder: &Path) -> Result<(), BuildError> {
    for entry in fs::read_dir(folder).map_err(|error| file(folder, error))?.flatten() {
        let path = entry.path();
        let write = || -> std::io::Result<()> {
            let copy = fs::File::create(path.with_added_extension("gz"))?;
            let mut encoder = GzEncoder::new(copy, Compression::best());
            encoder.write_all(&fs::read(&path)?)?;
            encoder.finish().map(drop)
        };
        write().map_err(|error| file(&path, error))?;
    }
    Ok(())
}
