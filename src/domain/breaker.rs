//! The breaker of one target: consecutive failures open it, then one delivery at a time probes, and
//! a success closes it again with a window that grows from one. Pure.

use std::time::Duration;

use super::Timestamp;
use super::lease::after;

/// Rules that an operator sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rules {
    /// Failures in a row after which nothing but probes goes to the target. Zero: never.
    pub after: u32,
    /// Waits before each probe; the last one is repeated.
    pub schedule: Vec<Duration>,
    /// Deliveries under way to one target, all subscriptions together.
    pub in_flight_max: usize,
}

/// Whether a delivery may be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// It may.
    Yes,
    /// It may, and what comes of it decides for all.
    Probe,
    /// When one of those under way comes back.
    Later,
    /// Not before this time.
    At(Timestamp),
}

/// What an answer, or its absence, did to the breaker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing that anybody has to be told.
    None,
    /// It is open now: who delivers there parks.
    Opened,
    /// It is closed now: who was parked goes on.
    Closed,
}

/// The breaker of one target.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Breaker {
    in_flight: usize,
    state: State,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum State {
    Closed {
        failures: u32,
        /// Most deliveries under way; grows with each success until it is of no effect.
        window: usize,
    },
    Open {
        until: Timestamp,
        /// Probes that failed.
        probes: usize,
        /// One is under way.
        probing: bool,
    },
}

impl Default for Breaker {
    fn default() -> Self {
        Self { in_flight: 0, state: State::Closed { failures: 0, window: usize::MAX } }
    }
}

impl Breaker {
    /// One that was open when the hub stopped: it probes at once.
    pub fn open(now: Timestamp) -> Self {
        Self { in_flight: 0, state: State::Open { until: now, probes: 0, probing: false } }
    }

    /// Whether a delivery may be started now.
    pub fn may_start(&self, now: Timestamp, rules: &Rules) -> Start {
        match self.state {
            State::Closed { .. } if self.room(rules) > 0 => Start::Yes,
            State::Closed { .. } => Start::Later,
            State::Open { probing: true, .. } => Start::Later,
            // The wall clock may have been set back since: no wait is longer than was asked for.
            State::Open { until, .. } if until > now && until <= after(now, rules.longest()) => {
                Start::At(until)
            }
            State::Open { .. } => Start::Probe,
        }
    }

    /// Takes note of a delivery that is started. True: it is a probe.
    pub fn start(&mut self) -> bool {
        self.in_flight += 1;
        match &mut self.state {
            State::Open { probing, .. } => !std::mem::replace(probing, true),
            State::Closed { .. } => false,
        }
    }

    /// Takes note of a delivery that came back, whatever came of it.
    pub fn finish(&mut self, was_probe: bool) {
        self.in_flight = self.in_flight.saturating_sub(1);
        if let (State::Open { probing, .. }, true) = (&mut self.state, was_probe) {
            *probing = false;
        }
    }

    /// The target answered as one that works.
    pub fn succeed(&mut self) -> Change {
        match &mut self.state {
            State::Closed { failures, window } => {
                *failures = 0;
                *window = window.saturating_mul(2);
                Change::None
            }
            State::Open { .. } => {
                self.state = State::Closed { failures: 0, window: 1 };
                Change::Closed
            }
        }
    }

    /// The target did not answer, or as one that does not work. What was under way when the breaker
    /// opened comes back late and changes nothing.
    pub fn fail(&mut self, was_probe: bool, now: Timestamp, rules: &Rules) -> Change {
        match &mut self.state {
            State::Closed { failures, .. } => {
                *failures += 1;
                if rules.after == 0 || *failures < rules.after {
                    return Change::None;
                }
                let until = after(now, rules.wait(0));
                self.state = State::Open { until, probes: 0, probing: false };
                Change::Opened
            }
            State::Open { until, probes, .. } if was_probe => {
                *probes += 1;
                *until = after(now, rules.wait(*probes));
                Change::None
            }
            State::Open { .. } => Change::None,
        }
    }

    /// Lets the next delivery probe at once: somebody says that the target works again.
    pub fn hurry(&mut self, now: Timestamp) {
        if let State::Open { until, .. } = &mut self.state {
            *until = now;
        }
    }

    /// When the next probe may go out, if the breaker is open.
    pub fn open_until(&self) -> Option<Timestamp> {
        match self.state {
            State::Open { until, .. } => Some(until),
            State::Closed { .. } => None,
        }
    }

