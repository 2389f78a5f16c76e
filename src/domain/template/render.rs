//! Rendering: a step and what is known make a request or an event to emit. All that is made counts
//! against one limit.

use bytes::Bytes;
use url::Url;

use super::context::Context;
use super::expression::Expression;
use super::fault::{Fault, Problem};
use super::held::Held;
use super::node::Node;
use super::output::Output;
use super::pipe::{Pipe, percent_encode};
use super::step::{Body, Draft, Emit, Method, Step, Template};
use super::target;
use super::text::{Piece, Text};
use crate::domain::attribute::escape_pointer;
use crate::domain::sink::{Sink, check_header_value, check_url};

const CONTENT_TYPE: &str = "content-type";
const JSON: &str = "application/json";

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Rendered {
    /// A request to send.
    Request(Request),
    /// An event to emit.
    Emit(Emitted),
}

/// A request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The method.
    pub method: Method,
    /// The target, with its query.
    pub url: Url,
    /// It goes to the subscription's sink, which may have headers to add.
    pub to_sink: bool,
    /// Headers, no name twice. A body that is not a plain text has a `content-type`.
    pub headers: Vec<(String, String)>,
    /// The body, if there is one.
    pub body: Option<Bytes>,
}

/// What a derived event says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Emitted {
    /// `type`
    pub kind: String,
    /// `source`
    pub source: Option<String>,
    /// `subject`
    pub subject: Option<String>,
    /// The topic.
    pub topic: Option<String>,
    /// `id`
    pub id: Option<String>,
    /// The data: one JSON text.
    pub data: Option<Bytes>,
}

impl Template {
    /// Renders a step. The same context gives the same output.
    pub fn render(&self, step: usize, context: &Context<'_>) -> Result<Rendered, Fault> {
        let mut renderer = Renderer { context, left: context.output_bytes_max };
        let rendered = match self.steps.get(step) {
            Some(Step::Request(draft)) => renderer.request(draft).map(Rendered::Request),
            Some(Step::Emit(emit)) => {
                let emitted = renderer.emit(emit).map(Rendered::Emit);
                emitted.map_err(|fault| fault.under("/emit"))
            }
            None => Err(Problem::Step.at("")),
        };
        rendered.map_err(|fault| fault.of(step))
    }
}

/// Renders one text.
pub(super) fn text(text: &Text, context: &Context<'_>) -> Result<String, Problem> {
    Renderer { context, left: context.output_bytes_max }.text(text)
}

struct Renderer<'a> {
    context: &'a Context<'a>,
    /// The bytes that may still be made.
    left: usize,
}

