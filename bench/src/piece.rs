//! What is measured.

use std::time::Duration;

/// Something whose time is taken, many at once: setting up is outside of it.
pub struct Piece {
    /// As tables and criterion call it.
    pub name: String,
    /// How many are done in one batch.
    pub per_batch: u32,
    /// Does a batch, and answers how long it took.
    pub batch: Box<dyn FnMut() -> Duration>,
}

impl Piece {
    /// A piece of this name.
    pub fn new(name: impl Into<String>, per_batch: u32, batch: impl FnMut() -> Duration + 'static) -> Piece {
        Piece { name: name.into(), per_batch, batch: Box::new(batch) }
    }
}

/// Nanoseconds of one of each piece: the median over rounds in which every piece has its turn.
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
