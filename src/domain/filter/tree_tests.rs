//! What each node says of an event, what it is refused for, and what it is filed by.

use proptest::prelude::*;
use serde_json::json;

use super::*;
use crate::domain::cloudevents;
use crate::domain::filter::Limits;

fn event() -> Event {
    let text = br#"{"specversion":"1.0","id":"1","source":"/s","type":"flows.created",
        "subject":"f1","n":5}"#;
    cloudevents::parse(text).expect("valid event")
}

#[test]
fn a_filter_says_yes_and_no_where_it_should() {
    let check = |filter: Value, expected: bool| {
        let parsed = Filter::parse(&filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
        assert_eq!(parsed.matches(&event()), expected, "{filter}");
        assert_eq!(parsed.print(), filter);
    };
    check(json!({"topic": "flows/+"}), true);
    check(json!({"topic": "other/#"}), false);
    check(json!({"exact": {"type": "flows.created", "subject": "f1"}}), true);
    check(json!({"exact": {"type": "flows.created", "subject": "f2"}}), false);
    check(json!({"exact": {"n": "5"}}), true);
    check(json!({"prefix": {"source": "/"}}), true);
    check(json!({"suffix": {"type": ".created"}}), true);
    check(json!({"prefix": {"missing": "x"}}), false);
    check(json!({"not": {"prefix": {"missing": "x"}}}), true);
    check(json!({"all": [{"topic": "#"}, {"exact": {"id": "1"}}]}), true);
    check(json!({"any": [{"topic": "x"}, {"exact": {"id": "2"}}]}), false);
}

#[test]
fn a_bad_filter_is_refused_at_its_node() {
    let check = |filter: Value, pointer: &str| {
        assert_eq!(Filter::parse(&filter).expect_err("refused").pointer, pointer, "{filter}");
    };
    check(json!("x"), "");
    check(json!({}), "");
    check(json!({"topic": "a", "exact": {"id": "1"}}), "");
    check(json!({"sql": "true"}), "/sql");
    check(json!({"topic": "a/#/b"}), "/topic");
    check(json!({"all": []}), "/all");
    check(json!({"all": [{"topic": "a"}, {"exact": {}}]}), "/all/1/exact");
    check(json!({"not": {"exact": {"type": 5}}}), "/not/exact/type");
    check(json!({"exact": {"Type": "x"}}), "/exact/Type");
    check(json!({"exists": []}), "/exists");
    check(json!({"exists": ["subject", "Subject"]}), "/exists/1");
    check(json!({"exists": [1]}), "/exists/0");
    check(json!({"exists": "Subject"}), "/exists");
    check(json!({"exists": 1}), "/exists");
    check(json!({"data": {"path": "a"}}), "/data");
    check(json!({"data": {"path": "a", "equals": 1, "in": [1]}}), "/data");
    check(json!({"data": {"equals": 1, "in": [1]}}), "/data");
    check(json!({"data": {"path": "a..b", "equals": 1}}), "/data/path");
    check(json!({"data": {"path": 1, "equals": 1}}), "/data/path");
    check(json!({"data": {"path": "a", "in": []}}), "/data/in");
    check(json!({"data": {"path": "a", "exists": 1}}), "/data/exists");
    check(json!({"data": {"path": "a", "like": 1}}), "/data/like");
    check(json!({"any": [{"data": {"path": "a", "regex": "("}}]}), "/any/0/data/regex");
    check(json!({"data": {"path": "a", "regex": "a{9999999}"}}), "/data/regex");
    check(json!({"data": {"path": "a", "regex": "x".repeat(5_000)}}), "/data/regex");
    let mut deep = json!({"topic": "a"});
    for _ in 0..Limits::HARD.depth_max {
        deep = json!({ "not": deep });
    }
    assert!(Filter::parse(&deep).is_err());
}

#[test]
fn anchors_never_miss_a_match() {
    let check = |filter: Value, anchored: Option<usize>| {
        let anchors = Filter::parse(&filter).expect("valid").anchors();
        assert_eq!(anchors.map(|anchors| anchors.len()), anchored, "{filter}");
    };
    check(json!({"topic": "a/+"}), Some(1));
    check(json!({"topic": "#"}), None);
    check(json!({"all": [{"topic": "#"}, {"exact": {"type": "t"}}]}), Some(1));
    check(json!({"any": [{"topic": "a"}, {"exact": {"type": "t"}}]}), Some(2));
    check(json!({"any": [{"topic": "a"}, {"prefix": {"type": "t"}}]}), None);
    check(json!({"data": {"path": "a", "equals": 1}}), Some(1));
    check(json!({"data": {"path": "a", "equals": [1]}}), None);
    check(json!({"data": {"path": "a", "in": [1, "1", null]}}), Some(3));
    check(json!({"data": {"path": "a", "in": [1, {}]}}), None);
    check(json!({"data": {"path": "a", "exists": true}}), None);
    check(json!({"exists": ["subject"]}), None);
    check(json!({"not": {"topic": "a"}}), None);
}

#[test]
fn a_test_of_data_says_yes_and_no_where_it_should() {
    let text = br#"{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":"x","data":
        {"n":1.0,"big":9007199254740993,"text":"flow-7","list":[1,"a",{"k":2}],"none":null}}"#;
    let event = cloudevents::parse(text).expect("valid event");
    let check = |path: &str, test: &str, operand: Value, expected: bool| {
        let filter = json!({"data": {"path": path, test: operand}});
        let parsed = Filter::parse(&filter).unwrap_or_else(|error| panic!("{filter}: {error}"));
        assert_eq!(parsed.matches(&event), expected, "{filter}");
        assert_eq!(parsed.print(), filter);
        let opposite = Filter::Not(Box::new(parsed));
        assert_eq!(opposite.matches(&event), !expected, "not {filter}");
    };
    check("n", "equals", json!(1), true);
    check("n", "equals", json!("1"), false);
    check("big", "equals", json!(9_007_199_254_740_993_u64), true);
    check("big", "equals", json!(9_007_199_254_740_992_u64), false);
    check("big", "equals", json!(9_007_199_254_740_992.0), false);
    check("none", "equals", json!(null), true);
    check("missing", "equals", json!(null), false);
    check("list[2]", "equals", json!({"k": 2.0}), true);
    check("list[2].k", "in", json!([1, 2]), true);
    check("list[3]", "in", json!([1, 2]), false);
    check("none", "exists", json!(true), true);
    check("missing", "exists", json!(true), false);
    check("missing.below", "exists", json!(false), true);
    check("list", "contains", json!("a"), true);
    check("list", "contains", json!({"k": 2}), true);
    check("list", "contains", json!("b"), false);
    check("text", "contains", json!("flow"), false);
    check("text", "regex", json!("^flow-[0-9]+$"), true);
    check("text", "regex", json!("^low"), false);
    check("n", "regex", json!("1"), false);
}

