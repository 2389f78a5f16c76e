//! The targets of a history of deliveries: a few servers, each with its way of answering, which
//! changes over time. Never here: what the hub makes of an answer.

use std::collections::BTreeMap;
use std::time::Duration;

use tidings::domain::delivery::Outcome;

use crate::dice::Dice;

/// The servers that there are.
pub(crate) const SERVERS: [&str; 4] =
    ["http://a.lan", "http://b.lan", "http://c.lan", "http://d.lan"];

/// How a server answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Works,
    Fails,
    /// 429 or 503, and for how many seconds it wants to be left alone.
    Asks(u16, Option<u64>),
    Gone,
    Rejects,
    /// It takes the request and never answers.
    Stalls,
    /// It takes no connection.
    Closed,
    /// It works or does not, each time anew.
    Flaps,
}

/// What becomes of one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) outcome: Outcome,
    pub(crate) took: Duration,
    /// The server has taken what was sent, whatever the hub learns of it.
    pub(crate) arrives: bool,
}

#[derive(Debug)]
pub(crate) struct Targets {
    dice: Dice,
    ways: BTreeMap<&'static str, Way>,
    healthy: bool,
}

impl Targets {
    pub(crate) fn new(dice: Dice) -> Self {
        let ways = SERVERS.into_iter().map(|server| (server, Way::Works)).collect();
        Self { dice, ways, healthy: false }
    }

    /// One of them answers in another way from now on. In words.
    pub(crate) fn turn(&mut self) -> String {
        let server = self.dice.pick(&SERVERS);
        let status = self.dice.pick(&[429, 503]);
        let pause = self.dice.chance(700).then(|| self.dice.between(1, 40));
        let way = match self.dice.below(100) {
            0..30 => Way::Works,
            30..45 => Way::Fails,
            45..55 => Way::Asks(status, pause),
            55..58 => Way::Gone,
            58..65 => Way::Rejects,
            65..75 => Way::Stalls,
            75..85 => Way::Closed,
            _ => Way::Flaps,
        };
        self.ways.insert(server, way);
        format!("{server}: {way:?}")
    }

    /// All work from now on.
    pub(crate) fn heal(&mut self) {
        self.healthy = true;
    }

    /// What a server makes of a request.
    pub(crate) fn take(&mut self, server: &str, timeout: Duration) -> Answer {
        let way = if self.healthy { Way::Works } else { self.ways[server] };
        let way = match (way, self.dice.chance(500)) {
            (Way::Flaps, true) => Way::Works,
            (Way::Flaps, false) => self.dice.pick(&[Way::Fails, Way::Stalls, Way::Closed]),
            (way, _) => way,
        };
        let took = Duration::from_millis(self.dice.pick(&[0, 5, 300, 4_000]));
        let answered = |status, pause: Option<u64>| Answer {
            outcome: Outcome::Answered { status, retry_after: pause.map(Duration::from_secs) },
            took: took.min(timeout),
            arrives: (200..300).contains(&status),
        };
        let silent = |why: &str, took, arrives| Answer {
            outcome: Outcome::Failed(why.to_owned()),
            took,
            arrives,
        };
        match way {
            Way::Works => answered(self.dice.pick(&[200, 202, 204]), None),
            Way::Fails => answered(self.dice.pick(&[500, 502]), None),
            Way::Asks(status, pause) => answered(status, pause),
            Way::Gone => answered(410, None),
            Way::Rejects => answered(self.dice.pick(&[301, 400, 415]), None),
            Way::Stalls => silent("time used up", timeout, self.dice.chance(500)),
            Way::Closed | Way::Flaps => silent("connection refused", Duration::ZERO, false),
        }
    }
}
