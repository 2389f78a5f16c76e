//! The event that a subscription is tested with. It is never stored.

use serde_json::{Value, json};
use smol_str::SmolStr;

use super::Timestamp;
use super::decide::hub_event;
use super::event::Event;
use super::subscription::Subscription;

/// Its type.
pub const KIND: &str = "tidings.test";

/// A test event for a subscription, with data that was asked for or some of its own.
pub fn event(id: &str, subscription: &Subscription, data: Option<&Value>, now: Timestamp) -> Event {
    let own = json!({ "id": subscription.id, "name": subscription.wish.name });
    hub_event(SmolStr::new(id), KIND, &subscription.id, data.unwrap_or(&own), now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::samples::{at, subscription};

    #[test]
    fn a_test_event_says_what_it_is_for() {
        let held = subscription(1, 600);
        let plain = event("t1", &held, None, at(0));
        assert_eq!((plain.kind.as_str(), plain.topic.as_str()), (KIND, "tidings/test"));
        assert_eq!(plain.subject.as_deref(), Some("s1"));
        let data = plain.data.expect("data").bytes;
        assert_eq!(data.as_ref(), br#"{"id":"s1","name":null}"#);
        let asked = event("t1", &held, Some(&json!([1])), at(0));
        assert_eq!(asked.data.expect("data").bytes.as_ref(), b"[1]");
    }
}
