//! What a step needs to know of the answers to earlier steps. Never renders.

use std::collections::BTreeSet;

use super::node::Node;
use super::source::Source;
use super::step::{Body, Draft, Emit, Step, Template};
use super::text::{Piece, Text};

impl Template {
    /// The parts of earlier answers that a step uses, as its expressions name them. Where there are
    /// any, nobody can say what the step makes before those answers are there.
    pub fn answers_used(&self, step: usize) -> BTreeSet<String> {
        let mut used = BTreeSet::new();
        match self.steps.get(step) {
            Some(Step::Request(draft)) => of_request(draft, &mut used),
            Some(Step::Emit(emit)) => of_emit(emit, &mut used),
            None => {}
        }
        used
    }
}

fn of_request(draft: &Draft, used: &mut BTreeSet<String>) {
    let pairs = draft.headers.iter().chain(&draft.query).map(|(_, text)| text);
    draft.url.iter().chain(pairs).for_each(|text| of_text(text, used));
    match &draft.body {
        Some(Body::Text(text)) => of_text(text, used),
        Some(Body::Json(node)) => of_node(node, used),
        None => {}
    }
}

fn of_emit(emit: &Emit, used: &mut BTreeSet<String>) {
    of_text(&emit.kind, used);
    let texts = [&emit.source, &emit.subject, &emit.topic, &emit.id];
    texts.into_iter().flatten().for_each(|text| of_text(text, used));
    emit.data.iter().for_each(|node| of_node(node, used));
}

fn of_node(node: &Node, used: &mut BTreeSet<String>) {
    match node {
        Node::Text(text) => of_text(text, used),
        Node::List(nodes) => nodes.iter().for_each(|node| of_node(node, used)),
        Node::Object(members) => members.iter().for_each(|(_, node)| of_node(node, used)),
        Node::Plain(_) => {}
    }
}

fn of_text(text: &Text, used: &mut BTreeSet<String>) {
    for piece in text.pieces() {
        if let Piece::Expression(expression) = piece
            && let Source::Step(..) = &expression.source
        {
            used.insert(expression.source.to_string());
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_step_names_the_answers_that_it_uses() {
        let template = Template::parse(&json!({"steps": [
            {"method": "POST", "url": "http://a/{{data.x}}", "capture": ["status", "body"]},
            {"method": "PUT", "url": "http://a/{{steps[0].response.body.id | url}}",
             "headers": {"x-a": "{{steps[0].response.status}}"},
             "body": {"list": ["{{steps[0].response.body.id}}", {"b": "{{data}}"}]}},
            {"emit": {"type": "a.b", "data": "{{steps[0].response.body}}"}},
        ]}));
        let template = template.expect("valid");
        let check = |step: usize, expected: &[&str]| {
            let used: Vec<String> = template.answers_used(step).into_iter().collect();
            assert_eq!(used, expected, "{step}");
        };
        check(0, &[]);
        check(1, &["steps[0].response.body.id", "steps[0].response.status"]);
        check(2, &["steps[0].response.body"]);
        check(3, &[]);
    }
}
