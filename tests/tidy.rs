//! The rules of the house that no other tool keeps. Each failure names the place and the fix.

#[path = "tidy/source.rs"]
mod source;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use source::{Source, words};

const FILE_LINES: usize = 400;
const FUNCTION_LINES: usize = 60;
const COLUMNS: usize = 100;
/// A piece of a line that is longer than this and has no space cannot be broken.
const UNBREAKABLE: usize = 70;

/// What each module of the crate's root may import. Who is not here is not looked at:
/// `run`, which constructs everything, and `shell`, the command line's commands.
const LAYERS: [(&str, &[&str]); 10] = [
    ("domain", &[]),
    ("clock", &["domain"]),
    ("stop", &[]),
    ("config", &["domain"]),
    ("telemetry", &["domain", "config"]),
    ("store", &["domain", "config", "telemetry", "clock", "stop"]),
    ("net", &["domain", "config", "telemetry", "clock", "stop"]),
    ("flow", &["domain", "config", "telemetry", "clock", "stop", "store", "net"]),
    ("broker", &["domain", "config", "telemetry", "clock", "stop", "flow", "store", "net"]),
    ("faces", &["domain", "config", "telemetry", "clock", "stop", "flow", "store", "net"]),
];

/// What faces and broker may take from layers that they see only in part.
const PARTS: [(&str, &[&str]); 2] = [
    (
        "store",
        &[
            "Reader",
            "Error",
            "Counts",
            "DeadLetterKey",
            "Stretch",
            "StoreStatus",
            "Snapshot",
            "Damage",
            "Disk",
        ],
    ),
    ("net", &["serve"]),
];

const ROOT_NAMES: [&str; 10] = [
    "CHANGELOG.md",
    "Cargo.lock",
    "Cargo.toml",
    "LICENSE",
    "README.md",
    "config",
    "src",
    "systemd",
    "tests",
    "web",
];

const VAGUE_NAMES: [&str; 7] = ["utils", "util", "helpers", "common", "manager", "types", "misc"];

