//! The keys that a template names, and where.

use super::expression::Expression;
use super::node::Node;
use super::pipe::Pipe;
use super::step::{Body, Draft, Emit, Step, Template};
use super::text::{Piece, Text};
use crate::domain::attribute::escape_pointer;

/// Places and names, in the order of the template.
type Named<'a> = Vec<(String, &'a str)>;

impl Template {
    /// The names of the keys that the filter `hmac` needs, each with the pointer to its text.
    pub fn named_keys(&self) -> impl Iterator<Item = (String, &str)> {
        let mut named = Vec::new();
        for (index, step) in self.steps.iter().enumerate() {
            let at = format!("/steps/{index}");
            match step {
                Step::Request(draft) => of_request(draft, &at, &mut named),
                Step::Emit(emit) => of_event(emit, &format!("{at}/emit"), &mut named),
            }
        }
        named.into_iter()
    }
}

fn of_request<'a>(draft: &'a Draft, at: &str, named: &mut Named<'a>) {
    if let Some(url) = &draft.url {
        of_text(url, &format!("{at}/url"), named);
    }
    for (member, pairs) in [("headers", &draft.headers), ("query", &draft.query)] {
        for (name, text) in pairs {
            of_text(text, &format!("{at}/{member}/{}", escape_pointer(name)), named);
        }
    }
    match &draft.body {
        Some(Body::Text(text)) => of_text(text, &format!("{at}/body"), named),
        Some(Body::Json(node)) => of_node(node, &format!("{at}/body"), named),
        None => {}
    }
}

fn of_event<'a>(emit: &'a Emit, at: &str, named: &mut Named<'a>) {
    of_text(&emit.kind, &format!("{at}/type"), named);
    let others = [
        ("source", &emit.source),
        ("subject", &emit.subject),
        ("topic", &emit.topic),
        ("id", &emit.id),
    ];
    for (member, text) in others {
        if let Some(text) = text {
            of_text(text, &format!("{at}/{member}"), named);
        }
    }
    if let Some(data) = &emit.data {
        of_node(data, &format!("{at}/data"), named);
    }
}

fn of_node<'a>(node: &'a Node, at: &str, named: &mut Named<'a>) {
    match node {
        Node::Text(text) => of_text(text, at, named),
        Node::List(nodes) => {
            for (index, node) in nodes.iter().enumerate() {
                of_node(node, &format!("{at}/{index}"), named);
            }
        }
        Node::Object(members) => {
            for (name, node) in members {
                of_node(node, &format!("{at}/{}", escape_pointer(name)), named);
            }
        }
        Node::Plain(_) => {}
    }
}

fn of_text<'a>(text: &'a Text, at: &str, named: &mut Named<'a>) {
    for piece in text.pieces() {
        let Piece::Expression(Expression { pipes, .. }) = piece else { continue };
        for pipe in pipes {
            if let Pipe::Hmac(name) = pipe {
                named.push((at.to_owned(), name));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn keys_are_found_wherever_they_are_named() {
        let template = json!({"steps": [
            {"method": "POST", "url": "http://a.lan/{{data | hmac(\"u\")}}",
             "headers": {"x-sum": "{{data | hmac(\"h\")}}"},
             "query": {"q": "{{data | json | hmac(\"q\")}}"},
             "body": {"list": [1, "{{data | hmac(\"b\")}} {{event.id | hmac(\"c\")}}"]}},
            {"method": "POST", "url": "http://a.lan/", "body": "{{data | hmac(\"t\") | upper}}"},
            {"emit": {"type": "a", "id": "{{data | hmac(\"i\")}}",
                      "data": {"d": "{{data | hmac(\"d\")}}"}}}]});
        let template = Template::parse(&template).expect("valid");
        let expected = [
            ("/steps/0/url", "u"),
            ("/steps/0/headers/x-sum", "h"),
            ("/steps/0/query/q", "q"),
            ("/steps/0/body/list/1", "b"),
            ("/steps/0/body/list/1", "c"),
            ("/steps/1/body", "t"),
            ("/steps/2/emit/id", "i"),
            ("/steps/2/emit/data/d", "d"),
        ];
        let found: Vec<_> = template.named_keys().collect();
        let found: Vec<_> = found.iter().map(|(at, name)| (at.as_str(), *name)).collect();
        assert_eq!(found, expected);
    }
}
