//! Outbound connections and requests: the only place that connects.
//!
//! A name is resolved here, every address is judged by the guard, and the connection goes to an
//! address that was judged, literal or not. No redirects are followed, no proxy is taken from the
//! environment, answers are read up to a limit.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::client::legacy;
use hyper_util::rt::TokioIo;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};
use tower_service::Service;

use super::Error;
use super::identity::Identity;
use super::pools::{Pool, Pools};
use super::uplink::Uplink;
use crate::config::Net;
use crate::domain::address::{Guard, Refusal};

/// Names that are looked up at the same time.
const LOOKUPS_MAX: usize = 32;

/// Most addresses of one name that are tried.
const ADDRESSES_MAX: usize = 8;

/// Why a connection or request came to nothing.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Failure {
    /// The guard refuses every address of the target.
    #[error("{address}: {refusal}")]
    Refused {
        /// The last address that was judged.
        address: SocketAddr,
        /// Why.
        refusal: Refusal,
    },
    /// No answer.
    #[error("{0}")]
    Failed(String),
    /// No answer, and this machine is cut off: the target is not to blame.
    #[error("this machine is cut off: {0}")]
    Offline(String),
}

/// A target's answer.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The body, up to the limit.
    pub body: Bytes,
}

/// Sends requests. Clones share connections.
#[derive(Debug, Clone)]
pub struct Client {
    pools: Arc<Pools>,
    uplink: Uplink,
    answer_max: usize,
}

/// Opens connections that the guard allows.
#[derive(Debug, Clone)]
pub struct Dialer {
    guard: Arc<Guard>,
    connect_timeout: Duration,
    /// Bounds the threads that wait for the resolver, which cannot be told to give up.
    lookups: Arc<Semaphore>,
}

impl Client {
    /// A client under a guard.
    pub fn new(config: &Net, guard: Arc<Guard>) -> Result<Self, Error> {
        let dialer = Dialer::new(guard, config.connect_timeout.0);
        let uplink = Uplink::new(dialer.clone(), &config.canaries);
        let pools = Pools::new(dialer, roots(&config.extra_ca_file)?);
        let pools = Arc::new(pools.map_err(|fault| Error::Roots(fault.to_string()))?);
        Ok(Self { pools, uplink, answer_max: config.answer_max.bytes() })
    }

    /// Sends a request and reads the answer, all within one limit of time. A body that breaks off
    /// or takes longer is cut.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        self.send_as(request, None, limit).await
    }

    /// Sends a request under the identity that its target asks for.
    pub async fn send_as(
        &self,
        request: Request<Full<Bytes>>,
        identity: Option<&Identity>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let own;
        let pool = match identity {
            None => self.pools.plain(),
            Some(identity) => {
                own = self.pools.of(identity);
                own.as_ref().map_err(|fault| Failure::Failed(fault.to_string()))?
            }
        };
        match self.exchange(pool, request, limit).await {
            Err(Failure::Failed(why)) if self.uplink.is_down().await => Err(Failure::Offline(why)),
            other => other,
        }
    }

    async fn exchange(
        &self,
        pool: &Pool,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let deadline = Instant::now() + limit;
        let response = timeout_at(deadline, pool.request(request)).await;
        let response = response
            .map_err(|_| Failure::Failed(format!("no answer within {limit:?}")))?
            .map_err(|error| failure(&error))?;
        let (parts, body) = response.into_parts();
        // The head is the answer, whatever becomes of the body behind it.
        let body = timeout_at(deadline, read_body(body, self.answer_max)).await;
        let body = body.unwrap_or_default();
        Ok(Answer { status: parts.status, headers: parts.headers, body })
    }

    /// Sends a request and hands the answer over as it comes; for event streams.
    pub async fn open(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        self.pools.plain().request(request).await.map_err(|error| failure(&error))
    }
}

impl Dialer {
    /// A dialer under a guard.
    pub fn new(guard: Arc<Guard>, connect_timeout: Duration) -> Self {
        Self { guard, connect_timeout, lookups: Arc::new(Semaphore::new(LOOKUPS_MAX)) }
    }

