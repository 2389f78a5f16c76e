//! Subscriptions: for events matching a filter, from a position, until a lease ends, deliver in an
//! encoding, signed, to a sink, under a policy.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::encoding::Encoding;
use super::filter::Filter;
use super::lease::{Asked, Lease};
use super::policy::Policy;
use super::secret::Secret;
use super::sign::Keys;
use super::sink::{Sink, check_headers, check_url};
use super::vault::Vault;
use super::{Invalid, Offset, Timestamp};

/// Longest id that a client may choose.
pub const ID_BYTES_MAX: usize = 64;

/// Longest name.
pub const NAME_BYTES_MAX: usize = 256;

/// Most labels, and the longest key and value.
pub const LABELS_MAX: usize = 32;
/// Longest label key or value.
pub const LABEL_BYTES_MAX: usize = 128;

/// What a subscriber asks for. The hub adds the rest.
#[derive(Debug, Clone, PartialEq)]
pub struct Wish {
    /// A name for people.
    pub name: Option<String>,
    /// Labels for searching.
    pub labels: BTreeMap<String, String>,
    /// Which events.
    pub filter: Filter,
    /// To where.
    pub sink: Sink,
    /// In which form.
    pub encoding: Encoding,
    /// Signed with what.
    pub signing: Signing,
    /// For how long.
    pub lease: Asked,
    /// From where.
    pub start: Start,
    /// Tried how hard. Shared where many ask for the same.
    pub policy: Arc<Policy>,
}

/// How deliveries are signed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Signing {
    /// Not at all.
    None,
    /// As Standard Webhooks says.
    StandardWebhooks(Keys),
}

impl Signing {
    /// Goes on with the earlier keys of what was before, if the newest is the same.
    pub fn resume(&mut self, before: &Self) {
        if let (Self::StandardWebhooks(keys), Self::StandardWebhooks(before)) = (self, before) {
            keys.resume(before);
        }
    }

    /// Forgets keys that no longer sign.
    pub fn forget(&mut self, now: Timestamp) {
        if let Self::StandardWebhooks(keys) = self {
            keys.forget(now);
        }
    }
}

/// Where a new subscription starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start {
    /// With the first event after its creation.
    Now,
    /// With the oldest event there is.
    Earliest,
    /// With this event.
    Offset(Offset),
}

/// A subscription as the hub keeps it.
#[derive(Debug, Clone, PartialEq)]
pub struct Subscription {
    /// Its id, chosen by the client or made by the hub.
    pub id: String,
    /// Its number: given once, never reused; what records refer to.
    pub number: u32,
    /// Counts changes; the `ETag`.
    pub version: u64,
    /// The token that owns it; `None` with `--dev`.
    pub owner: Option<String>,
    /// What was asked for.
    pub wish: Wish,
    /// The lease that was granted; `None` has no end.
    pub lease: Option<Lease>,
    /// Where it stands.
    pub state: State,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// Where a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Events are delivered.
    Active,
    /// Somebody paused it; the cursor waits.
    Paused,
    /// Its target has not worked since this time; the cursor waits, and now and then a delivery
    /// tries whether it does again.
    Parked(Timestamp),
    /// It is over since this time and is forgotten after a while.
    Ended(End, Timestamp),
}

/// Why a subscription ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Its lease was not renewed.
    Expired,
    /// Its target answered 410.
    Gone,
    /// Its owner's token was revoked.
    Revoked,
    /// Somebody deleted it.
    Deleted,
}

impl End {
    /// The reason's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Gone => "gone",
            Self::Revoked => "revoked",
            Self::Deleted => "deleted",
        }
    }
}

impl State {
    /// The state's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Paused => "paused",
            Self::Parked(_) => "parked",
            Self::Ended(..) => "ended",
        }
    }

    /// Whether it waits for its target to work again.
    pub fn is_parked(self) -> bool {
        matches!(self, Self::Parked(_))
    }

    /// Whether it is over.
    pub fn is_ended(self) -> bool {
        matches!(self, Self::Ended(..))
    }
}

impl Subscription {
    /// The server that it delivers to: scheme, host and port. Where data alone decides that, a name
    /// that no other subscription has.
    pub fn server(&self) -> String {
        let of_steps = match &self.wish.encoding {
            Encoding::Template(template) => template.server(),
            _ => None,
        };
        match (&self.wish.sink, of_steps) {
            (_, Some(server)) => server,
            (Sink::Http { url, .. }, None) => url.origin().ascii_serialization(),
            (Sink::Steps, None) => format!("steps:{}", self.number),
        }
    }

