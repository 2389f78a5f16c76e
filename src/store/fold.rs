//! The fold: what each record does to the tables. Replaying the log from nothing and applying as
//! records are written lead to the same rows.

use std::sync::Arc;

use super::Error;
use super::codec::to_bytes;
use super::key::{self, Key, Table};
use super::reader::retry;
use super::redrives;
use super::staged::Staged;
use crate::domain::delivery::Retry;
use crate::domain::gap::{Gap, Missing};
use crate::domain::record::{Progress, Record};
use crate::domain::replay::Replay;
use crate::domain::subscription::{Start, State, Subscription};
use crate::domain::{Offset, Timestamp, letter};

/// Most retries of one subscription that its removal takes away at once; far above the bound that
/// lanes keep.
const RETRIES_SCAN_MAX: usize = 1 << 20;

/// Applies the record at an offset.
pub(crate) fn apply(
    staged: &mut Staged<'_>,
    offset: Offset,
    at: Timestamp,
    record: &Record,
) -> Result<(), Error> {
    match record {
        Record::Event(_) => {}
        Record::Subscription(held) => put_subscription(staged, offset, held)?,
        Record::SubscriptionRemoved { number, id } => remove_subscription(staged, *number, id)?,
        Record::Token(token) => {
            let key = Key::of(Table::Token).text(&token.id);
            staged.put(Table::Token, key, to_bytes(record))?;
        }
        Record::TokenRevoked { id } => {
            staged.remove(Table::Token, Key::of(Table::Token).text(id))?;
        }
        Record::Retry(retry) => {
            redrives::wait(staged, retry)?;
        }
        Record::Settled { subscription, offset } => {
            redrives::settle(staged, letter::Id { subscription: *subscription, offset: *offset })?;
        }
        Record::DeadLetter(letter) => redrives::bury(staged, offset, letter, to_bytes(record))?,
        Record::Progress(progress) => put_progress(staged, progress)?,
        Record::Gap { subscription, missing } => put_gap(staged, *subscription, *missing, at)?,
        Record::Job(job) => {
            staged.put(Table::Job, Key::of(Table::Job).offset(job.id), to_bytes(record))?;
        }
        Record::Redriven(redriven) => redrives::hand_over(staged, redriven)?,
        Record::Forgotten(forgotten) => redrives::forget(staged, forgotten)?,
        Record::ExpiryTold { subscription } => {
            if let Some(held) = staged.by_number(*subscription)? {
                remove_dues(staged, &held)?;
                put_dues(staged, &held, true)?;
            }
        }
        Record::Replay(replay) => put_replay(staged, **replay)?,
        Record::ReplayEnded { subscription } => {
            staged.remove(Table::Replay, Key::of(Table::Replay).number(*subscription))?;
            forget_retries(staged, *subscription, |retry| retry.replay)?;
        }
    }
    staged.advance(record, at);
    Ok(())
}

/// A new subscription gets a cursor: it must not be given what was before it, and where it asks for
/// what was before it, a crash must not forget that.
fn put_subscription(
    staged: &mut Staged<'_>,
    offset: Offset,
    held: &Arc<Subscription>,
) -> Result<(), Error> {
    let number_key = Key::of(Table::Number).number(held.number);
    let mut is_told = false;
    match staged.by_number(held.number)? {
        Some(before) => {
            is_told = before.lease == held.lease && staged.is_expiry_told(&before)?;
            remove_dues(staged, &before)?;
        }
        None => {
            let cursor = match held.wish.start {
                Start::Now => offset + 1,
                Start::Earliest => 0,
                Start::Offset(from) => from,
            };
            let key = Key::of(Table::Cursor).number(held.number);
            staged.put(Table::Cursor, key, key::number_row(cursor))?;
            staged.use_number(held.number);
        }
    }
    staged.put(Table::Number, number_key, held.id.clone().into_bytes())?;
    let row = to_bytes(&Record::Subscription(held.clone()));
    staged.put(Table::Subscription, Key::of(Table::Subscription).text(&held.id), row)?;
    put_dues(staged, held, is_told)?;
    put_hold(staged, held)?;
    match held.state.is_ended() {
        true => forget_delivery(staged, held.number),
        false => Ok(()),
    }
}

