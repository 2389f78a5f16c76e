//! What a command leads to. Pure: the same state, command and time give the same records.

use std::sync::Arc;

use bytes::Bytes;
use serde_json::json;
use smallvec::smallvec;
use smol_str::{SmolStr, ToSmolStr, format_smolstr};

use super::command::{
    Actor, Command, Decision, Expect, Overtaken, Put, Records, Refusal, Reply, Rules, Settlement,
    View,
};
use super::delivery::Retry;
use super::event::{Data, Event, Form, Origin};
use super::gap::Missing;
use super::lease::{Asked, Lease};
use super::letter::Id;
use super::record::Record;
use super::replay;
use super::subscription::{End, State, Subscription, Wish};
use super::sweep;
use super::topic::Topic;
use super::{Invalid, Timestamp, change, park, redrive};

/// `source` of the events that the hub itself emits.
pub const HUB_SOURCE: &str = "tidings";

/// Decides a command.
pub fn decide(
    view: &dyn View,
    command: Command,
    now: Timestamp,
    rules: &Rules,
) -> Result<Decision, Refusal> {
    match command {
        Command::Publish(event) => publish(view, event),
        Command::Put(put) => decide_put(view, *put, now, rules),
        Command::Change { id, actor, change } => {
            change::change(view, &id, &actor, change, now, rules)
        }
        Command::Rotate(rotation) => change::rotate(view, *rotation, now),
        Command::Sweep => sweep::sweep(view, now, rules),
        Command::CreateToken(token) => Ok(quiet(smallvec![Record::Token(Arc::new(token))])),
        Command::RevokeToken(id) => revoke(view, id, now),
        Command::Settle(settlements) => settle(view, settlements),
        Command::Checkpoint(progress) => Ok(quiet(smallvec![Record::Progress(Arc::new(progress))])),
        Command::EndGone { number, sink } => match view.numbered(number)? {
            Some(held) if !held.state.is_ended() && held.wish.sink == sink => {
                Ok(quiet(end(held, End::Gone, now)))
            }
            Some(_) | None => Ok(quiet(smallvec![])),
        },
        Command::Replay { id, actor, from, to } => replay::begin(view, &id, &actor, from, to, now),
        Command::EndReplay { id, actor } => replay::cancel(view, &id, &actor, now),
        Command::Gap(overtaken) => pass_over(view, overtaken, now),
        Command::Park { numbers, error } => park::park(view, &numbers, &error, now),
        Command::Unpark { numbers } => park::unpark(view, &numbers, now),
        Command::Redrive(asked) => redrive::begin(view, *asked, now, rules),
        Command::HandOver { job, letters } => redrive::hand_over(view, job, letters, now),
        Command::EndJob { job, skipped } => redrive::end(view, job, skipped, now),
        Command::CancelJob { job, actor } => redrive::cancel(view, job, &actor, now),
        Command::Purge { letters, actor } => redrive::purge(view, letters, &actor),
    }
}

pub(super) fn quiet(records: Records) -> Decision {
    Decision { records, reply: Reply::Done }
}

fn publish(view: &dyn View, event: Arc<Event>) -> Result<Decision, Refusal> {
    if event.source == HUB_SOURCE {
        let detail = format!("{HUB_SOURCE:?} is the source of the hub's own events");
        return Err(Refusal::Invalid(Invalid::new("/source", detail)));
    }
    Ok(match view.seen(&event.source, &event.id) {
        Some(offset) => {
            Decision { records: smallvec![], reply: Reply::Published { offset, duplicate: true } }
        }
        None => {
            let reply = Reply::Published { offset: view.next_offset(), duplicate: false };
            Decision { records: smallvec![Record::Event(event)], reply }
        }
    })
}

