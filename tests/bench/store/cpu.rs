//! Where a process spends its processor time: each thread's, and the top symbols if `perf` may.

use std::collections::BTreeMap;
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use anyhow::Context;

use crate::report::float;

/// Ticks of `/proc/PID/stat` in a second: the same on every Linux.
pub(crate) const TICKS: f64 = 100.0;

/// Lines of the profile that are printed.
const THREADS: usize = 8;
const SYMBOLS: usize = 15;

/// A profile under way.
#[derive(Debug)]
pub(crate) struct Profile {
    pid: i32,
    begin: Instant,
    before: BTreeMap<u32, Thread>,
    own: u64,
    perf: Option<(Child, tempfile::TempPath)>,
}

/// A thread's name and its ticks in user and kernel mode.
#[derive(Debug, Clone, Default)]
pub(crate) struct Thread {
    pub(crate) name: String,
    pub(crate) user: u64,
    pub(crate) kernel: u64,
}

impl Profile {
    /// Begins one of a process.
    pub(crate) fn begin(pid: i32) -> anyhow::Result<Self> {
        let perf = start_perf(pid)?;
        Ok(Self { pid, begin: Instant::now(), before: threads(pid)?, own: own()?, perf })
    }

    /// Ends it and prints it.
    pub(crate) fn print(self) -> anyhow::Result<()> {
        let (seconds, cores) = (self.begin.elapsed().as_secs_f64(), cores());
        let mut used: Vec<Thread> = threads(self.pid)?
            .into_iter()
            .map(|(id, now)| now.since(self.before.get(&id).cloned().unwrap_or_default()))
            .collect();
        used.sort_by_key(|thread| std::cmp::Reverse(thread.user + thread.kernel));
        let share = |ticks: u64| float(ticks) / TICKS / seconds / cores * 100.0;
        let all = |ticks: fn(&Thread) -> u64| share(used.iter().map(ticks).sum());
        println!(
            "    processor, % of {cores} cores: user {:.0}, kernel {:.0}, the load itself {:.0}; \
             by thread:",
            all(|thread| thread.user),
            all(|thread| thread.kernel),
            share(own()? - self.own),
        );
        for thread in used.iter().take(THREADS).filter(|thread| thread.user + thread.kernel > 0) {
            let (user, kernel) = (share(thread.user), share(thread.kernel));
            println!("      {:<16} user {user:>5.1}  kernel {kernel:>5.1}", thread.name);
        }
        match self.perf {
            Some((child, data)) => print_symbols(child, &data),
            None => Ok(()),
        }
    }
}

impl Thread {
    fn since(self, earlier: Self) -> Self {
        let Self { name, user, kernel } = self;
        Self {
            name,
            user: user.saturating_sub(earlier.user),
            kernel: kernel.saturating_sub(earlier.kernel),
        }
    }
}

/// A process' threads by their ids.
pub(crate) fn threads(pid: i32) -> anyhow::Result<BTreeMap<u32, Thread>> {
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let path = entry?.path();
        // A thread may end while its numbers are read.
        let Ok(stat) = std::fs::read_to_string(path.join("stat")) else { continue };
        let (front, rest) = stat.rsplit_once(')').context("no name")?;
        let (id, name) = front.split_once(" (").context("no name")?;
        let ticks = |at: usize| -> anyhow::Result<u64> {
            Ok(rest.split_whitespace().nth(at).context("a short stat")?.parse()?)
        };
        let thread = Thread { name: name.to_owned(), user: ticks(11)?, kernel: ticks(12)? };
        found.insert(id.parse()?, thread);
    }
    Ok(found)
}

/// Ticks of this process, which makes the load.
fn own() -> anyhow::Result<u64> {
    let threads = threads(i32::try_from(std::process::id())?)?;
    Ok(threads.values().map(|thread| thread.user + thread.kernel).sum())
}

fn cores() -> f64 {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    f64::from(u32::try_from(cores).unwrap_or(u32::MAX))
}

/// `None` where there is no `perf`.
fn start_perf(pid: i32) -> anyhow::Result<Option<(Child, tempfile::TempPath)>> {
    let data = tempfile::NamedTempFile::new()?.into_temp_path();
    let mut command = Command::new("perf");
    command.args(["record", "-q", "-F", "499", "-p", &pid.to_string(), "-o"]).arg(&data);
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    Ok(child.ok().map(|child| (child, data)))
}

fn print_symbols(mut perf: Child, data: &tempfile::TempPath) -> anyhow::Result<()> {
    let pid = rustix::process::Pid::from_child(&perf);
    // An error: it ended by itself, because it may not look.
    let _ended = rustix::process::kill_process(pid, rustix::process::Signal::INT);
    perf.wait()?;
    let mut report = Command::new("perf");
    report.args(["report", "--stdio", "--no-children", "--sort", "comm,symbol", "-i"]).arg(data);
    let printed = report.stdin(Stdio::null()).output()?;
    let text = String::from_utf8_lossy(&printed.stdout).into_owned();
    let lines = text.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    for line in lines.take(SYMBOLS) {
        println!("      {}", line.trim_end_matches([' ', '-']));
    }
    Ok(())
}
