//! Locks that foreign programs honour: a directory made with mkdir, or a file made with O_EXCL; and our own pass lock.
//!
//! The directory kind is the algorithm of npm's `proper-lockfile` 4.1.2, which Clawdbot and Claude Code use: mkdir, an mtime
//! that the holder keeps fresh, stale once the mtime is older than a limit. The file kind is OpenClaw's (2026.2.17 and
//! later): `{"pid","createdAt"}`, reclaimed when that process is dead, up to 2026.4.25 by its age too. A lock of either kind
//! blocks the peers of the other one for ever once its holder has died (mkdir over a file fails, an open over a directory
//! hangs), so the other kind counts as held while it is fresh and is cleared when it is stale.
//!
//! A number says nothing of a process in another PID namespace (a container), and OpenClaw writes down nothing else. So a
//! fresh lock is held, whatever its number, and a dead number clears one only together with its age. Our own file lock has no
//! `pid`: OpenClaw 2026.2.17 to 2026.5.12 then goes by its age, which we keep young, where a number that is unknown in its
//! namespace would have it removed at once.
//!
//! All locks look stale when a machine wakes. So a stale one is watched for one heartbeat of its holders before it is cleared.
//!
//! Not guaranteed: between finding a lock stale and removing it, a peer may do the same and take the lock; the algorithm's own
//! window, a few microseconds wide here. Within nolapse the pass lock closes it.

use super::host::{Clock, monotonic, since};
use super::process::{self, Fate, Identity};
use super::step::{self, At, step};
use super::{files, progress};
use crate::json::Fields;
pub(crate) use crate::types::LockKind as Kind;
use crate::types::{MINUTE, Moment, Ms, SECOND};
use std::fs::{self, File, FileTimes, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, FileExt, FileTypeExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How long a live holder is waited for, where nothing else is said. Longer than any [`Terms::heartbeat`], so that what a dead
/// one left can be cleared meanwhile; an agent's own renewal takes a second or two.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// How a lock behaves.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms {
    /// Which kind to make.
    pub(crate) kind: Kind,
    /// One that was not touched for this long is stale, unless its process is known to live.
    pub(crate) stale_after: Duration,
    /// How often its holders touch it, and so how long a stale one is watched.
    pub(crate) heartbeat: Duration,
    /// How long to wait for a live holder.
    pub(crate) wait: Duration,
}

/// Why a lock was not obtained.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LockError {
    /// A live holder kept it for longer than we wait.
    #[error("held by another process for more than {0:?}")]
    Busy(Duration),
    /// The system refused, or something that is no lock is in its place ([`is_obstacle`]).
    #[error("{}", files::io_words(.0))]
    Io(#[from] io::Error),
}

impl LockError {
    /// Why the state directory could not be changed, in words.
    pub(crate) fn of_pass(&self, state_dir: &str) -> String {
        match self {
            Self::Busy(wait) => format!("another pass has been running for {} s", wait.as_secs()),
            Self::Io(error) => format!("the state directory `{state_dir}`: {}", files::io_words(error)),
        }
    }
}

/// A lock that is held, and released when dropped. While it is held for long, [`LockGuard::touch`] keeps it fresh.
#[derive(Debug)]
pub(crate) struct LockGuard {
    path: PathBuf,
    kind: Kind,
    identity: (u64, u64),
    touched: Option<SystemTime>,
    taken_over: bool,
    /// What a file lock holds: an inode number may be reused at once when a file is removed and created again.
    body: String,
}

/// The lock of a file is its real path with `.lock` appended, in both kinds.
pub(crate) fn lock_path(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Waits for the lock at `path` and takes it.
///
/// # Errors
/// [`LockError::Busy`] after `terms.wait`; otherwise what the system refuses.
pub(crate) async fn acquire(path: &Path, terms: Terms) -> Result<LockGuard, LockError> {
    acquire_watching(path, terms, &mut Watch::default()).await
}

/// [`acquire`] for who tries several times, or several locks: what was seen to be stale is remembered in `watch`.
///
/// # Errors
/// [`LockError::Busy`] after `terms.wait`; otherwise what the system refuses.
pub(crate) async fn acquire_watching(path: &Path, terms: Terms, watch: &mut Watch) -> Result<LockGuard, LockError> {
    let begun = monotonic();
    let mut pause = Duration::from_millis(15);
    let mut waiting = None;
    loop {
        if let Some(held) = try_acquire(path, terms, watch)? {
            return Ok(held);
        }
        waiting.get_or_insert_with(|| progress::waiting(|| format!("the lock `{}`", path.display())));
        if since(begun) >= terms.wait {
            return Err(LockError::Busy(terms.wait));
        }
        step::pause(pause.min(terms.wait.saturating_sub(since(begun)))).await;
        // grows to a quarter second: short enough to get in between the agents' own tries
        pause = (pause * 3 / 2).min(Duration::from_millis(250));
    }
}

/// Takes the lock if nobody holds it; `None` if it is held, or a stale one is still being watched.
///
/// # Errors
/// What the system refuses.
pub(crate) fn try_acquire(path: &Path, terms: Terms, watch: &mut Watch) -> io::Result<Option<LockGuard>> {
    if let Some(held) = make(path, terms.kind)? {
        return Ok(Some(held));
    }
    let taken_over = match clear_dead(path, terms, watch)? {
        Cleared::Busy => return Ok(None),
        Cleared::Removed => {
            tracing::info!(lock = %path.display(), "cleared a stale lock");
            true
        }
        Cleared::Gone => false,
    };
    let mut made = make(path, terms.kind)?;
    if let Some(held) = &mut made {
        held.taken_over = taken_over;
    }
    Ok(made)
}

/// Stale locks, each as it stood and since when it has not moved.
#[derive(Debug, Default)]
pub(crate) struct Watch(Vec<Watched>);

#[derive(Debug)]
struct Watched {
    path: PathBuf,
    identity: (u64, u64),
    touched: Moment,
    since: Instant,
}

impl Watch {
    /// Begins to watch a lock, if it is stale: who takes two in turn watches both at once.
    pub(crate) fn begin(&mut self, path: &Path, terms: Terms) {
        if let Ok(Some(seen)) = look(path, terms.stale_after)
            && seen.stale
        {
            self.still_since(path, &seen);
        }
    }

    /// How long it has not changed. For one that changed, or another in its place, this begins at zero.
    fn still_since(&mut self, path: &Path, seen: &Seen) -> Duration {
        let same = |old: &Watched| (old.identity, old.touched) == (seen.identity, seen.touched);
        if let Some(old) = self.0.iter().find(|old| old.path == path && same(old)) {
            return since(old.since);
        }
        self.0.retain(|old| old.path != path);
        self.0.push(Watched {
            path: path.to_owned(),
            identity: seen.identity,
            touched: seen.touched,
            since: monotonic(),
        });
        Duration::ZERO
    }
}

/// What came of clearing a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cleared {
    /// It was stale, and was removed.
    Removed,
    /// There was none.
    Gone,
    /// It is held, or was not watched for long enough, and was not removed.
    Busy,
}

