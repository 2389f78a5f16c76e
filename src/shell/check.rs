//! `tidings check`: looks configuration and store over without starting or changing anything.

use toml::Value;

use super::client::running;
use super::{Error, print};
use crate::config::{self, Loaded, Sources};
use crate::store::{self, Findings};

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Print the effective configuration and where each value came from.
    #[arg(long)]
    print: bool,
    /// Check what `serve --dev` would run with.
    #[arg(long)]
    dev: bool,
}

pub(super) fn run(args: &Args, sources: &Sources) -> Result<(), Error> {
    let loaded = config::load(&Sources { dev: args.dev, ..sources.clone() })?;
    if args.print {
        print_tree(&loaded);
    }
    let dir = &loaded.config.data.dir;
    config::template_keys(&loaded.config)?;
    let has_key = store::check_seal_key(&loaded.config)?;
    print::line("configuration: good");
    print::line(match has_key {
        true => "sealing key: good",
        false => "sealing key: none yet; a start makes one in the data directory",
    });
    if !dir.exists() {
        print::line(&format!("store: none yet in {}", dir.display()));
        return Ok(());
    }
    let found = store::verify(dir)?;
    // A running hub may be in the middle of a write.
    let stopped = running(dir).is_ok_and(|hub| hub.is_none());
    print_findings(&found, stopped);
    match found.new.is_empty() && found.broken_snapshots.is_empty() {
        true => Ok(()),
        false => Err(Error::Fault(
            "the store is damaged; a start passes over it and keeps the rest, and so does \
             `tidings repair` on a stopped hub"
                .to_owned(),
        )),
    }
}

/// Prints what is in a store. `stopped`: bytes of a torn write are of no running hub.
pub(super) fn print_findings(found: &Findings, stopped: bool) {
    print::line(&format!(
        "store: {} records in {} segments, {} bytes, {} snapshots",
        found.records, found.segments, found.bytes, found.snapshots
    ));
    if stopped && found.torn_bytes > 0 {
        let torn = found.torn_bytes;
        print::line(&format!(
            "store: {torn} bytes of a torn write follow; a start leaves them out"
        ));
    }
    for (kind, list) in [("damage", &found.new), ("known damage", &found.known)] {
        for damage in list {
            print::line(&format!(
                "{kind}: {} bytes {} to {}: offsets {} to {}",
                damage.file, damage.from_byte, damage.to_byte, damage.from_offset, damage.to_offset
            ));
        }
    }
    for broken in &found.broken_snapshots {
        print::line(&format!("damage: {broken}"));
    }
    if found.new.is_empty() && found.known.is_empty() && found.broken_snapshots.is_empty() {
        print::line("store: every checksum good");
    }
}

fn print_tree(loaded: &Loaded) {
    for (section, keys) in &loaded.tree {
        print::line(&format!("[{section}]"));
        for (key, value) in keys.as_table().into_iter().flatten() {
            let origin = loaded.origins.get(&format!("{section}.{key}"));
            let origin = origin.map_or("default", String::as_str);
            print::line(&format!("{key} = {}  # {origin}", shown(value)));
        }
    }
}

fn shown(value: &Value) -> String {
    match value {
        Value::Array(items) => {
            let items: Vec<String> = items.iter().map(shown).collect();
            format!("[{}]", items.join(", "))
        }
        other => other.to_string(),
    }
}
