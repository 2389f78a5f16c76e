//! The load: publishers by HTTP and MQTT and somebody who changes subscriptions, until the hub is
//! dead. What the hub acknowledged is written down, and what it may have taken.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;

use http::Method;
use http_body_util::BodyExt;
use rumqttc::{AsyncClient, Event, MqttOptions, Outgoing, Packet, QoS};
use serde_json::{Value, json};
use tokio::task::JoinSet;

use crate::oracle::Ledger;
use crate::support::Api;
use crate::support::http::STRUCTURED;

const HTTP_PUBLISHERS: usize = 4;
const MQTT_PUBLISHERS: usize = 2;
const SUBSCRIBERS: usize = 2;
/// Most events of one publisher in one round, so that the whole test stays short.
const EVENTS_MAX: usize = 400;
/// Most publishes that an MQTT publisher has out.
const IN_FLIGHT: u16 = 50;

/// What is to be said in one round.
pub(crate) struct Plan {
    /// In the names of all that is new.
    pub(crate) round: u64,
    /// Events that are said again first, as publishers do who do not know whether they were heard.
    pub(crate) again: BTreeSet<String>,
    /// Bytes that every event by HTTP has beside its key.
    pub(crate) padding: usize,
}

/// Runs until the hub is dead or everything is said.
pub(crate) async fn run(http: SocketAddr, mqtt: SocketAddr, plan: Plan) -> Ledger {
    let Plan { round, again, padding } = plan;
    let mut tasks = JoinSet::new();
    let mut again = Vec::from_iter(again);
    for n in 0..HTTP_PUBLISHERS {
        let name = format!("r{round}-h{n}");
        let mut keys = std::mem::take(&mut again);
        keys.extend((0..EVENTS_MAX).map(|n| key(&name, n)));
        tasks.spawn(publish_by_http(Api::new(http), keys, padding));
    }
    for n in 0..MQTT_PUBLISHERS {
        tasks.spawn(publish_by_mqtt(mqtt, format!("r{round}-m{n}")));
    }
    for n in 0..SUBSCRIBERS {
        tasks.spawn(change_subscriptions(Api::new(http), format!("r{round}-s{n}")));
    }
    let mut all = Ledger::default();
    while let Some(ledger) = tasks.join_next().await {
        all.add(ledger.expect("no panic in the load"));
    }
    all
}

fn key(name: &str, n: usize) -> String {
    format!("{name}-{n}")
}

async fn publish_by_http(api: Api, keys: Vec<String>, padding: usize) -> Ledger {
    let mut ledger = Ledger::default();
    let mut last = None;
    for key in keys {
        let event = json!({
            "specversion": "1.0", "id": key, "source": "/crash", "type": "crash.http", "data": key,
            "padding": "x".repeat(padding),
        });
        match request(&api, Method::POST, "/v1/events", &event, STRUCTURED).await {
            Some((201, answer)) => {
                last = answer["results"][0]["offset"].as_u64().map(|offset| (offset, key.clone()));
                ledger.events.insert(key);
            }
            Some((status, body)) => panic!("{status}: {body:?}"),
            None => {
                ledger.in_doubt.insert(key);
                break;
            }
        }
    }
    ledger.offsets.extend(last);
    ledger
}

async fn publish_by_mqtt(hub: SocketAddr, name: String) -> Ledger {
    let mut options = MqttOptions::new(&name, hub.ip().to_string(), hub.port());
    options.set_inflight(IN_FLIGHT);
    let (client, mut connection) = AsyncClient::new(options, 10);
    let publish = async {
        for n in 0..EVENTS_MAX {
            // It fails only once the reading half below is gone.
            let payload = key(&name, n);
            let _ended = client.publish("crash/mqtt", QoS::AtLeastOnce, false, payload).await;
        }
        std::future::pending().await
    };
    let read = async {
        // Publishes leave in the order in which they were made.
        let (mut sent, mut next) = (HashMap::new(), 0);
        let mut ledger = Ledger::default();
        while ledger.events.len() < EVENTS_MAX {
            match connection.poll().await {
                Ok(Event::Outgoing(Outgoing::Publish(id))) => {
                    sent.insert(id, next);
                    next += 1;
                }
                Ok(Event::Incoming(Packet::PubAck(ack))) => {
                    let n = sent.remove(&ack.pkid).expect("an acknowledgement of a publish");
                    ledger.events.insert(key(&name, n));
                }
                Ok(_) => {}
                Err(_) => break,
            }
        }
        ledger
    };
    // Dropping the publisher half-way is safe: what it still had to say was not said.
    tokio::select! {
        ledger = read => ledger,
        never = publish => never,
    }
}

/// Creates, renews and pauses. What a change that is under way when the hub dies led to is unknown.
async fn change_subscriptions(api: Api, name: String) -> Ledger {
    let mut ledger = Ledger::default();
    for n in 0..EVENTS_MAX {
        let id = key(&name, n);
        let path = format!("/v1/subscriptions/{id}");
        let wish = json!({
            "filter": {"topic": format!("nothing/{id}")},
            "sink": {"http": {"url": "http://10.0.0.1/"}},
            "lease_seconds": 3600,
        });
        let mut steps = vec![(Method::PUT, path.clone(), wish)];
        steps.push((Method::POST, format!("{path}/renew"), json!({"lease_seconds": 7200})));
        if n % 2 == 0 {
            steps.push((Method::POST, format!("{path}/pause"), json!({})));
        }
        for (method, path, body) in steps {
            ledger.subscriptions.entry(id.clone()).and_modify(|known| *known = None);
            match request(&api, method, &path, &body, "application/json").await {
                Some((200 | 201, subscription)) => {
                    ledger.subscriptions.insert(id.clone(), Some(subscription));
                }
                Some((status, body)) => panic!("{status}: {body:?}"),
                None => return ledger,
            }
        }
    }
    ledger
}

/// One request; `None` when the hub is dead.
async fn request(
    api: &Api,
    method: Method,
    path: &str,
    body: &Value,
    media_type: &str,
) -> Option<(u16, Value)> {
    let headers = [("content-type", media_type)];
    let answer = api.try_open(method, path, &headers, body.to_string().into()).await.ok()?;
    let status = answer.status().as_u16();
    let body = answer.into_body().collect().await.ok()?.to_bytes();
    Some((status, serde_json::from_slice(&body).unwrap_or_default()))
}
