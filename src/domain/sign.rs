//! Standard Webhooks 1.0.0 signatures over `{id}.{timestamp}.{body}`: `v1` is HMAC-SHA256 with a
//! key that both sides know, `v1a` is ed25519 with a key pair. Pure: both give the same signature
//! again.

use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::lease::after;
use super::secret::Secret;
use super::vault::{Locked, Vault};
use super::{Invalid, Timestamp};

/// Shortest and longest key of `v1`, in bytes (Standard Webhooks, "Signature scheme").
pub const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// Most keys that may sign beside the newest one.
pub const OLDER_MAX: usize = 3;

/// How long a key may sign beside a newer one.
pub const OVERLAP_MAX: Duration = Duration::from_secs(30 * 86_400);

/// Bytes of an ed25519 seed and of its public key.
const SEED_BYTES: usize = 32;

/// How a signature is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    /// HMAC-SHA256.
    V1,
    /// ed25519.
    V1a,
}

impl Scheme {
    /// The names of all schemes.
    pub const NAMES: [&str; 2] = [Self::V1.as_str(), Self::V1a.as_str()];

    /// The scheme's name in a signature.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::V1 => "v1",
            Self::V1a => "v1a",
        }
    }

    /// Reads a scheme's name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let all = [Self::V1, Self::V1a];
        let found = all.into_iter().find(|scheme| scheme.as_str() == text);
        found.ok_or_else(|| Invalid::new("", "must be \"v1\" or \"v1a\""))
    }
}

/// A signing key. Its secret is sealed wherever it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// The bytes that both sides know.
    V1(Secret),
    /// An ed25519 seed and its public key.
    V1a(Secret, [u8; SEED_BYTES]),
}

impl Key {
    /// Makes a key of random bytes.
    pub fn new(scheme: Scheme, random: [u8; SEED_BYTES]) -> Self {
        match scheme {
            Scheme::V1 => Self::V1(Secret::new(random)),
            Scheme::V1a => Self::V1a(Secret::new(random), public_of(&random)),
        }
    }

    /// Reads `whsec_` or `whsk_` and base64.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let decode = |key: &str| BASE64.decode(key).ok();
        if let Some(key) = text.strip_prefix("whsk_") {
            return decode(key).and_then(|bytes| Self::of_pair(&bytes)).ok_or_else(|| {
                let detail = "must be \"whsk_\" and in base64 an ed25519 seed (32 bytes), or it \
                              and its public key (64 bytes)";
                Invalid::new("", detail)
            });
        }
        let bytes = text.strip_prefix("whsec_").and_then(decode);
        let bytes = bytes.filter(|bytes| KEY_BYTES.contains(&bytes.len()));
        bytes.map(|bytes| Self::V1(Secret::new(bytes))).ok_or_else(|| {
            let detail = "must be \"whsec_\" and 24 to 64 bytes in base64 (v1), or \"whsk_\" and \
                          an ed25519 key in base64 (v1a)";
            Invalid::new("", detail)
        })
    }

    fn of_pair(bytes: &[u8]) -> Option<Self> {
        let (seed, public) = bytes.split_at_checked(SEED_BYTES)?;
        let seed: [u8; SEED_BYTES] = seed.try_into().ok()?;
        let own = public_of(&seed);
        (public.is_empty() || public == own).then(|| Self::V1a(Secret::new(seed), own))
    }

    /// How it signs.
    pub fn scheme(&self) -> Scheme {
        match self {
            Self::V1(_) => Scheme::V1,
            Self::V1a(..) => Scheme::V1a,
        }
    }

    /// The form that is shown to the subscriber once. There is none of a private key, which only
    /// the hub needs.
    pub fn reveal(&self) -> Option<String> {
        match self {
            Self::V1(secret) => Some(format!("whsec_{}", BASE64.encode(secret.as_open()?))),
            Self::V1a(..) => None,
        }
    }

    /// What verifies its signatures, where that is no secret.
    pub fn public_key(&self) -> Option<String> {
        match self {
            Self::V1(_) => None,
            Self::V1a(_, public) => Some(format!("whpk_{}", BASE64.encode(public))),
        }
    }

    /// Its secret.
    pub fn secret(&self) -> &Secret {
        match self {
            Self::V1(secret) | Self::V1a(secret, _) => secret,
        }
    }

    /// Its secret, to be sealed.
    pub fn secret_mut(&mut self) -> &mut Secret {
        match self {
            Self::V1(secret) | Self::V1a(secret, _) => secret,
        }
    }

    fn sign(&self, safe: (&Vault, &str), content: [&[u8]; 2]) -> Result<String, Locked> {
        let (vault, owner) = safe;
        let signature = match self {
            Self::V1(secret) => {
                let key = secret.open(vault, owner)?;
                let mac = Hmac::<Sha256>::new_from_slice(&key);
                let mut mac = mac.expect("HMAC takes keys of any length");
                content.iter().for_each(|part| mac.update(part));
                BASE64.encode(mac.finalize().into_bytes())
            }
            Self::V1a(secret, _) => {
                let seed = secret.open(vault, owner)?;
                let pair = Ed25519KeyPair::from_seed_unchecked(&seed);
                let pair = pair.map_err(|_rejected| Locked::Damaged)?;
                BASE64.encode(pair.sign(&content.concat()))
            }
        };
        Ok(format!("{},{signature}", self.scheme().as_str()))
    }
}

