//! How long something takes of late: a small sketch of durations, from which quantiles are read.
//! Old ones fade as new ones come.

use std::time::Duration;

/// Buckets, each a step wider than the one before.
const BUCKETS: usize = 48;

/// The upper end of the first bucket, in microseconds.
const FIRST_MICROS: f64 = 100.0;

/// How much wider each bucket is: quantiles are right to within this.
const STEP: f64 = 1.4;

/// With so many counted, all counts are halved.
const COUNT_MAX: u16 = 1_024;

/// Durations of late.
#[derive(Debug, Clone)]
pub struct Latency {
    counts: [u16; BUCKETS],
    total: u16,
}

impl Default for Latency {
    fn default() -> Self {
        Self { counts: [0; BUCKETS], total: 0 }
    }
}

impl Latency {
    /// Counts a duration.
    pub fn add(&mut self, duration: Duration) {
        if self.total == COUNT_MAX {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
        let end = |bucket: &usize| duration <= end_of(*bucket);
        let bucket = (0..BUCKETS).find(end).unwrap_or(BUCKETS - 1);
        self.counts[bucket] += 1;
        self.total += 1;
    }

    /// A duration that so many of a hundred do not exceed; `None` where nothing was counted.
    pub fn quantile(&self, percent: u16) -> Option<Duration> {
        let wanted = (u32::from(self.total) * u32::from(percent)).div_ceil(100).max(1);
        let mut seen = 0;
        let bucket = self.counts.iter().position(|count| {
            seen += u32::from(*count);
            seen >= wanted
        });
        bucket.map(end_of)
    }
}

fn end_of(bucket: usize) -> Duration {
    let power = i32::try_from(bucket).unwrap_or(i32::MAX);
    Duration::from_secs_f64(FIRST_MICROS * STEP.powi(power) / 1_000_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_are_right_to_within_a_step() {
        let mut held = Latency::default();
        assert_eq!(held.quantile(50), None);
        (1..=1_000).for_each(|millis| held.add(Duration::from_millis(millis)));
        for (percent, millis) in [(1, 10.0), (50, 500.0), (99, 990.0), (100, 1_000.0)] {
            let found = held.quantile(percent).expect("counted").as_secs_f64() * 1_000.0;
            assert!(found >= millis * 0.999 && found <= millis * STEP, "{percent}: {found}");
        }
    }

    #[test]
    fn what_is_long_ago_fades() {
        let mut held = Latency::default();
        (0..1_000).for_each(|_| held.add(Duration::from_secs(10)));
        (0..9_000).for_each(|_| held.add(Duration::from_millis(1)));
        assert!(held.quantile(99).expect("counted") < Duration::from_millis(2));
        held.add(Duration::MAX);
        assert!(held.quantile(100).expect("counted") > Duration::from_secs(600));
    }
}
