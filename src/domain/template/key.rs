//! Keys of the filter `hmac`. A template names them; who renders holds them. Never printed.

use std::fmt::Write;

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

/// A key. Never printed by accident: no `Serialize`, and a `Debug` that tells nothing.
#[derive(Clone, PartialEq, Eq)]
pub struct Key(Vec<u8>);

impl Key {
    /// Takes a text as the key.
    pub fn new(text: &str) -> Self {
        Self(text.as_bytes().to_vec())
    }

    /// HMAC-SHA256 in lower-case hexadecimal.
    pub(super) fn sign(&self, bytes: &[u8]) -> String {
        let mut mac =
            Hmac::<Sha256>::new_from_slice(&self.0).expect("HMAC takes keys of any length");
        mac.update(bytes);
        let mut hex = String::new();
        for byte in mac.finalize().into_bytes() {
            write!(hex, "{byte:02x}").expect("a String takes all");
        }
        hex
    }
}

impl std::fmt::Debug for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Key(…)")
    }
}
