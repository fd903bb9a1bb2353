//! The benches. `cargo bench -p tollgate-bench` runs everything under criterion; with `-- --report` it writes
//! the figures of bench/README.md.

use std::hint::black_box;
use std::process::ExitCode;
use std::time::Duration;

use criterion::{Criterion, Throughput};
use tollgate_bench::piece::Piece;
use tollgate_bench::world::{self, Governed};
use tollgate_bench::{allocation, contention, load, report};

#[global_allocator]
static ALLOCATOR: allocation::Counting = allocation::Counting;

fn main() -> ExitCode {
    if std::env::args().any(|argument| argument == "--report") {
        return match report::write() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                eprintln!("bench/README.md: {error}");
                ExitCode::FAILURE
            }
        };
    }
    // Without `--bench` this is a test run: each bench once.
    let keys = if std::env::args().any(|argument| argument == "--bench") {
        &load::KEYS[..]
    } else {
        &load::KEYS[..1]
    };
    let mut criterion = Criterion::default().configure_from_args();
    group(&mut criterion, "paths", report::paths());
    group(&mut criterion, "parts", report::parts());
    let gateway = world::gateway(Governed::Requests, 1_000);
    group(&mut criterion, "contention", [1, 4, 16].map(|vms| contention::piece(&gateway, vms)).into());
    group(&mut criterion, "policy", keys.iter().map(|keys| load::piece(*keys)).collect());
    criterion.final_summary();
    ExitCode::SUCCESS
}

fn group(criterion: &mut Criterion, name: &str, pieces: Vec<Piece>) {
    let mut group = criterion.benchmark_group(name);
    group.sample_size(20).throughput(Throughput::Elements(1));
    for mut piece in pieces {
        group.bench_function(piece.name.clone(), |bencher| {
            bencher.iter_custom(|count| {
                let batches = count.div_ceil(u64::from(piece.per_batch)).max(1);
                let time: Duration = (0..batches).map(|_| black_box((piece.batch)())).sum();
                time.mul_f64(count as f64 / (batches * u64::from(piece.per_batch)) as f64)
            });
        });
    }
    group.finish();
}
