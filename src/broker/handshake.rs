//! CONNECT: who is calling, what was agreed. The answer is a client, or a CONNACK that
//! says why not. Never here: a session's state; what a stranger sends is held to a small size.

use std::time::Duration;

use rumqttd::protocol::{ConnAckProperties, Login, QoS};
use smol_str::ToSmolStr;

use crate::clock;
use crate::config;
use crate::domain::event::{Event, Origin};
use crate::domain::topic::Topic;
use crate::flow::{Caller, Gate};

use super::decode::{self, Hello, Level, Publish};
use super::encode;
use super::io::Io;
use super::publish::{self, Publisher};
use super::reason::Reason;
use super::wire::{Frame, Version};

/// Longest client id.
const CLIENT_ID_BYTES_MAX: usize = 256;

/// Largest CONNECT, so that strangers cannot make the hub hold much.
const CONNECT_BYTES_MAX: usize = 160 * 1024;

/// A client that was let in, and what was agreed with it.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) version: Version,
    pub(super) id: String,
    /// Who it is as a publisher.
    pub(super) publisher: Publisher,
    pub(super) caller: Caller,
    /// How long it may be silent.
    pub(super) silence_max: Option<Duration>,
    /// How many messages it takes without having acknowledged them.
    pub(super) window: u16,
    /// The largest packet it takes.
    pub(super) packet_max: usize,
    /// Whether it wants reasons in words.
    pub(super) words: bool,
    /// What to publish when it leaves without saying so.
    pub(super) will: Option<Box<Event>>,
}

/// Why there is no client.
#[derive(Debug)]
pub(super) enum Refused {
    /// The connection ended, or was not MQTT: there is nobody to tell.
    Gone,
    /// It was told (as far as its version has words for it).
    Told(Reason),
}

/// Waits for a CONNECT, judges it and queues the answer.
pub(super) async fn greet(
    io: &mut Io,
    config: &config::Mqtt,
    gate: &Gate,
) -> Result<Client, Refused> {
    let size_max = config.packet_size_max.bytes().min(CONNECT_BYTES_MAX);
    let frame = first_packet(io, size_max).await?;
    let version = match decode::level(&frame).map_err(|_| Refused::Gone)? {
        Level::Known(version) => version,
        Level::TooOld => return Err(tell(io, Version::V4, Reason::UNSUPPORTED_VERSION)),
        Level::TooNew => return Err(tell(io, Version::V5, Reason::UNSUPPORTED_VERSION)),
    };
    let judged = decode::connect(&frame, version).and_then(|hello| judge(hello, config, gate));
    match judged {
        Ok((client, properties)) => {
            encode::accept(&mut io.output, version, properties);
            Ok(client)
        }
        Err(reason) => Err(tell(io, version, reason)),
    }
}

async fn first_packet(io: &mut Io, size_max: usize) -> Result<Frame, Refused> {
    loop {
        match Frame::take(&mut io.input, size_max) {
            Ok(Some(frame)) => return Ok(frame),
            Ok(None) => {}
            Err(_) => return Err(Refused::Gone),
        }
        io.ready(true).await.map_err(|_| Refused::Gone)?;
        if !io.read().map_err(|_| Refused::Gone)? {
            return Err(Refused::Gone);
        }
    }
}

fn tell(io: &mut Io, version: Version, reason: Reason) -> Refused {
    encode::refuse(&mut io.output, version, reason);
    Refused::Told(reason)
}

