//! The part of the fold that is about dead letters, their redrives and the jobs that count them.
//!
//! A delivery is named by its subscription's number and its event's offset. It is a dead letter, or
//! it waits, never both by what is done here.

use std::sync::Arc;

use super::codec::to_bytes;
use super::key::{self, Key, Table};
use super::staged::{self, Staged, Totals};
use super::tables::{Batch, Tables};
use super::window::Window;
use super::{Error, rebuild};
use crate::domain::delivery::{DeadLetter, Retry};
use crate::domain::job::Counts;
use crate::domain::letter::Id;
use crate::domain::record::{Forgotten, Record, Redriven, Why};
use crate::domain::{Offset, Timestamp};

/// A delivery waits. One that was redriven is no part of a replay, which may end before it.
pub(super) fn wait(staged: &mut Staged<'_>, retry: &Arc<Retry>) -> Result<(), Error> {
    let id = Id { subscription: retry.subscription, offset: retry.offset };
    let mut retry = retry.clone();
    if retry.replay && staged.get(&Key::of(Table::Redriven).delivery(id))?.is_some() {
        Arc::make_mut(&mut retry).replay = false;
    }
    staged.put(Table::Retry, Key::of(Table::Retry).delivery(id), to_bytes(&Record::Retry(retry)))
}

/// A delivery that waited is done.
pub(super) fn settle(staged: &mut Staged<'_>, id: Id) -> Result<(), Error> {
    staged.remove(Table::Retry, Key::of(Table::Retry).delivery(id))?;
    count(staged, id, |counts| counts.delivered += 1)
}

/// A delivery was given up. Its letter takes the place of one that it had before.
pub(super) fn bury(
    staged: &mut Staged<'_>,
    place: Offset,
    letter: &DeadLetter,
    row: Vec<u8>,
) -> Result<(), Error> {
    let id = letter.name();
    staged.remove(Table::Retry, Key::of(Table::Retry).delivery(id))?;
    count(staged, id, |counts| counts.died += 1)?;
    remove_letter(staged, id)?;
    let key = Key::of(Table::DeadLetter).time(letter.at).delivery(id);
    staged.put(Table::DeadLetter, key, row)?;
    let key = Key::of(Table::Letter).delivery(id);
    staged.put(Table::Letter, key, key::letter_row(letter.at, place))
}

/// Letters wait for a first attempt again.
pub(super) fn hand_over(staged: &mut Staged<'_>, redriven: &Redriven) -> Result<(), Error> {
    let Redriven { job, due, letters } = redriven;
    for handed in letters {
        let id = handed.letter;
        remove_letter(staged, id)?;
        let retry = Retry::untried(id.subscription, id.offset, *due);
        let row = to_bytes(&Record::Retry(Arc::new(retry)));
        staged.put(Table::Retry, Key::of(Table::Retry).delivery(id), row)?;
        let key = Key::of(Table::Redriven).delivery(id);
        staged.put(Table::Redriven, key, key::number_row(*job))?;
    }
    change(staged, *job, |counts| counts.handed += letters.len() as u64)
}

pub(super) fn forget(staged: &mut Staged<'_>, forgotten: &Forgotten) -> Result<(), Error> {
    for id in &forgotten.letters {
        remove_letter(staged, *id)?;
        if forgotten.why == Why::Dropped {
            staged.remove(Table::Retry, Key::of(Table::Retry).delivery(*id))?;
            count(staged, *id, |counts| counts.dropped += 1)?;
        }
    }
    for job in &forgotten.jobs {
        staged.remove(Table::Job, Key::of(Table::Job).offset(*job))?;
    }
    Ok(())
}

/// A subscription's deliveries wait no more.
pub(super) fn drop_all(staged: &mut Staged<'_>, number: u32, max: usize) -> Result<(), Error> {
    let prefix = Key::of(Table::Redriven).number(number);
    let rows = staged.scan(prefix.clone(), &prefix.end(), max)?;
    for id in rows.iter().filter_map(|(key, _)| key::trailing_delivery(key)) {
        count(staged, id, |counts| counts.dropped += 1)?;
    }
    Ok(())
}

/// Gives names to letters that were written before letters had any. To be called before anything
/// is folded: what the log says of a letter goes by its name.
pub(super) fn name_letters(tables: &dyn Tables) -> Result<(), Error> {
    let totals = rebuild::read_totals(tables)?;
    let rows = |table| staged::counter(table).map_or(0, |slot| totals.rows[slot]);
    if rows(Table::DeadLetter) == rows(Table::Letter) {
        return Ok(());
    }
    let start = Key::of(Table::DeadLetter);
    let all = tables.scan(&start, &start.clone().end(), usize::MAX, false)?;
    let mut window = Window::new(0);
    let writes = named(tables, &mut window, totals, all.into_iter().map(|(key, _)| key))?;
    tables.apply(&writes)
}

