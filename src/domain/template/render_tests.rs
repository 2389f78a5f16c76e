//! What templates make of events, and what they refuse to make.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::{Context, Fault, Key, Problem, Rendered, Request, Response, Template};
use crate::domain::cloudevents;
use crate::domain::event::Event;
use crate::domain::filter::Facts;
use crate::domain::samples;

fn event(data: &Value) -> Event {
    let text = json!({"specversion": "1.0", "id": "e/1", "source": "/s", "type": "wiki.edit",
        "time": "2026-03-01T23:30:00-02:00", "level": 7, "hot": true, "data": data});
    cloudevents::parse(text.to_string().as_bytes()).expect("valid")
}

fn sample() -> Event {
    event(&json!({"title": "Ä b/c", "n": 1.50, "list": [1, {"a.b": "x"}], "none": null,
        "evil": "a\r\nx-evil: 1", "dots": "..", "url": "http://b.lan/x", "ftp": "ftp://b.lan/"}))
}

/// Renders the last step, after one that was answered, within a limit.
fn render_within(event: &Event, step: Value, limit: usize) -> Result<Rendered, Fault> {
    let first = json!({"method": "GET", "url": "http://a/", "capture":
        ["status", "headers", "body"]});
    let template = Template::parse(&json!({"steps": [first, step]})).expect("valid");
    let mut subscription = samples::subscription(1, 600);
    subscription.wish.labels.insert("a team".to_owned(), "media".to_owned());
    let response = Response {
        status: Some(201),
        headers: BTreeMap::from([("location".to_owned(), "http://b.lan/9".to_owned())]),
        body: Some(json!({"id": 9})),
    };
    let context = Context {
        facts: &Facts::new(event),
        captures: &BTreeMap::from([("flow".to_owned(), "f1".to_owned())]),
        subscription: &subscription,
        responses: &[response],
        keys: &BTreeMap::from([("k".to_owned(), Key::new("key"))]),
        output_bytes_max: limit,
    };
    template.render(1, &context)
}

fn render(step: Value) -> Result<Rendered, Fault> {
    render_within(&sample(), step, 4_096)
}

fn request(step: Value) -> Request {
    match render(step) {
        Ok(Rendered::Request(request)) => request,
        other => panic!("{other:?}"),
    }
}

fn post(body: Value) -> Value {
    json!({"method": "POST", "url": "http://a/", "body": body})
}

#[test]
fn an_expression_gives_what_stands_at_its_path() {
    let check = |text: &str, expected: &str| {
        let body = request(post(json!(text))).body.expect(text);
        assert_eq!(String::from_utf8_lossy(&body), expected, "{text}");
    };
    check("", "");
    check("{{{{ {{event.id}} }} {", "{{ e/1 }} {");
    check("{{{event.id}}}", "{e/1}");
    check("{{{{{{event.id}}", "{{e/1");
    check(
        "{{event.level}} {{event.hot}} {{event.topic}} {{event.type}}",
        "7 true wiki/edit wiki.edit",
    );
    check("{{data.n}} {{data.none}} {{data.list}}", "1.5 null [1,{\"a.b\":\"x\"}]");
    check("{{data.list[1][\"a.b\"]}} {{match.flow}}", "x f1");
    check("{{subscription.id}} {{subscription.labels[\"a team\"]}}", "s1 media");
    check("{{steps[0].response.status}} {{steps[0].response.body}}", "201 {\"id\":9}");
    check("{{steps[0].response.headers.Location}}", "http://b.lan/9");
    check("{{steps[0].response.body.id}}", "9");
    check("{{data.title | url}} {{event.id|url}}", "%C3%84%20b%2Fc e%2F1");
    check(
        "{{data.title | json}} {{data.list | json | json}}",
        "\"Ä b/c\" \"[1,{\\\"a.b\\\":\\\"x\\\"}]\"",
    );
    check("{{data.title | lower}} {{data.title | upper}}", "ä b/c Ä B/C");
    check("{{event.id | base64}}", "ZS8x");
    check("{{data.x | default(\"y\") | upper}} {{data.x | upper | default(\"y\")}}", "Y y");
    check("{{data.n | default(2)}} {{data.none | default(2)}}", "1.5 null");
    check("{{event.time | date(\"%Y-%m-%d %H:%M %%\")}}", "2026-03-02 01:30 %");
    check(
        "{{event.time | date(\"%e%I%S%f%p%j%a%A%b%B%y%z%s%F%T\")}}",
        " 201000AM061MonMondayMarMarch26+000017724150002026-03-0201:30:00",
    );
    // Computed with another implementation of HMAC.
    let sum = "45603b53435763ad93565dd86a00d3c768384af930b8fa0cb03921604581b307";
    check("{{event.id | hmac(\"k\")}}", sum);
}