fn decide_put(
    view: &dyn View,
    mut put: Put,
    now: Timestamp,
    rules: &Rules,
) -> Result<Decision, Refusal> {
    super::subscription::check_id(&put.id)?;
    put.wish.check()?;
    if let Some(owner) = &put.actor.owner
        && !view.has_token(owner)?
    {
        return Err(Refusal::NoToken(owner.clone()));
    }
    let held = view.subscription(&put.id)?;
    if held.as_ref().is_some_and(|held| !may_touch(&put.actor, held)) {
        return Err(Refusal::Taken(put.id));
    }
    let live = held.as_ref().filter(|held| !held.state.is_ended());
    match (put.expect, live) {
        (Expect::Nothing, Some(_)) => return Err(Refusal::Taken(put.id)),
        (Expect::Version(_), None) => return Err(Refusal::NoSubscription(put.id)),
        (Expect::Version(version), Some(live)) if version != live.version => {
            return Err(Refusal::VersionMismatch(live.version));
        }
        _ => {}
    }
    if held.is_none() && view.subscription_count() >= rules.subscriptions_max {
        return Err(Refusal::Full(rules.subscriptions_max));
    }
    if let Some(live) = live {
        put.wish.signing.resume(&live.wish.signing);
    }
    let created = live.is_none();
    let (asked, lease) = match (put.wish.lease, live) {
        (Asked::Keep, Some(Subscription { lease: Some(lease), .. })) if lease.is_over(now) => {
            return Err(Refusal::Ended(End::Expired));
        }
        (Asked::Keep, Some(live)) => (live.wish.lease, live.lease),
        (Asked::Keep, None) => (Asked::Default, Lease::grant(Asked::Default, rules.lease, now)),
        (asked, _) => (asked, Lease::grant(asked, rules.lease, now)),
    };
    let subscription = Subscription {
        number: live.map_or_else(|| view.next_number(), |live| live.number),
        version: held.as_ref().map_or(1, |held| held.version + 1),
        owner: live.map_or(put.actor.owner, |live| live.owner.clone()),
        lease,
        state: live.map_or(State::Active, |live| park::state_after(live, &put.wish)),
        created_at: live.map_or(now, |live| live.created_at),
        updated_at: now,
        id: put.id,
        wish: Wish { lease: asked, ..put.wish },
    };
    let mut records = Records::new();
    if let Some(ended) = held.filter(|_| created) {
        records.push(Record::SubscriptionRemoved { number: ended.number, id: ended.id });
    }
    Ok(stored(subscription, created, records))
}

pub(super) fn stored(
    mut subscription: Subscription,
    created: bool,
    mut records: Records,
) -> Decision {
    subscription.wish.signing.forget(subscription.updated_at);
    let subscription = Arc::new(subscription);
    records.push(Record::Subscription(subscription.clone()));
    Decision { records, reply: Reply::Subscription { subscription, created } }
}

/// The token goes at once; what it owns ends in parts, since one group must stay bounded.
fn revoke(view: &dyn View, id: String, now: Timestamp) -> Result<Decision, Refusal> {
    let owned = view.owned_by(&id)?;
    let known = view.has_token(&id)?;
    if !known && owned.is_empty() {
        return Err(Refusal::NoToken(id));
    }
    let reply = if owned.is_empty() { Reply::Done } else { Reply::Again };
    let mut records = Records::new();
    if known {
        records.push(Record::TokenRevoked { id });
    }
    for subscription in owned {
        records.extend(end(subscription, End::Revoked, now));
    }
    Ok(Decision { records, reply })
}

/// Outcomes of deliveries whose subscription is gone meanwhile are dropped.
fn settle(view: &dyn View, settlements: Vec<Settlement>) -> Result<Decision, Refusal> {
    let mut records = Records::with_capacity(settlements.len());
    for settlement in settlements {
        match settlement {
            Settlement::Retry(retry) if is_awaited(view, &retry)? => {
                records.push(Record::Retry(Arc::new(retry)));
            }
            Settlement::Done { subscription, offset } if is_live(view, subscription)? => {
                records.push(Record::Settled { subscription, offset });
            }
            Settlement::Dropped { subscription, offset } if is_live(view, subscription)? => {
                records.push(redrive::dropped(view, subscription, offset)?);
            }
            Settlement::Retry(_) | Settlement::Done { .. } | Settlement::Dropped { .. } => {}
            Settlement::Dead { letter, announce } => {
                let event = announce.then(|| Record::Event(Arc::new(death_notice(&letter))));
                records.push(Record::DeadLetter(Arc::new(letter)));
                records.extend(event);
            }
        }
    }
    Ok(quiet(records))
}

