//! The key that seals secrets: the one that the configuration names, or the data directory's own,
//! which is made at the first start. No backup holds it.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::Arc;

use super::Error;
use crate::clock;
use crate::config::{Config, read_private, seal_key};
use crate::domain::vault::{KEY_BYTES, Vault, parse_key, print_key};

/// The key's file in the data directory.
pub(super) const FILE: &str = "seal.key";

/// What it is called until it is whole.
const PARTIAL: &str = "seal.key.partial";

/// The vault of a hub. The caller has the lock of its data directory.
pub(super) fn vault(config: &Config) -> Result<Arc<Vault>, Error> {
    let key = match known(config)? {
        Some(key) => key,
        None => {
            let (dir, key) = (&config.data.dir, clock::random());
            let path = dir.join(FILE);
            make(dir, &path, &key).map_err(|error| Error::io(&path, &error))?;
            if dir.join("log").exists() {
                tracing::warn!(
                    path = %path.display(),
                    "a sealing key was made; secrets that were sealed with another one stay shut"
                );
            }
            key
        }
    };
    Ok(Arc::new(Vault::new(&key)))
}

/// Checks the key that a start would use. `false`: it would make one.
pub fn check_seal_key(config: &Config) -> Result<bool, Error> {
    known(config).map(|key| key.is_some())
}

fn known(config: &Config) -> Result<Option<[u8; KEY_BYTES]>, Error> {
    let configured = seal_key(config).map_err(|error| Error::Key(error.to_string()))?;
    if configured.is_some() {
        return Ok(configured);
    }
    let path = config.data.dir.join(FILE);
    let Some(text) = read_private(&path).map_err(Error::Key)? else { return Ok(None) };
    let bad = |detail| Error::Key(format!("{}: the sealing key {detail}", path.display()));
    parse_key(&text).map(Some).map_err(|error| bad(error.detail))
}

fn make(dir: &Path, path: &Path, key: &[u8; KEY_BYTES]) -> io::Result<()> {
    let partial = dir.join(PARTIAL);
    let mut options = OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(&partial)?;
    file.write_all(print_key(key).as_bytes())?;
    file.write_all(b"\n")?;
    file.sync_all()?;
    std::fs::rename(&partial, path)?;
    File::open(dir)?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::store::tests::config;

    #[test]
    fn a_key_is_made_once_and_only_its_owner_reads_it() {
        let dir = tempfile::tempdir().expect("a directory");
        let config = config(dir.path());
        let path = dir.path().join(FILE);
        let sealed = vault(&config).expect("made").seal("a", b"s");
        let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(vault(&config).expect("read").open("a", &sealed).expect("opened"), b"s");
        let check = |words: &str| {
            let error = vault(&config).expect_err(words);
            assert!(matches!(&error, Error::Key(text) if text.contains(words)), "{error}");
        };
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).expect("permitted");
        check("others may read");
        std::fs::set_permissions(&path, Permissions::from_mode(0o600)).expect("permitted");
        std::fs::write(&path, "short").expect("written");
        check("32 bytes");
    }
}
