//! Kill -9 under load and during starts, and power cuts, again and again on the same data.
//! Afterwards everything that was acknowledged must be there: events in the log, once and at their
//! offsets, and at the webhook; subscriptions and leases as they were.
//!
//! A power cut is a kill after which pages that were not synced are lost (`power_cut.c`). The dice
//! say when to kill and what to lose; `TIDINGS_SEED` repeats a run's dice. Nothing here knows how
//! the hub keeps its data, but for the file that tells it of another boot.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "tests connect, measure and start threads as the hub itself must not"
)]

mod dice;
mod disk;
mod journal;
mod load;
mod oracle;
mod rollback;
#[path = "../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the other tests need more of it")]
mod support;
mod trial;

use rollback::Loss;
use trial::Trial;

/// Kills of each of the four tests with kills: 200 together.
const KILLS: u64 = 50;

/// Kills and power cuts before the first start that succeeds.
const FIRST_STARTS: u64 = 5;

const POWER_CUTS: u64 = 25;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_under_load_lose_nothing_acknowledged() {
    let mut trial = Trial::new().await;
    trial.subscribe().await;
    while trial.kills < KILLS {
        trial.kill_under_load().await;
    }
    trial.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_at_segment_changes_lose_nothing_acknowledged() {
    let mut trial = Trial::new().await;
    trial.subscribe().await;
    trial.set_small_segments(true);
    while trial.kills < KILLS {
        trial.kill_under_load().await;
    }
    trial.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_during_starts_lose_nothing_acknowledged() {
    let mut trial = Trial::new().await;
    while trial.kills < FIRST_STARTS {
        trial.kill_during_start().await;
    }
    trial.subscribe().await;
    while trial.kills < KILLS {
        trial.kill_under_load().await;
        for _ in 0..trial.dice.between(1, 4) {
            trial.kill_during_start().await;
        }
    }
    trial.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn kills_in_any_order_over_any_segment_size_lose_nothing_acknowledged() {
    let mut trial = Trial::new().await;
    trial.subscribe().await;
    while trial.kills < KILLS {
        kill_somehow(&mut trial).await;
    }
    trial.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn power_cuts_lose_nothing_acknowledged() {
    let mut trial = Trial::on_disk().await;
    while trial.kills < FIRST_STARTS {
        trial.kill_during_start().await;
        trial.cut_power();
    }
    trial.subscribe().await;
    let mut log_pages_lost = 0;
    for _ in FIRST_STARTS..POWER_CUTS {
        // What a process wrote that was killed first is not on the disk either.
        for _ in 0..trial.dice.between(1, 3) {
            kill_somehow(&mut trial).await;
        }
        log_pages_lost += trial.cut_power();
        if trial.dice.one_in(2) {
            trial.check_log().await;
        }
    }
    assert!(log_pages_lost > 0, "no cut met a write to the log that was under way");
    trial.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_power_cut_after_a_clean_stop_loses_nothing() {
    let mut trial = Trial::on_disk().await;
    trial.subscribe().await;
    trial.kill_after_load().await;
    trial.start_and_stop().await;
    trial.cut_power_with(Loss::Everything);
    trial.check().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_lies_about_its_syncs_is_caught() {
    let mut trial = Trial::on_disk().await;
    trial.subscribe().await;
    trial.lie();
    trial.kill_after_load().await;
    assert!(trial.lost().await.is_empty(), "a kill alone loses nothing");
    trial.cut_power_with(Loss::Everything);
    let lost = trial.lost().await;
    assert_eq!(lost.len(), trial.ledger.events.len(), "acknowledged, and lost with the power");
    assert!(!lost.is_empty());
}

async fn kill_somehow(trial: &mut Trial) {
    let small = trial.dice.one_in(2);
    trial.set_small_segments(small);
    match trial.dice.one_in(3) {
        true => trial.kill_during_start().await,
        false => trial.kill_under_load().await,
    }
}
