//! The commands of README.md, run in order.

use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Command;

use tollgate_envoy::client::request;
use tollgate_envoy::envoy::{Envoy, Folder};
use tollgate_envoy::gateway::filter;
use tollgate_envoy::shipped::{self, Protocol, Site};
use tollgate_envoy::world::chat;
use tollgate_host::simulator::Upstream;
use tollgate_host::tools;

/// Returns the shell blocks to run, in order.
fn blocks() -> Vec<String> {
    let text = std::fs::read_to_string(shipped::folder().join("README.md")).unwrap();
    let blocks = text.split("```sh\n").skip(1).map(|rest| rest.split("```").next().unwrap_or_default());
    blocks.filter(|block| !block.starts_with("# Not run in CI")).map(str::to_owned).collect()
}

fn run(block: &str, folder: &Path, envoy: &Path) -> String {
    let mut path = vec![envoy.parent().unwrap().to_owned()];
    path.extend(std::env::split_paths(&std::env::var_os("PATH").unwrap()));
    let output = Command::new("sh")
        .args(["-euc", block])
        .current_dir(folder)
        .env("PATH", std::env::join_paths(path).unwrap())
        .output()
        .unwrap();
    assert!(output.status.success(), "{block}\n{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

#[test]
fn every_command_of_the_readme_works() {
    let Some(program) = tools::require(tools::envoy()) else { return };
    let blocks = blocks();
    let [deploy, option, change, drain, look] = blocks.as_slice() else { panic!("{blocks:#?}") };
    let module = filter(&[]);
    let folder = Folder::new();
    let repository = shipped::folder().parent().unwrap();
    symlink(repository.join("envoy"), folder.path().join("envoy")).unwrap();
    symlink(repository.join("target"), folder.path().join("target")).unwrap();
    // The module is built already: cargo does not run inside cargo.
    let deploy = deploy.strip_prefix("cargo run -- build\n").unwrap();
    run(deploy, folder.path(), &program);
    run(option, folder.path(), &program);
    let switched = std::fs::read_to_string(folder.path().join("gateway/envoy.yaml")).unwrap();
    assert_eq!(
        switched.lines().collect::<Vec<_>>(),
        shipped::with_options(&["cors"]).lines().collect::<Vec<_>>()
    );

    let upstream = Upstream::start().unwrap();
    let site = Site { module, configuration: None, upstream: upstream.addr(), protocol: Protocol::Http1 };
    let gateway = Folder::new();
    for file in ["tollgate.wasm", "tollgate.yaml", "secrets"] {
        std::fs::rename(folder.path().join("gateway").join(file), gateway.path().join(file)).unwrap();
    }
    std::fs::write(gateway.path().join("envoy.yaml"), shipped::bootstrap(&site).to_string()).unwrap();
    let envoy = Envoy::run(&program, gateway, 2);
    symlink(envoy.folder(), folder.path().join("running")).unwrap();
    let run = |block: &str| {
        let block = block
            .replace("cd gateway", "cd running")
            .replace("localhost:9901", &envoy.admin_address().to_string());
        run(&block, folder.path(), &program)
    };
    let ask = || request(envoy.address(), &chat().bearer("sk-example")).status;
    assert_eq!(ask(), 401, "the key is not in the shipped policy");
    let changed = run(change);
    assert!(changed.contains("update_success: 2") && changed.contains("update_rejected: 0"), "{changed}");
    assert_eq!(ask(), 200, "it is in the README's");
    let metrics = run(look);
    for line in [
        "tollgate_allowed{organization=\"acme\",team=\"ml\"} 1",
        "tollgate_denied{tollgate_reason=\"invalid_api_key\"} 1",
        "envoy_wasm_tollgate_vm_reload{} 0",
    ] {
        assert!(metrics.contains(line), "no {line} in\n{metrics}");
    }
    assert_eq!(run(drain), "OK\n");
}
