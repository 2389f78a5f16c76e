//! The sweeper: ends leases when they are over. One sleeper on the due index, however many leases
//! there are.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::ingest::Ingest;
use crate::clock;
use crate::domain::Timestamp;
use crate::domain::command::Command;
use crate::domain::lease::after;
use crate::stop::Stop;
use crate::store::Reader;
use crate::telemetry::Metrics;

/// Longest sleep: new leases may be shorter than what the sleeper waits for, and the wall clock may
/// jump.
const SLEEP_MAX: Duration = Duration::from_secs(1);

/// Pause between two sweeps while there is something to end.
const TURN: Duration = Duration::from_millis(20);

/// The sweeper.
#[derive(Debug)]
pub struct Sweep {
    reader: Reader,
    ingest: Ingest,
    ended_keep: Duration,
    metrics: Arc<Metrics>,
}

impl Sweep {
    /// A sweeper over a store.
    pub fn new(
        reader: Reader,
        ingest: Ingest,
        ended_keep: Duration,
        metrics: Arc<Metrics>,
    ) -> Self {
        Self { reader, ingest, ended_keep, metrics }
    }

    /// Sweeps until `stop`.
    pub async fn run(self, stop: Stop) {
        loop {
            let pause = self.sweep(clock::now()).await;
            // Sleeping and waiting for the stop change nothing: both may be dropped.
            tokio::select! {
                () = stop.wait() => return,
                () = sleep(pause.min(SLEEP_MAX)) => {}
            }
        }
    }

    /// Ends what is due. How long nothing more can be due.
    async fn sweep(&self, now: Timestamp) -> Duration {
        let dues = match self.reader.next_dues().await {
            Ok((lease, ended)) => (lease, ended.map(|ended| after(ended, self.ended_keep))),
            Err(error) => {
                tracing::error!(%error, "the leases cannot be read");
                return SLEEP_MAX;
            }
        };
        let Some(next) = dues.0.into_iter().chain(dues.1).min() else { return SLEEP_MAX };
        if next > now {
            return Duration::try_from(next.duration_since(now)).unwrap_or(SLEEP_MAX);
        }
        let behind = self.reader.newest().map_or(0, |newest| newest.duration_since(now).as_secs());
        self.metrics.health.set_wall_clock_behind(behind.max(0));
        if behind > 0 {
            tracing::warn!(behind, "the wall clock lies behind the log: no lease ends");
            return SLEEP_MAX;
        }
        match self.ingest.execute(Command::Sweep).await {
            Ok(_) => TURN,
            Err(error) => {
                tracing::warn!(%error, "ending leases waits");
                SLEEP_MAX
            }
        }
    }
}
