//! Frames to packets. PUBLISH, PUBACK and DISCONNECT are read here (the codec hides what we need of
//! the first and misreads the last); the others are checked and then read by the codec. Whatever
//! comes in, the answer is a packet or a reason, never a panic.

use std::panic::{AssertUnwindSafe, catch_unwind};

use bytes::BytesMut;
use rumqttd::protocol::{
    Connect, ConnectProperties, Filter, LastWill, LastWillProperties, Login, Packet as Decoded,
    Protocol, Unsubscribe, v4::V4, v5::V5,
};

use super::check;
use super::fields::{Fields, Value};
use super::reason::Reason;
use super::wire::{Frame, Kind, Version};

const PUBLISH: &[u8] = &[1, 2, 3, 8, 9, 35, 38];
const DISCONNECT: &[u8] = &[17, 31, 38];
const PUBACK: &[u8] = &[31, 38];

/// A packet of a client that is connected.
#[derive(Debug)]
pub(super) enum Packet<'a> {
    Publish(Publish<'a>),
    PubAck(u16),
    Subscribe { id: u16, filters: Vec<Filter> },
    Unsubscribe { id: u16, filters: Vec<String> },
    PingReq,
    Disconnect { with_will: bool },
}

/// A PUBLISH, its parts still where they were received.
#[derive(Debug, Default)]
pub(super) struct Publish<'a> {
    pub(super) qos: u8,
    pub(super) retain: bool,
    /// The packet identifier; 0 with QoS 0.
    pub(super) id: u16,
    pub(super) topic: &'a str,
    pub(super) payload: &'a [u8],
    pub(super) utf8: bool,
    pub(super) content_type: Option<&'a str>,
    pub(super) response_topic: Option<&'a str>,
    pub(super) correlation_data: Option<&'a [u8]>,
    pub(super) user_properties: Vec<(&'a str, &'a str)>,
}

/// A CONNECT as the codec reads it.
#[derive(Debug)]
pub(super) struct Hello {
    pub(super) version: Version,
    pub(super) connect: Connect,
    pub(super) properties: Option<ConnectProperties>,
    pub(super) will: Option<LastWill>,
    pub(super) will_properties: Option<LastWillProperties>,
    pub(super) login: Option<Login>,
}

/// What a CONNECT asks to speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    Known(Version),
    /// MQTT, but older than 3.1.1.
    TooOld,
    /// MQTT, but newer than 5.
    TooNew,
}

/// Reads a packet of a client that is connected.
pub(super) fn packet(frame: &Frame, version: Version) -> Result<Packet<'_>, Reason> {
    match frame.kind {
        Kind::Connect => Err(Reason::PROTOCOL),
        Kind::Publish => publish(frame, version).map(Packet::Publish),
        Kind::PubAck => puback(frame.body(), version).map(Packet::PubAck),
        Kind::Subscribe => {
            check::subscribe(frame.body(), version)?;
            match through_codec(frame, version)? {
                Decoded::Subscribe(packet, _) => {
                    Ok(Packet::Subscribe { id: packet.pkid, filters: packet.filters })
                }
                _ => Err(Reason::MALFORMED),
            }
        }
        Kind::Unsubscribe => {
            check::unsubscribe(frame.body(), version)?;
            match through_codec(frame, version)? {
                Decoded::Unsubscribe(Unsubscribe { pkid: id, filters }, _) => {
                    Ok(Packet::Unsubscribe { id, filters })
                }
                _ => Err(Reason::MALFORMED),
            }
        }
        Kind::PingReq if frame.body().is_empty() => Ok(Packet::PingReq),
        Kind::PingReq => Err(Reason::MALFORMED),
        Kind::Disconnect => disconnect(frame.body(), version),
    }
}

/// Reads which protocol a CONNECT asks for. An error: it is not MQTT at all.
pub(super) fn level(frame: &Frame) -> Result<Level, Reason> {
    if frame.kind != Kind::Connect {
        return Err(Reason::PROTOCOL);
    }
    let mut fields = Fields::new(frame.body());
    let name = fields.text()?;
    match (name, fields.byte()?) {
        ("MQTT", 4) => Ok(Level::Known(Version::V4)),
        ("MQTT", 5) => Ok(Level::Known(Version::V5)),
        ("MQTT", 6..) => Ok(Level::TooNew),
        ("MQTT" | "MQIsdp", _) => Ok(Level::TooOld),
        _ => Err(Reason::PROTOCOL),
    }
}

