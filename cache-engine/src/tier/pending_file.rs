//! The file that stores pending invalidations across a restart.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use cache_core::{
    Coder, EntryKind, Envelope, Error, ErrorKind, FreshnessWindows, Json, Key, KeyName, Namespace, Prefix, Timestamp,
};

use crate::tier::target::InvalidationTarget as Target;

/// Stores pending invalidations in a file, across a restart. Each change replaces the whole file.
///
/// Each process should have a file of its own. If another one has written it all the same, its invalidations are taken
/// over before the file is replaced.
///
/// The format of the file is that of a record: versioned, with a checksum, and bound to the cache's prefix.
#[derive(Debug)]
pub(super) struct PendingFile {
    path: PathBuf,
    /// The key that the file would have as a record.
    key: Key,
    known: Mutex<Known>,
}

/// What is known of the file.
#[derive(Debug, Default)]
struct Known {
    /// The number of the newest change that is in the file.
    change: usize,
    /// The contents that this process has read or written last.
    bytes: Option<Bytes>,
}

/// An invalidation: its target, whether it is soft, and since when the target counts as invalid.
pub(super) type Entry = (Target, bool, Timestamp);

/// An invalidation in the form in which the file stores it: the kind of its target and the target's text, the identity
/// of a key whose text is not its identity, whether it is soft, and since when it is pending.
type Line = (String, String, Option<Vec<u8>>, bool, u64);

fn line((target, soft, since): &Entry) -> Line {
    let (kind, text, identity) = match target {
        Target::Key(key) => {
            let identity = (key.identity() != key.as_str().as_bytes()).then(|| key.identity().to_vec());
            ("key", key.as_str().to_owned(), identity)
        }
        Target::Tag(tag) => ("tag", tag.to_string(), None),
        Target::Namespace(namespace) => ("namespace", namespace.scope().as_str().to_owned(), None),
        Target::Everything => ("everything", String::new(), None),
    };
    (kind.to_owned(), text, identity, *soft, since.as_millis())
}

/// Returns the invalidation of a line, or `None` if the line names none.
fn entry((kind, text, identity, soft, since): Line) -> Option<Entry> {
    let target = match &*kind {
        "key" => {
            let key = Key::parse(&text)?;
            Target::Key(match identity {
                Some(identity) => key.namespace().key(KeyName::with_identity(key.name(), identity)),
                None => key,
            })
        }
        "tag" => Target::Tag(text.into()),
        "namespace" => Target::Namespace(namespace(&text)?),
        "everything" => Target::Everything,
        _ => return None,
    };
    Some((target, soft, Timestamp::from_millis(since)))
}

fn namespace(scope: &str) -> Option<Namespace> {
    Key::parse(scope).map(|key| key.namespace())
}

impl PendingFile {
    pub(super) fn new(path: PathBuf, prefix: &Prefix) -> Self {
        Self {
            path,
            key: prefix.namespace("").reserved("pending").key("file"),
            known: Mutex::default(),
        }
    }

    /// Returns the file of the pending purges at one of several servers, beside that at `path`.
    pub(super) fn of_purges(path: &Path, server: usize, prefix: &Prefix) -> Self {
        let suffix = match server {
            0 => ".purges".to_owned(),
            _ => format!(".purges-{server}"),
        };
        Self {
            path: suffixed(path, &suffix),
            key: prefix.namespace("").reserved("pending").key("purges"),
            known: Mutex::default(),
        }
    }

