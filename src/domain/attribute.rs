//! CloudEvents attributes: names and typed values (CloudEvents 1.0.2, sections 3 and 3.1).

use std::borrow::Cow;

use smol_str::SmolStr;

use super::Invalid;

/// Longest attribute name the hub takes. The specification recommends at most 20.
pub const NAME_BYTES_MAX: usize = 64;

/// Longest attribute value, in UTF-8 bytes of its canonical string form.
pub const VALUE_BYTES_MAX: usize = 16 * 1024;

/// Most extension attributes of one event.
pub const EXTENSIONS_MAX: usize = 64;

/// The value of an extension attribute. Binary, URI and timestamp values travel as their canonical
/// strings, which is what every CloudEvents format does with them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Value {
    /// `true` or `false`.
    Boolean(bool),
    /// A whole number of 32 bits with sign.
    Integer(i32),
    /// Text.
    String(SmolStr),
}

impl Value {
    /// The canonical string form, which filters compare with and headers carry.
    pub fn canonical(&self) -> Cow<'_, str> {
        match self {
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::String(text) => Cow::Borrowed(text),
        }
    }
}

/// Checks an attribute name: lower-case letters and digits, not `data`.
pub fn check_name(name: &str) -> Result<(), Invalid> {
    let well_formed = !name.is_empty()
        && name.len() <= NAME_BYTES_MAX
        && name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    if !well_formed {
        return Err(Invalid::new(
            format!("/{}", escape_pointer(name)),
            format!("attribute names are 1 to {NAME_BYTES_MAX} characters of a-z and 0-9"),
        ));
    }
    if name == "data" || name == "data_base64" {
        return Err(Invalid::new(format!("/{name}"), "'data' cannot be an attribute name"));
    }
    Ok(())
}

/// Checks the text of an attribute: bounded, not empty, no control characters.
pub fn check_text(name: &str, text: &str) -> Result<(), Invalid> {
    let problem = if text.is_empty() {
        "must not be empty"
    } else if text.len() > VALUE_BYTES_MAX {
        "is longer than 16384 bytes"
    } else if text.chars().any(char::is_control) {
        "must not contain control characters"
    } else {
        return Ok(());
    };
    Err(Invalid::new(format!("/{}", escape_pointer(name)), problem))
}

/// Escapes a name for use in a JSON pointer (RFC 6901 section 3).
pub fn escape_pointer(name: &str) -> String {
    name.replace('~', "~0").replace('/', "~1")
}
