//! The disk floor: with less free space than that no new input is taken, so that delivery, which
//! has to write down what came of it, can go on.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use super::Error;
use super::host::Host;
use crate::domain::command::Command;
use crate::telemetry::Metrics;

/// Input is taken again once there is this part of the floor more than the floor.
const MARGIN: u64 = 8;

/// Bytes after which the machine is asked again. A small part of any floor that is of use.
const LOOK_EVERY: u64 = 256 << 10;

/// Knows whether there is room for input.
#[derive(Debug)]
pub(crate) struct Floor {
    host: Arc<dyn Host>,
    metrics: Arc<Metrics>,
    dir: PathBuf,
    floor: u64,
    free: AtomicU64,
    /// Bytes that were written since the machine was last asked.
    written: AtomicU64,
    refusing: AtomicBool,
}

impl Floor {
    pub(crate) fn new(
        host: Arc<dyn Host>,
        metrics: Arc<Metrics>,
        dir: PathBuf,
        floor: u64,
    ) -> Self {
        let (free, written) = (AtomicU64::new(u64::MAX), AtomicU64::new(0));
        let refusing = AtomicBool::new(false);
        let this = Self { host, metrics, dir, floor, free, written, refusing };
        let _first_look = this.look();
        this
    }

    /// Whether a command brings something new in, as opposed to what keeps the hub working.
    pub(crate) fn concerns(command: &Command) -> bool {
        match command {
            Command::Publish(_)
            | Command::Put(_)
            | Command::CreateToken(_)
            | Command::Redrive(_) => true,
            Command::Change { .. }
            | Command::Rotate(_)
            | Command::Sweep
            | Command::RevokeToken(_)
            | Command::Settle(_)
            | Command::Checkpoint(_)
            | Command::Gap(_)
            | Command::Replay { .. }
            | Command::EndReplay { .. }
            | Command::Park { .. }
            | Command::Unpark { .. }
            | Command::HandOver { .. }
            | Command::EndJob { .. }
            | Command::CancelJob { .. }
            | Command::Purge { .. }
            | Command::EndGone { .. } => false,
        }
    }

    /// Whether there is room for input. The machine is asked again once so much was written that
    /// the answer may be another; for what others write, the keeper asks it every second.
    pub(crate) fn check(&self) -> Result<(), Error> {
        let known = self.written.load(Ordering::Relaxed) < LOOK_EVERY;
        if known && !self.is_refusing() { Ok(()) } else { self.look() }
    }

    /// Takes note of what is written.
    pub(crate) fn count(&self, bytes: u64) {
        self.written.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Asks the machine how much is free. An error says that input is refused.
    pub(crate) fn look(&self) -> Result<(), Error> {
        // Where it cannot be told, a write will tell.
        let free = self.host.free_bytes(&self.dir).unwrap_or(u64::MAX);
        self.free.store(free, Ordering::Relaxed);
        self.written.store(0, Ordering::Relaxed);
        let was = self.refusing.load(Ordering::Relaxed);
        let margin = if was { self.floor / MARGIN } else { 0 };
        let needed = self.floor.saturating_add(margin);
        let refusing = free < needed;
        self.metrics.health.set_input_refused(refusing);
        if self.refusing.swap(refusing, Ordering::Relaxed) != refusing {
            match refusing {
                true => tracing::error!(
                    free,
                    floor = self.floor,
                    "the disk is nearly full: new \
                    input is refused, delivery goes on"
                ),
                false => tracing::info!(free, "there is room again: input is taken"),
            }
        }
        if refusing { Err(Error::Floor { free, floor: self.floor }) } else { Ok(()) }
    }

    /// Free bytes when the machine was last asked.
    pub(crate) fn free(&self) -> u64 {
        self.free.load(Ordering::Relaxed)
    }

    /// The floor in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.floor
    }

    /// Whether input is refused.
    pub(crate) fn is_refusing(&self) -> bool {
        self.refusing.load(Ordering::Relaxed)
    }
}
