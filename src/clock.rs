//! Time and dice for everything outside `domain`. The only place that asks the machine for either.

use std::time::{Duration, Instant};

use crate::domain::Timestamp;

/// The wall clock.
#[expect(clippy::disallowed_methods, reason = "this is the one place that reads the wall clock")]
pub fn now() -> Timestamp {
    Timestamp::now()
}

/// A running stop-watch; unlike the wall clock it never jumps.
#[derive(Debug, Clone, Copy)]
pub struct Stopwatch(Instant);

impl Stopwatch {
    /// Starts one.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that reads the machine's clock"
    )]
    pub fn start() -> Self {
        Self(Instant::now())
    }

    /// The time since it was started.
    pub fn elapsed(self) -> Duration {
        self.0.elapsed()
    }
}

/// Random bytes from the operating system.
pub fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).expect("the operating system's random source is there");
    bytes
}

/// A random number that nobody needs to be kept from guessing, from a generator in the process.
pub fn dice() -> u32 {
    rand::random()
}

/// The ids of a trace and of its first span (W3C Trace Context, section 3.2). Never zero.
pub fn trace() -> (u128, u64) {
    (rand::random::<u128>() | 1, rand::random::<u64>() | 1)
}

/// An id that sorts by time (UUID version 7, RFC 9562). Its random part comes from a generator in
/// the process: asking the operating system for each event would cost more than the event.
pub fn sortable_id() -> uuid::Uuid {
    let millis = u64::try_from(now().as_millisecond()).unwrap_or(0);
    uuid::Builder::from_unix_timestamp_millis(millis, &rand::random()).into_uuid()
}

/// The kernel's id of this boot. It changes with a power cut and not with a crash of a process.
pub fn boot_id() -> Option<String> {
    let read = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(read.trim().to_owned()).filter(|id| !id.is_empty())
}