fn remove_subscription(staged: &mut Staged<'_>, number: u32, id: &str) -> Result<(), Error> {
    if let Some(before) = staged.by_number(number)? {
        remove_dues(staged, &before)?;
    }
    staged.remove(Table::Subscription, Key::of(Table::Subscription).text(id))?;
    staged.remove(Table::Number, Key::of(Table::Number).number(number))?;
    staged.remove(Table::Hold, Key::of(Table::Hold).number(number))?;
    staged.remove(Table::Gap, Key::of(Table::Gap).number(number))?;
    forget_delivery(staged, number)
}

fn forget_delivery(staged: &mut Staged<'_>, number: u32) -> Result<(), Error> {
    staged.remove(Table::Cursor, Key::of(Table::Cursor).number(number))?;
    staged.remove(Table::Replay, Key::of(Table::Replay).number(number))?;
    forget_retries(staged, number, |_| true)?;
    redrives::drop_all(staged, number, RETRIES_SCAN_MAX)
}

fn forget_retries(
    staged: &mut Staged<'_>,
    number: u32,
    is_meant: fn(&Retry) -> bool,
) -> Result<(), Error> {
    let prefix = Key::of(Table::Retry).number(number);
    for (key, row) in staged.scan(prefix.clone(), &prefix.end(), RETRIES_SCAN_MAX)? {
        if is_meant(&retry(&row)?) {
            staged.remove(Table::Retry, Key(key))?;
        }
    }
    Ok(())
}

fn put_replay(staged: &mut Staged<'_>, replay: Replay) -> Result<(), Error> {
    let key = Key::of(Table::Replay).number(replay.subscription);
    staged.put(Table::Replay, key, key::replay_row(&replay))
}

fn remove_dues(staged: &mut Staged<'_>, held: &Subscription) -> Result<(), Error> {
    for is_told in [false, true] {
        for (table, key) in dues(held, is_told) {
            staged.remove(table, key)?;
        }
    }
    Ok(())
}

fn put_dues(staged: &mut Staged<'_>, held: &Subscription, is_told: bool) -> Result<(), Error> {
    for (table, key) in dues(held, is_told) {
        staged.put(table, key, Vec::new())?;
    }
    Ok(())
}

/// The rows of the indexes that a subscription stands in. A lease stands at the time when it is to
/// be told that it is expiring, and once that is told, at its end.
fn dues(held: &Subscription, is_told: bool) -> Vec<(Table, Key)> {
    let mut keys = Vec::with_capacity(2);
    match (held.state, held.lease) {
        (State::Ended(_, at), _) => {
            keys.push((Table::Ended, Key::of(Table::Ended).time(at).number(held.number)));
        }
        (State::Active | State::Paused | State::Parked(_), Some(lease)) => {
            let due = if is_told { lease.expires_at } else { lease.expiring_at() };
            keys.push((Table::Lease, Key::of(Table::Lease).time(due).number(held.number)));
        }
        (State::Active | State::Paused | State::Parked(_), None) => {}
    }
    if let (Some(owner), false) = (&held.owner, held.state.is_ended()) {
        let key = Key::of(Table::Owner).text(owner).zero().number(held.number);
        keys.push((Table::Owner, key));
    }
    keys
}

/// An ended subscription needs nothing of the log any more.
fn put_hold(staged: &mut Staged<'_>, held: &Subscription) -> Result<(), Error> {
    let key = Key::of(Table::Hold).number(held.number);
    match held.wish.policy.hold.filter(|_| !held.state.is_ended()) {
        Some(bytes) => staged.put(Table::Hold, key, key::number_row(bytes)),
        None => staged.remove(Table::Hold, key),
    }
}

fn put_gap(
    staged: &mut Staged<'_>,
    number: u32,
    missing: Missing,
    at: Timestamp,
) -> Result<(), Error> {
    if staged.get(&Key::of(Table::Number).number(number))?.is_none() {
        return Ok(());
    }
    let key = Key::of(Table::Gap).number(number);
    let known = staged.get(&key)?.and_then(|row| key::read_gap(&row));
    staged.put(Table::Gap, key, key::gap_row(&Gap::after(known, missing, at)))
}

fn put_progress(staged: &mut Staged<'_>, progress: &Progress) -> Result<(), Error> {
    for (number, cursor) in &progress.lagging {
        let known = staged.get(&Key::of(Table::Number).number(*number))?.is_some();
        if known {
            let key = Key::of(Table::Cursor).number(*number);
            staged.put(Table::Cursor, key, key::number_row(*cursor))?;
        }
    }
    for number in &progress.caught_up {
        staged.remove(Table::Cursor, Key::of(Table::Cursor).number(*number))?;
    }
    for (number, cursor) in &progress.replays {
        if let Some(replay) = staged.replay_of(*number)? {
            put_replay(staged, Replay { cursor: *cursor, ..replay })?;
        }
    }
    for number in &progress.replays_over {
        staged.remove(Table::Replay, Key::of(Table::Replay).number(*number))?;
    }
    staged.put(Table::Meta, key::meta(key::MATCHED), key::number_row(progress.matched))
}

