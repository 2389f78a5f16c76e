//! A snapshot that is being written: a few rows at a time, then synced and given its name. Until
//! then it is a temporary file that nobody reads.

use std::io;
use std::path::{Path, PathBuf};

use super::file::{Sink, Snapshot};
use crate::domain::Offset;
use crate::store::Error;
use crate::store::host::Host;
use crate::store::reader::Shared;

/// What a snapshot is called until it is whole.
const PARTIAL: &str = "snapshot.tmp";

/// A snapshot that is being written.
#[derive(Debug)]
pub(crate) struct Writing {
    sink: Sink,
    as_of: Offset,
    at: i64,
    dir: PathBuf,
}

/// Takes away what is left of a snapshot that could not be written: on a full disk it would keep
/// others from writing.
pub(crate) fn remove_partial(host: &dyn Host, dir: &Path) {
    if let Err(error) = host.remove(&dir.join(PARTIAL))
        && error.kind() != io::ErrorKind::NotFound
    {
        tracing::warn!(%error, "a snapshot that was not finished stays");
    }
}

impl Writing {
    /// Begins a snapshot of the tables as they are now.
    pub(crate) fn begin(host: &dyn Host, dir: &Path, shared: &Shared) -> Result<Self, Error> {
        let at = host.now().as_millisecond();
        let failed = |error: io::Error| Error::io(dir, &error);
        host.create_dir(dir).map_err(failed)?;
        dir.parent().map_or(Ok(()), |parent| host.sync_dir(parent)).map_err(failed)?;
        let file = host.create(&dir.join(PARTIAL)).map_err(failed)?;
        let as_of = shared.images.begin(|| shared.tail.next());
        let sink = Sink::begin(file, as_of, at).inspect_err(|_| shared.images.end());
        Ok(Self { sink: sink.map_err(failed)?, as_of, at, dir: dir.to_owned() })
    }

    /// Writes some rows. False: all are written, `finish` is next.
    pub(crate) fn step(&mut self, shared: &Shared) -> Result<bool, Error> {
        let Some(rows) = shared.images.step(&*shared.tables)? else { return Ok(false) };
        self.sink.write(&rows).map_err(|error| Error::io(&self.dir, &error))?;
        Ok(true)
    }

    /// Waits until all is on disk, then gives the snapshot its name.
    pub(crate) fn finish(self, host: &dyn Host, shared: &Shared) -> Result<Snapshot, Error> {
        shared.images.end();
        let failed = |error: io::Error| Error::io(&self.dir, &error);
        let bytes = self.sink.finish().map_err(failed)?;
        let path = self.dir.join(format!("{:020}.snap", self.as_of));
        host.rename(&self.dir.join(PARTIAL), &path).map_err(failed)?;
        host.sync_dir(&self.dir).map_err(failed)?;
        Ok(Snapshot { as_of: self.as_of, path, bytes, at: self.at })
    }
}
