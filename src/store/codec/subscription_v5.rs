//! Version 5 of the subscription record: version 4, signing keys of both schemes with those before
//! them, and what a target asks for. Secrets are kept sealed. Frozen: never changed, only followed
//! by a version 6.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::envelope::time;
use super::{Error, subscription_v4};
use crate::domain::access::{self, Access};
use crate::domain::sink::Sink;
use crate::domain::subscription::{self as domain, Signing};
use crate::domain::{secret, sign};

#[derive(Serialize, Deserialize)]
pub(super) struct Subscription {
    /// Without any secret.
    before: subscription_v4::Subscription,
    keys: Option<Keys>,
    headers: BTreeMap<String, Secret>,
    auth: Option<Auth>,
    tls: Option<Tls>,
}

#[derive(Serialize, Deserialize)]
enum Secret {
    /// Read from an older version and not written by a command since.
    Open(Vec<u8>),
    Sealed(Vec<u8>),
}

#[derive(Serialize, Deserialize)]
struct Keys {
    newest: Key,
    /// Each with the milliseconds after 1970 at which it no longer signs.
    older: Vec<(Key, i64)>,
}

#[derive(Serialize, Deserialize)]
enum Key {
    V1(Secret),
    V1a(Secret, [u8; 32]),
}

#[derive(Serialize, Deserialize)]
enum Auth {
    Bearer(Secret),
    Basic(String, Secret),
    Header(String, Secret),
}

#[derive(Serialize, Deserialize)]
struct Tls {
    ca: Option<String>,
    /// A certificate and its key.
    identity: Option<(String, Secret)>,
}

impl From<subscription_v4::Subscription> for Subscription {
    fn from(before: subscription_v4::Subscription) -> Self {
        Self { before, keys: None, headers: BTreeMap::new(), auth: None, tls: None }
    }
}

impl From<&domain::Subscription> for Subscription {
    fn from(held: &domain::Subscription) -> Self {
        let mut bare = held.clone();
        let signing = std::mem::replace(&mut bare.wish.signing, Signing::None);
        let Access { headers, auth, tls } = match &mut bare.wish.sink {
            Sink::Http { access, .. } => std::mem::take(&mut **access),
            Sink::Steps => Access::default(),
        };
        Self {
            before: (&bare).into(),
            keys: match signing {
                Signing::None => None,
                Signing::StandardWebhooks(keys) => Some(keys.into()),
            },
            headers: headers.into_iter().map(|(name, value)| (name, value.into())).collect(),
            auth: auth.map(Auth::from),
            tls: tls.map(|tls| Tls {
                ca: tls.ca,
                identity: tls.identity.map(|held| (held.certificate, held.key.into())),
            }),
        }
    }
}

impl TryFrom<Subscription> for domain::Subscription {
    type Error = Error;

    /// What an older version had comes from there.
    fn try_from(held: Subscription) -> Result<Self, Error> {
        let mut subscription = Self::try_from(held.before)?;
        if let Some(keys) = held.keys {
            subscription.wish.signing = Signing::StandardWebhooks(keys.try_into()?);
        }
        if let Sink::Http { access, .. } = &mut subscription.wish.sink {
            let headers = held.headers.into_iter();
            access.headers.extend(headers.map(|(name, value)| (name, value.into())));
            access.auth = held.auth.map(access::Auth::from);
            access.tls = held.tls.map(|tls| {
                let identity = tls
                    .identity
                    .map(|(certificate, key)| access::Identity { certificate, key: key.into() });
                access::Tls { ca: tls.ca, identity }
            });
        }
        Ok(subscription)
    }
}

impl From<secret::Secret> for Secret {
    fn from(held: secret::Secret) -> Self {
        match held {
            secret::Secret::Open(bytes) => Self::Open(bytes),
            secret::Secret::Sealed(bytes) => Self::Sealed(bytes),
        }
    }
}

impl From<Secret> for secret::Secret {
    fn from(held: Secret) -> Self {
        match held {
            Secret::Open(bytes) => Self::Open(bytes),
            Secret::Sealed(bytes) => Self::Sealed(bytes),
        }
    }
}

impl From<sign::Keys> for Keys {
    fn from(held: sign::Keys) -> Self {
        let key = |key: sign::Key| match key {
            sign::Key::V1(secret) => Key::V1(secret.into()),
            sign::Key::V1a(seed, public) => Key::V1a(seed.into(), public),
        };
        let older = held.older.into_iter();
        let older = older.map(|(held, until)| (key(held), until.as_millisecond())).collect();
        Self { newest: key(held.newest), older }
    }
}

impl TryFrom<Keys> for sign::Keys {
    type Error = Error;

    fn try_from(held: Keys) -> Result<Self, Error> {
        let key = |key: Key| match key {
            Key::V1(secret) => sign::Key::V1(secret.into()),
            Key::V1a(seed, public) => sign::Key::V1a(seed.into(), public),
        };
        let older = held.older.into_iter();
        let older = older.map(|(held, until)| Ok((key(held), time(until)?)));
        Ok(Self { newest: key(held.newest), older: older.collect::<Result<_, Error>>()? })
    }
}

impl From<access::Auth> for Auth {
    fn from(held: access::Auth) -> Self {
        match held {
            access::Auth::Bearer(token) => Self::Bearer(token.into()),
            access::Auth::Basic(user, password) => Self::Basic(user, password.into()),
            access::Auth::Header(name, value) => Self::Header(name, value.into()),
        }
    }
}

impl From<Auth> for access::Auth {
    fn from(held: Auth) -> Self {
        match held {
            Auth::Bearer(token) => Self::Bearer(token.into()),
            Auth::Basic(user, password) => Self::Basic(user, password.into()),
            Auth::Header(name, value) => Self::Header(name, value.into()),
        }
    }
}
