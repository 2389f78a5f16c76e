//! Leases: how long a subscription stands without being renewed.

use std::time::Duration;

use super::Timestamp;

/// With one part in so many of its time left a lease is said to be expiring.
const EXPIRING_PART: u32 = 10;

/// Bounds that an operator sets on leases.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// Shortest lease that is granted.
    pub min: Duration,
    /// Longest lease that is granted.
    pub max: Duration,
    /// Granted when none is asked for.
    pub default: Duration,
}

/// How long a subscriber asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asked {
    /// Whatever the hub's default is.
    Default,
    /// So many seconds.
    Seconds(u64),
    /// No end.
    Forever,
    /// What is held already, as it is. Deciding turns it into what was asked for that; it is never
    /// stored.
    Keep,
}

/// A granted lease on the wall clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease {
    /// Seconds granted.
    pub seconds: u64,
    /// No delivery starts at or after this time.
    pub expires_at: Timestamp,
}

impl Lease {
    /// Grants what is asked, within the bounds. `None` is a lease without end.
    pub fn grant(asked: Asked, bounds: Bounds, now: Timestamp) -> Option<Self> {
        let wanted = match asked {
            Asked::Forever => return None,
            // Where nothing is held there is nothing to keep.
            Asked::Default | Asked::Keep => bounds.default,
            Asked::Seconds(seconds) => Duration::from_secs(seconds),
        };
        let seconds = wanted.clamp(bounds.min, bounds.max).as_secs();
        Some(Self { seconds, expires_at: after(now, Duration::from_secs(seconds)) })
    }

    /// When it is told that the end is near: a tenth of the time is left.
    pub fn expiring_at(&self) -> Timestamp {
        let left = Duration::from_secs(self.seconds) / EXPIRING_PART;
        self.expires_at.checked_sub(left).unwrap_or(Timestamp::MIN)
    }

    /// Whether the lease is over.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.expires_at <= now
    }
}

/// The time so long after another, or the last time there is.
pub fn after(time: Timestamp, duration: Duration) -> Timestamp {
    time.checked_add(duration).unwrap_or(Timestamp::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lease_never_outlives_its_maximum() {
        let bounds = Bounds {
            min: Duration::from_secs(60),
            max: Duration::from_secs(600),
            default: Duration::from_secs(300),
        };
        let now = Timestamp::UNIX_EPOCH;
        let check = |asked, expected: Option<u64>| {
            assert_eq!(Lease::grant(asked, bounds, now).map(|lease| lease.seconds), expected);
        };
        check(Asked::Default, Some(300));
        check(Asked::Seconds(0), Some(60));
        check(Asked::Seconds(120), Some(120));
        check(Asked::Seconds(u64::MAX), Some(600));
        check(Asked::Forever, None);
        let lease = Lease::grant(Asked::Default, bounds, now).expect("finite");
        assert!(!lease.is_over(now) && lease.is_over(lease.expires_at));
        let left = lease.expires_at.duration_since(lease.expiring_at());
        assert_eq!(left.as_secs(), 30, "a tenth");
    }
}
