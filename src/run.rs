//! The only place that constructs: opens, binds, supervises, and drains in reverse.
//!
//! A part that ends or panics outside a drain takes the process down (exit code 70): start-up is
//! recovery, so there is no second way to recover.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::{self, Config, template_keys};
use crate::domain::address::Guard;
use crate::flow::{Dispatch, Gate, Ingest, Keyring, Lanes, Preview, Redrive, Sweep, Trial};
use crate::net::dial::Client;
use crate::net::serve::Http;
use crate::stop::Stop;
use crate::telemetry::Metrics;
use crate::{broker, control, faces, flow, net, store};

/// How long faces may take to end after `drain.timeout` is over for their requests.
const GRACE: Duration = Duration::from_secs(2);

/// Why the hub does not run.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Keys that the configuration names cannot be read.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The store cannot be opened or cannot go on.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// A listener cannot be bound, or the roots of trust cannot be read.
    #[error(transparent)]
    Net(#[from] net::Error),
    /// The MQTT listener cannot be bound or failed.
    #[error(transparent)]
    Broker(#[from] broker::Error),
    /// Delivery cannot go on where it stood.
    #[error(transparent)]
    Flow(#[from] flow::Error),
    /// A part ended although nobody asked it to.
    #[error("{0} ended: the process stops so that a restart recovers")]
    PartEnded(String),
}

/// A running hub.
#[derive(Debug)]
pub struct Hub {
    http: SocketAddr,
    mqtt: SocketAddr,
    setup: Option<String>,
    faces: Parts,
    river: Parts,
    writer: Parts,
    submit: store::Submit,
    lock: store::Lock,
    control: PathBuf,
    metrics: Arc<Metrics>,
    drain: Duration,
}

/// What every part is given.
struct Shared {
    config: Arc<Config>,
    reader: store::Reader,
    gate: Gate,
    guard: Arc<Guard>,
    keyring: Keyring,
}

/// Views on delivery, for the faces.
struct Views {
    lanes: Lanes,
    preview: Preview,
    trial: Trial,
}

/// Parts that stop together.
#[derive(Debug, Default)]
struct Parts {
    tasks: JoinSet<(&'static str, Result<(), Error>)>,
    stop: Stop,
}

impl Hub {
    /// Opens the store, binds the listeners, starts every part.
    pub async fn start(mut config: Config) -> Result<Self, Error> {
        let metrics = Arc::new(Metrics::default());
        let keys = template_keys(&config)?;
        let (store, lock) = open_store(&config, metrics.clone()).await?;
        let http = Http::bind(&config.http).await?;
        let front = broker::Front::bind(&config.mqtt).await?;
        // From here on the configuration says what is really listened on, also where it said 0.
        config.http.listen = http.local_addr();
        config.mqtt.listen = front.local_addr();
        let local = Gate::new_secret();
        let control = config.data.dir.clone();
        if let Err(error) = control::write(&control, config.http.listen, &local) {
            tracing::warn!(%error, "the command line on this machine will not find this hub");
        }
        let first_start = !config.dev && store.reader.tokens().is_empty();
        let guard = Arc::new(Guard {
            allow: config.net.allow.clone(),
            loopback: config.dev,
            own: vec![config.http.listen, config.mqtt.listen],
        });
        let mut hub = Self {
            http: config.http.listen,
            mqtt: config.mqtt.listen,
            setup: first_start.then(Gate::new_secret),
            faces: Parts::default(),
            river: Parts::default(),
            writer: Parts::default(),
            submit: store.submit,
            lock,
            control,
            metrics,
            drain: config.drain.timeout.0,
        };
        let gate = Gate::new(store.reader.clone(), config.dev, Some(&local));
        let keyring = Keyring::new(store.vault, keys);
        let (config, reader) = (Arc::new(config), store.reader);
        let shared = Shared { config, reader, gate, guard, keyring };
        let views = hub.start_river(&shared, store.writer).await?;
        hub.start_keeper(store.keeper);
        hub.start_faces(shared, views, http, front);
        hub.metrics.health.set_started();
        Ok(hub)
    }

    /// Where HTTP is served.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Where MQTT is served.
    pub fn mqtt(&self) -> SocketAddr {
        self.mqtt
    }

    /// The one-time key that creates the first administrator's token; only on the very first start.
    pub fn setup_key(&self) -> Option<&str> {
        self.setup.as_deref()
    }

    /// Waits for a part to end that should not. Safe to drop half-way.
    pub async fn failed(&mut self) -> Error {
        let ended = tokio::select! {
            Some(ended) = self.faces.tasks.join_next() => ended,
            Some(ended) = self.river.tasks.join_next() => ended,
            Some(ended) = self.writer.tasks.join_next() => ended,
        };
        match ended {
            Ok((_, Err(error))) => error,
            Ok((part, Ok(()))) => Error::PartEnded(part.to_owned()),
            Err(error) => Error::PartEnded(format!("a part ({error})")),
        }
    }

    /// Drains: first nobody new is let in, then deliveries under way end, then the store closes.
    pub async fn stop(mut self) -> Result<(), Error> {
        self.metrics.health.set_draining();
        self.faces.end(self.drain).await;
        self.river.end(self.drain + GRACE).await;
        self.submit.close();
        let written = self.writer.tasks.join_next().await;
        control::remove(&self.control);
        drop(self.lock);
        match written {
            Some(Ok((_, Err(error)))) => Err(error),
            Some(Ok((_, Ok(())))) | None => Ok(()),
            Some(Err(error)) => Err(Error::PartEnded(format!("the writer ({error})"))),
        }
    }

    /// Delivery first reads where it stood, then the writer starts: nothing changes in between.
    async fn start_river(
        &mut self,
        shared: &Shared,
        writer: store::Writer,
    ) -> Result<Views, Error> {
        let Shared { config, reader, gate, guard, keyring } = shared;
        let client = Client::new(&config.net, guard.clone())?;
        let (dispatch, lanes) = Dispatch::new(
            config,
            reader.clone(),
            self.submit.clone(),
            client,
            gate.clone(),
            keyring.clone(),
            self.metrics.clone(),
        )
        .await?;
        let views = Views { lanes, preview: dispatch.preview(), trial: dispatch.trial() };
        self.writer.tasks.spawn_blocking(move || ("the writer", writer.run().map_err(Error::from)));
        let (stop, drain) = (self.river.stop.clone(), self.drain);
        self.river.tasks.spawn(async move {
            dispatch.run(stop, drain).await;
            ("delivery", Ok(()))
        });
        self.start_upkeep(config, reader);
        Ok(views)
    }

    /// What ends leases, and what hands dead letters back.
    fn start_upkeep(&mut self, config: &Config, reader: &store::Reader) {
        let metrics = self.metrics.clone();
        let sweep = Sweep::new(reader.clone(), self.ingest(), config.rules(), metrics.clone());
        let stop = self.river.stop.clone();
        self.river.tasks.spawn(async move {
            sweep.run(stop).await;
            ("the sweeper", Ok(()))
        });
        let retries_max = config.delivery.retries_max;
        let redrive = Redrive::new(reader.clone(), self.ingest(), retries_max, metrics);
        let stop = self.river.stop.clone();
        self.river.tasks.spawn(async move {
            redrive.run(stop).await;
            ("the redriver", Ok(()))
        });
    }

    fn start_keeper(&mut self, keeper: store::Keeper) {
        let stop = self.river.stop.clone();
        self.river
            .tasks
            .spawn(async move { ("the keeper", keeper.run(stop).await.map_err(Error::from)) });
    }

    fn start_faces(&mut self, shared: Shared, views: Views, http: Http, front: broker::Front) {
        let Shared { config, reader, gate, guard, keyring } = shared;
        let deps = broker::Deps {
            reader: reader.clone(),
            ingest: self.ingest(),
            gate: gate.clone(),
            metrics: self.metrics.clone(),
        };
        let stop = self.faces.stop.clone();
        self.faces.tasks.spawn(async move {
            ("the MQTT front", front.run(deps, stop).await.map_err(Error::from))
        });
        let router = faces::router(faces::Deps {
            config,
            reader,
            ingest: self.ingest(),
            gate,
            lanes: views.lanes,
            preview: views.preview,
            trial: views.trial,
            metrics: self.metrics.clone(),
            guard,
            keyring,
            setup: self.setup.clone(),
            stop: self.faces.stop.clone(),
        });
        let stop = self.faces.stop.clone();
        self.faces.tasks.spawn(async move {
            http.run(router, stop).await;
            ("the HTTP listener", Ok(()))
        });
    }

    fn ingest(&self) -> Ingest {
        Ingest::new(self.submit.clone(), self.metrics.clone())
    }
}

impl Parts {
    /// Tells the parts to end and waits for them, for a limited time.
    async fn end(&mut self, limit: Duration) {
        self.stop.set();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if timeout(limit, ended).await.is_err() {
            tracing::warn!("some connections did not end in time and are cut");
            self.tasks.shutdown().await;
        }
    }
}

async fn open_store(
    config: &Config,
    metrics: Arc<Metrics>,
) -> Result<(store::Store, store::Lock), Error> {
    let config = config.clone();
    match tokio::task::spawn_blocking(move || store::open(&config, metrics)).await {
        Ok(opened) => Ok(opened?),
        Err(error) => Err(Error::PartEnded(format!("opening the store ({error})"))),
    }
}
