//! `tidings token`: who may do what, on a running hub or a stopped one.

use std::sync::Arc;

use bytes::Bytes;
use http::Method;
use serde_json::{Value, json};

use super::client::{Hub, Target};
use super::{Error, print};
use crate::config::Config;
use crate::domain::command::Command;
use crate::domain::grant::{Grant, Grants};
use crate::domain::record::Token;
use crate::flow::Gate;
use crate::store::{self, Reader, Store, Submit};
use crate::telemetry::Metrics;
use crate::{clock, faces};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    #[command(subcommand)]
    action: Action,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Subcommand)]
enum Action {
    /// Make a token; it is printed once.
    Create {
        /// A name for people.
        name: String,
        /// What it may do: publish:FILTER, subscribe:FILTER, manage, admin.
        #[arg(long, required = true, num_args = 1.., value_name = "GRANT")]
        allow: Vec<String>,
    },
    /// List the tokens.
    List,
    /// Revoke a token and end what it owns.
    Revoke {
        /// The token's id.
        id: String,
    },
}

pub(super) async fn run(args: Args, config: Config) -> Result<(), Error> {
    if let Action::Create { name, allow } = &args.action {
        parse(name, allow)?;
    }
    match Hub::look_for(&args.target, &config)? {
        Some(hub) => on_hub(&args.action, &hub).await,
        None => on_store(args.action, &config).await,
    }
}

async fn on_hub(action: &Action, hub: &Hub) -> Result<(), Error> {
    match action {
        Action::Create { name, allow } => {
            let body = json!({ "name": name, "allow": allow }).to_string();
            let call = hub.call(Method::POST, "/v1/tokens", "application/json", Bytes::from(body));
            let token = call.await?;
            print::line(token["token"].as_str().unwrap_or_default());
        }
        Action::List => {
            let list = hub.call(Method::GET, "/v1/tokens", "", Bytes::new()).await?;
            for token in list["tokens"].as_array().into_iter().flatten() {
                let text = |name: &str| token[name].as_str().unwrap_or_default().to_owned();
                let allow: Vec<&str> = token["allow"]
                    .as_array()
                    .into_iter()
                    .flatten()
                    .filter_map(Value::as_str)
                    .collect();
                print_token(&text("id"), &text("created_at"), &text("name"), &allow.join(" "));
            }
        }
        Action::Revoke { id } => {
            hub.call(Method::DELETE, &format!("/v1/tokens/{id}"), "", Bytes::new()).await?;
        }
    }
    Ok(())
}

/// The hub does not run: the store is opened for one command.
async fn on_store(action: Action, config: &Config) -> Result<(), Error> {
    let (Store { reader, submit, writer, .. }, lock) =
        store::open(config, Arc::new(Metrics::default()))?;
    let thread = tokio::task::spawn_blocking(move || writer.run());
    let done = carry_out(action, &reader, &submit).await;
    submit.close();
    thread.await.map_err(|error| Error::Fault(error.to_string()))??;
    drop(lock);
    // A token is shown once the store is closed, so that it is there whatever follows.
    if let Some(token) = done? {
        print::line(&token);
    }
    Ok(())
}

/// Does what is asked for on an open store. Answers the text of a new token.
async fn carry_out(
    action: Action,
    reader: &Reader,
    submit: &Submit,
) -> Result<Option<String>, Error> {
    let (command, text) = match action {
        Action::Create { name, allow } => {
            let (name, grants) = parse(&name, &allow)?;
            faces::check_token_room(reader).map_err(Error::Fault)?;
            let (token, text) = Gate::new_token(&name, grants, clock::now());
            (Command::CreateToken(token), Some(text))
        }
        Action::Revoke { id } => (Command::RevokeToken(id), None),
        Action::List => {
            reader.tokens().iter().for_each(|token| print_held(token));
            return Ok(None);
        }
    };
    match submit.send(command).await?.await {
        Ok(Ok(_)) => Ok(text),
        Ok(Err(failure)) => Err(Error::Fault(failure.to_string())),
        Err(_) => Err(Error::Fault("the store closed before it answered".to_owned())),
    }
}

fn print_held(token: &Token) {
    let allow: Vec<String> = token.grants.0.iter().map(Grant::to_string).collect();
    print_token(&token.id, &token.created_at.to_string(), &token.name, &allow.join(" "));
}

fn print_token(id: &str, created_at: &str, name: &str, allow: &str) {
    print::line(&format!("{id}  {created_at}  {name}  {allow}"));
}

/// Checks what a token is asked for with, as the HTTP interface does.
fn parse(name: &str, allow: &[String]) -> Result<(String, Grants), Error> {
    faces::parse_token(&json!({ "name": name, "allow": allow })).map_err(|error| {
        let place = if error.pointer == "/name" { "NAME" } else { "--allow" };
        Error::Usage(format!("{place}: {}", error.detail))
    })
}
