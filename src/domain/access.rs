//! What a target asks for before it takes deliveries: credentials, and whom it trusts and is
//! trusted by. Secrets in it are sealed wherever they are kept.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;

use super::Invalid;
use super::attribute::escape_pointer;
use super::secret::Secret;
use super::sink::{check_header_name, check_header_value, is_credential};
use super::vault::{Locked, Vault};

/// Longest user name.
pub const USER_BYTES_MAX: usize = 256;

/// Longest PEM text of each kind.
pub const PEM_BYTES_MAX: usize = 16 << 10;

/// What a sink has to show. All of it may be absent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Access {
    /// Headers whose names say that they are credentials.
    pub headers: BTreeMap<String, Secret>,
    /// One credential in the form that its kind has.
    pub auth: Option<Auth>,
    /// TLS of its own.
    pub tls: Option<Tls>,
}

/// A credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Auth {
    /// `Authorization: Bearer TOKEN` (RFC 6750).
    Bearer(Secret),
    /// `Authorization: Basic ...` (RFC 7617): the user and the password.
    Basic(String, Secret),
    /// A header of any name, and its value.
    Header(String, Secret),
}

/// Whom a target is trusted by, and who the hub says it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tls {
    /// Root certificates (PEM) that the target's is checked against, in place of the hub's.
    pub ca: Option<String>,
    /// What the hub shows to a target that asks for a certificate.
    pub identity: Option<Identity>,
}

/// A client certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, and those between it and its root (PEM).
    pub certificate: String,
    /// Its private key (PEM).
    pub key: Secret,
}

impl Access {
    /// Takes from some headers those that are credentials by name; answers the others and them.
    pub fn of_headers(headers: BTreeMap<String, String>) -> (BTreeMap<String, String>, Self) {
        let (own, plain): (BTreeMap<_, _>, BTreeMap<_, _>) =
            headers.into_iter().partition(|(name, _)| is_credential(name));
        let own = own.into_iter().map(|(name, value)| (name, Secret::new(value))).collect();
        (plain, Self { headers: own, ..Self::default() })
    }

    /// Checks it. `others` are the sink's plain headers. Secrets that were sealed were checked
    /// before that.
    pub(super) fn check(
        &self,
        others: &BTreeMap<String, String>,
        is_https: bool,
    ) -> Result<(), Invalid> {
        for (name, value) in &self.headers {
            let checked = check_header_name(name).and_then(|()| check_value(value));
            checked.map_err(|error| error.under(&at_header(name)))?;
        }
        if let Some(auth) = &self.auth {
            auth.check().map_err(|error| error.under("/auth"))?;
            let mut names = others.keys().chain(self.headers.keys());
            if let Some(name) = names.find(|name| name.eq_ignore_ascii_case(auth.header())) {
                let detail = "is what auth sets; give one of the two";
                return Err(Invalid::new(at_header(name), detail));
            }
        }
        match &self.tls {
            Some(_) if !is_https => {
                Err(Invalid::new("/tls", "goes with a URL that starts with https://"))
            }
            Some(tls) => tls.check().map_err(|error| error.under("/tls")),
            None => Ok(()),
        }
    }

    /// Whether a secret in it is not sealed.
    pub fn is_open(&self) -> bool {
        let auth = self.auth.as_ref().map(Auth::secret);
        let identity = self.tls.as_ref().and_then(|tls| tls.identity.as_ref());
        let rest = auth.into_iter().chain(identity.map(|identity| &identity.key));
        self.headers.values().chain(rest).any(|secret| secret.as_open().is_some())
    }

    /// All secrets in it.
    pub fn secrets_mut(&mut self) -> impl Iterator<Item = &mut Secret> {
        let auth = self.auth.as_mut().map(Auth::secret_mut);
        let identity = self.tls.as_mut().and_then(|tls| tls.identity.as_mut());
        self.headers.values_mut().chain(auth).chain(identity.map(|identity| &mut identity.key))
    }

    /// The headers that it comes to, with their secrets in the open.
    pub fn open_headers(
        &self,
        vault: &Vault,
        owner: &str,
    ) -> Result<Vec<(String, String)>, Locked> {
        let mut opened = Vec::with_capacity(self.headers.len() + 1);
        for (name, value) in &self.headers {
            opened.push((name.clone(), value.open_text(vault, owner)?));
        }
        if let Some(auth) = &self.auth {
            opened.push((auth.header().to_owned(), auth.open_value(vault, owner)?));
        }
        Ok(opened)
    }
}

impl Auth {
    /// The header that it is.
    pub fn header(&self) -> &str {
        match self {
            Self::Bearer(_) | Self::Basic(..) => "authorization",
            Self::Header(name, _) => name,
        }
    }

    fn open_value(&self, vault: &Vault, owner: &str) -> Result<String, Locked> {
        match self {
            Self::Bearer(token) => Ok(format!("Bearer {}", token.open_text(vault, owner)?)),
            Self::Basic(user, password) => {
                let pair = format!("{user}:{}", password.open_text(vault, owner)?);
                Ok(format!("Basic {}", BASE64.encode(pair)))
            }
            Self::Header(_, value) => value.open_text(vault, owner),
        }
    }

    fn check(&self) -> Result<(), Invalid> {
        let checked = |value: &Secret, at: &str| check_value(value).map_err(|e| e.under(at));
        match self {
            Self::Bearer(token) => {
                checked(token, "/bearer/token")?;
                let spaced =
                    token.as_open().is_some_and(|it| it.iter().any(u8::is_ascii_whitespace));
                match spaced || token.as_open().is_some_and(<[u8]>::is_empty) {
                    true => Err(Invalid::new("/bearer/token", "must be a token without spaces")),
                    false => Ok(()),
                }
            }
            Self::Basic(user, password) => {
                if user.len() > USER_BYTES_MAX || user.contains(':') {
                    let detail = format!("must have at most {USER_BYTES_MAX} bytes and no ':'");
                    return Err(Invalid::new("/basic/user", detail));
                }
                check_header_value(user).map_err(|error| error.under("/basic/user"))?;
                checked(password, "/basic/password")
            }
            Self::Header(name, value) => {
                check_header_name(name).map_err(|error| error.under("/header/name"))?;
                checked(value, "/header/value")
            }
        }
    }

