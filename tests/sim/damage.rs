//! Damage on a disk that is otherwise healthy: bits flip, pages are zeroed, files end too early or
//! are gone. Whatever is not hit stays readable, what is lost is told, and nothing is made up.

use std::collections::BTreeSet;
use std::ops::Range;
use std::path::PathBuf;

use tidings::domain::Offset;

use crate::content::PAGE;
use crate::dice::Dice;
use crate::disk::Disk;
use crate::history::History;
use crate::machine::{Death, Lie};
use crate::oracle::Fault;

/// Runs a short history, damages what is on disk, and looks at what the store makes of it.
pub(crate) fn run(seed: u64) -> Result<(), Fault> {
    let mut history = History::new(seed, Lie::None, false);
    history.config.log.disk_floor = tidings::config::Size(0);
    history.open()?;
    // What may still fail from then on is not this test's.
    history.machine.put_out();
    let mut groups = Vec::new();
    for _ in 0..history.dice.between(10, 60) {
        let before = history.oracle.model.next;
        history.one_group()?;
        groups.push(before..history.oracle.model.next);
        if history.dice.chance(300) {
            history.keep()?;
        }
    }
    let before = Before { groups, oldest: history.oldest() };
    match history.dice.chance(500) {
        true => history.stop()?,
        false => history.die(Death::Kill),
    }
    let mut dice = history.dice.child();
    let hit = harm(&mut history.machine.state().disk, &mut dice);
    let first = look(&mut history, &hit, &before).map_err(|fault| format!("{hit:?}: {fault}"))?;
    history.die(Death::Kill);
    let second = look(&mut history, &hit, &before).map_err(|fault| format!("{hit:?}: {fault}"))?;
    match first == second {
        true => Ok(()),
        false => Err(format!("{hit:?}: another start finds other records")),
    }
}

/// How the log was before it was damaged.
#[derive(Debug)]
struct Before {
    groups: Vec<Range<Offset>>,
    oldest: Offset,
}

/// What was done to which file.
#[derive(Debug)]
struct Hit {
    what: &'static str,
    path: PathBuf,
    /// The oldest segment was hit: where the log begins is no longer known for sure.
    is_oldest: bool,
    /// The newest segment was hit: how far the log went is no longer known for sure.
    is_newest: bool,
}

fn harm(disk: &mut Disk, dice: &mut Dice) -> Option<Hit> {
    let dir = dice.pick(&["log", "log", "log", "snapshots"]);
    let dir = disk.root().join(dir);
    let mut names = disk.names(&dir).expect("a directory");
    names.retain(|name| name.ends_with(".seg") || name.ends_with(".snap"));
    if names.is_empty() {
        return None;
    }
    let at = dice.index(names.len());
    let path = dir.join(&names[at]);
    let what = dice.pick(&["a flipped bit", "a zeroed page", "an early end", "a missing file"]);
    let is_newest = at + 1 == names.len();
    let hit = Hit { what, path, is_oldest: at == 0, is_newest };
    if what == "a missing file" {
        disk.remove(&hit.path).expect("it was there");
        disk.sync_dir(&dir).expect("it is there");
        return Some(hit);
    }
    let file = disk.open(&hit.path).expect("it is there");
    disk.file(file).damage(|bytes| {
        let place = dice.index(bytes.len());
        let page = place / PAGE * PAGE;
        let end = (page + PAGE).min(bytes.len());
        match what {
            "a flipped bit" => bytes[place] ^= 1 << dice.below(8),
            "a zeroed page" => bytes[page..end].fill(0),
            _ => bytes.truncate(place),
        }
    });
    Some(hit)
}

/// Opens the store and answers which records it still has.
fn look(
    history: &mut History,
    hit: &Option<Hit>,
    before: &Before,
) -> Result<BTreeSet<Offset>, Fault> {
    let entries = history.open_damaged()?;
    let model = &history.oracle.model;
    for entry in &entries {
        if model.entries.get(&entry.offset) != Some(entry) {
            return Err(format!("{} is not what was written", entry.offset));
        }
    }
    let found: BTreeSet<Offset> = entries.iter().map(|entry| entry.offset).collect();
    let oldest = history.oldest();
    let lost: BTreeSet<Offset> = model
        .entries
        .keys()
        .copied()
        .filter(|offset| *offset >= oldest && !found.contains(offset))
        .collect();
    let told = told(&history.machine.state().disk);
    // The last group may be taken for one that was never finished: nothing came behind it.
    let groups = &before.groups;
    let last = groups.iter().rfind(|group| !group.is_empty()).cloned().unwrap_or(0..0);
    // So may all that stood behind the place where the newest file ends now.
    let tail = found.last().map_or(oldest, |last| last + 1);
    let is_cut = hit.as_ref().is_some_and(|hit| hit.is_newest && hit.what != "a flipped bit");
    let silent = lost.iter().find(|offset| {
        let known = told.iter().any(|range| range.contains(offset));
        !(known || last.contains(offset) || is_cut && **offset >= tail)
    });
    if let Some(silent) = silent {
        return Err(format!("{silent} is lost in silence; told are {told:?}"));
    }
    if oldest > before.oldest && !hit.as_ref().is_some_and(|hit| hit.is_oldest) {
        return Err(format!("the log begins at {oldest}, before it did at {}", before.oldest));
    }
    let whole = |group: &&Range<Offset>| lost.iter().all(|offset| group.contains(offset));
    let one_bit = hit.as_ref().is_none_or(|hit| hit.what == "a flipped bit");
    if one_bit && !lost.is_empty() && groups.iter().find(whole).is_none() {
        return Err(format!("more than one group is lost: {lost:?}"));
    }
    Ok(found)
}

/// The stretches that are reported as lost.
fn told(disk: &Disk) -> Vec<Range<Offset>> {
    let dir = disk.root().join("quarantine");
    let names = disk.names(&dir).unwrap_or_default();
    let report = |name: &String| {
        let text = disk.content(&dir.join(name))?;
        let report: serde_json::Value = serde_json::from_slice(&text).ok()?;
        Some(report["from_offset"].as_u64()?..report["to_offset"].as_u64()?)
    };
    names.iter().filter(|name| name.ends_with(".json")).filter_map(report).collect()
}
