//! One data directory and a hub that is killed on it again and again, at times that dice say.

use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::{Duration, Instant};

use http::Method;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::dice::Dice;
use crate::disk::Disk;
use crate::load::{self, Plan};
use crate::oracle::{self, Delivered, Ledger};
use crate::rollback::Loss;
use crate::support::{Process, Receiver, process};

/// Longest life under load in most rounds, in milliseconds: the many kills are what counts.
const LIFE_MAX: u64 = 250;

/// Longest life in one round of `LONG_LIFE_ONE_IN`: background work has its turn before the kill.
const LONG_LIFE_MAX: u64 = 1500;
const LONG_LIFE_ONE_IN: u64 = 4;

/// `log.segment_size` with which a round of load changes segments several times.
const SMALL_SEGMENTS: &str = "64KiB";

/// `log.segment_size` as it is by default.
const USUAL_SEGMENTS: &str = "16MiB";

/// How long a start takes as long as none was seen.
const START_TIME: Duration = Duration::from_millis(50);

/// A trial of one hub.
pub(crate) struct Trial {
    pub(crate) dice: Dice,
    /// Kills so far.
    pub(crate) kills: u64,
    pub(crate) ledger: Ledger,
    dir: TempDir,
    disk: Option<Disk>,
    receiver: Receiver,
    delivered: Delivered,
    small_segments: bool,
    /// How long the slowest start took, so that kills hit all of it.
    start_time: Duration,
}

impl Trial {
    /// An empty directory.
    pub(crate) async fn new() -> Self {
        let mut dice = Dice::from_environment();
        println!("TIDINGS_SEED={}", dice.seed());
        let delivered = Delivered::default();
        let receiver = oracle::receiver(delivered.clone(), dice.child()).await;
        let dir = tempfile::tempdir().expect("a directory");
        Self {
            dice,
            kills: 0,
            ledger: Ledger::default(),
            dir,
            disk: None,
            receiver,
            delivered,
            small_segments: false,
            start_time: START_TIME,
        }
    }

    /// An empty directory on a disk whose power can be cut.
    pub(crate) async fn on_disk() -> Self {
        let mut trial = Self::new().await;
        trial.disk = Some(Disk::new(trial.dir.path()));
        trial
    }

    /// Subscribes to everything.
    pub(crate) async fn subscribe(&mut self) {
        let mut hub = self.start();
        let path = "/v1/subscriptions/everything";
        let wish = everything(&self.receiver.url("/"));
        hub.api().json(Method::PUT, path, &wish).await.expect(201);
        stop(&mut hub).await;
    }

    /// What was written so far is on the disk, what follows is only said to be.
    pub(crate) fn lie(&mut self) {
        self.disk().lie();
    }

    /// Whether the hub changes segments every few groups.
    pub(crate) fn set_small_segments(&mut self, small: bool) {
        self.small_segments = small;
    }

    /// Starts a hub, loads it, and kills it in the middle.
    pub(crate) async fn kill_under_load(&mut self) {
        let hub = self.start();
        let long = self.dice.one_in(LONG_LIFE_ONE_IN);
        let life = self.dice.between(0, if long { LONG_LIFE_MAX } else { LIFE_MAX });
        let life = Duration::from_millis(life);
        self.load_and_kill(hub, life).await;
    }

    /// The same with the longest life that there is.
    pub(crate) async fn kill_after_load(&mut self) {
        let hub = self.start();
        self.load_and_kill(hub, Duration::from_millis(LONG_LIFE_MAX)).await;
    }

    /// Starts a hub and stops it as a service manager does.
    pub(crate) async fn start_and_stop(&mut self) {
        stop(&mut self.start()).await;
    }

    /// Starts a hub and kills it before it is ready, or about then.
    pub(crate) async fn kill_during_start(&mut self) {
        let span = u64::try_from(self.start_time.as_micros()).expect("a short time");
        let life = Duration::from_micros(self.dice.between(0, span));
        let environment = self.environment();
        let mut hub = process::hub(&self.data(), &["serve", "--dev"], &borrowed(&environment));
        let mut hub = hub.stdout(Stdio::null()).spawn().expect("the binary");
        tokio::time::sleep(life).await;
        hub.kill().expect("a child");
        self.note_kill(hub.wait().expect("a child"));
        println!("kill {}: {life:?} after its start", self.kills);
    }