/// Reads a CONNECT of a known level.
pub(super) fn connect(frame: &Frame, version: Version) -> Result<Hello, Reason> {
    check::connect(frame.body(), version)?;
    match through_codec(frame, version)? {
        Decoded::Connect(connect, properties, will, will_properties, login) => {
            Ok(Hello { version, connect, properties, will, will_properties, login })
        }
        _ => Err(Reason::MALFORMED),
    }
}

/// The codec on one checked packet. The checks leave it nothing to panic about that we know of;
/// should there be something that we do not know of, it costs one connection.
fn through_codec(frame: &Frame, version: Version) -> Result<Decoded, Reason> {
    let mut bytes = BytesMut::from(frame.whole());
    let size = bytes.len();
    let decoded = catch_unwind(AssertUnwindSafe(|| match version {
        Version::V4 => V4.read_mut(&mut bytes, size),
        Version::V5 => V5.read_mut(&mut bytes, size),
    }));
    match decoded {
        Ok(Ok(packet)) => Ok(packet),
        Ok(Err(_)) => Err(Reason::MALFORMED),
        Err(_) => {
            tracing::warn!(kind = ?frame.kind, "the MQTT codec panicked on a packet");
            Err(Reason::MALFORMED)
        }
    }
}

fn publish(frame: &Frame, version: Version) -> Result<Publish<'_>, Reason> {
    let mut fields = Fields::new(frame.body());
    let mut publish = Publish {
        qos: (frame.flags >> 1) & 0b11,
        retain: frame.flags & 1 != 0,
        topic: fields.text()?,
        ..Publish::default()
    };
    if publish.qos > 0 {
        publish.id = fields.packet_id()?;
    }
    if version == Version::V5 {
        let mut properties = fields.properties(PUBLISH)?;
        while let Some((id, value)) = properties.next()? {
            match (id, value) {
                (1, Value::Byte(flag @ (0 | 1))) => publish.utf8 = flag == 1,
                (1, _) => return Err(Reason::PROTOCOL),
                (3, Value::Text(text)) => publish.content_type = Some(text),
                (8, Value::Text(text)) => publish.response_topic = Some(text),
                (9, Value::Binary(bytes)) => publish.correlation_data = Some(bytes),
                (38, Value::Pair(name, value)) => publish.user_properties.push((name, value)),
                // No alias was offered, so each is one too many (section 3.3.2.3.4).
                (35, _) => return Err(Reason::TOPIC_ALIAS),
                _ => {}
            }
        }
        if publish.response_topic.is_some_and(|topic| topic.contains(['+', '#'])) {
            return Err(Reason::PROTOCOL);
        }
    }
    publish.payload = fields.rest();
    Ok(publish)
}

fn puback(body: &[u8], version: Version) -> Result<u16, Reason> {
    let mut fields = Fields::new(body);
    let id = fields.packet_id()?;
    if version == Version::V5 && !fields.is_empty() {
        fields.byte()?;
        skip_properties(&mut fields, PUBACK)?;
    }
    if fields.is_empty() { Ok(id) } else { Err(Reason::MALFORMED) }
}

fn disconnect(body: &[u8], version: Version) -> Result<Packet<'static>, Reason> {
    let mut fields = Fields::new(body);
    let mut with_will = false;
    if version == Version::V5 && !fields.is_empty() {
        // Any code but 0 asks for the will (section 3.1.2.5).
        with_will = fields.byte()? != 0;
        skip_properties(&mut fields, DISCONNECT)?;
    }
    if fields.is_empty() { Ok(Packet::Disconnect { with_will }) } else { Err(Reason::MALFORMED) }
}

/// Acknowledgements may leave their properties out.
fn skip_properties(fields: &mut Fields<'_>, allowed: &'static [u8]) -> Result<(), Reason> {
    if !fields.is_empty() {
        let mut properties = fields.properties(allowed)?;
        while properties.next()?.is_some() {}
    }
    Ok(())
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