/// What is known already is not told again: a crash between the record and the progress behind it
/// lets a subscription meet the same range twice.
fn pass_over(
    view: &dyn View,
    overtaken: Vec<Overtaken>,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let mut records = Records::new();
    for Overtaken { subscription: number, missing } in overtaken {
        let held = view.numbered(number)?.filter(|held| !held.state.is_ended());
        let Some(held) = held else { continue };
        let Some(missing) = missing.beyond(view.gap(number)?) else { continue };
        records.push(Record::Gap { subscription: number, missing });
        records.push(Record::Event(Arc::new(gap_notice(&held, missing, now))));
    }
    Ok(quiet(records))
}

/// Whether somebody still wants a delivery that waits: what is part of a replay goes with it.
fn is_awaited(view: &dyn View, retry: &Retry) -> Result<bool, Refusal> {
    let Retry { subscription, offset, replay, .. } = *retry;
    let is_part = replay && !view.is_redriven(Id { subscription, offset })?;
    Ok(is_live(view, subscription)? && (!is_part || view.replay(subscription)?.is_some()))
}

fn is_live(view: &dyn View, number: u32) -> Result<bool, Refusal> {
    Ok(view.numbered(number)?.is_some_and(|held| !held.state.is_ended()))
}

pub(super) fn may_touch(actor: &Actor, subscription: &Subscription) -> bool {
    actor.admin || actor.owner == subscription.owner
}

pub(super) fn end(mut subscription: Subscription, why: End, now: Timestamp) -> Records {
    subscription.state = State::Ended(why, now);
    subscription.version += 1;
    subscription.updated_at = now;
    let kind = if why == End::Expired { "expired" } else { "ended" };
    let event = notice(&subscription, kind, Some(why), now);
    smallvec![Record::Subscription(Arc::new(subscription)), Record::Event(Arc::new(event))]
}

pub(super) fn notice(
    subscription: &Subscription,
    kind: &str,
    why: Option<End>,
    now: Timestamp,
) -> Event {
    let data = json!({
        "id": subscription.id,
        "name": subscription.wish.name,
        "labels": subscription.wish.labels,
        "owner": subscription.owner,
        "reason": why.map(End::as_str),
        "expires_at": subscription.lease.map(|lease| lease.expires_at.to_string()),
    });
    let id = format_smolstr!("{}-{}-{kind}", subscription.number, subscription.version);
    hub_event(id, &format!("tidings.subscription.{kind}"), &subscription.id, &data, now)
}

fn death_notice(letter: &super::delivery::DeadLetter) -> Event {
    let data = json!({
        "subscription": letter.subscription_id,
        "offset": letter.offset,
        "code": letter.reason.code(),
        "attempts": letter.attempts.len(),
    });
    // A letter that is redriven may die again: that is another death.
    let at = letter.at.as_millisecond();
    let id = format_smolstr!("{}-{}-{at}-dead", letter.subscription, letter.offset);
    hub_event(id, "tidings.delivery.dead", &letter.subscription_id, &data, letter.at)
}

fn gap_notice(subscription: &Subscription, missing: Missing, now: Timestamp) -> Event {
    let data = json!({
        "id": subscription.id,
        "name": subscription.wish.name,
        "labels": subscription.wish.labels,
        "owner": subscription.owner,
        "from": missing.from,
        "to": missing.to,
    });
    let id = format_smolstr!("{}-{}-gap", subscription.number, missing.from);
    hub_event(id, "tidings.subscription.gap", &subscription.id, &data, now)
}

pub(super) fn hub_event(
    id: SmolStr,
    kind: &str,
    subject: &str,
    data: &serde_json::Value,
    now: Timestamp,
) -> Event {
    Event {
        id,
        source: SmolStr::new_static(HUB_SOURCE),
        kind: kind.into(),
        subject: Some(subject.into()),
        time: Some(now.to_smolstr()),
        datacontenttype: Some(SmolStr::new_static("application/json")),
        dataschema: None,
        extensions: vec![],
        topic: Topic::of_type(kind).expect("the hub's own types are valid topics"),
        data: Some(Data { bytes: Bytes::from(data.to_string()), form: Form::Json }),
        origin: Origin::CloudEvent,
        message: None,
    }
}

#[cfg(test)]
#[path = "decide_tests.rs"]
mod tests;
