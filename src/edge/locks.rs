//! Locks that foreign programs honour: a directory made with mkdir, or a file made with O_EXCL; and our own pass lock.
//!
//! The directory kind is the algorithm of npm's `proper-lockfile` 4.1.2, which Clawdbot and Claude Code use: mkdir, an mtime
//! that the holder keeps fresh, stale once the mtime is older than a limit. The file kind is OpenClaw's (2026.2.17 and
//! later): `{"pid","createdAt"}`, reclaimed when that process is dead, up to 2026.4.25 by its age too. A lock of either kind
//! blocks the peers of the other one for ever once its holder has died (mkdir over a file fails, an open over a directory
//! hangs), so the other kind counts as held while it is fresh and is cleared when it is stale.
//!
//! Not guaranteed: between finding a lock stale and removing it, a peer may do the same and lock anew; the algorithm's own
//! window, a few microseconds wide here. Within nolapse the pass lock closes it.

use super::{files, progress};
use crate::types::{MINUTE, Ms, SECOND};
use std::fs::{self, File, FileTimes};
use std::io;
use std::os::unix::fs::{DirBuilderExt, FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// How a lock behaves.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    /// Which kind to make.
    pub kind: Kind,
    /// A directory not touched for this long is nobody's.
    pub stale_after: Duration,
    /// How long to wait for a live holder.
    pub wait: Duration,
}

/// The two kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// mkdir.
    Directory,
    /// O_EXCL, complete from the first moment (linked into place).
    File,
}

/// Why a lock was not obtained.
#[derive(Debug, thiserror::Error)]
pub enum LockError {
    /// A live holder kept it for longer than we wait.
    #[error("held by another process for more than {0:?}")]
    Held(Duration),
    /// The system refused.
    #[error("{}", files::io_words(.0))]
    Io(#[from] io::Error),
}

/// A lock that is held, and released when dropped. While it is held for long, [`Held::touch`] keeps it fresh.
#[derive(Debug)]
pub struct Held {
    path: PathBuf,
    kind: Kind,
    identity: (u64, u64),
    touched: Option<SystemTime>,
}

/// The lock of a file is its real path with `.lock` appended, in both kinds.
pub fn lock_path(target: &Path) -> PathBuf {
    let mut name = target.as_os_str().to_owned();
    name.push(".lock");
    PathBuf::from(name)
}

/// Waits for the lock at `path` and takes it.
///
/// # Errors
/// [`LockError::Held`] after `terms.wait`; otherwise what the system refuses.
pub async fn acquire(path: &Path, terms: Terms) -> Result<Held, LockError> {
    let begun = Instant::now();
    let mut pause = Duration::from_millis(15);
    let mut waiting = None;
    loop {
        if let Some(held) = try_acquire(path, terms)? {
            return Ok(held);
        }
        waiting.get_or_insert_with(|| progress::waiting(|| format!("the lock `{}`", path.display())));
        if begun.elapsed() >= terms.wait {
            return Err(LockError::Held(terms.wait));
        }
        tokio::time::sleep(pause.min(terms.wait.saturating_sub(begun.elapsed()))).await;
        // grows to a quarter second: short enough to get in between the agents' own tries
        pause = (pause * 3 / 2).min(Duration::from_millis(250));
    }
}

/// Takes the lock if nobody holds it; `None` if somebody does.
///
/// # Errors
/// What the system refuses.
pub fn try_acquire(path: &Path, terms: Terms) -> io::Result<Option<Held>> {
    match make(path, terms.kind) {
        Ok(held) => return Ok(Some(held)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(error),
    }
    match clear_dead(path, terms.stale_after)? {
        Cleared::Held => return Ok(None),
        Cleared::Removed => tracing::info!(lock = %path.display(), "cleared a stale lock"),
        Cleared::Gone => {}
    }
    make_unless_taken(path, terms.kind)
}

/// What came of clearing a lock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cleared {
    /// It was nobody's, and is gone.
    Removed,
    /// There was none.
    Gone,
    /// It is somebody's, and was left alone.
    Held,
}

/// Removes a lock whose holder died. It is looked at twice, the second time just before the removal: whoever took it in
/// between keeps it.
///
/// # Errors
/// What the system refuses.
pub fn clear_dead(path: &Path, stale_after: Duration) -> io::Result<Cleared> {
    let Some(seen) = look(path, stale_after)? else {
        return Ok(Cleared::Gone);
    };
    if !seen.stale {
        return Ok(Cleared::Held);
    }
    match look(path, stale_after)? {
        Some(again) if again.stale && again.identity == seen.identity => match seen.is_dir {
            true => fs::remove_dir(path)?,
            false => fs::remove_file(path)?,
        },
        Some(_) => return Ok(Cleared::Held),
        None => return Ok(Cleared::Gone),
    }
    Ok(Cleared::Removed)
}

fn make_unless_taken(path: &Path, kind: Kind) -> io::Result<Option<Held>> {
    match make(path, kind) {
        Ok(held) => Ok(Some(held)),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(None),
        Err(error) => Err(error),
    }
}

/// What stands at a lock's path.
#[derive(Clone, Copy, Debug)]
pub struct Seen {
    /// A directory, or a file.
    pub is_dir: bool,
    /// Its last touch, [`Ms`].
    pub touched: Ms,
    /// Nobody holds it any more.
    pub stale: bool,
    /// The process that a file names as its holder.
    pub pid: Option<u32>,
    /// Device and inode.
    identity: (u64, u64),
}

/// Looks at a lock without touching it; `None` where there is none.
///
/// A directory is stale by its mtime. A file is stale when its process is dead; one whose content names no process (empty,
/// torn) only when it is ten times older than that, since its maker may be between creating and writing it.
pub fn look(path: &Path, stale_after: Duration) -> io::Result<Option<Seen>> {
    let meta = match fs::symlink_metadata(path) {
        Ok(meta) => meta,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    let touched = meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000;
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |d| d.as_millis() as Ms);
    let limit = stale_after.as_millis() as Ms;
    let mut pid = None;
    let stale = if meta.is_dir() {
        now - touched > limit
    } else {
        pid = files::read(path).ok().and_then(|file| pid_in(&file.bytes));
        match pid {
            Some(pid) => !alive(pid),
            None => now - touched > (10 * limit).max(MINUTE),
        }
    };
    Ok(Some(Seen {
        is_dir: meta.is_dir(),
        touched,
        stale,
        pid: pid.and_then(|pid| u32::try_from(pid).ok()),
        identity: (meta.dev(), meta.ino()),
    }))
}

/// The process that a lock file, or the record beside a lock, names.
pub fn pid_in(bytes: &[u8]) -> Option<i32> {
    let text = std::str::from_utf8(bytes).ok()?;
    let pid = crate::json::Fields::parse(text).ok()?.get("pid")?.number()?;
    (pid.fract() == 0.0 && pid >= 1.0 && pid <= f64::from(i32::MAX)).then_some(pid as i32)
}

fn alive(pid: i32) -> bool {
    let Some(pid) = rustix::process::Pid::from_raw(pid) else {
        return false;
    };
    // EPERM: it lives and is another user's
    !matches!(rustix::process::test_kill_process(pid), Err(rustix::io::Errno::SRCH))
}

fn make(path: &Path, kind: Kind) -> io::Result<Held> {
    match kind {
        Kind::Directory => fs::DirBuilder::new().mode(0o755).create(path)?,
        Kind::File => {
            let body = body();
            let mut own = path.as_os_str().to_owned();
            own.push(format!(".{}", std::process::id()));
            let own = PathBuf::from(own);
            files::remove(&own)?;
            files::create_new(&own, body.as_bytes())?;
            let linked = fs::hard_link(&own, path);
            fs::remove_file(&own)?;
            linked?;
        }
    }
    let meta = fs::symlink_metadata(path)?;
    let mut held = Held {
        path: path.to_owned(),
        kind,
        identity: (meta.dev(), meta.ino()),
        touched: None,
    };
    held.stamp()?;
    Ok(held)
}

/// What a file lock holds.
fn body() -> String {
    let now = chrono::DateTime::<chrono::Utc>::from(SystemTime::now());
    format!(
        "{{\n  \"pid\": {},\n  \"createdAt\": \"{}\"\n}}",
        std::process::id(),
        now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true)
    )
}

