//! Durable ingest: the storage layer beside the raw disk, bytes written, recycled segments, and the
//! whole path beside the storage layer.

use std::time::Duration;

use crate::counters::Work;
use crate::device::Device;
use crate::layer::Layer;
use crate::place::Place;
use crate::raw::{Disk, Groups};
use crate::report::{Row, float, median};
use crate::{event, path, place};

/// Times that a load and the raw loops are run, one after the other.
const ROUNDS: usize = 9;
const TIME: Duration = Duration::from_millis(400);

/// A load before the first round, not counted.
const WARM_UP: Duration = Duration::from_millis(300);

/// How long bytes are counted.
const COUNTED: Duration = Duration::from_secs(3);

/// Producers, and what is to be reached of the raw loop that appends.
const PRODUCERS: [(usize, &str); 4] = [(1, ">= 0.85"), (16, ">= 0.85"), (64, ""), (256, ">= 0.65")];

/// A log so small that segments soon come back.
pub(crate) const SMALL_LOG: [(&str, &str); 2] =
    [("TIDINGS__LOG__RETENTION_BYTES", "64MiB"), ("TIDINGS__LOG__SNAPSHOT_EVERY", "16MiB")];

/// Loads after which some must have come back.
pub(crate) const LOADS_MAX: usize = 50;

/// Prints the section.
pub(crate) async fn measure(place: &Place) -> anyhow::Result<()> {
    let disk = Disk::new(place.path())?;
    let dir = place.fresh()?;
    let layer = Layer::open(dir.path(), &[])?;
    for (producers, reach) in PRODUCERS {
        let rounds = rounds(&layer, &disk, producers).await?;
        print(format!("storage layer, {producers} producers"), &rounds, reach);
    }
    written(&layer, place).await?;
    layer.close().await?;
    recycled(place, &disk).await?;
    path::measure(place).await
}

/// One load and the raw loops beside it.
struct Round {
    work: Work,
    raw: Groups,
}

impl Round {
    fn per_second(&self) -> f64 {
        self.work.records / self.work.seconds
    }

    fn append(&self) -> f64 {
        self.raw.append * self.work.group()
    }

    fn overwrite(&self) -> f64 {
        self.raw.overwrite * self.work.group()
    }
}

async fn rounds(layer: &Layer, disk: &Disk, producers: usize) -> anyhow::Result<Vec<Round>> {
    layer.load(producers, WARM_UP).await?;
    let mut rounds = Vec::new();
    for _ in 0..ROUNDS {
        let work = layer.load(producers, TIME).await?;
        let group_bytes = whole(work.written / work.commits);
        rounds.push(Round { raw: disk.groups(group_bytes)?, work });
    }
    Ok(rounds)
}

fn print(what: String, rounds: &[Round], reach: &'static str) {
    let middle = |value: fn(&Round) -> f64| median(rounds.iter().map(value).collect());
    let overwritten = middle(|round| round.per_second() / round.overwrite());
    let row = Row {
        what,
        measured: format!(
            "{:.0}/s, {:.1} a commit, {:.0} B each",
            middle(Round::per_second),
            middle(|round| round.work.group()),
            middle(|round| round.work.record_bytes()),
        ),
        beside: format!(
            "append {:.0}/s, overwrite {:.0}/s ({overwritten:.2})",
            middle(Round::append),
            middle(Round::overwrite),
        ),
        ratio: Some(middle(|round| round.per_second() / round.append())),
        reach,
    };
    row.print();
    let all = rounds.iter().fold(Work::default(), |all, round| all.plus(round.work));
    all.print_shares();
}

/// A float as a whole number. Found by bisection: there is no conversion without `as`.
fn whole(value: f64) -> usize {
    let (mut low, mut high) = (1_u32, u32::MAX);
    while low < high {
        let middle = low + (high - low) / 2;
        if f64::from(middle) < value { low = middle + 1 } else { high = middle }
    }
    usize::try_from(low).unwrap_or(usize::MAX)
}

/// Bytes that reach the device for each event, whoever wrote them.
async fn written(layer: &Layer, place: &Place) -> anyhow::Result<()> {
    let what = "bytes to the device per event, 256 producers".to_owned();
    let device = match Device::under(place.path()) {
        Ok(device) => device,
        Err(error) => {
            Row { what, measured: format!("not measured: {error}"), ..Row::default() }.print();
            return Ok(());
        }
    };
    let before = device.written()?;
    let work = layer.load(256, COUNTED).await?;
    let after = device.written()?;
    let each = |bytes: u64| float(bytes) / work.records;
    let bytes = each(after.device - before.device);
    let event = f64::from(u32::try_from(event::BYTES)?);
    let row = Row {
        what,
        measured: format!("{bytes:.0} ({:.0} by us)", each(after.process - before.process)),
        beside: format!(
            "event {event:.0}; record in the log {:.0} ({:.2})",
            work.record_bytes(),
            bytes / work.record_bytes()
        ),
        ratio: Some(bytes / event),
        reach: "<= 1.2",
    };
    row.print();
    Ok(())
}

/// As the first rows, once the log writes into segments that retention gave back.
async fn recycled(place: &Place, disk: &Disk) -> anyhow::Result<()> {
    let dir = place.fresh()?;
    let layer = Layer::open(dir.path(), &SMALL_LOG)?;
    let mut loads = 0;
    while place::spares(dir.path())? == 0 {
        anyhow::ensure!(loads < LOADS_MAX, "no segment comes back");
        layer.load(16, TIME).await?;
        loads += 1;
    }
    let rounds = rounds(&layer, disk, 16).await?;
    let spares = place::spares(dir.path())?;
    let what = format!("recycled segments, 16 producers ({spares} spare left)");
    print(what, &rounds, ">= 1.1");
    layer.close().await
}