fn judge(
    hello: Hello,
    config: &config::Mqtt,
    gate: &Gate,
) -> Result<(Client, ConnAckProperties), Reason> {
    let version = hello.version;
    let caller = caller(hello.login.as_ref(), gate)?;
    let (id, assigned) = client_id(&hello)?;
    let publisher = Publisher::new(caller.owner.as_deref(), &id);
    let will = will(&hello, &caller, &publisher)?.map(Box::new);
    let asked = hello.properties.as_ref();
    let window = asked.and_then(|asked| asked.receive_maximum).unwrap_or(u16::MAX);
    let packet_max = asked.and_then(|asked| asked.max_packet_size);
    let keep_alive = u64::from(hello.connect.keep_alive);
    let client = Client {
        version,
        publisher,
        caller,
        silence_max: (keep_alive > 0).then(|| Duration::from_millis(keep_alive * 1500)),
        window: window.min(config.receive_maximum),
        packet_max: packet_max.and_then(|size| usize::try_from(size).ok()).unwrap_or(usize::MAX),
        words: asked.and_then(|asked| asked.request_problem_info) != Some(0),
        will,
        id,
    };
    let wants_session = asked.and_then(|asked| asked.session_expiry_interval).unwrap_or(0) > 0;
    let properties = ConnAckProperties {
        // Sessions end with their connection for now.
        session_expiry_interval: wants_session.then_some(0),
        receive_max: Some(config.receive_maximum),
        max_qos: Some(1),
        retain_available: Some(0),
        max_packet_size: u32::try_from(config.packet_size_max.0).ok(),
        assigned_client_identifier: assigned.then(|| client.id.clone()),
        subscription_identifiers_available: Some(0),
        shared_subscription_available: Some(0),
        ..ConnAckProperties::default()
    };
    Ok((client, properties))
}

/// The password is the token; the user name may be anything.
fn caller(login: Option<&Login>, gate: &Gate) -> Result<Caller, Reason> {
    match login.map(|login| login.password.as_str()).filter(|password| !password.is_empty()) {
        Some(token) => gate.bearer(token).ok_or(Reason::CREDENTIALS),
        None => gate.anonymous().ok_or(Reason::NOT_AUTHORIZED),
    }
}

/// The client id, and whether we made it.
fn client_id(hello: &Hello) -> Result<(String, bool), Reason> {
    let id = &hello.connect.client_id;
    if id.is_empty() {
        return match hello.version {
            Version::V4 if !hello.connect.clean_session => Err(Reason::CLIENT_ID),
            _ => Ok((clock::sortable_id().to_string(), true)),
        };
    }
    if id.len() > CLIENT_ID_BYTES_MAX || id.chars().any(char::is_control) {
        return Err(Reason::CLIENT_ID);
    }
    Ok((id.clone(), false))
}

/// The event that the will stands for. What could not be published later is refused now.
fn will(hello: &Hello, caller: &Caller, publisher: &Publisher) -> Result<Option<Event>, Reason> {
    let Some(will) = &hello.will else { return Ok(None) };
    if hello.version == Version::V5 {
        if will.qos == QoS::ExactlyOnce {
            return Err(Reason::QOS);
        }
        if will.retain {
            return Err(Reason::RETAIN);
        }
    }
    let name = std::str::from_utf8(&will.topic).map_err(|_| Reason::MALFORMED)?;
    let topic = Topic::parse(name).map_err(|_| Reason::TOPIC_NAME)?;
    if !caller.grants.may_publish(name) {
        return Err(Reason::NOT_AUTHORIZED);
    }
    let properties = hello.will_properties.as_ref();
    let user_properties = properties.map_or(&[][..], |properties| &properties.user_properties);
    let publish = Publish {
        qos: if will.qos == QoS::AtMostOnce { 0 } else { 1 },
        topic: name,
        payload: &will.message,
        utf8: properties.and_then(|properties| properties.payload_format_indicator) == Some(1),
        content_type: properties.and_then(|properties| properties.content_type.as_deref()),
        response_topic: properties.and_then(|properties| properties.response_topic.as_deref()),
        correlation_data: properties.and_then(|properties| properties.correlation_data.as_deref()),
        user_properties: user_properties
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect(),
        ..Publish::default()
    };
    let event = publish::event(&publish, topic, publisher).map_err(|_| Reason::PAYLOAD_FORMAT)?;
    Ok(Some(event))
}

/// The will as it is published: its id, if it is ours, tells when that was.
pub(super) fn fresh(mut will: Event) -> Event {
    if will.origin == Origin::Raw {
        will.id = clock::sortable_id().to_smolstr();
    }
    will
}
