//! How clients publish to Tidings: HTTP with a batch of 1 over kept connections, MQTT at QoS 1.

use anyhow::Context;

use crate::event;
use crate::load::Dialogue;
use crate::support::mqtt::{self, CONNACK, PUBACK, Version};

/// A packet of an acknowledgement that carries no properties.
const PUBACK_BYTES: usize = 4;
const CONNACK_BYTES: usize = 4;

/// One event in structured mode a request.
pub(crate) struct Http;

impl Dialogue for Http {
    fn request(&self, _client: u32, out: &mut Vec<u8>) {
        let body = event::json(&event::id());
        let head = format!(
            "POST /v1/events HTTP/1.1\r\nhost: localhost\r\n\
             content-type: application/cloudevents+json\r\ncontent-length: {}\r\n\r\n",
            body.len()
        );
        out.extend_from_slice(head.as_bytes());
        out.extend_from_slice(body.as_bytes());
    }

    fn answered(&self, bytes: &[u8]) -> anyhow::Result<Option<usize>> {
        let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
            return Ok(None);
        };
        let head = std::str::from_utf8(&bytes[..end])?;
        anyhow::ensure!(head.starts_with("HTTP/1.1 201"), "{head}");
        let length = head.lines().find_map(|line| {
            let (name, value) = line.split_once(':')?;
            name.eq_ignore_ascii_case("content-length").then(|| value.trim())
        });
        let whole = end + 4 + length.context("no content-length")?.parse::<usize>()?;
        Ok((bytes.len() >= whole).then_some(whole))
    }
}

/// One message at a time, QoS 1, version 3.1.1.
pub(crate) struct Mqtt;

impl Dialogue for Mqtt {
    fn hello(&self, client: u32) -> Vec<u8> {
        mqtt::connect(Version::V4, &format!("bench-{client}"), None)
    }

    fn welcomed(&self, bytes: &[u8]) -> anyhow::Result<Option<usize>> {
        packet(bytes, CONNACK, CONNACK_BYTES, 3)
    }

    fn request(&self, client: u32, out: &mut Vec<u8>) {
        let topic = format!("bench/event/{client}");
        out.extend(mqtt::publish(Version::V4, &topic, Some(1), &event::payload()));
    }

    fn answered(&self, bytes: &[u8]) -> anyhow::Result<Option<usize>> {
        packet(bytes, PUBACK, PUBACK_BYTES, 2)
    }
}

/// A short packet of one kind, in which the byte at `zero` must be 0.
fn packet(bytes: &[u8], kind: u8, length: usize, zero: usize) -> anyhow::Result<Option<usize>> {
    let Some(packet) = bytes.get(..length) else { return Ok(None) };
    anyhow::ensure!(packet[0] == kind && packet[zero] == 0, "{packet:?}");
    Ok(Some(length))
}
