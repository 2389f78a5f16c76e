//! A place in a text that is being read. Complaints name the column and the fix.

use crate::domain::Invalid;

/// Where reading stands.
#[derive(Debug, Clone)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Cursor<'a> {
    /// At the start of a text.
    pub(super) fn new(text: &'a str) -> Self {
        Self { text, at: 0 }
    }

    /// What is still to be read.
    pub(super) fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// Reads a sign, if it is the next.
    pub(super) fn eat(&mut self, sign: &str) -> bool {
        let is_next = self.rest().starts_with(sign);
        if is_next {
            self.at += sign.len();
        }
        is_next
    }

    /// Reads so many bytes.
    pub(super) fn take(&mut self, bytes: usize) -> &'a str {
        let taken = &self.rest()[..bytes];
        self.at += bytes;
        taken
    }

    /// Reads up to the first character of another kind.
    pub(super) fn take_while(&mut self, is_wanted: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        self.take(rest.find(|symbol| !is_wanted(symbol)).unwrap_or(rest.len()))
    }

    /// Reads white space.
    pub(super) fn skip_space(&mut self) {
        self.take_while(char::is_whitespace);
    }

    /// How many bytes there are before a character that stands outside of JSON strings.
    pub(super) fn before(&self, is_end: impl Fn(char) -> bool) -> usize {
        let (mut is_quoted, mut is_escaped) = (false, false);
        let ends = |(_, symbol): &(usize, char)| {
            let was_escaped = std::mem::take(&mut is_escaped);
            match symbol {
                '"' if !was_escaped => is_quoted = !is_quoted,
                '\\' if is_quoted && !was_escaped => is_escaped = true,
                symbol => return !is_quoted && is_end(*symbol),
            }
            false
        };
        let rest = self.rest();
        rest.char_indices().find(ends).map_or(rest.len(), |(at, _)| at)
    }

    /// What is wrong here.
    pub(super) fn bad(&self, detail: impl std::fmt::Display) -> Invalid {
        let column = self.text[..self.at].chars().count() + 1;
        Invalid::new("", format!("column {column}: {detail}"))
    }
}
