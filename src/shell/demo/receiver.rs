//! The demo's webhook receiver: answers 200 and tells what came.

use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use tokio::task::JoinSet;

use super::Lines;
use super::stage::time;
use crate::config;
use crate::net::serve::Http;
use crate::run;
use crate::shell::Error;
use crate::stop::Stop;

/// Starts the receiver on a free port.
pub(super) async fn start(
    config: &config::Http,
    lines: Lines,
    stop: &Stop,
    parts: &mut JoinSet<()>,
) -> Result<SocketAddr, Error> {
    let listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
    let config = config::Http { listen, ..config.clone() };
    let http = Http::bind(&config).await.map_err(run::Error::from)?;
    let address = http.local_addr();
    let router = Router::new().route("/hook", post(receive)).with_state(lines);
    parts.spawn(http.run(router, stop.clone()));
    Ok(address)
}

async fn receive(State(lines): State<Lines>, headers: HeaderMap, body: Bytes) -> StatusCode {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok());
    let offset = text("tidings-offset").unwrap_or_default();
    let signed = match text("webhook-signature") {
        Some(signature) if signature.starts_with("v1,") => "signed",
        Some(_) | None => "not signed",
    };
    let body = String::from_utf8_lossy(&body);
    let line = format!("{}  webhook    offset {offset}, {signed}: {body}", time());
    match lines.send(line).await {
        Ok(()) => StatusCode::OK,
        Err(_) => StatusCode::SERVICE_UNAVAILABLE,
    }
}
