//! What the hub says of an event, for people. Never asks the hub.

use serde_json::Value;

use super::print;

/// Everything that was said, over all pages.
#[derive(Debug, Default)]
pub(super) struct Explained {
    /// The first page, which has what is not said of subscriptions.
    first: Value,
    matched: Vec<Value>,
    not_matched: Vec<Value>,
}

impl Explained {
    /// Takes a page in.
    pub(super) fn add(&mut self, mut page: Value) {
        let mut take = |name: &str| match page.get_mut(name).map(Value::take) {
            Some(Value::Array(items)) => items,
            _ => Vec::new(),
        };
        self.matched.extend(take("matched_by"));
        self.not_matched.extend(take("not_matched_by"));
        if self.first.is_null() {
            self.first = page;
        }
    }

    /// Prints all of it.
    pub(super) fn print(&self, is_whole: bool) {
        for line in self.lines(is_whole) {
            if !print::line(&line) {
                return;
            }
        }
    }

    fn lines(&self, is_whole: bool) -> Vec<String> {
        let mut lines = vec![format!("event {}", of_event(&self.first["event"]))];
        section(&mut lines, "caused by", &self.first["caused_by"], of_cause);
        heading(&mut lines, "matched by", self.matched.len());
        self.matched.iter().for_each(|one| of_match(one, &mut lines));
        heading(&mut lines, "not matched by", self.not_matched.len());
        self.not_matched.iter().for_each(|one| of_refusal(one, &mut lines));
        if !is_whole {
            lines.push("  and there are more subscriptions, which were not asked".to_owned());
        }
        section(&mut lines, "derived", &self.first["derived"], of_event);
        if self.first["derived_complete"] == false {
            lines.push(format!("  looked for before offset {}", self.first["derived_to"]));
        }
        lines
    }
}

fn heading(lines: &mut Vec<String>, name: &str, count: usize) {
    lines.push(match count {
        0 => format!("{name}: none"),
        _ => format!("{name}:"),
    });
}

fn section(lines: &mut Vec<String>, name: &str, items: &Value, print: fn(&Value) -> String) {
    let items = items.as_array().map(Vec::as_slice).unwrap_or_default();
    heading(lines, name, items.len());
    lines.extend(items.iter().map(|item| format!("  {}", print(item))));
}

fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or_default()
}

fn of_event(event: &Value) -> String {
    format!(
        "{}  id {}  source {}  type {}  topic {}  stored {}",
        event["offset"],
        text(event, "id"),
        text(event, "source"),
        text(event, "type"),
        text(event, "topic"),
        text(event, "stored_at"),
    )
}

fn of_cause(event: &Value) -> String {
    match event["found"] == false {
        true => format!("{}  id {}  which cannot be seen", event["offset"], text(event, "id")),
        false => of_event(event),
    }
}

fn of_subscription(value: &Value) -> String {
    match value["name"].as_str() {
        Some(name) => format!("  {} ({name:?})", text(value, "subscription")),
        None => format!("  {}", text(value, "subscription")),
    }
}

fn of_match(value: &Value, lines: &mut Vec<String>) {
    let name = of_subscription(value);
    lines.push(format!("{name}  {}: {}", text(value, "state"), text(value, "detail")));
    if let Some(due) = value["due"].as_str() {
        lines.push(format!("    due {due}"));
    }
    let letter = &value["dead_letter"];
    if letter.is_object() {
        let (id, code, at) = (text(letter, "id"), text(letter, "code"), text(letter, "at"));
        lines.push(format!("    dead letter {id}  {code}  {at}"));
    }
    for attempt in value["attempts"].as_array().into_iter().flatten() {
        let outcome = match attempt["status"].as_u64() {
            Some(status) => format!("answered {status}"),
            None => text(attempt, "error").to_owned(),
        };
        let (at, took) = (text(attempt, "at"), &attempt["took_ms"]);
        lines.push(format!("    attempt {at}  {outcome}  ({took} ms)"));
    }
    changed(value, lines);
}

fn of_refusal(value: &Value, lines: &mut Vec<String>) {
    let name = of_subscription(value);
    lines.push(format!("{name}  {} {}", text(value, "pointer"), text(value, "detail")));
    branches(value, "    ", lines);
    changed(value, lines);
}

fn branches(value: &Value, indent: &str, lines: &mut Vec<String>) {
    for branch in value["branches"].as_array().into_iter().flatten() {
        lines.push(format!("{indent}{} {}", text(branch, "pointer"), text(branch, "detail")));
        branches(branch, &format!("{indent}  "), lines);
    }
}

fn changed(value: &Value, lines: &mut Vec<String>) {
    if let Some(at) = value["changed_at"].as_str() {
        lines.push(format!("    it was changed or renewed at {at}, after the event"));
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn everything_that_was_said_is_printed() {
        let mut explained = Explained::default();
        let event = json!({"offset": 7, "id": "e", "source": "/s", "type": "a.b", "topic": "a/b",
            "stored_at": "T"});
        explained.add(json!({
            "event": event, "next": "x",
            "caused_by": [{"offset": 3, "id": "p", "found": false}],
            "matched_by": [{"subscription": "s1", "name": "one", "state": "dead_letter",
                "detail": "given up", "changed_at": "U", "due": null,
                "dead_letter": {"id": "1-7", "code": "E-X", "at": "V"},
                "attempts": [{"at": "W", "status": 503, "took_ms": 4},
                             {"at": "X", "error": "reset", "took_ms": 5}]}],
            "not_matched_by": [],
            "derived": [], "derived_to": 20, "derived_complete": false,
        }));
        explained.add(json!({"next": null, "matched_by": [], "not_matched_by": [
            {"subscription": "s2", "name": null, "by": "filter", "pointer": "/filter/any",
             "detail": "none", "changed_at": null,
             "branches": [{"pointer": "/filter/any/0/topic", "detail": "no"}]}]}));
        let expected = [
            "event 7  id e  source /s  type a.b  topic a/b  stored T",
            "caused by:",
            "  3  id p  which cannot be seen",
            "matched by:",
            "  s1 (\"one\")  dead_letter: given up",
            "    dead letter 1-7  E-X  V",
            "    attempt W  answered 503  (4 ms)",
            "    attempt X  reset  (5 ms)",
            "    it was changed or renewed at U, after the event",
            "not matched by:",
            "  s2  /filter/any none",
            "    /filter/any/0/topic no",
            "derived: none",
            "  looked for before offset 20",
        ];
        assert_eq!(explained.lines(true), expected);
    }
}
