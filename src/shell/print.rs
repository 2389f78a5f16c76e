//! Standard output and standard error: the only place that writes to either by itself.

use std::io::Write;

/// Prints a line for the caller to use. False: nobody reads any more.
pub(super) fn line(text: &str) -> bool {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{text}").and_then(|()| out.flush()).is_ok()
}

/// Prints a line about what went wrong.
pub(super) fn error(text: &str) {
    // There is nobody else to tell.
    let _ = writeln!(std::io::stderr(), "{text}");
}
