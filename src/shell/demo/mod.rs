//! `tidings demo`: a hub on loopback, a webhook receiver, an MQTT subscriber and a publisher, so
//! that one command shows events on their way.

mod receiver;
mod stage;
mod subscriber;

pub(super) use stage::run;

/// Where arrivals are told to be printed.
type Lines = tokio::sync::mpsc::Sender<String>;
