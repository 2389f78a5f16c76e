//! The HTTP listener: accept loop, connection cap, header timeout, graceful end.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tower::ServiceExt;

use super::Error;
use crate::config;
use crate::stop::Stop;

/// Pause after a failed accept, so that a lack of file descriptors does not spin a core.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// A bound HTTP listener.
#[derive(Debug)]
pub struct Http {
    listener: TcpListener,
    address: SocketAddr,
    connections_max: usize,
    header_timeout: Duration,
}

impl Http {
    /// Binds the configured address.
    pub async fn bind(config: &config::Http) -> Result<Self, Error> {
        let failed = |error| Error::listen(config.listen, error);
        let listener = TcpListener::bind(config.listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self {
            listener,
            address,
            connections_max: config.connections_max,
            header_timeout: config.header_timeout.0,
        })
    }

    /// The address that is listened on.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves connections. After `stop` no new ones are taken, and those under way end after the
    /// answer that they are at.
    pub async fn run(self, router: Router, stop: Stop) {
        let room = Arc::new(Semaphore::new(self.connections_max));
        let mut connections = JoinSet::new();
        loop {
            // Each arm may be dropped half-way: none has taken anything before it completes.
            let permit = tokio::select! {
                () = stop.wait() => break,
                Some(_) = connections.join_next() => continue,
                permit = room.clone().acquire_owned() => permit,
            };
            let Ok(permit) = permit else { break };
            let accepted = tokio::select! {
                () = stop.wait() => break,
                accepted = self.listener.accept() => accepted,
            };
            match accepted {
                Ok((stream, peer)) => {
                    let connection = serve_connection(
                        stream,
                        peer,
                        router.clone(),
                        self.header_timeout,
                        stop.clone(),
                    );
                    connections.spawn(async move {
                        connection.await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "an HTTP connection could not be accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
        drop(self.listener);
        while connections.join_next().await.is_some() {}
    }
}

async fn serve_connection(
    stream: TcpStream,
    peer: SocketAddr,
    router: Router,
    header_timeout: Duration,
    stop: Stop,
) {
    // Answers are written whole; waiting to fill a segment only adds delay.
    let _ = stream.set_nodelay(true);
    let service = router.map_request(move |mut request: http::Request<Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        request.map(axum::body::Body::new)
    });
    // HTTP/1.1 alone: its header timeout also ends connections that say nothing at all.
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(header_timeout);
    let service = TowerToHyperService::new(service);
    let connection = builder.serve_connection(TokioIo::new(stream), service);
    tokio::pin!(connection);
    let mut stopping = false;
    loop {
        // The connection is only polled by reference, so that leaving an arm loses nothing.
        tokio::select! {
            result = connection.as_mut() => {
                if let Err(error) = result {
                    tracing::debug!(%peer, %error, "an HTTP connection broke off");
                }
                return;
            }
            () = stop.wait(), if !stopping => {
                stopping = true;
                connection.as_mut().graceful_shutdown();
            }
        }
    }
}