    /// Bytes that it holds in memory, roughly.
    pub fn weight(&self) -> usize {
        let policy = &self.wish.policy;
        let lists = policy.retry.len() * 16 + (policy.retry_on.len() + policy.ignore.len()) * 4;
        let labels = self.wish.labels.iter().map(|(key, value)| key.len() + value.len() + 96);
        let url = match &self.wish.sink {
            Sink::Http { url, headers, .. } => url.as_str().len() + headers.len() * 128,
            Sink::Steps => 0,
        };
        // What filter and template hold beside their own places is not counted up.
        size_of::<Self>() + self.id.len() + lists + labels.sum::<usize>() + url + 256
    }

    /// Whether it has not ended, be it that nobody wrote that down yet.
    pub fn check_live(&self, now: Timestamp) -> Result<(), End> {
        match self.state {
            State::Ended(end, _) => Err(end),
            _ if self.lease.is_some_and(|lease| lease.is_over(now)) => Err(End::Expired),
            State::Active | State::Paused | State::Parked(_) => Ok(()),
        }
    }

    /// Whether a delivery may start: active, or parked (then the breaker has the last word), and
    /// the lease not over.
    pub fn may_deliver(&self, now: Timestamp) -> bool {
        matches!(self.state, State::Active | State::Parked(_))
            && !self.lease.is_some_and(|lease| lease.is_over(now))
    }
}

/// Checks an id that a client chose.
pub fn check_id(id: &str) -> Result<(), Invalid> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    if id.is_empty() || id.len() > ID_BYTES_MAX || !id.bytes().all(allowed) {
        let detail =
            format!("an id is 1 to {ID_BYTES_MAX} characters of A-Z, a-z, 0-9, '-', '_', '.', ':'");
        return Err(Invalid::new("/id", detail));
    }
    // Clients resolve these as path segments (RFC 3986, 5.2.4): nobody could ask for them again.
    if matches!(id, "." | "..") {
        return Err(Invalid::new("/id", "must not be '.' or '..'"));
    }
    Ok(())
}

impl Wish {
    /// Checks the bounds of everything that is text. Pointers are those of the JSON form.
    pub fn check(&self) -> Result<(), Invalid> {
        if self.name.as_ref().is_some_and(|name| name.len() > NAME_BYTES_MAX) {
            return Err(Invalid::new("/name", format!("must have at most {NAME_BYTES_MAX} bytes")));
        }
        let long = |text: &String| text.is_empty() || text.len() > LABEL_BYTES_MAX;
        if self.labels.len() > LABELS_MAX
            || self.labels.iter().any(|(key, value)| long(key) || long(value))
        {
            let detail =
                format!("at most {LABELS_MAX} labels of 1 to {LABEL_BYTES_MAX} bytes each");
            return Err(Invalid::new("/labels", detail));
        }
        match (&self.sink, &self.encoding) {
            (Sink::Http { url, headers, access, .. }, _) => {
                check_url(url).map_err(|error| error.under("/sink/http/url"))?;
                check_headers(headers).map_err(|error| error.under("/sink/http/headers"))?;
                let checked = access.check(headers, url.scheme() == "https");
                checked.map_err(|error| error.under("/sink/http"))?;
            }
            (Sink::Steps, Encoding::Template(template)) => {
                template.check_targets().map_err(|error| error.under("/template"))?;
            }
            (Sink::Steps, _) => return Err(Invalid::new("/sink", "is required")),
        }
        if let Encoding::Batch(batch) = &self.encoding {
            batch.check().map_err(|error| error.under("/encoding"))?;
        }
        self.policy.check().map_err(|error| error.under("/policy"))
    }

    /// Whether a secret in it is not sealed.
    pub fn is_open(&self) -> bool {
        let sink = matches!(&self.sink, Sink::Http { access, .. } if access.is_open());
        sink || matches!(&self.signing, Signing::StandardWebhooks(keys) if keys.is_open())
    }

    /// Seals what is open, for the subscription with this id.
    pub fn seal(&mut self, vault: &Vault, id: &str) {
        let seal = |secret: &mut Secret| secret.seal(vault, id);
        if let Sink::Http { access, .. } = &mut self.sink {
            access.secrets_mut().for_each(seal);
        }
        if let Signing::StandardWebhooks(keys) = &mut self.signing {
            keys.secrets_mut().for_each(seal);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_can_stand_in_a_path() {
        for good in ["a", "my-own.id", "...", "A:1_b"] {
            assert!(check_id(good).is_ok(), "{good}");
        }
        for bad in ["", ".", "..", "a/b", "a b", "é"] {
            assert_eq!(check_id(bad).expect_err(bad).pointer, "/id", "{bad}");
        }
    }
}
