//! Every command of the workspace's README works as it stands there, and every folder has one.

mod command;

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use command::Serve;
use tollgate_host::module;

/// The shell blocks, in their order.
fn blocks(text: &str) -> Vec<&str> {
    text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default()).collect()
}

/// A `cargo` for these blocks: cargo does not run inside of cargo, so what it has built is run. What starts a
/// server, or is these tests, is known and does nothing; anything else is a command that nobody tried.
fn cargo(folder: &Path) {
    let script = format!(
        "#!/bin/sh\n\
         case \"$*\" in\n\
         run | \"test --workspace\") ;;\n\
         \"run -- \"*) shift 2; exec '{}' \"$@\" ;;\n\
         *) echo \"no test knows: cargo $*\" >&2; exit 1 ;;\n\
         esac\n",
        env!("CARGO_BIN_EXE_tollgate")
    );
    let path = folder.join("cargo");
    fs::write(&path, script).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// Folders with a package in them, and that of the policies.
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
fn every_folder_says_what_it_is_for() {
    let root = module::workspace().unwrap();
    let folders = folders(&root);
    assert!(folders.len() > 8, "{folders:?}");
    let silent: Vec<_> = folders.iter().filter(|folder| !folder.join("README.md").exists()).collect();
    assert!(silent.is_empty(), "no README.md in {silent:?}");
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
    // `cargo run`, on a port that is free.
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