    fn secret(&self) -> &Secret {
        match self {
            Self::Bearer(secret) | Self::Basic(_, secret) | Self::Header(_, secret) => secret,
        }
    }

    fn secret_mut(&mut self) -> &mut Secret {
        match self {
            Self::Bearer(secret) | Self::Basic(_, secret) | Self::Header(_, secret) => secret,
        }
    }
}

impl Tls {
    fn check(&self) -> Result<(), Invalid> {
        if self.ca.is_none() && self.identity.is_none() {
            return Err(Invalid::new("", "must have ca, or certificate and key, or all three"));
        }
        let identity = self.identity.as_ref();
        let texts = [
            ("/ca", self.ca.as_ref().map(String::len)),
            ("/certificate", identity.map(|held| held.certificate.len())),
            ("/key", identity.and_then(|held| held.key.as_open()).map(<[u8]>::len)),
        ];
        match texts.iter().find(|(_, length)| length.is_some_and(|it| it > PEM_BYTES_MAX)) {
            Some((at, _)) => {
                Err(Invalid::new(*at, format!("must have at most {PEM_BYTES_MAX} bytes")))
            }
            None => Ok(()),
        }
    }
}

fn check_value(value: &Secret) -> Result<(), Invalid> {
    let Some(open) = value.as_open() else { return Ok(()) };
    let text = std::str::from_utf8(open).map_err(|_no_text| Invalid::new("", "must be text"))?;
    check_header_value(text)
}

fn at_header(name: &str) -> String {
    format!("/headers/{}", escape_pointer(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(access: &Access) -> Vec<(String, String)> {
        access.open_headers(&Vault::new(&[1; 32]), "s1").expect("open")
    }

    fn of(auth: Auth) -> Access {
        Access { auth: Some(auth), ..Access::default() }
    }

    #[test]
    fn each_kind_of_credential_is_its_header() {
        let secret = || Secret::new("s");
        let check = |auth: Auth, name: &str, value: &str| {
            assert_eq!(open(&of(auth)), [(name.to_owned(), value.to_owned())]);
        };
        check(Auth::Bearer(secret()), "authorization", "Bearer s");
        let pair = Auth::Basic("Aladdin".to_owned(), Secret::new("open sesame"));
        check(pair, "authorization", "Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ==");
        check(Auth::Header("X-Site".to_owned(), secret()), "X-Site", "s");
    }

    #[test]
    fn what_is_sealed_is_opened_and_what_cannot_be_is_said() {
        let vault = Vault::new(&[1; 32]);
        let mut access = of(Auth::Bearer(Secret::new("s")));
        access.headers.insert("x-key".to_owned(), Secret::new("k"));
        let before = open(&access);
        access.secrets_mut().for_each(|secret| secret.seal(&vault, "s1"));
        assert_eq!(access.open_headers(&vault, "s1").expect("its own"), before);
        let lost = access.open_headers(&Vault::new(&[2; 32]), "s1");
        assert_eq!(lost, Err(Locked::OtherKey));
        assert!(format!("{access:?}").contains("Bearer(Secret(…))"));
    }

    #[test]
    fn a_bad_credential_is_refused_at_its_field() {
        let headers = BTreeMap::from([("X-Site".to_owned(), "ob-7".to_owned())]);
        let check = |access: Access, is_https: bool, pointer: Option<&str>| {
            let refused = access.check(&headers, is_https).err().map(|error| error.pointer);
            assert_eq!(refused.as_deref(), pointer, "{access:?}");
        };
        let secret = |text: &str| Secret::new(text);
        let basic = |user: &str, text| of(Auth::Basic(user.to_owned(), Secret::new(text)));
        let header = |name: &str, text| of(Auth::Header(name.to_owned(), Secret::new(text)));
        check(of(Auth::Bearer(secret("abc.def="))), false, None);
        check(of(Auth::Bearer(secret(""))), false, Some("/auth/bearer/token"));
        check(of(Auth::Bearer(secret("a b"))), false, Some("/auth/bearer/token"));
        check(of(Auth::Bearer(secret("a\r\nb"))), false, Some("/auth/bearer/token"));
        check(basic("u", "p:q"), false, None);
        check(basic("u:v", "p"), false, Some("/auth/basic/user"));
        check(basic("u\n", "p"), false, Some("/auth/basic/user"));
        check(basic("u", "p\n"), false, Some("/auth/basic/password"));
        check(header("x-key", "v"), false, None);
        check(header("Host", "v"), false, Some("/auth/header/name"));
        check(header("x-key", "v\n"), false, Some("/auth/header/value"));
        check(header("x-site", "v"), false, Some("/headers/X-Site"));
        let tls = |ca: Option<String>| Access {
            tls: Some(Tls { ca, identity: None }),
            ..Access::default()
        };
        check(tls(Some("pem".to_owned())), true, None);
        check(tls(Some("pem".to_owned())), false, Some("/tls"));
        check(tls(None), true, Some("/tls"));
        check(tls(Some("x".repeat(PEM_BYTES_MAX + 1))), true, Some("/tls/ca"));
        let mut both = of(Auth::Bearer(secret("a")));
        both.headers.insert("Authorization".to_owned(), secret("b"));
        check(both, false, Some("/headers/Authorization"));
    }
}
