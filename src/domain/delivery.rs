//! One delivery's life. Pure: never waits, never reads a clock.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::lease::after;
use super::policy::{Class, OnGone, Policy};
use super::template::Response;
use super::{Offset, Timestamp};

/// Longest wait that a target may ask for with `Retry-After`.
pub const RETRY_AFTER_MAX: Duration = Duration::from_secs(86_400);

/// What came of one attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The target answered.
    Answered {
        /// The status code.
        status: u16,
        /// How long the target asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// There was no answer: what happened, in words.
    Failed(String),
    /// The address guard said no: why.
    Refused(String),
}

impl Outcome {
    /// Until when a target asks to be left alone: with 429 and 503 that holds for everything that
    /// goes there.
    pub fn asked_pause(&self, now: Timestamp) -> Option<Timestamp> {
        match self {
            Self::Answered { status: 429 | 503, retry_after: Some(pause) } => {
                Some(after(now, (*pause).min(RETRY_AFTER_MAX)))
            }
            Self::Answered { .. } | Self::Failed(_) | Self::Refused(_) => None,
        }
    }
}

impl Outcome {
    /// Whether the target as a whole seems not to work: no answer, or a 5xx.
    pub fn blames_target(&self) -> bool {
        match self {
            Self::Answered { status, .. } => (500..600).contains(status),
            Self::Failed(_) => true,
            Self::Refused(_) => false,
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Answered { status, .. } => write!(f, "answered {status}"),
            Self::Failed(why) | Self::Refused(why) => f.write_str(why),
        }
    }
}

/// One attempt and what came of it. Kept with retries and dead letters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attempt {
    /// When it started.
    pub at: Timestamp,
    /// How long it took.
    pub took: Duration,
    /// What came of it.
    pub outcome: Outcome,
    /// The template's step that it ended with, counted from 0.
    pub step: u32,
    /// What is kept of the answer, if there was one and it was no success.
    pub answer: Option<Box<Answer>>,
}

/// What is kept of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// Headers, up to a limit.
    pub headers: Vec<(String, String)>,
    /// The body's first bytes.
    pub body: Excerpt,
}

/// The first bytes of something.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Excerpt {
    /// The bytes.
    pub bytes: Bytes,
    /// There were more.
    pub is_cut: bool,
}

impl Excerpt {
    /// The first bytes of a whole, at most so many. They do not keep the rest in memory.
    pub fn of(whole: &[u8], bytes_max: usize) -> Self {
        let bytes = &whole[..whole.len().min(bytes_max)];
        Self { bytes: Bytes::copy_from_slice(bytes), is_cut: whole.len() > bytes_max }
    }
}

/// A request as it was sent, credentials masked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// The method.
    pub method: String,
    /// The target.
    pub url: String,
    /// Headers in order.
    pub headers: Vec<(String, String)>,
    /// The body's first bytes.
    pub body: Excerpt,
}

/// What follows an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Delivered, or as good as.
    Done,
    /// Try again at this time.
    RetryAt(Timestamp),
    /// Give this event up.
    FailEvent(Reason),
    /// End the subscription: the target is gone.
    End,
}

/// Why an event was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// All attempts are used up.
    Exhausted,
    /// The outcome is one that another attempt would not change.
    Permanent,
    /// The address guard refuses the target.
    Address,
    /// The event is older than `policy.max_age`.
    Age,
    /// The event waited for a retry and is no longer in the log.
    EventGone,
    /// No request can be made of the event, or none that may be sent.
    Template,
    /// It would derive an event that is too far from the first of its chain.
    Hops,
}

impl Reason {
    /// The stable code that dead letters carry.
    pub fn code(self) -> &'static str {
        match self {
            Self::Exhausted => "E-DELIVERY-EXHAUSTED",
            Self::Permanent => "E-DELIVERY-PERMANENT",
            Self::Address => "E-ADDRESS-REFUSED",
            Self::Age => "E-DELIVERY-TOO-OLD",
            Self::EventGone => "E-EVENT-GONE",
            Self::Template => "E-TEMPLATE-FAILED",
            Self::Hops => "E-EVENT-HOPS",
        }
    }

    /// All reasons.
    pub const ALL: [Self; 7] = [
        Self::Exhausted,
        Self::Permanent,
        Self::Address,
        Self::Age,
        Self::EventGone,
        Self::Template,
        Self::Hops,
    ];
}

/// A delivery that waits for its next attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Retry {
    /// The subscription's number.
    pub subscription: u32,
    /// The event.
    pub offset: Offset,
    /// When the next attempt is due.
    pub due: Timestamp,
    /// The attempts so far.
    pub attempts: Vec<Attempt>,
    /// It was never tried: its publisher wants it to be late.
    pub delayed: bool,
    /// It is part of a replay.
    pub replay: bool,
    /// What the template's steps before the one that failed were answered.
    pub responses: Vec<Response>,
}

impl Retry {
    /// One that was never tried.
    pub fn untried(subscription: u32, offset: Offset, due: Timestamp) -> Self {
        let (attempts, responses) = (vec![], vec![]);
        Self { subscription, offset, due, attempts, delayed: false, replay: false, responses }
    }
}

/// A delivery that was given up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeadLetter {
    /// The subscription's number.
    pub subscription: u32,
    /// The subscription's id.
    pub subscription_id: String,
    /// The event.
    pub offset: Offset,
    /// When it was given up.
    pub at: Timestamp,
    /// Why.
    pub reason: Reason,
    /// Every attempt.
    pub attempts: Vec<Attempt>,
    /// The last request, if one was made.
    pub request: Option<Sent>,
    /// What else there is to say of why.
    pub note: Option<String>,
    /// It was part of a replay.
    pub replay: bool,
}