#[test]
fn a_leaf_that_is_one_expression_keeps_its_type() {
    let body = json!({"a": "{{data.n}}", "b": ["{{data.list}}", "n={{data.n}}", 2, null],
        "c": "{{event.level}}", "d": "{{data.x | default({\"y\": [1]})}}", "e{{": "{{data.none}}",
        "f": "{{data.n | json}}"});
    let made = request(post(body));
    let expected = json!({"a": 1.5, "b": [[1, {"a.b": "x"}], "n=1.5", 2, null], "c": 7,
        "d": {"y": [1]}, "e{{": null, "f": "1.5"});
    let body = made.body.expect("a body");
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON"), expected);
    assert_eq!(made.headers, [("content-type".to_owned(), "application/json".to_owned())]);
}

#[test]
fn whole_data_stays_the_bytes_it_is() {
    let text = br#"{"specversion":"1.0","id":"1","source":"/s","type":"a","data":{"n": 1.10,
        "big":123456789012345678901234567890}}"#;
    let event = cloudevents::parse(text).expect("valid");
    let data = event.data.clone().expect("data").bytes;
    for body in [json!("{{data}}"), json!({"d": "{{data}}"})] {
        let Ok(Rendered::Request(made)) = render_within(&event, post(body), 4_096) else {
            panic!("not rendered")
        };
        let made = made.body.expect("a body");
        assert!(made.windows(data.len()).any(|window| window == data), "{made:?}");
    }
}

#[test]
fn a_request_has_its_query_and_headers() {
    let made = request(json!({"method": "PURGE", "url": "http://a.lan/w/{{data.title | url}}?x=1",
        "query": {"a b": "{{data.title}}&"}, "headers": {"X-Id": "<{{event.id}}>"}}));
    assert_eq!(made.method.as_str(), "PURGE");
    let url = "http://a.lan/w/%C3%84%20b%2Fc?x=1&a%20b=%C3%84%20b%2Fc%26";
    assert_eq!(made.url.as_str(), url);
    assert_eq!((made.headers, made.body), (vec![("X-Id".to_owned(), "<e/1>".to_owned())], None));
    let typed = request(json!({"method": "POST", "url": "{{data.url}}", "body": [1],
        "headers": {"Content-Type": "application/x+json"}}));
    assert_eq!((typed.url.as_str(), typed.headers.len()), ("http://b.lan/x", 1));
}

#[test]
fn a_fault_names_step_place_and_path() {
    let check = |step: Value, place: &str, problem: Problem| {
        let fault = render(step).expect_err(place);
        assert_eq!((fault.step, fault.place.as_str()), (1, place), "{fault}");
        assert_eq!(fault.problem, problem, "{fault}");
    };
    let missing = |path: &str| Problem::Missing(path.to_owned());
    check(
        post(json!({"a/b": [1, "{{ data.x.y | url }}"]})),
        "/steps/1/body/a~1b/1",
        missing("data.x.y"),
    );
    check(post(json!("{{event.subject}}")), "/steps/1/body", missing("event.subject"));
    check(post(json!("{{match.x}}")), "/steps/1/body", missing("match.x"));
    check(post(json!("{{subscription.owner}}")), "/steps/1/body", missing("subscription.owner"));
    check(
        post(json!("{{data.title | date(\"%Y\")}}")),
        "/steps/1/body",
        Problem::Time("data.title".to_owned()),
    );
    check(post(json!("{{data | hmac(\"z\")}}")), "/steps/1/body", Problem::Key("z".to_owned()));
    check(
        json!({"emit": {"type": "a", "data": {"x": "{{data.x}}"}}}),
        "/steps/1/emit/data/x",
        missing("data.x"),
    );
    check(json!({"emit": {"type": "{{data.x}}"}}), "/steps/1/emit/type", missing("data.x"));
}

