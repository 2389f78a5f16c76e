//! What templates may say, and how they are refused.

use serde_json::{Value, json};

use super::limits::{EXPRESSIONS_MAX, FILTERS_MAX, STEPS_MAX};
use super::{Part, Template};

fn get(url: &str) -> Value {
    json!({"method": "GET", "url": url})
}

/// A template of one request with this body.
fn post(body: Value) -> Value {
    json!({"steps": [{"method": "POST", "url": "http://a/", "body": body}]})
}

#[track_caller]
fn refused(template: Value, pointer: &str, detail: &str) {
    let error = Template::parse(&template).expect_err(detail);
    assert_eq!(error.pointer, pointer, "{error}");
    assert!(error.detail.contains(detail), "{error}");
}

#[test]
fn a_template_prints_as_it_was_read() {
    let template = json!({"steps": [
        {"method": "PURGE", "url": "https://a.lan/wiki/{{match.title | url}}?x={{{{",
         "headers": {"content-type": "text/plain", "x-sum": "{{data | hmac(\"k 1\")}}"},
         "query": {"at": "{{event.time | date(\"%Y-%m-%d\")}}"},
         "body": {"a": ["{{data.x[0][\"a b\"] | default({\"}}\": \")\"}) | json}}", null, 1.5]},
         "capture": ["status", "headers", "body"]},
        {"method": "GET", "url": "{{steps[0].response.headers.location}}",
         "body": "{{subscription.labels.team | upper | base64 | lower}}"},
        {"emit": {"type": "a.b", "id": "{{event.id}}-1", "topic": "{{event.topic}}", "data":
            {"status": "{{steps[0].response.status}}", "r": "{{steps[0].response.body[1].x}}"}}},
    ]});
    let parsed = Template::parse(&template).expect("valid");
    assert_eq!(parsed.print(), template);
    assert_eq!(parsed.steps(), 3);
    assert_eq!(parsed.captured(0).collect::<Vec<_>>(), [Part::Status, Part::Headers, Part::Body]);
    assert_eq!((parsed.captured(1).count(), parsed.captured(2).count()), (0, 0));
}

#[test]
fn a_step_is_refused_at_its_member() {
    let step = |step: Value| json!({"steps": [get("http://a/"), step]});
    refused(json!([]), "", "object");
    refused(json!({"steps": [get("http://a/")], "on": 1}), "/on", "not known");
    refused(json!({"steps": []}), "/steps", "1 to 10");
    refused(json!({"steps": vec![get("http://a/"); STEPS_MAX + 1]}), "/steps", "1 to 10");
    refused(step(json!({"url": "http://a/"})), "/steps/1/method", "required");
    refused(step(json!({"method": "TRACE", "url": "http://a/"})), "/steps/1/method", "PURGE");
    refused(step(json!({"method": "GET", "url": 1})), "/steps/1/url", "string");
    refused(step(json!({"emit": {"type": "a"}, "url": "x"})), "/steps/1/url", "there are emit");
    refused(step(json!({"emit": {"data": 1}})), "/steps/1/emit/type", "required");
    refused(step(json!({"emit": {"type": "a", "time": "x"}})), "/steps/1/emit/time", "not known");
    let with = |name: &str, value: Value| {
        let mut step = get("http://a/");
        step[name] = value;
        json!({ "steps": [step] })
    };
    refused(with("capture", json!(["body", "body"])), "/steps/0/capture", "each once");
    refused(with("capture", json!(["time"])), "/steps/0/capture", "status, headers, body");
    refused(with("headers", json!({"Host": "b"})), "/steps/0/headers/Host", "set by the hub");
    refused(with("headers", json!({"x/y": "b"})), "/steps/0/headers/x~1y", "header name");
    refused(with("headers", json!({"x": "a\nb"})), "/steps/0/headers/x", "control");
    refused(with("headers", json!({"x": "b", "X": "c"})), "/steps/0/headers/x", "twice");
    refused(with("query", json!({"a": 1})), "/steps/0/query/a", "string");
    refused(with("query", json!([])), "/steps/0/query", "object");
}

