//! A burst of matches for one subscription: how long a single event of another one waits for it.

use std::path::Path;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::sink::Sink;
use crate::support::hub::wish;
use crate::{event, publish};

const BURST: u64 = 100_000;

/// Events that are stored by one request.
const BATCH: u64 = 1_000;

/// How many single events are measured while the burst is delivered.
const SINGLES: usize = 20;

pub(crate) async fn measure(place: &Path) -> anyhow::Result<()> {
    let dir = tempfile::tempdir_in(place)?;
    let mut hub = crate::hub(dir.path());
    let (busy, other) = (Sink::start().await?, Sink::start().await?);
    hub.api().subscribe(&wish("burst", &format!("http://{}/", busy.address))).await;
    hub.api().subscribe(&wish("single", &format!("http://{}/", other.address))).await;
    for first in (0..BURST).step_by(usize::try_from(BATCH)?) {
        publish(&hub, (first..first + BATCH).map(|id| event(id, "burst")).collect()).await;
    }
    let before = busy.count();
    let mut waits = Vec::with_capacity(SINGLES);
    for single in 0..SINGLES {
        let begin = Instant::now();
        publish(&hub, vec![event(BURST + u64::try_from(single)?, "single")]).await;
        while other.count() <= single {
            sleep(Duration::from_micros(200)).await;
        }
        waits.push(begin.elapsed());
    }
    let during = busy.count();
    waits.sort_unstable();
    println!(
        "A burst of {BURST} for one subscription ({before} of them delivered when stored, {during} \
         at the end): single events of another wait {:.1} ms, at most {:.1} ms",
        millis(waits[SINGLES / 2]),
        millis(waits[SINGLES - 1]),
    );
    hub.terminate();
    hub.ended().await;
    Ok(())
}

fn millis(time: Duration) -> f64 {
    time.as_secs_f64() * 1_000.0
}
