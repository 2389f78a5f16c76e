//! Sinks: where deliveries go, and what may stand in a target's URL and headers.

use std::collections::BTreeMap;

use url::Url;

use super::Invalid;
use super::access::Access;
use super::subscription::LABEL_BYTES_MAX;

/// Most headers that a sink may add, and their length together.
pub const HEADERS_MAX: usize = 32;
/// Longest header value.
pub const HEADER_BYTES_MAX: usize = 4_096;

/// Longest target URL.
pub const URL_BYTES_MAX: usize = 2_048;

/// What stands in the place of a credential where it is shown.
pub const MASK: &str = "***";

/// Words that give a credential away in a header's name.
const WORDS: [&str; 9] =
    ["auth", "cookie", "credential", "key", "pass", "secret", "session", "signature", "token"];

/// Where deliveries go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sink {
    /// An HTTP request for each event.
    Http {
        /// The target, with its query.
        url: Url,
        /// `POST`, `PUT` or `PATCH`.
        method: Method,
        /// Headers to add that are no credentials.
        headers: BTreeMap<String, String>,
        /// What the target asks for before it takes deliveries.
        access: Box<Access>,
    },
    /// Wherever the template's steps say.
    Steps,
}

/// Request methods that deliver events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Method {
    /// POST
    Post,
    /// PUT
    Put,
    /// PATCH
    Patch,
}

impl Method {
    /// The method as HTTP writes it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Post => "POST",
            Self::Put => "PUT",
            Self::Patch => "PATCH",
        }
    }

    /// Reads the method.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        [Self::Post, Self::Put, Self::Patch]
            .into_iter()
            .find(|method| method.as_str() == text)
            .ok_or_else(|| Invalid::new("", "must be POST, PUT or PATCH"))
    }
}

/// Checks a target's URL: http or https, a host, no user, no fragment.
pub fn check_url(url: &Url) -> Result<(), Invalid> {
    let problem = if !matches!(url.scheme(), "http" | "https") {
        "must start with http:// or https://"
    } else if url.host().is_none() {
        "must name a host"
    } else if !url.username().is_empty() || url.password().is_some() {
        "must not contain a user or password; use a header"
    } else if url.fragment().is_some() {
        "must not have a fragment"
    } else if url.as_str().len() > URL_BYTES_MAX {
        "is longer than 2048 bytes"
    } else {
        return Ok(());
    };
    Err(Invalid::new("", problem))
}

/// Names that a sink's headers may not have: framing, identity, and what the hub itself sets.
const RESERVED_HEADERS: [&str; 16] = [
    "connection",
    "content-encoding",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-authenticate",
    "proxy-authorization",
    "proxy-connection",
    "te",
    "traceparent",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// Checks the headers that a sink adds.
pub(super) fn check_headers(headers: &BTreeMap<String, String>) -> Result<(), Invalid> {
    if headers.len() > HEADERS_MAX {
        return Err(Invalid::new("", format!("at most {HEADERS_MAX} headers")));
    }
    for (name, value) in headers {
        let checked = check_header_name(name).and_then(|()| check_header_value(value));
        let at = || format!("/{}", super::attribute::escape_pointer(name));
        checked.map_err(|error| error.under(&at()))?;
    }
    Ok(())
}

/// Checks a header's name: a token, and none that HTTP or the hub sets.
pub(crate) fn check_header_name(name: &str) -> Result<(), Invalid> {
    let lower = name.to_ascii_lowercase();
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || name.len() > LABEL_BYTES_MAX || !name.bytes().all(token) {
        return Err(Invalid::new("", "is not a header name (RFC 9110 section 5.1)"));
    }
    let prefixed = ["ce-", "webhook-", "tidings-"].iter().any(|prefix| lower.starts_with(prefix));
    if prefixed || RESERVED_HEADERS.contains(&lower.as_str()) {
        return Err(Invalid::new("", "is set by the hub or by HTTP itself"));
    }
    Ok(())
}

/// Checks a header's value: bounded, and without what would end it early.
pub(crate) fn check_header_value(value: &str) -> Result<(), Invalid> {
    let visible = |byte: u8| byte == b'\t' || (0x20..0x7f).contains(&byte) || byte >= 0x80;
    if value.len() > HEADER_BYTES_MAX || !value.bytes().all(visible) {
        let detail = format!("must be at most {HEADER_BYTES_MAX} bytes without control characters");
        return Err(Invalid::new("", detail));
    }
    Ok(())
}

/// Whether a header's name says that its value is a credential.
pub fn is_credential(name: &str) -> bool {
    let name = name.to_ascii_lowercase();
    WORDS.iter().any(|word| name.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_target_url_is_plain_http_or_https() {
        for good in ["http://a.lan/hook?x=1", "https://[2001:db8::1]:8443/"] {
            assert!(check_url(&good.parse().expect(good)).is_ok(), "{good}");
        }
        for bad in ["ftp://a/", "http://u:p@a/", "http://a/#f", "mailto:x@y"] {
            assert!(check_url(&bad.parse().expect(bad)).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_sink_cannot_smuggle_headers() {
        let check = |name: &str, value: &str, good: bool| {
            let headers = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            assert_eq!(check_headers(&headers).is_ok(), good, "{name}: {value}");
        };
        check("x-site", "ob-7", true);
        check("Authorization", "Bearer x", true);
        check("Host", "elsewhere", false);
        check("content-type", "text/plain", false);
        check("ce-id", "1", false);
        check("webhook-id", "1", false);
        check("x y", "1", false);
        check("x-split", "a\r\nx-evil: 1", false);
    }
}
