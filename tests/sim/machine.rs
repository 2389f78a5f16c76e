//! The simulated machine: a disk, a clock, and faults by seed. One seed gives one run. Never here:
//! threads, the wall clock, the order of a hash map.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use jiff::{SignedDuration, Timestamp};

use crate::content::PAGE;
use crate::dice::Dice;
use crate::disk::{self, Disk};

/// A way in which the machine deceives the store, to see that the oracle notices.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Lie {
    /// It is honest.
    None,
    /// `sync_data` says that it is done and does nothing.
    SyncData,
    /// `sync_dir` says that it is done and does nothing.
    SyncDir,
    /// Now and then a write is dropped.
    Write,
}

/// Faults in force, each so many times in a thousand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Faults {
    pub(crate) write: u64,
    pub(crate) sync: u64,
    pub(crate) names: u64,
    pub(crate) tables: u64,
}

/// How a run of the process ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Death {
    /// The process stops, the machine goes on.
    Kill,
    /// The machine stops.
    PowerCut,
}

#[derive(Debug)]
pub(crate) struct State {
    pub(crate) disk: Disk,
    pub(crate) dice: Dice,
    pub(crate) faults: Faults,
    now: Timestamp,
    boot: u64,
    /// Counts the processes: what an earlier one still does has no effect.
    process: u64,
    /// Calls until the process is dead.
    fuse: Option<u64>,
    dead: bool,
    /// Faults that were met by the process.
    fired: u64,
    /// The next sync fails, and nothing of what it was to write gets to the disk.
    loses_sync: bool,
    lie: Lie,
    told: DefaultHasher,
    loud: bool,
}

/// The machine, shared between the one who runs it and the processes on it.
#[derive(Debug, Clone)]
pub(crate) struct Machine(Arc<Mutex<State>>);

impl Machine {
    pub(crate) fn new(root: &Path, dice: Dice, lie: Lie, loud: bool) -> Self {
        let now = Timestamp::from_second(1_800_000_000).expect("a time");
        Self(Arc::new(Mutex::new(State {
            disk: Disk::new(root, usize::MAX),
            dice,
            faults: Faults::default(),
            now,
            boot: 1,
            process: 1,
            fuse: None,
            dead: false,
            fired: 0,
            loses_sync: false,
            lie,
            told: DefaultHasher::new(),
            loud,
        })))
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().expect("no panic while the machine is held")
    }

    /// Notes a step of the history: it is printed if that was asked for, and is in the digest.
    pub(crate) fn tell(&self, step: &str) {
        self.state().tell(step);
    }

    /// What stands for all that happened.
    pub(crate) fn digest(&self) -> u64 {
        self.state().told.finish()
    }

    /// The number of the process that runs, for its host.
    pub(crate) fn process(&self) -> u64 {
        self.state().process
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.state().now
    }

    pub(crate) fn move_clock(&self, by: SignedDuration) {
        let mut state = self.state();
        state.now = state.now.checked_add(by).expect("far from the end of time");
    }

    /// The process dies so many calls from now.
    pub(crate) fn light(&self, calls: u64) {
        self.state().fuse = Some(calls);
    }

    /// The process will not die by itself.
    pub(crate) fn put_out(&self) {
        self.state().fuse = None;
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Faults that the process met so far.
    pub(crate) fn fired(&self) -> u64 {
        self.state().fired
    }

    pub(crate) fn set_faults(&self, faults: Faults) {
        self.state().faults = faults;
    }

    /// The next sync fails, and what it was to write will never be on disk.
    pub(crate) fn lose_next_sync(&self) {
        self.state().loses_sync = true;
    }

    /// So many pages are left, or as many as there are bytes.
    pub(crate) fn leave_free(&self, pages: Option<usize>) {
        let mut state = self.state();
        state.disk.pages = pages.map_or(usize::MAX, |pages| state.disk.used() + pages);
    }

    /// The process is gone, and after a power cut the machine has started anew.
    pub(crate) fn die(&self, death: Death) {
        let mut state = self.state();
        let mut dice = state.dice.child();
        state.process += 1;
        state.dead = false;
        state.fuse = None;
        state.fired = 0;
        match death {
            Death::Kill => state.disk.kill(&mut dice),
            Death::PowerCut => {
                state.boot += 1;
                let kept = dice.pick(&[0, 100, 500, 500, 900, 1_000]);
                state.disk.cut(&mut dice, kept);
            }
        }
    }
}

impl State {
    pub(crate) fn tell(&mut self, step: &str) {
        step.hash(&mut self.told);
        if self.loud {
            println!("{step}");
        }
    }

