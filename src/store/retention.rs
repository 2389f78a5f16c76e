//! What of the log may go. Pure: segments, limits and time in, an offset out.

use std::time::Duration;

use crate::domain::{Offset, Timestamp};

/// A segment as retention sees it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Piece {
    /// Offset after its last record.
    pub(crate) next: Offset,
    pub(crate) bytes: u64,
    /// Time of its last record, Unix milliseconds; `None` where there is none.
    pub(crate) last_at: Option<i64>,
}

/// Who still needs the log from an offset on, as long as that is no more than so many bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Pin {
    pub(crate) from: Offset,
    pub(crate) bytes: u64,
}

/// What an operator wants to be kept.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Keep {
    pub(crate) age: Duration,
    pub(crate) bytes: u64,
}

/// What may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Plan {
    /// Records before it could go if a snapshot reached that far.
    pub(crate) wanted: Offset,
    /// Records before it may go now.
    pub(crate) allowed: Offset,
}

/// Finds what may go: whole segments from the front, older than the age or beyond the bytes, needed
/// by nobody, and only below `floor`, to where the snapshots reach. The last segment stays.
pub(crate) fn plan(
    pieces: &[Piece],
    keep: Keep,
    floor: Offset,
    pins: &[Pin],
    now: Timestamp,
) -> Plan {
    let mut plan = Plan { wanted: 0, allowed: 0 };
    let mut left: u64 = pieces.iter().map(|piece| piece.bytes).sum();
    let age = i64::try_from(keep.age.as_millis()).unwrap_or(i64::MAX);
    let oldest = now.as_millisecond().saturating_sub(age);
    for piece in pieces.split_last().map_or(&[][..], |(_, sealed)| sealed) {
        let expired = left > keep.bytes || piece.last_at.is_none_or(|at| at < oldest);
        let held = pins.iter().any(|pin| pin.from < piece.next && left <= pin.bytes);
        if !expired || held {
            break;
        }
        plan.wanted = piece.next;
        if piece.next <= floor {
            plan.allowed = piece.next;
        }
        left -= piece.bytes;
    }
    plan
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: i64 = 1_000;

    /// Ten segments of ten records and 100 bytes, one a second.
    fn pieces() -> Vec<Piece> {
        let piece =
            |n: u64| Piece { next: n * 10, bytes: 100, last_at: Some(n.cast_signed() * SECOND) };
        (1..=10).map(piece).collect()
    }

    #[track_caller]
    fn check(age: u64, bytes: u64, floor: Offset, pins: &[Pin], expected: (Offset, Offset)) {
        let keep = Keep { age: Duration::from_secs(age), bytes };
        let now = Timestamp::from_second(11).expect("in range");
        let found = plan(&pieces(), keep, floor, pins, now);
        assert_eq!((found.wanted, found.allowed), expected);
    }

    #[test]
    fn whole_segments_go_by_age_or_bytes_and_only_below_the_snapshots() {
        check(100, 10_000, 100, &[], (0, 0));
        check(8, 10_000, 100, &[], (20, 20));
        check(100, 750, 100, &[], (30, 30));
        check(100, 750, 25, &[], (30, 20));
        check(0, 0, 100, &[], (90, 90));
        check(0, 0, 0, &[], (90, 0));
    }

    #[test]
    fn what_is_held_stays_as_far_as_its_budget_reaches() {
        check(100, 0, 100, &[Pin { from: 35, bytes: 10_000 }], (30, 30));
        check(100, 0, 100, &[Pin { from: 0, bytes: 500 }], (50, 50));
        check(100, 0, 100, &[Pin { from: 70, bytes: 500 }], (70, 70));
        check(100, 0, 100, &[Pin { from: 0, bytes: 0 }], (90, 90));
    }
}
