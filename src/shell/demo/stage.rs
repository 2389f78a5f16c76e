//! The demo's parts put together: hub, receiver, subscriber, publisher, printer.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use bytes::Bytes;
use http::Method;
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};

use super::{Lines, receiver, subscriber};
use crate::clock;
use crate::config::Config;
use crate::run::Hub;
use crate::shell::client::Hub as Api;
use crate::shell::exit_code::address_in_use;
use crate::shell::serve::{Signals, print_listeners, until_ended};
use crate::shell::{Error, print};
use crate::stop::Stop;
use crate::telemetry;

/// Time between two events.
const PACE: Duration = Duration::from_secs(1);

/// Lines that may wait to be printed.
const LINES_MAX: usize = 256;

/// What the publisher tells of, in turns.
const STORY: [&str; 3] = ["created", "segments_added", "deleted"];

pub(in crate::shell) async fn run(mut config: Config) -> Result<(), Error> {
    if config.telemetry.log_level == "info" {
        // The demo's own lines are what is to be seen.
        "warn".clone_into(&mut config.telemetry.log_level);
    }
    telemetry::start_logging(&config.telemetry).map_err(Error::Usage)?;
    let mut signals = Signals::new()?;
    let hub = start_hub(&config).await?;
    print_listeners(&hub);
    let api = Api::at(&format!("http://{}", hub.http()), None, &config)?;
    let (lines, mut told) = mpsc::channel(LINES_MAX);
    let stop = Stop::default();
    let mut parts = JoinSet::new();
    let hook = receiver::start(&config.http, lines.clone(), &stop, &mut parts).await?;
    parts.spawn(subscriber::run(hub.mqtt(), "demo/#", lines.clone(), stop.clone()));
    subscribe(&api, hook).await?;
    print::line(&format!("Hook  http://{hook}/hook  (subscription \"demo\")"));
    print::line("One event a second; Ctrl-C ends the demo.\n");
    parts.spawn(publish(api, lines, stop.clone()));
    parts.spawn(async move {
        while let Some(line) = told.recv().await {
            if !print::line(&line) {
                return;
            }
        }
    });
    let ended = until_ended(hub, &mut signals).await;
    stop.set();
    parts.shutdown().await;
    print::line("The demo has ended; its events are kept in the data directory.");
    ended
}

/// Starts the hub on the configured ports, or on free ones where those are taken.
async fn start_hub(config: &Config) -> Result<Hub, Error> {
    match Hub::start(config.clone()).await {
        Err(error) if address_in_use(&error) => {
            print::line("The usual ports are taken; the demo takes free ones.");
            let mut free = config.clone();
            free.http.listen = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
            free.mqtt.listen = free.http.listen;
            Ok(Hub::start(free).await?)
        }
        other => Ok(other?),
    }
}

async fn subscribe(api: &Api, hook: SocketAddr) -> Result<(), Error> {
    let wish = json!({
        "name": "demo",
        "filter": {"topic": "demo/#"},
        "sink": {"http": {"url": format!("http://{hook}/hook")}},
        "signing": {"standard_webhooks": {}},
        "lease_seconds": 3600,
    });
    let body = Bytes::from(wish.to_string());
    api.call(Method::PUT, "/v1/subscriptions/demo", "application/json", body).await?;
    Ok(())
}

/// Publishes one event after the other.
async fn publish(api: Api, lines: Lines, stop: Stop) {
    let mut ticks = interval(PACE);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for number in 1u64.. {
        // A tick that is dropped is a tick that is not needed any more.
        tokio::select! {
            () = stop.wait() => return,
            _ = ticks.tick() => {}
        }
        let turn = usize::try_from(number).unwrap_or(0) % STORY.len();
        let what = STORY[turn];
        let event = json!({
            "specversion": "1.0",
            "id": clock::sortable_id().to_string(),
            "source": "tidings-demo",
            "type": format!("demo.flow.{what}"),
            "subject": format!("flow-{}", number / 3),
            "time": clock::now().to_string(),
            "data": {"number": number, "what": what},
        });
        let body = Bytes::from(event.to_string());
        let media_type = "application/cloudevents+json";
        let line = match api.call(Method::POST, "/v1/events", media_type, body).await {
            Ok(answer) => {
                let offset = &answer["results"][0]["offset"];
                format!("{}  published  demo/flow/{what}  offset {offset}", time())
            }
            Err(error) => format!("{}  not published: {error}", time()),
        };
        if lines.send(line).await.is_err() {
            return;
        }
    }
}

/// The time of day, for people.
pub(super) fn time() -> String {
    clock::now().strftime("%H:%M:%S%.3f").to_string()
}
