//! Encodings: in which form an event is delivered.

use super::Invalid;

/// In which form an event is delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// The CloudEvents JSON format.
    Structured,
    /// Data as the body, attributes as `ce-` headers.
    Binary,
    /// Data as the body, nothing else.
    Raw,
}

impl Encoding {
    /// The encoding's name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Structured => "structured",
            Self::Binary => "binary",
            Self::Raw => "raw",
        }
    }

    /// Reads the encoding's name.
    pub fn parse(text: &str) -> Result<Self, Invalid> {
        [Self::Structured, Self::Binary, Self::Raw]
            .into_iter()
            .find(|encoding| encoding.as_str() == text)
            .ok_or_else(|| Invalid::new("", "must be structured, binary or raw"))
    }
}