/// The keys of a subscription: the newest, and those before it that still sign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Keys {
    /// The key that is to be used.
    pub newest: Key,
    /// Earlier ones, newest first, each with the time at which it no longer signs.
    pub older: Vec<(Key, Timestamp)>,
}

impl Keys {
    /// One key alone.
    pub fn new(newest: Key) -> Self {
        Self { newest, older: Vec::new() }
    }

    /// A new key in front. Those so far sign beside it for a while, but none for longer than it
    /// would have.
    pub fn rotate(&mut self, newest: Key, overlap: Duration, now: Timestamp) {
        let end = after(now, overlap.min(OVERLAP_MAX));
        self.older.retain(|(key, _)| *key != newest);
        self.older.iter_mut().for_each(|(_, until)| *until = end.min(*until));
        if newest != self.newest {
            let before = std::mem::replace(&mut self.newest, newest);
            self.older.insert(0, (before, end));
        }
        self.forget(now);
        self.older.truncate(OLDER_MAX);
    }

    /// Goes on with the earlier keys of `before`, if the newest is the same.
    pub fn resume(&mut self, before: &Self) {
        if self.newest == before.newest {
            self.older.clone_from(&before.older);
        }
    }

    /// Forgets keys that no longer sign.
    pub fn forget(&mut self, now: Timestamp) {
        self.older.retain(|(_, until)| now < *until);
    }

    /// When the last of the earlier keys no longer signs.
    pub fn overlap_until(&self, now: Timestamp) -> Option<Timestamp> {
        self.older.iter().map(|(_, until)| *until).max().filter(|until| now < *until)
    }

    /// The value of `webhook-signature` for one attempt: a signature of each key that signs then,
    /// newest first. An earlier key that cannot be opened is left out: it was replaced for that.
    pub fn sign(
        &self,
        vault: &Vault,
        owner: &str,
        id: &str,
        at: Timestamp,
        body: &[u8],
    ) -> Result<String, Locked> {
        let head = format!("{id}.{}.", at.as_second());
        let sign = |key: &Key| key.sign((vault, owner), [head.as_bytes(), body]);
        let mut signatures = sign(&self.newest)?;
        let older = self.older.iter().filter(|(_, until)| at < *until);
        for signature in older.filter_map(|(key, _)| sign(key).ok()) {
            signatures.push(' ');
            signatures.push_str(&signature);
        }
        Ok(signatures)
    }

    /// Whether a secret in it is not sealed.
    pub fn is_open(&self) -> bool {
        let older = self.older.iter().map(|(key, _)| key);
        std::iter::once(&self.newest).chain(older).any(|key| key.secret().as_open().is_some())
    }

    /// All secrets in it.
    pub fn secrets_mut(&mut self) -> impl Iterator<Item = &mut Secret> {
        let older = self.older.iter_mut().map(|(key, _)| key.secret_mut());
        std::iter::once(self.newest.secret_mut()).chain(older)
    }
}

fn public_of(seed: &[u8; SEED_BYTES]) -> [u8; SEED_BYTES] {
    let pair = Ed25519KeyPair::from_seed_unchecked(seed).expect("every 32 bytes are a seed");
    pair.public_key().as_ref().try_into().expect("a public key has 32 bytes")
}

#[cfg(test)]
#[path = "sign_tests.rs"]
mod tests;
