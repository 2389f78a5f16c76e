//! Outbound connections and requests: the only place that connects.
//!
//! A name is resolved here, every address is judged by the guard, and the connection goes to an
//! address that was judged, literal or not. No redirects are followed, no proxy is taken from the
//! environment, answers are read up to a limit.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::{HeaderMap, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower_service::Service;

use super::Error;
use crate::config::Net;
use crate::domain::address::{Guard, Refusal};

/// Connections kept open to one target while nothing is sent.
const IDLE_PER_TARGET_MAX: usize = 64;

/// How long an unused connection is kept.
const IDLE_TIMEOUT: Duration = Duration::from_secs(30);

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
    pool: legacy::Client<HttpsConnector<Dialer>, Full<Bytes>>,
    answer_max: usize,
}

/// Opens connections that the guard allows.
#[derive(Debug, Clone)]
pub struct Dialer {
    guard: Arc<Guard>,
    connect_timeout: Duration,
}

impl Client {
    /// A client under a guard.
    pub fn new(config: &Net, guard: Arc<Guard>) -> Result<Self, Error> {
        let dialer = Dialer { guard, connect_timeout: config.connect_timeout.0 };
        let tls = ClientConfig::builder_with_provider(Arc::new(
            rustls::crypto::aws_lc_rs::default_provider(),
        ))
        .with_safe_default_protocol_versions()
        .map_err(|error| Error::Roots(error.to_string()))?
        .with_root_certificates(roots(&config.extra_ca_file)?)
        .with_no_client_auth();
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .enable_http2()
            .wrap_connector(dialer);
        let pool = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .timer(TokioTimer::new())
            .pool_max_idle_per_host(IDLE_PER_TARGET_MAX)
            .pool_idle_timeout(IDLE_TIMEOUT)
            .build(connector);
        Ok(Self { pool, answer_max: config.answer_max.bytes() })
    }

    /// Sends a request and reads the answer, all within one limit of time.
    pub async fn send(
        &self,
        request: Request<Full<Bytes>>,
        limit: Duration,
    ) -> Result<Answer, Failure> {
        let exchange = async {
            let response = self.pool.request(request).await.map_err(|error| failure(&error))?;
            let (parts, body) = response.into_parts();
            let body = read_body(body, self.answer_max).await?;
            Ok(Answer { status: parts.status, headers: parts.headers, body })
        };
        match timeout(limit, exchange).await {
            Ok(result) => result,
            Err(_) => Err(Failure::Failed(format!("no answer within {limit:?}"))),
        }
    }

    /// Sends a request and hands the answer over as it comes; for event streams.
    pub async fn open(&self, request: Request<Full<Bytes>>) -> Result<Response<Incoming>, Failure> {
        self.pool.request(request).await.map_err(|error| failure(&error))
    }
}

impl Dialer {
    /// A dialer under a guard.
    pub fn new(guard: Arc<Guard>, connect_timeout: Duration) -> Self {
        Self { guard, connect_timeout }
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

    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that resolves and connects"
    )]
    async fn resolve_and_connect(&self, host: &str, port: u16) -> Result<TcpStream, Failure> {
        let bare = host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(host);
        let found = tokio::net::lookup_host((bare, port))
            .await
            .map_err(|error| Failure::Failed(format!("the name cannot be resolved: {error}")))?;
        let mut last = Failure::Failed("the name has no address".to_owned());
        for address in found.take(ADDRESSES_MAX) {
            if let Err(refusal) = self.guard.judge(address) {
                last = Failure::Refused { address, refusal };
                continue;
            }
            match TcpStream::connect(address).await {
                Ok(stream) => {
                    // Without it small requests wait for acknowledgements; not worth failing for.
                    let _ = stream.set_nodelay(true);
                    return Ok(stream);
                }
                Err(error) => last = Failure::Failed(format!("cannot connect: {error}")),
            }
        }
        Err(last)
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

async fn read_body(mut body: Incoming, bytes_max: usize) -> Result<Bytes, Failure> {
    let mut read = BytesMut::new();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Failure::Failed(format!("the answer broke off: {error}")))?;
        if let Some(data) = frame.data_ref() {
            let room = bytes_max - read.len();
            read.extend_from_slice(&data[..data.len().min(room)]);
            if read.len() == bytes_max {
                break;
            }
        }
    }
    Ok(read.freeze())
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
