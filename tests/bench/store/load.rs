//! Clients over TCP that each wait for their answer before they send again. The same code for every
//! server, on one thread: it must not be what the figures show.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::Context;
use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;

use crate::report::millis;

/// How long clients run before they are counted.
const WARM_UP: Duration = Duration::from_millis(500);

/// How one client speaks with a server.
pub(crate) trait Dialogue: Send + Sync {
    /// What a client says first. Nothing: it has no greeting to wait for either.
    fn hello(&self, _client: u32) -> Vec<u8> {
        Vec::new()
    }

    /// How many of the bytes that came in are the whole greeting. `None`: not whole yet.
    fn welcomed(&self, _bytes: &[u8]) -> anyhow::Result<Option<usize>> {
        Ok(Some(0))
    }

    /// One request that stores one event.
    fn request(&self, client: u32, out: &mut Vec<u8>);

    /// How many of the bytes that came in are the whole answer, which must tell of success.
    fn answered(&self, bytes: &[u8]) -> anyhow::Result<Option<usize>>;
}

/// What a load led to.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rate {
    /// Acknowledged events a second.
    pub(crate) per_second: f64,
    /// The time that 99 of 100 answers did not exceed, in milliseconds.
    pub(crate) p99_ms: f64,
}

/// When answers count.
#[derive(Debug, Clone, Copy)]
struct Span {
    begin: Instant,
    end: Instant,
}

/// Lets clients publish for a while.
pub(crate) async fn run(
    server: SocketAddr,
    dialogue: Arc<dyn Dialogue>,
    clients: u32,
    time: Duration,
) -> anyhow::Result<Rate> {
    let begin = Instant::now() + WARM_UP;
    let span = Span { begin, end: begin + time };
    let mut tasks = JoinSet::new();
    for client in 0..clients {
        tasks.spawn(speak(server, dialogue.clone(), client, span));
    }
    let mut times = Vec::new();
    while let Some(ended) = tasks.join_next().await {
        times.extend(ended??);
    }
    times.sort_unstable();
    let p99 = times.get(times.len() * 99 / 100).copied().unwrap_or_default();
    let count = f64::from(u32::try_from(times.len())?);
    Ok(Rate { per_second: count / time.as_secs_f64(), p99_ms: millis(p99) })
}

/// One client: the times of its answers.
async fn speak(
    server: SocketAddr,
    dialogue: Arc<dyn Dialogue>,
    client: u32,
    span: Span,
) -> anyhow::Result<Vec<Duration>> {
    let mut socket = TcpStream::connect(server).await?;
    socket.set_nodelay(true)?;
    let (mut request, mut answer) = (dialogue.hello(client), BytesMut::with_capacity(4_096));
    if !request.is_empty() {
        socket.write_all(&request).await?;
        read(&mut socket, &mut answer, |bytes| dialogue.welcomed(bytes)).await?;
    }
    let mut times = Vec::new();
    loop {
        request.clear();
        dialogue.request(client, &mut request);
        let sent = Instant::now();
        socket.write_all(&request).await?;
        read(&mut socket, &mut answer, |bytes| dialogue.answered(bytes)).await?;
        let now = Instant::now();
        if now >= span.end {
            return Ok(times);
        }
        if now >= span.begin {
            times.push(now - sent);
        }
    }
}

/// Reads until a whole answer is there and takes it off the front.
async fn read(
    socket: &mut TcpStream,
    bytes: &mut BytesMut,
    whole: impl Fn(&[u8]) -> anyhow::Result<Option<usize>>,
) -> anyhow::Result<()> {
    loop {
        if let Some(length) = whole(bytes)? {
            bytes.advance(length);
            return Ok(());
        }
        let count = socket.read_buf(bytes).await.context("reading an answer")?;
        anyhow::ensure!(count > 0, "the server closed the connection");
    }
}
