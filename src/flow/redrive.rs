//! The redriver: hands dead letters back to delivery, as far as jobs ask for it, at their rates and
//! never more than lanes can hold. Decides nothing: the writer does.
//!
//! What is handed over is no letter any more, so a job needs no cursor: after a restart it looks at
//! all letters again and finds those that are left.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use super::Error;
use super::ingest::Ingest;
use super::letters::{Found, Walk};
use crate::clock::Stopwatch;
use crate::domain::Offset;
use crate::domain::command::{Command, Reply};
use crate::domain::job::{Handed, Job, Skipped};
use crate::domain::policy::Ordering;
use crate::domain::subscription::Subscription;
use crate::stop::Stop;
use crate::store::Reader;
use crate::telemetry::Metrics;

/// Most letters handed over by one command.
const BATCH_MAX: usize = 128;

/// Looks for letters in one turn of a job, so that the other jobs get theirs.
const LOOKS_MAX: usize = 16;

/// Of the deliveries of one subscription that may wait, jobs fill at most one in so many: the rest
/// is left to what fails by itself, which else would stop the subscription.
const SHARE: usize = 4;

/// Pause while there is something to hand over.
const TURN: Duration = Duration::from_millis(20);

/// Pause while nothing can be handed over, or there is no job.
const IDLE: Duration = Duration::from_millis(200);

/// Pause after something failed.
const FAILED: Duration = Duration::from_secs(1);

/// The redriver.
#[derive(Debug)]
pub struct Redrive {
    reader: Reader,
    ingest: Ingest,
    metrics: Arc<Metrics>,
    /// Most deliveries of one subscription that wait because of jobs.
    waiting_max: usize,
    /// How far running jobs are.
    under_way: HashMap<Offset, UnderWay>,
}

/// A job that is running.
#[derive(Debug)]
struct UnderWay {
    walk: Walk,
    pace: Pace,
    skipped: Skipped,
}

/// What one turn of a job led to.
struct Turn {
    batch: Vec<Handed>,
    /// The pace is what limits it.
    paced: bool,
}

impl Redrive {
    /// A redriver over a store. `retries_max` is how many deliveries of a subscription may wait.
    pub fn new(reader: Reader, ingest: Ingest, retries_max: usize, metrics: Arc<Metrics>) -> Self {
        let waiting_max = (retries_max / SHARE).max(1);
        Self { reader, ingest, metrics, waiting_max, under_way: HashMap::new() }
    }

    /// Hands over until `stop`.
    pub async fn run(mut self, stop: Stop) {
        loop {
            let pause = self.turn().await;
            // Sleeping and waiting for the stop change nothing: both may be dropped.
            tokio::select! {
                () = stop.wait() => return,
                () = sleep(pause) => {}
            }
        }
    }

    /// One turn of each job. How long to wait before the next.
    async fn turn(&mut self) -> Duration {
        let jobs = match self.reader.jobs().await {
            Ok(jobs) => jobs,
            Err(error) => {
                tracing::error!(%error, "the jobs cannot be read");
                return FAILED;
            }
        };
        let running: Vec<Job> = jobs.into_iter().filter(Job::is_running).collect();
        self.under_way.retain(|id, _| running.iter().any(|job| job.id == *id));
        self.metrics.flow_jobs.set(i64::try_from(running.len()).unwrap_or(i64::MAX));
        let mut pause = IDLE;
        for job in &running {
            let next = match self.advance(job).await {
                Ok(next) => next,
                Err(error) => {
                    tracing::warn!(%error, job = job.id, "a redrive waits");
                    // What was not handed over is looked for again.
                    self.under_way.remove(&job.id);
                    FAILED
                }
            };
            pause = pause.min(next);
        }
        pause
    }

    /// One turn of a job. How long it has nothing to do.
    async fn advance(&mut self, job: &Job) -> Result<Duration, Error> {
        let Turn { batch, paced } = self.gather(job).await?;
        let handed = !batch.is_empty();
        if handed {
            let command = Command::HandOver { job: job.id, letters: batch };
            if let Reply::Letters(count) = self.ingest.execute(command).await? {
                self.metrics.flow_redriven.inc_by(count);
            }
        }
        let Some(under_way) = self.under_way.get_mut(&job.id) else { return Ok(TURN) };
        if under_way.walk.is_over() {
            let skipped = under_way.skipped;
            self.ingest.execute(Command::EndJob { job: job.id, skipped }).await?;
            self.under_way.remove(&job.id);
            return Ok(TURN);
        }
        Ok(if handed || paced { TURN } else { IDLE })
    }

