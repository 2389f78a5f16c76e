//! Durations and sizes as people write them: `"90s"`, `"7d"`, `"500ms"`, `"64MiB"`.

use std::time::Duration;

const DURATIONS: [(&str, u64); 5] =
    [("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];

const SIZES: [(&str, u64); 7] = [
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("B", 1),
];

/// Reads a duration: a whole number and one of `ms`, `s`, `m`, `h`, `d`.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    parse(text, &DURATIONS).map(Duration::from_millis).ok_or_else(|| {
        format!("{text:?} is not a duration; write a number and ms, s, m, h or d, like \"90s\"")
    })
}

/// Reads a size: a whole number and one of `B`, `KiB`, `MiB`, `GiB`, `kB`, `MB`, `GB`.
pub fn parse_size(text: &str) -> Result<u64, String> {
    parse(text, &SIZES).ok_or_else(|| {
        format!("{text:?} is not a size; write a number and B, KiB, MiB or GiB, like \"64MiB\"")
    })
}

/// Writes a duration in the largest unit that needs no fraction.
pub fn print_duration(duration: Duration) -> String {
    let millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    print(millis, &DURATIONS, "ms")
}

/// Writes a size in the largest binary unit that needs no fraction.
pub fn print_size(bytes: u64) -> String {
    print(bytes, &SIZES[..3], "B")
}

fn parse(text: &str, units: &[(&str, u64)]) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let (_, factor) = units.iter().find(|(name, _)| *name == unit.trim_start())?;
    number.parse::<u64>().ok()?.checked_mul(*factor)
}

fn print(amount: u64, units: &[(&str, u64)], smallest: &str) -> String {
    let whole = units.iter().rev().find(|(_, factor)| amount > 0 && amount.is_multiple_of(*factor));
    match whole {
        Some((unit, factor)) => format!("{}{unit}", amount / factor),
        None => format!("{amount}{smallest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantities_read_back_as_they_were_written() {
        for text in ["0s", "500ms", "90s", "5m", "1h", "7d", "36h"] {
            let duration = parse_duration(text).expect(text);
            assert_eq!(parse_duration(&print_duration(duration)), Ok(duration), "{text}");
        }
        assert_eq!(print_duration(Duration::from_secs(90)), "90s");
        assert_eq!(print_duration(Duration::from_secs(86_400)), "1d");
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(print_size(64 << 20), "64MiB");
        for bad in ["", "5", "s", "-1s", "1.5h", "1w", "99999999999999999999s", "9999999999999999d"]
        {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
