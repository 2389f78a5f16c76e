//! A value on its way from its source through filters into the output.

use std::borrow::Cow;

use serde_json::Value;

use super::fault::Problem;
use super::output::Output;
use super::source::Source;
use crate::domain::event::{Data, Form};

/// A value.
#[derive(Debug, Clone)]
pub(super) enum Held<'a> {
    /// A JSON value.
    Json(Cow<'a, Value>),
    /// A text.
    Text(Cow<'a, str>),
    /// All of an event's data, as it came in.
    Data(&'a Data),
}

impl Held<'_> {
    /// The value as bytes: texts and whole data as they are, other values as compact JSON.
    pub(super) fn bytes(&self, bytes_max: usize) -> Result<Cow<'_, [u8]>, Problem> {
        match self {
            Self::Text(text) => Ok(Cow::Borrowed(text.as_bytes())),
            Self::Data(data) => Ok(Cow::Borrowed(&data.bytes)),
            Self::Json(value) => match &**value {
                Value::String(text) => Ok(Cow::Borrowed(text.as_bytes())),
                value => {
                    let mut output = Output::new(bytes_max);
                    output.put_json(value)?;
                    Ok(Cow::Owned(output.into_bytes()))
                }
            },
        }
    }

    /// The value as text.
    pub(super) fn text(&self, source: &Source, bytes_max: usize) -> Result<Cow<'_, str>, Problem> {
        let binary = || Problem::Binary(source.to_string());
        match self.bytes(bytes_max)? {
            Cow::Borrowed(bytes) => {
                std::str::from_utf8(bytes).map(Cow::Borrowed).map_err(|_| binary())
            }
            Cow::Owned(bytes) => String::from_utf8(bytes).map(Cow::Owned).map_err(|_| binary()),
        }
    }

    /// Writes the value as JSON. Data that is JSON stays the bytes it is.
    pub(super) fn put_json(&self, source: &Source, output: &mut Output) -> Result<(), Problem> {
        match self {
            Self::Json(value) => output.put_json(value)?,
            Self::Text(text) => output.put_json(text)?,
            Self::Data(data) if data.form == Form::Json => output.put(&data.bytes)?,
            Self::Data(data) => {
                let text = std::str::from_utf8(&data.bytes);
                output.put_json(&text.map_err(|_| Problem::Binary(source.to_string()))?)?;
            }
        }
        Ok(())
    }
}
