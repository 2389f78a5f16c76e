//! What follows an attempt: the domain's verdict is carried out on the lane and told to the writer.
//! Never decides by itself, never waits.

use std::sync::Arc;
use std::time::Duration;

use super::board::Board;
use super::parcel::{Carried, Report, Unsent};
use super::strand::Finished;
use super::waiting::Past;
use crate::domain::command::Settlement;
use crate::domain::delivery::{
    Attempt, DeadLetter, Outcome, Reason, Retry, Sent, Verdict, classify, is_too_old,
};
use crate::domain::lease::after;
use crate::domain::policy::OnExhausted;
use crate::domain::record::Entry;
use crate::domain::subscription::Subscription;
use crate::domain::{Offset, Timestamp};

/// Pause before an event that cannot be read, or a derived one that cannot be written, is tried
/// again.
const UNREADY_PAUSE: Duration = Duration::from_secs(60);

/// `type` of the event that tells of a dead letter: its own death is not told.
const DEATH_NOTICE: &str = "tidings.delivery.dead";

/// An attempt that was carried out.
struct Answered<'a> {
    offset: Offset,
    entry: Option<&'a Entry>,
    finished: Finished,
    attempt: Attempt,
    /// The request, where that was no success.
    request: Option<Sent>,
    /// The subscription still has the target that answered.
    same_target: bool,
    /// It went out to see whether the target works, which it does not: when it is tried next.
    shut_until: Option<Timestamp>,
}

/// A request that came back.
struct Back {
    /// The subscription as it is now.
    subscription: Arc<Subscription>,
    /// It still has the sink that the request went to.
    is_sink: bool,
    /// It went out to see whether the target works, which it does not: when it is tried next.
    shut_until: Option<Timestamp>,
    now: Timestamp,
    /// One throw for all events of a batch, so that they stay together.
    dice: u32,
}

/// Why a delivery is given up.
struct Why {
    reason: Reason,
    /// The last request, if one was made.
    request: Option<Sent>,
    note: Option<String>,
}

impl Why {
    fn of(reason: Reason) -> Self {
        Self { reason, request: None, note: None }
    }
}

/// What follows an attempt, the last of those behind a delivery.
fn judge(
    back: &Back,
    outcome: &Outcome,
    same_target: bool,
    entry: Option<&Entry>,
    finished: &Finished,
) -> Verdict {
    let attempts = &finished.past.attempts;
    // What is asked for once more counts from then on.
    let first = attempts.first().filter(|_| finished.replay).map(|attempt| attempt.at);
    let stored = first.or(entry.map(|entry| entry.at)).unwrap_or(back.now);
    let policy = &back.subscription.wish.policy;
    match classify(outcome, policy, attempts.len(), stored, back.now, back.dice) {
        // What a step's other target says of itself is nothing about the subscription's.
        Verdict::End if back.is_sink && !same_target => Verdict::FailEvent(Reason::Permanent),
        verdict => verdict,
    }
}

impl Board {
    /// Takes an attempt back. `dice` spreads what is to be repeated.
    pub fn note_attempt(&mut self, report: Report, now: Timestamp, dice: u32) {
        let Report { sent, server, probe, replay, result, others, .. } = &report;
        let (number, replay) = (sent.number, *replay);
        let outcome = result.as_ref().ok().filter(|tried| tried.of_server);
        let outcome = outcome.map(|tried| &tried.attempt.outcome);
        let outcome = outcome.map(|it| (it, sent.wish.policy.counts_as_done(it)));
        self.roster.returned(server, *probe, outcome, now);
        let shut_until = self.roster.targets.open_until(server).filter(|_| *probe);
        if result.is_ok() {
            self.come_online();
        }
        let Some(lane) = self.roster.lanes.get_mut(&number) else { return };
        lane.returned();
        let subscription = lane.subscription.clone();
        let is_sink = Arc::ptr_eq(sent, &subscription)
            || sent.wish.sink == subscription.wish.sink
                && sent.wish.encoding == subscription.wish.encoding;
        let back = Back { subscription, is_sink, shut_until, now, dice };
        let Some(mut finished) = lane.finish(report.offset, replay) else {
            // Its replay was given up: there is room for another request.
            self.roster.touch(number);
            return;
        };
        let shared = if others.is_empty() { None } else { Some(result.clone()) };
        finished.past.responses = report.responses;
        self.conclude(&back, report.offset, report.entry.as_ref(), report.result, finished);
        for other in report.others {
            let lane = self.roster.lanes.get_mut(&number);
            let Some(finished) = lane.and_then(|it| it.finish(other.begin.offset, replay)) else {
                continue;
            };
            let result = match (other.unsent, &shared) {
                (Some(why), _) => Err(why),
                (None, Some(result)) => result.clone(),
                (None, None) => continue,
            };
            self.conclude(&back, other.begin.offset, other.entry.as_ref(), result, finished);
        }
        self.roster.touch(number);
    }