    /// Cuts the power after a kill, and the dice say what is lost.
    pub(crate) fn cut_power(&mut self) -> usize {
        let loss = Loss::Some(self.dice.child());
        self.cut_power_with(loss)
    }

    /// Cuts the power after a kill.
    pub(crate) fn cut_power_with(&mut self, mut loss: Loss) -> usize {
        let lost = self.disk().cut(&mut loss);
        println!("power cut after kill {}: pages lost: {lost:?}", self.kills);
        lost.get("log").copied().unwrap_or_default()
    }

    /// Checks what can be checked of a hub that goes on to be killed.
    pub(crate) async fn check_log(&mut self) {
        let hub = self.start();
        self.ledger.check_log(&hub.api()).await;
        self.note_kill(hub.kill());
    }

    /// What was acknowledged and is not there.
    pub(crate) async fn lost(&mut self) -> Vec<String> {
        let hub = self.start();
        let stored = oracle::stored(&hub.api()).await;
        self.note_kill(hub.kill());
        self.ledger.lost(&stored)
    }

    /// Leaves a hub alone until all is delivered, and checks everything.
    pub(crate) async fn check(mut self) {
        let hub = self.start();
        self.ledger.check_subscriptions(&hub.api()).await;
        self.ledger.check_log(&hub.api()).await;
        self.ledger.check_delivered(&hub.api(), &self.delivered).await;
        hub.kill();
        println!("{} kills: {}", self.kills, self.ledger.summary());
        assert!(!self.ledger.events.is_empty() && !self.ledger.subscriptions.is_empty());
    }

    async fn load_and_kill(&mut self, hub: Process, life: Duration) {
        let plan = Plan {
            round: self.kills,
            again: std::mem::take(&mut self.ledger.in_doubt),
            padding: if self.small_segments { 4096 } else { 512 },
        };
        let again = plan.again.clone();
        let work = load::run(hub.http, hub.mqtt, plan);
        let kill = async {
            tokio::time::sleep(life).await;
            hub.kill()
        };
        let (mut acknowledged, status) = tokio::join!(work, kill);
        acknowledged.in_doubt.extend(again);
        acknowledged.in_doubt.retain(|key| !acknowledged.events.contains(key));
        self.note_kill(status);
        println!("kill {}: {life:?} under load, {}", self.kills, acknowledged.summary());
        self.ledger.add(acknowledged);
    }

    fn start(&mut self) -> Process {
        let environment = self.environment();
        let begin = Instant::now();
        let hub = Process::start(&self.data(), &["serve", "--dev"], &borrowed(&environment));
        self.start_time = self.start_time.max(begin.elapsed());
        hub
    }

    fn environment(&mut self) -> Vec<(&'static str, String)> {
        let size = if self.small_segments { SMALL_SEGMENTS } else { USUAL_SEGMENTS };
        let mut environment = vec![
            ("TIDINGS__LOG__SEGMENT_SIZE", size.to_owned()),
            ("TIDINGS__DELIVERY__CHECKPOINT_INTERVAL", "50ms".to_owned()),
        ];
        environment.extend(self.disk.iter_mut().flat_map(Disk::environment));
        environment
    }

    /// A hub that ended by itself has failed, whatever is on its disk.
    fn note_kill(&mut self, status: ExitStatus) {
        assert_eq!(status.signal(), Some(9), "it was not the kill that ended it: {status}");
        self.kills += 1;
    }

    fn disk(&mut self) -> &mut Disk {
        self.disk.as_mut().expect("a trial on a disk")
    }

    fn data(&self) -> PathBuf {
        self.dir.path().to_owned()
    }
}

async fn stop(hub: &mut Process) {
    hub.terminate();
    let status = hub.ended().await;
    assert!(status.success(), "{status}");
}

fn borrowed<'a>(environment: &'a [(&'static str, String)]) -> Vec<(&'a str, &'a str)> {
    environment.iter().map(|(name, value)| (*name, value.as_str())).collect()
}

/// A subscription to all that the load publishes. It is tried often enough for no event to die.
fn everything(url: &str) -> Value {
    json!({
        "filter": {"topic": "crash/#"},
        "sink": {"http": {"url": url}},
        "lease_seconds": 86_400,
        "policy": {"timeout": "5s", "max_in_flight": 64, "retry": vec!["100ms"; 32]},
    })
}
