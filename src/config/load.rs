//! Loading: reference, files, environment, command line, each laid over the one before. Unknown
//! keys and values of another type are refused with their source.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::{CREDENTIALS, Config, Error, Lease, REFERENCE};
use crate::domain::filter::Limits;
use crate::domain::sign::OVERLAP_MAX;

const ENV_PREFIX: &str = "TIDINGS__";

/// What the command line and the environment say about configuration.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// `--config`: one file; `conf.d/*.toml` beside it is read too.
    pub file: Option<PathBuf>,
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--dev`.
    pub dev: bool,
    /// Variables of the environment: `TIDINGS__...` and `CREDENTIALS_DIRECTORY`.
    pub environment: Vec<(String, String)>,
}

/// A configuration and where each value came from.
#[derive(Debug)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The merged tree, for printing.
    pub tree: Table,
    /// Key (`section.key`) to source, for all that is not the reference's.
    pub origins: BTreeMap<String, String>,
}

/// Reads and merges all sources.
pub fn load(sources: &Sources) -> Result<Loaded, Error> {
    let mut tree: Table = REFERENCE.parse().expect("the reference is valid TOML (tested)");
    let reference = tree.clone();
    let mut origins = BTreeMap::new();
    for path in files(sources)? {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path)
            .map_err(|error| fault(&name, format!("cannot be read: {error}")))?;
        let layer = text.parse::<Table>().map_err(|error| fault(&name, error.to_string()))?;
        lay_over(&mut tree, &reference, layer, &name, &mut origins)?;
    }
    for (variable, text) in &sources.environment {
        if let Some(key) = variable.strip_prefix(ENV_PREFIX) {
            let layer = from_environment(&reference, variable, key, text)?;
            lay_over(&mut tree, &reference, layer, variable, &mut origins)?;
        }
    }
    if let Some(dir) = dev_or_given_dir(sources) {
        set_dir(&mut tree, &dir.0);
        origins.insert("data.dir".to_owned(), dir.1.to_owned());
    }
    let names = || origins.values().cloned().collect::<Vec<_>>().join(", ");
    let mut config: Config = Value::Table(tree.clone())
        .try_into()
        .map_err(|error: toml::de::Error| fault(&names(), error.to_string()))?;
    config.dev = sources.dev;
    check(&config)?;
    let credentials = sources.environment.iter().find(|(name, _)| name == CREDENTIALS);
    config.credentials = credentials.map(|(_, path)| PathBuf::from(path));
    Ok(Loaded { config, tree, origins })
}

fn dev_or_given_dir(sources: &Sources) -> Option<(PathBuf, &'static str)> {
    match (&sources.data_dir, sources.dev) {
        (Some(dir), _) => Some((dir.clone(), "--data-dir")),
        (None, true) => Some((PathBuf::from("./tidings-dev"), "--dev")),
        (None, false) => None,
    }
}

fn set_dir(tree: &mut Table, dir: &Path) {
    if let Some(Value::Table(data)) = tree.get_mut("data") {
        data.insert("dir".to_owned(), Value::String(dir.display().to_string()));
    }
}

/// Rules that hold between keys, and values that only their readers understand.
fn check(config: &Config) -> Result<(), Error> {
    let listeners = [("http.listen", config.http.listen), ("mqtt.listen", config.mqtt.listen)];
    let is_open = |(_, listen): &(&str, SocketAddr)| config.dev && !listen.ip().is_loopback();
    if let Some((key, listen)) = listeners.into_iter().find(is_open) {
        return Err(fault(key, format!("{listen} is not loopback; --dev asks no credentials")));
    }
    tracing_subscriber::EnvFilter::try_new(&config.telemetry.log_level)
        .map_err(|error| fault("telemetry.log_level", error.to_string()))?;
    let extra = &config.net.extra_ca_file;
    let read = if extra.as_os_str().is_empty() { Ok(vec![]) } else { std::fs::read(extra) };
    read.map_err(|error| fault("net.extra_ca_file", format!("{}: {error}", extra.display())))?;
    let Lease { min, max, default } = &config.lease;
    if !(min.0..=max.0).contains(&default.0) {
        return Err(fault("lease", "must have min <= default <= max".to_owned()));
    }
    if config.signing.overlap.0 > OVERLAP_MAX {
        return Err(fault("signing.overlap", "must be at most 30d".to_owned()));
    }
    let (asked, most) = (config.filters.limits(), Limits::HARD);
    let bounded = [
        ("filters.depth_max", asked.depth_max, most.depth_max),
        ("filters.nodes_max", asked.nodes_max, most.nodes_max),
        ("filters.bytes_max", asked.bytes_max, most.bytes_max),
        ("filters.regex_bytes_max", asked.regex_bytes_max, most.regex_bytes_max),
        ("filters.regex_compiled_max", asked.regex_compiled_max, most.regex_compiled_max),
        ("filters.path_depth_max", asked.path_depth_max, most.path_depth_max),
    ];
    let off = bounded.iter().find(|(_, asked, most)| *asked == 0 || asked > most);
    if let Some((key, _, most)) = off {
        return Err(fault(key, format!("must be 1 to {most}")));
    }
    let positive = [
        ("mqtt.receive_maximum", usize::from(config.mqtt.receive_maximum)),
        ("mqtt.queue_max", config.mqtt.queue_max),
        ("log.queue_max", config.log.queue_max),
        ("log.segment_size", config.log.segment_size.bytes()),
        ("events.batch_max", config.events.batch_max),
        ("delivery.in_flight_max", config.delivery.in_flight_max),
        ("delivery.target_in_flight_max", config.delivery.target_in_flight_max),
        ("delivery.park_schedule", config.delivery.park_schedule.len()),
        ("delivery.lane_queue_max", config.delivery.lane_queue_max),
        ("delivery.lane_queue_bytes_max", config.delivery.lane_queue_bytes_max.bytes()),
        ("delivery.retries_max", config.delivery.retries_max),
        ("jobs.count_max", config.jobs.count_max),
    ];
    let zero = positive.iter().find(|(_, value)| *value == 0);
    zero.map_or(Ok(()), |(key, _)| Err(fault(key, "must be at least 1".to_owned())))
}

fn files(sources: &Sources) -> Result<Vec<PathBuf>, Error> {
    let Some(file) = &sources.file else { return Ok(Vec::new()) };
    let mut files = vec![file.clone()];
    let dir = file.parent().unwrap_or(Path::new(".")).join("conf.d");
    if let Ok(entries) = std::fs::read_dir(&dir) {
        let mut more: Vec<PathBuf> = entries
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .filter(|path| path.extension().is_some_and(|extension| extension == "toml"))
            .collect();
        more.sort();
        files.extend(more);
    }
    Ok(files)
}

fn lay_over(
    tree: &mut Table,
    reference: &Table,
    layer: Table,
    source: &str,
    origins: &mut BTreeMap<String, String>,
) -> Result<(), Error> {
    for (section, keys) in layer {
        let known = reference.get(&section).and_then(Value::as_table);
        let known = known.ok_or_else(|| unknown(source, "section", &section, reference.keys()))?;
        let Value::Table(keys) = keys else {
            return Err(fault(source, format!("{section} is a section: write [{section}]")));
        };
        for (key, value) in keys {
            let full = format!("{section}.{key}");
            let Some(default) = known.get(&key) else {
                let near =
                    known.keys().map(|known| format!("{section}.{known}")).collect::<Vec<_>>();
                return Err(unknown(source, "key", &full, near.iter()));
            };
            if std::mem::discriminant(default) != std::mem::discriminant(&value) {
                let problem = format!("{full} must be a {}, like {default}", default.type_str());
                return Err(fault(source, problem));
            }
            origins.insert(full, source.to_owned());
            if let Some(Value::Table(held)) = tree.get_mut(&section) {
                held.insert(key, value);
            }
        }
    }
    Ok(())
}

/// A variable's text takes the type that its key has in the reference. Lists are comma-separated.
fn from_environment(
    reference: &Table,
    variable: &str,
    key: &str,
    text: &str,
) -> Result<Table, Error> {
    let key = key.to_ascii_lowercase();
    let (section, key) = key
        .split_once("__")
        .ok_or_else(|| fault(variable, "must be TIDINGS__SECTION__KEY".to_owned()))?;
    let value = match reference.get(section).and_then(|keys| keys.get(key)) {
        Some(Value::Integer(_)) => text.parse().map(Value::Integer).ok(),
        Some(Value::Boolean(_)) => text.parse().map(Value::Boolean).ok(),
        Some(Value::Array(_)) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            Some(Value::Array(items.map(|item| Value::String(item.to_owned())).collect()))
        }
        _ => Some(Value::String(text.to_owned())),
    };
    let value =
        value.ok_or_else(|| fault(variable, format!("{text:?} is not a number or true/false")))?;
    let keys = Table::from_iter([(key.to_owned(), value)]);
    Ok(Table::from_iter([(section.to_owned(), Value::Table(keys))]))
}

fn unknown<'a>(
    source: &str,
    what: &str,
    name: &str,
    known: impl Iterator<Item = &'a String>,
) -> Error {
    let nearest = known.min_by_key(|known| strsim::damerau_levenshtein(known, name));
    let hint = nearest.map_or(String::new(), |nearest| format!("; did you mean {nearest}?"));
    fault(source, format!("unknown {what} {name}{hint}"))
}

fn fault(source: &str, problem: String) -> Error {
    Error { source_name: source.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Size;

    fn load_env(pairs: &[(&str, &str)]) -> Result<Loaded, Error> {
        let own = |(key, value): &(&str, &str)| ((*key).to_owned(), (*value).to_owned());
        load(&Sources { environment: pairs.iter().map(own).collect(), ..Sources::default() })
    }

    #[test]
    fn filters_cannot_be_allowed_more_than_is_safe() {
        let check = |variable: &str, most: &str, more: &str| {
            load_env(&[(variable, most)]).expect(variable);
            let none = if more.ends_with("KiB") || more.ends_with("MiB") { "0B" } else { "0" };
            let key = variable.trim_start_matches("TIDINGS__").replace("__", ".").to_lowercase();
            for bad in [more, none] {
                let error = load_env(&[(variable, bad)]).expect_err(variable);
                assert_eq!(error.source_name, key, "{bad}: {error}");
            }
        };
        check("TIDINGS__FILTERS__DEPTH_MAX", "32", "33");
        check("TIDINGS__FILTERS__NODES_MAX", "1024", "1025");
        check("TIDINGS__FILTERS__BYTES_MAX", "256KiB", "257KiB");
        check("TIDINGS__FILTERS__REGEX_BYTES_MAX", "4KiB", "5KiB");
        check("TIDINGS__FILTERS__REGEX_COMPILED_MAX", "4MiB", "5MiB");
        check("TIDINGS__FILTERS__PATH_DEPTH_MAX", "128", "129");
    }

    #[test]
    fn the_reference_is_the_configuration() {
        let loaded = load(&Sources::default()).expect("the reference loads");
        assert_eq!(loaded.config.http.listen.port(), 8080);
        assert_eq!(loaded.config.log.segment_size, Size(16 << 20));
        assert!(loaded.origins.is_empty());
    }

    #[test]
    fn an_unknown_key_is_refused_with_the_nearest_known_one() {
        let check = |key: &str, nearest: &str| {
            let error = load_env(&[(key, "1")]).expect_err(key).to_string();
            assert!(error.contains(key) && error.contains(nearest), "{error}");
        };
        check("TIDINGS__HTTP__LISTN", "did you mean http.listen?");
        check("TIDINGS__HTP__LISTEN", "did you mean http?");
        check("TIDINGS__LEASE__MAXIMUM", "did you mean lease.max?");
    }

    #[test]
    fn later_sources_win_and_are_named() {
        let dir = tempfile::tempdir().expect("temporary directory");
        let file = dir.path().join("tidings.toml");
        std::fs::create_dir(dir.path().join("conf.d")).expect("directory");
        std::fs::write(&file, "[lease]\nmax = \"9d\"\nmin = \"5s\"\n").expect("write");
        std::fs::write(dir.path().join("conf.d/a.toml"), "[lease]\nmax = \"8d\"\n").expect("write");
        let environment = vec![
            ("TIDINGS__NET__ALLOW".to_owned(), "10.0.0.0/8, fd00::/8".to_owned()),
            ("TIDINGS__EVENTS__BATCH_MAX".to_owned(), "7".to_owned()),
        ];
        let sources = Sources { file: Some(file), environment, ..Sources::default() };
        let loaded = load(&sources).expect("valid");
        assert_eq!(loaded.config.lease.max.0, Duration::from_secs(8 * 86_400));
        assert_eq!(loaded.config.lease.min.0, Duration::from_secs(5));
        assert_eq!(loaded.config.events.batch_max, 7);
        assert_eq!(loaded.config.net.allow.len(), 2);
        assert!(loaded.origins["lease.max"].ends_with("a.toml"));
    }

    #[test]
    fn a_wrong_value_is_refused() {
        for (key, value) in [
            ("TIDINGS__LEASE__MAX", "soon"),
            ("TIDINGS__LEASE__MAX", "1s"),
            ("TIDINGS__HTTP__LISTEN", "8080"),
            ("TIDINGS__EVENTS__BATCH_MAX", "many"),
            ("TIDINGS__DELIVERY__IN_FLIGHT_MAX", "0"),
            ("TIDINGS__LOG__SEGMENT_SIZE", "16"),
            ("TIDINGS__SIGNING__OVERLAP", "31d"),
        ] {
            assert!(load_env(&[(key, value)]).is_err(), "{key}={value}");
        }
        let environment = vec![("TIDINGS__HTTP__LISTEN".to_owned(), "0.0.0.0:80".to_owned())];
        let sources = Sources { dev: true, environment, ..Sources::default() };
        assert!(load(&sources).is_err(), "--dev on all addresses");
    }
}