/// Removes a lock whose holder died, once it has stood still for a heartbeat. It is looked at again just before: whoever took
/// it in between keeps it.
///
/// # Errors
/// What the system refuses; `InvalidInput` where something that is no lock is in its place.
pub(crate) fn clear_dead(path: &Path, terms: Terms, watch: &mut Watch) -> io::Result<Cleared> {
    let Some(seen) = look(path, terms.stale_after)? else {
        return Ok(Cleared::Gone);
    };
    if let What::Obstacle(what) = seen.what {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("{what} stands where a lock belongs"),
        ));
    }
    if !seen.stale || !seen.known_dead && watch.still_since(path, &seen) < terms.heartbeat {
        return Ok(Cleared::Busy);
    }
    remove_same(path, &seen, terms.stale_after)
}

/// Removes a lock that is still the one that was seen, as it was seen.
fn remove_same(path: &Path, seen: &Seen, stale_after: Duration) -> io::Result<Cleared> {
    match look(path, stale_after)? {
        Some(again) if again.stale && (again.identity, again.touched) == (seen.identity, seen.touched) => {}
        Some(_) => return Ok(Cleared::Busy),
        None => return Ok(Cleared::Gone),
    }
    step(At::Change, path);
    let removed = match seen.is_dir() {
        true => fs::remove_dir(path),
        false => fs::remove_file(path),
    };
    match removed {
        Ok(()) => Ok(Cleared::Removed),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Cleared::Gone),
        // another program was quicker, with a lock of the other kind
        Err(error) if matches!(error.kind(), io::ErrorKind::NotADirectory | io::ErrorKind::IsADirectory) => {
            Ok(Cleared::Busy)
        }
        Err(error) => Err(error),
    }
}

/// [`clear_dead`] that waits for as long as a stale lock still has to be watched.
///
/// # Errors
/// See there.
pub(crate) async fn clear_watched(path: &Path, terms: Terms, watch: &mut Watch) -> io::Result<Cleared> {
    let cleared = clear_dead(path, terms, watch)?;
    match look(path, terms.stale_after)? {
        Some(seen) if cleared == Cleared::Busy && seen.stale => {
            let _waiting = progress::waiting(|| format!("the lock `{}` to move", path.display()));
            step::pause(terms.heartbeat.saturating_sub(watch.still_since(path, &seen))).await;
            clear_dead(path, terms, watch)
        }
        _ => Ok(cleared),
    }
}

/// What is at a lock's path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    /// A lock.
    Lock(Kind),
    /// Something else, which no program that locks can have made; in words.
    Obstacle(&'static str),
}

/// What stands at a lock's path.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    /// What it is.
    pub(crate) what: What,
    /// Its last touch.
    pub(crate) touched: Moment,
    /// Nobody holds it any more.
    pub(crate) stale: bool,
    /// The process that a file names as its holder, as its namespace counts.
    pub(crate) pid: Option<u32>,
    /// Its process is known to have ended: there is nobody to be watched for.
    known_dead: bool,
    /// Device and inode.
    identity: (u64, u64),
}

impl Seen {
    /// Whether it is a directory.
    pub(crate) fn is_dir(&self) -> bool {
        self.what == What::Lock(Kind::Directory)
    }
}

/// Whether an error of taking a lock says that something else is in its place.
pub(crate) fn is_obstacle(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::InvalidInput
}

/// Looks at a lock without touching it; `None` where there is none.
pub(crate) fn look(path: &Path, stale_after: Duration) -> io::Result<Option<Seen>> {
    step(At::Look, path);
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let touched = files::modified(&meta);
    let now = Clock::System.now();
    let mut seen = Seen {
        what: what(meta.file_type()),
        touched,
        stale: false,
        pid: None,
        known_dead: false,
        identity: (meta.dev(), meta.ino()),
    };
    let holder = match seen.what {
        What::Obstacle(_) => return Ok(Some(seen)),
        What::Lock(Kind::Directory) => Holder::Dated,
        What::Lock(Kind::File) => match files::read(path) {
            Ok(file) => {
                let record = Record::parse(&file.bytes);
                seen.pid = record.as_ref().and_then(Record::pid);
                record.map_or(Holder::Torn, |record| record.holder(now - touched))
            }
            // gone while it was looked at
            Err(files::ReadError::Absent) => return Ok(None),
            Err(_) => Holder::Torn,
        },
    };
    seen.stale = is_stale(holder, now - touched, stale_after.as_millis() as Ms);
    seen.known_dead = holder == Holder::Gone;
    Ok(Some(seen))
}

fn what(kind: fs::FileType) -> What {
    match kind {
        kind if kind.is_dir() => What::Lock(Kind::Directory),
        kind if kind.is_file() => What::Lock(Kind::File),
        kind if kind.is_symlink() => What::Obstacle("a symbolic link"),
        kind if kind.is_fifo() => What::Obstacle("a named pipe"),
        kind if kind.is_socket() => What::Obstacle("a socket"),
        _ => What::Obstacle("a device"),
    }
}

/// What is known about the holder of a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Holder {
    /// It runs.
    Lives,
    /// It ended, in our own namespace.
    Gone,
    /// It names no process that can be looked up from here, or one that does not exist here: only its age counts.
    Dated,
    /// It names no process, or one that did not exist when it was made: its maker may be between creating and writing it.
    Torn,
}

/// Whether nobody holds a lock any more that was touched this long ago, [`Ms`]. A fresh one is held, whoever made it.
fn is_stale(holder: Holder, age: Ms, limit: Ms) -> bool {
    match holder {
        Holder::Lives => false,
        Holder::Gone | Holder::Dated => age > limit,
        Holder::Torn => age > (10 * limit).max(MINUTE),
    }
}

/// What a file lock holds.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Record {
    /// OpenClaw's: a number, in a namespace that it does not name.
    Number(u32),
    /// Ours.
    Ours(Identity),
    /// Nobody.
    Nobody,
}