    /// Carries out what follows for one event.
    fn conclude(
        &mut self,
        back: &Back,
        offset: Offset,
        entry: Option<&Entry>,
        result: Result<Carried, Unsent>,
        finished: Finished,
    ) {
        let subscription = &*back.subscription;
        match result {
            Ok(Carried { attempt, request, of_server }) => {
                let same_target = back.is_sink && of_server;
                let shut_until = back.shut_until.filter(|_| same_target);
                let report =
                    Answered { offset, entry, finished, attempt, request, same_target, shut_until };
                self.settle(back, report);
            }
            Err(Unsent::TooOld) => {
                self.give_up(back, offset, entry, Why::of(Reason::Age), finished);
            }
            Err(Unsent::Unmakeable(reason, note)) => {
                if let Some(lane) = self.roster.lanes.get(&subscription.number) {
                    lane.stats.count_failed(note.clone());
                }
                let why = Why { note: Some(note), ..Why::of(reason) };
                self.give_up(back, offset, entry, why, finished);
            }
            Err(Unsent::Gone) => {
                tracing::warn!(subscription = %subscription.id, offset, "an event is gone");
                let why = Why::of(Reason::EventGone);
                self.bury(back, offset, true, why, finished);
            }
            Err(Unsent::Offline(why)) => {
                let due = self.go_offline(&why, back.now);
                self.retry_at(subscription, offset, due, finished);
            }
            Err(Unsent::Unready(why)) => {
                tracing::error!(subscription = %subscription.id, offset, why, "an event waits");
                let due = after(back.now, UNREADY_PAUSE);
                self.retry_at(subscription, offset, due, finished);
            }
        }
    }

    /// Decides what follows an attempt, and carries it out.
    fn settle(&mut self, back: &Back, report: Answered<'_>) {
        let Answered { offset, entry, mut finished, attempt, request, same_target, shut_until } =
            report;
        let (subscription, now) = (&*back.subscription, back.now);
        let number = subscription.number;
        self.metrics.flow_delivery_seconds.observe(attempt.took.as_secs_f64());
        if let (Outcome::Failed(why), Some(due)) = (&attempt.outcome, shut_until) {
            return self.put_back(back, entry, offset, (why, due), finished);
        }
        finished.past.attempts.push(attempt.clone());
        let Some(lane) = self.roster.lanes.get_mut(&number) else { return };
        let verdict = judge(back, &attempt.outcome, same_target, entry, &finished);
        match verdict {
            Verdict::Done => {
                // What was asked for once more, or to be late, is no sign of how late all are.
                let stored = entry.filter(|_| !finished.replay && !finished.retried);
                let delay = stored.and_then(|it| now.duration_since(it.at).try_into().ok());
                lane.stats.count_delivered(attempt.took, delay);
            }
            _ => lane.stats.count_failed(attempt.outcome.to_string()),
        }
        if same_target && let Some(time) = attempt.outcome.asked_pause(now) {
            lane.hold_until(time);
        }
        match verdict {
            Verdict::Done => {
                self.metrics.count_delivery("done");
                if finished.retried {
                    self.outbox.push(Settlement::Done { subscription: number, offset });
                }
            }
            Verdict::RetryAt(due) => {
                self.metrics.count_delivery("retry");
                self.retry_at(subscription, offset, due, finished);
            }
            Verdict::FailEvent(reason) => {
                let why = Why { request, ..Why::of(reason) };
                self.give_up(back, offset, entry, why, finished);
            }
            // The event waits until the end is written: should the subscription have got another
            // target by then, it goes there.
            Verdict::End => {
                self.metrics.count_delivery("ended");
                if same_target {
                    lane.ending = true;
                }
                self.retry_at(subscription, offset, now, finished);
                if same_target {
                    self.outbox.end(number, subscription.wish.sink.clone());
                }
            }
        }
    }

    /// A probe to which there was no answer spends no attempt: whatever the event, it would not
    /// have arrived.
    fn put_back(
        &mut self,
        back: &Back,
        entry: Option<&Entry>,
        offset: Offset,
        (why, due): (&str, Timestamp),
        finished: Finished,
    ) {
        let subscription = &*back.subscription;
        self.metrics.count_delivery("probe");
        if let Some(lane) = self.roster.lanes.get(&subscription.number) {
            lane.stats.count_failed(why.to_owned());
        }
        let policy = &subscription.wish.policy;
        let ages = entry.filter(|_| !finished.replay);
        match ages.is_some_and(|entry| is_too_old(policy, entry.at, due)) {
            true => self.give_up(back, offset, entry, Why::of(Reason::Age), finished),
            false => self.retry_at(subscription, offset, due, finished),
        }
    }

    fn retry_at(
        &mut self,
        subscription: &Subscription,
        offset: Offset,
        due: Timestamp,
        finished: Finished,
    ) {
        let Finished { past: Past { attempts, responses }, key, replay, .. } = finished;
        let (number, delayed) = (subscription.number, false);
        let retry =
            Retry { subscription: number, offset, due, attempts, delayed, replay, responses };
        if let Some(lane) = self.roster.lanes.get_mut(&number) {
            lane.wait(&retry, key);
        }
        self.roster.wake_at(&retry);
        self.outbox.push(Settlement::Retry(retry));
    }

    fn give_up(
        &mut self,
        back: &Back,
        offset: Offset,
        entry: Option<&Entry>,
        why: Why,
        finished: Finished,
    ) {
        let subscription = &*back.subscription;
        if subscription.wish.policy.on_exhausted == OnExhausted::Drop {
            self.metrics.count_delivery("dropped");
            if finished.retried {
                self.outbox.push(Settlement::Dropped { subscription: subscription.number, offset });
            }
            return;
        }
        // Off for events that tell of dead letters themselves.
        let announce = entry.and_then(Entry::event).is_none_or(|event| event.kind != DEATH_NOTICE);
        self.bury(back, offset, announce, why, finished);
    }

    /// Keeps a dead letter, whatever the policy says of events whose attempts are used up.
    fn bury(&mut self, back: &Back, offset: Offset, announce: bool, why: Why, finished: Finished) {
        self.metrics.count_delivery("dead");
        let letter = DeadLetter {
            subscription: back.subscription.number,
            subscription_id: back.subscription.id.clone(),
            offset,
            at: back.now,
            reason: why.reason,
            attempts: finished.past.attempts,
            request: why.request,
            note: why.note,
            replay: finished.replay,
        };
        self.outbox.push(Settlement::Dead { letter, announce });
    }
}
