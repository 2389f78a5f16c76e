//! A template as JSON asks for it. Errors carry the JSON pointer of what is wrong.

use std::collections::BTreeSet;

use serde_json::{Map, Value};

use super::limits::{QUERY_MAX, SOURCE_BYTES_MAX, STEPS_MAX};
use super::node::Node;
use super::output::Output;
use super::scope::{Part, Scope};
use super::step::{Body, Draft, Emit, Method, Step, Template};
use super::target;
use super::text::{Piece, Text};
use crate::domain::Invalid;
use crate::domain::attribute::escape_pointer;
use crate::domain::sink::{HEADERS_MAX, check_header_name, check_header_value};

const REQUEST: [&str; 6] = ["method", "url", "headers", "query", "body", "capture"];
const EMIT: [&str; 6] = ["type", "source", "subject", "topic", "data", "id"];

impl Template {
    /// Reads a template and checks all that can be known before there is an event.
    pub fn parse(value: &Value) -> Result<Self, Invalid> {
        check_size(value)?;
        let members = members(value, &["steps"])?;
        let steps = get(members, "steps").and_then(Value::as_array);
        let steps = steps.filter(|steps| (1..=STEPS_MAX).contains(&steps.len()));
        let steps = steps.ok_or_else(|| {
            Invalid::new("/steps", format!("must be a list of 1 to {STEPS_MAX} steps"))
        })?;
        let mut scope = Scope::default();
        let parse = |(index, step): (usize, &Value)| {
            let step = parse_step(step, &mut scope);
            step.map_err(|error| error.under(&format!("/steps/{index}")))
        };
        let steps = steps.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        let template = Self { steps };
        // A printed template can be longer than what was read, and must be readable all the same.
        check_size(&template.print())?;
        Ok(template)
    }

    /// Checks that every request says where it goes: there is no sink that would.
    pub fn check_targets(&self) -> Result<(), Invalid> {
        let is_lost = |step: &Step| matches!(step, Step::Request(Draft { url: None, .. }));
        match self.steps.iter().position(is_lost) {
            None => Ok(()),
            Some(step) => {
                let detail = "is required where the subscription has no sink";
                Err(Invalid::new(format!("/steps/{step}/url"), detail))
            }
        }
    }
}

fn check_size(value: &Value) -> Result<(), Invalid> {
    Output::new(SOURCE_BYTES_MAX).put_json(value).map_err(|_full| {
        Invalid::new("", format!("a template has at most {SOURCE_BYTES_MAX} bytes in all"))
    })
}

fn parse_step(value: &Value, scope: &mut Scope) -> Result<Step, Invalid> {
    let emit = value.as_object().and_then(|members| get(members, "emit"));
    let step = match emit {
        Some(emit) => {
            members(value, &["emit"])?;
            let emit = parse_emit(emit, scope).map_err(|error| error.under("/emit"))?;
            Step::Emit(emit)
        }
        None => Step::Request(parse_request(value, scope)?),
    };
    scope.enter_next(match &step {
        Step::Request(draft) => draft.capture.clone(),
        Step::Emit(_) => BTreeSet::new(),
    });
    Ok(step)
}

fn parse_request(value: &Value, scope: &mut Scope) -> Result<Draft, Invalid> {
    let members = members(value, &REQUEST)?;
    let method = text(members, "method")?.ok_or_else(|| required("method"))?;
    let method = Method::parse(method).map_err(|error| error.under("/method"))?;
    let url = parse_text(members, "url", scope)?;
    if let Some(url) = &url {
        target::check(url).map_err(|detail| Invalid::new("/url", detail))?;
    }
    let headers = parse_texts(members, "headers", HEADERS_MAX, scope)?;
    check_headers(&headers).map_err(|error| error.under("/headers"))?;
    let query = parse_texts(members, "query", QUERY_MAX, scope)?;
    let body = get(members, "body").map(|body| match body {
        Value::String(text) => Text::parse(text, scope).map(Body::Text),
        body => Node::parse(body, scope).map(Body::Json),
    });
    let body = body.transpose().map_err(|error| error.under("/body"))?;
    let capture = get(members, "capture").map_or(Ok(BTreeSet::new()), parse_capture)?;
    Ok(Draft { method, url, headers, query, body, capture })
}

