//! The commands `tollgate prices import` and `tollgate prices check`, with CSV and with the price map that LiteLLM ships.

mod command;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Output;

use command::tollgate;
use serde_json::Value;
use tollgate_host::tools;

const POLICY: &str = r#"{
  "version": 1,
  "unpriced": "deny",
  "targets": {
    "writer": {"price": {"output": "8.0", "input": "2.00", "request": "0.01"}, "access_groups": ["text"]},
    "drawer": {
      "max_input_tokens": 1000
    },
    "other": {}
  },
  "organizations": {"acme": {"name": "Acme", "access": {"targets": ["*"]}}}
}
"#;

/// Runs a command on a policy, and returns its exit code and all that it prints.
fn prices(command: &str, file: &Path, policy: &Path, more: &[&str]) -> (Option<i32>, String) {
    let (file, policy) = (file.display().to_string(), policy.display().to_string());
    let mut arguments = vec!["prices", command, &file, "--policy", &policy];
    arguments.extend(more);
    let Output { status, stdout, stderr } = tollgate(&arguments).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap() + &String::from_utf8(stderr).unwrap())
}

/// Writes the files of a test, and returns their paths.
fn files<const N: usize>(test: &str, files: [(&str, &str); N]) -> [PathBuf; N] {
    let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("prices").join(test);
    fs::create_dir_all(&folder).unwrap();
    files.map(|(name, text)| {
        fs::write(folder.join(name), text).unwrap();
        folder.join(name)
    })
}

#[test]
fn prices_of_a_table_are_shown_then_written_and_the_rest_stays() {
    let table = "target,input,output,cached_input,max_input_tokens\nwriter,2,1e1,0.2,\ndrawer,5,40,,2000\nnew,1,2,,\n";
    let [table, policy] = files("table", [("prices.csv", table), ("policy.json", POLICY)]);
    let (code, said) = prices("check", &table, &policy, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("~ targets/writer: cached_input 0.20, output 8.0 -> 10.00"), "{said}");
    assert!(said.contains("2 targets differ"), "{said}");
    let (code, said) = prices("import", &table, &policy, &[]);
    assert_eq!(code, Some(1), "{said}");
    assert!(said.contains("nothing is written without `--yes`"), "{said}");
    assert!(said.contains("warning: `max_input_tokens` of 1 target"), "{said}");
    assert_eq!(fs::read_to_string(&policy).unwrap(), POLICY);
    let (code, said) = prices("import", &table, &policy, &["--yes"]);
    assert_eq!(code, Some(0), "{said}");
    let expected = POLICY
        .replace(
            r#""8.0", "input": "2.00", "request": "0.01""#,
            r#""10.00", "input": "2.00", "request": "0.01", "cached_input": "0.20""#,
        )
        .replace(
            "\"max_input_tokens\": 1000\n",
            "\"max_input_tokens\": 2000,\n      \"price\": { \"input\": \"5.00\", \"output\": \"40.00\" }\n",
        );
    assert_eq!(fs::read_to_string(&policy).unwrap(), expected);
    for command in ["import", "check"] {
        let (code, said) = prices(command, &table, &policy, &[]);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("nothing differs"), "{said}");
    }
    let (code, said) = prices("import", &table, &policy, &["--create", "--yes", "--only", "n*"]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.contains("+ targets/new: input 1.00, output 2.00"), "{said}");
    let check = tollgate(&["check", &policy.display().to_string()]).output().unwrap();
    assert!(check.status.success(), "{check:?}");
}

