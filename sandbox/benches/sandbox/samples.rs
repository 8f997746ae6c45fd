//! From times to numbers.

use std::time::Duration;

/// Times of one subject, block by block.
#[derive(Debug, Default)]
pub(crate) struct Samples {
    pub(crate) blocks: Vec<Vec<Duration>>,
}

impl Samples {
    /// The time below which `share` of all samples are, in microseconds.
    pub(crate) fn quantile(&self, share: f64) -> f64 {
        quantile(self.blocks.iter().flatten().map(|time| time.as_secs_f64() * 1e6).collect(), share)
    }

    /// Minimum and quantiles for a person.
    pub(crate) fn text(&self, name: &str) -> String {
        let count: usize = self.blocks.iter().map(Vec::len).sum();
        let [min, p50, p90, p99] = [0.0, 0.5, 0.9, 0.99].map(|share| self.quantile(share));
        format!("{name:<24} n {count:<5} min {min:>7.0}  p50 {p50:>7.0}  p90 {p90:>7.0}  p99 {p99:>7.0} us")
    }

    fn block_medians(&self) -> Vec<f64> {
        let micros = |block: &Vec<Duration>| block.iter().map(|time| time.as_secs_f64() * 1e6).collect();
        self.blocks.iter().map(|block| quantile(micros(block), 0.5)).collect()
    }
}

/// The ratio of the medians of ours and the peer's, and its spread over the pairs of blocks that stood side by side.
pub(crate) fn ratio(ours: &Samples, peer: &Samples) -> (f64, (f64, f64)) {
    let pairs: Vec<f64> =
        ours.block_medians().into_iter().zip(peer.block_medians()).map(|(ours, peer)| ours / peer).collect();
    (ours.quantile(0.5) / peer.quantile(0.5), spread(pairs))
}

/// What ours takes more than the peer, in microseconds by the medians, and its spread over those pairs of blocks.
pub(crate) fn added(ours: &Samples, peer: &Samples) -> (f64, (f64, f64)) {
    let pairs = ours.block_medians().into_iter().zip(peer.block_medians()).map(|(ours, peer)| ours - peer).collect();
    (ours.quantile(0.5) - peer.quantile(0.5), spread(pairs))
}

/// The tenth and the ninetieth of a hundred.
pub(crate) fn spread(values: Vec<f64>) -> (f64, f64) {
    (quantile(values.clone(), 0.1), quantile(values, 0.9))
}

/// The value below which `share` of `values` are; not a number when there are none.
pub(crate) fn quantile(mut values: Vec<f64>, share: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let last = values.len().saturating_sub(1);
    // Both are small and positive.
    let place = (share * last as f64).round() as usize;
    values.get(place.min(last)).copied().unwrap_or(f64::NAN)
}