/// Decides what follows the `attempt`-th attempt (counted from 1) of an event stored at `stored`.
/// `dice` spreads retries: waiting times grow by up to a tenth, they never shrink.
pub fn classify(
    outcome: &Outcome,
    policy: &Policy,
    attempt: usize,
    stored: Timestamp,
    now: Timestamp,
    dice: u32,
) -> Verdict {
    assert!(attempt >= 1, "attempts are counted from 1");
    let (retryable, asked) = match outcome {
        Outcome::Answered { status, .. } if is_done(*status, policy) => return Verdict::Done,
        Outcome::Answered { status: 410, .. } if policy.on_gone == OnGone::End => {
            return Verdict::End;
        }
        Outcome::Answered { status, retry_after } => {
            (policy.retry_on.iter().any(|class| class.has_status(*status)), *retry_after)
        }
        Outcome::Failed(_) if policy.ignore.contains(&Class::Network) => return Verdict::Done,
        Outcome::Failed(_) => (policy.retry_on.contains(&Class::Network), None),
        Outcome::Refused(_) => return Verdict::FailEvent(Reason::Address),
    };
    if !retryable {
        return Verdict::FailEvent(Reason::Permanent);
    }
    let Some(wait) = policy.retry.get(attempt - 1) else {
        return Verdict::FailEvent(Reason::Exhausted);
    };
    let spread = wait.mul_f64(f64::from(dice) / f64::from(u32::MAX) * 0.1);
    let wait = (*wait + spread).max(asked.unwrap_or_default().min(RETRY_AFTER_MAX));
    let due = after(now, wait);
    match is_too_old(policy, stored, due) {
        true => Verdict::FailEvent(Reason::Age),
        false => Verdict::RetryAt(due),
    }
}

/// Whether an event is past `policy.max_age` at a time.
pub fn is_too_old(policy: &Policy, stored: Timestamp, at: Timestamp) -> bool {
    policy.max_age.is_some_and(|max_age| after(stored, max_age) < at)
}

/// The stable id of a delivery, the same over all attempts. Never holds a `.`.
pub fn delivery_id(subscription: u32, offset: Offset) -> String {
    format!("msg_{subscription}_{offset}")
}

fn is_done(status: u16, policy: &Policy) -> bool {
    (200..300).contains(&status) || policy.ignore.iter().any(|class| class.has_status(status))
}

impl Policy {
    /// Whether an outcome is as good as a delivery.
    pub fn counts_as_done(&self, outcome: &Outcome) -> bool {
        match outcome {
            Outcome::Answered { status, .. } => is_done(*status, self),
            Outcome::Failed(_) => self.ignore.contains(&Class::Network),
            Outcome::Refused(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(status: u16) -> Outcome {
        Outcome::Answered { status, retry_after: None }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).expect("small")
    }

    #[test]
    fn each_outcome_has_its_verdict() {
        let policy = Policy {
            retry: vec![Duration::from_secs(5), Duration::from_secs(30)],
            ignore: vec![Class::Status(412)],
            max_age: Some(Duration::from_secs(60)),
            ..Policy::default()
        };
        let check = |outcome: &Outcome, attempt, expected: Verdict| {
            assert_eq!(
                classify(outcome, &policy, attempt, at(0), at(10), 0),
                expected,
                "{outcome:?}"
            );
        };
        let lost = Outcome::Failed("connection reset".to_owned());
        check(&answered(200), 1, Verdict::Done);
        check(&answered(299), 3, Verdict::Done);
        check(&answered(412), 1, Verdict::Done);
        check(&answered(410), 1, Verdict::End);
        check(&answered(301), 1, Verdict::FailEvent(Reason::Permanent));
        check(&answered(400), 1, Verdict::FailEvent(Reason::Permanent));
        check(&answered(415), 1, Verdict::FailEvent(Reason::Permanent));
        for status in [408, 425, 429, 500, 502, 503, 504] {
            check(&answered(status), 1, Verdict::RetryAt(at(15)));
        }
        check(&lost, 1, Verdict::RetryAt(at(15)));
        check(&lost, 2, Verdict::RetryAt(at(40)));
        check(&lost, 3, Verdict::FailEvent(Reason::Exhausted));
        check(&Outcome::Refused("loopback".to_owned()), 1, Verdict::FailEvent(Reason::Address));
        let asked = |seconds| Outcome::Answered {
            status: 503,
            retry_after: Some(Duration::from_secs(seconds)),
        };
        check(&asked(1), 1, Verdict::RetryAt(at(15)));
        check(&asked(20), 1, Verdict::RetryAt(at(30)));
        check(&asked(1_000_000), 1, Verdict::FailEvent(Reason::Age));
    }

    #[test]
    fn gives_up_at_once_where_no_retry_is_wanted() {
        let policy = Policy { retry: vec![], ..Policy::default() };
        let verdict = classify(&answered(500), &policy, 1, at(0), at(0), 0);
        assert_eq!(verdict, Verdict::FailEvent(Reason::Exhausted));
        let policy = Policy { on_gone: OnGone::Fail, ..Policy::default() };
        let verdict = classify(&answered(410), &policy, 1, at(0), at(0), 0);
        assert_eq!(verdict, Verdict::FailEvent(Reason::Permanent));
    }

    #[test]
    fn jitter_only_ever_lengthens_a_wait() {
        let policy = Policy { retry: vec![Duration::from_secs(100)], ..Policy::default() };
        for (dice, seconds) in [(0, 100), (u32::MAX, 110)] {
            let verdict = classify(&answered(500), &policy, 1, at(0), at(0), dice);
            assert_eq!(verdict, Verdict::RetryAt(at(seconds)));
        }
    }
}
