//! Keys that are read beside the configuration: from the credentials directory of the service
//! manager first, then from files that the configuration names. Read by who needs them, not with
//! the configuration: a client may read that and not the keys. Never printed, never written.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::{Config, Error};
use crate::domain::template::{KEY_NAME_BYTES_MAX, Key};
use crate::domain::vault::{KEY_BYTES, parse_key};

/// The variable in which a service manager names the directory with credentials.
pub const CREDENTIALS: &str = "CREDENTIALS_DIRECTORY";

/// The sealing key's name there.
const SEAL_KEY: &str = "tidings-seal-key";

/// What the names of keys for templates begin with there.
const HMAC: &str = "hmac-";

/// Largest file of a key.
const FILE_BYTES_MAX: u64 = 4_096;

/// Most keys for templates.
const KEYS_MAX: usize = 1_000;

/// Group and others: of a file of one's own neither may read.
const NOT_OWNER: u32 = 0o077;

/// Others alone: a service manager grants its user access by an access list, which shows as rights
/// of the group.
const NOT_GROUP: u32 = 0o007;

/// The key that seals what is kept, if there is one here: else the data directory has it.
pub fn seal_key(config: &Config) -> Result<Option<[u8; KEY_BYTES]>, Error> {
    let parse =
        |text: String| parse_key(&text).map_err(|error| format!("its key {}", error.detail));
    if let Some(path) = config.credentials.as_ref().map(|directory| directory.join(SEAL_KEY)) {
        let read = read_file(&path, NOT_GROUP).and_then(|text| text.map(parse).transpose());
        if let Some(key) = read.map_err(fault(SEAL_KEY))? {
            return Ok(Some(key));
        }
    }
    let path = &config.signing.seal_key_file;
    if path.as_os_str().is_empty() {
        return Ok(None);
    }
    let read = read_file(path, NOT_OWNER).and_then(|text| {
        let text = text.ok_or_else(|| format!("there is no file {}", path.display()))?;
        parse(text)
    });
    read.map(Some).map_err(fault("signing.seal_key_file"))
}

/// Keys of the template filter `hmac`, by name.
pub fn template_keys(config: &Config) -> Result<BTreeMap<String, Key>, Error> {
    let mut keys = BTreeMap::new();
    let keys_dir = &config.templates.keys_dir;
    if !keys_dir.as_os_str().is_empty() {
        add_keys(&mut keys, keys_dir, "", NOT_OWNER).map_err(fault("templates.keys_dir"))?;
    }
    if let Some(directory) = &config.credentials {
        add_keys(&mut keys, directory, HMAC, NOT_GROUP).map_err(fault(CREDENTIALS))?;
    }
    match keys.len() > KEYS_MAX {
        true => Err(fault("templates.keys_dir")(format!("there are more than {KEYS_MAX} keys"))),
        false => Ok(keys),
    }
}

/// Reads a file that nobody but its owner may read. The error names it.
pub fn read_private(path: &Path) -> Result<Option<String>, String> {
    read_file(path, NOT_OWNER)
}

fn add_keys(
    keys: &mut BTreeMap<String, Key>,
    directory: &Path,
    prefix: &str,
    forbidden: u32,
) -> Result<(), String> {
    let failed = |error: io::Error| format!("{}: {error}", directory.display());
    for entry in std::fs::read_dir(directory).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(name) = name.strip_prefix(prefix).filter(|name| !name.starts_with('.')) else {
            continue;
        };
        if !path.is_file() {
            continue;
        }
        if !(1..=KEY_NAME_BYTES_MAX).contains(&name.len()) {
            let path = path.display();
            return Err(format!("{path}: a key's name has 1 to {KEY_NAME_BYTES_MAX} bytes"));
        }
        let Some(text) = read_file(&path, forbidden)? else { continue };
        let text = text.trim_end_matches(['\r', '\n']);
        if text.is_empty() {
            return Err(format!("{}: the key is empty", path.display()));
        }
        keys.insert(name.to_owned(), Key::new(text));
    }
    Ok(())
}