impl Record {
    /// `None` where it is torn.
    fn parse(bytes: &[u8]) -> Option<Self> {
        if let Some(pid) = pid_in(bytes) {
            return u32::try_from(pid).ok().map(Self::Number);
        }
        let fields = Fields::parse(std::str::from_utf8(bytes).ok()?).ok()?;
        fields.get("createdAt")?.str()?;
        let Some(holder) = fields.get("holder").and_then(|value| value.object()) else {
            return Some(Self::Nobody);
        };
        let number = |key: &str| {
            let number = holder.get(key)?.number()?;
            // what a double holds exactly
            (number.fract() == 0.0 && (0.0..=9e15).contains(&number)).then_some(number as u64)
        };
        let Some(pid) = number("pid").and_then(|pid| u32::try_from(pid).ok()) else {
            return Some(Self::Nobody);
        };
        Some(Self::Ours(Identity {
            pid,
            start: number("start"),
            boot: holder.get("boot").and_then(|boot| boot.str()).map(Into::into),
            namespace: number("namespace"),
        }))
    }

    fn pid(&self) -> Option<u32> {
        match self {
            Self::Number(pid) => Some(*pid),
            Self::Ours(identity) => Some(identity.pid),
            Self::Nobody => None,
        }
    }

    /// `age` of the lock, [`Ms`].
    fn holder(&self, age: Ms) -> Holder {
        match self {
            Self::Ours(identity) => match identity.fate() {
                Fate::Lives => Holder::Lives,
                Fate::Gone => Holder::Gone,
                Fate::Elsewhere => Holder::Dated,
            },
            Self::Nobody => Holder::Dated,
            Self::Number(pid) if !process::is_alive(*pid) => Holder::Dated,
            // our own number, and not in our record: another namespace's
            Self::Number(pid) if *pid == std::process::id() => Holder::Torn,
            // started after the lock was made: the number was used again, or is another namespace's
            Self::Number(pid) if process::age(*pid).is_some_and(|secs| (secs + 2) as Ms * SECOND < age) => Holder::Torn,
            Self::Number(_) => Holder::Lives,
        }
    }
}

/// The process that a lock file, or the record beside a lock, names.
pub(crate) fn pid_in(bytes: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(bytes).ok()?;
    let pid = Fields::parse(text).ok()?.get("pid")?.number()?;
    (pid.fract() == 0.0 && pid >= 1.0 && pid <= f64::from(i32::MAX)).then_some(pid as i32)
}

/// Makes the lock and looks at what was made, through one handle; `None` where something is there already, or somebody
/// removed what we made in the same moment.
fn make(path: &Path, kind: Kind) -> io::Result<Option<LockGuard>> {
    let body = body();
    step(At::Lock, path);
    let made = match kind {
        Kind::Directory => fs::DirBuilder::new().mode(0o755).create(path),
        Kind::File => make_file(path, &body),
    };
    match made {
        Ok(()) => {}
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(None),
        Err(error) => return Err(error),
    }
    let own = |file: File| -> io::Result<LockGuard> {
        let meta = file.metadata()?;
        let mut held = LockGuard {
            path: path.to_owned(),
            kind,
            identity: (meta.dev(), meta.ino()),
            touched: None,
            taken_over: false,
            body,
        };
        held.stamp(&file)?;
        Ok(held)
    };
    let flags = rustix::fs::OFlags::NOFOLLOW | rustix::fs::OFlags::NONBLOCK;
    step(At::Lock, path);
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(path);
    match opened.and_then(own) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        other => other.map(Some),
    }
}

/// A file that is whole from its first moment: written under another name, or under none, and linked into place.
fn make_file(path: &Path, body: &str) -> io::Result<()> {
    if let Some(made) = link_unnamed(path, body.as_bytes()) {
        return made;
    }
    let mut own = path.as_os_str().to_owned();
    own.push(format!(".{}", std::process::id()));
    let own = PathBuf::from(own);
    files::remove(&own)?;
    files::create_new(&own, body.as_bytes())?;
    let linked = fs::hard_link(&own, path);
    fs::remove_file(&own)?;
    linked
}