#[test]
fn data_smuggles_nothing_into_headers_and_urls() {
    let header = |name: &str| {
        json!({"method": "GET", "url": "http://a/",
        "headers": {"x": format!("{{{{data.{name}}}}}")}})
    };
    let fault = render(header("evil")).expect_err("a line break");
    assert_eq!(fault.place, "/steps/1/headers/x");
    assert!(matches!(fault.problem, Problem::Header(_)));
    for url in [
        "http://a/{{data.evil}}",
        "http://a/x/{{data.dots}}",
        "http://a/.{{data.dots}}/../",
        "http://a/x/{{data.dots | url}}/y",
        "http://a/{{data.title}}",
        "{{data.ftp}}",
        "{{data.title}}",
        "http://a/%2e{{data.dots | default(1) | json}}/%2e",
    ] {
        let Ok(template) = Template::parse(&json!({"steps": [{"method": "GET", "url": url}]}))
        else {
            continue;
        };
        assert_eq!(template.steps(), 1);
        let fault = render(json!({"method": "GET", "url": url})).expect_err(url);
        assert_eq!(fault.place, "/steps/1/url", "{url}");
        assert!(matches!(fault.problem, Problem::Url(_)), "{url}: {fault}");
    }
}

#[test]
fn all_that_a_step_makes_counts_against_its_limit() {
    let event = event(&json!("\"".repeat(100)));
    let check = |step: Value, place: &str, needed: usize| {
        assert!(render_within(&event, step.clone(), needed).is_ok(), "{place}");
        let fault = render_within(&event, step, needed - 1).expect_err(place);
        assert_eq!((fault.place.as_str(), fault.problem), (place, Problem::TooLarge));
    };
    let url = "http://a/".len();
    let get = json!({"method": "GET", "url": "http://a/"});
    check(get, "/steps/1/url", url);
    let headers = json!({"method": "GET", "url": "http://a/", "headers": {"x": "{{match.flow}}"}});
    check(headers, "/steps/1/headers/x", url + 3);
    let query = json!({"method": "GET", "url": "http://a/", "query": {"q": "{{match.flow}}"}});
    check(query, "/steps/1/url", url + 5);
    check(post(json!("{{match.flow}}")), "/steps/1/body", url + 2);
    check(post(json!(["{{match.flow}}"])), "/steps/1/body", url + 28 + 5 + 1);
    // What stands between two filters counts as well, although less comes out in the end.
    let sum = "{{data | json | json | json | hmac(\"k\")}}";
    let most = post(json!(sum));
    assert!(render_within(&event, most.clone(), 4_096).is_ok());
    let fault = render_within(&event, most, 500).expect_err("too much between filters");
    assert_eq!(fault.problem, Problem::TooLarge);
}

#[test]
fn an_emitted_event_has_json_data() {
    let step = json!({"emit": {"type": "a.{{match.flow}}", "topic": "x/{{match.flow}}",
        "data": "{{data.n}}"}});
    let Ok(Rendered::Emit(made)) = render(step) else { panic!("no event") };
    assert_eq!((made.kind.as_str(), made.topic.as_deref()), ("a.f1", Some("x/f1")));
    assert_eq!((made.data.as_deref(), made.id), (Some(b"1.5".as_slice()), None));
}

#[test]
fn there_is_no_step_but_those_of_the_template() {
    let event = sample();
    let template = Template::parse(&json!({"steps": [post(json!(1))]})).expect("valid");
    let context = Context {
        facts: &Facts::new(&event),
        captures: &BTreeMap::new(),
        subscription: &samples::subscription(1, 600),
        responses: &[],
        keys: &BTreeMap::new(),
        output_bytes_max: 99,
    };
    assert!(template.render(0, &context).is_ok());
    assert_eq!(template.render(1, &context).map_err(|fault| fault.problem), Err(Problem::Step));
}
