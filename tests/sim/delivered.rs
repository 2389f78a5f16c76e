//! What histories of deliveries have seen, to know that they get everywhere.

/// Counts of what happened.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Delivered {
    pub(crate) requests: u64,
    pub(crate) unsent: u64,
    pub(crate) probes: u64,
    pub(crate) replayed: u64,
    pub(crate) restarts: u64,
    pub(crate) lost_answers: u64,
    pub(crate) letters: u64,
    pub(crate) redriven: u64,
    pub(crate) accounted: u64,
    pub(crate) digest: u64,
}

impl Delivered {
    /// What both have seen.
    pub(crate) fn and(self, other: Self) -> Self {
        Self {
            requests: self.requests + other.requests,
            unsent: self.unsent + other.unsent,
            probes: self.probes + other.probes,
            replayed: self.replayed + other.replayed,
            restarts: self.restarts + other.restarts,
            lost_answers: self.lost_answers + other.lost_answers,
            letters: self.letters + other.letters,
            redriven: self.redriven + other.redriven,
            accounted: self.accounted + other.accounted,
            digest: self.digest ^ other.digest,
        }
    }

    /// Many histories leave nothing out.
    pub(crate) fn check_is_everywhere(&self) {
        let Self { requests, unsent, probes, replayed, restarts, .. } = *self;
        let Self { lost_answers, letters, redriven, accounted, .. } = *self;
        let all = [requests, unsent, probes, replayed, restarts];
        let more = [lost_answers, letters, redriven, accounted];
        assert!(all.iter().chain(&more).all(|count| *count > 50), "{self:?}");
    }
}
