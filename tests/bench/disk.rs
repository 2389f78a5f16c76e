//! The raw disk: append a group of records, `fdatasync`, again. What no hub can beat.

use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

/// Bytes of one record: about what a small event takes.
pub(crate) const RECORD: usize = 600;

const TIME: Duration = Duration::from_secs(3);

/// Records a second with one `fdatasync` for each group.
pub(crate) fn records_per_second(place: &Path, group: usize) -> anyhow::Result<f64> {
    let mut file = tempfile::tempfile_in(place)?;
    let records = vec![b'x'; RECORD * group];
    let begin = Instant::now();
    let mut groups = 0_u32;
    while begin.elapsed() < TIME {
        file.write_all(&records)?;
        file.sync_data()?;
        groups += 1;
    }
    let records = f64::from(groups) * f64::from(u32::try_from(group)?);
    Ok(records / begin.elapsed().as_secs_f64())
}
