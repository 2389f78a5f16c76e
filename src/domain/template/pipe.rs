//! Filters of expressions: what is done with a value before it is written.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;

use super::context::Context;
use super::cursor::Cursor;
use super::fault::Problem;
use super::held::Held;
use super::limits::{FORMAT_BYTES_MAX, KEY_NAME_BYTES_MAX};
use super::output::{Full, Output};
use super::source::Source;
use crate::domain::draft::check_time;
use crate::domain::{Invalid, Timestamp};

/// All but RFC 3986's unreserved characters (section 2.3).
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// What `date` may write: no padding, no widths, nothing that depends on a place.
const DATE_SIGNS: &str = "YmdeHIMSfpjaAbByzsFT%";

const NAMES: &str = "json, url, base64, lower, upper, default(x), date(\"format\"), hmac(\"name\")";

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pipe {
    Json,
    Url,
    Base64,
    Lower,
    Upper,
    /// The value if there is none. Kept as it was written, too.
    Default {
        value: Value,
        written: String,
    },
    /// The format of a time in UTC.
    Date(String),
    /// The name of a key.
    Hmac(String),
}

impl Pipe {
    /// Reads a filter and its argument.
    pub(super) fn parse(cursor: &mut Cursor<'_>) -> Result<Self, Invalid> {
        let start = cursor.clone();
        let name = cursor.take_while(|symbol| symbol.is_ascii_alphanumeric() || symbol == '_');
        let plain = match name {
            "json" => Some(Self::Json),
            "url" => Some(Self::Url),
            "base64" => Some(Self::Base64),
            "lower" => Some(Self::Lower),
            "upper" => Some(Self::Upper),
            "default" | "date" | "hmac" => None,
            _ => return Err(start.bad(format!("is no filter; there are {NAMES}"))),
        };
        if !cursor.eat("(") {
            return plain
                .ok_or_else(|| start.bad(format!("{name} needs an argument; there are {NAMES}")));
        }
        if plain.is_some() {
            return Err(start.bad(format!("{name} takes no argument")));
        }
        let inside = cursor.clone();
        let written = cursor.take(cursor.before(|symbol| symbol == ')')).trim();
        if !cursor.eat(")") {
            return Err(inside.bad("the argument is not closed; write ')' after it"));
        }
        let value: Value = serde_json::from_str(written).map_err(|_| {
            inside.bad("the argument must be JSON: a text in double quotes, a number, ...")
        })?;
        Self::with(name, value, written).map_err(|detail| inside.bad(detail))
    }

    fn with(name: &str, value: Value, written: &str) -> Result<Self, String> {
        match (name, value) {
            ("default", value) => Ok(Self::Default { value, written: written.to_owned() }),
            ("date", Value::String(format)) => {
                check_format(&format)?;
                Ok(Self::Date(format))
            }
            ("hmac", Value::String(key)) if (1..=KEY_NAME_BYTES_MAX).contains(&key.len()) => {
                Ok(Self::Hmac(key))
            }
            ("hmac", Value::String(_)) => {
                Err(format!("the name of a key has 1 to {KEY_NAME_BYTES_MAX} bytes"))
            }
            _ => Err("the argument must be a text in double quotes".to_owned()),
        }
    }

    /// Does it to a value. `default` has nothing to do where there is one.
    pub(super) fn apply<'a>(
        &self,
        held: Held<'a>,
        source: &Source,
        context: &Context<'_>,
        bytes_max: usize,
    ) -> Result<Held<'a>, Problem> {
        let mut output = Output::new(bytes_max);
        match self {
            Self::Default { .. } => return Ok(held),
            Self::Json => held.put_json(source, &mut output)?,
            Self::Url => percent_encode(&held.text(source, bytes_max)?, &mut output)?,
            Self::Base64 => {
                let bytes = held.bytes(bytes_max)?;
                let length = base64::encoded_len(bytes.len(), true);
                length.filter(|length| *length <= bytes_max).ok_or(Full)?;
                output.put(BASE64.encode(&bytes).as_bytes())?;
            }
            Self::Lower => {
                let text = held.text(source, bytes_max)?;
                put_chars(text.chars().flat_map(char::to_lowercase), &mut output)?;
            }
            Self::Upper => {
                let text = held.text(source, bytes_max)?;
                put_chars(text.chars().flat_map(char::to_uppercase), &mut output)?;
            }
            Self::Date(format) => {
                let text = held.text(source, bytes_max)?;
                let date = date(&text, format).ok_or_else(|| Problem::Time(source.to_string()))?;
                output.put(date.as_bytes())?;
            }
            Self::Hmac(name) => {
                let key = context.keys.get(name).ok_or_else(|| Problem::Key(name.clone()))?;
                output.put(key.sign(&held.bytes(bytes_max)?).as_bytes())?;
            }
        }
        Ok(Held::Text(output.into_text().into()))
    }
}

/// Writes a text with all but unreserved characters percent-encoded.
pub(super) fn percent_encode(text: &str, output: &mut Output) -> Result<(), Full> {
    utf8_percent_encode(text, RESERVED).try_for_each(|piece| output.put(piece.as_bytes()))
}

fn put_chars(mut chars: impl Iterator<Item = char>, output: &mut Output) -> Result<(), Full> {
    chars.try_for_each(|symbol| output.put(symbol.encode_utf8(&mut [0; 4]).as_bytes()))
}

fn date(text: &str, format: &str) -> Option<String> {
    check_time(text).ok()?;
    let time: Timestamp = text.parse().ok()?;
    jiff::fmt::strtime::format(format, time).ok()
}

fn check_format(format: &str) -> Result<(), String> {
    if format.is_empty() || format.len() > FORMAT_BYTES_MAX {
        return Err(format!("a format has 1 to {FORMAT_BYTES_MAX} bytes"));
    }
    let mut symbols = format.chars();
    while let Some(symbol) = symbols.next() {
        if symbol == '%' && !symbols.next().is_some_and(|sign| DATE_SIGNS.contains(sign)) {
            return Err(format!("after '%' in a format there may be one of {DATE_SIGNS}"));
        }
    }
    Ok(())
}

/// As it is parsed again.
impl fmt::Display for Pipe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Json => f.write_str("json"),
            Self::Url => f.write_str("url"),
            Self::Base64 => f.write_str("base64"),
            Self::Lower => f.write_str("lower"),
            Self::Upper => f.write_str("upper"),
            Self::Default { written, .. } => write!(f, "default({written})"),
            Self::Date(format) => write!(f, "date({})", Value::from(format.as_str())),
            Self::Hmac(name) => write!(f, "hmac({})", Value::from(name.as_str())),
        }
    }
}
