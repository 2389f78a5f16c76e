//! First set-up: the one-time URL makes the administrator's token and shows it once.

use askama::Template;
use axum::extract::{RawQuery, Request, State};
use axum::response::Response;
use http::StatusCode;

use super::render::render;
use crate::domain::grant::Grants;
use crate::faces::api::tokens::{check_name, keep_new};
use crate::faces::auth::Site;
use crate::faces::body::Form;
use crate::faces::codes;
use crate::faces::problem::Problem;
use crate::faces::query::Query;
use crate::faces::router::Hub;
use crate::faces::setup::check_no_administrator;

/// Name of the first token when the form gives none.
const NAME_DEFAULT: &str = "administrator";

#[derive(Template)]
#[template(path = "setup.html", config = "web/askama.toml")]
struct Setup<'a> {
    key: &'a str,
    token: &'a str,
}

/// `GET /setup?key=…`
pub(crate) async fn setup_form(
    State(hub): State<Hub>,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    hub.setup.check_open(&hub.reader.tokens())?;
    let query = Query::parse(raw.as_deref(), &["key"])?;
    let key = query.get("key").unwrap_or_default();
    hub.setup.check(key)?;
    render(StatusCode::OK, &Setup { key, token: "" })
}

/// `POST /setup` (form: `key`, `name`)
pub(crate) async fn setup(State(hub): State<Hub>, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    Site::of(&parts).refuse_foreign()?;
    hub.setup.check_open(&hub.reader.tokens())?;
    let form = Form::read(Request::from_parts(parts, body)).await?;
    let name = match form.get("name").trim() {
        "" => NAME_DEFAULT,
        name => name,
    };
    let claim = hub.setup.claim(form.get("key"))?;
    // Again, now that nobody else holds the key: a form may take its time to arrive.
    check_no_administrator(&hub.reader.tokens())?;
    check_name(name).map_err(|error| Problem::invalid(codes::TOKEN_INVALID, error))?;
    let (_, token) = keep_new(&hub, name, Grants::all()).await?;
    claim.spend();
    render(StatusCode::CREATED, &Setup { key: "", token: &token })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_key_and_the_token_are_escaped() {
        let page = Setup { key: "\"><b>", token: "" }.render().expect("page");
        assert!(!page.contains("<b>") && page.contains("name=\"key\""));
        let page = Setup { key: "", token: "tdg_a_b" }.render().expect("page");
        assert!(page.contains("tdg_a_b") && !page.contains("name=\"key\""));
    }
}
