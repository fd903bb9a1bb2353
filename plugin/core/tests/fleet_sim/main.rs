//! Fleets of 1 to 1,000 gateways, simulated with the functions that gateways run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fleet;
#[path = "../support/random.rs"]
mod random;

use fleet::{Case, Figures, Simulation};
use tollgate_core::quota::Window;

/// Three times the limit is offered.
fn saturated(gateways: usize, limit: u64, zipf: bool, crashes: bool) -> Case {
    Case {
        gateways,
        window: Window::Rpm,
        limit,
        offered: 3.0,
        zipf,
        regular: false,
        amount: 1,
        large: None,
        crashes,
        // Four windows of 61 slots after the first.
        seconds: 305,
    }
}

/// The bounds that hold for every fleet, and those for up to a hundred gateways.
fn check(case: &Case, figures: &Figures) {
    assert!(figures.most <= case.limit, "{case:?}: {figures:?}");
    // What a crash strands is not used. A window lasts for 61 slots, so that 98.4 % are the most.
    if case.gateways <= 100 && !case.crashes {
        assert!(figures.used >= 0.97, "{case:?}: {figures:?}");
        assert!(figures.calls <= 300.0, "{case:?}: {figures:?}");
    }
}

#[test]
fn fleets_use_their_limit_and_never_exceed_it() {
    for (gateways, limit, zipf, crashes) in [
        (1, 60, false, false),
        (3, 600, true, false),
        (3, 60, false, true),
        (10, 600, true, false),
        (100, 600, true, true),
    ] {
        let case = saturated(gateways, limit, zipf, crashes);
        check(&case, &Simulation::run(&case, 1));
    }
}

#[test]
fn a_request_of_most_of_a_limit_is_served_beside_busy_gateways() {
    let busy = Case {
        window: Window::Tpm,
        amount: 500,
        offered: 0.25,
        large: Some(60_000),
        seconds: 900,
        ..saturated(4, 100_000, false, false)
    };
    for seed in 1..4 {
        let figures = Simulation::run(&busy, seed);
        assert!(figures.most <= busy.limit, "{figures:?}");
        assert!(figures.larges >= 9 && figures.large <= 2.0, "{figures:?}");
    }
}

#[test]
fn requests_at_half_of_their_limit_rarely_wait_for_a_call() {
    // A request in 20 s, in 6 s, and three in a second.
    for (limit, offered) in [(60, 0.15), (60, 0.5), (1_000, 0.5)] {
        let case = Case { regular: true, offered, seconds: 3_600, ..saturated(3, limit, false, false) };
        let figures = Simulation::run(&case, 1);
        assert!(figures.waited <= 0.01, "{case:?}: {figures:?}");
        assert!(figures.used >= offered * 0.99, "{case:?}: {figures:?}");
    }
}

/// The lines between which the table stands in `bench/README.md`.
const MARKS: [&str; 2] = ["<!-- fleet simulation: begin -->", "<!-- fleet simulation: end -->"];

/// `TOLLGATE_WRITE_TABLES=1` writes the table to `bench/README.md`.
#[test]
#[ignore = "a minute in a release build"]
fn proof_fleets_of_up_to_a_thousand_gateways() {
    let mut table = String::from(
        "| gateways | load | crashes | limit | most in 60 s | used | calls/s | lost races | in slices | stranded |\n\
         |---|---|---|---|---|---|---|---|---|---|\n",
    );
    for gateways in [1, 3, 10, 100, 1_000] {
        for (zipf, crashes) in [(false, false), (true, false), (true, true)] {
            for limit in [60, 600, 6_000] {
                let case = saturated(gateways, limit, zipf, crashes);
                let figures = Simulation::run(&case, 1);
                check(&case, &figures);
                let load = if zipf { "Zipf" } else { "even" };
                let crashes = if crashes { "every 30 s" } else { "none" };
                let Figures { most, used, calls, lost, idle, stranded, .. } = figures;
                table += &format!(
                    "| {gateways} | {load} | {crashes} | {limit} | {most} | {:.1} % | {calls:.1} | {:.0} % | {:.1} % | {stranded} |\n",
                    used * 100.0,
                    lost * 100.0,
                    idle * 100.0,
                );
            }
        }
    }
    println!("{table}");
    if std::env::var_os("TOLLGATE_WRITE_TABLES").is_some() {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../bench/README.md");
        let text = std::fs::read_to_string(&path).unwrap();
        let (before, rest) = text.split_once(MARKS[0]).unwrap();
        let (_, after) = rest.split_once(MARKS[1]).unwrap();
        std::fs::write(path, format!("{before}{}\n{table}{}{after}", MARKS[0], MARKS[1])).unwrap();
    }
}
