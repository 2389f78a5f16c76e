//! Grants: what the bearer of a token may do. One policy for HTTP, MQTT and event streams.

use std::fmt;

use super::Invalid;
use super::topic::TopicFilter;

/// Most grants of one token.
pub const GRANTS_MAX: usize = 64;

/// One permission.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Grant {
    /// Publish to topics in the filter.
    Publish(TopicFilter),
    /// Receive events on topics in the filter.
    Subscribe(TopicFilter),
    /// Manage one's own subscriptions.
    Manage,
    /// Everything.
    Admin,
}

impl Grant {
    /// Reads `publish:FILTER`, `subscribe:FILTER`, `manage` or `admin`.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        match text.split_once(':') {
            None if text == "manage" => Ok(Self::Manage),
            None if text == "admin" => Ok(Self::Admin),
            Some(("publish", filter)) => TopicFilter::parse(filter).map(Self::Publish),
            Some(("subscribe", filter)) => TopicFilter::parse(filter).map(Self::Subscribe),
            _ => {
                let detail = format!(
                    "{text:?} is no grant; write publish:FILTER, subscribe:FILTER, manage or admin"
                );
                Err(Invalid::new("", detail))
            }
        }
    }
}

impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Publish(filter) => write!(f, "publish:{filter}"),
            Self::Subscribe(filter) => write!(f, "subscribe:{filter}"),
            Self::Manage => f.write_str("manage"),
            Self::Admin => f.write_str("admin"),
        }
    }
}

/// All that one caller may do.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Grants(pub Vec<Grant>);

impl Grants {
    /// Everything: what `--dev` gives to everyone on loopback.
    pub fn all() -> Self {
        Self(vec![Grant::Admin])
    }

    /// Whether everything is allowed.
    pub fn is_admin(&self) -> bool {
        self.0.contains(&Grant::Admin)
    }

    /// Whether own subscriptions may be managed.
    pub fn may_manage(&self) -> bool {
        self.0.iter().any(|grant| matches!(grant, Grant::Manage | Grant::Admin))
    }

    /// Whether a topic may be published to.
    pub fn may_publish(&self, topic: &str) -> bool {
        self.0.iter().any(|grant| match grant {
            Grant::Publish(filter) => filter.matches(topic),
            Grant::Admin => true,
            Grant::Subscribe(_) | Grant::Manage => false,
        })
    }

    /// Whether events on a topic may be received.
    pub fn may_receive(&self, topic: &str) -> bool {
        self.0.iter().any(|grant| match grant {
            Grant::Subscribe(filter) => filter.matches(topic),
            Grant::Admin => true,
            Grant::Publish(_) | Grant::Manage => false,
        })
    }

    /// Whether every topic of a filter may be received.
    pub fn may_subscribe(&self, wanted: &TopicFilter) -> bool {
        self.0.iter().any(|grant| match grant {
            Grant::Subscribe(filter) => filter.covers(wanted),
            Grant::Admin => true,
            Grant::Publish(_) | Grant::Manage => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grant_allows_what_it_says_and_nothing_else() {
        let grants = |texts: &[&str]| {
            Grants(texts.iter().map(|text| Grant::parse(text).expect(text)).collect())
        };
        let plain = grants(&["publish:a/#", "subscribe:b/+"]);
        assert!(plain.may_publish("a/x") && !plain.may_publish("b/x"));
        assert!(plain.may_receive("b/x") && !plain.may_receive("a/x"));
        assert!(!plain.may_manage() && !plain.is_admin());
        let filter = |text| TopicFilter::parse(text).expect("valid");
        assert!(plain.may_subscribe(&filter("b/+")) && !plain.may_subscribe(&filter("b/#")));
        let admin = grants(&["admin"]);
        assert!(admin.may_publish("x") && admin.may_receive("x") && admin.may_manage());
        for bad in ["", "publish", "publish:", "publish:a/#/b", "root"] {
            assert!(Grant::parse(bad).is_err(), "{bad}");
        }
        assert_eq!(Grant::parse("subscribe:a/+").expect("valid").to_string(), "subscribe:a/+");
    }
}
