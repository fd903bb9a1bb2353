//! Builds the worker: a folder for `workerd serve` and `wrangler`.

use std::fs;
use std::path::{Path, PathBuf};

use wasm_bindgen_cli_support::Bindgen;

use crate::build::module::{self, BuildError, file};

/// The target the worker's module is compiled for.
pub const TARGET: &str = "wasm32-unknown-unknown";

const PACKAGE: &str = "tollgate-worker";
/// The folder of the files that are shipped unchanged.
const SCRIPT: &str = "plugin/worker/script";

/// Builds the worker and returns its folder: `target/tollgate/worker`.
///
/// An existing policy in it is kept, as the storage is, since an operator may have changed it.
pub fn build() -> Result<PathBuf, BuildError> {
    let folder = module::output()?.join("worker");
    module::once(&folder, || fill(&folder))?;
    Ok(folder)
}

fn fill(folder: &Path) -> Result<(), BuildError> {
    let root = module::workspace()?;
    for inside in ["", "storage", "policy"] {
        let folder = folder.join(inside);
        fs::create_dir_all(&folder).map_err(|error| file(&folder, error))?;
    }
    // Its references to JavaScript need more than the first engines support.
    let (profile, flags) = ("wasm", module::SIMD);
    let (package, target) = (PACKAGE, TARGET);
    let recipe = module::Recipe { package, target, profile, flags, features: &[], quiet: false };
    let compiled = module::compile(&recipe)?;
    bind(&compiled.path, folder)?;

    let script = root.join(SCRIPT);
    for entry in fs::read_dir(&script).map_err(|error| file(&script, error))?.flatten() {
        let bytes = fs::read(entry.path()).map_err(|error| file(&entry.path(), error))?;
        module::replace(&folder.join(entry.file_name()), &bytes)?;
    }
    let policy = folder.join("policy/configuration.json");
    if !policy.exists() {
        let demo = root.join("policies/demo.json");
        let demo = fs::read_to_string(&demo).map_err(|error| file(&demo, error))?;
        module::replace(&policy, format!("{{\"policy\": {demo}}}\n").as_bytes())?;
    }
    Ok(())
}

/// Generates the module's JavaScript and types, like wasm-bindgen's own tool.
fn bind(module: &Path, folder: &Path) -> Result<(), BuildError> {
    let refused = |error: &dyn std::fmt::Display| BuildError::Bindgen {
        path: module.to_owned(),
        reason: error.to_string(),
    };
    let mut tool = Bindgen::new();
    tool.input_path(module).out_name("tollgate").typescript(true);
    tool.remove_name_section(true).remove_producers_section(true);
    let mut output =
        tool.web(true).and_then(|tool| tool.generate_output()).map_err(|error| refused(&error))?;
    // Into a temporary folder first, so that a reader of the other one never sees half of it.
    let fresh = folder.with_file_name("worker.new");
    output.emit(&fresh).map_err(|error| refused(&error))?;
    for entry in fs::read_dir(&fresh).map_err(|error| file(&fresh, error))?.flatten() {
        let bytes = fs::read(entry.path()).map_err(|error| file(&entry.path(), error))?;
        module::replace(&folder.join(entry.file_name()), &bytes)?;
    }
    fs::remove_dir_all(&fresh).map_err(|error| file(&fresh, error))
}
