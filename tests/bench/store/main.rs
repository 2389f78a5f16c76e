//! The store's figures in one run, each as a ratio to what bounds it: the raw disk at the group
//! size that the run really had, `cat`, the storage layer alone, other brokers. Prints and judges
//! nothing, and keeps nothing; run it by `tests/bench/run store [SECTION...]`.
#![expect(
    clippy::disallowed_methods,
    clippy::print_stdout,
    reason = "a benchmark connects, measures and prints as the hub itself must not"
)]

// As in the binary.
#[cfg(feature = "mimalloc")]
use mimalloc as _;

mod counters;
mod cpu;
mod device;
mod dialogue;
mod event;
mod filled;
mod hub;
mod ingest;
mod layer;
mod load;
mod memory;
mod nats;
mod path;
mod peers;
mod place;
mod raw;
mod redis;
mod replay;
mod report;
mod soak;
mod start;
#[path = "../../it/support/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the tests need more of it")]
mod support;

use place::Place;

/// Name of the thread that makes the load.
const LOAD: &str = "load";

/// What a run consists of when nothing is asked for.
const SECTIONS: [&str; 5] = ["ingest", "replay", "start", "memory", "peers"];

fn main() -> anyhow::Result<()> {
    // cargo adds `--bench`.
    let words: Vec<String> = std::env::args().skip(1).filter(|word| word != "--bench").collect();
    // One thread makes the load, so that the rest of the machine is left to what is measured. Of
    // tokio's schedulers this one: the other has the writer make a system call for each answer.
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .thread_name(LOAD)
        .enable_all()
        .build()?;
    if words.first().is_some_and(|word| word == "soak") {
        return runtime.block_on(soak::run(words.get(1).map(String::as_str)));
    }
    let asked = |section: &&str| words.is_empty() || words.iter().any(|word| word == section);
    if let Some(word) = words.iter().find(|word| !SECTIONS.contains(&word.as_str())) {
        anyhow::bail!("there is no section {word}; there are {}, and soak", SECTIONS.join(", "));
    }
    runtime.block_on(measure(&SECTIONS.into_iter().filter(asked).collect::<Vec<_>>()))
}

async fn measure(sections: &[&str]) -> anyhow::Result<()> {
    let place = Place::new()?;
    println!("load average before: {}", load_average());
    report::print_head();
    for section in sections {
        match *section {
            "ingest" => ingest::measure(&place).await?,
            "replay" => replay::measure(&place).await?,
            "start" => start::measure(&place).await?,
            "memory" => memory::measure(&place).await?,
            _ => peers::measure(&place).await?,
        }
    }
    println!("load average after: {}", load_average());
    Ok(())
}

/// Figures mean little beside the work of others.
fn load_average() -> String {
    let text = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    text.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}
