//! A secret: open on its way in, sealed wherever it is kept. Never printed.

use std::borrow::Cow;

use super::vault::{Locked, Vault};

/// A secret. Never printed by accident: no `Serialize`, and a `Debug` that tells nothing.
#[derive(Clone, PartialEq, Eq)]
pub enum Secret {
    /// As it came in, or as releases wrote it that did not seal.
    Open(Vec<u8>),
    /// As a vault sealed it.
    Sealed(Vec<u8>),
}

impl Secret {
    /// An open secret.
    pub fn new(bytes: impl Into<Vec<u8>>) -> Self {
        Self::Open(bytes.into())
    }

    /// Seals it, if it is open.
    pub fn seal(&mut self, vault: &Vault, owner: &str) {
        if let Self::Open(bytes) = self {
            *self = Self::Sealed(vault.seal(owner, bytes));
        }
    }

    /// The secret itself.
    pub fn open(&self, vault: &Vault, owner: &str) -> Result<Cow<'_, [u8]>, Locked> {
        match self {
            Self::Open(bytes) => Ok(Cow::Borrowed(bytes)),
            Self::Sealed(bytes) => vault.open(owner, bytes).map(Cow::Owned),
        }
    }

    /// The secret itself, where it is text.
    pub fn open_text(&self, vault: &Vault, owner: &str) -> Result<String, Locked> {
        let bytes = self.open(vault, owner)?.into_owned();
        String::from_utf8(bytes).map_err(|_no_text| Locked::Damaged)
    }

    /// What it is, as long as nobody sealed it.
    pub fn as_open(&self) -> Option<&[u8]> {
        match self {
            Self::Open(bytes) => Some(bytes),
            Self::Sealed(_) => None,
        }
    }
}

impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(…)")
    }
}
