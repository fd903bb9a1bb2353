//! The report: figures as ratios to the baseline.

use std::fmt::Write as _;
use std::fs;
use std::io;
use std::path::PathBuf;

use serde_json::{Value, json};

use crate::floor::{self, Record, Script};
use crate::piece::{self, Piece};
use crate::way::{self, Call, Leg};
use crate::world::{self, Governed};
use crate::{contention, load, native};

/// The number of rounds.
const ROUNDS: usize = 301;
/// The number of rounds for units that take milliseconds.
const FEW_ROUNDS: usize = 9;
const VMS: [u32; 3] = [1, 4, 16];
const BEGIN: &str = "<!-- figures: written by `cargo bench -p tollgate-bench -- --report` -->\n";
const END: &str = "<!-- end of the figures -->\n";

/// The measured filter paths and their baselines, in the order of [`paths`].
#[derive(Clone, Copy)]
enum Path {
    Head,
    HeadBare,
    HeadNative,
    Request,
    Floor,
    FloorAllCells,
    RequestBare,
    Response,
    ResponseFloor,
    ResponseBare,
    Events,
    EventsBare,
}

/// Returns all units except loading and contention.
pub fn paths() -> Vec<Piece> {
    let requests = world::gateway(Governed::Requests, 1_000);
    let metered = world::gateway(Governed::TokensAndMoney, 1_000);
    let of_head = floor::cells(&requests, &Call::bodyless());
    let cells = floor::cells(&metered, &Call::chat());
    let team: Vec<Record> = cells.iter().filter(|(name, _)| name.contains("/team/")).cloned().collect();
    // A key with request limits only is not settled.
    let settled: Vec<Record> = cells.iter().filter(|(name, _)| !name.contains("/key/")).cloned().collect();

    let through = |name: &str, gateway: &Value, call: Call, leg| {
        call.piece(name, way::vm(&way::process(way::filter(), gateway)), leg)
    };
    let bare = |name: &str, gateway: &Value, call: Call, leg, script: Script| {
        call.piece(name, script.vm(gateway), leg)
    };
    let clocks = vec![json!("clocks")];
    let head = [floor::identity(), clocks.clone(), floor::edits(), floor::swaps(&of_head)].concat();
    let held = [clocks.clone(), vec![json!("scan")], floor::edits(), floor::swaps(&cells)].concat();
    let scan = |cells| [vec![json!("scan")], floor::swaps(cells)].concat();
    let answer = [vec![json!("tail")], floor::swaps(&settled)].concat();
    vec![
        through("head path", &requests, Call::bodyless(), Leg::Request),
        bare(
            "head path, bare",
            &requests,
            Call::bodyless(),
            Leg::Request,
            Script { request_headers: head, ..Script::default() },
        ),
        native::head_path(&requests),
        through("request path", &metered, Call::chat(), Leg::Request),
        bare(
            "F",
            &metered,
            Call::chat(),
            Leg::Request,
            Script { request_headers: floor::identity(), request_body: scan(&team), ..Script::default() },
        ),
        bare(
            "F and its other counters",
            &metered,
            Call::chat(),
            Leg::Request,
            Script { request_headers: floor::identity(), request_body: scan(&cells), ..Script::default() },
        ),
        bare(
            "request path, bare",
            &metered,
            Call::chat(),
            Leg::Request,
            Script {
                request_headers: [floor::identity(), vec![json!("wall")]].concat(),
                request_body: held,
                ..Script::default()
            },
        ),
        through("response path", &metered, Call::chat(), Leg::Response),
        bare(
            "body, tail and its counters",
            &metered,
            Call::chat(),
            Leg::Response,
            Script { response_body: answer.clone(), ..Script::default() },
        ),
        bare(
            "response path, bare",
            &metered,
            Call::chat(),
            Leg::Response,
            Script {
                response_headers: [vec![json!("answer_head")], floor::told()].concat(),
                response_body: answer,
                ..Script::default()
            },
        ),
        through("65 events", &metered, Call::stream(), Leg::Response),
        bare(
            "65 events, bare search",
            &metered,
            Call::stream(),
            Leg::Response,
            Script { response_body: vec![json!("search")], ..Script::default() },
        ),
        through("end of a stream", &metered, Call::chat(), Leg::End),
    ]
}

