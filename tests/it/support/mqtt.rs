//! An MQTT client by hand: every byte that goes out is the test's own, wrong ones included.

use std::net::SocketAddr;

use bytes::{Buf, BytesMut};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::wait::in_time;

/// The protocol's version, as CONNECT says it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Version {
    V4,
    V5,
}

pub(crate) const BOTH: [Version; 2] = [Version::V4, Version::V5];

pub(crate) const CONNACK: u8 = 0x20;
pub(crate) const PUBLISH: u8 = 0x30;
pub(crate) const PUBACK: u8 = 0x40;
pub(crate) const SUBACK: u8 = 0x90;
pub(crate) const PINGRESP: u8 = 0xd0;
pub(crate) const DISCONNECT: u8 = 0xe0;

/// A packet as it came in: first byte and the rest after the length.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Packet {
    pub(crate) first: u8,
    pub(crate) body: Vec<u8>,
}

impl Packet {
    /// The packet's type without its flags.
    pub(crate) fn kind(&self) -> u8 {
        self.first & 0xf0
    }

    /// Topic and payload of a PUBLISH, and its packet id at QoS above 0.
    pub(crate) fn publish(&self, version: Version) -> (String, Vec<u8>, Option<u16>) {
        assert_eq!(self.kind(), PUBLISH, "{self:?}");
        let mut rest = self.body.as_slice();
        let length = usize::from(rest.get_u16());
        let topic = String::from_utf8(rest[..length].to_vec()).expect("UTF-8");
        rest.advance(length);
        let id = (self.first & 0b110 != 0).then(|| rest.get_u16());
        if version == Version::V5 {
            let properties = read_length(&mut rest);
            rest.advance(properties);
        }
        (topic, rest.to_vec(), id)
    }
}

/// A connection.
pub(crate) struct Client {
    pub(crate) version: Version,
    socket: TcpStream,
    buffer: BytesMut,
}

impl Client {
    /// A TCP connection on which nothing was said yet.
    pub(crate) async fn open(address: SocketAddr, version: Version) -> Self {
        let socket = in_time("connecting", TcpStream::connect(address)).await.expect("a socket");
        Self { version, socket, buffer: BytesMut::new() }
    }

    /// Logs in without credentials and expects success.
    pub(crate) async fn login(address: SocketAddr, version: Version, id: &str) -> Self {
        let mut client = Self::open(address, version).await;
        client.send(&connect(version, id, None)).await;
        let answer = client.packet().await.expect("a CONNACK");
        assert_eq!((answer.kind(), answer.body[1]), (CONNACK, 0), "{answer:?}");
        client
    }

    /// Sends bytes. A hub that closed the connection in the meantime is no fault of the test's.
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        let _closed = in_time("sending", self.socket.write_all(bytes)).await;
    }

    /// The next packet; `None` when the hub closed the connection.
    pub(crate) async fn packet(&mut self) -> Option<Packet> {
        in_time("a packet", self.read_packet()).await
    }

    /// Subscribes and answers the SUBACK's code.
    pub(crate) async fn subscribe(&mut self, filter: &str, qos: u8) -> u8 {
        self.send(&subscribe(self.version, filter, qos)).await;
        let answer = self.packet().await.expect("a SUBACK");
        assert_eq!(answer.kind(), SUBACK, "{answer:?}");
        *answer.body.last().expect("a code")
    }

    /// Publishes at QoS 1 and waits for the PUBACK.
    pub(crate) async fn publish(&mut self, topic: &str, payload: &[u8]) -> Packet {
        self.send(&publish(self.version, topic, Some(7), payload)).await;
        let answer = self.packet().await.expect("a PUBACK");
        assert_eq!((answer.kind(), &answer.body[..2]), (PUBACK, &[0, 7][..]), "{answer:?}");
        answer
    }

    /// The next PUBLISH, acknowledged if it asks for it.
    pub(crate) async fn message(&mut self) -> (String, Vec<u8>) {
        loop {
            let packet = self.packet().await.expect("the connection stays open");
            if packet.kind() == PUBLISH {
                let (topic, payload, id) = packet.publish(self.version);
                if let Some(id) = id {
                    let [high, low] = id.to_be_bytes();
                    self.send(&[PUBACK, 2, high, low]).await;
                }
                return (topic, payload);
            }
        }
    }

    /// Reads until the hub closes the connection, and answers what came before.
    pub(crate) async fn until_closed(&mut self) -> Vec<Packet> {
        let mut packets = Vec::new();
        while let Some(packet) = self.packet().await {
            packets.push(packet);
        }
        packets
    }

    async fn read_packet(&mut self) -> Option<Packet> {
        loop {
            if let Some(packet) = take_packet(&mut self.buffer) {
                return Some(packet);
            }
            match self.socket.read_buf(&mut self.buffer).await {
                Ok(0) | Err(_) => return None,
                Ok(_) => {}
            }
        }
    }
}

