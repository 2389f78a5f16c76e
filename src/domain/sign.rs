//! Standard Webhooks 1.0.0 signatures, scheme `v1`: HMAC-SHA256 over `{id}.{timestamp}.{body}`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Invalid;

/// Shortest and longest key, in bytes (Standard Webhooks, "Signature scheme").
pub const KEY_BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// A signing key. Never printed by accident: no `Debug`, no `Serialize`.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Vec<u8>);

impl Secret {
    /// Makes a key of random bytes.
    pub fn new(random: [u8; 32]) -> Self {
        Self(random.to_vec())
    }

    /// Reads `whsec_` and base64.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        let bytes = text.strip_prefix("whsec_").and_then(|key| BASE64.decode(key).ok());
        bytes
            .filter(|bytes| KEY_BYTES.contains(&bytes.len()))
            .map(Self)
            .ok_or_else(|| Invalid::new("", "must be \"whsec_\" and 24 to 64 bytes in base64"))
    }

    /// The form that is shown to the subscriber once.
    pub fn reveal(&self) -> String {
        format!("whsec_{}", BASE64.encode(&self.0))
    }

    /// The value of `webhook-signature` for one attempt.
    pub fn sign(&self, id: &str, unix_seconds: i64, body: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(format!("{id}.{unix_seconds}.").as_bytes());
        mac.update(body);
        format!("v1,{}", BASE64.encode(mac.finalize().into_bytes()))
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signatures_are_those_of_the_standard() {
        let k1 = Secret::parse("whsec_AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=").expect("k1");
        let k2 = Secret::parse("whsec_ICEiIyQlJicoKSorLC0uLzAxMjM0NTY3ODk6Ozw9Pj8=").expect("k2");
        let body = br#"{"type":"flows.created","timestamp":"2023-11-14T22:13:20Z","data":{"flow_id":"f1"}}"#;
        let check = |key: &Secret, id: &str, time: i64, body: &[u8], expected: &str| {
            assert_eq!(key.sign(id, time, body), format!("v1,{expected}"), "{id}");
        };
        let id = "msg_edgehub0001";
        check(&k1, id, 1_700_000_000, body, "ZUOmTO0nKeR5EQUzO3UP17ewpE7jXB1FujDhP3zidhI=");
        check(&k2, id, 1_700_000_000, body, "kph0tmjooR8vfxBLdPYy9gmILjd9iD5adx4esoQuXac=");
        check(&k1, id, 1_700_000_005, body, "tKC9mjUknHpJFD4hDuSVOgzweU4rS3k2KxJRgHzRp28=");
        check(&k1, "msg_empty", 1_700_000_000, b"", "yredJpxuSO+Nbs3mRe+H7WF2AiIQovC4+sTzycX9L54=");
        check(
            &k1,
            "msg_bin",
            1_700_000_000,
            &[0, 0xff, 10, 0x80],
            "bYac67HZ19895SMWiLjiCUZaPWIyoXWcYdJAh6/39nI=",
        );
        let text = "{\"t\":\"Euro € 😀\"}".as_bytes();
        check(&k1, "msg_utf8", 1_700_000_000, text, "KlYpNvO+tTtgArqNZhONlakR6PBocvmrVVwrSuyqe9Y=");
    }

    #[test]
    fn a_weak_or_malformed_secret_is_refused() {
        for bad in ["", "AAECAwQF", "whsec_", "whsec_AAEC", "whsec_*"] {
            assert!(Secret::parse(bad).is_err(), "{bad}");
        }
        let secret = Secret::new([7; 32]);
        assert_eq!(Secret::parse(&secret.reveal()).expect("own form"), secret);
        assert_eq!(format!("{secret:?}"), "Secret(…)");
    }
}
