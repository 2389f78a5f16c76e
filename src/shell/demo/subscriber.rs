//! The demo's MQTT subscriber: MQTT 3.1.1, QoS 0, one topic filter.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::BytesMut;
use rumqttd::protocol::v4::V4;
use rumqttd::protocol::{
    Connect, Error as Wire, Filter, Packet, Protocol, QoS, RetainForwardRule, Subscribe,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Lines;
use super::stage::time;
use crate::domain::address::Guard;
use crate::net::dial::Dialer;
use crate::stop::Stop;

/// Largest packet that is taken.
const PACKET_MAX: usize = 1 << 20;

/// How long connecting may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// Subscribes and tells what comes, until `stop` or the end of the connection.
pub(super) async fn run(hub: SocketAddr, filter: &'static str, lines: Lines, stop: Stop) {
    // Dropping the subscriber half-way closes its connection, which is all there is to do.
    let ended = tokio::select! {
        () = stop.wait() => return,
        ended = follow(hub, filter, &lines) => ended,
    };
    if let Err(why) = ended {
        // Nobody prints any more if this fails.
        let _ = lines.send(format!("{}  mqtt       ended: {why}", time())).await;
    }
}

async fn follow(hub: SocketAddr, filter: &str, lines: &Lines) -> Result<(), String> {
    let guard = Arc::new(Guard { loopback: true, ..Guard::default() });
    let dialer = Dialer::new(guard, CONNECT_TIMEOUT);
    let connected = dialer.connect(&hub.ip().to_string(), hub.port()).await;
    let mut stream = connected.map_err(|error| error.to_string())?;
    let mut out = BytesMut::new();
    for packet in greeting(filter) {
        V4.write(packet, &mut out).map_err(|error| error.to_string())?;
    }
    stream.write_all(&out).await.map_err(|error| error.to_string())?;
    let mut input = BytesMut::new();
    loop {
        match V4.read_mut(&mut input, PACKET_MAX) {
            Ok(Packet::Publish(publish, _)) => {
                let topic = String::from_utf8_lossy(&publish.topic);
                let payload = String::from_utf8_lossy(&publish.payload);
                let line = format!("{}  mqtt       {topic}: {payload}", time());
                lines.send(line).await.map_err(|_| "nobody listens".to_owned())?;
            }
            Ok(_) => {}
            Err(Wire::InsufficientBytes(_)) => {
                let read = stream.read_buf(&mut input).await.map_err(|error| error.to_string())?;
                if read == 0 {
                    return Ok(());
                }
            }
            Err(error) => return Err(error.to_string()),
        }
    }
}

fn greeting(filter: &str) -> [Packet; 2] {
    let connect =
        Connect { keep_alive: 0, client_id: "tidings-demo".to_owned(), clean_session: true };
    let filter = Filter {
        path: filter.to_owned(),
        qos: QoS::AtMostOnce,
        nolocal: false,
        preserve_retain: false,
        retain_forward_rule: RetainForwardRule::Never,
    };
    [
        Packet::Connect(connect, None, None, None, None),
        Packet::Subscribe(Subscribe { pkid: 1, filters: vec![filter] }, None),
    ]
}