impl Held {
    /// Keeps the lock fresh; call it every few seconds while holding it. OpenClaw up to 2026.4.25 takes a file whose
    /// `createdAt` or mtime is older than its limit (30 s for a store) for stale, though its holder lives: that is renewed in
    /// place, in our own file, so that one which a peer made in the meantime is not written.
    ///
    /// # Errors
    /// `false` where the lock is no longer ours (somebody found it stale): stop, and write nothing.
    pub fn touch(&mut self) -> bool {
        self.is_ours()
            && match self.kind {
                Kind::Directory => self.stamp().is_ok(),
                Kind::File => self.renew_body().unwrap_or(false),
            }
    }

    /// One write of the same length: a reader that caught it half done would find the mtime fresh.
    fn renew_body(&self) -> io::Result<bool> {
        let file = fs::OpenOptions::new().write(true).open(&self.path)?;
        let meta = file.metadata()?;
        if (meta.dev(), meta.ino()) != self.identity {
            return Ok(false);
        }
        file.write_all_at(body().as_bytes(), 0)?;
        Ok(true)
    }

    /// Whether the lock is still the one we made, untouched by others.
    pub fn is_ours(&self) -> bool {
        let Ok(meta) = fs::symlink_metadata(&self.path) else {
            return false;
        };
        (meta.dev(), meta.ino()) == self.identity
            && (self.kind == Kind::File || self.touched.is_none() || meta.modified().ok() == self.touched)
    }

