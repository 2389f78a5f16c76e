//! Replays: a subscription is given a range of the log once more. One at a time.

use std::sync::Arc;

use super::command::{Actor, Decision, Records, Refusal, View};
use super::decide::{may_touch, quiet};
use super::record::Record;
use super::{Invalid, Offset, Timestamp};

/// A replay and how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replay {
    /// The subscription's number.
    pub subscription: u32,
    /// The first offset.
    pub from: Offset,
    /// One past the last.
    pub to: Offset,
    /// All before it are done, or wait for a retry of their own.
    pub cursor: Offset,
}

/// Decides whether a replay begins. `None` for its end is where the log ends now.
pub(super) fn begin(
    view: &dyn View,
    id: &str,
    actor: &Actor,
    from: Offset,
    to: Option<Offset>,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let number = subscription(view, id, actor, now)?;
    if view.replay(number)?.is_some() {
        return Err(Refusal::Replaying(id.to_owned()));
    }
    let next = view.next_offset();
    let to = to.unwrap_or(next).min(next);
    if from >= to {
        let detail = format!("nothing is there to replay before {to}");
        return Err(Refusal::Invalid(Invalid::new("/from", detail)));
    }
    let replay = Replay { subscription: number, from, to, cursor: from };
    Ok(quiet(Records::from_iter([Record::Replay(Arc::new(replay))])))
}

/// Decides whether a replay is given up.
pub(super) fn cancel(
    view: &dyn View,
    id: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let subscription = subscription(view, id, actor, now)?;
    match view.replay(subscription)? {
        Some(_) => Ok(quiet(Records::from_iter([Record::ReplayEnded { subscription }]))),
        None => Ok(quiet(Records::new())),
    }
}

fn subscription(view: &dyn View, id: &str, actor: &Actor, now: Timestamp) -> Result<u32, Refusal> {
    let held = view.subscription(id)?.filter(|held| may_touch(actor, held));
    let held = held.ok_or_else(|| Refusal::NoSubscription(id.to_owned()))?;
    held.check_live(now).map_err(Refusal::Ended)?;
    Ok(held.number)
}