/// Oldest first: of two letters of one delivery the newer one stays.
fn named(
    tables: &dyn Tables,
    window: &mut Window,
    totals: Totals,
    keys: impl Iterator<Item = Vec<u8>>,
) -> Result<Batch, Error> {
    let mut staged = Staged::new(tables, window, totals, 0, Timestamp::UNIX_EPOCH);
    for key in keys {
        let (Some(at), Some(id)) = (key::leading_time(&key), key::trailing_delivery(&key)) else {
            continue;
        };
        let name = Key::of(Table::Letter).delivery(id);
        let known = staged.get(&name)?.and_then(|row| key::read_letter(&row));
        match known {
            Some((known, _)) if known == at => {}
            Some((known, place)) => {
                let older = Key::of(Table::DeadLetter).time(known.min(at)).delivery(id);
                staged.remove(Table::DeadLetter, older)?;
                staged.put(Table::Letter, name, key::letter_row(known.max(at), place))?;
            }
            // Before every job.
            None => staged.put(Table::Letter, name, key::letter_row(at, 0))?,
        }
    }
    Ok(staged.finish().writes)
}

fn remove_letter(staged: &mut Staged<'_>, id: Id) -> Result<(), Error> {
    let name = Key::of(Table::Letter).delivery(id);
    let Some((at, _)) = staged.get(&name)?.and_then(|row| key::read_letter(&row)) else {
        return Ok(());
    };
    staged.remove(Table::DeadLetter, Key::of(Table::DeadLetter).time(at).delivery(id))?;
    staged.remove(Table::Letter, name)
}

/// Counts what became of a delivery with the job that handed it over, if one did.
fn count(staged: &mut Staged<'_>, id: Id, counted: impl FnOnce(&mut Counts)) -> Result<(), Error> {
    let key = Key::of(Table::Redriven).delivery(id);
    let Some(row) = staged.get(&key)? else { return Ok(()) };
    staged.remove(Table::Redriven, key)?;
    match key::read_number(&row) {
        Some(job) => change(staged, job, counted),
        None => Ok(()),
    }
}

/// Changes the counts of a job, unless it is forgotten.
fn change(
    staged: &mut Staged<'_>,
    job: Offset,
    counted: impl FnOnce(&mut Counts),
) -> Result<(), Error> {
    let key = Key::of(Table::Job).offset(job);
    let Some(row) = staged.get(&key)? else { return Ok(()) };
    let mut job = staged::job(&row)?;
    counted(&mut job.counts);
    staged.put(Table::Job, key, to_bytes(&Record::Job(Arc::new(job))))
}

#[cfg(test)]
mod tests {
    use super::super::fold;
    use super::super::tables::Memory;
    use super::*;
    use crate::domain::job::{Handed, Job};
    use crate::domain::samples::{at, letter, subscription};
    use crate::domain::subscription::{End, State};
    use crate::store::codec;

    fn id(offset: Offset) -> Id {
        Id { subscription: 7, offset }
    }

    fn buried(offset: Offset, seconds: i64) -> Record {
        Record::DeadLetter(Arc::new(letter(7, offset, at(seconds))))
    }

    fn handed_over(offsets: &[Offset]) -> Record {
        let handed = |offset: &Offset| Handed { letter: id(*offset), key: None };
        let letters = offsets.iter().map(handed).collect();
        Record::Redriven(Arc::new(Redriven { job: 3, due: at(9), letters }))
    }

    fn forgotten(offsets: &[Offset], jobs: &[Offset], why: Why) -> Record {
        let letters = offsets.iter().copied().map(id).collect();
        Record::Forgotten(Arc::new(Forgotten { letters, jobs: jobs.to_vec(), why }))
    }

    fn job() -> Job {
        let mut job = codec::sample_job();
        (job.id, job.counts) = (3, Counts::default());
        job
    }

    /// Folds records from an offset on, one by one.
    fn folded(tables: &Memory, first: Offset, records: &[Record]) {
        let mut window = Window::new(0);
        for (offset, record) in (first..).zip(records) {
            let totals = rebuild::read_totals(tables).expect("in memory");
            let mut staged = Staged::new(tables, &mut window, totals, offset, at(0));
            fold::apply(&mut staged, offset, at(0), record).expect("applies");
            tables.apply(&staged.finish().writes).expect("in memory");
        }
    }

    fn rows(tables: &Memory, table: Table) -> Vec<(Id, Vec<u8>)> {
        let start = Key::of(table);
        let rows = tables.scan(&start, &start.clone().end(), usize::MAX, false);
        let named = |(key, row): (Vec<u8>, Vec<u8>)| (key::trailing_delivery(&key), row);
        let rows = rows.expect("in memory").into_iter().map(named);
        let rows: Vec<_> = rows.filter_map(|(id, row)| Some((id?, row))).collect();
        let noted = rebuild::read_totals(tables).expect("in memory");
        let slot = staged::counter(table).expect("counted");
        assert_eq!(noted.rows[slot], rows.len() as u64, "{table:?}");
        rows
    }

    fn names(tables: &Memory, table: Table) -> Vec<Id> {
        rows(tables, table).into_iter().map(|(id, _)| id).collect()
    }

