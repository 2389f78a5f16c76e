//! What is decided where somebody changes a subscription that there is, its wish apart.

use std::sync::Arc;

use smallvec::smallvec;

use super::Timestamp;
use super::command::{Actor, Change, Decision, Refusal, Rotation, Rules, View};
use super::decide::{may_touch, notice, quiet, stored};
use super::lease::{Asked, Lease};
use super::record::Record;
use super::subscription::{End, Signing, State, Subscription};

/// Carries a change out.
pub(super) fn change(
    view: &dyn View,
    id: &str,
    actor: &Actor,
    change: Change,
    now: Timestamp,
    rules: &Rules,
) -> Result<Decision, Refusal> {
    if change == Change::Delete {
        return Ok(delete(touchable(view, id, actor)?, now));
    }
    let mut subscription = changeable(view, id, actor, now)?;
    match change {
        Change::Renew(seconds) => {
            let before = || subscription.lease.map(|lease| Asked::Seconds(lease.seconds));
            let asked = seconds.map(Asked::Seconds).or_else(before).unwrap_or(Asked::Forever);
            subscription.lease = Lease::grant(asked, rules.lease, now);
        }
        Change::Pause => subscription.state = State::Paused,
        Change::Resume => subscription.state = State::Active,
        Change::Delete => unreachable!("deletion was decided above"),
    }
    subscription.version += 1;
    subscription.updated_at = now;
    Ok(stored(subscription, false, smallvec![]))
}

/// Puts a new signing key in front of those that there are.
pub(super) fn rotate(
    view: &dyn View,
    rotation: Rotation,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let Rotation { id, actor, key, overlap } = rotation;
    let mut subscription = changeable(view, &id, &actor, now)?;
    let Signing::StandardWebhooks(keys) = &mut subscription.wish.signing else {
        return Err(Refusal::Unsigned(id));
    };
    keys.rotate(key, overlap, now);
    subscription.version += 1;
    subscription.updated_at = now;
    Ok(stored(subscription, false, smallvec![]))
}

/// A subscription that the caller may change.
fn touchable(view: &dyn View, id: &str, actor: &Actor) -> Result<Subscription, Refusal> {
    let held = view.subscription(id)?.filter(|held| may_touch(actor, held));
    held.ok_or_else(|| Refusal::NoSubscription(id.to_owned()))
}

/// One that is not over, either.
fn changeable(
    view: &dyn View,
    id: &str,
    actor: &Actor,
    now: Timestamp,
) -> Result<Subscription, Refusal> {
    let subscription = touchable(view, id, actor)?;
    subscription.check_live(now).map_err(Refusal::Ended)?;
    Ok(subscription)
}

fn delete(subscription: Subscription, now: Timestamp) -> Decision {
    let removed =
        Record::SubscriptionRemoved { number: subscription.number, id: subscription.id.clone() };
    let mut records = smallvec![removed];
    if !subscription.state.is_ended() {
        records.push(Record::Event(Arc::new(notice(
            &subscription,
            "ended",
            Some(End::Deleted),
            now,
        ))));
    }
    quiet(records)
}

#[cfg(test)]
#[path = "change_tests.rs"]
mod tests;