    /// Looks for letters that can be handed over now.
    async fn gather(&mut self, job: &Job) -> Result<Turn, Error> {
        let under_way = self.under_way.entry(job.id).or_insert_with(|| UnderWay::new(job));
        let UnderWay { walk, pace, skipped } = under_way;
        let (budget, paced) = pace.budget(BATCH_MAX);
        let (mut batch, mut rooms, mut looks) = (Vec::new(), HashMap::new(), 0);
        let oldest = self.reader.oldest_offset();
        while batch.len() < budget {
            let Some(Found { id, subscription }) = walk.take() else {
                looks += 1;
                if looks > LOOKS_MAX || !walk.look(&self.reader).await? {
                    break;
                }
                continue;
            };
            let Some(subscription) = subscription else {
                skipped.subscription_ended += 1;
                continue;
            };
            if id.offset < oldest {
                skipped.event_gone += 1;
                continue;
            }
            let room = match rooms.entry(id.subscription) {
                Entry::Occupied(room) => room.into_mut(),
                Entry::Vacant(room) => {
                    let waiting = self.reader.waiting(id.subscription, self.waiting_max).await?;
                    room.insert(self.waiting_max.saturating_sub(waiting))
                }
            };
            if *room == 0 {
                walk.postpone(id);
                continue;
            }
            *room -= 1;
            let key = order_key(&self.reader, &subscription, id.offset).await?;
            batch.push(Handed { letter: id, key });
        }
        pace.spend(batch.len());
        walk.turn_back();
        // A full pace is not what limits it.
        Ok(Turn { paced: paced && batch.len() == budget, batch })
    }
}

impl UnderWay {
    fn new(job: &Job) -> Self {
        Self {
            walk: Walk::new(job.actor.clone(), job.choice.clone(), job.id),
            pace: Pace { rate: job.rate_per_second, watch: Stopwatch::start(), spent: 0 },
            skipped: Skipped::default(),
        }
    }
}

/// What the delivery waits for others by, where its subscription wants that.
async fn order_key(
    reader: &Reader,
    subscription: &Subscription,
    offset: Offset,
) -> Result<Option<String>, Error> {
    if subscription.wish.policy.ordering != Ordering::Key {
        return Ok(None);
    }
    let entries = reader.read(offset, 1).await?;
    let entry = entries.first().filter(|entry| entry.offset == offset);
    let key = entry.and_then(|entry| entry.event()).and_then(|it| subscription.order_key(it));
    Ok(key.map(String::from))
}

/// How fast a job goes.
#[derive(Debug)]
struct Pace {
    rate: Option<u32>,
    watch: Stopwatch,
    /// Letters that were handed over, and those that nobody wanted to.
    spent: u64,
}

impl Pace {
    /// How many letters may go now, at most `max`, and whether it is the rate that says so.
    fn budget(&mut self, max: usize) -> (usize, bool) {
        let Some(rate) = self.rate else { return (max, false) };
        let budget = allowed(rate, self.watch.elapsed(), &mut self.spent);
        let budget = usize::try_from(budget).unwrap_or(usize::MAX);
        (budget.min(max), budget < max)
    }

    fn spend(&mut self, count: usize) {
        self.spent += count as u64;
    }
}

/// How many more may go after a time, the first at once. What was not used for longer than a second
/// is lost: there are no bursts later.
fn allowed(rate: u32, elapsed: Duration, spent: &mut u64) -> u64 {
    let earned = elapsed.as_millis() * u128::from(rate) / 1_000 + 1;
    let earned = u64::try_from(earned).unwrap_or(u64::MAX);
    *spent = (*spent).max(earned.saturating_sub(u64::from(rate)));
    earned.saturating_sub(*spent)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_is_kept_and_what_is_not_used_is_lost() {
        let mut spent = 0;
        let mut check = |millis, rate, expected: u64, used: u64| {
            let found = allowed(rate, Duration::from_millis(millis), &mut spent);
            assert_eq!(found, expected, "after {millis} ms");
            spent += used;
        };
        check(0, 10, 1, 1);
        check(99, 10, 0, 0);
        check(100, 10, 1, 1);
        check(1_000, 10, 9, 9);
        check(1_050, 10, 0, 0);
        check(60_000, 10, 10, 10);
        check(60_100, 10, 1, 0);
    }
}
