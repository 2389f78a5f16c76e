//! Replay from a cold cursor: a million events by `Reader::read`, beside `cat` of the same files.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Instant;

use crate::filled;
use crate::layer::Layer;
use crate::place::{self, Place};
use crate::report::{Row, median, mib};

const ROUNDS: usize = 3;

/// Entries asked for at once.
const PAGE: usize = 4_096;

/// Prints the section.
pub(crate) async fn measure(place: &Place) -> anyhow::Result<()> {
    let dir = place.fresh()?;
    filled::fill(dir.path(), filled::EVENTS, 0).await?;
    let files = place::segments(dir.path())?;
    let lengths = files.iter().map(|path| Ok(path.metadata()?.len()));
    let bytes = mib(lengths.sum::<anyhow::Result<u64>>()?);
    let (mut read, mut cat, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        place::make_cold(dir.path())?;
        let by_cat = by_cat(&files, bytes)?;
        let by_reader = by_reader(dir.path(), bytes).await?;
        read.push(by_reader);
        cat.push(by_cat);
        ratios.push(by_reader / by_cat);
    }
    let row = Row {
        what: format!("replay of {} events, cold", filled::EVENTS),
        measured: format!("{:.0} MiB/s", median(read)),
        beside: format!("cat {:.0} MiB/s", median(cat)),
        ratio: Some(median(ratios)),
        reach: ">= 0.5",
    };
    row.print();
    Ok(())
}

/// MiB a second by `cat`.
fn by_cat(files: &[PathBuf], bytes: f64) -> anyhow::Result<f64> {
    let begin = Instant::now();
    let status = Command::new("cat").args(files).stdout(Stdio::null()).status()?;
    anyhow::ensure!(status.success(), "cat failed");
    Ok(bytes / begin.elapsed().as_secs_f64())
}

/// MiB of segments a second by the reader. Opening warms the tail: the files are made cold after
/// it.
async fn by_reader(dir: &Path, bytes: f64) -> anyhow::Result<f64> {
    let layer = Layer::open(dir, &[])?;
    place::make_cold(dir)?;
    let (begin, mut next, mut events) = (Instant::now(), 0, 0_u64);
    loop {
        let entries = layer.reader.read(next, PAGE).await?;
        let Some(last) = entries.last() else { break };
        next = last.offset + 1;
        events += u64::try_from(entries.iter().filter(|entry| entry.event().is_some()).count())?;
    }
    let seconds = begin.elapsed().as_secs_f64();
    anyhow::ensure!(events == u64::from(filled::EVENTS), "{events} events");
    layer.close().await?;
    Ok(bytes / seconds)
}