#[test]
fn an_expression_is_refused_at_its_column() {
    let check = |text: &str, detail: &str| {
        refused(post(json!({"a/b": ["", text]})), "/steps/0/body/a~1b/1", detail);
    };
    check("é {{event.id", "column 3: '{{' is not closed");
    check("é {{event.id }", "column 14: write '|'");
    check("{{}}", "column 3: \"\" is no path; write event.NAME");
    check("{{ env.HOME }}", "column 4: \"env.HOME\" is no path");
    check("{{event}}", "column 3: name an attribute");
    check("{{event.data.x}}", "name an attribute");
    check("{{event.data}}", "write data");
    check("{{event.No}}", "a-z and 0-9");
    check("{{data..x}}", "is no path");
    check("{{datax}}", "is no path");
    check("{{data[x]}}", "is no path");
    check(&format!("{{{{data{}}}}}", "[0]".repeat(33)), "at most 32 steps");
    check(&format!("{{{{data.{}}}}}", "x".repeat(1_024)), "at most 1024 bytes");
    check("{{match}}", "name a named capture");
    check("{{subscription.secret}}", "there are id, name, owner and labels");
    check("{{steps[0].response.status}}", "does not come before");
    check("{{steps[0].request.url}}", "write steps[n].response");
    check("{{event.id | shout}}", "column 14: is no filter; there are json");
    check("{{event.id | url(1)}}", "column 14: url takes no argument");
    check("{{event.id | default}}", "default needs an argument");
    check("{{event.id | default(x)}}", "column 22: the argument must be JSON");
    check("{{event.id | default(\")}}", "column 22: the argument is not closed");
    check("{{event.time | date(1)}}", "text in double quotes");
    check("{{event.time | date(\"%Q\")}}", "column 21: after '%'");
    check("{{event.time | date(\"%9999Y\")}}", "after '%'");
    check("{{event.time | date(\"%\")}}", "after '%'");
    check("{{event.id | hmac(\"\")}}", "1 to 64 bytes");
    let long = format!("{{{{event.id{}}}}}", " | url".repeat(FILTERS_MAX + 1));
    check(&long, "at most 8 filters");
}

#[test]
fn a_step_uses_only_what_an_earlier_one_keeps() {
    let chain = |capture: Value, path: &str| {
        let first = json!({"method": "GET", "url": "http://a/", "capture": capture});
        let second =
            json!({"method": "PUT", "url": "http://a/", "body": format!("{{{{{path}}}}}")});
        json!({"steps": [first, {"emit": {"type": "a"}}, second]})
    };
    let at = "/steps/2/body";
    assert!(Template::parse(&chain(json!(["body"]), "steps[0].response.body.a")).is_ok());
    refused(chain(json!(["status"]), "steps[0].response.body"), at, "add \"body\" to its capture");
    refused(chain(json!(null), "steps[0].response.status"), at, "add \"status\"");
    refused(chain(json!(["status"]), "steps[0].response.status.x"), at, "no parts");
    refused(chain(json!([]), "steps[1].response.status"), at, "does not keep");
    refused(chain(json!([]), "steps[2].response.status"), at, "does not come before");
}

#[test]
fn data_does_not_choose_the_host() {
    let check = |url: &str, good: bool| {
        let parsed = Template::parse(&json!({"steps": [get(url)]}));
        assert_eq!(parsed.is_ok(), good, "{url}: {parsed:?}");
        assert!(parsed.map_or_else(|error| error.pointer == "/steps/0/url", |_| true), "{url}");
    };
    check("http://a.lan", true);
    check("{{data.url}}", true);
    check("https://a.lan:8443/{{data.x | url}}", true);
    check("HTTP://[::1]/?x={{data.x}}", true);
    check("http://a.lan?x={{data.x}}", true);
    for bad in [
        "",
        "a.lan/x",
        "ftp://a.lan/{{data.x}}",
        "http://{{data.host}}/",
        "http://a.lan{{data.x}}/",
        "http://a.lan:{{data.port}}/",
        "http://u:{{data.x}}@a.lan/",
        "http://u:p@a.lan/{{data.x}}",
        "{{data.scheme}}://a.lan/",
        "{{data.url}}/x",
        "http:{{data.x}}",
        "http:///{{data.x}}",
        "http:////{{data.x}}/",
        "http://\\/{{data.x}}",
        "http://\t/{{data.x}}",
        "http://a.lan\\{{data.x}}",
        "http://a.lan/../{{data.x}}/\n",
        "http://a.lan/#x",
        "http://a.lan/a/../b",
    ] {
        check(bad, false);
    }
}

#[test]
fn a_template_is_bounded() {
    refused(post(json!("x".repeat(65_536))), "", "65536 bytes in all");
    let tight = format!("{{{{event.id{}}}}}", "|url".repeat(FILTERS_MAX)).repeat(EXPRESSIONS_MAX);
    let filled = |bytes: usize| post(json!(format!("{tight}{}", "x".repeat(bytes))));
    assert!(Template::parse(&filled(50_000)).is_ok());
    // Short enough as it was written, too long as it is printed.
    refused(filled(54_000), "", "65536 bytes in all");
    let many = |count: usize| post(json!(vec!["{{event.id}}"; count]));
    assert!(Template::parse(&many(EXPRESSIONS_MAX)).is_ok());
    refused(many(EXPRESSIONS_MAX + 1), "/steps/0/body/256", "at most 256 expressions");
    let nested = |depth: usize| post((0..depth).fold(json!("x"), |inner, _| json!([inner])));
    assert!(Template::parse(&nested(32)).is_ok());
    let at = format!("/steps/0/body{}", "/0".repeat(32));
    refused(nested(33), &at, "at most 32 deep");
}
