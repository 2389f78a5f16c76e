//! What is decided on dead letters and on the jobs that redrive them. A letter is handed back to
//! delivery by one record, which takes the letter away and lets the delivery wait: whatever happens
//! there is one or the other.

use std::collections::BTreeSet;
use std::sync::Arc;

use smallvec::smallvec;

use super::command::{Actor, Decision, Records, Redrive, Refusal, Reply, Rules, View};
use super::decide::may_touch;
use super::job::{Counts, Handed, Job, Skipped, State};
use super::letter::Id;
use super::record::{Forgotten, Record, Redriven, Why};
use super::{Offset, Timestamp};

/// Most dead letters that one sweep forgets.
const FORGET_MAX: usize = 256;

/// Begins a redrive. Where there are as many jobs as there may be, the oldest ended one goes.
pub(super) fn begin(
    view: &dyn View,
    asked: Redrive,
    now: Timestamp,
    rules: &Rules,
) -> Result<Decision, Refusal> {
    let Redrive { actor, choice, rate_per_second, total } = asked;
    if let Some(owner) = &actor.owner
        && !view.has_token(owner)?
    {
        return Err(Refusal::NoToken(owner.clone()));
    }
    let mut records = Records::new();
    let held = view.jobs()?;
    if held.len() >= rules.jobs_max {
        let oldest = held.iter().find(|job| !job.is_running());
        let oldest = oldest.ok_or(Refusal::JobsFull(rules.jobs_max))?;
        records.push(forgotten(vec![], vec![oldest.id], Why::Expired));
    }
    let (state, counts, skipped) = (State::Running, Counts::default(), Skipped::default());
    let id = view.next_offset() + records.len() as u64;
    let created_at = now;
    let job = Job { id, actor, choice, rate_per_second, created_at, total, state, counts, skipped };
    let job = Arc::new(job);
    records.push(Record::Job(job.clone()));
    Ok(Decision { records, reply: Reply::Job(job) })
}

/// Hands letters over that are still there, came before the job, belong to a subscription that is
/// still there, and are the job's owner's to touch. A job whose owner's token is gone ends.
pub(super) fn hand_over(
    view: &dyn View,
    id: Offset,
    letters: Vec<Handed>,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let nothing = Decision { records: smallvec![], reply: Reply::Letters(0) };
    let Some(job) = view.job(id)?.filter(Job::is_running) else { return Ok(nothing) };
    if let Some(owner) = &job.actor.owner
        && !view.has_token(owner)?
    {
        let record = Record::Job(Arc::new(Job { state: State::Cancelled(now), ..job }));
        return Ok(Decision { records: smallvec![record], ..nothing });
    }
    let (mut seen, mut fitting) = (BTreeSet::new(), Vec::with_capacity(letters.len()));
    for handed in letters {
        let letter = handed.letter;
        let is_part = view.letter(letter)?.is_some_and(|place| place < id);
        let held = view.numbered(letter.subscription)?.filter(|held| !held.state.is_ended());
        let is_own = held.is_some_and(|held| may_touch(&job.actor, &held));
        if is_part && is_own && seen.insert(letter) {
            fitting.push(handed);
        }
    }
    if fitting.is_empty() {
        return Ok(nothing);
    }
    let reply = Reply::Letters(fitting.len() as u64);
    let redriven = Redriven { job: id, due: now, letters: fitting };
    Ok(Decision { records: smallvec![Record::Redriven(Arc::new(redriven))], reply })
}

/// A job has nothing left to hand over.
pub(super) fn end(
    view: &dyn View,
    id: Offset,
    skipped: Skipped,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let job = view.job(id)?.ok_or(Refusal::NoJob(id))?;
    Ok(match job.is_running() {
        true => ended(Job { state: State::Done(now), skipped, ..job }),
        false => unchanged(job),
    })
}

