//! Durable ingest: as many acknowledged events a second as the publishers can get.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::Context;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::disk::RECORD;
use crate::support::mqtt::{self, Client, PUBACK, Version};
use crate::support::{Api, Process};

const CONNECTIONS: u32 = 64;
const PUBLISHERS: u32 = 50;
/// Publishes that each publisher has out: half of them are sent when half are acknowledged.
const WINDOW: u16 = 20;

const WARM_UP: Duration = Duration::from_secs(1);
const TIME: Duration = Duration::from_secs(5);

/// What was reached.
pub(crate) struct Rate {
    /// Acknowledged events a second.
    pub(crate) per_second: f64,
    /// Records in one group commit, on average.
    pub(crate) group: f64,
}

impl Rate {
    /// The group's size as a whole number.
    pub(crate) fn group_size(&self) -> usize {
        let at_least =
            |size: &usize| u32::try_from(*size).is_ok_and(|s| f64::from(s) >= self.group);
        (1..1024).find(at_least).unwrap_or(1024)
    }
}

/// One event a request, keep-alive connections.
pub(crate) async fn by_http(hub: &Process) -> anyhow::Result<Rate> {
    let acknowledged = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    for n in 0..CONNECTIONS {
        tasks.spawn(post(hub.http, n, Arc::clone(&acknowledged)));
    }
    watch(hub, &acknowledged, tasks).await
}

/// QoS 1 with a window.
pub(crate) async fn by_mqtt(hub: &Process) -> anyhow::Result<Rate> {
    let acknowledged = Arc::new(AtomicU32::new(0));
    let mut tasks = JoinSet::new();
    for n in 0..PUBLISHERS {
        tasks.spawn(publish(hub.mqtt, n, Arc::clone(&acknowledged)));
    }
    watch(hub, &acknowledged, tasks).await
}

/// Counts for a while, then drops the load.
async fn watch(
    hub: &Process,
    acknowledged: &AtomicU32,
    mut tasks: JoinSet<anyhow::Result<()>>,
) -> anyhow::Result<Rate> {
    tokio::time::sleep(WARM_UP).await;
    let api = hub.api();
    let (records, commits) = counters(&api).await?;
    let (count, begin) = (acknowledged.load(Ordering::Relaxed), Instant::now());
    tokio::time::sleep(TIME).await;
    let events = f64::from(acknowledged.load(Ordering::Relaxed) - count);
    let time = begin.elapsed().as_secs_f64();
    let (records_then, commits_then) = counters(&api).await?;
    if let Some(ended) = tasks.try_join_next() {
        ended?.context("a publisher ended early")?;
    }
    Ok(Rate {
        per_second: events / time,
        group: (records_then - records) / (commits_then - commits).max(1.0),
    })
}

/// Records and commits so far.
async fn counters(api: &Api) -> anyhow::Result<(f64, f64)> {
    let text = api.get("/metrics").await.text();
    let value = |name: &str| -> anyhow::Result<f64> {
        let line =
            text.lines().find_map(|line| line.strip_prefix(name)).context("no such metric")?;
        Ok(line.trim().parse()?)
    };
    Ok((value("tidings_store_records_total ")?, value("tidings_store_commits_total ")?))
}

async fn post(hub: SocketAddr, n: u32, acknowledged: Arc<AtomicU32>) -> anyhow::Result<()> {
    let mut socket = TcpStream::connect(hub).await?;
    socket.set_nodelay(true)?;
    let mut buffer = Vec::new();
    for count in 0_u64.. {
        let body = event(&format!("{n}-{count}"));
        let length = body.len();
        let request = format!(
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\n\
             content-type: application/cloudevents+json\r\ncontent-length: {length}\r\n\r\n{body}"
        );
        socket.write_all(request.as_bytes()).await?;
        read_created(&mut socket, &mut buffer).await?;
        acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}

/// Reads one whole answer, which must be a 201.
async fn read_created(socket: &mut TcpStream, buffer: &mut Vec<u8>) -> anyhow::Result<()> {
    buffer.clear();
    loop {
        anyhow::ensure!(socket.read_buf(buffer).await? > 0, "the hub closed the connection");
        let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = std::str::from_utf8(&buffer[..end])?.to_ascii_lowercase();
        anyhow::ensure!(head.starts_with("http/1.1 201"), "{head}");
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.context("no content-length")?.trim().parse()?;
        if buffer.len() >= end + 4 + length {
            return Ok(());
        }
    }
}

/// An event in structured mode of the record's size.
fn event(id: &str) -> String {
    let head = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/bench","type":"bench.http","data":""#
    );
    let padding = "x".repeat(RECORD.saturating_sub(head.len() + 2));
    format!("{head}{padding}\"}}")
}

async fn publish(hub: SocketAddr, n: u32, acknowledged: Arc<AtomicU32>) -> anyhow::Result<()> {
    let mut client = Client::login(hub, Version::V4, &format!("bench-{n}")).await;
    let topic = format!("bench/mqtt/{n}");
    let payload = vec![b'x'; RECORD];
    let burst = |ids: std::ops::RangeInclusive<u16>| -> Vec<u8> {
        ids.flat_map(|id| mqtt::publish(Version::V4, &topic, Some(id), &payload)).collect()
    };
    let halves = [burst(1..=WINDOW / 2), burst(WINDOW / 2 + 1..=WINDOW)];
    client.send(&halves[0]).await;
    for half in [&halves[1], &halves[0]].into_iter().cycle() {
        client.send(half).await;
        for _ in 0..WINDOW / 2 {
            let packet = client.packet().await.context("the hub closed the connection")?;
            anyhow::ensure!(packet.kind() == PUBACK, "{packet:?}");
            acknowledged.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}
