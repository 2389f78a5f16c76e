//! A webhook receiver that keeps what it gets and answers by script: statuses, headers, stalls,
//! trickles, resets, lies. It speaks HTTP/1.1 by hand, because a good server cannot misbehave.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::wait::eventually;

/// What one request is answered with.
#[derive(Debug, Clone)]
pub(crate) enum Reply {
    /// A status without a body.
    Status(u16),
    /// A status with headers.
    With(u16, Vec<(&'static str, String)>),
    /// A status with a JSON body.
    Json(u16, Value),
    /// A status after a while.
    After(Duration, u16),
    /// No answer, the connection stays open.
    Stall,
    /// A head that comes byte by byte and never ends.
    Trickle,
    /// The connection is reset.
    Reset,
    /// The connection is closed in the middle of the head.
    CloseEarly,
    /// Fewer bytes than the content-length says, then the end.
    LieAboutLength,
    /// A good status and a body without end.
    Endless,
}

/// A request as it came in.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) method: String,
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
    pub(crate) at: Instant,
}

impl Request {
    pub(crate) fn header(&self, name: &str) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().expect("ASCII"))
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|_| panic!("no JSON: {self:?}"))
    }
}

type Script = Box<dyn FnMut(usize, &Request) -> Reply + Send>;

struct State {
    requests: Vec<Request>,
    script: Script,
}

/// A receiver on loopback. Dropping it closes its port and its connections.
pub(crate) struct Receiver {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    _server: JoinSet<()>,
}

impl Receiver {
    /// Answers 200 to everything.
    pub(crate) async fn start() -> Self {
        Self::answering(|_, _| Reply::Status(200)).await
    }

    /// Answers so many requests from the list, then 200.
    pub(crate) async fn scripted(replies: Vec<Reply>) -> Self {
        Self::answering(move |n, _| replies.get(n).cloned().unwrap_or(Reply::Status(200))).await
    }

    /// Answers the n-th request (from 0) with what the script says.
    pub(crate) async fn answering(
        script: impl FnMut(usize, &Request) -> Reply + Send + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = State { requests: Vec::new(), script: Box::new(script) };
        let state = Arc::new(Mutex::new(state));
        let mut server = JoinSet::new();
        server.spawn(accept(listener, Arc::clone(&state)));
        Self { address, state, _server: server }
    }

    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// From now on every request is answered so.
    pub(crate) fn always(&self, reply: Reply) {
        self.state.lock().expect("no panic").script = Box::new(move |_, _| reply.clone());
    }

    pub(crate) fn requests(&self) -> Vec<Request> {
        self.state.lock().expect("no panic").requests.clone()
    }

    pub(crate) fn count(&self) -> usize {
        self.state.lock().expect("no panic").requests.len()
    }

    /// Waits for so many requests.
    pub(crate) async fn wait_for(&self, count: usize) -> Vec<Request> {
        eventually(&format!("{count} requests at the receiver"), async || {
            (self.count() >= count).then(|| self.requests())
        })
        .await
    }
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let state = Arc::clone(&state);
        connections.spawn(async move {
            // A client that goes away ends its connection, nothing else.
            let _gone = serve(socket, &state).await;
        });
        while connections.try_join_next().is_some() {}
    }
}

async fn serve(mut socket: TcpStream, state: &Mutex<State>) -> std::io::Result<()> {
    let mut buffer = Vec::new();
    while let Some(request) = read_request(&mut socket, &mut buffer).await? {
        let reply = {
            let mut state = state.lock().expect("no panic");
            let count = state.requests.len();
            let reply = (state.script)(count, &request);
            state.requests.push(request);
            reply
        };
        if !answer(&mut socket, reply).await? {
            return Ok(());
        }
    }
    Ok(())
}

async fn read_request(
    socket: &mut TcpStream,
    buffer: &mut Vec<u8>,
) -> std::io::Result<Option<Request>> {
    let head_end = loop {
        if let Some(end) = buffer.windows(4).position(|four| four == b"\r\n\r\n") {
            break end + 4;
        }
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    };
    let head: Vec<u8> = buffer.drain(..head_end).collect();
    let head = String::from_utf8(head).expect("an ASCII head");
    let mut lines = head.split("\r\n");
    let mut first = lines.next().unwrap_or_default().split(' ').map(str::to_owned);
    let (method, path) = (first.next().unwrap_or_default(), first.next().unwrap_or_default());
    let mut headers = HeaderMap::new();
    for (name, value) in lines.filter_map(|line| line.split_once(':')) {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("a header name");
        headers.append(name, HeaderValue::from_str(value.trim()).expect("a header value"));
    }
    let length = headers.get("content-length").map_or(0, |length| {
        length.to_str().ok().and_then(|text| text.parse().ok()).expect("a length")
    });
    assert!(!headers.contains_key("transfer-encoding"), "deliveries have a known length: {head}");
    while buffer.len() < length {
        if socket.read_buf(buffer).await? == 0 {
            return Ok(None);
        }
    }
    let body = buffer.drain(..length).collect();
    Ok(Some(Request { method, path, headers, body, at: Instant::now() }))
}

/// Writes a reply. False ends the connection.
async fn answer(socket: &mut TcpStream, reply: Reply) -> std::io::Result<bool> {
    let head = |status: u16, headers: &str| {
        format!("HTTP/1.1 {status} Scripted\r\n{headers}content-length: 0\r\n\r\n")
    };
    match reply {
        Reply::Status(status) => socket.write_all(head(status, "").as_bytes()).await?,
        Reply::With(status, headers) => {
            let lines: String =
                headers.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
            socket.write_all(head(status, &lines).as_bytes()).await?;
        }
        Reply::Json(status, value) => {
            let body = value.to_string();
            let length = body.len();
            let head = format!(
                "HTTP/1.1 {status} Scripted\r\ncontent-type: application/json\r\n\
                 content-length: {length}\r\n\r\n{body}"
            );
            socket.write_all(head.as_bytes()).await?;
        }
        Reply::After(time, status) => {
            tokio::time::sleep(time).await;
            socket.write_all(head(status, "").as_bytes()).await?;
        }
        Reply::Stall => std::future::pending().await,
        Reply::Trickle => loop {
            let next = b"HTTP/1.1 200 OK\r\nx-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
            for byte in next.iter().chain(std::iter::repeat(&b'a')) {
                socket.write_all(&[*byte]).await?;
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        },
        Reply::Reset => {
            socket.set_zero_linger()?;
            return Ok(false);
        }
        Reply::CloseEarly => {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-le").await?;
            return Ok(false);
        }
        Reply::LieAboutLength => {
            socket.write_all(b"HTTP/1.1 503 Lie\r\ncontent-length: 1000\r\n\r\nshort").await?;
            return Ok(false);
        }
        Reply::Endless => {
            socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 999999999999\r\n\r\n").await?;
            loop {
                socket.write_all(&[b'x'; 4096]).await?;
            }
        }
    }
    Ok(true)
}
