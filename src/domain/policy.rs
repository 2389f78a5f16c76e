//! Policies: how deliveries of one subscription are tried, spaced, retried and given up.

use std::fmt;
use std::time::Duration;

use super::Invalid;
use super::template::Line;

/// Longest list of retries.
pub const RETRIES_MAX: usize = 32;

/// Most deliveries of one subscription at a time.
pub const IN_FLIGHT_MAX: u32 = 1_024;

/// Everything, in a million.
pub const SAMPLE_PARTS: u32 = 1_000_000;

/// Longest timeout of one attempt.
pub const TIMEOUT_MAX: Duration = Duration::from_secs(600);

/// Everything that says how hard to try. Zero means zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    /// Limit of one attempt, from connecting to the end of the answer.
    pub timeout: Duration,
    /// Deliveries under way at the same time.
    pub max_in_flight: u32,
    /// Attempts started per second at most.
    pub rate_per_second: Option<u32>,
    /// What must wait for what.
    pub ordering: Ordering,
    /// Waiting times between attempts; their number is the number of retries.
    pub retry: Vec<Duration>,
    /// Outcomes that are worth another attempt.
    pub retry_on: Vec<Class>,
    /// Outcomes that count as done although they are not 2xx.
    pub ignore: Vec<Class>,
    /// What a 410 does.
    pub on_gone: OnGone,
    /// What happens to an event whose attempts are used up.
    pub on_exhausted: OnExhausted,
    /// Events older than this are given up.
    pub max_age: Option<Duration>,
    /// Retention leaves in the log what the subscription still needs, up to so many bytes.
    pub hold: Option<u64>,
    /// With `ordering: key`: what the key is, if not the subject.
    pub key: Option<Line>,
    /// The time that an event names and that nothing of it is sent before.
    pub delay_until: Option<Line>,
    /// Only a stable part of the events.
    pub sample: Option<Sample>,
}

/// A part of the events, the same whenever and wherever it is asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// How many in a million.
    pub parts: u32,
    /// What decides; events with the same are all taken or none. Else source and id.
    pub key: Option<Line>,
}

impl Default for Policy {
    fn default() -> Self {
        let seconds = [5, 30, 120, 600, 3_600, 21_600];
        Self {
            timeout: Duration::from_secs(30),
            max_in_flight: 16,
            rate_per_second: None,
            ordering: Ordering::None,
            retry: seconds.map(Duration::from_secs).to_vec(),
            retry_on: vec![
                Class::Status(408),
                Class::Status(425),
                Class::Status(429),
                Class::Hundred(5),
                Class::Network,
            ],
            ignore: Vec::new(),
            on_gone: OnGone::End,
            on_exhausted: OnExhausted::DeadLetter,
            max_age: None,
            hold: None,
            key: None,
            delay_until: None,
            sample: None,
        }
    }
}

/// What must wait for what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ordering {
    /// Nothing waits.
    None,
    /// Events of one subject are delivered one after the other.
    Key,
    /// All events are delivered one after the other.
    Strict,
}

/// What a 410 Gone does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnGone {
    /// Ends the subscription.
    End,
    /// Counts as any other refusal of this one event.
    Fail,
}

/// What happens to an event whose attempts are used up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnExhausted {
    /// It becomes a dead letter.
    DeadLetter,
    /// It is dropped; the metric counts it.
    Drop,
}

/// A class of outcomes, as `retry_on` and `ignore` list them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Class {
    /// One status code.
    Status(u16),
    /// All status codes of a hundred: `5xx`.
    Hundred(u16),
    /// No answer: connection refused or reset, name not found, time used up.
    Network,
}

impl Class {
    /// Reads `429`, `5xx` or `network`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let hundred = |digit: &str| digit.parse().ok().filter(|hundred| (1..=5).contains(hundred));
        let parsed = match text.strip_suffix("xx") {
            Some(digit) => hundred(digit).map(Self::Hundred),
            None if text == "network" => Some(Self::Network),
            None => text.parse().ok().filter(|code| (100..600).contains(code)).map(Self::Status),
        };
        parsed.ok_or_else(|| {
            let detail = "is not an outcome; write a status (429), a hundred (5xx), or network";
            Invalid::new("", format!("{text:?} {detail}"))
        })
    }

    /// Whether a status code is of this class.
    pub fn has_status(self, status: u16) -> bool {
        match self {
            Self::Status(code) => code == status,
            Self::Hundred(hundred) => status / 100 == hundred,
            Self::Network => false,
        }
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status(code) => write!(f, "{code}"),
            Self::Hundred(hundred) => write!(f, "{hundred}xx"),
            Self::Network => f.write_str("network"),
        }
    }
}

impl Policy {
    /// Checks the bounds. Pointers are those of the policy's JSON form.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.timeout.is_zero() || self.timeout > TIMEOUT_MAX {
            return Err(Invalid::new("/timeout", "must be more than 0s and at most 600s"));
        }
        if !(1..=IN_FLIGHT_MAX).contains(&self.max_in_flight) {
            return Err(Invalid::new("/max_in_flight", format!("must be 1 to {IN_FLIGHT_MAX}")));
        }
        if self.rate_per_second == Some(0) {
            return Err(Invalid::new(
                "/rate_per_second",
                "must be at least 1, or null for no limit",
            ));
        }
        if self.key.is_some() && self.ordering != Ordering::Key {
            return Err(Invalid::new("/ordering", "a key template goes with ordering by key"));
        }
        if self.sample.as_ref().is_some_and(|sample| sample.parts > SAMPLE_PARTS) {
            return Err(Invalid::new("/sample/rate", "must be 0 to 1"));
        }
        if self.retry.len() > RETRIES_MAX {
            return Err(Invalid::new("/retry", format!("must have at most {RETRIES_MAX} entries")));
        }
        Ok(())
    }
}
