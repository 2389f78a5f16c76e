//! URLs of templates. Data never chooses the host, unless the whole URL is one expression.

use percent_encoding::percent_decode_str;
use url::Url;

use super::text::{Piece, Text};
use crate::domain::sink::check_url;

/// Checks what a URL says before anything is known of an event.
pub(super) fn check(text: &Text) -> Result<(), String> {
    if text.sole().is_some() {
        return Ok(());
    }
    for piece in text.pieces() {
        if let Piece::Literal(literal) = piece {
            check_symbols(literal)?;
        }
    }
    let start = text.start();
    if text.is_literal() {
        return read(start, true).map(drop);
    }
    let detail = "must start with http:// or https://, a host and '/' before the first expression, \
                  or be one single expression: data does not choose the host";
    let (scheme, rest) = start.split_once("://").ok_or(detail)?;
    let end = rest.find(['/', '?', '#']).ok_or(detail)?;
    let authority = &rest[..end];
    let is_http = ["http", "https"].iter().any(|known| scheme.eq_ignore_ascii_case(known));
    // Parsers of URLs take all slashes there are: with none between them the host comes later.
    if authority.is_empty() || !is_http {
        return Err(detail.to_owned());
    }
    read(&format!("{scheme}://{authority}/"), true).map(drop)
}

/// Scheme, host and port, where no data is needed to tell.
pub(super) fn server(text: &Text) -> Option<String> {
    let start = text.start();
    let (scheme, rest) = start.split_once("://")?;
    let authority = rest.split(['/', '?', '#']).next()?;
    let url = Url::parse(&format!("{scheme}://{authority}/")).ok()?;
    Some(url.origin().ascii_serialization())
}

/// Reads a URL that is complete. `is_fixed` is one that does not stem from a single expression.
pub(super) fn read(text: &str, is_fixed: bool) -> Result<Url, String> {
    check_symbols(text)?;
    if is_fixed && has_dot_segment(text) {
        return Err("must not have '.' or '..' as a segment of its path".to_owned());
    }
    let url = Url::parse(text).map_err(|error| format!("is no URL: {error}"))?;
    check_url(&url).map_err(|error| error.detail)?;
    Ok(url)
}

/// Checks that there is nothing that parsers of URLs drop in silence or take for something else.
fn check_symbols(text: &str) -> Result<(), String> {
    let strange = |symbol: char| symbol.is_whitespace() || symbol.is_control() || symbol == '\\';
    match text.contains(strange) {
        true => {
            Err("must not contain white space, control characters or '\\'; data that may have \
                     them needs the filter url"
                .to_owned())
        }
        false => Ok(()),
    }
}

/// Whether a path would lead elsewhere than it says. Parsers of URLs take an encoded dot
/// for a dot.
fn has_dot_segment(text: &str) -> bool {
    let path = text.split(['?', '#']).next().unwrap_or_default();
    let is_dots = |segment: &str| {
        let decoded: Vec<u8> = percent_decode_str(segment).collect();
        matches!(decoded.as_slice(), b"." | b"..")
    };
    path.split('/').any(is_dots)
}
