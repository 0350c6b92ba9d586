//! Who refreshes: the record beside a refresh lock.
//!
//! `@anthropic-ai/claude-code` 2.1.330 writes `.oauth_refresh.lock.owner` once it holds its locks and removes it when it is done:
//! `{"pid","procStart","pidDomain","pidSpace","lockBirthtimeMs","legacyLockBirthtimeMs"}`, where `procStart` is field 22 of
//! `/proc/<pid>/stat` and the others tell one process namespace and one lock from another. A peer in the same namespace takes a
//! lock over at once if its recorded holder has ended, and not before it is stale otherwise. The same record, under the same
//! rules, is written here for a direct renewal, and beside a store's lock for a store's own grant, whose agents ignore it.
//!
//! `spent` is ours: the fingerprint of the token that is posted under this record. A record that outlives its process tells with
//! it whether what the file holds was posted; without it only the file's age does.

use crate::edge::{files, process};
use crate::json::{Doc, Fields, Layout};
use crate::secret::Fingerprint;
use crate::types::Meta;
use std::io;
use std::path::{Path, PathBuf};

/// Where a process number means something: the process namespace of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Space {
    /// `linux:<machine id>:pid:[<namespace>]`.
    domain: String,
    /// `<host name>#pid:[<namespace>]`.
    host: String,
}

impl Space {
    /// Ours, spelled as Claude Code spells it; outside Linux its domain is the word `linux` alone.
    fn ours() -> Self {
        let host = process::host_name();
        if !cfg!(any(target_os = "linux", target_os = "android")) {
            return Self {
                domain: "linux".into(),
                host,
            };
        }
        let machine = files::read(Path::new("/etc/machine-id")).map_or_else(|_| Vec::new(), |file| file.bytes);
        let namespace = process::namespace().map_or_else(String::new, |inode| format!("pid:[{inode}]"));
        Self {
            domain: format!("linux:{}:{namespace}", String::from_utf8_lossy(&machine).trim()),
            host: match namespace.as_str() {
                "" => host,
                namespace => format!("{host}#{namespace}"),
            },
        }
    }
}

/// A record as it was read.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Owner {
    /// The holder's process, in its own namespace.
    pub(crate) pid: u32,
    /// When that process began.
    started: Option<String>,
    /// Its namespace.
    space: Option<Space>,
    /// The token it posts, where it says so.
    pub(crate) spent: Option<Fingerprint>,
}

/// What is known of a recorded holder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holder {
    /// It is this process.
    Us,
    /// It lives, in our own namespace: its lock is its own, however old.
    Alive,
    /// It has ended.
    Dead,
    /// It is another namespace's, or none that can be told: only the lock's age speaks.
    Unknown,
}

impl Owner {
    /// Reads a record; `None` where there is none or it is no record.
    pub(crate) fn read(path: &Path) -> Option<Self> {
        let snapshot = files::read(path).ok()?;
        let fields = Fields::parse(std::str::from_utf8(&snapshot.bytes).ok()?).ok()?;
        let text = |key: &str| {
            fields
                .get(key)
                .and_then(|value| value.str())
                .map(|text| text.into_owned())
        };
        let pid = crate::edge::locks::pid_in(&snapshot.bytes)?;
        Some(Self {
            pid: u32::try_from(pid).ok()?,
            started: text("procStart"),
            space: text("pidDomain")
                .zip(text("pidSpace"))
                .map(|(domain, host)| Space { domain, host }),
            spent: text("spent").and_then(|text| Fingerprint::parse(&text)),
        })
    }

    /// Whether the holder lives.
    pub(crate) fn holder(&self) -> Holder {
        if self.space.as_ref() != Some(&Space::ours()) {
            return Holder::Unknown;
        }
        let now = process::start(self.pid).map(|start| start.to_string());
        let reused = self.started.is_some() && now.is_some() && now != self.started;
        match process::is_alive(self.pid) && !reused {
            false => Holder::Dead,
            true if self.pid == std::process::id() => Holder::Us,
            true => Holder::Alive,
        }
    }
}

/// Whether a lock whose holder is on record at `path` must be waited for, however old it looks.
pub(crate) fn is_held(path: &Path) -> bool {
    Owner::read(path).is_some_and(|owner| owner.holder() == Holder::Alive)
}

/// Whether the refresh that is on record at `path` was begun with the token `now` in `file` and never saved.
pub(crate) fn begun_and_not_saved(path: &Path, now: Option<Fingerprint>, file: Option<&Meta>) -> bool {
    let Some(record) = files::stat(path) else { return false };
    match Owner::read(path).and_then(|owner| owner.spent) {
        Some(spent) => now == Some(spent),
        None => file.is_none_or(|file| file.modified <= record.modified),
    }
}

