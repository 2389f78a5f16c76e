//! Derived events: each tells what caused it and how many came before it, so that no chain of
//! templates goes round for ever.

use super::render::Emitted;
use crate::domain::attribute::Value;
use crate::domain::draft::Draft;
use crate::domain::event::{Data, Event, Origin};
use crate::domain::topic::Topic;
use crate::domain::{Invalid, Offset, Timestamp};

/// The extension attribute with the id of the event that caused this one.
const CAUSATION: &str = "causation";

/// The extension attribute with that event's place in the log, by which a chain can be followed.
const CAUSATION_OFFSET: &str = "causationoffset";

/// The extension attribute with the number of events that led to this one.
const HOPS: &str = "hops";

/// What a derived event has where its template does not say.
#[derive(Debug, Clone, Copy)]
pub struct Defaults<'a> {
    /// `id`
    pub id: &'a str,
    /// `source`
    pub source: &'a str,
    /// `time`, which no template says.
    pub time: Timestamp,
    /// Where the parent stands in the log.
    pub offset: Offset,
}

/// Why no event was derived. Trying again changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The chain is too long.
    #[error("the event would be number {hops} of its chain; at most {hops_max} are allowed")]
    TooManyHops {
        /// The hops that it would have.
        hops: u32,
        /// The most allowed.
        hops_max: u32,
    },
    /// What was rendered makes no event.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

/// What caused an event, as the event itself says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cause {
    /// The id of its parent.
    pub id: String,
    /// Where the parent stands in the log.
    pub offset: Offset,
}

impl Cause {
    /// Of an event; `None` for one that does not say. Anyone can claim a cause: whether the event
    /// at that offset has that id is to be looked at.
    pub fn of(event: &Event) -> Option<Self> {
        let text = |name| event.extension(name).map(|value: &Value| value.canonical().into_owned());
        Some(Self { id: text(CAUSATION)?, offset: text(CAUSATION_OFFSET)?.parse().ok()? })
    }
}

/// Makes the event that a template emits because of another, its parent.
pub fn derive(
    emitted: &Emitted,
    parent: &Event,
    defaults: Defaults<'_>,
    hops_max: u32,
) -> Result<Event, Refused> {
    let hops = hops_of(parent).saturating_add(1);
    // The attribute has 31 bits: longer chains end there, whatever is allowed.
    let number = i32::try_from(hops).ok().filter(|_| hops <= hops_max);
    let number = number.ok_or(Refused::TooManyHops { hops, hops_max })?;
    let (time, offset) = (defaults.time.to_string(), defaults.offset.to_string());
    let texts = [
        ("specversion", Some(crate::domain::event::SPEC_VERSION)),
        ("id", Some(emitted.id.as_deref().unwrap_or(defaults.id))),
        ("source", Some(emitted.source.as_deref().unwrap_or(defaults.source))),
        ("type", Some(emitted.kind.as_str())),
        ("subject", emitted.subject.as_deref()),
        ("time", Some(time.as_str())),
        ("datacontenttype", emitted.data.as_ref().map(|_| "application/json")),
        (CAUSATION, Some(parent.id.as_str())),
        (CAUSATION_OFFSET, Some(offset.as_str())),
    ];
    let mut draft = Draft::default();
    for (name, text) in texts {
        if let Some(text) = text {
            draft.set(name, Value::String(text.into()))?;
        }
    }
    draft.set(HOPS, Value::Integer(number))?;
    let topic = emitted.topic.as_deref().map(Topic::parse).transpose();
    let topic = topic.map_err(|error| error.under("/topic"))?;
    let judge = |bytes: &bytes::Bytes| Data::judge(bytes.clone(), Some("application/json"));
    let data = emitted.data.as_ref().map(judge);
    Ok(draft.finish(data, topic, Origin::CloudEvent)?)
}

/// How many events led to this one. HTTP headers carry numbers as text. Below zero is zero.
fn hops_of(event: &Event) -> u32 {
    let hops = event.extension(HOPS).map(Value::canonical);
    let hops = hops.and_then(|hops| hops.parse::<i32>().ok()).unwrap_or(0);
    u32::try_from(hops).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::samples::at;

    fn emitted(topic: Option<&str>) -> Emitted {
        Emitted {
            kind: "page.purged".to_owned(),
            source: None,
            subject: Some("/wiki/A".to_owned()),
            topic: topic.map(str::to_owned),
            id: None,
            data: Some(bytes::Bytes::from_static(b"{\"a\":1}")),
        }
    }

    fn parent(hops: Option<Value>) -> Event {
        let mut draft = Draft::default();
        for (name, text) in [("specversion", "1.0"), ("id", "p1"), ("source", "/p"), ("type", "a")]
        {
            draft.set(name, Value::String(text.into())).expect(name);
        }
        if let Some(hops) = hops {
            draft.set(HOPS, hops).expect("valid");
        }
        draft.finish(None, None, Origin::CloudEvent).expect("valid")
    }

    const OWN: Defaults<'_> =
        Defaults { id: "made", source: "/hub", time: Timestamp::UNIX_EPOCH, offset: 7 };

    #[test]
    fn a_derived_event_tells_its_cause() {
        let event = derive(&emitted(None), &parent(None), OWN, 4).expect("derived");
        assert_eq!(event.extension(CAUSATION), Some(&Value::String("p1".into())));
        assert_eq!(event.extension(HOPS), Some(&Value::Integer(1)));
        assert_eq!(event.extension(CAUSATION_OFFSET), Some(&Value::String("7".into())));
        assert_eq!(Cause::of(&event), Some(Cause { id: "p1".to_owned(), offset: 7 }));
        assert_eq!(Cause::of(&parent(None)), None);
        assert_eq!((event.id.as_str(), event.source.as_str()), ("made", "/hub"));
        assert_eq!(event.topic.as_str(), "page/purged");
        assert_eq!(event.time.as_deref(), Some(at(0).to_string().as_str()));
        let routed = derive(&emitted(Some("wiki/a")), &parent(None), OWN, 4).expect("derived");
        assert_eq!(routed.topic.as_str(), "wiki/a");
    }

    #[test]
    fn a_chain_ends_at_its_longest() {
        let check = |held: Option<Value>, expected: Result<i32, u32>| {
            let derived = derive(&emitted(None), &parent(held.clone()), OWN, 4);
            match (derived, expected) {
                (Ok(event), Ok(hops)) => {
                    assert_eq!(event.extension(HOPS), Some(&Value::Integer(hops)), "{held:?}");
                }
                (Err(refused), Err(hops)) => {
                    assert_eq!(refused, Refused::TooManyHops { hops, hops_max: 4 }, "{held:?}");
                }
                (derived, _) => panic!("{held:?}: {derived:?}"),
            }
        };
        check(Some(Value::Integer(3)), Ok(4));
        check(Some(Value::Integer(4)), Err(5));
        check(Some(Value::String("4".into())), Err(5));
        check(Some(Value::Integer(i32::MAX)), Err(1 << 31));
        check(Some(Value::Integer(-9)), Ok(1));
        check(Some(Value::String("many".into())), Ok(1));
    }

    #[test]
    fn what_makes_no_event_is_refused_at_its_attribute() {
        let bad = derive(&emitted(Some("a/+")), &parent(None), OWN, 4).expect_err("wildcard");
        assert!(matches!(bad, Refused::Invalid(invalid) if invalid.pointer == "/topic"));
    }
}
