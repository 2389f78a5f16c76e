//! `tidings serve`: runs the hub until a signal or a failure ends it.

use std::time::Duration;

use sd_notify::NotifyState;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval};

use super::{Error, print};
use crate::config::Config;
use crate::run::Hub;
use crate::telemetry;

#[derive(Debug, Default, clap::Args)]
pub(super) struct Args {
    /// Loopback only, no credentials asked, data in ./tidings-dev.
    #[arg(long)]
    pub(super) dev: bool,
}

/// Interval of the watchdog's ticks where systemd asks for none.
const TICK: Duration = Duration::from_secs(60);

pub(super) async fn run(config: Config) -> Result<(), Error> {
    telemetry::start_logging(&config.telemetry).map_err(Error::Usage)?;
    let mut signals = Signals::new()?;
    let dev = config.dev;
    let hub = Hub::start(config).await?;
    print_listeners(&hub);
    if dev {
        tracing::warn!(
            "--dev: no credentials are asked; do not use it for anything but trying out"
        );
    }
    notify(&[NotifyState::Ready]);
    until_ended(hub, &mut signals).await
}

/// One line for each listener, and the URLs that a person opens.
pub(super) fn print_listeners(hub: &Hub) {
    let http = hub.http();
    print::line(&format!("HTTP  http://{http}"));
    print::line(&format!("MQTT  mqtt://{}", hub.mqtt()));
    print::line(&format!("Page  http://{http}/"));
    if let Some(key) = hub.setup_key() {
        print::line(&format!("Setup http://{http}/setup?key={key}"));
    }
}

/// Runs the hub until it is told to stop, then drains it.
pub(super) async fn until_ended(mut hub: Hub, signals: &mut Signals) -> Result<(), Error> {
    let watchdog = sd_notify::watchdog_enabled();
    let mut ticks = interval(watchdog.map_or(TICK, |limit| limit / 2));
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        // Each arm may be dropped half-way: signals and failures stay where they are.
        tokio::select! {
            asked = signals.next() => match asked {
                Asked::Stop(signal) => {
                    tracing::info!(signal, "stopping");
                    notify(&[NotifyState::Stopping]);
                    return Ok(hub.stop().await?);
                }
                Asked::Reload => {
                    tracing::warn!("SIGHUP: nothing can be reloaded yet; restart to reconfigure");
                }
            },
            error = hub.failed() => {
                tracing::error!(%error, "the hub cannot go on");
                return Err(error.into());
            }
            _ = ticks.tick() => {
                if watchdog.is_some() {
                    notify(&[NotifyState::Watchdog]);
                }
            }
        }
    }
}

/// What a signal asks for.
#[derive(Debug)]
enum Asked {
    Stop(&'static str),
    Reload,
}

/// The signals that the hub takes.
#[derive(Debug)]
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    pub(super) fn new() -> Result<Self, Error> {
        let listen = |kind| {
            signal(kind).map_err(|error| Error::Fault(format!("no signals can be taken: {error}")))
        };
        Ok(Self {
            terminate: listen(SignalKind::terminate())?,
            interrupt: listen(SignalKind::interrupt())?,
            hangup: listen(SignalKind::hangup())?,
        })
    }

    /// Waits for a signal. Safe to drop half-way.
    async fn next(&mut self) -> Asked {
        tokio::select! {
            _ = self.terminate.recv() => Asked::Stop("SIGTERM"),
            _ = self.interrupt.recv() => Asked::Stop("SIGINT"),
            _ = self.hangup.recv() => Asked::Reload,
        }
    }
}

fn notify(state: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(state) {
        tracing::warn!(%error, "the service manager cannot be told");
    }
}