#[cfg(test)]
mod tests {
    use super::super::staged::Totals;
    use super::super::tables::{Memory, Rows, Tables};
    use super::super::window::Window;
    use super::*;
    use crate::domain::samples::{self, at};
    use crate::domain::subscription::End;

    fn subscription(number: u32, state: State, expires: i64) -> Record {
        let mut held = samples::subscription(number, expires);
        held.owner = Some("t".to_owned());
        held.wish.start = Start::Earliest;
        std::sync::Arc::make_mut(&mut held.wish.policy).hold = Some(1 << 20);
        held.state = state;
        Record::Subscription(Arc::new(held))
    }

    fn history() -> Vec<Record> {
        let retry = |offset, due| Record::Retry(Arc::new(Retry::untried(0, offset, at(due))));
        let progress = |matched, lagging, caught_up| {
            Record::Progress(Arc::new(Progress {
                matched,
                lagging,
                caught_up,
                ..Progress::default()
            }))
        };
        let gap = |subscription, from, to| {
            let missing = Missing { from, to };
            Record::Gap { subscription, missing }
        };
        vec![
            subscription(0, State::Active, 60),
            subscription(1, State::Active, 60),
            retry(0, 5),
            retry(0, 9),
            retry(1, 9),
            Record::Settled { subscription: 0, offset: 0 },
            progress(4, vec![(0, 3)], vec![1]),
            subscription(0, State::Paused, 120),
            progress(6, vec![(9, 1)], vec![]),
            gap(0, 1, 3),
            gap(1, 4, 6),
            gap(1, 8, 9),
            gap(9, 1, 2),
            subscription(1, State::Ended(End::Expired, at(60)), 60),
            Record::SubscriptionRemoved { number: 0, id: "s0".to_owned() },
        ]
    }

    fn rows_after(groups: usize) -> (Rows, Totals) {
        let (tables, mut window) = (Memory::default(), Window::new(0));
        let mut totals = Totals::default();
        let mut offset = 0;
        for group in history().chunks(groups) {
            let mut staged = Staged::new(&tables, &mut window, totals.clone(), offset, at(0));
            for record in group {
                apply(&mut staged, offset, at(0), record).expect("applies");
                offset += 1;
            }
            let outcome = staged.finish();
            tables.apply(&outcome.writes).expect("in memory");
            totals = outcome.totals;
        }
        let all = tables.scan(&Key(vec![0]), &Key(vec![u8::MAX]), usize::MAX, false);
        (all.expect("in memory"), totals)
    }

    #[test]
    fn the_fold_is_the_same_however_records_are_grouped() {
        let one_by_one = rows_after(1);
        for groups in 2..16 {
            assert_eq!(rows_after(groups), one_by_one, "groups of {groups}");
        }
    }

    #[test]
    fn a_removed_subscription_leaves_no_rows_and_counts_are_true() {
        let (rows, totals) = rows_after(1);
        for (table, noted) in key::COUNTED.iter().zip(totals.rows) {
            let held = rows.iter().filter(|(key, _)| key.first() == Some(&table.byte())).count();
            assert_eq!(held as u64, noted, "{table:?}");
        }
        let left = |table: Table| rows.iter().any(|(key, _)| key[0] == table.byte());
        assert!(!left(Table::Retry) && !left(Table::Cursor) && !left(Table::Lease));
        assert!(left(Table::Ended), "the ended one can still be looked at");
        assert!(!left(Table::Hold), "neither the removed nor the ended one holds anything");
    }

    #[test]
    fn the_newest_gap_and_the_sum_of_all_are_kept_until_the_subscription_is_removed() {
        let (rows, _) = rows_after(1);
        let gaps = rows.iter().filter(|(key, _)| key[0] == Table::Gap.byte());
        let gaps: Vec<_> = gaps.map(|(key, row)| (key::trailing_number(key), row)).collect();
        let [(Some(1), row)] = gaps.as_slice() else { panic!("{gaps:?}") };
        let expected = Gap { newest: Missing { from: 8, to: 9 }, at: at(0), total: 3 };
        assert_eq!(key::read_gap(row), Some(expected));
    }
}
