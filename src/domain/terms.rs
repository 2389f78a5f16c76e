//! What a policy's lines say of one event: its key among others, when it may be sent, whether it is
//! in the sample. A line that cannot be rendered says nothing.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};
use smol_str::SmolStr;

use super::Timestamp;
use super::event::Event;
use super::filter::Facts;
use super::policy::{Ordering, SAMPLE_PARTS};
use super::subscription::Subscription;
use super::template::{Context, Line};

/// Longest key, delay or sample key.
const OUTPUT_BYTES_MAX: usize = 1_024;

impl Subscription {
    /// What orders an event among others: with `ordering: key` its subject, or what the policy's
    /// key says. Events without one wait for nobody.
    pub fn order_key(&self, event: &Event) -> Option<SmolStr> {
        let policy = &self.wish.policy;
        match (policy.ordering, &policy.key) {
            (Ordering::None | Ordering::Strict, _) => None,
            (Ordering::Key, None) => event.subject.clone(),
            (Ordering::Key, Some(line)) => self.say(line, event).map(SmolStr::from),
        }
    }

    /// Before when nothing of an event is sent, if its publisher says so: a time as in RFC 3339.
    pub fn delayed_until(&self, event: &Event) -> Option<Timestamp> {
        let line = self.wish.policy.delay_until.as_ref()?;
        self.say(line, event)?.parse().ok()
    }

    /// Whether an event is in the part that the policy takes. The same for the same key, always and
    /// everywhere: the first four bytes of the key's SHA-256, as a share of all there are.
    pub fn samples(&self, event: &Event) -> bool {
        let Some(sample) = &self.wish.policy.sample else { return true };
        let key = match &sample.key {
            None => Some(format!("{}\n{}", event.source, event.id)),
            Some(line) => self.say(line, event),
        };
        let digest = Sha256::digest(key.unwrap_or_default().as_bytes());
        let drawn = u32::from_be_bytes([digest[0], digest[1], digest[2], digest[3]]);
        let part = (u64::from(drawn) * u64::from(SAMPLE_PARTS)) >> 32;
        part < u64::from(sample.parts)
    }

    fn say(&self, line: &Line, event: &Event) -> Option<String> {
        let facts = Facts::new(event);
        let context = Context {
            facts: &facts,
            captures: &self.wish.filter.captures(&facts),
            subscription: self,
            responses: &[],
            keys: &BTreeMap::new(),
            output_bytes_max: OUTPUT_BYTES_MAX,
        };
        line.render(&context).ok()
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::domain::cloudevents;
    use crate::domain::filter::Filter;
    use crate::domain::policy::Sample;
    use crate::domain::samples;

    fn event(id: u32, data: &serde_json::Value) -> Event {
        let text = json!({"specversion": "1.0", "id": id.to_string(), "source": "/s", "type": "t",
            "subject": "a", "data": data});
        cloudevents::parse(text.to_string().as_bytes()).expect("valid")
    }

    fn line(text: &str) -> Option<Line> {
        Some(Line::parse(text).expect(text))
    }

    #[test]
    fn a_key_is_the_subject_or_what_the_policy_says() {
        let mut held = samples::subscription(1, 600);
        let event = event(1, &json!({"page": "en/7"}));
        assert_eq!(held.order_key(&event), None, "no ordering by key");
        std::sync::Arc::make_mut(&mut held.wish.policy).ordering = Ordering::Key;
        assert_eq!(held.order_key(&event).as_deref(), Some("a"));
        held.wish.filter =
            Filter::parse(&json!({"data": {"path": "page", "regex": "^(?<wiki>[a-z]+)/"}}))
                .expect("valid");
        let check = |text: &str, expected: Option<&str>| {
            let mut held = held.clone();
            std::sync::Arc::make_mut(&mut held.wish.policy).key = line(text);
            assert_eq!(held.order_key(&event).as_deref(), expected, "{text}");
        };
        check("{{data.page}}", Some("en/7"));
        check("{{match.wiki}}:{{event.subject}}", Some("en:a"));
        check("{{data.none}}", None);
    }

    #[test]
    fn a_delay_is_a_time_or_none() {
        let mut held = samples::subscription(1, 600);
        std::sync::Arc::make_mut(&mut held.wish.policy).delay_until = line("{{data.at}}");
        let check = |at: serde_json::Value, expected: Option<i64>| {
            let until = held.delayed_until(&event(1, &json!({"at": at})));
            assert_eq!(until.map(Timestamp::as_second), expected, "{at}");
        };
        check(json!("1970-01-01T00:00:09Z"), Some(9));
        check(json!("1970-01-01T01:00:09+01:00"), Some(9));
        check(json!("soon"), None);
        check(json!(9), None);
        check(json!(null), None);
        assert_eq!(held.delayed_until(&event(1, &json!({}))), None);
    }

    #[test]
    fn a_sample_is_a_share_and_always_the_same() {
        let mut held = samples::subscription(1, 600);
        let taken = |held: &Subscription| {
            (0..2_000).filter(|id| held.samples(&event(*id, &json!({"page": id / 100})))).count()
        };
        assert_eq!(taken(&held), 2_000);
        let check = |held: &mut Subscription, parts, key: Option<Line>| {
            std::sync::Arc::make_mut(&mut held.wish.policy).sample = Some(Sample { parts, key });
            assert_eq!(taken(held), taken(held));
            taken(held)
        };
        assert_eq!(check(&mut held, 0, None), 0);
        assert_eq!(check(&mut held, SAMPLE_PARTS, None), 2_000);
        let quarter = check(&mut held, 250_000, None);
        assert!((400..600).contains(&quarter), "{quarter}");
        let pages = check(&mut held, 500_000, line("{{data.page}}"));
        assert_eq!(pages % 100, 0, "all events of a page or none: {pages}");
    }
}
