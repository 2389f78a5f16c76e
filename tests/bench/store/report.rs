//! Rows of the printed table, and the arithmetic of figures.

use std::time::Duration;

/// One line of the table.
#[derive(Debug, Default)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) what: String,
    /// How much.
    pub(crate) measured: String,
    /// What it is compared with.
    pub(crate) beside: String,
    /// The one divided by the other.
    pub(crate) ratio: Option<f64>,
    /// What is to be reached.
    pub(crate) reach: &'static str,
}

impl Row {
    /// Prints the row at once: a run takes minutes.
    pub(crate) fn print(&self) {
        let ratio = self.ratio.map_or(String::new(), |ratio| format!("{ratio:.2}"));
        let Self { what, measured, beside, reach, .. } = self;
        println!("{what:<50} {measured:<36} {beside:<50} {ratio:>6}  {reach}");
    }
}

/// The table's head.
pub(crate) fn print_head() {
    println!("{:<50} {:<36} {:<50} {:>6}  reach", "what", "measured", "beside", "ratio");
    println!("{}", "-".repeat(166));
}

/// The one in the middle; NaN of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// A count as a figure to calculate with.
pub(crate) fn float(count: u64) -> f64 {
    let half = |bits: u64| f64::from(u32::try_from(bits & u64::from(u32::MAX)).unwrap_or(0));
    half(count >> 32) * 4_294_967_296.0 + half(count)
}

/// Bytes as MiB.
pub(crate) fn mib(bytes: u64) -> f64 {
    float(bytes) / 1_048_576.0
}

/// Milliseconds.
pub(crate) fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}