const BROKEN_SERDE: [&str; 4] = ["flatten", "untagged", "skip_serializing_if", "default"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All Rust files under some folders.
fn sources(folders: &[&str]) -> Vec<Source> {
    let mut open: Vec<PathBuf> = folders.iter().map(|folder| root().join(folder)).collect();
    let mut found = Vec::new();
    while let Some(path) = open.pop() {
        if path.is_dir() {
            let entries = std::fs::read_dir(&path).expect("a readable folder");
            open.extend(entries.map(|entry| entry.expect("a readable entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            found.push(Source::read(root(), &path));
        }
    }
    assert!(!found.is_empty(), "no Rust file in {folders:?}");
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// Sources of the package itself without their tests.
fn product() -> Vec<Source> {
    let mut all = sources(&["src"]);
    all.retain(|source| !source.path.ends_with("/tests.rs"));
    all.iter().map(Source::without_tests).collect()
}

/// The module of the crate's root that a file belongs to.
fn top_module(source: &Source) -> &str {
    let path = source.path.strip_prefix("src/").unwrap_or(&source.path);
    path.split('/').next().unwrap_or(path).trim_end_matches(".rs")
}

#[track_caller]
fn assert_none(faults: Vec<String>) {
    assert!(faults.is_empty(), "\n{} fault(s):\n{}\n", faults.len(), faults.join("\n"));
}

#[test]
fn layers_import_only_what_is_below_them() {
    let mut faults = Vec::new();
    for source in product() {
        let module = top_module(&source);
        let Some((_, allowed)) = LAYERS.iter().find(|(name, _)| *name == module) else { continue };
        let partial = matches!(module, "broker" | "faces");
        for (at, path) in source.paths("crate") {
            let target = path[0].as_str();
            let below = target == module || allowed.contains(&target);
            let part = PARTS.iter().find(|(name, _)| partial && *name == target);
            let whole = matches!(path.get(1).map_or("self", String::as_str), "self");
            let taken: Vec<String> = match whole {
                true => source.paths(target).into_iter().map(|(_, tail)| tail[0].clone()).collect(),
                false => vec![path[1].clone()],
            };
            let stranger = |parts: &&[&str]| {
                taken.iter().any(|name| name != "self" && !parts.contains(&name.as_str()))
            };
            if !below || part.is_some_and(|(_, parts)| stranger(parts)) {
                faults.push(format!(
                    "{}:{}: {module} may not import {}; see the layer rule in src/lib.rs",
                    source.path,
                    source.line(at),
                    path.join("::"),
                ));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn nobody_leaves_its_module_by_super() {
    let mut faults = Vec::new();
    for source in product() {
        let depth = source.path.matches('/').count();
        let ups = depth - usize::from(source.path.ends_with("/mod.rs"));
        let escape = "super::".repeat(ups);
        for (at, _) in source.code.match_indices(&escape) {
            let chained = source.code[..at].ends_with("super::");
            if ups > 0 && !chained && source.path != "src/lib.rs" {
                faults.push(format!("{}:{}: write crate::", source.path, source.line(at)));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn only_the_one_who_may_imports_run_and_shell() {
    let mut faults = Vec::new();
    for source in product() {
        let module = top_module(&source);
        for root in ["crate", "tidings"] {
            for (at, path) in source.paths(root) {
                let free = match path[0].as_str() {
                    "shell" => matches!(module, "main" | "shell"),
                    "run" => matches!(module, "main" | "shell" | "run"),
                    _ => true,
                };
                if !free {
                    let line = source.line(at);
                    faults.push(format!("{}:{line}: may not import {}", source.path, path[0]));
                }
            }
        }
    }
    assert_none(faults);
}

#[test]
fn files_stay_short() {
    let long = |source: &Source| {
        let lines = source.text.lines().count();
        let fault = format!("{}: {lines} lines; split it by noun", source.path);
        (lines >= FILE_LINES).then_some(fault)
    };
    assert_none(sources(&["src", "tests"]).iter().filter_map(long).collect());
}

#[test]
fn functions_stay_short() {
    let mut faults = Vec::new();
    for source in sources(&["src", "tests"]) {
        for function in source.functions() {
            if function.lines >= FUNCTION_LINES {
                let (line, name) = (source.line(function.at), &function.name);
                let lines = function.lines;
                faults.push(format!("{}:{line}: {name} has {lines} lines; split it", source.path));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn lines_stay_short() {
    let mut faults = Vec::new();
    for source in sources(&["src", "tests"]) {
        for (number, line) in (1..).zip(source.text.lines()) {
            let columns = line.chars().count();
            let unbreakable =
                line.split_whitespace().any(|piece| piece.chars().count() > UNBREAKABLE);
            if columns > COLUMNS && !unbreakable {
                faults.push(format!("{}:{number}: {columns} columns; wrap it", source.path));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn every_file_says_what_it_is() {
    let silent = |source: &Source| {
        let fault = format!("{}:1: open it with //! and what it must never do", source.path);
        (!source.text.starts_with("//!")).then_some(fault)
    };
    assert_none(sources(&["src", "tests"]).iter().filter_map(silent).collect());
}

#[test]
fn a_door_holds_no_functions() {
    let mut faults = Vec::new();
    for source in product().iter().filter(|source| source.path.ends_with("/mod.rs")) {
        let source = source.without_error_impls();
        for function in source.functions() {
            let (line, name) = (source.line(function.at), &function.name);
            faults.push(format!("{}:{line}: move {name} into a file of its own", source.path));
        }
    }
    assert_none(faults);
}

#[test]
fn nothing_is_unwrapped() {
    let mut faults = Vec::new();
    for source in product() {
        for (at, _) in source.code.match_indices(".unwrap()") {
            let line = source.line(at);
            faults.push(format!("{}:{line}: use ?, or expect(\"why this holds\")", source.path));
        }
    }
    assert_none(faults);
}

#[test]
fn what_is_left_to_do_has_an_issue() {
    let mut faults = Vec::new();
    for source in sources(&["src"]) {
        for mark in ["TODO", "FIXME", "XXX"] {
            for at in words(&source.text, mark) {
                let rest = source.text[at + mark.len()..].trim_start_matches(['(', ' ', ':']);
                let number = rest.strip_prefix('#').and_then(|rest| rest.chars().next());
                if !number.is_some_and(|digit| digit.is_ascii_digit()) {
                    let line = source.line(at);
                    faults.push(format!("{}:{line}: write {mark}(#issue)", source.path));
                }
            }
        }
    }
    assert_none(faults);
}

#[test]
fn names_say_what_things_are() {
    let mut faults = Vec::new();
    for source in sources(&["src"]) {
        let mut parts = source.path.trim_end_matches(".rs").split('/');
        let vague = parts.find(|part| VAGUE_NAMES.contains(part));
        faults.extend(vague.map(|part| format!("{}: {part} says nothing", source.path)));
        for at in words(&source.code, "mod") {
            let name = source.code[at + 3..].trim_start();
            let name: String =
                name.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
            if VAGUE_NAMES.contains(&name.as_str()) {
                let line = source.line(at);
                faults.push(format!("{}:{line}: mod {name} says nothing", source.path));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn the_root_keeps_its_names() {
    let ignored = std::fs::read_to_string(root().join(".gitignore")).expect(".gitignore");
    let ignored: BTreeSet<&str> = ignored.lines().map(|line| line.trim_matches('/')).collect();
    let mut faults = Vec::new();
    for entry in std::fs::read_dir(root()).expect("the root") {
        let name = entry.expect("an entry").file_name().to_string_lossy().into_owned();
        let known = ROOT_NAMES.contains(&name.as_str()) || ignored.contains(name.as_str());
        if !known && !name.starts_with('.') {
            faults
                .push(format!("{name}: the root keeps its names; put it into one of its folders"));
        }
    }
    assert_none(faults);
}

#[test]
fn sled_and_bincode_stay_in_the_store() {
    let mut faults = Vec::new();
    for source in product().iter().filter(|source| !source.path.starts_with("src/store/")) {
        for name in ["sled", "bincode"] {
            for at in words(&source.code, name) {
                let line = source.line(at);
                faults.push(format!("{}:{line}: {name} belongs into src/store", source.path));
            }
        }
    }
    assert_none(faults);
}

#[test]
fn records_use_no_serde_attribute_that_bincode_cannot_read_back() {
    let mut faults = Vec::new();
    for source in sources(&["src"]) {
        if !source.path.starts_with("src/store/codec") {
            continue;
        }
        for at in words(&source.code, "serde") {
            let attribute = source.code[at..].split(']').next().unwrap_or_default();
            let broken = BROKEN_SERDE.iter().find(|name| words(attribute, name).next().is_some());
            if let (true, Some(name)) = (attribute.starts_with("serde("), broken) {
                let line = source.line(at);
                faults.push(format!("{}:{line}: {name} does not survive bincode", source.path));
            }
        }
    }
    assert_none(faults);
}

/// The error codes in a text: `E-` and at least two words.
fn codes(text: &str) -> BTreeSet<String> {
    let pieces = text.split(|c: char| !(c.is_ascii_uppercase() || c == '-'));
    let code = |piece: &&str| {
        let words: Vec<&str> = piece.split('-').collect();
        words.len() >= 3 && words[0] == "E" && words.iter().all(|word| !word.is_empty())
    };
    pieces.filter(code).map(str::to_owned).collect()
}

#[test]
fn every_error_code_is_in_the_readme_and_the_other_way_round() {
    let used: BTreeSet<String> =
        product().iter().flat_map(|source| codes(&source.literals)).collect();
    let readme = std::fs::read_to_string(root().join("README.md")).expect("README.md");
    let listed = codes(&readme);
    let mut faults = Vec::new();
    faults.extend(used.difference(&listed).map(|code| format!("{code}: list it in README.md")));
    faults.extend(listed.difference(&used).map(|code| format!("{code}: nothing in src says it")));
    assert_none(faults);
}

#[test]
fn the_reader_of_sources_is_not_fooled() {
    let path = root().join("tests/tidy/sample.txt");
    let sample = Source::read(root(), &path);
    let product = sample.without_tests();
    let names: Vec<_> = sample.functions().into_iter().map(|f| (f.name, f.lines)).collect();
    let expected = [("one", 1), ("generic", 5), ("told", 3)];
    assert_eq!(names, expected.map(|(name, lines)| (name.to_owned(), lines)));
    assert_eq!(product.functions().len(), 2);
    assert_eq!(codes(&sample.literals), BTreeSet::from(["E-REAL-CODE".to_owned()]));
    let paths: Vec<_> = sample.paths("crate").into_iter().map(|(_, p)| p.join("::")).collect();
    assert_eq!(paths, ["a::b", "store::Reader", "store::log::Log", "net::dial"]);
    assert_eq!(product.code.matches(".unwrap()").count(), 0);
}
