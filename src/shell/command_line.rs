//! The command line: options, commands, exit codes.

use std::ffi::OsString;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

use super::exit_code::exit_code;
use super::{Error, backup, check, demo, explain, print, publish, serve, tail, token};
use crate::config::{self, Loaded, Sources};

/// What the names of variables that configure the hub begin with.
const PREFIX: &[u8] = b"TIDINGS__";

/// A change-notification appliance: MQTT broker, webhooks and event streams over one durable log.
#[derive(Debug, Parser)]
#[command(name = "tidings", version, disable_help_subcommand = true)]
struct Args {
    /// Configuration file; conf.d/*.toml beside it is read too.
    #[arg(long, global = true, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where everything is kept; wins over data.dir.
    #[arg(long, global = true, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the hub (what happens without a command).
    Serve(serve::Args),
    /// Check configuration and store without starting.
    Check(check::Args),
    /// Create, list and revoke tokens, on a running hub or a stopped one.
    Token(token::Args),
    /// Publish one event to a topic of a running hub.
    Publish(publish::Args),
    /// Print events of a running hub as they come, one JSON object a line.
    Tail(tail::Args),
    /// Tell who gets an event and what became of that, who does not and which clause said no.
    Explain(explain::Args),
    /// Take a consistent backup, of a running hub or a stopped one.
    Backup(backup::BackupArgs),
    /// Read a backup into an empty data directory, or rehearse that.
    Restore(backup::RestoreArgs),
    /// Mend the store of a stopped hub as far as it can be mended.
    Repair,
    /// Run a hub, a webhook receiver, an MQTT subscriber and a publisher, and show what happens.
    Demo,
}

/// Runs the command that the arguments name.
pub fn main(arguments: impl Iterator<Item = OsString>) -> ExitCode {
    let args = match Args::try_parse_from(arguments) {
        Ok(args) => args,
        Err(error) => {
            // Printing can only fail where nobody reads; the code says the same.
            let _ = error.print();
            return ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2));
        }
    };
    match dispatch(args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            print::error(&format!("tidings: {error}"));
            ExitCode::from(exit_code(&error))
        }
    }
}

fn dispatch(args: Args) -> Result<(), Error> {
    let environment = environment(std::env::vars_os())?;
    let mut sources =
        Sources { file: args.config, data_dir: args.data_dir, dev: false, environment };
    match args.command.unwrap_or(Command::Serve(serve::Args::default())) {
        Command::Serve(options) => {
            sources.dev = options.dev;
            start(serve::run(load(&sources)?.config))
        }
        Command::Check(options) => check::run(&options, &sources),
        Command::Token(options) => start(token::run(options, load(&sources)?.config)),
        Command::Publish(options) => start(publish::run(options, load(&sources)?.config)),
        Command::Tail(options) => start(tail::run(options, load(&sources)?.config)),
        Command::Explain(options) => start(explain::run(options, load(&sources)?.config)),
        Command::Backup(options) => start(backup::backup(options, load(&sources)?.config)),
        Command::Restore(options) => backup::restore(&options, &load(&sources)?.config),
        Command::Repair => backup::repair(&load(&sources)?.config),
        Command::Demo => {
            sources.dev = true;
            start(demo::run(load(&sources)?.config))
        }
    }
}

/// The variables that configure the hub, and where its credentials are. What else the environment
/// holds need not be text.
fn environment(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Result<Vec<(String, String)>, Error> {
    let ours = |(name, _): &(OsString, OsString)| {
        name.as_encoded_bytes().starts_with(PREFIX) || name == config::CREDENTIALS
    };
    let text = |(name, value): (OsString, OsString)| {
        let source_name = name.to_string_lossy().into_owned();
        let bad = |_| config::Error { source_name, problem: "is not UTF-8".to_owned() };
        let text = name.into_string().and_then(|name| Ok((name, value.into_string()?)));
        Ok(text.map_err(bad)?)
    };
    variables.filter(ours).map(text).collect()
}

fn load(sources: &Sources) -> Result<Loaded, Error> {
    Ok(config::load(sources)?)
}

/// Runs a command on a runtime of its own.
fn start(command: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("tidings")
        .build()
        .map_err(|error| Error::Fault(format!("no runtime can be started: {error}")))?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests {
    use std::os::unix::ffi::OsStringExt;

    use super::*;

    #[test]
    fn foreign_variables_need_not_be_text_but_ours_do() {
        let os = |bytes: &[u8]| OsString::from_vec(bytes.to_vec());
        let check = |name: &[u8], value: &[u8], expected: Option<usize>| {
            let read = environment(std::iter::once((os(name), os(value))));
            assert_eq!(read.ok().map(|held| held.len()), expected, "{name:?}");
        };
        check(b"PATH", b"/bin", Some(0));
        check(b"LEGACY", b"caf\xe9", Some(0));
        check(b"LEGACY\xff", b"x", Some(0));
        check(b"TIDINGS__LEASE__MAX", b"9d", Some(1));
        check(b"TIDINGS__LEASE__MAX", b"\xff", None);
        check(b"TIDINGS__\xff", b"9d", None);
    }
}
