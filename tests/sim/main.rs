//! The store in a simulated machine that fails by seed: lost, torn and reordered writes, full
//! disks, failed syncs, kills and power cuts at any call. The oracle knows every acknowledgement.
//! `TIDINGS_SEED=n cargo test --test sim one_seed -- --nocapture` tells a history step by step.
//!
//! On the same machine, histories of deliveries (`delivery`): lanes, targets that fail and the
//! clock. The ledger knows every request, and holds it against what was acknowledged.
//! `one_delivery_seed` tells one of them.
#![expect(clippy::print_stdout, reason = "a history is told to who asks for it")]

mod account;
mod audit;
mod commands;
mod content;
mod courier;
mod damage;
mod delivered;
mod delivery;
mod dice;
mod disk;
mod footers;
mod history;
mod host;
mod ledger;
mod machine;
mod model;
mod opening;
mod oracle;
mod redrives;
mod rules;
mod servers;
mod setting;
mod shelf;
mod targets;
mod wishes;

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};

use delivered::Delivered;
use delivery::Slip;
use history::{Seen, run};
use machine::Lie;

/// Runs histories, and says which one to repeat if one is not as it must be.
fn check(seeds: Range<u64>) -> Vec<Seen> {
    seeds.map(honest).collect()
}

fn honest(seed: u64) -> Seen {
    let found = catch_unwind(AssertUnwindSafe(|| run(seed, Lie::None, false)));
    let fault = match found {
        Ok(Ok(seen)) => return seen,
        Ok(Err(fault)) => fault.chars().take(2_000).collect(),
        Err(_) => "panics, see above".to_owned(),
    };
    let repeat = format!("TIDINGS_SEED={seed} cargo test --test sim one_seed -- --nocapture");
    panic!("seed {seed}: {fault}\nto repeat it: {repeat}");
}

/// How many of some histories the oracle finds at fault.
fn caught(lie: Lie, seeds: Range<u64>) -> usize {
    seeds.filter(|seed| run(*seed, lie, false).is_err()).count()
}

#[test]
fn what_is_acknowledged_stays_whatever_fails_seeds_from_0() {
    check(0..125);
}

#[test]
fn what_is_acknowledged_stays_whatever_fails_seeds_from_125() {
    check(125..250);
}

#[test]
fn what_is_acknowledged_stays_whatever_fails_seeds_from_250() {
    check(250..375);
}

#[test]
fn what_is_acknowledged_stays_whatever_fails_seeds_from_375() {
    check(375..500);
}

#[test]
fn one_seed() {
    let given = std::env::var("TIDINGS_SEED").ok();
    let seed = given.as_ref().map_or(0, |seed| seed.parse().expect("TIDINGS_SEED is a number"));
    let seen = run(seed, Lie::None, given.is_some()).expect("as it must be");
    println!("{seen:?}");
}

#[test]
fn what_damage_did_not_hit_stays_and_the_rest_is_told() {
    let fault = |seed| damage::run(seed).err().map(|fault| format!("seed {seed}: {fault}"));
    let faults: Vec<String> = (0..150).filter_map(fault).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn one_seed_gives_one_history() {
    for seed in 0..5 {
        assert_eq!(honest(seed).digest, honest(seed).digest, "seed {seed}");
    }
}

#[test]
fn a_hub_that_acknowledges_before_the_sync_is_caught() {
    assert_ne!(caught(Lie::SyncData, 0..20), 0);
}

#[test]
fn a_hub_that_does_not_sync_the_names_of_its_files_is_caught() {
    assert_ne!(caught(Lie::SyncDir, 0..20), 0);
}

#[test]
fn a_hub_that_drops_a_write_is_caught() {
    assert_ne!(caught(Lie::Write, 0..20), 0);
}

/// Runs histories of deliveries, and adds up what they have seen.
fn deliver(seeds: Range<u64>) -> Delivered {
    seeds.fold(Delivered::default(), |all, seed| all.and(delivers(seed)))
}

fn delivers(seed: u64) -> Delivered {
    let found = catch_unwind(AssertUnwindSafe(|| delivery::run(seed, Slip::None, false)));
    let fault = match found {
        Ok(Ok(seen)) => return seen,
        Ok(Err(fault)) => fault.chars().take(2_000).collect(),
        Err(_) => "panics, see above".to_owned(),
    };
    let test = "one_delivery_seed -- --nocapture";
    panic!("seed {seed}: {fault}\nto repeat it: TIDINGS_SEED={seed} cargo test --test sim {test}");
}

/// Whether a driver that is wrong in a way is told of in these words.
fn is_told(slip: Slip, words: &str) -> bool {
    let fault = |seed| delivery::run(seed, slip, false).err().unwrap_or_default();
    (0..40).any(|seed| fault(seed).contains(words))
}

#[test]
fn what_is_accepted_is_delivered_whatever_fails_seeds_from_0() {
    deliver(0..200).check_is_everywhere();
}

#[test]
fn what_is_accepted_is_delivered_whatever_fails_seeds_from_200() {
    deliver(200..400).check_is_everywhere();
}

#[test]
fn one_delivery_seed() {
    let given = std::env::var("TIDINGS_SEED").ok();
    let seed = given.as_ref().map_or(0, |seed| seed.parse().expect("TIDINGS_SEED is a number"));
    let seen = delivery::run(seed, Slip::None, given.is_some()).expect("as it must be");
    println!("{seen:?}");
}

#[test]
fn one_seed_gives_one_history_of_deliveries() {
    for seed in 0..5 {
        assert_eq!(delivers(seed).digest, delivers(seed).digest, "seed {seed}");
    }
}

#[test]
fn a_hub_that_drops_an_outcome_is_caught() {
    assert!(is_told(Slip::DropsOutcome, "is lost"));
}

#[test]
fn a_hub_that_tells_of_progress_before_outcomes_is_caught() {
    assert!(is_told(Slip::ProgressFirst, "is lost"));
}

#[test]
fn a_hub_that_forgets_its_retries_is_caught() {
    assert!(is_told(Slip::ForgetsRetries, "still waits"));
}

#[test]
fn a_hub_that_takes_failures_for_successes_is_caught() {
    assert!(is_told(Slip::BelievesAll, "is lost"));
}

#[test]
fn a_hub_that_delivers_after_the_lease_is_caught() {
    assert!(is_told(Slip::SlowClock, "its lease ended"));
}

#[test]
fn a_hub_that_sends_twice_at_once_is_caught() {
    assert!(is_told(Slip::StartsTwice, "under way"));
}
