//! The filters of one connection: SUBSCRIBE and UNSUBSCRIBE, and which events they match when the
//! connection reads the log itself. Taken out of the router when dropped.

use std::collections::HashMap;
use std::sync::Arc;

use rumqttd::protocol::{Filter, QoS, SubscribeReasonCode, UnsubAckReason};

use crate::domain::Offset;
use crate::domain::event::Event;
use crate::domain::grant::Grants;
use crate::domain::topic::TopicFilter;

use super::mailbox::Mailbox;
use super::router::{Router, Terms};
use super::wire::Version;

/// Filters with what was agreed for each.
#[derive(Debug)]
pub(super) struct Subscriptions {
    router: Arc<Router>,
    mailbox: Arc<Mailbox>,
    filters_max: usize,
    held: HashMap<TopicFilter, Terms>,
}

impl Subscriptions {
    pub(super) fn new(router: Arc<Router>, mailbox: Arc<Mailbox>, filters_max: usize) -> Self {
        Self { router, mailbox, filters_max, held: HashMap::new() }
    }

    /// Subscribes to what is allowed; one answer a filter.
    pub(super) fn subscribe(
        &mut self,
        filters: &[Filter],
        grants: &Grants,
        version: Version,
    ) -> Vec<SubscribeReasonCode> {
        let answers = filters.iter().map(|wanted| match self.add(wanted, grants) {
            Ok(qos) => SubscribeReasonCode::Success(qos),
            Err(_) if version == Version::V4 => SubscribeReasonCode::Failure,
            Err(reason) => reason,
        });
        answers.collect()
    }

    /// Ends subscriptions; one answer a filter.
    pub(super) fn unsubscribe(&mut self, filters: &[String]) -> Vec<UnsubAckReason> {
        let answers = filters.iter().map(|text| {
            let Ok(filter) = TopicFilter::parse(text) else {
                return UnsubAckReason::TopicFilterInvalid;
            };
            match self.held.remove(&filter) {
                Some(terms) => {
                    self.router.unsubscribe([(&filter, terms)], &self.mailbox);
                    UnsubAckReason::Success
                }
                None => UnsubAckReason::NoSubscriptionExisted,
            }
        });
        answers.collect()
    }

    /// The highest QoS granted by the filters that match an event; `None` if none does.
    pub(super) fn granted(&self, offset: Offset, event: &Event) -> Option<u8> {
        let topic = event.topic.as_str();
        let matching = self.held.iter().filter(|(filter, terms)| {
            filter.matches(topic) && terms.admit(offset, event, &self.mailbox.identity)
        });
        matching.map(|(_, terms)| terms.qos).max()
    }

    fn add(&mut self, wanted: &Filter, grants: &Grants) -> Result<QoS, SubscribeReasonCode> {
        if wanted.path.starts_with("$share/") {
            return Err(SubscribeReasonCode::SharedSubscriptionsNotSupported);
        }
        let filter = TopicFilter::parse(&wanted.path)
            .map_err(|_| SubscribeReasonCode::TopicFilterInvalid)?;
        if !grants.may_subscribe(&filter) {
            return Err(SubscribeReasonCode::NotAuthorized);
        }
        let held = self.held.get(&filter).copied();
        if held.is_none() && self.held.len() >= self.filters_max {
            return Err(SubscribeReasonCode::QuotaExceeded);
        }
        let (qos, granted) = match wanted.qos {
            QoS::AtMostOnce => (0, QoS::AtMostOnce),
            QoS::AtLeastOnce | QoS::ExactlyOnce => (1, QoS::AtLeastOnce),
        };
        let terms = Terms { qos, no_local: wanted.nolocal, since: 0 };
        let terms = self.router.subscribe(&filter, &self.mailbox, terms, held);
        self.held.insert(filter, terms);
        Ok(granted)
    }
}

impl Drop for Subscriptions {
    fn drop(&mut self) {
        if !self.held.is_empty() {
            let held = self.held.iter().map(|(filter, terms)| (filter, *terms));
            self.router.unsubscribe(held, &self.mailbox);
        }
    }
}
