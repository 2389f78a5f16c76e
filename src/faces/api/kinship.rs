//! Which events derive from which: the chain that led to one, and what came of it. Follows the
//! attributes of derived events; shows only what the caller may receive.

use std::collections::HashSet;

use serde_json::{Value, json};

use crate::domain::Offset;
use crate::domain::record::Entry;
use crate::domain::template::Cause;
use crate::faces::problem::Problem;
use crate::faces::router::Hub;
use crate::flow::{Caller, Subject};

/// Longest chain that is followed upwards.
const CHAIN_MAX: usize = 32;

/// Most derived events that are shown.
const DERIVED_MAX: usize = 100;

/// Most records behind an event that are looked at for what derives from it, and their bytes.
const SCAN_MAX: usize = 10_000;
const SCAN_BYTES_MAX: usize = 32 << 20;

/// Records read at a time.
const CHUNK: usize = 256;

/// What derives from an event, directly or not.
pub(super) struct Derived {
    pub(super) events: Vec<Value>,
    /// The first offset that was not looked at.
    pub(super) to: Offset,
    /// It was looked at up to the end of the log.
    pub(super) is_whole: bool,
}

/// The event at an offset, if it is there and the caller may receive it.
pub(super) async fn event_at(
    hub: &Hub,
    caller: &Caller,
    offset: Offset,
) -> Result<Option<Entry>, Problem> {
    if offset < hub.reader.oldest_offset() || offset >= hub.reader.next_offset() {
        return Ok(None);
    }
    let entry = hub.reader.read(offset, 1).await?.into_iter().next();
    Ok(entry.filter(|entry| {
        let may_receive = |topic: &str| caller.grants.may_receive(topic);
        entry.offset == offset
            && entry.event().is_some_and(|event| may_receive(event.topic.as_str()))
    }))
}

/// The events that led to one: its cause first. Ends at one that is gone, that the caller may not
/// receive, or that is not what was claimed.
pub(super) async fn causes(
    hub: &Hub,
    caller: &Caller,
    subject: &Subject,
) -> Result<Vec<Value>, Problem> {
    let (mut chain, mut cause) = (Vec::new(), Cause::of(&subject.event));
    while let Some(Cause { id, offset }) = cause
        && chain.len() < CHAIN_MAX
    {
        let entry = event_at(hub, caller, offset).await?;
        let entry = entry.filter(|entry| entry.event().is_some_and(|event| event.id == id));
        let Some(parent) = entry.as_ref().and_then(Subject::of) else {
            chain.push(json!({ "offset": offset, "id": id, "found": false }));
            break;
        };
        cause = Cause::of(&parent.event);
        chain.push(summary(&parent));
    }
    Ok(chain)
}

/// Looks for what derives from an event among the records behind it.
pub(super) async fn derived(
    hub: &Hub,
    caller: &Caller,
    subject: &Subject,
) -> Result<Derived, Problem> {
    let offset = subject.offset.unwrap_or(Offset::MAX);
    let mut family = HashSet::from([(offset, subject.event.id.clone())]);
    let mut found = Derived { events: Vec::new(), to: offset.saturating_add(1), is_whole: false };
    let (mut looked_at, mut bytes) = (0, 0);
    while looked_at < SCAN_MAX && bytes < SCAN_BYTES_MAX && found.events.len() < DERIVED_MAX {
        let stretch = hub.reader.read_on(found.to, CHUNK).await?;
        if stretch.to == found.to {
            found.is_whole = true;
            break;
        }
        looked_at += stretch.entries.len().max(1);
        bytes += stretch.entries.iter().map(Entry::weight).sum::<usize>();
        for child in stretch.entries.iter().filter_map(Subject::of) {
            let Some(Cause { id, offset }) = Cause::of(&child.event) else { continue };
            if family.contains(&(offset, id.into())) {
                family.extend(child.offset.map(|offset| (offset, child.event.id.clone())));
                if caller.grants.may_receive(child.event.topic.as_str()) {
                    let mut value = summary(&child);
                    value["cause"] = json!(offset);
                    found.events.push(value);
                }
            }
        }
        found.to = stretch.to;
    }
    Ok(found)
}

/// What names an event.
pub(super) fn summary(subject: &Subject) -> Value {
    let event = &subject.event;
    json!({
        "offset": subject.offset,
        "id": event.id,
        "source": event.source,
        "type": event.kind,
        "topic": event.topic.as_str(),
        "stored_at": subject.at.to_string(),
    })
}
