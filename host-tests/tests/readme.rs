//! Every command of the workspace's README works, every folder has a README, and the tests that SECURITY.md
//! names exist.

mod command;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use command::Serve;
use tollgate_host::build::module;

/// Returns the shell blocks, in order.
fn blocks(text: &str) -> Vec<&str> {
    text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// Writes a `cargo` for these blocks. Since cargo does not run inside of cargo, it runs the built command. It
/// ignores commands that start a server or these tests, and fails for any other.
fn cargo(folder: &Path) {
    let script = format!(
        "#!/bin/sh\n\
         case \"$*\" in\n\
         run | \"test --workspace\") ;;\n\
         \"run -- \"*) shift 2; exec '{}' \"$@\" ;;\n\
         *) echo \"not covered by this test: cargo $*\" >&2; exit 1 ;;\n\
         esac\n",
        env!("CARGO_BIN_EXE_tollgate")
    );
    let path = folder.join("cargo");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Returns the folders with a package, and that of the policies.
fn folders(root: &Path) -> Vec<PathBuf> {
    let mut found = vec![root.join("policies")];
    let mut open = vec![root.to_owned()];
    while let Some(folder) = open.pop() {
        if folder.join("Cargo.toml").exists() {
            found.push(folder.clone());
        }
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let name = entry.file_name();
            let ours = name != "target" && name != "node_modules" && !name.to_string_lossy().starts_with('.');
            if ours && entry.file_type().unwrap().is_dir() {
                open.push(entry.path());
            }
        }
    }
    found
}

#[test]
fn every_folder_has_a_readme() {
    let root = module::workspace().unwrap();
    let folders = folders(&root);
    assert!(folders.len() > 8, "{folders:?}");
    let silent: Vec<_> = folders.iter().filter(|folder| !folder.join("README.md").exists()).collect();
    assert!(silent.is_empty(), "no README.md in {silent:?}");
}

#[test]
fn the_tests_named_in_security_md_exist() {
    let root = module::workspace().unwrap();
    let text = fs::read_to_string(root.join("SECURITY.md")).unwrap();
    let named: Vec<_> = text.split('`').filter_map(|word| word.split_once(".rs::")).collect();
    assert!(named.len() > 20, "{named:?}");
    for (file, test) in named {
        let path = root.join(file).with_extension("rs");
        let source = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let before = source.split_once(&format!("fn {test}(")).map(|(before, _)| before.trim_end());
        let is_test = |before: &str| before.ends_with("#[test]") || before.ends_with("#[tokio::test]\nasync");
        assert!(before.is_some_and(is_test), "no test {test} in {file}.rs");
    }
    // Each promise of the tables names one.
    let promises = text.lines().skip_while(|line| *line != "## What is promised");
    for line in promises.filter(|line| line.starts_with("| ") && !line.starts_with("| promise")) {
        assert!(line.contains(".rs::"), "{line}");
    }
}

#[test]
fn every_command_of_the_readme_works() {
    let root = module::workspace().unwrap();
    let readme = fs::read_to_string(root.join("README.md")).unwrap();
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("readme");
    fs::create_dir_all(&folder).unwrap();
    cargo(&folder);
    let path = std::env::var_os("PATH").unwrap();
    let path = std::env::join_paths([folder].into_iter().chain(std::env::split_paths(&path))).unwrap();
    // `cargo run`, on a free port.
    let serve = Serve::start(&[]);

    let blocks: Vec<&str> =
        blocks(&readme).into_iter().filter(|block| !block.starts_with("# Not run in CI")).collect();
    let mut said = String::new();
    for block in &blocks {
        let output = Command::new("sh")
            .args(["-euc", &block.replace("127.0.0.1:8787", &serve.address)])
            .current_dir(&root)
            .env("PATH", &path)
            .output()
            .unwrap();
        assert!(output.status.success(), "{block}\n{output:?}");
        said += &String::from_utf8_lossy(&output.stdout);
        said += &String::from_utf8_lossy(&output.stderr);
    }
    assert!(readme.contains("```sh\ncargo run\n```") && readme.contains("cargo test --workspace"));
    assert!(said.contains("HTTP/1.1 200 OK"), "the first request passes:\n{said}");
    assert!(said.contains("policies/demo.json: a valid policy"), "{said}");
    assert!(said.contains("target/tollgate/tollgate.wasm"), "{said}");
}