/// Our own record, from just before a token is posted until its answer is in its place. It stays when it is dropped: what was
/// posted and not saved must not be posted by anybody else.
#[derive(Debug)]
pub(crate) struct Record {
    path: PathBuf,
    text: String,
}

impl Record {
    /// Writes the record of this process, which holds `lock` (and `second`) and is about to post the token `spent`.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn write(path: &Path, lock: &Path, second: Option<&Path>, spent: Fingerprint) -> io::Result<Self> {
        let (pid, space) = (std::process::id(), Space::ours());
        let number = |value: f64| Doc::Scalar(value.to_string());
        let mut doc = Doc::object([("pid", Doc::number(i64::from(pid)))]);
        if let Some(start) = process::start(pid) {
            doc.set("procStart", Doc::string(&start.to_string()));
        }
        doc.set("pidDomain", Doc::string(&space.domain));
        doc.set("pidSpace", Doc::string(&space.host));
        if let Some(born) = files::born(lock) {
            doc.set("lockBirthtimeMs", number(born));
        }
        if let Some(born) = second.and_then(files::born) {
            doc.set("legacyLockBirthtimeMs", number(born));
        }
        doc.set("spent", Doc::string(&spent.to_string()));
        let text = doc.to_text(Layout::Compact);
        // what stands there is of somebody whose lock we hold by now
        files::remove(path)?;
        files::create_new(path, text.as_bytes())?;
        Ok(Self {
            path: path.to_owned(),
            text,
        })
    }

    /// Takes the record away: nothing of it is in flight any more.
    pub(crate) fn remove(self) {
        if files::read(&self.path).is_ok_and(|now| now.bytes == self.text.as_bytes())
            && let Err(error) = files::remove(&self.path)
        {
            tracing::warn!("the record of this renewal: {}", files::io_words(&error));
        }
    }
}

/// Removes a record that speaks of a token which is settled by now.
pub(crate) fn forget(path: &Path, settled: Fingerprint) {
    if Owner::read(path).is_some_and(|owner| owner.spent == Some(settled)) {
        let _ = files::remove(path);
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A record of the process `pid` of this namespace.
    pub(crate) fn of(pid: u32) -> String {
        let ours = Space::ours();
        let doc = Doc::object([
            ("pid", Doc::number(i64::from(pid))),
            ("pidDomain", Doc::string(&ours.domain)),
            ("pidSpace", Doc::string(&ours.host)),
        ]);
        doc.to_text(Layout::Compact)
    }

    #[test]
    fn a_record_tells_who_holds_the_lock_and_which_token_was_posted() {
        let dir = tempfile::tempdir().unwrap();
        let (path, lock) = (dir.path().join("l.owner"), dir.path().join("l"));
        std::fs::create_dir(&lock).unwrap();
        let (one, other) = (
            Fingerprint::parse("0011223344556677"),
            Fingerprint::parse("8899aabbccddeeff"),
        );
        let (one, other) = (one.unwrap(), other.unwrap());
        let record = Record::write(&path, &lock, Some(&lock), one).unwrap();
        let owner = Owner::read(&path).unwrap();
        assert_eq!((owner.pid, owner.spent), (std::process::id(), Some(one)));
        assert_eq!(owner.holder(), Holder::Us);
        assert!(!is_held(&path) && begun_and_not_saved(&path, Some(one), None));
        assert!(!begun_and_not_saved(&path, Some(other), None));
        forget(&path, other);
        assert!(files::exists(&path));
        record.remove();
        assert!(!files::exists(&path));
    }

    #[test]
    fn a_holder_is_alive_dead_or_unknown() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("l.owner");
        let ours = Space::ours();
        let mut live = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let mut ended = std::process::Command::new("true").spawn().unwrap();
        ended.wait().unwrap();
        for (pid, domain, want) in [
            (live.id(), ours.domain.as_str(), Holder::Alive),
            (ended.id(), ours.domain.as_str(), Holder::Dead),
            (live.id(), "linux:elsewhere:pid:[1]", Holder::Unknown),
        ] {
            let doc = Doc::object([
                ("pid", Doc::number(i64::from(pid))),
                ("pidDomain", Doc::string(domain)),
                ("pidSpace", Doc::string(&ours.host)),
            ]);
            std::fs::write(&path, doc.to_text(Layout::Compact)).unwrap();
            assert_eq!(Owner::read(&path).unwrap().holder(), want);
            assert_eq!(is_held(&path), want == Holder::Alive);
        }
        drop(live.stdin.take());
        live.wait().unwrap();
        std::fs::write(&path, "{}").unwrap();
        assert_eq!(Owner::read(&path), None);
    }
}
