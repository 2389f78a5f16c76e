//! What holds for any template and any event.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Context, Fault, Key, Problem, Rendered, Response, Template};
use crate::domain::event::{Data, Event};
use crate::domain::filter::Facts;
use crate::domain::{cloudevents, samples};

/// Texts that are often nearly expressions.
fn text() -> impl Strategy<Value = String> {
    let path = r#"event\.(id|type|x)|data(\.a|\[[0-9]\]|\["b c"\])?|match\.[a-z]"#;
    let more = r"steps\[0\]\.response\.(status|body|headers\.x)|subscription\.(id|name|labels\.a)";
    let filter = r#"json|url|base64|lower|upper|default\((1|"é"|\{"a":\{\}\}|1e5)\)"#;
    let named = r#"date\("%[YmdQ]"\)|hmac\("k"\)"#;
    let expression =
        format!("\\{{\\{{ ?({path}|{more})( ?\\| ?({filter}|{named})){{0,3}} ?\\}}\\}}");
    let piece = prop_oneof![
        4 => expression.as_str().matching(),
        2 => "[{} a/é\"]{0,6}".matching(),
        1 => "\\PC{0,8}".matching(),
    ];
    prop::collection::vec(piece, 0..4).prop_map(|pieces| pieces.concat())
}

/// A regular expression as a strategy that owns its pattern.
trait Regex {
    fn matching(&self) -> BoxedStrategy<String>;
}

impl Regex for str {
    fn matching(&self) -> BoxedStrategy<String> {
        prop::string::string_regex(self).expect("a valid pattern").boxed()
    }
}

fn step(url: &str, header: &str, body: Value) -> Value {
    let first = json!({"method": "GET", "url": "http://a/", "capture": ["status", "body"]});
    json!({"steps": [first, {"method": "POST", "url": format!("http://a.lan/{url}"),
        "headers": {"x": header}, "query": {"q": header}, "body": body}]})
}

fn event(data: &str) -> Event {
    let text = br#"{"specversion":"1.0","id":"1","source":"/s","type":"a"}"#;
    let mut event = cloudevents::parse(text).expect("valid");
    event.data = Some(Data::judge(data.as_bytes().to_vec().into(), None));
    event
}

fn render(template: &Value, data: &str, limit: usize) -> Option<Result<Rendered, Fault>> {
    let template = Template::parse(template).ok()?;
    let event = event(data);
    let response =
        Response { status: Some(200), body: Some(json!({"a": 1})), ..Response::default() };
    let context = Context {
        facts: &Facts::new(&event),
        captures: &BTreeMap::from([("a".to_owned(), data.to_owned())]),
        subscription: &samples::subscription(1, 600),
        responses: &[response],
        keys: &BTreeMap::from([("k".to_owned(), Key::new("key"))]),
        output_bytes_max: limit,
    };
    Some(template.render(1, &context))
}

proptest! {
    #[test]
    fn any_text_is_a_template_that_reads_back_or_an_error(url in text(), body in text()) {
        for template in [step("", "", json!([body, {"a": body}])), step(&url, &body, json!(body))] {
            if let Ok(parsed) = Template::parse(&template) {
                let printed = parsed.print();
                prop_assert_eq!(Template::parse(&printed).expect("printed"), parsed, "{}", printed);
            }
        }
    }

    #[test]
    fn any_characters_are_refused_or_read(text in "[{}|()\\[\\]\".a-z0-9é% ]{0,40}") {
        for text in [text.clone(), format!("{{{{{text}}}}}"), format!("{{{{data | {text}}}}}")] {
            let _either = Template::parse(&step(&text, &text, json!({ "a": text })));
        }
    }

    #[test]
    fn output_never_exceeds_its_limit(
        header in text(), body in text(), data in "\\PC{0,60}", limit in 0_usize..300,
    ) {
        for body in [json!(body), json!([body, {"a": body}])] {
            match render(&step("x", &header, body), &data, limit) {
                Some(Ok(Rendered::Request(made))) => {
                    let headers = made.headers.iter().map(|(name, value)| name.len() + value.len());
                    let body = made.body.map_or(0, |body| body.len());
                    let all = made.url.as_str().len() + headers.sum::<usize>() + body;
                    prop_assert!(all <= limit, "{} of {}", all, limit);
                }
                Some(Ok(Rendered::Emit(_))) | Some(Err(_)) | None => {}
            }
        }
    }

    #[test]
    fn a_limit_that_suffices_changes_nothing(body in text(), data in "\\PC{0,60}") {
        let template = step("x", "", json!([body]));
        if let Some(Err(fault)) = render(&template, &data, 1 << 20) {
            prop_assert_ne!(fault.problem, Problem::TooLarge);
        }
    }

    #[test]
    fn the_filter_url_leaves_only_what_is_unreserved(data in ".{0,60}") {
        let template = step("x", "", json!("{{match.a | url}}"));
        let Some(Ok(Rendered::Request(made))) = render(&template, &data, 4_096) else {
            return Err(TestCaseError::fail("not rendered"));
        };
        let body = made.body.expect("a body");
        let mut bytes = body.iter();
        while let Some(byte) = bytes.next() {
            let is_encoded = *byte == b'%'
                && bytes.next().is_some_and(u8::is_ascii_hexdigit)
                && bytes.next().is_some_and(u8::is_ascii_hexdigit);
            prop_assert!(is_encoded || byte.is_ascii_alphanumeric() || b"-._~".contains(byte));
        }
        let decoded = percent_encoding::percent_decode(&body).decode_utf8().expect("UTF-8");
        prop_assert_eq!(decoded.as_ref(), data);
    }

    #[test]
    fn no_data_changes_the_host(
        data in r"[/\\@:?#.a \t\n%2e]{0,12}|.{0,12}",
        end in "[/?@:.]{0,2}",
    ) {
        for (start, below) in [("x/", "/x/"), ("", "/"), ("/", "//"), ("?q=", "/")] {
            let template = step(&format!("{start}{{{{match.a}}}}{end}"), "", json!(null));
            if let Some(Ok(Rendered::Request(made))) = render(&template, &data, 4_096) {
                prop_assert_eq!(made.url.host_str(), Some("a.lan"), "{}", data);
                prop_assert_eq!(made.url.port_or_known_default(), Some(80), "{}", data);
                prop_assert!(made.url.path().starts_with(below), "{}", made.url);
            }
        }
    }
}
