//! Figures in words for people: remaining time, sizes, the beginning of an event's data. Pure.

use crate::domain::Timestamp;
use crate::domain::event::{Data, Form};
use crate::domain::gap::Gap;
use crate::domain::subscription::{State, Subscription};
use crate::store::{Damage, Disk};

/// Characters of an event's data that a page shows.
const PREVIEW_CHARS: usize = 120;

/// Where a subscription stands: `59 min`, `no end`, `ended: expired`.
pub(crate) fn lease(subscription: &Subscription, now: Timestamp) -> String {
    match (subscription.state, subscription.lease) {
        (State::Ended(end, _), _) => format!("ended: {}", end.as_str()),
        (State::Active | State::Paused | State::Parked(_), None) => "no end".to_owned(),
        (State::Active | State::Paused | State::Parked(_), Some(lease)) => {
            remaining(lease.expires_at.as_second() - now.as_second())
        }
    }
}

/// A size in the largest binary unit of which there is at least one, to one decimal place.
pub(crate) fn size(bytes: u64) -> String {
    let units = [("GiB", 1u64 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)];
    match units.iter().find(|(_, unit)| bytes >= *unit) {
        Some((name, unit)) => {
            let tenths = u128::from(bytes) * 10 / u128::from(*unit);
            format!("{}.{} {name}", tenths / 10, tenths % 10)
        }
        None => format!("{bytes} B"),
    }
}

/// The beginning of an event's data on one line; the page's template escapes it.
pub(crate) fn preview(data: Option<&Data>) -> String {
    let Some(data) = data else { return "no data".to_owned() };
    if data.form == Form::Binary {
        return "binary".to_owned();
    }
    let head = &data.bytes[..data.bytes.len().min(PREVIEW_CHARS * 4)];
    let text = String::from_utf8_lossy(head);
    let shown: String = text.chars().take(PREVIEW_CHARS).map(plain).collect();
    let more = data.bytes.len() > shown.len();
    if more { format!("{}…", shown.trim_end_matches('\u{fffd}')) } else { shown }
}

/// What a subscription was not given last: `12 to 40, 2026-11-21 10:00:00`.
pub(crate) fn gap(gap: Gap) -> String {
    let Gap { newest, at, .. } = gap;
    format!("{} to {}, {}", newest.from, newest.to, at.strftime("%Y-%m-%d %H:%M:%S"))
}

/// What of the log could not be read; empty if nothing.
pub(crate) fn damage(damage: &[Damage]) -> String {
    let Some(newest) = damage.last() else { return String::new() };
    let ranges = if damage.len() == 1 { "range" } else { "ranges" };
    format!(
        "{} damaged {ranges} of the log set aside; the newest: {} bytes {} to {}, records {} to {}",
        damage.len(),
        newest.file,
        newest.from_byte,
        newest.to_byte,
        newest.from_offset,
        newest.to_offset
    )
}

/// That new input is refused, and why; empty if it is not.
pub(crate) fn refusing(disk: Disk) -> String {
    match disk.refusing {
        false => String::new(),
        true => format!(
            "New events are refused: {} are free on the disk, {} are needed. Delivery goes on.",
            size(disk.free_bytes),
            size(disk.floor_bytes)
        ),
    }
}

fn plain(character: char) -> char {
    if character.is_control() { ' ' } else { character }
}

fn remaining(seconds: i64) -> String {
    match seconds {
        ..=0 => "over".to_owned(),
        1..=119 => format!("{seconds} s"),
        120..=7_199 => format!("{} min", seconds / 60),
        7_200..=172_799 => format!("{} h", seconds / 3_600),
        _ => format!("{} days", seconds / 86_400),
    }
}

/// The host that is delivered to.
pub(super) fn target(subscription: &Subscription) -> String {
    let server = subscription.server();
    match server.split_once("://") {
        Some((_scheme, host)) => host.to_owned(),
        None => "as its template says".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::domain::gap::Missing;

    #[test]
    fn remaining_time_is_told_in_the_fitting_unit() {
        for (seconds, expected) in [
            (-5, "over"),
            (0, "over"),
            (45, "45 s"),
            (3_599, "59 min"),
            (7_200, "2 h"),
            (86_400, "24 h"),
            (518_400, "6 days"),
        ] {
            assert_eq!(remaining(seconds), expected);
        }
    }

    #[test]
    fn sizes_have_one_decimal_place() {
        for (bytes, expected) in
            [(0, "0 B"), (1_023, "1023 B"), (1_536, "1.5 KiB"), (64 << 20, "64.0 MiB")]
        {
            assert_eq!(size(bytes), expected);
        }
    }

    #[test]
    fn damage_and_a_full_disk_are_told_in_a_line_and_nothing_where_there_is_none() {
        let at = Timestamp::UNIX_EPOCH;
        let one = Damage {
            file: "7.seg".to_owned(),
            from_byte: 1,
            to_byte: 2,
            from_offset: 3,
            to_offset: 4,
            found_at: at,
        };
        assert_eq!(damage(&[]), "");
        let expected = "2 damaged ranges of the log set aside; the newest: 7.seg bytes 1 to 2, \
                        records 3 to 4";
        assert_eq!(damage(&[one.clone(), one]), expected);
        let room = |refusing| Disk { free_bytes: 1 << 20, floor_bytes: 1 << 26, refusing };
        assert_eq!(refusing(room(false)), "");
        let expected = "New events are refused: 1.0 MiB are free on the disk, 64.0 MiB are needed. \
                        Delivery goes on.";
        assert_eq!(refusing(room(true)), expected);
        let newest = Missing { from: 12, to: 40 };
        let told = gap(Gap { newest, at, total: 28 });
        assert_eq!(told, "12 to 40, 1970-01-01 00:00:00");
    }

    #[test]
    fn a_preview_is_short_and_on_one_line() {
        let check = |bytes: &'static [u8], media_type, expected: &str| {
            let data = Data::judge(Bytes::from_static(bytes), media_type);
            assert_eq!(preview(Some(&data)), expected);
        };
        check(b"{\n \"a\": 1}", None, "{  \"a\": 1}");
        check(b"<b>", Some("text/html"), "<b>");
        check(&[0, 255], None, "binary");
        assert_eq!(preview(None), "no data");
        let long = Data::judge(Bytes::from("é".repeat(500)), Some("text/plain"));
        assert_eq!(preview(Some(&long)), format!("{}…", "é".repeat(PREVIEW_CHARS)));
    }
}