fn parse_emit(value: &Value, scope: &mut Scope) -> Result<Emit, Invalid> {
    let members = members(value, &EMIT)?;
    Ok(Emit {
        kind: parse_text(members, "type", scope)?.ok_or_else(|| required("type"))?,
        source: parse_text(members, "source", scope)?,
        subject: parse_text(members, "subject", scope)?,
        topic: parse_text(members, "topic", scope)?,
        id: parse_text(members, "id", scope)?,
        data: get(members, "data")
            .map(|data| Node::parse(data, scope))
            .transpose()
            .map_err(|error| error.under("/data"))?,
    })
}

fn parse_capture(value: &Value) -> Result<BTreeSet<Part>, Invalid> {
    let bad = || {
        let names = Part::ALL.map(Part::as_str).join(", ");
        Invalid::new("/capture", format!("must be a list of some of {names}, each once"))
    };
    let mut parts = BTreeSet::new();
    for name in value.as_array().ok_or_else(bad)? {
        let part = Part::ALL.into_iter().find(|part| name == part.as_str()).ok_or_else(bad)?;
        if !parts.insert(part) {
            return Err(bad());
        }
    }
    Ok(parts)
}

/// The rule of a sink's headers, but a template may say what its body is.
fn check_headers(headers: &[(String, Text)]) -> Result<(), Invalid> {
    let mut names = BTreeSet::new();
    for (name, text) in headers {
        let lower = name.to_ascii_lowercase();
        let mut checked = match lower.as_str() {
            "content-type" => Ok(()),
            _ => check_header_name(name),
        };
        for piece in text.pieces() {
            if let Piece::Literal(literal) = piece {
                checked = checked.and_then(|()| check_header_value(literal));
            }
        }
        if checked.is_ok() && !names.insert(lower) {
            checked = Err(Invalid::new("", "is given twice; case does not matter"));
        }
        checked.map_err(|error| error.under(&format!("/{}", escape_pointer(name))))?;
    }
    Ok(())
}

fn parse_texts(
    members: &Map<String, Value>,
    name: &str,
    count_max: usize,
    scope: &mut Scope,
) -> Result<Vec<(String, Text)>, Invalid> {
    let Some(value) = get(members, name) else { return Ok(Vec::new()) };
    let texts = value.as_object().filter(|texts| texts.len() <= count_max).ok_or_else(|| {
        let detail = format!("must be an object of at most {count_max} texts");
        Invalid::new(format!("/{name}"), detail)
    })?;
    let parse = |(key, value): (&String, &Value)| {
        let text = match value {
            Value::String(text) => Text::parse(text, scope),
            _ => Err(Invalid::new("", "must be a string")),
        };
        let at = || format!("/{name}/{}", escape_pointer(key));
        Ok((key.clone(), text.map_err(|error| error.under(&at()))?))
    };
    texts.iter().map(parse).collect()
}

fn parse_text(
    members: &Map<String, Value>,
    name: &str,
    scope: &mut Scope,
) -> Result<Option<Text>, Invalid> {
    let text = text(members, name)?.map(|text| Text::parse(text, scope)).transpose();
    text.map_err(|error| error.under(&format!("/{name}")))
}

fn text<'a>(members: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Invalid> {
    let text = get(members, name).map(|value| value.as_str().ok_or("must be a string"));
    text.transpose().map_err(|detail| Invalid::new(format!("/{name}"), detail))
}

/// A member, if it is there and not null.
fn get<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    members.get(name).filter(|value| !value.is_null())
}

fn required(name: &str) -> Invalid {
    Invalid::new(format!("/{name}"), "is required")
}

/// The members of an object that has no others than these.
fn members<'a>(value: &'a Value, known: &[&str]) -> Result<&'a Map<String, Value>, Invalid> {
    let members = value.as_object().ok_or_else(|| Invalid::new("", "must be an object"))?;
    match members.keys().find(|name| !known.contains(&name.as_str())) {
        None => Ok(members),
        Some(name) => {
            let detail = format!("is not known; there are {}", known.join(", "));
            Err(Invalid::new(format!("/{}", escape_pointer(name)), detail))
        }
    }
}
