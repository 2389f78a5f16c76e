//! Whether this machine itself is cut off: then no target is to blame for not answering. Asked of
//! canaries, addresses that the operator trusts to be there.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use super::dial::{Dialer, Failure};
use crate::clock::Stopwatch;
use crate::config::HostPort;

/// How long an answer holds.
const FRESH: Duration = Duration::from_secs(1);

/// The way out of this machine. Clones share what they know.
#[derive(Debug, Clone)]
pub(super) struct Uplink {
    dialer: Dialer,
    canaries: Arc<[HostPort]>,
    /// When it was last found out, and what. Guards memory only.
    known: Arc<Mutex<Option<(Stopwatch, bool)>>>,
    /// One asks, the others wait for the answer.
    turn: Arc<Semaphore>,
}

impl Uplink {
    pub(super) fn new(dialer: Dialer, canaries: &[HostPort]) -> Self {
        let (known, turn) = (Arc::default(), Arc::new(Semaphore::new(1)));
        Self { dialer, canaries: canaries.into(), known, turn }
    }

    /// Whether there are canaries and none of them can be reached.
    pub(super) async fn is_down(&self) -> bool {
        if self.canaries.is_empty() {
            return false;
        }
        // The semaphore is never closed; should it be, asking twice does no harm.
        let _turn = self.turn.acquire().await;
        if let Some(known) = self.fresh() {
            return known;
        }
        let is_down = self.ask().await;
        *self.known.lock().expect("no panic while it is held") =
            Some((Stopwatch::start(), is_down));
        is_down
    }

    fn fresh(&self) -> Option<bool> {
        let known = *self.known.lock().expect("no panic while it is held");
        known.filter(|(since, _)| since.elapsed() < FRESH).map(|(_, is_down)| is_down)
    }

    /// One that can be reached, or may not be asked, is enough.
    async fn ask(&self) -> bool {
        let mut asked = JoinSet::new();
        for HostPort { host, port } in self.canaries.iter().cloned() {
            let dialer = self.dialer.clone();
            asked.spawn(async move { dialer.connect(&host, port).await });
        }
        while let Some(answer) = asked.join_next().await {
            match answer {
                Ok(Ok(_)) => return false,
                Ok(Err(refused @ Failure::Refused { .. })) => {
                    tracing::warn!(%refused, "a canary of net.canaries may not be connected to");
                    return false;
                }
                Ok(Err(Failure::Failed(_) | Failure::Offline(_))) | Err(_) => {}
            }
        }
        true
    }
}