/// Returns the parts of the baseline, one by one.
pub fn parts() -> Vec<Piece> {
    /// Many repetitions, so that the cost of the callback itself is negligible.
    const TIMES: u32 = 200;
    let gateway = world::gateway(Governed::TokensAndMoney, 1_000);
    let cells = floor::cells(&gateway, &Call::chat());
    let secret = world::secret();
    let digest = tollgate_core::secret::api_key::digest(secret.as_bytes());
    let of = |name: String, leg: Leg, part: Value| {
        let list = vec![part];
        let mut script = Script { times: TIMES, ..Script::default() };
        match (leg, name.as_str()) {
            (Leg::Response, _) => script.response_body = list,
            (_, "read a body of 2 KB" | "read and scan it" | "read it and parse it typed") => {
                script.request_body = list
            }
            _ => script.request_headers = list,
        }
        let mut piece = Call::chat().piece(name, script.vm(&gateway), leg);
        piece.per_batch *= TIMES;
        piece
    };
    let mut pieces = vec![
        of("read the head".into(), Leg::Request, json!("head")),
        of("both clocks".into(), Leg::Request, json!("clocks")),
        of("SHA-256 of a key".into(), Leg::Request, json!({"digest": secret})),
        of("look-up by digest".into(), Leg::Request, json!({"look_up": digest})),
        of("replace a header".into(), Leg::Request, json!({"replace": ["x-tollgate-team", "ml"]})),
        of("read a body of 2 KB".into(), Leg::Request, json!("body")),
        of("read and scan it".into(), Leg::Request, json!("scan")),
        of("read it and parse it typed".into(), Leg::Request, json!("typed_request")),
        of("read an answer of 2 KB".into(), Leg::Response, json!("answer_body")),
        of("read it, find its tail, parse that typed".into(), Leg::Response, json!("tail")),
    ];
    pieces.extend(cells.into_iter().map(|(name, size)| {
        let whose = name.rsplit('/').nth(1).unwrap_or_default().to_owned();
        of(
            format!("swap of the counter of the {whose} ({size} bytes)"),
            Leg::Request,
            json!({"cell": [name, size]}),
        )
    }));
    pieces
}

/// Writes `bench/README.md` and prints the figures.
///
/// # Errors
/// If the file cannot be read or written, or has no place for figures.
pub fn write() -> io::Result<()> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let text = fs::read_to_string(&path)?;
    let place = text.split_once(BEGIN).and_then(|(before, rest)| Some((before, rest.split_once(END)?.1)));
    let (before, after) = place.ok_or_else(|| io::Error::other("README.md has no place for figures"))?;
    let (figures, above) = figures();
    print!("{figures}");
    fs::write(path, format!("{before}{BEGIN}{figures}{END}{after}"))?;
    match above {
        0 => Ok(()),
        _ => Err(io::Error::other(format!("{above} ratios are above their bound"))),
    }
}

