//! Fleets of 1 to 1,000 gateways, simulated with the functions that gateways run.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

mod fleet;
#[path = "../support/random.rs"]
mod random;

use fleet::{Case, Figures, Simulation};
use tollgate_core::quota::Window;

fn saturated(gateways: usize, limit: u64, zipf: bool) -> Case {
    Case {
        gateways,
        window: Window::Rpm,
        limit,
        offered: 3.0,
        zipf,
        amount: 1,
        large: None,
        crashes: false,
        // Four windows of 61 slots after the first.
        seconds: 305,
    }
}

fn row(case: &Case, figures: &Figures) -> String {
    format!(
        "| {} | {} | {} | {} | {} | {:.1} % | {:.1} | {:.0} % | {:.1} % | {} |",
        case.gateways,
        if case.zipf { "Zipf" } else { "even" },
        if case.crashes { "yes" } else { "no" },
        case.limit,
        figures.most,
        figures.used * 100.0,
        figures.calls,
        figures.lost * 100.0,
        figures.idle * 100.0,
        figures.stranded,
    )
}

#[test]
fn table() {
    for gateways in [3, 10, 100] {
        for zipf in [false, true] {
            for limit in [60, 600, 6_000] {
                let case = saturated(gateways, limit, zipf);
                let figures = Simulation::run(&case, 1);
                println!("{}", row(&case, &figures));
            }
        }
    }
}