    /// proper-lockfile rounds its mtime up to the next second plus 5 ms while it probes the file system's precision: peers
    /// expect times up to a second ahead.
    fn stamp(&mut self) -> io::Result<()> {
        if self.kind == Kind::Directory {
            let now = SystemTime::now()
                .duration_since(UNIX_EPOCH)
                .unwrap_or_default()
                .as_millis() as u64;
            let at = UNIX_EPOCH + Duration::from_millis(now.div_ceil(SECOND as u64) * SECOND as u64 + 5);
            File::open(&self.path)?.set_times(FileTimes::new().set_accessed(at).set_modified(at))?;
            self.touched = fs::symlink_metadata(&self.path)?.modified().ok();
        }
        Ok(())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        // a lock that is not ours any more is never touched
        if self.is_ours() {
            let _ = match self.kind {
                Kind::Directory => fs::remove_dir(&self.path),
                Kind::File => fs::remove_file(&self.path),
            };
        }
    }
}

/// The pass lock: one pass at a time on one state directory. The kernel drops it with the process, so it is never stale.
#[derive(Debug)]
pub struct PassLock(#[expect(dead_code, reason = "held open, never read")] File);

/// Waits for the pass lock in `state_dir`.
///
/// # Errors
/// [`LockError::Held`] after `wait`; otherwise what the system refuses.
pub async fn pass_lock(state_dir: &Path, wait: Duration) -> Result<PassLock, LockError> {
    use rustix::fs::{FlockOperation, flock};
    // a link or FIFO in its place is refused, not waited for
    let path = state_dir.join("pass.lock");
    let file = files::open_ours(&path, fs::OpenOptions::new().create(true).append(true))?;
    let begun = Instant::now();
    let mut waiting = None;
    loop {
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => return Ok(PassLock(file)),
            Err(rustix::io::Errno::WOULDBLOCK) if begun.elapsed() < wait => {
                waiting.get_or_insert_with(|| progress::waiting(|| "another pass to end".into()));
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            Err(rustix::io::Errno::WOULDBLOCK) => return Err(LockError::Held(wait)),
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
    fn a_free_lock_is_taken_and_released() {
        let dir = tempfile::tempdir().unwrap();
        for terms in [TERMS, FILE_TERMS] {
            let path = dir.path().join("s.json.lock");
            let held = try_acquire(&path, terms).unwrap().unwrap();
            assert!(try_acquire(&path, TERMS).unwrap().is_none());
            assert!(try_acquire(&path, FILE_TERMS).unwrap().is_none());
            drop(held);
            assert!(files::list(dir.path()).is_empty());
        }
    }

    #[test]
    fn a_stale_lock_of_either_kind_is_cleared_and_a_live_one_never() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json.lock");
        for terms in [TERMS, FILE_TERMS] {
            fs::create_dir(&path).unwrap();
            age(&path, Duration::from_secs(29));
            assert!(try_acquire(&path, terms).unwrap().is_none());
            age(&path, Duration::from_secs(31));
            drop(try_acquire(&path, terms).unwrap().unwrap());

            fs::write(&path, format!("{{\"pid\":{}}}", std::process::id())).unwrap();
            age(&path, Duration::from_secs(3600));
            assert!(try_acquire(&path, terms).unwrap().is_none());
            fs::write(&path, format!("{{\"pid\":{}}}", dead_pid())).unwrap();
            drop(try_acquire(&path, terms).unwrap().unwrap());

            fs::write(&path, "").unwrap();
            assert!(try_acquire(&path, terms).unwrap().is_none());
            age(&path, Duration::from_secs(301));
            drop(try_acquire(&path, terms).unwrap().unwrap());
            assert!(!files::exists(&path));
        }
    }

    #[test]
    fn a_lock_that_was_taken_over_is_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json.lock");
        let mut held = try_acquire(&path, TERMS).unwrap().unwrap();
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
        let mut held = try_acquire(&path, FILE_TERMS).unwrap().unwrap();
        let old = body().replace("\"20", "\"19");
        fs::write(&path, &old).unwrap();
        age(&path, Duration::from_secs(40));
        assert!(held.touch());
        let new = fs::read_to_string(&path).unwrap();
        assert!(new != old && new.len() == old.len() && pid_in(new.as_bytes()) == Some(std::process::id() as i32));
        let fresh = look(&path, FILE_TERMS.stale_after).unwrap().unwrap();
        assert!(!fresh.stale && body().len() == new.len());
        assert!(fs::metadata(&path).unwrap().modified().unwrap().elapsed().unwrap() < Duration::from_secs(30));
        // the inode of a removed file may come back at once: another one is made first
        fs::write(dir.path().join("theirs"), "theirs").unwrap();
        fs::rename(dir.path().join("theirs"), &path).unwrap();
        assert!(!held.touch());
        drop(held);
        assert_eq!(fs::read_to_string(&path).unwrap(), "theirs");
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_waiter_gets_in_when_the_holder_leaves_and_gives_up_when_it_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.json.lock");
        let held = try_acquire(&path, TERMS).unwrap().unwrap();
        assert!(matches!(acquire(&path, TERMS).await, Err(LockError::Held(_))));
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
            Err(LockError::Held(_))
        ));
        drop(first);
        pass_lock(dir.path(), Duration::ZERO).await.unwrap();
    }
}