    pub(crate) fn boot_id(&self) -> String {
        format!("boot-{}", self.boot)
    }

    /// Bytes that a write may still take.
    pub(crate) fn free_bytes(&self) -> u64 {
        disk::bytes(self.disk.free().min(usize::MAX / PAGE / 2))
    }

    /// What the snapshots that there are cover.
    pub(crate) fn snapshots(&self) -> Vec<u64> {
        let dir = self.disk.root().join("snapshots");
        let names = self.disk.names(&dir).unwrap_or_default();
        let covers = |name: &String| name.strip_suffix(".snap")?.parse().ok();
        names.iter().filter_map(covers).collect()
    }

    /// A call that changes nothing.
    pub(crate) fn look(&self, process: u64) -> io::Result<()> {
        if self.dead || process != self.process { Err(broken()) } else { Ok(()) }
    }

    /// One call of a process. An error means that it is dead and the call has no effect; `last`,
    /// that it dies in this call.
    pub(crate) fn enter(&mut self, process: u64, call: &str) -> io::Result<bool> {
        self.look(process)?;
        if self.loud || self.fuse.is_some() {
            self.tell(call);
        } else {
            call.hash(&mut self.told);
        }
        match &mut self.fuse {
            Some(0) => {
                self.dead = true;
                Ok(true)
            }
            Some(left) => {
                *left -= 1;
                Ok(false)
            }
            None => Ok(false),
        }
    }

    /// A call on names or lengths, which is done or fails.
    pub(crate) fn plain<T>(
        &mut self,
        last: bool,
        act: impl FnOnce(&mut Disk) -> io::Result<T>,
    ) -> io::Result<T> {
        if last {
            if self.dice.chance(500) {
                let _ = act(&mut self.disk);
            }
            return Err(broken());
        }
        if self.dice.chance(self.faults.names) {
            return Err(self.fire());
        }
        act(&mut self.disk).inspect_err(|_| self.fired += 1)
    }

    pub(crate) fn write(
        &mut self,
        last: bool,
        file: u64,
        bytes: &[u8],
        position: usize,
    ) -> io::Result<()> {
        if self.lie == Lie::Write && self.dice.chance(25) {
            return Ok(());
        }
        let failing = self.dice.chance(self.faults.write);
        if last || failing {
            let part = self.dice.index(bytes.len() + 1);
            let _ = self.disk.write(file, &bytes[..part], position);
            return Err(if last { broken() } else { self.fire() });
        }
        self.disk.write(file, bytes, position).inspect_err(|_| self.fired += 1)
    }

    pub(crate) fn sync(&mut self, last: bool, file: u64) -> io::Result<()> {
        if self.lie == Lie::SyncData {
            return if last { Err(broken()) } else { Ok(()) };
        }
        if last {
            if self.dice.chance(500) {
                self.disk.sync(file);
            }
            return Err(broken());
        }
        let lost = std::mem::take(&mut self.loses_sync);
        if lost || self.dice.chance(self.faults.sync) {
            let kept = if lost { 0 } else { self.dice.pick(&[0, 500, 1_000]) };
            self.disk.file(file).sync_failed(&mut self.dice, kept);
            return Err(self.fire());
        }
        self.disk.sync(file);
        Ok(())
    }

    pub(crate) fn sync_dir(&mut self, last: bool, dir: &Path) -> io::Result<()> {
        let lie = self.lie == Lie::SyncDir;
        self.plain(last, |disk| if lie { Ok(()) } else { disk.sync_dir(dir) })
    }

    /// A fault happens.
    pub(crate) fn fire(&mut self) -> io::Error {
        self.fired += 1;
        self.tell("  (fails)");
        broken()
    }
}

/// `EIO`.
pub(crate) fn broken() -> io::Error {
    io::Error::from_raw_os_error(5)
}
