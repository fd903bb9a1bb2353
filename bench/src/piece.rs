//! A measured unit of work.

use std::time::Duration;

/// A unit of work that is timed in batches, without its setup.
pub struct Piece {
    /// The name in tables and in criterion.
    pub name: String,
    /// The number of repetitions in one batch.
    pub per_batch: u32,
    /// Runs a batch and returns its duration.
    pub batch: Box<dyn FnMut() -> Duration>,
}

impl Piece {
    /// Creates a unit with this name.
    pub fn new(name: impl Into<String>, per_batch: u32, batch: impl FnMut() -> Duration + 'static) -> Piece {
        Piece { name: name.into(), per_batch, batch: Box::new(batch) }
    }
}

/// Returns the nanoseconds of one repetition of each unit: the median over rounds in which the units take
/// turns.
pub fn medians(pieces: &mut [Piece], rounds: usize) -> Vec<f64> {
    let mut samples = vec![Vec::with_capacity(rounds); pieces.len()];
    for _ in 0..rounds {
        for (piece, samples) in pieces.iter_mut().zip(&mut samples) {
            samples.push((piece.batch)().as_nanos() as f64 / f64::from(piece.per_batch));
        }
    }
    samples.into_iter().map(median).collect()
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or_default()
}
