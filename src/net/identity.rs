//! TLS of a target's own: the roots that it is checked against, and the certificate that is shown
//! to it. Never printed.

use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{ClientConfig, InconsistentKeys, RootCertStore};
use sha2::{Digest, Sha256};

/// What is wrong with one part of it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    /// The root certificates.
    #[error("the sink's tls.ca {0}")]
    Ca(String),
    /// The certificate.
    #[error("the sink's tls.certificate {0}")]
    Certificate(String),
    /// The private key.
    #[error("the sink's tls.key {0}")]
    Key(String),
}

/// Roots and a client certificate, each of which may be absent.
#[derive(Clone)]
pub struct Identity {
    ca: Option<String>,
    /// A certificate chain and its private key, all PEM.
    pair: Option<(String, Vec<u8>)>,
}

impl Identity {
    /// Takes PEM texts: root certificates, and a certificate chain with its private key.
    pub fn new(ca: Option<&str>, pair: Option<(&str, &[u8])>) -> Self {
        let pair = pair.map(|(chain, key)| (chain.to_owned(), key.to_vec()));
        Self { ca: ca.map(str::to_owned), pair }
    }

    /// Whether connections can be made with it.
    pub fn check(&self) -> Result<(), Fault> {
        self.config(&Arc::new(RootCertStore::empty())).map(drop)
    }

    /// What tells it from others.
    pub(super) fn digest(&self) -> [u8; 32] {
        let mut digest = Sha256::new();
        let (chain, key) = self.pair.as_ref().map_or((None, None), |(c, k)| (Some(c), Some(k)));
        let parts = [
            self.ca.as_ref().map(String::as_bytes),
            chain.map(String::as_bytes),
            key.map(Vec::as_slice),
        ];
        for part in parts {
            // The length keeps neighbours apart, and what is absent from what is empty.
            digest.update(part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            digest.update(part.unwrap_or_default());
        }
        digest.finalize().into()
    }

    /// How connections are made with it. `roots` are for those that bring none.
    pub(super) fn config(&self, roots: &Arc<RootCertStore>) -> Result<ClientConfig, Fault> {
        let provider = provider();
        let roots = match &self.ca {
            Some(pem) => Arc::new(own_roots(pem)?),
            None => roots.clone(),
        };
        let resolver = match &self.pair {
            Some((chain, key)) => Some(certified(&provider, chain, key)?),
            None => None,
        };
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|error| Fault::Ca(error.to_string()))?
            .with_root_certificates(roots);
        Ok(match resolver {
            Some(resolver) => builder.with_client_cert_resolver(resolver),
            None => builder.with_no_client_auth(),
        })
    }
}

/// The one provider of cryptography.
pub(super) fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::aws_lc_rs::default_provider())
}

fn own_roots(pem: &str) -> Result<RootCertStore, Fault> {
    let mut roots = RootCertStore::empty();
    for certificate in chain_of(pem).map_err(Fault::Ca)? {
        roots.add(certificate).map_err(|error| Fault::Ca(format!("is no authority: {error}")))?;
    }
    Ok(roots)
}

fn chain_of(pem: &str) -> Result<Vec<CertificateDer<'static>>, String> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    match read {
        Ok(chain) if chain.is_empty() => Err("holds no certificate in PEM form".to_owned()),
        Ok(chain) => Ok(chain),
        Err(error) => Err(format!("is not PEM: {error}")),
    }
}

fn certified(
    provider: &CryptoProvider,
    chain: &str,
    key: &[u8],
) -> Result<Arc<dyn ResolvesClientCert>, Fault> {
    let chain = chain_of(chain).map_err(Fault::Certificate)?;
    // What is wrong with a private key is not quoted: the words could be the key's.
    let bad = || Fault::Key("holds no private key in PEM form that is not encrypted".to_owned());
    let key = PrivateKeyDer::from_pem_slice(key).map_err(|_quoting| bad())?;
    let key = provider.key_provider.load_private_key(key).map_err(|_quoting| bad())?;
    let certified = CertifiedKey::new(chain, key);
    match certified.keys_match() {
        Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {
            Ok(Arc::new(SingleCertAndKey::from(certified)))
        }
        Err(rustls::Error::InconsistentKeys(_)) => {
            Err(Fault::Key("does not belong to the certificate".to_owned()))
        }
        Err(error) => Err(Fault::Certificate(format!("cannot be used: {error}"))),
    }
}

impl std::fmt::Debug for Identity {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Identity(…)")
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertifiedKey as Made, generate_simple_self_signed};

    use super::*;

    fn make() -> (String, String) {
        let Made { cert, signing_key } =
            generate_simple_self_signed(["hub.lan".to_owned()]).expect("made");
        (cert.pem(), signing_key.serialize_pem())
    }

    #[test]
    fn each_part_is_checked_and_the_bad_one_is_named() {
        let ((one, key), (two, other)) = (make(), make());
        let check = |ca: Option<&str>, pair: Option<(&str, &str)>, expected: Option<&str>| {
            let pair = pair.map(|(chain, key)| (chain, key.as_bytes()));
            let refused = Identity::new(ca, pair).check().err().map(|fault| fault.to_string());
            match (&refused, expected) {
                (None, None) => {}
                (Some(refused), Some(words)) if refused.contains(words) => {}
                _ => panic!("{refused:?} instead of {expected:?}"),
            }
        };
        check(Some(&one), None, None);
        check(Some(&format!("{one}{two}")), Some((&one, &key)), None);
        check(None, Some((&two, &other)), None);
        check(Some("none"), None, Some("tls.ca holds no certificate"));
        check(Some(&key), None, Some("tls.ca holds no certificate"));
        check(None, Some(("none", &key)), Some("tls.certificate holds no certificate"));
        check(None, Some((&one, "none")), Some("tls.key holds no private key"));
        check(None, Some((&one, &one)), Some("tls.key holds no private key"));
        check(None, Some((&one, &other)), Some("tls.key does not belong"));
        let broken = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        check(Some(broken), None, Some("tls.ca is no authority"));
        check(None, Some((broken, &key)), Some("tls.certificate cannot be used"));
    }

    #[test]
    fn other_parts_are_another_identity() {
        let of = |ca, pair| Identity::new(ca, pair).digest();
        let all = [
            of(None, None),
            of(Some(""), None),
            of(Some("a"), None),
            of(None, Some(("a", b"b"))),
            of(Some("a"), Some(("", b"b"))),
            of(Some("a"), Some(("b", b""))),
        ];
        for (at, one) in all.iter().enumerate() {
            assert!(!all[..at].contains(one), "{at}");
        }
        assert_eq!(of(Some("a"), None), all[2]);
        assert_eq!(format!("{:?}", Identity::new(Some("a"), None)), "Identity(…)");
    }
}