/// The text of a file that has none of the `forbidden` rights; `None` if there is no file.
fn read_file(path: &Path, forbidden: u32) -> Result<Option<String>, String> {
    let bad = |problem: String| format!("{}: {problem}", path.display());
    let mut file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(bad(error.to_string())),
    };
    let about = file.metadata().map_err(|error| bad(error.to_string()))?;
    let mode = about.permissions().mode() & 0o777;
    if mode & forbidden != 0 {
        return Err(bad(format!("others may read it (mode {mode:04o}); chmod it to 0600")));
    }
    if about.len() > FILE_BYTES_MAX {
        return Err(bad(format!("it has more than {FILE_BYTES_MAX} bytes")));
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| bad(error.to_string()))?;
    Ok(Some(text))
}

fn fault(source: &str) -> impl Fn(String) -> Error {
    move |problem| Error { source_name: source.to_owned(), problem }
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::path::PathBuf;

    use tempfile::TempDir;

    use super::*;
    use crate::config::{Sources, load};
    use crate::domain::vault::print_key;

    fn directory(files: &[(&str, &str, u32)]) -> TempDir {
        let dir = tempfile::tempdir().expect("directory");
        for (name, text, mode) in files {
            let path = dir.path().join(name);
            std::fs::write(&path, text).expect("written");
            std::fs::set_permissions(&path, Permissions::from_mode(*mode)).expect("permitted");
        }
        dir
    }

    fn loaded(credentials: Option<&TempDir>, keys: &[(&str, PathBuf)]) -> Config {
        let text = |path: &Path| path.display().to_string();
        let mut environment: Vec<_> =
            keys.iter().map(|(key, path)| ((*key).to_owned(), text(path))).collect();
        environment.extend(credentials.map(|dir| (CREDENTIALS.to_owned(), text(dir.path()))));
        load(&Sources { environment, ..Sources::default() }).expect("valid").config
    }

    const FILE: &str = "TIDINGS__SIGNING__SEAL_KEY_FILE";

    #[test]
    fn the_sealing_key_comes_from_the_credentials_first() {
        let (one, two) = (print_key(&[1; 32]), print_key(&[2; 32]));
        let dir = directory(&[("key", &one, 0o600), ("open", &one, 0o644), ("bad", "x", 0o600)]);
        let file = |name: &str| [(FILE, dir.path().join(name))];
        let credentials = directory(&[(SEAL_KEY, &two, 0o440)]);
        let none = directory(&[]);
        let check = |credentials, files: &[(&str, PathBuf)], expected: Option<u8>| {
            let read = seal_key(&loaded(credentials, files)).expect("valid");
            assert_eq!(read, expected.map(|byte| [byte; 32]));
        };
        check(None, &[], None);
        check(None, &file("key"), Some(1));
        check(Some(&credentials), &file("key"), Some(2));
        check(Some(&none), &file("key"), Some(1));
        for (name, words) in [("open", "others may read"), ("bad", "32 bytes"), ("no", "no file")] {
            let error = seal_key(&loaded(None, &file(name))).expect_err(name).to_string();
            assert!(
                error.starts_with("signing.seal_key_file: ") && error.contains(words),
                "{error}"
            );
        }
        let bad = directory(&[(SEAL_KEY, "x", 0o400)]);
        let error = seal_key(&loaded(Some(&bad), &[])).expect_err("malformed").to_string();
        assert!(error.starts_with("tidings-seal-key: "), "{error}");
    }

    #[test]
    fn keys_for_templates_have_their_files_names() {
        let dir = directory(&[("cdn", "one\n", 0o600), (".hidden", "x", 0o644)]);
        let keys = [("TIDINGS__TEMPLATES__KEYS_DIR", dir.path().to_owned())];
        let credentials = directory(&[("hmac-cdn", "two", 0o400), ("hmac-b", "b", 0o400)]);
        let read = template_keys(&loaded(None, &keys)).expect("a directory");
        assert_eq!(read, BTreeMap::from([("cdn".to_owned(), Key::new("one"))]));
        let read = template_keys(&loaded(Some(&credentials), &keys)).expect("both");
        assert_eq!(read["cdn"], Key::new("two"));
        assert_eq!(read["b"], Key::new("b"));
        for (files, words) in
            [([("a", "x", 0o640)], "others may read"), ([("a", "\n", 0o600)], "empty")]
        {
            let dir = directory(&files);
            let keys = [("TIDINGS__TEMPLATES__KEYS_DIR", dir.path().to_owned())];
            let error = template_keys(&loaded(None, &keys)).expect_err(words).to_string();
            assert!(error.contains(words) && !error.contains('\u{a}'), "{error}");
        }
    }
}
