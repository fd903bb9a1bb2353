//! The filter as the command builds it.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use tollgate_host::build::module::{self, has_simd, load_built};

#[test]
fn the_command_builds_the_filter_with_simd_in_any_environment() {
    // Variables that cargo sets for build scripts, that clippy sets, and that a user may have exported.
    let output = Command::new(env!("CARGO_BIN_EXE_tollgate"))
        .arg("build")
        .env("CARGO_ENCODED_RUSTFLAGS", "")
        .env("RUSTFLAGS", "-Ctarget-feature=-simd128")
        .env("RUSTC_WORKSPACE_WRAPPER", "/nowhere/clippy-driver")
        .env("CARGO_TARGET_DIR", "/nowhere")
        .stderr(Stdio::inherit())
        .output()
        .unwrap();
    assert!(output.status.success());
    let printed = String::from_utf8(output.stdout).unwrap();
    let paths: Vec<&Path> = printed.lines().map(Path::new).collect();
    let [path, bare, worker, console] = paths[..] else { panic!("{printed}") };
    assert!(path.ends_with("target/tollgate/tollgate.wasm"), "{}", path.display());
    assert!(bare.ends_with("target/tollgate/tollgate-bare.wasm") && bare.is_file());
    assert!(worker.ends_with("target/tollgate/worker") && worker.join("config.capnp").is_file());
    assert!(console.ends_with("target/tollgate/console") && console.join("index.html").is_file());
    let bytes = std::fs::read(path).unwrap();
    assert!(has_simd(&bytes).unwrap());
    load_built(path).unwrap();
}

#[test]
fn a_build_with_a_test_feature_is_a_separate_file() {
    let contains = |path: &Path| {
        let bytes = std::fs::read(path).unwrap();
        bytes.windows(22).any(|window| window == b"x-tollgate-inject-trap")
    };
    let shipped = module::build(&[]).unwrap();
    let trapping = module::build(&["inject-trap"]).unwrap();
    assert!(trapping.ends_with("target/tollgate/tollgate-inject-trap.wasm"));
    assert!(contains(&trapping) && !contains(&shipped));
}

#[test]
fn stored_machine_code_is_used_for_the_module_that_it_was_compiled_from() {
    let built = module::build(&[]).unwrap();
    let folder = built.parent().unwrap();
    let (path, stored) = (folder.join("stored-for-a-test.wasm"), folder.join("stored-for-a-test.cwasm"));
    let refuses = wat::parse_str(include_str!("modules/refuses.wat")).unwrap();
    let recorder = wat::parse_str(include_str!("modules/recorder.wat")).unwrap();
    let written = || fs::metadata(&stored).unwrap().modified().unwrap();

    fs::write(&path, &refuses).unwrap();
    assert_eq!(load_built(&path).unwrap().size(), refuses.len());
    let (code, first) = (fs::read(&stored).unwrap(), written());
    load_built(&path).unwrap();
    assert_eq!(written(), first, "the code is compiled once");

    fs::write(&path, &recorder).unwrap();
    assert_eq!(load_built(&path).unwrap().size(), recorder.len());
    assert!(fs::read(&stored).unwrap() != code, "another module has other code");

    // A file that is not machine code is replaced.
    fs::write(&path, &refuses).unwrap();
    for broken in [&[][..], &code[..16], &code[..32], &code[..64]] {
        fs::write(&stored, broken).unwrap();
        load_built(&path).unwrap();
        assert!(fs::read(&stored).unwrap() == code);
    }

    // Nothing is stored beside modules in other folders, nor read there.
    let other = Path::new(env!("CARGO_TARGET_TMPDIR")).join("other.wasm");
    fs::write(&other, &refuses).unwrap();
    assert_eq!(load_built(&other).unwrap().size(), refuses.len());
    assert!(!other.with_extension("cwasm").exists());
}

#[test]
fn simd_is_told_from_bytes_that_look_like_it() {
    let plain = wat::parse_str("(module (func (drop (i32.const 0xfd)) (drop (i32.const -3))))").unwrap();
    let vector = wat::parse_str("(module (func (drop (v128.const i32x4 1 2 3 4))))").unwrap();
    assert!(!has_simd(&plain).unwrap());
    assert!(has_simd(&vector).unwrap());
}