#[test]
fn data_that_is_not_json_makes_every_test_of_it_false() {
    let plain = r#""datacontenttype":"text/plain","data":"{\"a\":1}""#;
    let deep = format!(r#""data":{}1{}"#, "[".repeat(200), "]".repeat(200));
    for data in ["\"n\":1", plain, &deep] {
        let text = format!(r#"{{"specversion":"1.0","id":"1","source":"s","type":"t",{data}}}"#);
        let event = cloudevents::parse(text.as_bytes()).expect(data);
        for test in [json!({"equals": 1}), json!({"exists": true}), json!({"exists": false})] {
            let mut data = test;
            data["path"] = json!("a");
            let filter = Filter::parse(&json!({ "data": data })).expect("valid");
            assert!(!filter.matches(&event), "{data} of {text}");
        }
    }
}

#[test]
fn attributes_exist_or_do_not() {
    let check = |names: Value, expected: bool| {
        let filter = Filter::parse(&json!({ "exists": names })).expect("valid");
        assert_eq!(filter.matches(&event()), expected, "{names}");
    };
    check(json!("subject"), true);
    check(json!(["subject", "n"]), true);
    check(json!(["subject", "dataschema"]), false);
}

#[test]
fn named_groups_are_captured_where_the_filter_holds() {
    let text = br#"{"specversion":"1.0","id":"1","source":"s","type":"t",
        "data":{"flow":"f-7","site":"ob-2"}}"#;
    let event = cloudevents::parse(text).expect("valid event");
    let regex = |path: &str, regex: &str| json!({"data": {"path": path, "regex": regex}});
    let filter = json!({"all": [
        regex("flow", "^f-(?<flow>.*)$"),
        {"any": [regex("site", "^x(?<site>.*)"), regex("site", "^ob-(?<site>.*)(?<none>z)?$")]},
        {"not": regex("flow", "(?<never>x)")},
        regex("site", "(?<flow>ob)"),
    ]});
    let filter = Filter::parse(&filter).expect("valid");
    let facts = Facts::new(&event);
    assert!(filter.holds(&facts));
    let found = filter.captures(&facts);
    let found: Vec<_> = found.iter().map(|(name, text)| (name.as_str(), text.as_str())).collect();
    assert_eq!(found, [("flow", "7"), ("site", "2")]);
}

#[test]
fn an_operator_may_allow_less() {
    let limits = Limits {
        depth_max: 2,
        nodes_max: 3,
        bytes_max: 40,
        regex_bytes_max: 5,
        regex_compiled_max: 2_000,
        path_depth_max: 2,
    };
    let check = |filter: Value, fits: bool| {
        assert_eq!(Filter::parse_within(&filter, &limits).is_ok(), fits, "{filter}");
    };
    check(json!({"all": [{"topic": "a"}, {"topic": "b"}]}), true);
    check(json!({"all": [{"topic": "a"}, {"topic": "b"}, {"topic": "c"}]}), false);
    check(json!({"not": {"not": {"topic": "a"}}}), false);
    check(json!({"topic": "a".repeat(40)}), false);
    check(json!({"data": {"path": "a", "regex": "abcde"}}), true);
    check(json!({"data": {"path": "a", "regex": "abcdef"}}), false);
    check(json!({"data": {"path": "a", "regex": "\\w{9}"}}), false);
    check(json!({"data": {"path": "a.b", "equals": 1}}), true);
    check(json!({"data": {"path": "a.b.c", "equals": 1}}), false);
}

#[test]
fn the_expressions_of_a_filter_have_one_room_together() {
    let limits = Limits { regex_compiled_max: 1 << 20, ..Limits::HARD };
    let check = |regex: &str, count: usize, refused_at: Option<&str>| {
        let node = |_| json!({"data": {"path": "a", "regex": regex}});
        let filter = json!({"any": (0..count).map(node).collect::<Vec<_>>()});
        let error = Filter::parse_within(&filter, &limits).err().map(|error| error.pointer);
        assert_eq!(error.as_deref(), refused_at, "{count} of {regex}");
    };
    check("^flow-[0-9]+$", 255, None);
    check("^(?<flow>[0-9a-f-]{36})$", 60, None);
    check("\\w{20}", 1, None);
    check("\\w{20}", 2, Some("/any/1/data/regex"));
    check("\\w{200}", 1, Some("/any/0/data/regex"));
}

#[test]
fn look_around_is_refused_with_a_hint() {
    let filter = json!({"data": {"path": "a", "regex": "a(?=b)"}});
    let error = Filter::parse(&filter).expect_err("refused");
    assert!(error.detail.contains("look-around is not offered"), "{error}");
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<u64>().prop_map(Value::from),
        proptest::num::f64::NORMAL.prop_map(Value::from),
        any::<String>().prop_map(Value::from),
    ];
    leaf.prop_recursive(3, 8, 3, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            ("[a.~/]{0,2}", inner).prop_map(|(name, value)| json!({ name: value })),
        ]
    })
}

