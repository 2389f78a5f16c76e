//! A text with expressions.

use std::fmt;

use super::cursor::Cursor;
use super::expression::Expression;
use super::scope::Scope;
use crate::domain::Invalid;

/// Literal text and expressions, in order. No two literals are neighbours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Text(Vec<Piece>);

/// A piece of a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Piece {
    Literal(String),
    Expression(Expression),
}

impl Text {
    /// Reads a text. `{{{{` is a plain `{{`; of three braces the first is plain.
    pub(super) fn parse(source: &str, scope: &mut Scope) -> Result<Self, Invalid> {
        let mut cursor = Cursor::new(source);
        let (mut pieces, mut literal) = (Vec::new(), String::new());
        while !cursor.rest().is_empty() {
            let plain = cursor.rest().find("{{").unwrap_or(cursor.rest().len());
            literal.push_str(cursor.take(plain));
            if cursor.eat("{{{{") {
                literal.push_str("{{");
                continue;
            }
            if cursor.rest().starts_with("{{{") {
                literal.push_str(cursor.take(1));
            }
            let open = cursor.clone();
            if cursor.eat("{{") {
                if !literal.is_empty() {
                    pieces.push(Piece::Literal(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::Expression(Expression::parse(&mut cursor, &open, scope)?));
            }
        }
        if !literal.is_empty() {
            pieces.push(Piece::Literal(literal));
        }
        Ok(Self(pieces))
    }

    /// The pieces in order.
    pub(super) fn pieces(&self) -> &[Piece] {
        &self.0
    }

    /// The expression, if there is one and nothing else.
    pub(super) fn sole(&self) -> Option<&Expression> {
        match self.0.as_slice() {
            [Piece::Expression(expression)] => Some(expression),
            _ => None,
        }
    }

    /// Whether nothing in it depends on anything.
    pub(super) fn is_literal(&self) -> bool {
        self.0.iter().all(|piece| matches!(piece, Piece::Literal(_)))
    }

    /// The literal that it starts with.
    pub(super) fn start(&self) -> &str {
        match self.0.first() {
            Some(Piece::Literal(text)) => text,
            Some(Piece::Expression(_)) | None => "",
        }
    }
}

/// As it is parsed again.
impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|piece| match piece {
            Piece::Literal(text) => f.write_str(&text.replace("{{", "{{{{")),
            Piece::Expression(expression) => expression.fmt(f),
        })
    }
}