/// Takes one whole packet off the front of a buffer.
pub(crate) fn take_packet(buffer: &mut BytesMut) -> Option<Packet> {
    let mut rest = buffer.get(1..)?;
    let digits = rest.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
    let length = read_length(&mut rest);
    if rest.len() < length {
        return None;
    }
    let packet = buffer.split_to(1 + digits + length);
    Some(Packet { first: packet[0], body: packet[1 + digits..].to_vec() })
}

fn read_length(rest: &mut &[u8]) -> usize {
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = rest.get_u8();
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return length;
        }
    }
}

/// A packet with the right length in front.
pub(crate) fn frame(first: u8, body: &[u8]) -> Vec<u8> {
    let mut packet = vec![first];
    let mut length = body.len();
    loop {
        let digit = u8::try_from(length % 128).expect("below 128");
        length /= 128;
        packet.push(if length > 0 { digit | 0x80 } else { digit });
        if length == 0 {
            break;
        }
    }
    packet.extend_from_slice(body);
    packet
}

/// A text with its length in front.
pub(crate) fn text(text: &str) -> Vec<u8> {
    let length = u16::try_from(text.len()).expect("a short text");
    [&length.to_be_bytes()[..], text.as_bytes()].concat()
}

/// CONNECT with a clean session and keep-alive 0; user and password if given.
pub(crate) fn connect(version: Version, id: &str, login: Option<(&str, &str)>) -> Vec<u8> {
    let level = if version == Version::V5 { 5 } else { 4 };
    let flags = if login.is_some() { 0b1100_0010 } else { 0b10 };
    let mut body = [&text("MQTT")[..], &[level, flags, 0, 0]].concat();
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(text(id));
    if let Some((user, password)) = login {
        body.extend(text(user));
        body.extend(text(password));
    }
    frame(0x10, &body)
}

/// SUBSCRIBE to one filter.
pub(crate) fn subscribe(version: Version, filter: &str, qos: u8) -> Vec<u8> {
    let mut body = vec![0, 1];
    if version == Version::V5 {
        body.push(0);
    }
    body.extend(text(filter));
    body.push(qos);
    frame(0x82, &body)
}

/// PUBLISH at QoS 1 with a packet id, else at QoS 0.
pub(crate) fn publish(version: Version, topic: &str, id: Option<u16>, payload: &[u8]) -> Vec<u8> {
    publish_with(version, topic, id, &[], payload)
}

/// As `publish`, with properties (version 5) as they are on the wire, without their length.
pub(crate) fn publish_with(
    version: Version,
    topic: &str,
    id: Option<u16>,
    properties: &[u8],
    payload: &[u8],
) -> Vec<u8> {
    let mut body = text(topic);
    body.extend(id.into_iter().flat_map(u16::to_be_bytes));
    if version == Version::V5 {
        body.extend_from_slice(&frame(0, properties)[1..]);
    }
    body.extend_from_slice(payload);
    frame(if id.is_some() { 0x32 } else { 0x30 }, &body)
}

/// A user property as it is on the wire.
pub(crate) fn user_property(name: &str, value: &str) -> Vec<u8> {
    [&[0x26][..], &text(name), &text(value)].concat()
}