fn filter() -> impl Strategy<Value = Value> {
    let path = "[a-z]{1,3}(\\.[a-z]|\\[[0-9]\\]|\\[\"[a.\\]]{0,2}\"\\]){0,3}";
    let text = "[^\"\\\\]{1,4}";
    let leaf = prop_oneof![
        "[ab]/(\\+|#)".prop_map(|topic| json!({ "topic": topic })),
        ("exact|prefix|suffix", "[a-z]{1,3}", text)
            .prop_map(|(kind, name, text)| json!({ kind: { name: text } })),
        "[a-z]{1,3}".prop_map(|name| json!({ "exists": name })),
        proptest::collection::vec("[a-z]", 1..3).prop_map(|names| json!({ "exists": names })),
        (path, "equals|contains", value())
            .prop_map(|(path, test, value)| json!({"data": {"path": path, test: value}})),
        (path, proptest::collection::vec(value(), 1..3))
            .prop_map(|(path, values)| json!({"data": {"path": path, "in": values}})),
        (path, any::<bool>())
            .prop_map(|(path, wanted)| json!({"data": {"path": path, "exists": wanted}})),
        (path, "\\^?(\\(\\?<a>[xy]+\\)|\\[0-9\\]\\{2\\})\\$?")
            .prop_map(|(path, regex)| json!({"data": {"path": path, "regex": regex}})),
    ];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            ("all|any", proptest::collection::vec(inner.clone(), 1..3))
                .prop_map(|(kind, list)| json!({ kind: list })),
            inner.prop_map(|not| json!({ "not": not })),
        ]
    })
}

proptest! {
    #[test]
    fn what_is_printed_is_read_back_as_it_was(value in filter()) {
        let filter = Filter::parse(&value).expect("valid");
        let text = filter.print().to_string();
        let again = serde_json::from_str(&text).expect("printed JSON");
        prop_assert_eq!(&Filter::parse(&again).expect("printed filter"), &filter, "{}", text);
        prop_assert_eq!(Filter::parse(&again).expect("printed filter").print().to_string(), text);
    }
}