#[test]
fn nothing_is_written_if_the_file_or_the_outcome_is_wrong() {
    let [tier, columns, json, policy] = files(
        "wrong",
        [
            ("tier.csv", "target,tiers.Flex.input\nwriter,1\n"),
            ("columns.csv", "target,price\nwriter,1\n"),
            ("prices.json", r#"{"writer": 1}"#),
            ("policy.json", POLICY),
        ],
    );
    for (file, words) in [
        (&tier, "/targets/writer/price/tiers/Flex"),
        (&columns, "unknown column `price`"),
        (&json, "neither CSV"),
    ] {
        let (code, said) = prices("import", file, &policy, &["--yes"]);
        assert_eq!(code, Some(1), "{said}");
        assert!(said.contains(words), "{said}");
        assert_eq!(fs::read_to_string(&policy).unwrap(), POLICY);
    }
}

const BEGIN: &str =
    "<!-- Written by `TOLLGATE_WRITE_TABLES=1 cargo test -p tollgate-host --test prices_command`. -->\n";
const END: &str = "<!-- End of the generated table. -->";

/// The modes of the map's entries, as the table groups them.
const MODES: [(&str, &[&str]); 6] = [
    ("chat, completions and responses", &["chat", "completion", "responses"]),
    ("embeddings", &["embedding"]),
    ("rerank", &["rerank"]),
    ("images", &["image_generation", "image_edit"]),
    ("transcriptions", &["audio_transcription"]),
    ("speech", &["audio_speech"]),
];

/// The names of the targets in lines that begin with this sign.
fn targets<'s>(said: &'s str, sign: &'s str) -> Vec<&'s str> {
    let rest = said.lines().filter_map(|line| line.strip_prefix(sign)?.strip_prefix(" targets/"));
    rest.map(|rest| rest.split_once(": ").unwrap().0).collect()
}

#[test]
fn the_map_that_litellm_ships_is_imported_and_a_second_time_nothing_changes() {
    let Some(map) = tools::require(tools::price_map()) else { return };
    let [policy] = files("map", [("policy.json", "{\n  \"version\": 1,\n  \"targets\": {}\n}\n")]);
    let (code, said) = prices("import", &map, &policy, &["--create", "--yes"]);
    assert_eq!(code, Some(0), "{}", &said[said.len().saturating_sub(2_000)..]);
    let check = tollgate(&["check", &policy.display().to_string()]).output().unwrap();
    assert!(check.status.success(), "{check:?}");
    let written = fs::read_to_string(&policy).unwrap();
    for command in ["import", "check"] {
        let more: &[&str] = if command == "import" { &["--create", "--yes"] } else { &[] };
        let (code, said) = prices(command, &map, &policy, more);
        assert_eq!(code, Some(0), "{}", &said[said.len().saturating_sub(2_000)..]);
        assert_eq!(fs::read_to_string(&policy).unwrap(), written, "a second time");
    }
    // Every entry of the map is accounted for.
    let entries: Value = serde_json::from_slice(&fs::read(&map).unwrap()).unwrap();
    let mode = |name: &str| entries[name]["mode"].as_str().unwrap_or_default();
    let (new, in_part, without) = (targets(&said, "+"), targets(&said, "?"), targets(&said, "!"));
    let mut table = String::from(
        "| entries for | in the map | whole | in part | without a price |\n|---|---|---|---|---|\n",
    );
    for (words, modes) in MODES {
        let of = |names: &[&str]| names.iter().filter(|name| modes.contains(&mode(name))).count();
        let all = entries.as_object().unwrap().keys().filter(|name| modes.contains(&mode(name))).count();
        let (taken, partly, none) = (of(&new), of(&in_part), of(&without));
        assert_eq!(taken + none, all, "{words}");
        table += &format!("| {words} | {all} | {} | {partly} | {none} |\n", taken - partly);
    }
    // A price of each kind, reckoned by hand from the map of this version.
    let policy: Value = serde_json::from_str(&written).unwrap();
    let price = |name: &str| &policy["targets"][name]["price"];
    assert_eq!(price("claude-sonnet-4-5")["cache_write_1h"], "6.00");
    assert_eq!(price("gemini-2.5-pro")["above"]["input_tokens"], 200_000);
    assert_eq!(price("tts-1")["character"], "0.000015");
    assert_eq!(price("whisper-1")["second"], "0.0001");
    assert_eq!(price("gpt-5")["tiers"]["priority"]["input"], "2.50");
    let mut reasons: BTreeMap<&str, [&str; 2]> = BTreeMap::new();
    for line in said.lines() {
        let counted = |start: &str| line.strip_prefix(start).and_then(|rest| rest.split_once(": "));
        for (column, start) in ["  in part ", "  without "].iter().enumerate() {
            if let Some((count, reason)) = counted(start) {
                reasons.entry(reason).or_insert(["0", "0"])[column] = count;
            }
        }
    }
    table += "\n| reason | in part | without a price |\n|---|---|---|\n";
    for (reason, [in_part, without]) in reasons {
        table += &format!("| {reason} | {in_part} | {without} |\n");
    }
    hold(&table);
}

/// Compares the table with that of the README, or writes it there if `TOLLGATE_WRITE_TABLES` is set.
fn hold(table: &str) {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../policies/README.md");
    let text = fs::read_to_string(&path).unwrap();
    let (before, rest) = text.split_once(BEGIN).expect("the table has a begin");
    let (known, after) = rest.split_once(END).expect("and an end");
    if known == table {
        return;
    }
    let writes = std::env::var_os("TOLLGATE_WRITE_TABLES").is_some();
    assert!(writes, "the table in policies/README.md is not as it is:\n{table}\n{BEGIN}");
    fs::write(&path, [before, BEGIN, table, END, after].concat()).unwrap();
}
