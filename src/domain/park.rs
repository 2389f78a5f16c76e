//! What is decided where a target stops working, and where it works again.

use std::sync::Arc;

use serde_json::{Map, json};
use smol_str::format_smolstr;

use super::Timestamp;
use super::command::{Decision, Records, Refusal, View};
use super::decide::{hub_event, quiet};
use super::event::Event;
use super::record::Record;
use super::subscription::{State, Subscription, Wish};

/// Parks what is active. What was paused or ended meanwhile stays so.
pub(super) fn park(
    view: &dyn View,
    numbers: &[u32],
    error: &str,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let state = |held: State| (held == State::Active).then_some(State::Parked(now));
    change(view, numbers, state, "parked", Some(error), now)
}

/// Has what is parked go on.
pub(super) fn unpark(
    view: &dyn View,
    numbers: &[u32],
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let state = |held: State| matches!(held, State::Parked(_)).then_some(State::Active);
    change(view, numbers, state, "resumed", None, now)
}

/// The state of a subscription that is replaced: another target may well work.
pub(super) fn state_after(live: &Subscription, wish: &Wish) -> State {
    match live.state {
        State::Parked(_) if live.wish.sink != wish.sink => State::Active,
        state => state,
    }
}

fn change(
    view: &dyn View,
    numbers: &[u32],
    state: impl Fn(State) -> Option<State>,
    kind: &str,
    error: Option<&str>,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let mut records = Records::new();
    for number in numbers {
        let Some(mut held) = view.numbered(*number)? else { continue };
        let Some(next) = state(held.state) else { continue };
        held.state = next;
        held.version += 1;
        held.updated_at = now;
        let event = notice(&held, kind, error, now);
        records.push(Record::Subscription(Arc::new(held)));
        records.push(Record::Event(Arc::new(event)));
    }
    Ok(quiet(records))
}

fn notice(held: &Subscription, kind: &str, error: Option<&str>, now: Timestamp) -> Event {
    let mut data = Map::from_iter([
        ("id".to_owned(), json!(held.id)),
        ("name".to_owned(), json!(held.wish.name)),
        ("labels".to_owned(), json!(held.wish.labels)),
        ("owner".to_owned(), json!(held.owner)),
    ]);
    data.extend(error.map(|error| ("error".to_owned(), json!(error))));
    let id = format_smolstr!("{}-{}-{kind}", held.number, held.version);
    hub_event(id, &format!("tidings.subscription.{kind}"), &held.id, &data.into(), now)
}