impl Renderer<'_> {
    fn request(&mut self, draft: &Draft) -> Result<Request, Fault> {
        let url = self.url(draft)?;
        let mut headers = Vec::new();
        for (name, text) in &draft.headers {
            let at = || format!("/headers/{}", escape_pointer(name));
            let value = self.text(text).map_err(|problem| problem.at(at()))?;
            check_header_value(&value).map_err(|error| Problem::Header(error.detail).at(at()))?;
            self.spend(name.len() + value.len()).map_err(|problem| problem.at(at()))?;
            headers.push((name.clone(), value));
        }
        let is_typed = headers.iter().any(|(name, _)| name.eq_ignore_ascii_case(CONTENT_TYPE));
        if matches!(draft.body, Some(Body::Json(_))) && !is_typed {
            let length = CONTENT_TYPE.len() + JSON.len();
            self.spend(length).map_err(|problem| problem.at("/headers"))?;
            headers.push((CONTENT_TYPE.to_owned(), JSON.to_owned()));
        }
        let body = match &draft.body {
            None => None,
            Some(Body::Text(text)) => {
                let text = self.text(text).map_err(|problem| problem.at("/body"))?;
                Some(Bytes::from(text))
            }
            Some(Body::Json(node)) => Some(self.json(node).map_err(|fault| fault.under("/body"))?),
        };
        let to_sink = draft.url.is_none();
        Ok(Request { method: draft.method, url, to_sink, headers, body })
    }

    fn url(&mut self, draft: &Draft) -> Result<Url, Fault> {
        let bad = |detail| Problem::Url(detail).at("/url");
        let mut url = match (&draft.url, &self.context.subscription.wish.sink) {
            (Some(text), _) => {
                let is_fixed = text.sole().is_none();
                let text = self.text(text).map_err(|problem| problem.at("/url"))?;
                target::read(&text, is_fixed).map_err(bad)?
            }
            (None, Sink::Http { url, .. }) => url.clone(),
            (None, Sink::Steps) => return Err(bad("is missing".to_owned())),
        };
        let mut query = Output::new(self.left);
        for (name, value) in &draft.query {
            let at = || format!("/query/{}", escape_pointer(name));
            let value = self.text(value).map_err(|problem| problem.at(at()))?;
            let separator: &[u8] = if query.len() == 0 { b"" } else { b"&" };
            query
                .put(separator)
                .and_then(|()| percent_encode(name, &mut query))
                .and_then(|()| query.put(b"="))
                .and_then(|()| percent_encode(&value, &mut query))
                .map_err(|full| Problem::from(full).at(at()))?;
        }
        if query.len() > 0 {
            let own = url.query().filter(|own| !own.is_empty());
            let own = own.map(|own| format!("{own}&")).unwrap_or_default();
            url.set_query(Some(&format!("{own}{}", query.into_text())));
            check_url(&url).map_err(|error| bad(error.detail))?;
        }
        self.spend(url.as_str().len()).map_err(|problem| problem.at("/url"))?;
        Ok(url)
    }

    fn emit(&mut self, emit: &Emit) -> Result<Emitted, Fault> {
        Ok(Emitted {
            kind: self.attribute(&emit.kind, "/type")?,
            source: self.optional(emit.source.as_ref(), "/source")?,
            subject: self.optional(emit.subject.as_ref(), "/subject")?,
            topic: self.optional(emit.topic.as_ref(), "/topic")?,
            id: self.optional(emit.id.as_ref(), "/id")?,
            data: emit
                .data
                .as_ref()
                .map(|data| self.json(data))
                .transpose()
                .map_err(|fault| fault.under("/data"))?,
        })
    }

    fn optional(&mut self, text: Option<&Text>, place: &str) -> Result<Option<String>, Fault> {
        text.map(|text| self.attribute(text, place)).transpose()
    }

    fn attribute(&mut self, text: &Text, place: &str) -> Result<String, Fault> {
        let text = self.text(text).map_err(|problem| problem.at(place))?;
        self.spend(text.len()).map_err(|problem| problem.at(place))?;
        Ok(text)
    }

    fn json(&mut self, node: &Node) -> Result<Bytes, Fault> {
        let mut output = Output::new(self.left);
        self.put_node(node, &mut output)?;
        self.spend(output.len()).map_err(|problem| problem.at(""))?;
        Ok(Bytes::from(output.into_bytes()))
    }

    fn spend(&mut self, bytes: usize) -> Result<(), Problem> {
        self.left = self.left.checked_sub(bytes).ok_or(Problem::TooLarge)?;
        Ok(())
    }

    /// A text with its expressions' values in it. Not yet counted.
    fn text(&self, text: &Text) -> Result<String, Problem> {
        let mut output = Output::new(self.left);
        for piece in text.pieces() {
            match piece {
                Piece::Literal(literal) => output.put(literal.as_bytes())?,
                Piece::Expression(expression) => {
                    let held = self.evaluate(expression)?;
                    output.put(held.text(&expression.source, self.left)?.as_bytes())?;
                }
            }
        }
        Ok(output.into_text())
    }

    fn put_node(&self, node: &Node, output: &mut Output) -> Result<(), Fault> {
        let put = |bytes: &[u8], output: &mut Output| {
            output.put(bytes).map_err(|full| Problem::from(full).at(""))
        };
        match node {
            Node::Text(text) => self.put_leaf(text, output).map_err(|problem| problem.at("")),
            Node::Plain(value) => output.put_json(value).map_err(|full| Problem::from(full).at("")),
            Node::List(nodes) => {
                put(b"[", output)?;
                for (index, node) in nodes.iter().enumerate() {
                    put(if index == 0 { b"" } else { b"," }, output)?;
                    let item = self.put_node(node, output);
                    item.map_err(|fault| fault.under(&format!("/{index}")))?;
                }
                put(b"]", output)
            }
            Node::Object(members) => {
                put(b"{", output)?;
                for (index, (name, node)) in members.iter().enumerate() {
                    put(if index == 0 { b"" } else { b"," }, output)?;
                    output.put_json(name).map_err(|full| Problem::from(full).at(""))?;
                    put(b":", output)?;
                    let member = self.put_node(node, output);
                    let at = || format!("/{}", escape_pointer(name));
                    member.map_err(|fault| fault.under(&at()))?;
                }
                put(b"}", output)
            }
        }
    }

    fn put_leaf(&self, text: &Text, output: &mut Output) -> Result<(), Problem> {
        match text.sole() {
            Some(expression) => self.evaluate(expression)?.put_json(&expression.source, output),
            None => Ok(output.put_json(&self.text(text)?)?),
        }
    }

    /// An expression's value. What is missing passes by all filters but `default`.
    fn evaluate<'b>(&'b self, expression: &'b Expression) -> Result<Held<'b>, Problem> {
        let source = &expression.source;
        let mut held = self.context.find(source);
        for pipe in &expression.pipes {
            held = match (held, pipe) {
                (Some(held), pipe) => Some(pipe.apply(held, source, self.context, self.left)?),
                (None, Pipe::Default { value, .. }) => {
                    Some(Held::Json(std::borrow::Cow::Borrowed(value)))
                }
                (None, _) => None,
            };
        }
        held.ok_or_else(|| Problem::Missing(source.to_string()))
    }
}