    /// Reads the file. Returns nothing if the file does not exist. Renames the file if it cannot be understood.
    pub(super) fn read(&self) -> Result<Vec<Entry>, Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        self.read_new(&mut known).map(Option::unwrap_or_default)
    }

    /// Reads the file. Returns `None` if it holds what is `known` already, or does not exist.
    fn read_new(&self, known: &mut Known) -> Result<Option<Vec<Entry>>, Error> {
        let bytes = match fs::read(&self.path) {
            Ok(bytes) => Bytes::from(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(self.error("read", error)),
        };
        if known.bytes.as_ref() == Some(&bytes) {
            return Ok(None);
        }
        let entries = self.understand(&bytes)?;
        known.bytes = Some(bytes);
        Ok(Some(entries))
    }

    /// Decodes the contents of the file. Renames the file if they cannot be understood.
    fn understand(&self, bytes: &Bytes) -> Result<Vec<Entry>, Error> {
        self.decode(bytes).map_err(|what| {
            let aside = suffixed(&self.path, ".damaged");
            let outcome = match fs::rename(&self.path, &aside) {
                Ok(()) => format!("it was renamed to {}", aside.display()),
                Err(error) => format!("it could not be renamed: {error}"),
            };
            let message = format!(
                "{} holds no pending invalidations of this cache: {what}; {outcome}",
                self.path.display()
            );
            Error::new(ErrorKind::Codec, message).with_operation("read")
        })
    }

    fn decode(&self, bytes: &Bytes) -> Result<Vec<Entry>, String> {
        let envelope = Envelope::decode(bytes, &self.key).map_err(|error| error.to_string())?;
        let lines: Vec<Line> = Json.decode(&envelope.payload).map_err(|error| error.to_string())?;
        let entries = lines.into_iter().map(entry).collect::<Option<_>>();
        entries.ok_or_else(|| "it names a target that is none".to_owned())
    }

    /// Replaces the contents of the file with what `entries` returns, unless the file already contains change `wanted`.
    /// `entries` also returns the number of the newest change. Passes what another process has written there to `add`
    /// before that, and reports it as an error afterwards. Blocks.
    pub(super) fn write(
        &self,
        wanted: usize,
        add: impl FnOnce(Vec<Entry>),
        entries: impl FnOnce() -> (usize, Vec<Entry>),
    ) -> Result<(), Error> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.change >= wanted {
            return Ok(());
        }
        let of_another = match self.read_new(&mut known) {
            Ok(None) => Ok(()),
            Ok(Some(entries)) => {
                add(entries);
                let message = format!(
                    "{} was written by another process, whose pending invalidations were taken over: give each process \
                     a file of its own",
                    self.path.display()
                );
                Err(Error::new(ErrorKind::Configuration, message).with_operation("write"))
            }
            // A damaged file was renamed. If it cannot be read, perhaps it can be replaced.
            Err(error) => Err(error),
        };
        let (newest, entries) = entries();
        let lines: Vec<Line> = entries.iter().map(line).collect();
        let payload = Json.encode(&lines)?;
        let windows = FreshnessWindows::new(None);
        let envelope = Envelope::new(EntryKind::Value, Timestamp::from_millis(0), windows);
        let bytes = envelope
            .with_payload(Coder::<Vec<Line>>::name(&Json), payload)
            .encode(&self.key)?;
        replace(&self.path, &bytes).map_err(|error| self.error("write", error))?;
        *known = Known {
            change: newest,
            bytes: Some(bytes),
        };
        of_another
    }

    fn error(&self, operation: &'static str, error: io::Error) -> Error {
        Error::new(ErrorKind::Other, format!("{}: {error}", self.path.display()))
            .with_operation(operation)
            .with_source(error)
    }
}

/// Replaces the file at `path` atomically, so that it is never half-written, and waits until it is on the disk.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // Not shared with another process that writes the same file.
    let new = suffixed(path, &format!(".{}.new", std::process::id()));
    let mut options = File::options();
    options.write(true).create(true).truncate(true);
    // Keys may contain what is not for everybody.
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let mut file = options.open(&new)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    drop(file);
    fs::rename(&new, path)?;
    // The file's name is on the disk once its directory is, where directories can be opened.
    #[cfg(unix)]
    {
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or_else(|| Path::new(".")))?.sync_all()?;
    }
    Ok(())
}

fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}
