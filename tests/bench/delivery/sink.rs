//! Receivers that do nothing but answer 204 and count, on kept connections.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;

/// A receiver. Dropping it closes its port.
pub(crate) struct Sink {
    pub(crate) address: SocketAddr,
    count: Arc<AtomicUsize>,
    _server: JoinSet<()>,
}

impl Sink {
    pub(crate) async fn start() -> anyhow::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (address, count) = (listener.local_addr()?, Arc::new(AtomicUsize::new(0)));
        let mut server = JoinSet::new();
        let counted = count.clone();
        server.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((stream, _)) = listener.accept().await {
                connections.spawn(answer(stream, counted.clone()));
            }
        });
        Ok(Self { address, count, _server: server })
    }

    /// Requests so far.
    pub(crate) fn count(&self) -> usize {
        self.count.load(Ordering::Relaxed)
    }
}

async fn answer(mut stream: TcpStream, count: Arc<AtomicUsize>) {
    // Without it an answer may wait for the request after it.
    let _set = stream.set_nodelay(true);
    let mut held = Vec::new();
    loop {
        while let Some(length) = whole(&held) {
            held.drain(..length);
            count.fetch_add(1, Ordering::Relaxed);
            if stream.write_all(b"HTTP/1.1 204 No Content\r\n\r\n").await.is_err() {
                return;
            }
        }
        match stream.read_buf(&mut held).await {
            Ok(0) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

/// The length of a whole request at the front.
fn whole(held: &[u8]) -> Option<usize> {
    let end = held.windows(4).position(|four| four == b"\r\n\r\n")? + 4;
    let head = std::str::from_utf8(&held[..end]).ok()?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let whole = end + length.unwrap_or(0);
    (held.len() >= whole).then_some(whole)
}