    /// Connects to a host and port.
    pub async fn connect(&self, host: &str, port: u16) -> Result<TcpStream, Failure> {
        match timeout(self.connect_timeout, self.resolve_and_connect(host, port)).await {
            Ok(result) => result,
            Err(_) => {
                let limit = self.connect_timeout;
                Err(Failure::Failed(format!("no connection within {limit:?}")))
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "this is the one place that connects")]
    async fn resolve_and_connect(&self, host: &str, port: u16) -> Result<TcpStream, Failure> {
        let mut refused = None;
        let mut failed = None;
        for address in self.resolve(host, port).await? {
            if let Err(refusal) = self.guard.judge(address) {
                refused = Some(Failure::Refused { address, refusal });
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => match self.judge_connected(&stream, address) {
                    Ok(()) => return Ok(stream),
                    Err(refusal) => refused = Some(Failure::Refused { address, refusal }),
                },
                Err(error) => failed = Some(cannot_connect(&error)),
            }
        }
        // A refusal is for good: it is only said where no address was allowed.
        let nothing = || Failure::Failed("the name has no address".to_owned());
        Err(failed.or(refused).unwrap_or_else(nothing))
    }

    /// A connection whose two ends have one address goes to this machine itself.
    fn judge_connected(&self, stream: &TcpStream, peer: SocketAddr) -> Result<(), Refusal> {
        // Without it small requests wait for acknowledgements; not worth failing for.
        let _ = stream.set_nodelay(true);
        match stream.local_addr() {
            Ok(local) if local.ip() == peer.ip() => self.guard.judge_self(peer.port()),
            Ok(_) | Err(_) => Ok(()),
        }
    }

    async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, Failure> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        if let Ok(ip) = bare.parse() {
            return Ok(vec![SocketAddr::new(ip, port)]);
        }
        let failed = |why: String| Failure::Failed(format!("the name cannot be resolved: {why}"));
        let permit = self.lookups.clone().acquire_owned().await;
        let permit = permit.map_err(|error| failed(error.to_string()))?;
        let name = bare.to_owned();
        let lookup = tokio::task::spawn_blocking(move || {
            let found = (name.as_str(), port).to_socket_addrs();
            // The permit is held until the resolver is done, also when nobody waits any more.
            drop(permit);
            found.map(|found| found.take(ADDRESSES_MAX).collect())
        });
        match lookup.await {
            Ok(found) => found.map_err(|error| failed(error.to_string())),
            Err(error) => Err(failed(error.to_string())),
        }
    }
}

impl Service<Uri> for Dialer {
    type Response = TokioIo<TcpStream>;
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Failure>> + Send>>;

    fn poll_ready(&mut self, _context: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, target: Uri) -> Self::Future {
        let dialer = self.clone();
        Box::pin(async move {
            let host = target.host().ok_or_else(|| Failure::Failed("no host".to_owned()))?;
            let default = if target.scheme_str() == Some("https") { 443 } else { 80 };
            let port = target.port_u16().unwrap_or(default);
            dialer.connect(host, port).await.map(TokioIo::new)
        })
    }
}

/// Without any way out of this machine nobody else is to blame.
fn cannot_connect(error: &io::Error) -> Failure {
    let why = format!("cannot connect: {error}");
    match error.kind() {
        io::ErrorKind::NetworkUnreachable | io::ErrorKind::NetworkDown => Failure::Offline(why),
        _ => Failure::Failed(why),
    }
}

async fn read_body(mut body: Incoming, bytes_max: usize) -> Bytes {
    let mut read = BytesMut::new();
    while let Some(Ok(frame)) = body.frame().await {
        if let Some(data) = frame.data_ref() {
            let room = bytes_max - read.len();
            read.extend_from_slice(&data[..data.len().min(room)]);
            if read.len() == bytes_max {
                break;
            }
        }
    }
    read.freeze()
}

/// Finds the guard's or dialer's own words under the client's.
fn failure(error: &legacy::Error) -> Failure {
    let mut texts = Vec::new();
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(error);
    while let Some(error) = source {
        if let Some(own) = error.downcast_ref::<Failure>() {
            return own.clone();
        }
        texts.push(error.to_string());
        source = error.source();
    }
    Failure::Failed(texts.join(": "))
}

fn roots(extra: &Path) -> Result<RootCertStore, Error> {
    let mut roots = RootCertStore::empty();
    let native = rustls_native_certs::load_native_certs();
    for error in &native.errors {
        tracing::warn!(%error, "some of the system's root certificates cannot be read");
    }
    roots.add_parsable_certificates(native.certs);
    if !extra.as_os_str().is_empty() {
        let bad = |error: &dyn std::fmt::Display| {
            Error::Roots(format!("net.extra_ca_file {}: {error}", extra.display()))
        };
        for certificate in CertificateDer::pem_file_iter(extra).map_err(|error| bad(&error))? {
            let certificate = certificate.map_err(|error| bad(&error))?;
            roots.add(certificate).map_err(|error| bad(&error))?;
        }
    }
    Ok(roots)
}
