//! What the ledger knows of servers: which of them are parked, and what is under way to each. Its
//! own idea of a breaker, from what the README says.

use std::collections::{BTreeMap, BTreeSet};

use tidings::domain::delivery::Outcome;

use crate::oracle::Fault;

#[derive(Debug, Default)]
pub(crate) struct Servers {
    in_flight_max: usize,
    park_after: u32,
    held: BTreeMap<String, Server>,
}

#[derive(Debug, Default)]
struct Server {
    failures: u32,
    parked: bool,
    /// Requests under way, and whether each is a probe.
    under_way: BTreeMap<u64, bool>,
}

impl Servers {
    pub(crate) fn new(in_flight_max: usize, park_after: u32) -> Self {
        Self { in_flight_max, park_after, held: BTreeMap::new() }
    }

    pub(crate) fn forget_all(&mut self) {
        self.held.clear();
    }

    /// It was parked when the process began.
    pub(crate) fn open(&mut self, server: &str) {
        self.held.entry(server.to_owned()).or_default().parked = true;
    }

    /// Forgets those that nobody delivers to and nothing is under way to.
    pub(crate) fn keep(&mut self, live: &BTreeSet<String>) {
        self.held.retain(|name, server| live.contains(name) || !server.under_way.is_empty());
    }

    /// A parked server gets one probe at a time, another one no more than there may be.
    pub(crate) fn start(&mut self, ticket: u64, name: &str, probe: bool) -> Result<(), Fault> {
        let server = self.held.entry(name.to_owned()).or_default();
        if server.parked && server.under_way.values().any(|probe| *probe) {
            return Err(format!("{name} is parked and gets two probes at a time"));
        }
        if server.parked != probe {
            let parked = server.parked;
            return Err(format!("{name}: parked is {parked}, and this is a probe is {probe}"));
        }
        if !probe && server.under_way.len() >= self.in_flight_max {
            return Err(format!("{name} has more than {} under way", self.in_flight_max));
        }
        server.under_way.insert(ticket, probe);
        Ok(())
    }

    /// A request came back. True: it was a probe, and the server is still parked.
    pub(crate) fn finish(&mut self, ticket: u64, outcome: &Outcome) -> bool {
        let server = self.held.values_mut().find(|it| it.under_way.contains_key(&ticket));
        let Some(server) = server else { return false };
        let probe = server.under_way.remove(&ticket).unwrap_or(false);
        match outcome.blames_target() {
            true => server.failures += 1,
            false => (server.failures, server.parked) = (0, false),
        }
        server.parked |= self.park_after > 0 && server.failures >= self.park_after;
        server.parked && probe
    }
}
