//! The event that every section stores: 600 bytes as a CloudEvent in JSON.

use std::sync::atomic::{AtomicU64, Ordering};

use smol_str::{SmolStr, format_smolstr};
use tidings::domain::cloudevents;
use tidings::domain::event::Event;

/// Bytes of an event as its publisher sends it, and of a payload.
pub(crate) const BYTES: usize = 600;

/// Ids are unique over a whole run: de-duplication is on.
static NEXT: AtomicU64 = AtomicU64::new(0);

/// A new id, always of the same length.
pub(crate) fn id() -> SmolStr {
    format_smolstr!("{:012}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// An event in structured mode.
pub(crate) fn json(id: &str) -> String {
    let head = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"/bench","type":"bench.event","data":""#
    );
    let padding = "x".repeat(BYTES.saturating_sub(head.len() + 2));
    format!("{head}{padding}\"}}")
}

/// The bytes of an MQTT message or of another broker's.
pub(crate) fn payload() -> Vec<u8> {
    vec![b'x'; BYTES]
}

/// Makes events at the cost of a copy of their attributes.
#[derive(Debug, Clone)]
pub(crate) struct Source(Event);

impl Source {
    pub(crate) fn new() -> Self {
        Self(cloudevents::parse(json(&id()).as_bytes()).expect("valid"))
    }

    /// The next one.
    pub(crate) fn next(&self) -> Event {
        Event { id: id(), ..self.0.clone() }
    }
}