/// Returns the text, and the number of ratios above their bound.
fn figures() -> (String, usize) {
    let mut above = 0;
    let mut text = String::new();
    let mut line = |words: std::fmt::Arguments<'_>| {
        // Writing to a string cannot fail.
        let _ = writeln!(text, "{words}");
    };
    let mut pieces = paths();
    let times = piece::medians(&mut pieces, ROUNDS);
    let names: Vec<String> = pieces.iter().map(|piece| piece.name.clone()).collect();
    let of = |path: Path| times[path as usize];
    let extra = of(Path::FloorAllCells) - of(Path::Floor);
    let rows = [
        (
            "head path: organization, team and key limited",
            of(Path::Head),
            "its host calls, digest and look-up, bare",
            of(Path::HeadBare),
            2.0 * of(Path::HeadBare),
        ),
        (
            "request path: a chat of 2 KB, with tokens and money",
            of(Path::Request),
            "F and its other counters",
            of(Path::FloorAllCells),
            2.0 * of(Path::Floor) + extra,
        ),
        (
            "the same",
            of(Path::Request),
            "all its host calls, digest, look-up and scan, bare",
            of(Path::RequestBare),
            2.0 * of(Path::RequestBare),
        ),
        (
            "response path: 2 KB, settled",
            of(Path::Response),
            "body, tail and its counters, bare",
            of(Path::ResponseFloor),
            2.0 * of(Path::ResponseFloor),
        ),
        (
            "the same",
            of(Path::Response),
            "all its host calls and tail, bare",
            of(Path::ResponseBare),
            2.0 * of(Path::ResponseBare),
        ),
        (
            "65 events, one a callback, settled",
            of(Path::Events),
            "a search of each for `\"usage\"`",
            of(Path::EventsBare),
            3.0 * of(Path::EventsBare),
        ),
    ];
    line(format_args!("\n| in wasmtime | compared with | ratio | at most |\n|---|---|---|---|"));
    for (what, measured, against, floor, most) in rows {
        let mark = if measured > most { ", **missed**" } else { "" };
        above += usize::from(measured > most);
        line(format_args!(
            "| {what} | {against} | **{:.2}** | {:.2}{mark} |",
            measured / floor,
            most / floor
        ));
    }
    line(format_args!(
        "| the head path natively | the same in wasmtime | {:.2} | |",
        of(Path::HeadNative) / of(Path::Head)
    ));

    let mut pieces: Vec<Piece> =
        VMS.map(|vms| contention::piece(&world::gateway(Governed::Requests, 1_000), vms)).into();
    let contended = piece::medians(&mut pieces, FEW_ROUNDS);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    for (vms, time) in VMS.iter().zip(&contended).skip(1) {
        line(format_args!(
            "| {vms} VMs on the same three counters, total time per request | one VM | {:.2} | |",
            time / contended[0]
        ));
    }
    line(format_args!(
        "\n| policy | its text | index, native | a VM's memory | load, native |\n|---|---|---|---|---|"
    ));
    for keys in load::KEYS {
        let sizes = load::sizes(keys);
        let time = piece::medians(&mut [load::piece(keys)], FEW_ROUNDS)[0] / 1e6;
        let each = |bytes: usize| bytes / keys;
        line(format_args!(
            "| {keys} keys | {} bytes a key | **{} bytes a key** | {} bytes a key | {time:.1} ms |",
            each(sizes.document),
            each(sizes.index),
            each(sizes.vm)
        ));
    }

    line(format_args!(
        "\nMedians on {}, {processors} processors. Absolute figures move with the machine.\n",
        processor()
    ));
    line(format_args!("| path | ns |\n|---|---|"));
    for (name, time) in names.iter().zip(&times) {
        line(format_args!("| {name} | {time:.0} |"));
    }
    for (vms, time) in VMS.iter().zip(&contended) {
        line(format_args!("| whole exchange, {vms} VMs on one key | {time:.0} |"));
    }
    let mut pieces = parts();
    let times = piece::medians(&mut pieces, ROUNDS / 6);
    line(format_args!("\n| part, bare, in wasmtime | ns |\n|---|---|"));
    for (piece, time) in pieces.iter().zip(times) {
        line(format_args!("| {} | {time:.0} |", piece.name));
    }
    line(format_args!(""));
    (text, above)
}

fn processor() -> String {
    let cpus = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let name = cpus.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    name.map_or_else(|| std::env::consts::ARCH.to_owned(), |(_, name)| name.trim().to_owned())
}
