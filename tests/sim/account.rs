//! The account at the end, when nothing is left to do: what became of every acknowledged event for
//! every subscription that it matches.
//!
//! An event is asked for where the subscription is live to the end, the event lies at or after its
//! beginning, and matches every filter that was in force from then on. A redrive or a replay asks
//! anew: then only what was not yet over when it was acknowledged counts.

use std::collections::BTreeMap;

use tidings::domain::policy::OnExhausted;
use tidings::domain::record::{Record, Why};
use tidings::domain::subscription::Subscription;
use tidings::domain::{Offset, Timestamp};

use crate::ledger::Ledger;
use crate::model::Model;
use crate::oracle::Fault;
use crate::rules::{Name, begins};

/// What the log tells of deliveries.
#[derive(Debug, Default)]
struct Told {
    versions: BTreeMap<u32, Vec<(Offset, Subscription)>>,
    /// The newest record that gave a delivery up.
    over: BTreeMap<Name, Offset>,
    redriven: BTreeMap<Name, Offset>,
    /// Where each was asked for, and its range.
    replays: BTreeMap<u32, Vec<(Offset, Offset, Offset)>>,
}

/// How many deliveries were asked for and accounted for.
pub(crate) fn settle(ledger: &Ledger, model: &Model, now: Timestamp) -> Result<u64, Fault> {
    let told = Told::of(model);
    let mut count = 0;
    for (number, versions) in &told.versions {
        let Some(held) = model.fold.subscriptions.get(number) else { continue };
        if held.state.is_ended() || held.lease.is_some_and(|lease| lease.is_over(now)) {
            continue;
        }
        for offset in model.entries.keys() {
            let Some(asked) = told.asked(*number, versions, *offset, model) else { continue };
            count += 1;
            let name = (*number, *offset);
            let is_after = |at: Offset| asked.is_none_or(|asked| at > asked);
            let arrived = ledger.arrived.get(&name).into_iter().flatten();
            let arrived = arrived.flatten().any(|end| is_after(*end));
            let over = told.over.get(&name).is_some_and(|at| is_after(*at));
            let may_drop = versions.iter().any(|(_, it)| drops(it));
            let dropped = ledger.dropped.get(&name).is_some_and(|at| is_after(*at) && may_drop);
            if !arrived && !over && !dropped {
                return Err(format!("{name:?} is lost (asked for at {asked:?})"));
            }
        }
    }
    Ok(count)
}

/// Nothing waits, and all that is live has caught up.
pub(crate) fn at_rest(model: &Model) -> Result<(), Fault> {
    let fold = &model.fold;
    let is_live =
        |number: &u32| fold.subscriptions.get(number).is_some_and(|held| !held.state.is_ended());
    if let Some(retry) = fold.retries.keys().next() {
        return Err(format!("{retry:?} still waits"));
    }
    // Progress that comes after an end may leave a row, which goes with the subscription.
    if let Some((number, cursor)) = fold.cursors.iter().find(|(number, _)| is_live(number)) {
        return Err(format!("{number} still stands at {cursor}"));
    }
    match fold.replays.keys().next() {
        Some(number) => Err(format!("{number} still replays")),
        None => Ok(()),
    }
}

fn drops(held: &Subscription) -> bool {
    held.wish.policy.on_exhausted == OnExhausted::Drop
}

impl Told {
    fn of(model: &Model) -> Self {
        let mut told = Self::default();
        for (offset, entry) in &model.entries {
            match &entry.record {
                Record::Subscription(held) => {
                    let versions = told.versions.entry(held.number).or_default();
                    versions.push((*offset, (**held).clone()));
                }
                Record::DeadLetter(letter) => {
                    told.over.insert((letter.subscription, letter.offset), *offset);
                }
                Record::Forgotten(forgotten) if forgotten.why == Why::Dropped => {
                    let names = forgotten.letters.iter().map(|id| (id.subscription, id.offset));
                    told.over.extend(names.map(|name| (name, *offset)));
                }
                Record::Redriven(redriven) => {
                    let letters = redriven.letters.iter().map(|handed| handed.letter);
                    let names = letters.map(|id| ((id.subscription, id.offset), *offset));
                    told.redriven.extend(names);
                }
                Record::Replay(replay) => {
                    let range = (*offset, replay.from, replay.to);
                    told.replays.entry(replay.subscription).or_default().push(range);
                }
                // What was given up is not asked for.
                Record::ReplayEnded { subscription } => {
                    told.replays.entry(*subscription).or_default().pop();
                }
                _ => {}
            }
        }
        told
    }

    /// Whether an event is asked for, and the newest record that asks for it anew.
    fn asked(
        &self,
        number: u32,
        versions: &[(Offset, Subscription)],
        offset: Offset,
        model: &Model,
    ) -> Option<Option<Offset>> {
        let event = model.event(offset)?;
        let matches_from = |from: Offset| {
            let ends = versions.iter().skip(1).map(|(at, _)| *at).chain([Offset::MAX]);
            let in_force = versions.iter().zip(ends).filter(|(_, end)| *end > from);
            in_force.fold(true, |all, ((_, held), _)| all && held.wish.filter.matches(event))
        };
        let replays = self.replays.get(&number).into_iter().flatten();
        let replays = replays.filter(|(_, from, to)| (*from..*to).contains(&offset));
        let replayed = replays.filter(|(at, ..)| matches_from(*at)).map(|(at, ..)| *at).max();
        let redriven = self.redriven.get(&(number, offset)).copied();
        let anew = replayed.max(redriven);
        let (created, first) = versions.first()?;
        let own = offset >= begins(*created, first) && matches_from(offset);
        (own || anew.is_some()).then_some(anew)
    }
}
