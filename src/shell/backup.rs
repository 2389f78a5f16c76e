//! `tidings backup`, `restore` and `repair`: the whole store into one file and back, and mending it
//! offline.

use std::fs::{File, OpenOptions};
use std::io::{BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use http_body_util::BodyExt;

use super::check::print_findings;
use super::client::{Hub, Target};
use super::{Error, print};
use crate::config::Config;
use crate::store::{self, Store};
use crate::telemetry::Metrics;

/// What the file is called until it is whole.
const PARTIAL: &str = "partial";

#[derive(Debug, clap::Args)]
pub(super) struct BackupArgs {
    /// The file to write; one that is there is replaced once the new one is whole.
    file: PathBuf,
    #[command(flatten)]
    target: Target,
}

#[derive(Debug, clap::Args)]
pub(super) struct RestoreArgs {
    /// The backup to read.
    file: PathBuf,
    /// Only rehearse: check every byte, build the tables in memory, change nothing.
    #[arg(long)]
    verify: bool,
}

/// Takes a backup of a running hub, or of the data directory of a stopped one.
pub(super) async fn backup(args: BackupArgs, config: Config) -> Result<(), Error> {
    let partial = args.file.with_added_extension(PARTIAL);
    let out = create(&partial)?;
    let written = match Hub::look_for(&args.target, &config)? {
        Some(hub) => download(&hub, out).await,
        None => of_stopped(&config, out).await,
    };
    // What broke off is of no use to anybody.
    written.inspect_err(|_| drop(std::fs::remove_file(&partial)))?;
    let failed = |error: std::io::Error| fault(&args.file, &error);
    File::open(&partial).and_then(|file| file.sync_all()).map_err(failed)?;
    let rehearsed = store::rehearse(&partial)?;
    std::fs::rename(&partial, &args.file).map_err(failed)?;
    let dir = args.file.parent().filter(|dir| !dir.as_os_str().is_empty());
    let dir = dir.unwrap_or(Path::new("."));
    File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)?;
    print_rehearsed(&rehearsed);
    Ok(())
}

/// Reads a backup into an empty data directory, or rehearses that.
pub(super) fn restore(args: &RestoreArgs, config: &Config) -> Result<(), Error> {
    if args.verify {
        print_rehearsed(&store::rehearse(&args.file)?);
        return Ok(());
    }
    let dir = &config.data.dir;
    let _lock = store::Lock::take(dir)?;
    let manifest = store::restore(&args.file, dir)?;
    let (from, to) = (manifest.oldest_offset, manifest.next_offset);
    print::line(&format!("restored into {}: offsets {from} to {to}", dir.display()));
    Ok(())
}

/// Mends the store of a stopped hub.
pub(super) fn repair(config: &Config) -> Result<(), Error> {
    let dir = &config.data.dir;
    let _lock = store::Lock::take(dir)?;
    print_findings(&store::repair(dir)?, false);
    print::line("store: mended; what is damaged is in quarantine/");
    Ok(())
}

async fn download(hub: &Hub, mut out: BufWriter<File>) -> Result<(), Error> {
    let mut body = hub.open("/v1/backup").await?.into_body();
    while let Some(frame) = body.frame().await {
        let frame =
            frame.map_err(|error| Error::Fault(format!("the backup broke off: {error}")))?;
        if let Some(data) = frame.data_ref() {
            out.write_all(data).map_err(|error| fault(Path::new("the backup"), &error))?;
        }
    }
    out.flush().map_err(|error| fault(Path::new("the backup"), &error))
}

async fn of_stopped(config: &Config, out: BufWriter<File>) -> Result<(), Error> {
    if !config.data.dir.join("log").exists() {
        let dir = config.data.dir.display();
        return Err(Error::Fault(format!("there is no store in {dir}")));
    }
    let (Store { reader, submit, writer, .. }, lock) =
        store::open(config, Arc::new(Metrics::default()))?;
    let thread = tokio::task::spawn_blocking(move || writer.run());
    let written = reader.backup(out).await;
    submit.close();
    thread.await.map_err(|error| Error::Fault(error.to_string()))??;
    drop(lock);
    written?;
    Ok(())
}

fn print_rehearsed(rehearsed: &store::Rehearsed) {
    let manifest = &rehearsed.manifest;
    print::line(&format!(
        "backup: offsets {} to {}, {} files, written by Tidings {}",
        manifest.oldest_offset,
        manifest.next_offset,
        manifest.files.len(),
        manifest.release
    ));
    print_findings(&rehearsed.findings, false);
    print::line(&format!("tables: {} rows can be built from it", rehearsed.rows));
}

/// A backup holds secrets: nobody else may read it.
fn create(path: &Path) -> Result<BufWriter<File>, Error> {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path).map(BufWriter::new).map_err(|error| fault(path, &error))
}

fn fault(path: &Path, error: &std::io::Error) -> Error {
    Error::Fault(format!("{}: {error}", path.display()))
}