/// A file without a name leaves nothing behind when its process is killed; `None` where the file system knows no such thing.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn link_unnamed(path: &Path, body: &[u8]) -> Option<io::Result<()>> {
    use rustix::fs::{AtFlags, CWD, OFlags, linkat};
    use std::os::fd::AsRawFd;
    let dir = path.parent()?;
    let mut file = OpenOptions::new()
        .write(true)
        .mode(0o600)
        .custom_flags(OFlags::TMPFILE.bits() as i32)
        .open(dir)
        .ok()?;
    if let Err(error) = file.write_all(body) {
        return Some(Err(error));
    }
    let name = format!("/proc/self/fd/{}", file.as_raw_fd());
    match linkat(CWD, name, CWD, path, AtFlags::SYMLINK_FOLLOW) {
        Ok(()) => Some(Ok(())),
        Err(rustix::io::Errno::EXIST) => Some(Err(io::ErrorKind::AlreadyExists.into())),
        // no /proc, or no links
        Err(_) => None,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn link_unnamed(_: &Path, _: &[u8]) -> Option<io::Result<()>> {
    None
}

/// What killed passes left of file locks that were never linked into place: `<lock>.<pid>`, a minute old at least, since the
/// process may be another namespace's and about to link it.
pub(crate) fn leftovers(lock: &Path) -> Vec<PathBuf> {
    let (Some(dir), Some(name)) = (lock.parent(), lock.file_name().and_then(|name| name.to_str())) else {
        return Vec::new();
    };
    let is_ours = |other: &String| {
        let rest = other.strip_prefix(name).and_then(|rest| rest.strip_prefix('.'));
        rest.is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let old = |path: &PathBuf| {
        fs::symlink_metadata(path).is_ok_and(|meta| {
            let age = meta.modified().ok().and_then(|at| at.elapsed().ok());
            meta.is_file() && age.is_some_and(|age| age > Duration::from_secs(60))
        })
    };
    let names = files::list(dir).into_iter().filter(is_ours);
    names.map(|name| dir.join(name)).filter(old).collect()
}

/// What our file lock holds: no `pid` for OpenClaw, and all of us for ourselves.
fn body() -> String {
    static OURS: std::sync::OnceLock<String> = std::sync::OnceLock::new();
    let ours = OURS.get_or_init(|| {
        let it = Identity::ours();
        let number = |key: &str, number: Option<u64>| number.map_or_else(String::new, |n| format!(", \"{key}\": {n}"));
        let boot = it
            .boot
            .map_or_else(String::new, |boot| format!(", \"boot\": \"{boot}\""));
        let (start, namespace) = (number("start", it.start), number("namespace", it.namespace));
        format!(
            "{{ \"program\": \"nolapse\", \"pid\": {}{start}{boot}{namespace} }}",
            it.pid
        )
    });
    let now = chrono::DateTime::<chrono::Utc>::from(step::wall());
    format!(
        "{{\n  \"createdAt\": \"{}\",\n  \"holder\": {ours}\n}}\n",
        now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    )
}

impl LockGuard {
    /// Keeps the lock fresh; call it every few seconds while holding it. OpenClaw takes a file whose `createdAt` or mtime is
    /// older than its limit (30 s for a store) for stale, though its holder lives: that is renewed in place, in our own file,
    /// so that one which a peer made in the meantime is not written.
    ///
    /// # Errors
    /// `false` if the lock is no longer ours (another program found it stale): stop, and write nothing.
    pub(crate) fn touch(&mut self) -> bool {
        if !self.is_ours() {
            return false;
        }
        step(At::Lock, &self.path);
        match self.kind {
            Kind::Directory => File::open(&self.path).and_then(|file| self.stamp(&file)).is_ok(),
            Kind::File => self.renew_body().unwrap_or(false),
        }
    }

    /// One write of the same length: a reader that caught it half done would find the mtime fresh.
    fn renew_body(&mut self) -> io::Result<bool> {
        let file = fs::OpenOptions::new().write(true).open(&self.path)?;
        let meta = file.metadata()?;
        if (meta.dev(), meta.ino()) != self.identity {
            return Ok(false);
        }
        let body = body();
        file.write_all_at(body.as_bytes(), 0)?;
        self.body = body;
        Ok(true)
    }

    /// Whether the lock is still the one we made, untouched by others.
    pub(crate) fn is_ours(&self) -> bool {
        step(At::Look, &self.path);
        let Ok(meta) = fs::symlink_metadata(&self.path) else {
            return false;
        };
        (meta.dev(), meta.ino()) == self.identity
            && match self.kind {
                Kind::Directory => self.touched.is_none() || meta.modified().ok() == self.touched,
                Kind::File => files::read(&self.path).is_ok_and(|file| file.bytes == self.body.as_bytes()),
            }
    }

    /// Whether somebody's stale lock was cleared for it. Who that was may be stopped rather than dead, with an exchange under
    /// way: what it may have posted is not posted just now.
    pub(crate) fn was_taken_over(&self) -> bool {
        self.taken_over
    }

    /// proper-lockfile rounds its mtime up to the next second plus 5 ms while it probes the file system's precision: peers
    /// expect times up to a second ahead.
    fn stamp(&mut self, file: &File) -> io::Result<()> {
        if self.kind == Kind::Directory {
            let now = step::wall().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as u64;
            let at = UNIX_EPOCH + Duration::from_millis(now.div_ceil(SECOND as u64) * SECOND as u64 + 5);
            file.set_times(FileTimes::new().set_accessed(at).set_modified(at))?;
            self.touched = file.metadata()?.modified().ok();
        }
        Ok(())
    }
}

impl Drop for LockGuard {
    fn drop(&mut self) {
        // a lock that is not ours any more is never touched
        if !step::dead() && self.is_ours() {
            step(At::Release, &self.path);
            let _ = match self.kind {
                Kind::Directory => fs::remove_dir(&self.path),
                Kind::File => fs::remove_file(&self.path),
            };
        }
    }
}

/// Several locks that are held together, in the order in which they were taken; they are released in the other.
#[derive(Debug, Default)]
pub(crate) struct Group(Vec<LockGuard>);

impl Group {
    /// Adds one.
    pub(crate) fn add(&mut self, held: LockGuard) {
        self.0.push(held);
    }

    /// Keeps all of them fresh; `false` where one was taken from us: stop, and write nothing.
    pub(crate) fn touch(&mut self) -> bool {
        let mut ours = true;
        // each of them, though one is lost
        for held in self.0.iter_mut().rev() {
            ours &= held.touch();
        }
        ours
    }

    /// Whether one of them was somebody's who has stopped: see [`LockGuard::was_taken_over`].
    pub(crate) fn were_taken_over(&self) -> bool {
        self.0.iter().any(LockGuard::was_taken_over)
    }

    /// Whether all are still ours.
    pub(crate) fn are_ours(&self) -> bool {
        self.0.iter().all(LockGuard::is_ours)
    }

    /// Where they are, in their order.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &Path> {
        self.0.iter().map(|held| held.path.as_path())
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        while self.0.pop().is_some() {}
    }
}

/// The pass lock: one pass at a time on one state directory. The kernel drops it with the process, so it is never stale.
#[derive(Debug)]
pub(crate) struct PassLock(#[expect(dead_code, reason = "held open, never read")] File);

/// Waits for the pass lock in `state_dir`.
///
/// # Errors
/// [`LockError::Busy`] after `wait`; otherwise what the system refuses.
pub(crate) async fn pass_lock(state_dir: &Path, wait: Duration) -> Result<PassLock, LockError> {
    use rustix::fs::{FlockOperation, flock};
    // a link or FIFO in its place is refused, not waited for
    let path = state_dir.join("pass.lock");
    let file = files::open_ours(&path, fs::OpenOptions::new().create(true).append(true))?;
    let begun = monotonic();
    let mut waiting = None;
    loop {
        step(At::Lock, &path);
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(PassLock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) if since(begun) < wait => {
                waiting.get_or_insert_with(|| progress::waiting(|| "another pass to end".into()));
                step::pause(Duration::from_millis(20)).await;
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LockError::Busy(wait)),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(LockError::Io(error.into())),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        kind: Kind::Directory,
        stale_after: Duration::from_secs(30),
        heartbeat: Duration::ZERO,
        wait: Duration::from_millis(60),
    };
    const FILE_TERMS: Terms = Terms {
        kind: Kind::File,
        ..TERMS
    };

    fn age(path: &Path, by: Duration) {
        let at = SystemTime::now() - by;
        File::open(path)
            .unwrap()
            .set_times(FileTimes::new().set_modified(at))
            .unwrap();
    }

    fn dead_pid() -> u32 {
        let mut child = std::process::Command::new("true").spawn().unwrap();
        child.wait().unwrap();
        child.id()
    }

    #[test]
    fn a_lock_that_changed_since_it_was_seen_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let make = |is_dir: bool, at: &Path| {
            match is_dir {
                true => fs::create_dir(at).unwrap(),
                false => fs::write(at, "{}").unwrap(),
            }
            // both to the same moment
            let then = UNIX_EPOCH + Duration::from_secs(1_000_000);
            let times = FileTimes::new().set_modified(then);
            File::open(at).unwrap().set_times(times).unwrap();
        };
        let after = Duration::from_secs(30);
        for is_dir in [true, false] {
            make(is_dir, &path);
            let seen = look(&path, after).unwrap().unwrap();
            // another's, stale too, in its place
            let before = dir.path().join("before");
            fs::rename(&path, &before).unwrap();
            make(is_dir, &path);
            assert_eq!(remove_same(&path, &seen, after).unwrap(), Cleared::Busy);
            assert!(path.exists());
            // the same one, touched since, and stale again
            fs::rename(&before, dir.path().join("lock-2")).unwrap();
            let other = dir.path().join("lock-2");
            age(&other, Duration::from_secs(40));
            assert_eq!(remove_same(&other, &seen, after).unwrap(), Cleared::Busy);
            // and alive
            age(&other, Duration::ZERO);
            let alive = look(&other, after).unwrap().unwrap();
            assert_eq!(remove_same(&other, &alive, after).unwrap(), Cleared::Busy);
            assert!(other.exists());
            let seen = look(&path, after).unwrap().unwrap();
            assert_eq!(remove_same(&path, &seen, after).unwrap(), Cleared::Removed);
            assert_eq!(remove_same(&path, &seen, after).unwrap(), Cleared::Gone);
            match is_dir {
                true => fs::remove_dir(other).unwrap(),
                false => fs::remove_file(other).unwrap(),
            }
        }
    }

    #[test]
    fn a_free_lock_is_taken_and_released() {
        let dir = tempfile::tempdir().unwrap();
        for terms in [TERMS, FILE_TERMS] {
            let path = dir.path().join("s.json.lock");
            let held = take(&path, terms).unwrap().unwrap();
            assert!(take(&path, TERMS).unwrap().is_none());
            assert!(take(&path, FILE_TERMS).unwrap().is_none());
            drop(held);
            assert!(files::list(dir.path()).is_empty());
        }
    }

    #[test]
    fn a_directory_is_as_new_as_its_peers_make_theirs() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json.lock");
        let before = SystemTime::now();
        let mut held = take(&path, TERMS).unwrap().unwrap();
        for touched in [false, true] {
            assert!(!touched || held.touch());
            let at = fs::metadata(&path).unwrap().modified().unwrap();
            assert_eq!(at.duration_since(UNIX_EPOCH).unwrap().subsec_millis(), 5);
            assert!(at > before && at < SystemTime::now() + Duration::from_secs(2));
        }
    }

    fn take(path: &Path, terms: Terms) -> io::Result<Option<LockGuard>> {
        try_acquire(path, terms, &mut Watch::default())
    }

    #[test]
    fn a_stale_lock_of_either_kind_is_cleared_and_a_fresh_one_never() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json.lock");
        let number = |pid: u32| format!("{{\"pid\":{pid},\"createdAt\":\"2026-01-01T00:00:00Z\"}}");
        let us = Identity::ours();
        let ours = |identity: &Identity| {
            let number = |n: Option<u64>| n.map_or("null".into(), |n| n.to_string());
            format!(
                "{{\"createdAt\":\"\",\"holder\":{{\"pid\":{},\"start\":{},\"boot\":\"{}\",\"namespace\":{}}}}}",
                identity.pid,
                number(identity.start),
                identity.boot.clone().unwrap_or_default(),
                number(identity.namespace)
            )
        };
        let dead = dead_pid();
        let elsewhere = Identity {
            namespace: Some(1),
            ..us.clone()
        };
        let gone = Identity {
            pid: dead,
            start: Some(1),
            ..us.clone()
        };
        for terms in [TERMS, FILE_TERMS] {
            // what it holds (none: a directory), and the age in seconds from which it is stale
            for (what, text, limit) in [
                ("directory", None, 30),
                ("a number that is unknown here", Some(number(dead)), 30),
                (
                    "our own number, and not our record",
                    Some(number(std::process::id())),
                    300,
                ),
                ("a number without a date", Some(format!("{{\"pid\":{dead}}}")), 30),
                (
                    "a date alone",
                    Some("{\"createdAt\":\"2026-01-01T00:00:00Z\"}".into()),
                    30,
                ),
                ("empty", Some(String::new()), 300),
                ("torn", Some("{\"pid\":12".into()), 300),
                ("another of us that died", Some(ours(&gone)), 30),
                ("another of us in another namespace", Some(ours(&elsewhere)), 30),
            ] {
                match &text {
                    None => fs::create_dir(&path).unwrap(),
                    Some(text) => fs::write(&path, text).unwrap(),
                }
                age(&path, Duration::from_secs(limit - 1));
                assert!(take(&path, terms).unwrap().is_none(), "{what}");
                age(&path, Duration::from_secs(limit + 1));
                let held = take(&path, terms).unwrap().unwrap_or_else(|| panic!("{what}"));
                assert!(held.was_taken_over(), "{what}");
                drop(held);
                assert!(!files::exists(&path));
            }
            if us.start.is_some() {
                fs::write(&path, ours(&us)).unwrap();
                age(&path, Duration::from_secs(30 * 24 * 3600));
                assert!(take(&path, terms).unwrap().is_none(), "a live one of us, however old");
                fs::remove_file(&path).unwrap();
            }
        }
    }

    #[test]
    fn a_number_lives_only_as_long_as_the_lock_is_no_older_than_its_process() {
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let record = Record::Number(child.id());
        assert_eq!(record.holder(1000), Holder::Lives);
        if process::start(child.id()).is_some() {
            assert_eq!(record.holder(120_000), Holder::Torn);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(record.holder(1000), Holder::Dated);
        assert!(!is_stale(Holder::Lives, Ms::MAX, 30_000));
    }

    /// Each as OpenClaw's own code reads it: 2026.2.17 to 2026.4.25 take a body without a number `pid` for none and go by the
    /// mtime, 2026.5.12 goes by `createdAt`.
    #[test]
    fn our_own_file_names_no_pid_to_openclaw_and_all_of_us_to_ourselves() {
        let text = body();
        assert_eq!(pid_in(text.as_bytes()), None);
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        let at = value["createdAt"].as_str().unwrap();
        assert!(chrono::DateTime::parse_from_rfc3339(at).is_ok());
        assert_eq!(Record::parse(text.as_bytes()), Some(Record::Ours(Identity::ours())));
    }

    #[test]
    fn what_is_no_lock_is_said_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json.lock");
        let socket = |path: &Path| drop(std::os::unix::net::UnixListener::bind(path).unwrap());
        let fifo = |path: &Path| {
            let made = std::process::Command::new("mkfifo").arg(path).status();
            assert!(made.unwrap().success());
        };
        let link = |path: &Path| std::os::unix::fs::symlink("/nonexistent", path).unwrap();
        type Maker<'a> = (&'static str, &'a dyn Fn(&Path));
        let makers: [Maker<'_>; 3] = [
            ("a socket", &socket),
            ("a named pipe", &fifo),
            ("a symbolic link", &link),
        ];
        for (what, make) in makers {
            for terms in [TERMS, FILE_TERMS] {
                make(&path);
                let error = take(&path, terms).unwrap_err();
                assert!(is_obstacle(&error) && files::io_words(&error).contains(what), "{error}");
                assert!(files::exists(&path));
                fs::remove_file(&path).unwrap();
            }
        }
    }

    #[test]
    fn a_stale_lock_is_watched_for_a_heartbeat_and_one_that_moves_is_left_alone() {
        const HEARTBEAT: Duration = Duration::from_secs(15);
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json.lock");
        let terms = Terms {
            heartbeat: HEARTBEAT,
            ..TERMS
        };
        let mut watch = Watch::default();
        let mut take = |passed: Duration| {
            for watched in &mut watch.0 {
                watched.since -= passed;
            }
            try_acquire(&path, terms, &mut watch).unwrap()
        };
        fs::create_dir(&path).unwrap();
        age(&path, Duration::from_secs(100));
        assert!(take(HEARTBEAT).is_none() && take(HEARTBEAT - Duration::from_secs(1)).is_none());
        // its holder woke up and touched it, and sleeps again
        age(&path, Duration::from_secs(90));
        assert!(take(HEARTBEAT).is_none());
        // another's, stale as well: its own heartbeat is waited for (a directory's inode comes back at once where it was)
        fs::create_dir(dir.path().join("theirs")).unwrap();
        fs::remove_dir(&path).unwrap();
        fs::rename(dir.path().join("theirs"), &path).unwrap();
        age(&path, Duration::from_secs(90));
        assert!(take(HEARTBEAT).is_none() && files::is_dir(&path));
        assert!(take(Duration::from_secs(2)).is_none());
        drop(take(HEARTBEAT).unwrap());
        assert!(!files::exists(&path));
    }

    #[test]
    fn what_killed_passes_left_is_known_by_its_name_and_its_age() {
        let dir = tempfile::tempdir().unwrap();
        let lock = dir.path().join("s.json.lock");
        for name in [
            "s.json.lock.77",
            "s.json.lock.7x",
            "s.json.lock.",
            "t.json.lock.77",
            "s.json.lock.78",
        ] {
            fs::write(dir.path().join(name), "").unwrap();
            age(&dir.path().join(name), Duration::from_secs(61));
        }
        age(&dir.path().join("s.json.lock.78"), Duration::from_secs(1));
        fs::create_dir(dir.path().join("s.json.lock.79")).unwrap();
        age(&dir.path().join("s.json.lock.79"), Duration::from_secs(61));
        assert_eq!(leftovers(&lock), [dir.path().join("s.json.lock.77")]);
    }

    /// What a peer does just before each step, and for how long was waited.
    struct Peer<F> {
        acts: F,
        waited: std::cell::RefCell<Vec<Duration>>,
    }

    impl<F: Fn(At)> crate::edge::step::hold::Hold for Peer<F> {
        fn step(&self, at: At, _: &Path) -> crate::edge::step::hold::Next {
            (self.acts)(at);
            crate::edge::step::hold::Next::Go
        }
        fn pause(&self, time: Duration) {
            self.waited.borrow_mut().push(time);
        }
        fn ahead(&self) -> Duration {
            self.waited.borrow().iter().sum()
        }
    }

    fn beside<T>(acts: impl Fn(At) + 'static, work: impl FnOnce() -> T) -> (T, Vec<Duration>) {
        let peer = std::rc::Rc::new(Peer {
            acts,
            waited: std::cell::RefCell::default(),
        });
        let done = crate::edge::step::hold::of(peer.clone(), work).expect("nobody kills it");
        (done, peer.waited.take())
    }

    #[test]
    fn what_becomes_of_a_lock_just_before_it_is_removed_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let after = Duration::from_secs(30);
        let vanish = |path: &Path| drop(fs::remove_dir(path).or_else(|_| fs::remove_file(path)));
        let file = |path: &Path| fs::write(path, "theirs").unwrap();
        let folder = |path: &Path| fs::create_dir(path).unwrap();
        let full = |path: &Path| {
            fs::create_dir(path).unwrap();
            fs::write(path.join("in it"), "").unwrap();
        };
        type Act = fn(&Path);
        let cases: [(bool, Act, Result<Cleared, ()>); 5] = [
            (true, |_| {}, Ok(Cleared::Gone)),
            (false, |_| {}, Ok(Cleared::Gone)),
            (true, file, Ok(Cleared::Busy)),
            // macOS says that it is not permitted
            (
                false,
                folder,
                if cfg!(target_os = "macos") {
                    Err(())
                } else {
                    Ok(Cleared::Busy)
                },
            ),
            (true, full, Err(())),
        ];
        for (is_dir, then, wanted) in cases {
            match is_dir {
                true => folder(&path),
                false => file(&path),
            }
            age(&path, Duration::from_secs(400));
            let seen = look(&path, after).unwrap().unwrap();
            let there = path.clone();
            let acts = move |at| {
                if at == At::Change {
                    vanish(&there);
                    then(&there);
                }
            };
            let (done, _) = beside(acts, || remove_same(&path, &seen, after));
            assert_eq!(done.map_err(drop), wanted, "{is_dir}");
            assert_eq!(files::exists(&path), wanted != Ok(Cleared::Gone), "{is_dir}");
            let _ = fs::remove_dir_all(&path).or_else(|_| fs::remove_file(&path));
        }
    }

    #[test]
    fn what_becomes_of_a_lock_just_after_it_was_made_is_answered() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let theirs = dir.path().join("theirs");
        fs::write(&theirs, "theirs").unwrap();
        for terms in [TERMS, FILE_TERMS] {
            for linked in [false, true] {
                let (there, theirs) = (path.clone(), theirs.clone());
                let steps = std::cell::Cell::new(0);
                let acts = move |at| {
                    steps.set(steps.get() + usize::from(at == At::Lock));
                    // it was made at the first, and is opened at the second
                    if at == At::Lock && steps.get() == 2 {
                        drop(fs::remove_dir(&there).or_else(|_| fs::remove_file(&there)));
                        if linked {
                            std::os::unix::fs::symlink(&theirs, &there).unwrap();
                        }
                    }
                };
                let (made, _) = beside(acts, || make(&path, terms.kind));
                match linked {
                    true => assert!(made.is_err(), "a link is not followed"),
                    false => assert!(made.unwrap().is_none()),
                }
                let _ = fs::remove_file(&path);
            }
        }
        assert_eq!(fs::read_to_string(&theirs).unwrap(), "theirs");
        let nowhere = dir.path().join("absent/lock");
        assert!(take(&nowhere, TERMS).is_err() && take(&nowhere, FILE_TERMS).is_err());
    }

    #[test]
    fn only_a_stale_lock_is_waited_for() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let terms = Terms {
            heartbeat: Duration::from_secs(15),
            ..TERMS
        };
        let clear = || {
            beside(
                |_| {},
                || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    let mut watch = Watch::default();
                    runtime.block_on(clear_watched(&path, terms, &mut watch)).unwrap()
                },
            )
        };
        assert_eq!(clear(), (Cleared::Gone, vec![]));
        fs::create_dir(&path).unwrap();
        assert_eq!(clear(), (Cleared::Busy, vec![]));
        age(&path, Duration::from_secs(40));
        let (done, waited) = clear();
        assert_eq!((done, waited.len()), (Cleared::Removed, 1));
        assert!(waited[0] <= terms.heartbeat && waited[0] > terms.heartbeat / 2);
    }

    #[test]
    fn tries_come_ever_later_up_to_a_quarter_second() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("lock");
        let _held = take(&path, TERMS).unwrap().unwrap();
        let patient = Terms {
            wait: Duration::from_secs(2),
            ..TERMS
        };
        let (got, waited) = beside(
            |_| {},
            || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(acquire(&path, patient)).map(drop)
            },
        );
        assert!(matches!(got, Err(LockError::Busy(_))));
        let begin: Vec<u128> = waited.iter().take(3).map(Duration::as_micros).collect();
        assert_eq!(begin, [15_000, 22_500, 33_750]);
        assert!(waited.iter().all(|pause| *pause <= Duration::from_millis(250)));
    }

    #[test]
    fn several_locks_are_ours_together_and_given_back_the_last_first() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let group = || {
            let mut group = Group::default();
            group.add(take(&one, TERMS).unwrap().unwrap());
            group.add(take(&two, TERMS).unwrap().unwrap());
            group
        };
        let released = std::rc::Rc::new(std::cell::RefCell::new(Vec::new()));
        struct Order(std::rc::Rc<std::cell::RefCell<Vec<PathBuf>>>);
        impl crate::edge::step::hold::Hold for Order {
            fn step(&self, at: At, path: &Path) -> crate::edge::step::hold::Next {
                if at == At::Release {
                    self.0.borrow_mut().push(path.to_owned());
                }
                crate::edge::step::hold::Next::Go
            }
        }
        let held = group();
        assert!(held.are_ours() && !held.were_taken_over());
        let order = std::rc::Rc::new(Order(released.clone()));
        crate::edge::step::hold::of(order, || drop(held)).unwrap();
        let mut order = released.take();
        order.dedup();
        assert_eq!(order, [two.clone(), one.clone()]);
        // one that was taken from us is enough, whichever it is
        for lost in [&one, &two] {
            let mut held = group();
            assert!(held.touch());
            fs::remove_dir(lost).unwrap();
            assert!(!held.touch() && !held.are_ours());
        }
        fs::create_dir(&two).unwrap();
        age(&two, Duration::from_secs(40));
        assert!(group().were_taken_over());
    }

    #[test]
    fn two_stale_locks_are_watched_at_once() {
        let dir = tempfile::tempdir().unwrap();
        let (one, two) = (dir.path().join("one"), dir.path().join("two"));
        let terms = Terms {
            heartbeat: Duration::from_secs(15),
            ..TERMS
        };
        let mut watch = Watch::default();
        let fresh = dir.path().join("fresh");
        for (path, by) in [(&one, 40), (&two, 40), (&fresh, 0)] {
            fs::create_dir(path).unwrap();
            age(path, Duration::from_secs(by));
            watch.begin(path, terms);
        }
        assert_eq!(watch.0.iter().map(|seen| &seen.path).collect::<Vec<_>>(), [&one, &two]);
        // seen anew, each keeps the other's time
        age(&one, Duration::from_secs(50));
        watch.begin(&one, terms);
        assert_eq!(watch.0.iter().map(|seen| &seen.path).collect::<Vec<_>>(), [&two, &one]);
        for watched in &mut watch.0 {
            watched.since -= terms.heartbeat;
        }
        for path in [&one, &two] {
            assert!(try_acquire(path, terms, &mut watch).unwrap().is_some());
        }
    }

    #[test]
    fn the_limits_of_age_and_number_are_as_they_are_said() {
        const AFTER: Ms = 30_000;
        for holder in [Holder::Dated, Holder::Gone] {
            assert!(!is_stale(holder, AFTER, AFTER) && is_stale(holder, AFTER + 1, AFTER));
        }
        assert!(!is_stale(Holder::Torn, 10 * AFTER, AFTER) && is_stale(Holder::Torn, 10 * AFTER + 1, AFTER));
        assert!(!is_stale(Holder::Torn, MINUTE, 1) && is_stale(Holder::Torn, MINUTE + 1, 1));
        for (pid, wanted) in [
            ("0", None),
            ("1", Some(1)),
            ("-1", None),
            ("1.5", None),
            ("2147483647", Some(i32::MAX)),
            ("2147483648", None),
        ] {
            assert_eq!(pid_in(format!("{{\"pid\":{pid}}}").as_bytes()), wanted, "{pid}");
        }
        let ours = |pid: &str, start: &str| {
            let text = format!("{{\"createdAt\":\"\",\"holder\":{{\"pid\":{pid},\"start\":{start}}}}}");
            Record::parse(text.as_bytes())
        };
        for (pid, start, wanted) in [
            ("7", "9000000000000000", Some(Some(9_000_000_000_000_000))),
            ("7", "9000000000000002", Some(None)),
            ("7", "-1", Some(None)),
            ("7", "1.5", Some(None)),
            ("1.5", "1", None),
            ("-7", "1", None),
        ] {
            let start_of = match ours(pid, start) {
                Some(Record::Ours(identity)) => Some(identity.start),
                _ => None,
            };
            assert_eq!(start_of, wanted, "{pid} {start}");
        }
    }

    #[test]
    fn a_number_is_believed_for_two_seconds_longer_than_its_process_is_old() {
        // our own, and not in our record
        assert_eq!(Record::Number(std::process::id()).holder(0), Holder::Torn);
        let mut child = std::process::Command::new("sleep").arg("60").spawn().unwrap();
        let record = Record::Number(child.id());
        if process::start(child.id()).is_some() {
            loop {
                let secs = process::age(child.id()).unwrap();
                let limit = (secs + 2) as Ms * SECOND;
                let said = [limit, limit + 1].map(|age| record.holder(age));
                // looked at in the second that was asked about
                if process::age(child.id()) == Some(secs) {
                    assert_eq!(said, [Holder::Lives, Holder::Torn]);
                    break;
                }
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }

    #[test]
    fn what_cannot_be_looked_at_is_an_error_and_no_free_lock() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "").unwrap();
        let after = Duration::from_secs(30);
        let error = look(&dir.path().join("file/lock"), after).unwrap_err();
        assert!(!is_obstacle(&error), "{error}");
        let device = look(Path::new("/dev/null"), after).unwrap().unwrap();
        assert_eq!(device.what, What::Obstacle("a device"));
    }

    /// Many at once make, find stale, clear and release: what vanishes while being looked at is no error, and nobody holds it twice.
    #[test]
    fn a_lock_that_vanishes_while_it_is_judged_is_no_error() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json.lock");
        let inside = std::sync::atomic::AtomicUsize::new(0);
        std::thread::scope(|scope| {
            for n in 0..4 {
                let (path, inside) = (&path, &inside);
                scope.spawn(move || {
                    let terms = if n % 2 == 0 { TERMS } else { FILE_TERMS };
                    let mut got = 0;
                    while got < 300 {
                        let Some(held) = take(path, terms).unwrap() else {
                            continue;
                        };
                        use std::sync::atomic::Ordering::SeqCst;
                        assert_eq!(inside.fetch_add(1, SeqCst), 0);
                        inside.fetch_sub(1, SeqCst);
                        drop(held);
                        got += 1;
                    }
                });
            }
        });
        assert!(files::list(dir.path()).is_empty());
    }

    #[test]
    fn a_lock_that_was_taken_over_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json.lock");
        let mut held = take(&path, TERMS).unwrap().unwrap();
        assert!(held.touch());
        fs::remove_dir(&path).unwrap();
        fs::create_dir(&path).unwrap();
        age(&path, Duration::from_secs(2));
        assert!(!held.touch());
        drop(held);
        assert!(files::is_dir(&path));
    }

    #[test]
    fn a_file_lock_that_is_touched_looks_new_to_its_peers_and_a_peers_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json.lock");
        let mut held = take(&path, FILE_TERMS).unwrap().unwrap();
        let old = body().replace("\"20", "\"19");
        fs::write(&path, &old).unwrap();
        assert!(!held.is_ours());
        held.body.clone_from(&old);
        age(&path, Duration::from_secs(40));
        assert!(held.touch());
        let new = fs::read_to_string(&path).unwrap();
        assert!(new != old && new.len() == old.len() && new.starts_with("{\n  \"createdAt\": \"20"));
        let fresh = look(&path, FILE_TERMS.stale_after).unwrap().unwrap();
        assert!(!fresh.stale && body().len() == new.len());
        assert!(fs::metadata(&path).unwrap().modified().unwrap().elapsed().unwrap() < Duration::from_secs(30));
        // the inode of a removed file may come back at once: another one is made first
        fs::write(dir.path().join("theirs"), "theirs").unwrap();
        fs::rename(dir.path().join("theirs"), &path).unwrap();
        assert!(!held.touch());
        drop(held);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
        assert_eq!(files::list(dir.path()), ["s.json.lock"]);
    }

    /// A peer that took it in the same moment makes the same time, or the same content.
    #[test]
    fn a_lock_is_known_by_its_inode_as_well() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json.lock");
        for terms in [TERMS, FILE_TERMS] {
            let mut held = take(&path, terms).unwrap().unwrap();
            let theirs = dir.path().join("theirs");
            match terms.kind {
                Kind::Directory => fs::create_dir(&theirs).unwrap(),
                Kind::File => fs::write(&theirs, &held.body).unwrap(),
            }
            let at = fs::metadata(&path).unwrap().modified().unwrap();
            File::open(&theirs).unwrap().set_modified(at).unwrap();
            // an inode number comes back at once where it was given back
            fs::rename(&path, dir.path().join("ours")).unwrap();
            fs::rename(&theirs, &path).unwrap();
            assert!(!held.is_ours());
            if terms.kind == Kind::File {
                // taken just now, after we looked
                assert!(!held.renew_body().unwrap());
                assert_eq!(fs::read_to_string(&path).unwrap(), held.body);
            }
            drop(held);
            assert!(files::exists(&path));
            match terms.kind {
                Kind::Directory => fs::remove_dir(&path).unwrap(),
                Kind::File => fs::remove_file(&path).unwrap(),
            }
            let _ = fs::remove_dir(dir.path().join("ours")).or_else(|_| fs::remove_file(dir.path().join("ours")));
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_waiter_gets_in_when_the_holder_leaves_and_gives_up_when_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json.lock");
        let held = take(&path, TERMS).unwrap().unwrap();
        assert!(matches!(acquire(&path, TERMS).await, Err(LockError::Busy(_))));
        let patient = Terms {
            wait: Duration::from_secs(20),
            ..TERMS
        };
        let (got, ()) = tokio::join!(acquire(&path, patient), async move {
            tokio::task::yield_now().await;
            drop(held);
        });
        assert!(got.unwrap().is_ours());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn one_pass_at_a_time() {
        let dir = tempfile::tempdir().unwrap();
        let first = pass_lock(dir.path(), Duration::ZERO).await.unwrap();
        assert!(matches!(
            pass_lock(dir.path(), Duration::ZERO).await,
            Err(LockError::Busy(_))
        ));
        drop(first);
        pass_lock(dir.path(), Duration::ZERO).await.unwrap();
    }
}
