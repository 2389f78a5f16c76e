//! Login and logout: a token opens a session, the session's cookie stands for it. The token is
//! neither kept nor shown.

use askama::Template;
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Redirect, Response};
use http::header::SET_COOKIE;
use http::request::Parts;
use http::{HeaderValue, StatusCode};

use super::render::render;
use crate::clock;
use crate::faces::auth::{COOKIE_NAME, Site, cookie};
use crate::faces::body::Form;
use crate::faces::problem::Problem;
use crate::faces::router::Hub;
use crate::faces::sessions::SESSION_LIFE;

#[derive(Template)]
#[template(path = "login.html", config = "web/askama.toml")]
struct Login {
    refused: bool,
}

/// `GET /login`
pub(crate) async fn login_form() -> Result<Response, Problem> {
    render(StatusCode::OK, &Login { refused: false })
}

/// `POST /login` (form: `token`)
pub(crate) async fn login(State(hub): State<Hub>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Site::of(&parts).refuse_foreign()?;
    let secure = is_https(&parts);
    let form = Form::read(Request::from_parts(parts, body)).await?;
    let Some(caller) = hub.gate.bearer(form.get("token").trim()) else {
        return render(StatusCode::UNAUTHORIZED, &Login { refused: true });
    };
    let value = hub.sessions.open(caller, clock::now());
    Ok(home_with(&set_cookie(&value, SESSION_LIFE.as_secs(), secure), "/"))
}

/// `POST /logout`
pub(crate) async fn logout(State(hub): State<Hub>, request: Request) -> Result<Response, Problem> {
    let (parts, _) = request.into_parts();
    Site::of(&parts).refuse_foreign()?;
    if let Some(value) = cookie(&parts.headers) {
        hub.sessions.close(value);
    }
    Ok(home_with(&set_cookie("", 0, is_https(&parts)), "/login"))
}

fn home_with(cookie: &str, path: &str) -> Response {
    let mut response = Redirect::to(path).into_response();
    if let Ok(value) = HeaderValue::from_str(cookie) {
        response.headers_mut().insert(SET_COOKIE, value);
    }
    response
}

fn set_cookie(value: &str, seconds: u64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{COOKIE_NAME}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

/// Whether the browser speaks https, be it to a proxy in front of the hub. Believing it only makes
/// the cookie stricter.
fn is_https(parts: &Parts) -> bool {
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok());
    parts.uri.scheme_str() == Some("https")
        || text("x-forwarded-proto") == Some("https")
        || text("origin").is_some_and(|origin| origin.starts_with("https://"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cookie_is_for_this_site_and_not_for_scripts() {
        let plain = set_cookie("v", 60, false);
        let expected = "tidings_session=v; Path=/; Max-Age=60; HttpOnly; SameSite=Strict";
        assert_eq!(plain, expected);
        assert_eq!(set_cookie("v", 60, true), format!("{expected}; Secure"));
    }

    #[test]
    fn the_login_page_never_repeats_what_was_typed() {
        let page = Login { refused: true }.render().expect("page");
        assert!(page.contains("name=\"token\"") && page.contains("refused"));
    }
}
