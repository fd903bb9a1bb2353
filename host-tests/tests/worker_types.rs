//! The worker's scripts and the types of its module, checked by TypeScript.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use tollgate_host::build::worker;
use tollgate_host::tools::{self, TypeScript};

/// A copy of the worker's folder beside the types that its user installs, removed at the end.
struct Project(PathBuf);

impl Project {
    fn new(name: &str, typescript: &TypeScript) -> Self {
        let path = std::env::temp_dir().join(format!("tollgate-types-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        for file in fs::read_dir(worker::build().unwrap()).unwrap().flatten().map(|entry| entry.path()) {
            if file.is_file() {
                fs::copy(&file, path.join(file.file_name().unwrap())).unwrap();
            }
        }
        symlink(&typescript.modules, path.join("node_modules")).unwrap();
        Self(path)
    }

    /// Returns the compiler's findings; empty if there are none.
    fn findings(&self, typescript: &TypeScript) -> String {
        let output = Command::new(&typescript.tsc).arg("-p").arg(&self.0).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap() + &String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.success(), said.is_empty(), "{said}");
        said
    }
}

impl Drop for Project {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[test]
fn the_scripts_pass_the_type_check() {
    let Some(typescript) = tools::require(tools::typescript()) else { return };
    let project = Project::new("scripts", &typescript);
    assert_eq!(project.findings(&typescript), "");

    // The compiler reads each of them.
    let scripts = ["worker.js", "fetch_handler.js", "config.js", "durable_object.js", "core.js"];
    for script in scripts {
        let path = project.0.join(script);
        let sound = fs::read_to_string(&path).unwrap();
        fs::write(&path, sound + "\n/** @type {number} */\nexport const wrong = \"a text\";\n").unwrap();
    }
    let findings = project.findings(&typescript);
    for script in scripts {
        assert!(findings.contains(&format!("{script}(")), "nothing in {script}: {findings}");
    }
}

#[test]
fn a_consumer_s_script_passes_the_type_check() {
    let Some(typescript) = tools::require(tools::typescript()) else { return };
    let project = Project::new("consumer", &typescript);
    let consumer = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/worker_types/consumer.ts");
    fs::copy(consumer, project.0.join("consumer.ts")).unwrap();
    assert_eq!(project.findings(&typescript), "");
}
