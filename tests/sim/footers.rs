//! What a failed sync leaves: reads show a footer gone, or a record there, and the disk knows
//! nothing of it. Never here: what chance would do.

use std::sync::Arc;
use std::time::Duration;

use tidings::config::{Size, Span};
use tidings::store::{self, Host};

use crate::history::History;
use crate::host::Faulty;
use crate::machine::{Death, Faults, Lie};
use crate::oracle::Fault;

/// How a process ends that could not take a footer away.
#[derive(Debug, Clone, Copy)]
enum End {
    /// It does not: it tries again.
    GoesOn,
    Killed,
    /// The next one is killed at once, too.
    KilledTwice,
}

/// A clean stop seals the last segment. The next process takes the footer away, and the sync of
/// that fails: the disk has it still. Then records are acknowledged, and the power is cut.
fn run(seed: u64, end: End) -> Result<(), Fault> {
    let mut history = begin(seed)?;
    publish(&mut history)?;
    history.stop()?;
    restart(&mut history)?;
    history.machine.lose_next_sync();
    let told_before = history.seen.unacknowledged;
    publish(&mut history)?;
    assert_eq!(history.seen.unacknowledged, told_before + 1, "the sync failed");
    let kills = match end {
        End::GoesOn => 0,
        End::Killed => 1,
        End::KilledTwice => 2,
    };
    for _ in 0..kills {
        history.die(Death::Kill);
        restart(&mut history)?;
    }
    let told_before = history.seen.acknowledged;
    publish(&mut history)?;
    publish(&mut history)?;
    assert_eq!(history.seen.acknowledged, told_before + 2, "all is well again");
    history.die(Death::PowerCut);
    restart(&mut history)
}

/// The sync of a record fails, and so does everything that could bring it elsewhere: reads show it
/// and it is not on disk. A repair seals what it reads; then the power is cut.
fn run_repaired(seed: u64) -> Result<(), Fault> {
    let mut history = begin(seed)?;
    publish(&mut history)?;
    history.machine.lose_next_sync();
    history.machine.set_faults(Faults { names: 1_000, ..Faults::default() });
    publish(&mut history).expect_err("the record is written nowhere");
    history.heal();
    history.die(Death::Kill);
    let host: Arc<dyn Host> = Arc::new(Faulty::new(&history.machine));
    store::repair_on(&host, &history.config.data.dir).expect("repaired");
    history.die(Death::Kill);
    restart(&mut history)?;
    assert_eq!(history.oracle.model.next, 2, "the record is found");
    publish(&mut history)?;
    history.die(Death::PowerCut);
    restart(&mut history)
}

/// A history in which all goes into one segment.
fn begin(seed: u64) -> Result<History, Fault> {
    let mut history = History::new(seed, Lie::None, false);
    history.config.log.segment_size = Size(64 << 10);
    history.config.log.retention_age = Span(Duration::from_secs(100_000));
    history.config.log.disk_floor = Size(0);
    restart(&mut history)?;
    Ok(history)
}

/// Opens the store. What may still fail from then on is not this test's.
fn restart(history: &mut History) -> Result<(), Fault> {
    let opened = history.open();
    history.machine.put_out();
    opened
}

fn publish(history: &mut History) -> Result<(), Fault> {
    let publish = history.commands.publish_new();
    match history.turn(vec![publish])? {
        true => Ok(()),
        false => Err("the process has to end".to_owned()),
    }
}

#[test]
fn a_footer_that_could_not_be_taken_away_hides_no_later_record() {
    for end in [End::GoesOn, End::Killed, End::KilledTwice] {
        for seed in 0..20 {
            run(seed, end).unwrap_or_else(|fault| panic!("{end:?}, seed {seed}: {fault}"));
        }
    }
}

#[test]
fn what_a_repair_seals_is_on_disk() {
    for seed in 0..20 {
        run_repaired(seed).unwrap_or_else(|fault| panic!("seed {seed}: {fault}"));
    }
}