    fn counts(tables: &Memory) -> [u64; 4] {
        let row = tables.get(&Key::of(Table::Job).offset(3)).expect("in memory");
        let Counts { handed, delivered, died, dropped } =
            staged::job(&row.expect("it is there")).expect("a job").counts;
        [handed, delivered, died, dropped]
    }

    #[test]
    fn a_delivery_is_a_dead_letter_or_waits_and_its_job_counts_what_becomes_of_it() {
        let tables = Memory::default();
        let held = Record::Subscription(Arc::new(subscription(7, 60)));
        let begun = Record::Job(Arc::new(job()));
        let letters = [buried(1, 4), buried(2, 5), buried(3, 6), buried(4, 7), buried(5, 8)];
        folded(&tables, 0, &[held, begun]);
        folded(&tables, 2, &letters);
        assert_eq!(names(&tables, Table::DeadLetter), [1, 2, 3, 4, 5].map(id));
        folded(&tables, 10, &[handed_over(&[1, 2, 3, 4])]);
        assert_eq!(names(&tables, Table::DeadLetter), [id(5)]);
        assert_eq!(names(&tables, Table::Letter), [id(5)]);
        assert_eq!(names(&tables, Table::Retry), [1, 2, 3, 4].map(id));
        assert_eq!(counts(&tables), [4, 0, 0, 0]);
        let settled = Record::Settled { subscription: 7, offset: 1 };
        let dropped = forgotten(&[3], &[], Why::Dropped);
        folded(&tables, 11, &[settled, buried(2, 9), dropped]);
        assert_eq!(counts(&tables), [4, 1, 1, 1]);
        assert_eq!(names(&tables, Table::Retry), [id(4)]);
        assert_eq!(names(&tables, Table::Redriven), [id(4)]);
        assert_eq!(names(&tables, Table::DeadLetter), [5, 2].map(id), "in the order of time");
        let mut ended = subscription(7, 60);
        ended.state = State::Ended(End::Expired, at(9));
        folded(&tables, 14, &[Record::Subscription(Arc::new(ended))]);
        assert_eq!(counts(&tables), [4, 1, 1, 2], "it waits no more");
        assert!(names(&tables, Table::Retry).is_empty());
        assert!(names(&tables, Table::Redriven).is_empty());
        folded(&tables, 15, &[forgotten(&[2], &[3], Why::Expired)]);
        assert_eq!(names(&tables, Table::DeadLetter), [id(5)], "it outlives its subscription");
        assert_eq!(tables.get(&Key::of(Table::Job).offset(3)).expect("in memory"), None);
    }

    #[test]
    fn what_was_redriven_outlives_a_replay_that_tried_it_too() {
        let tables = Memory::default();
        let held = Record::Subscription(Arc::new(subscription(7, 60)));
        let failed = |offset| {
            let untried = Retry::untried(7, offset, at(9));
            Record::Retry(Arc::new(Retry { replay: true, ..untried }))
        };
        let ended = Record::ReplayEnded { subscription: 7 };
        let letter = [held, Record::Job(Arc::new(job())), buried(1, 4), handed_over(&[1])];
        folded(&tables, 0, &letter);
        folded(&tables, 4, &[failed(1), failed(2), ended]);
        assert_eq!(names(&tables, Table::Retry), [id(1)]);
    }

    #[test]
    fn of_two_letters_of_one_delivery_the_newer_one_stays() {
        let tables = Memory::default();
        folded(&tables, 0, &[buried(1, 4), buried(1, 9), buried(1, 6)]);
        let place = rows(&tables, Table::Letter);
        assert_eq!(key::read_letter(&place[0].1), Some((at(6), 2)), "newer by the log");
        assert_eq!(names(&tables, Table::DeadLetter), [id(1)]);
        folded(&tables, 3, &[forgotten(&[1], &[], Why::Purged), forgotten(&[1], &[], Why::Purged)]);
        assert!(names(&tables, Table::Letter).is_empty());
    }

    #[test]
    fn letters_from_before_they_had_names_get_them() {
        let tables = Memory::default();
        folded(&tables, 0, &[buried(1, 4), buried(2, 5)]);
        let mut window = Window::new(0);
        let totals = rebuild::read_totals(&tables).expect("in memory");
        let mut before = Staged::new(&tables, &mut window, totals, 2, at(0));
        for offset in [1, 2] {
            let name = Key::of(Table::Letter).delivery(id(offset));
            before.remove(Table::Letter, name).expect("in memory");
        }
        let twice = Key::of(Table::DeadLetter).time(at(3)).delivery(id(2));
        before.put(Table::DeadLetter, twice, vec![]).expect("in memory");
        tables.apply(&before.finish().writes).expect("in memory");
        name_letters(&tables).expect("in memory");
        assert_eq!(names(&tables, Table::DeadLetter), [1, 2].map(id));
        let named = rows(&tables, Table::Letter);
        let named = named.iter().filter_map(|(id, row)| Some((*id, key::read_letter(row)?)));
        assert_eq!(named.collect::<Vec<_>>(), [(id(1), (at(4), 0)), (id(2), (at(5), 0))]);
    }
}
