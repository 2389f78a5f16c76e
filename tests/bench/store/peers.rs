//! Tidings beside other servers that keep what they acknowledge: the same payload, the same number
//! of clients, each waiting for its answer, all on the same disk, one after the other.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::TcpStream;

use crate::dialogue::{Http, Mqtt};
use crate::hub::Hub;
use crate::ingest::{LOADS_MAX, SMALL_LOG};
use crate::load::{self, Dialogue, Rate};
use crate::nats::{self, Nats, Sync};
use crate::place::{self, Place};
use crate::redis::{self, Resp};
use crate::report::{Row, median};

const CLIENTS: [u32; 3] = [1, 16, 256];
const ROUNDS: usize = 5;
const TIME: Duration = Duration::from_millis(1_200);

/// How long a server may take to listen.
const START: Duration = Duration::from_secs(10);

/// A server of somebody else, killed with the value.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) address: SocketAddr,
    child: Child,
}

impl Peer {
    /// Starts one and waits until it listens.
    pub(crate) async fn start(mut command: Command, address: SocketAddr) -> anyhow::Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        let mut peer = Self { address, child: command.spawn()? };
        let begin = Instant::now();
        while TcpStream::connect(address).await.is_err() {
            let ended = peer.child.try_wait()?;
            anyhow::ensure!(ended.is_none() && begin.elapsed() < START, "{command:?}: {ended:?}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(peer)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ended = self.child.kill();
        let _status = self.child.wait();
    }
}

/// A port that nobody listens on.
pub(crate) fn free_port() -> anyhow::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// One way to have an event stored.
struct Contender {
    name: &'static str,
    /// What Tidings is to reach of it.
    reach: &'static str,
    address: SocketAddr,
    dialogue: Arc<dyn Dialogue>,
}

impl Contender {
    fn new(
        name: &'static str,
        reach: &'static str,
        address: SocketAddr,
        dialogue: impl Dialogue + 'static,
    ) -> Self {
        Self { name, reach, address, dialogue: Arc::new(dialogue) }
    }

    fn is_ours(&self) -> bool {
        self.reach.is_empty()
    }
}

/// Prints the section.
pub(crate) async fn measure(place: &Place) -> anyhow::Result<()> {
    let (dir, new_dir, mut kept) = (place.fresh()?, place.fresh()?, Vec::new());
    let hub = Hub::start(dir.path(), &SMALL_LOG);
    let new = Hub::start(new_dir.path(), &[]);
    let (http, mqtt) = (hub.process().http, hub.process().mqtt);
    fill(&hub, dir.path()).await?;
    let mut contenders = vec![
        Contender::new("Tidings, HTTP, segments recycled", "", http, Http),
        Contender::new("Tidings, MQTT QoS 1, recycled", "", mqtt, Mqtt),
        Contender::new("Tidings, HTTP, new log", "", new.process().http, Http),
        Contender::new("Tidings, MQTT QoS 1, new log", "", new.process().mqtt, Mqtt),
    ];
    let redis_dir = place.fresh()?;
    let redis = redis::start(redis_dir.path()).await?;
    contenders.push(Contender::new("Redis, appendfsync always", "> 1", redis.address, Resp));
    kept.push((redis, redis_dir));
    for sync in nats::kinds(place.path())? {
        let dir = place.fresh()?;
        let (name, reach) = match sync {
            Sync::Always => ("NATS, sync_interval always", "> 1"),
            Sync::Through => ("NATS before 2.10, chattr +S", "> 1"),
            Sync::Lazy => ("NATS before 2.10, acks unsynced", "(promises less)"),
        };
        match nats::start(dir.path(), sync).await {
            Ok(peer) => {
                contenders.push(Contender::new(name, reach, peer.address, Nats));
                kept.push((peer, dir));
            }
            Err(error) => println!("    {name}: not measured: {error}"),
        }
    }
    for clients in CLIENTS {
        compare(&contenders, clients).await?;
    }
    hub.stop().await;
    new.stop().await;
    Ok(())
}

/// Brings a hub to where it will be for nearly all of its life: its log has the size that it may
/// have, and what is written goes into segments that retention gave back.
async fn fill(hub: &Hub, dir: &Path) -> anyhow::Result<()> {
    let mut loads = 0;
    while place::spares(dir)? == 0 {
        anyhow::ensure!(loads < LOADS_MAX, "no segment comes back");
        load::run(hub.process().mqtt, Arc::new(Mqtt), 64, TIME).await?;
        loads += 1;
    }
    Ok(())
}

/// Rounds with each contender in turn, then a row for each. The ratios are those of the first two,
/// which are ours.
async fn compare(contenders: &[Contender], clients: u32) -> anyhow::Result<()> {
    let mut rates: Vec<Vec<Rate>> = contenders.iter().map(|_| Vec::new()).collect();
    for _ in 0..ROUNDS {
        for (contender, rates) in contenders.iter().zip(&mut rates) {
            let Contender { address, dialogue, .. } = contender;
            rates.push(load::run(*address, dialogue.clone(), clients, TIME).await?);
        }
    }
    let middle = |rates: &[Rate]| median(rates.iter().map(|rate| rate.per_second).collect());
    let (http, mqtt) = (middle(&rates[0]), middle(&rates[1]));
    for (contender, rates) in contenders.iter().zip(&rates) {
        let rate = middle(rates);
        let p99 = median(rates.iter().map(|rate| rate.p99_ms).collect());
        let theirs = !contender.is_ours();
        let beside = format!("HTTP {:.2}, MQTT {:.2} times as many", http / rate, mqtt / rate);
        let row = Row {
            what: format!("{}, {clients} clients", contender.name),
            measured: format!("{rate:.0}/s, p99 {p99:.2} ms"),
            beside: if theirs { beside } else { String::new() },
            ratio: theirs.then_some(http.max(mqtt) / rate),
            reach: contender.reach,
        };
        row.print();
    }
    Ok(())
}