    /// How many deliveries may be started now, if it is closed.
    pub fn room(&self, rules: &Rules) -> usize {
        match self.state {
            State::Closed { window, .. } => {
                window.min(rules.in_flight_max).saturating_sub(self.in_flight)
            }
            State::Open { .. } => 0,
        }
    }

    /// Deliveries under way.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Whether it is as if nothing had ever gone to the target.
    pub fn is_idle(&self) -> bool {
        let is_new = |window| window == usize::MAX;
        self.in_flight == 0
            && matches!(self.state, State::Closed { failures: 0, window } if is_new(window))
    }
}

impl Rules {
    fn wait(&self, probes: usize) -> Duration {
        let wait = self.schedule.get(probes).or(self.schedule.last());
        wait.copied().unwrap_or_default()
    }

    fn longest(&self) -> Duration {
        self.schedule.iter().max().copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::samples::at;

    fn rules() -> Rules {
        let schedule = vec![Duration::from_secs(10), Duration::from_secs(60)];
        Rules { after: 3, schedule, in_flight_max: 8 }
    }

    /// One delivery from its start to its end.
    fn deliver(breaker: &mut Breaker, now: i64, works: bool) -> Change {
        let was_probe = breaker.start();
        breaker.finish(was_probe);
        match works {
            true => breaker.succeed(),
            false => breaker.fail(was_probe, at(now), &rules()),
        }
    }

    #[test]
    fn failures_in_a_row_open_it_and_a_success_in_between_does_not() {
        let mut breaker = Breaker::default();
        for works in [false, false, true, false, false] {
            assert_eq!(deliver(&mut breaker, 0, works), Change::None);
            assert_eq!(breaker.may_start(at(0), &rules()), Start::Yes);
        }
        assert_eq!(deliver(&mut breaker, 0, false), Change::Opened);
        assert_eq!(breaker.may_start(at(9), &rules()), Start::At(at(10)));
        assert_eq!(breaker.may_start(at(10), &rules()), Start::Probe);
        let never = Rules { after: 0, ..rules() };
        let mut breaker = Breaker::default();
        assert!((0..99).all(|_| breaker.fail(false, at(0), &never) == Change::None));
    }

    #[test]
    fn one_probe_goes_out_at_a_time_and_ever_later() {
        let mut breaker = Breaker::open(at(0));
        for (now, next) in [(0, 60), (60, 120), (120, 180)] {
            assert_eq!(breaker.may_start(at(now), &rules()), Start::Probe);
            assert!(breaker.start(), "a probe");
            assert_eq!(breaker.may_start(at(now), &rules()), Start::Later);
            assert!(!breaker.start(), "one that was on its way before is none");
            breaker.finish(false);
            assert_eq!(breaker.fail(false, at(now), &rules()), Change::None);
            assert_eq!(breaker.may_start(at(now), &rules()), Start::Later, "still probing");
            breaker.finish(true);
            assert_eq!(breaker.fail(true, at(now), &rules()), Change::None);
            assert_eq!(breaker.open_until(), Some(at(next)));
        }
        breaker.hurry(at(121));
        assert_eq!(breaker.may_start(at(121), &rules()), Start::Probe);
        assert_eq!(deliver(&mut breaker, 121, true), Change::Closed);
    }

    #[test]
    fn a_clock_that_was_set_back_does_not_lengthen_the_wait() {
        let mut breaker = Breaker::open(at(1_000_000));
        deliver(&mut breaker, 1_000_000, false);
        assert_eq!(breaker.may_start(at(1_000_000), &rules()), Start::At(at(1_000_060)));
        assert_eq!(breaker.may_start(at(5), &rules()), Start::Probe);
    }

    #[test]
    fn after_a_success_the_window_grows_from_one() {
        let mut breaker = Breaker::open(at(0));
        deliver(&mut breaker, 0, true);
        for window in [1, 2, 4, 8, 8] {
            let mut started = 0;
            while breaker.may_start(at(0), &rules()) == Start::Yes {
                breaker.start();
                started += 1;
            }
            assert_eq!(started, window);
            (0..started).for_each(|_| breaker.finish(false));
            breaker.succeed();
        }
        assert!(!breaker.is_idle());
        assert!((0..usize::BITS).all(|_| breaker.succeed() == Change::None));
        assert!(breaker.is_idle());
    }
}
