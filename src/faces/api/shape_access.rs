//! What a target asks for before it takes deliveries, in JSON: the members `auth` and `tls` of a
//! sink. Secrets are never printed.

use serde_json::{Value, json};

use super::fields::Field;
use super::mask;
use crate::domain::Invalid;
use crate::domain::access::{Access, Auth, Identity, Tls};
use crate::domain::secret::Secret;
use crate::domain::sink::MASK;

/// Reads a credential. `held` is what the subscription has so far: masked secrets are kept.
pub(crate) fn parse_auth(field: &Field<'_>, held: Option<&Access>) -> Result<Auth, Invalid> {
    let held = held.and_then(|held| held.auth.as_ref());
    let mut kinds = field.fields()?;
    let (bearer, basic, header) = (kinds.get("bearer"), kinds.get("basic"), kinds.get("header"));
    kinds.done(&[])?;
    match (bearer, basic, header) {
        (Some(field), None, None) => {
            let mut fields = field.fields()?;
            let token = fields.need("token")?;
            fields.done(&[])?;
            let held = held.and_then(|held| match held {
                Auth::Bearer(token) => Some(token),
                Auth::Basic(..) | Auth::Header(..) => None,
            });
            mask::secret(&token, held).map(Auth::Bearer)
        }
        (None, Some(field), None) => {
            let mut fields = field.fields()?;
            let (user, password) = (fields.need("user")?, fields.need("password")?);
            fields.done(&[])?;
            let held = held.and_then(|held| match held {
                Auth::Basic(_, password) => Some(password),
                Auth::Bearer(_) | Auth::Header(..) => None,
            });
            Ok(Auth::Basic(user.text()?.to_owned(), mask::secret(&password, held)?))
        }
        (None, None, Some(field)) => {
            let mut fields = field.fields()?;
            let (name, value) = (fields.need("name")?, fields.need("value")?);
            fields.done(&[])?;
            let name = name.text()?;
            let held = held.and_then(|held| match held {
                Auth::Header(of, value) if of.eq_ignore_ascii_case(name) => Some(value),
                Auth::Header(..) | Auth::Bearer(_) | Auth::Basic(..) => None,
            });
            Ok(Auth::Header(name.to_owned(), mask::secret(&value, held)?))
        }
        _ => Err(field.bad("must have one of the members bearer, basic and header")),
    }
}

/// Reads TLS of a target's own.
pub(crate) fn parse_tls(field: &Field<'_>, held: Option<&Access>) -> Result<Tls, Invalid> {
    let held = held.and_then(|held| held.tls.as_ref()?.identity.as_ref());
    let mut fields = field.fields()?;
    let text = |field: Field<'_>| field.text().map(str::to_owned);
    let ca = fields.get("ca").map(text).transpose()?;
    let certificate = fields.get("certificate");
    let identity = match (certificate, fields.get("key")) {
        (Some(certificate), Some(key)) => {
            let key = mask::secret(&key, held.map(|held| &held.key))?;
            Some(Identity { certificate: certificate.text()?.to_owned(), key })
        }
        (Some(_), None) => {
            return Err(Invalid::new(format!("{}/key", field.at), "goes with the certificate"));
        }
        (None, Some(_)) => {
            return Err(Invalid::new(format!("{}/certificate", field.at), "goes with the key"));
        }
        (None, None) => None,
    };
    fields.done(&[])?;
    Ok(Tls { ca, identity })
}

/// Writes a credential, its secret masked.
pub(crate) fn print_auth(auth: &Auth) -> Value {
    let masked = |_never_shown: &Secret| MASK;
    match auth {
        Auth::Bearer(token) => json!({"bearer": {"token": masked(token)}}),
        Auth::Basic(user, password) => {
            json!({"basic": {"user": user, "password": masked(password)}})
        }
        Auth::Header(name, value) => json!({"header": {"name": name, "value": masked(value)}}),
    }
}

/// Writes TLS of a target's own. Certificates are public.
pub(crate) fn print_tls(tls: &Tls) -> Value {
    let mut value = json!({});
    if let Some(ca) = &tls.ca {
        value["ca"] = json!(ca);
    }
    if let Some(identity) = &tls.identity {
        value["certificate"] = json!(identity.certificate);
        value["key"] = json!(MASK);
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::faces::api::fields::Fields;

    fn read(value: &Value, held: Option<&Access>) -> Result<Access, Invalid> {
        let mut fields = Fields::of(value, "")?;
        Ok(Access {
            auth: fields.get("auth").map(|field| parse_auth(&field, held)).transpose()?,
            tls: fields.get("tls").map(|field| parse_tls(&field, held)).transpose()?,
            ..Access::default()
        })
    }

    #[test]
    fn secrets_are_masked_and_the_mask_keeps_them() {
        let check = |auth: Value, shown: Value| {
            let tls = json!({"ca": "roots", "certificate": "chain", "key": "secret"});
            let first = read(&json!({"auth": auth, "tls": tls}), None).expect("valid");
            let auth = first.auth.as_ref().map(print_auth).expect("some");
            let tls = first.tls.as_ref().map(print_tls).expect("some");
            assert_eq!(auth, shown);
            assert_eq!(tls, json!({"ca": "roots", "certificate": "chain", "key": "***"}));
            let again = read(&json!({"auth": auth, "tls": tls}), Some(&first));
            assert_eq!(again.expect("valid"), first);
        };
        check(json!({"bearer": {"token": "t"}}), json!({"bearer": {"token": "***"}}));
        check(
            json!({"basic": {"user": "u", "password": "p"}}),
            json!({"basic": {"user": "u", "password": "***"}}),
        );
        check(
            json!({"header": {"name": "x-k", "value": "v"}}),
            json!({"header": {"name": "x-k", "value": "***"}}),
        );
    }

    #[test]
    fn a_bad_member_is_refused_at_its_place() {
        let bearer = read(&json!({"auth": {"bearer": {"token": "t"}}}), None).expect("valid");
        let check = |value: Value, pointer: &str| {
            let error = read(&value, Some(&bearer)).expect_err(pointer);
            assert_eq!(error.pointer, pointer, "{error}");
        };
        check(json!({"auth": "t"}), "/auth");
        check(json!({"auth": {}}), "/auth");
        check(json!({"auth": {"digest": {}}}), "/auth/digest");
        check(json!({"auth": {"bearer": {"token": "t"}, "basic": {}}}), "/auth");
        check(json!({"auth": {"bearer": {}}}), "/auth/bearer/token");
        check(json!({"auth": {"bearer": {"token": 1}}}), "/auth/bearer/token");
        let masked = json!({"auth": {"basic": {"user": "u", "password": "***"}}});
        check(masked, "/auth/basic/password");
        let masked = json!({"auth": {"header": {"name": "a", "value": "***"}}});
        check(masked, "/auth/header/value");
        check(json!({"auth": {"basic": {"user": "u"}}}), "/auth/basic/password");
        check(json!({"auth": {"header": {"value": "v"}}}), "/auth/header/name");
        check(json!({"tls": {"certificate": "c"}}), "/tls/key");
        check(json!({"tls": {"key": "k"}}), "/tls/certificate");
        check(json!({"tls": {"certificate": "c", "key": "***"}}), "/tls/key");
        check(json!({"tls": {"cert": "c"}}), "/tls/cert");
    }
}