/// Somebody wants no more of a job. One that has ended stays as it is.
pub(super) fn cancel(
    view: &dyn View,
    id: Offset,
    actor: &Actor,
    now: Timestamp,
) -> Result<Decision, Refusal> {
    let job = view.job(id)?.filter(|job| actor.admin || job.actor.owner == actor.owner);
    let job = job.ok_or(Refusal::NoJob(id))?;
    Ok(match job.is_running() {
        true => ended(Job { state: State::Cancelled(now), ..job }),
        false => unchanged(job),
    })
}

/// Forgets letters that are still there. Those of a subscription that is gone are the
/// administrators' alone.
pub(super) fn purge(view: &dyn View, letters: Vec<Id>, actor: &Actor) -> Result<Decision, Refusal> {
    let mut found = BTreeSet::new();
    for letter in letters {
        let held = view.numbered(letter.subscription)?;
        let is_own = actor.admin || held.is_some_and(|held| may_touch(actor, &held));
        if is_own && view.letter(letter)?.is_some() {
            found.insert(letter);
        }
    }
    let reply = Reply::Letters(found.len() as u64);
    let records = match found.is_empty() {
        true => smallvec![],
        false => smallvec![forgotten(found.into_iter().collect(), vec![], Why::Purged)],
    };
    Ok(Decision { records, reply })
}

/// A delivery that waited was given up, and its subscription keeps no dead letters.
pub(super) fn dropped(
    view: &dyn View,
    subscription: u32,
    offset: Offset,
) -> Result<Record, Refusal> {
    let id = Id { subscription, offset };
    Ok(match view.is_redriven(id)? {
        true => forgotten(vec![id], vec![], Why::Dropped),
        false => Record::Settled { subscription, offset },
    })
}

/// A bounded part of what was kept long enough by `now`, and of the letters that are too many.
/// Without a time that can be trusted only the latter. Also how many letters that is.
pub(super) fn forget_old(
    view: &dyn View,
    now: Option<Timestamp>,
    rules: &Rules,
) -> Result<(Records, u64), Refusal> {
    let before = |keep| now.map(|now| now.checked_sub(keep).unwrap_or(Timestamp::MIN));
    let (letters_before, jobs_before) = (before(rules.letters_keep), before(rules.jobs_keep));
    let excess = view.letter_count().saturating_sub(rules.letters_max);
    let is_old = |at: Timestamp| letters_before.is_some_and(|before| at <= before);
    let is_due = excess > 0 || view.oldest_letters(1)?.iter().any(|(_, at)| is_old(*at));
    let oldest = if is_due { view.oldest_letters(FORGET_MAX)? } else { vec![] };
    let letters =
        (0u64..).zip(oldest).take_while(|(count, (_, at))| *count < excess || is_old(*at));
    let letters: Vec<Id> = letters.map(|(_, (id, _))| id).collect();
    let jobs = if jobs_before.is_some() { view.jobs()? } else { vec![] };
    let is_over = |job: &&Job| job.ended_at().is_some_and(|at| Some(at) <= jobs_before);
    let jobs: Vec<Offset> = jobs.iter().filter(is_over).map(|job| job.id).collect();
    let count = letters.len() as u64;
    let records = match letters.is_empty() && jobs.is_empty() {
        true => smallvec![],
        false => smallvec![forgotten(letters, jobs, Why::Expired)],
    };
    Ok((records, count))
}

fn ended(job: Job) -> Decision {
    let job = Arc::new(job);
    Decision { records: smallvec![Record::Job(job.clone())], reply: Reply::Job(job) }
}

fn unchanged(job: Job) -> Decision {
    Decision { records: smallvec![], reply: Reply::Job(Arc::new(job)) }
}

fn forgotten(letters: Vec<Id>, jobs: Vec<Offset>, why: Why) -> Record {
    Record::Forgotten(Arc::new(Forgotten { letters, jobs, why }))
}

#[cfg(test)]
#[path = "redrive_tests.rs"]
mod tests;
