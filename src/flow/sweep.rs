//! The sweeper: ends leases when they are over and forgets what was kept long enough. One sleeper
//! on the due indexes, however much there is.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::ingest::Ingest;
use crate::clock;
use crate::domain::Timestamp;
use crate::domain::command::{Command, Reply, Rules};
use crate::domain::lease::after;
use crate::stop::Stop;
use crate::store::{Dues, Reader};
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
    rules: Rules,
    metrics: Arc<Metrics>,
}

impl Sweep {
    /// A sweeper over a store.
    pub fn new(reader: Reader, ingest: Ingest, rules: Rules, metrics: Arc<Metrics>) -> Self {
        Self { reader, ingest, rules, metrics }
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
        let next = match self.reader.next_dues().await {
            Ok(dues) => self.next(dues),
            Err(error) => {
                tracing::error!(%error, "the leases cannot be read");
                return SLEEP_MAX;
            }
        };
        if self.reader.counts().dead_letters > self.rules.letters_max {
            return self.carry_out().await;
        }
        let Some(next) = next else { return SLEEP_MAX };
        if next > now {
            return Duration::try_from(next.duration_since(now)).unwrap_or(SLEEP_MAX);
        }
        let behind = self.reader.newest().map_or(0, |newest| newest.duration_since(now).as_secs());
        self.metrics.health.set_wall_clock_behind(behind.max(0));
        if behind > 0 {
            tracing::warn!(behind, "the wall clock lies behind the log: no lease ends");
            return SLEEP_MAX;
        }
        self.carry_out().await
    }

    /// When something is due next.
    fn next(&self, dues: Dues) -> Option<Timestamp> {
        let Dues { lease, ended, letter, job } = dues;
        let kept = [
            ended.map(|at| after(at, self.rules.ended_keep)),
            letter.map(|at| after(at, self.rules.letters_keep)),
            job.map(|at| after(at, self.rules.jobs_keep)),
        ];
        kept.into_iter().flatten().chain(lease).min()
    }

    async fn carry_out(&self) -> Duration {
        match self.ingest.execute(Command::Sweep).await {
            Ok(Reply::Letters(letters)) => {
                self.metrics.flow_dead_letters_expired.inc_by(letters);
                TURN
            }
            Ok(_) => TURN,
            Err(error) => {
                tracing::warn!(%error, "ending leases waits");
                SLEEP_MAX
            }
        }
    }
}
