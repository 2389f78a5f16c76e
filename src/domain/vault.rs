//! The vault: seals secrets before they are kept, and opens them where they are used. Never knows
//! where its key comes from.
//!
//! AES-256-GCM under a key derived from the sealing key. The nonce is drawn from the secret and its
//! owner (HMAC-SHA256 under a second derived key), so that the same secret of the same owner always
//! gives the same bytes: no dice are needed, and a replay writes what was written before. All that
//! this tells is whether a subscription got the same secret again.
//!
//! | bytes | what |
//! |---|---|
//! | 1 | version of this form: 1 |
//! | 4 | which sealing key: the beginning of a derived value |
//! | 12 | nonce |
//! | n + 16 | the secret, encrypted, and the tag; the owner's id is authenticated with it |

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::Invalid;

/// Bytes of a sealing key.
pub const KEY_BYTES: usize = 32;

const VERSION: u8 = 1;
const NAME_BYTES: usize = 4;
const HEAD_BYTES: usize = 1 + NAME_BYTES + NONCE_LEN;

/// Why a secret cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Locked {
    /// The hub has another key than the one that sealed it.
    #[error("the secret is sealed with another key than this hub's; see signing.seal_key_file")]
    OtherKey,
    /// It is not what was sealed, or not for this owner.
    #[error("the sealed secret is damaged")]
    Damaged,
}

/// Seals and opens. Its `Debug` tells nothing of the key.
pub struct Vault {
    name: [u8; NAME_BYTES],
    nonces: [u8; 32],
    key: LessSafeKey,
}

impl Vault {
    /// A vault under a sealing key.
    pub fn new(sealing_key: &[u8; KEY_BYTES]) -> Self {
        let derive = |purpose: &str| mac(sealing_key, &[b"tidings seal 1: ", purpose.as_bytes()]);
        let name = derive("name");
        let key = UnboundKey::new(&AES_256_GCM, &derive("bytes"));
        Self {
            name: [name[0], name[1], name[2], name[3]],
            nonces: derive("nonces"),
            key: LessSafeKey::new(key.expect("AES-256 takes 32 bytes")),
        }
    }

    /// Seals a secret of an owner.
    pub fn seal(&self, owner: &str, secret: &[u8]) -> Vec<u8> {
        let length = (owner.len() as u64).to_le_bytes();
        let drawn = mac(&self.nonces, &[&length, owner.as_bytes(), secret]);
        let mut nonce = [0; NONCE_LEN];
        nonce.copy_from_slice(&drawn[..NONCE_LEN]);
        let mut bytes = secret.to_vec();
        self.key
            .seal_in_place_append_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(owner.as_bytes()),
                &mut bytes,
            )
            .expect("secrets are far shorter than what AES-GCM may take");
        [&[VERSION][..], &self.name, &nonce, &bytes].concat()
    }

    /// Opens what was sealed for an owner.
    pub fn open(&self, owner: &str, sealed: &[u8]) -> Result<Vec<u8>, Locked> {
        let (head, bytes) = sealed.split_at_checked(HEAD_BYTES).ok_or(Locked::Damaged)?;
        if head[0] != VERSION {
            return Err(Locked::Damaged);
        }
        if head[1..=NAME_BYTES] != self.name {
            return Err(Locked::OtherKey);
        }
        let nonce = Nonce::try_assume_unique_for_key(&head[1 + NAME_BYTES..]);
        let nonce = nonce.map_err(|_unspecified| Locked::Damaged)?;
        let mut bytes = bytes.to_vec();
        let opened = self.key.open_in_place(nonce, Aad::from(owner.as_bytes()), &mut bytes);
        let length = opened.map_err(|_unspecified| Locked::Damaged)?.len();
        bytes.truncate(length);
        Ok(bytes)
    }
}

/// Reads a sealing key: 32 bytes in hexadecimal or base64, white space around them.
pub fn parse_key(text: &str) -> Result<[u8; KEY_BYTES], Invalid> {
    let text = text.trim();
    let bytes = match text.len() == 2 * KEY_BYTES {
        true => from_hex(text),
        false => BASE64.decode(text).ok(),
    };
    bytes
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| Invalid::new("", "must be 32 bytes in hexadecimal or base64, nothing else"))
}

/// Writes a sealing key as `parse_key` reads it.
pub fn print_key(key: &[u8; KEY_BYTES]) -> String {
    key.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| char::from(byte).to_digit(16);
    let pair = |pair: &[u8]| u8::try_from(digit(pair[0])? * 16 + digit(pair[1])?).ok();
    text.as_bytes().chunks_exact(2).map(pair).collect()
}

fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

impl std::fmt::Debug for Vault {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vault(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_is_opened_by_its_owner_and_key_alone() {
        let vault = Vault::new(&[7; 32]);
        for secret in [&b""[..], b"s", &[0xff; 5_000]] {
            let sealed = vault.seal("a", secret);
            assert_eq!(vault.open("a", &sealed).expect("its own"), secret);
            assert_eq!(vault.seal("a", secret), sealed, "no dice");
            assert_eq!(vault.open("b", &sealed), Err(Locked::Damaged));
            assert_eq!(Vault::new(&[8; 32]).open("a", &sealed), Err(Locked::OtherKey));
            assert_ne!(vault.seal("b", secret)[5..], sealed[5..]);
        }
        assert_eq!(format!("{vault:?}"), "Vault(…)");
    }

    #[test]
    fn damage_is_found_wherever_it_is() {
        let vault = Vault::new(&[7; 32]);
        let sealed = vault.seal("a", b"secret");
        for at in 0..sealed.len() {
            let mut damaged = sealed.clone();
            damaged[at] ^= 1;
            assert!(vault.open("a", &damaged).is_err(), "byte {at}");
            assert!(vault.open("a", &sealed[..at]).is_err(), "{at} bytes");
        }
    }

    #[test]
    fn a_sealing_key_is_hexadecimal_or_base64() {
        let key: [u8; 32] = std::array::from_fn(|at| u8::try_from(at * 7).expect("small"));
        let check = |text: &str, good: bool| {
            assert_eq!(parse_key(text).ok(), good.then_some(key), "{text}");
        };
        check(&print_key(&key), true);
        check(&format!("  {}\n", print_key(&key).to_uppercase()), true);
        check(&BASE64.encode(key), true);
        check("", false);
        check(&print_key(&key)[2..], false);
        check(&BASE64.encode([1; 31]), false);
        check(&"zz".repeat(32), false);
        check(&format!("{} {}", print_key(&key), "x"), false);
    }
}
