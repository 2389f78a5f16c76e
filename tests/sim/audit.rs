//! The audit: everything that the store says of itself, beside what the oracle knows. Never here: a
//! change.

use std::collections::BTreeMap;

use tidings::domain::Offset;
use tidings::domain::job::Counts;
use tidings::domain::letter::Id;
use tidings::domain::record::Entry;
use tidings::store::Reader;
use tokio::runtime::Runtime;

use crate::dice::Dice;
use crate::model::{Fold, Model};
use crate::oracle::Fault;

/// More than any history holds.
const ALL: usize = 100_000;

/// Reads the log from an offset to its end, in pages of a random size.
pub(crate) fn read(
    runtime: &Runtime,
    reader: &Reader,
    from: Offset,
    dice: &mut Dice,
) -> Result<Vec<Entry>, Fault> {
    let (mut found, mut next) = (Vec::new(), from);
    let page = dice.pick(&[1, 3, 50, ALL]);
    while next < reader.next_offset() {
        let entries = runtime.block_on(reader.read(next, page));
        let entries = entries.map_err(|error| format!("{next} cannot be read: {error}"))?;
        let Some(last) = entries.last() else {
            return Err(format!("nothing at {next}, the log ends at {}", reader.next_offset()));
        };
        next = last.offset + 1;
        found.extend(entries);
    }
    Ok(found)
}

/// Compares entries with what was acknowledged: the same records at the same places, none left out.
pub(crate) fn compare(model: &Model, entries: &[Entry], from: Offset) -> Result<(), Fault> {
    for (entry, expected) in entries.iter().zip(from..) {
        if entry.offset != expected {
            return Err(format!("{expected} is missing, behind it comes {}", entry.offset));
        }
        let known = model.entries.get(&expected);
        if known != Some(entry) {
            return Err(format!("at {expected} found {entry:?}, expected {known:?}"));
        }
    }
    Ok(())
}

/// Compares the whole store with what it should hold.
pub(crate) fn whole(
    runtime: &Runtime,
    reader: &Reader,
    model: &Model,
    dice: &mut Dice,
) -> Result<(), Fault> {
    same("the next offset", &reader.next_offset(), &model.next)?;
    let oldest = reader.oldest_offset();
    let entries = read(runtime, reader, oldest, dice)?;
    compare(model, &entries, oldest)?;
    same(
        "the end of what is read",
        &entries.last().map_or(oldest, |last| last.offset + 1),
        &model.next,
    )?;
    runtime.block_on(tables(reader, &model.fold))?;
    times(runtime, reader, &entries, dice)
}

/// What the tables hold is the fold of all records, those that retention took included.
async fn tables(reader: &Reader, fold: &Fold) -> Result<(), Fault> {
    let said = |error| format!("the tables cannot be read: {error}");
    let mut held = reader.subscriptions(None, ALL).await.map_err(said)?;
    held.sort_by_key(|held| held.number);
    same("subscriptions", &held, &fold.subscriptions.values().cloned().collect())?;
    let tokens: Vec<_> = reader.tokens().into_iter().map(|token| (*token).clone()).collect();
    same("tokens", &tokens, &fold.tokens.values().cloned().collect())?;
    let letters = reader.dead_letters(None, ALL).await.map_err(said)?;
    let expected = fold.letters_by_time().into_iter().rev().cloned().collect();
    same("dead letters", &letters, &expected)?;
    let (first, last) =
        (Id { subscription: 0, offset: 0 }, Id { subscription: u32::MAX, offset: 0 });
    let named = reader.letters(first, last, ALL).await.map_err(said)?;
    same("dead letters by name", &named, &fold.dead_letters.values().cloned().collect())?;
    let jobs = reader.jobs().await.map_err(said)?;
    same("jobs", &jobs, &fold.jobs.values().cloned().collect())?;
    for job in fold.jobs.values() {
        let waiting = fold.redriven.values().filter(|waits_for| **waits_for == job.id).count();
        let Counts { handed, delivered, died, dropped } = job.counts;
        let known = delivered + died + dropped + u64::try_from(waiting).expect("lengths fit");
        same("what was handed over", &known, &handed)?;
    }
    let resume = reader.resume().await.map_err(said)?;
    same("cursors", &resume.cursors.into_iter().collect::<BTreeMap<_, _>>(), &fold.cursors)?;
    same("gaps", &resume.gaps.into_iter().collect::<BTreeMap<_, _>>(), &fold.gaps)?;
    same("retries", &resume.retries, &fold.retries.values().cloned().collect())?;
    same("replays", &resume.replays, &fold.replays.values().copied().collect())?;
    same("what is matched", &resume.matched, &fold.matched)?;
    let counts = reader.counts();
    let counted = [counts.subscriptions, counts.retries, counts.dead_letters, counts.tokens];
    let count = |length: usize| u64::try_from(length).expect("lengths fit");
    let expected = [
        count(fold.subscriptions.len()),
        count(fold.retries.len()),
        count(fold.dead_letters.len()),
        count(fold.tokens.len()),
    ];
    same("counts", &counted, &expected)
}

/// A time leads to the first record that was written then or later.
fn times(
    runtime: &Runtime,
    reader: &Reader,
    entries: &[Entry],
    dice: &mut Dice,
) -> Result<(), Fault> {
    if entries.is_empty() {
        return Ok(());
    }
    for _ in 0..3 {
        let at = entries[dice.index(entries.len())].at;
        let found = runtime.block_on(reader.offset_at(at));
        let found = found.map_err(|error| format!("no offset at {at}: {error}"))?;
        let first = entries.iter().find(|entry| entry.at >= at);
        same("the first offset at a time", &Some(found), &first.map(|entry| entry.offset))?;
    }
    Ok(())
}

fn same<T: PartialEq + std::fmt::Debug>(what: &str, found: &T, expected: &T) -> Result<(), Fault> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}:\n   found {found:?}\nexpected {expected:?}")),
    }
}
