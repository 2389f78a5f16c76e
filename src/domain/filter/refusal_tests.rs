//! Which clause is blamed, and that one is blamed exactly when a filter does not hold.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::cloudevents;
use crate::domain::event::Event;

fn event() -> Event {
    let text = br#"{"specversion":"1.0","id":"1","source":"/s","type":"flows.created",
        "subject":"f1","data":{"n":5,"text":"flow-7","list":[1,"a"],"none":null}}"#;
    cloudevents::parse(text).expect("valid event")
}

fn refusal(filter: &Value, event: &Event) -> Option<Refusal> {
    let filter = Filter::parse(filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
    filter.refusal(&Facts::new(event))
}

#[test]
fn the_clause_that_says_no_is_named() {
    let check = |filter: Value, pointer: &str, detail: &str| {
        let said = refusal(&filter, &event()).unwrap_or_else(|| panic!("{filter} holds"));
        assert_eq!((said.pointer.as_str(), said.detail.as_str()), (pointer, detail), "{filter}");
    };
    let outside = "the topic \"flows/created\" does not lie in \"other/#\"";
    check(json!({"topic": "other/#"}), "/topic", outside);
    let other = "subject is \"f1\" and is not \"f2\"";
    check(json!({"exact": {"type": "flows.created", "subject": "f2"}}), "/exact/subject", other);
    let missing = "the event has no attribute time";
    check(json!({"prefix": {"time": "2"}}), "/prefix/time", missing);
    let source = "source is \"/s\" and does not start with \"/t\"";
    check(json!({"prefix": {"source": "/t"}}), "/prefix/source", source);
    let kind = "type is \"flows.created\" and does not end with \".gone\"";
    check(json!({"suffix": {"type": ".gone"}}), "/suffix/type", kind);
    check(json!({"exists": ["subject", "time"]}), "/exists", missing);
    let deep = json!({"all": [{"topic": "#"}, {"all": [{"topic": "other/#"}]}]});
    check(deep, "/all/1/all/0/topic", outside);
    let holds = "what stands in it holds";
    check(json!({"not": {"topic": "#"}}), "/not", holds);
    check(json!({"all": [{"not": {"exact": {"id": "1"}}}]}), "/all/0/not", holds);
    check(json!({"not": {"not": {"topic": "other/#"}}}), "/not/not/topic", outside);
}

#[test]
fn a_test_of_data_says_what_it_found() {
    let check = |path: &str, test: &str, operand: Value, pointer: &str, detail: &str| {
        let filter = json!({"data": {"path": path, test: operand}});
        let said = refusal(&filter, &event()).unwrap_or_else(|| panic!("{filter} holds"));
        assert_eq!((said.pointer.as_str(), said.detail.as_str()), (pointer, detail), "{filter}");
    };
    check("n", "equals", json!("5"), "/data/equals", "n is 5 and is not \"5\"");
    check("no.n", "equals", json!(5), "/data/path", "nothing stands at no.n");
    check("none", "in", json!([1, 2]), "/data/in", "none is null and is none of the 2 values");
    check("none", "exists", json!(false), "/data/exists", "something stands at none");
    check("no", "exists", json!(true), "/data/exists", "nothing stands at no");
    let list = "list is a list of 2 and is no list with \"b\"";
    check("list", "contains", json!("b"), "/data/contains", list);
    let text = "text is \"flow-7\" and has no match for ^x";
    check("text", "regex", json!("^x"), "/data/regex", text);
    check("n", "regex", json!("5"), "/data/regex", "n is 5 and is no text");
}

#[test]
fn data_that_cannot_be_tested_is_to_blame_itself() {
    let check = |data: &str, detail: &str| {
        let text = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t"{data}}}"#);
        let event = cloudevents::parse(text.as_bytes()).expect(data);
        let said = refusal(&json!({"data": {"path": "a", "exists": false}}), &event);
        let said = said.expect("false where the data is not JSON");
        assert_eq!((said.pointer.as_str(), said.detail.as_str()), ("/data", detail));
    };
    check("", "the event has no data");
    check(r#","datacontenttype":"text/plain","data":"x""#, "the data is not JSON");
    let deep = format!(r#","data":{}1{}"#, "[".repeat(200), "]".repeat(200));
    check(&deep, "the data is nested too deep to be read");
}

#[test]
fn every_branch_of_an_any_says_why() {
    let filter = json!({"all": [{"any": [{"topic": "x"}, {"exact": {"id": "2"}}]}]});
    let said = refusal(&filter, &event()).expect("refused");
    assert_eq!(said.pointer, "/all/0/any");
    assert_eq!(said.detail, "none of its 2 branches holds");
    let branches: Vec<_> = said.branches.iter().map(|branch| branch.pointer.as_str()).collect();
    assert_eq!(branches, ["/all/0/any/0/topic", "/all/0/any/1/exact/id"]);
}

#[test]
fn long_values_are_cut() {
    let text = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "ä".repeat(300)});
    let event = cloudevents::parse(text.to_string().as_bytes()).expect("valid");
    let said = refusal(&json!({"exact": {"type": "x"}}), &event).expect("refused");
    assert!(said.detail.chars().count() < 120, "{}", said.detail);
}

fn filter() -> impl Strategy<Value = Value> {
    let operand = proptest::sample::select(vec![json!(1), json!("1"), json!(null), json!([1])]);
    let leaf = prop_oneof![
        "[ab]/([ab]|\\+|#)".prop_map(|topic| json!({ "topic": topic })),
        ("exact|prefix|suffix", "type|subject|time", "[ab](\\.[ab])?")
            .prop_map(|(kind, name, text)| json!({ kind: { name: text } })),
        proptest::collection::vec("subject|time", 1..3).prop_map(|all| json!({ "exists": all })),
        ("[mn]", "equals|contains", operand.clone())
            .prop_map(|(path, test, value)| json!({"data": {"path": path, test: value}})),
        ("[mn]", proptest::collection::vec(operand, 1..3))
            .prop_map(|(path, values)| json!({"data": {"path": path, "in": values}})),
        ("[mn]", any::<bool>())
            .prop_map(|(path, wanted)| json!({"data": {"path": path, "exists": wanted}})),
        ("[mn]", "[01]").prop_map(|(path, regex)| json!({"data": {"path": path, "regex": regex}})),
    ];
    leaf.prop_recursive(4, 16, 3, |inner| {
        prop_oneof![
            ("all|any", proptest::collection::vec(inner.clone(), 1..3))
                .prop_map(|(kind, list)| json!({ kind: list })),
            inner.prop_map(|not| json!({ "not": not })),
        ]
    })
}

/// The refusal and all its branches lead somewhere.
fn leads_somewhere(said: &Refusal, filter: &Value) -> bool {
    filter.pointer(&said.pointer).is_some()
        && said.branches.iter().all(|branch| leads_somewhere(branch, filter))
}

proptest! {
    #[test]
    fn a_clause_is_blamed_exactly_when_the_filter_does_not_hold(
        value in filter(),
        kind in "[ab]\\.[ab]",
        subject in proptest::option::of("[ab]"),
        data in proptest::sample::select(
            vec![json!(null), json!({"m": 1}), json!({"m": "1", "n": [1]}), json!({"n": null})]
        ),
    ) {
        let text = json!({"specversion": "1.0", "id": "1", "source": "s", "type": kind,
            "subject": subject, "data": data});
        let event = cloudevents::parse(text.to_string().as_bytes()).expect("valid");
        let filter = Filter::parse(&value).expect("valid");
        let said = filter.refusal(&Facts::new(&event));
        prop_assert_eq!(said.is_none(), filter.matches(&event));
        if let Some(said) = said {
            prop_assert!(leads_somewhere(&said, &filter.print()), "{:?} in {}", said, value);
        }
    }
}
