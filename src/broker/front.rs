//! The front: the listener, the cap on connections, and the tasks of all of them. It ends only when
//! it is told to, or when the router did.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use crate::config;
use crate::flow::{Gate, Ingest};
use crate::stop::Stop;
use crate::store::{self, Reader};
use crate::telemetry::Metrics;

use super::Error;
use super::router::Router;
use super::session::{self, House};

/// How often connections of revoked tokens are looked for.
const SWEEP: Duration = Duration::from_secs(3);

/// How long connections may take to end at a stop.
const DRAIN: Duration = Duration::from_secs(4);

/// How long to hold accepting back when the system has no file handles left.
const BREATH: Duration = Duration::from_millis(100);

/// What the front works with.
#[derive(Debug, Clone)]
pub struct Deps {
    /// The log.
    pub reader: Reader,
    /// The way into the log.
    pub ingest: Ingest,
    /// Who may come in.
    pub gate: Gate,
    /// What is counted.
    pub metrics: Arc<Metrics>,
}

/// The MQTT listener, bound and ready.
#[derive(Debug)]
pub struct Front {
    config: config::Mqtt,
    listener: TcpListener,
    local_addr: SocketAddr,
}

/// All connections, as tasks.
struct Connections {
    house: Arc<House>,
    tasks: JoinSet<()>,
}

impl Front {
    /// Binds the listener.
    pub async fn bind(config: &config::Mqtt) -> Result<Self, Error> {
        let fault = |source| Error::Bind { listen: config.listen, source };
        let listener = TcpListener::bind(config.listen).await.map_err(fault)?;
        let local_addr = listener.local_addr().map_err(fault)?;
        Ok(Self { config: config.clone(), listener, local_addr })
    }

    /// The address that clients connect to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Serves clients until it is told to stop, then tells them and ends.
    pub async fn run(self, deps: Deps, stop: Stop) -> Result<(), Error> {
        let router = Arc::new(Router::new(deps.reader.clone(), deps.metrics.clone()));
        let mut routing = JoinSet::new();
        let task = Arc::clone(&router);
        routing.spawn(async move { task.run().await });
        let (registry, config) = (Arc::default(), self.config);
        let house = House { config, deps, router, registry, stop: stop.child() };
        let mut connections = Connections { house: Arc::new(house), tasks: JoinSet::new() };
        let mut sweep = interval(SWEEP);
        sweep.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let result = loop {
            // Every arm may be dropped half-way: accepting, joining and ticking take nothing out
            // before they are done.
            tokio::select! {
                () = stop.wait() => break Ok(()),
                ended = routing.join_next() => break Err(router_fault(ended)),
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, _)) => connections.admit(stream),
                    Err(error) => {
                        tracing::warn!(%error, "cannot accept an MQTT connection");
                        sleep(BREATH).await;
                    }
                },
                Some(ended) = connections.tasks.join_next() => connections.ended(ended),
                _ = sweep.tick() => connections.house.registry.sweep(&connections.house.deps.gate),
            }
        };
        drop(self.listener);
        connections.drain().await;
        result
    }
}

impl Connections {
    fn admit(&mut self, stream: TcpStream) {
        let metrics = &self.house.deps.metrics;
        if self.tasks.len() >= self.house.config.connections_max {
            metrics.broker_refusals.inc();
            tracing::debug!("refused an MQTT connection: mqtt.connections_max is reached");
            return;
        }
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "an MQTT connection was gone before it began");
            return;
        }
        metrics.broker_connections.inc();
        self.tasks.spawn(session::run(stream, Arc::clone(&self.house)));
    }

    /// A connection's end, whatever it was, is that connection's alone.
    fn ended(&self, ended: Result<(), JoinError>) {
        let metrics = &self.house.deps.metrics;
        metrics.broker_connections.dec();
        if let Err(error) = ended {
            metrics.broker_refusals.inc();
            tracing::error!(%error, "the task of an MQTT connection panicked");
        }
    }

    async fn drain(mut self) {
        self.house.stop.set();
        let ended = async {
            while let Some(ended) = self.tasks.join_next().await {
                self.ended(ended);
            }
        };
        if timeout(DRAIN, ended).await.is_err() {
            tracing::warn!(connections = self.tasks.len(), "cut MQTT connections at the stop");
        }
    }
}

fn router_fault(ended: Option<Result<Result<(), store::Error>, JoinError>>) -> Error {
    match ended {
        Some(Ok(Err(error))) => Error::Log(error),
        Some(Ok(Ok(())) | Err(_)) | None => Error::RouterEnded,
    }
}
