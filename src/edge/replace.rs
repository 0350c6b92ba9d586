//! The one way a file is replaced: a temp file beside it, written and synced; then, at once, the checks and the rename.
//!
//! Whoever wrote the target in between must not be overwritten, and a process that was suspended in between must not rename what
//! is no longer its own. So [`Staged::put`] looks last of all whether the target is still what was planned from, whether every
//! lock is still ours, and whether the temp path is still the file we opened (its name is unique). What is left is the time from
//! the last look to the rename, microseconds, or as long as somebody stops us exactly there. On Linux the rename is an exchange
//! (`RENAME_EXCHANGE`, `RENAME_NOREPLACE`) where the file system has it: what was displaced is compared as well, and put back.
//!
//! Not guaranteed: without that exchange (macOS, some network file systems) the last microseconds; and the target of two more
//! writers that both replace it while something is put back.

use super::files;
use super::step::{self, At, step};
use crate::types::Meta;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Seek, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// Ends the name of every temp file.
const TEMP_END: &str = ".nolapse-tmp";

/// What a file may be put over.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Over<'a> {
    /// Anything: the file is ours alone, in a directory of ours.
    Anything,
    /// Nothing.
    Absent,
    /// Exactly this content.
    Content(&'a [u8]),
}

impl<'a> Over<'a> {
    /// The content that was read, or that there was none.
    pub(crate) fn read(text: Option<&'a str>) -> Self {
        text.map_or(Self::Absent, |text| Self::Content(text.as_bytes()))
    }
}

/// Why a file was not replaced; it is then as the other program left it.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NotPut {
    /// Somebody else wrote it: plan again from what it is now.
    #[error("somebody else wrote it at the same moment")]
    Changed,
    /// A lock, or the temp file, was taken from us.
    #[error("its lock was lost")]
    Lost,
    /// The system refused.
    #[error("{}", files::io_words(.0))]
    Io(#[from] io::Error),
}

/// A temp file opened beside its target, proving that the target can be replaced. Removed when dropped.
pub(crate) struct Staged {
    target: PathBuf,
    temp: Temp,
}

/// A file with a unique name. Whoever made it keeps it locked (`flock`), which tells [`sweep`] that its maker is alive.
pub(super) struct Temp {
    pub(crate) path: PathBuf,
    pub(crate) file: File,
    identity: (u64, u64),
}

impl Temp {
    /// Makes one beside `target`, 0600. One that [`sweep`] took for a leftover before it was locked is made again.
    pub(crate) fn beside(target: &Path) -> io::Result<Self> {
        use rustix::fs::{FlockOperation, flock};
        use std::hash::BuildHasher;
        let mut tries = 0;
        loop {
            let unique = std::hash::RandomState::new().hash_one((std::process::id(), tries));
            let mut name = std::ffi::OsString::from(".");
            name.push(target.file_name().unwrap_or_default());
            name.push(format!(".{unique:016x}{TEMP_END}"));
            let path = target.with_file_name(name);
            step(At::Change, &path);
            let file = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
                Ok(file) => file,
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists && tries < 8 => {
                    tries += 1;
                    continue;
                }
                Err(error) => return Err(error),
            };
            let meta = file.metadata()?;
            step(At::Lock, &path);
            // a file system without such locks has its leftovers swept by age
            let locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
            let temp = Self {
                path,
                file,
                identity: (meta.dev(), meta.ino()),
            };
            if tries == 8 || locked != Err(rustix::io::Errno::WOULDBLOCK) && temp.is_ours() {
                return Ok(temp);
            }
            tries += 1;
        }
    }

    /// Whether its path is still the file that we opened.
    fn is_ours(&self) -> bool {
        identity(&self.path) == Some(self.identity)
    }
}

impl Drop for Temp {
    fn drop(&mut self) {
        if !step::dead() && self.is_ours() {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// Opens the temp file for `target` (a real path, see [`files::real_target`]) with `keep`'s mode and owner, 0600 and the
/// directory's owner where there is no file yet.
///
/// # Errors
/// Whatever the system refuses; `PermissionDenied` also where the owner could not be kept.
pub(crate) fn stage(target: &Path, keep: Option<&Meta>) -> io::Result<Staged> {
    let temp = Temp::beside(target)?;
    let (uid, gid) = match keep {
        Some(meta) => (meta.uid, meta.gid),
        None => match target.parent().and_then(files::stat) {
            Some(above) if files::is_root() => (above.uid, above.gid),
            _ => (files::our_uid(), rustix::process::getegid().as_raw()),
        },
    };
    let made = temp.file.metadata()?;
    if made.uid() != uid {
        std::os::unix::fs::fchown(&temp.file, Some(uid), Some(gid))?;
    } else if made.gid() != gid {
        // a group we are not in cannot be kept; the owner can, and access by the owner is what matters
        let _ = std::os::unix::fs::fchown(&temp.file, None, Some(gid));
    }
    if let Some(meta) = keep
        && meta.mode & 0o777 != 0o600
    {
        temp.file
            .set_permissions(fs::Permissions::from_mode(meta.mode & 0o777))?;
    }
    Ok(Staged {
        target: target.to_owned(),
        temp,
    })
}

impl Staged {
    /// Sets room aside for `bytes` bytes, so that a disk that fills up meanwhile does not fail the write. Where the file
    /// system cannot do that, nothing is set aside.
    ///
    /// # Errors
    /// The disk is full.
    pub(crate) fn reserve(&self, bytes: u64) -> io::Result<()> {
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            use rustix::fs::{FallocateFlags, fallocate};
            use rustix::io::Errno;
            if let Err(error @ (Errno::NOSPC | Errno::DQUOT | Errno::IO | Errno::ROFS)) =
                fallocate(&self.temp.file, FallocateFlags::KEEP_SIZE, 0, bytes)
            {
                return Err(error.into());
            }
        }
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = bytes;
        Ok(())
    }

    /// Writes the new content to the temp file and makes it durable there. This is what takes long; it may be done again.
    ///
    /// # Errors
    /// Whatever the system refuses.
    pub(crate) fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.write_with(&|to| to.write_all(bytes))
    }

    fn write_with(&mut self, write: Content<'_>) -> io::Result<()> {
        step(At::Change, &self.temp.path);
        self.temp.file.rewind()?;
        let mut buffered = io::BufWriter::new(&mut self.temp.file);
        write(&mut buffered)?;
        buffered.flush()?;
        drop(buffered);
        let file = &mut self.temp.file;
        let length = file.stream_position()?;
        if file.metadata()?.len() > length {
            file.set_len(length)?;
        }
        file.sync_all()
    }

    /// Puts what was written in the target's place, if that still holds what was planned from and `ours` says that every lock is
    /// still held. Whether that survives a power cut is given back: the error with which its directory could not be synced.
    ///
    /// # Errors
    /// See [`NotPut`]; the target is then not ours (except where an in-place write failed half-way on a mount point, which is
    /// attempted only after the same bytes were durable beside it).
    pub(crate) fn put(self, over: Over<'_>, ours: &dyn Fn() -> bool) -> Result<io::Result<()>, NotPut> {
        if !stands(&self.target, over) {
            return Err(NotPut::Changed);
        }
        if !ours() || !self.temp.is_ours() {
            return Err(NotPut::Lost);
        }
        match self.rename(over) {
            // a mount point (a file bind-mounted into a container) cannot be renamed onto
            Err(NotPut::Io(error)) if error.kind() == io::ErrorKind::ResourceBusy => self.in_place()?,
            done => done?,
        }
        Ok(files::sync_dir(&self.target))
    }

    fn rename(&self, over: Over<'_>) -> Result<(), NotPut> {
        step(At::Change, &self.target);
        match over {
            Over::Anything => {}
            Over::Absent => match swap::only_if_absent(&self.temp.path, &self.target) {
                Err(error) if swap::unknown(&error) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Err(NotPut::Changed),
                other => return Ok(other?),
            },
            Over::Content(_) => match swap::exchange(&self.temp.path, &self.target) {
                Err(error) if swap::unknown(&error) => {}
                // it was removed just now
                Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(NotPut::Changed),
                Err(error) => return Err(error.into()),
                Ok(()) => return self.exchanged(over),
            },
        }
        Ok(fs::rename(&self.temp.path, &self.target)?)
    }

    /// The displaced file is at the temp path now: it is removed if the change was planned from it, and put back if not.
    fn exchanged(&self, over: Over<'_>) -> Result<(), NotPut> {
        step(At::Look, &self.target);
        if stands(&self.temp.path, over) {
            step(At::Change, &self.temp.path);
            // a file that stays has a temp file's name, and is swept by the next pass
            let _ = fs::remove_file(&self.temp.path);
            return Ok(());
        }
        for _ in 0..3 {
            // ours was displaced meanwhile: what is there now is newer than both
            if identity(&self.target) != Some(self.temp.identity) {
                break;
            }
            step(At::Change, &self.target);
            swap::exchange(&self.temp.path, &self.target)?;
            if self.temp.is_ours() {
                break;
            }
        }
        if !self.temp.is_ours() {
            tracing::warn!(file = %self.target.display(), "written by two others at the same moment");
            let _ = fs::remove_file(&self.temp.path);
        }
        Err(NotPut::Changed)
    }

    fn in_place(&self) -> io::Result<()> {
        step(At::Change, &self.target);
        let bytes = fs::read(&self.temp.path)?;
        let mut file = OpenOptions::new().write(true).truncate(true).open(&self.target)?;
        file.write_all(&bytes)?;
        file.sync_all()
    }
}

/// Whether a path still holds what is going to be replaced.
fn stands(path: &Path, over: Over<'_>) -> bool {
    match over {
        Over::Anything => true,
        Over::Absent => !files::exists(path),
        Over::Content(content) => files::read(path).is_ok_and(|now| now.bytes == content),
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
mod swap {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use std::io;
    use std::path::Path;

    pub(crate) fn exchange(one: &Path, other: &Path) -> io::Result<()> {
        Ok(renameat_with(CWD, one, CWD, other, RenameFlags::EXCHANGE)?)
    }

    pub(crate) fn only_if_absent(from: &Path, to: &Path) -> io::Result<()> {
        Ok(renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE)?)
    }

    /// The kernel or the file system does not know how.
    pub(crate) fn unknown(error: &io::Error) -> bool {
        use rustix::io::Errno;
        [Errno::INVAL, Errno::NOSYS, Errno::OPNOTSUPP]
            .iter()
            .any(|errno| error.raw_os_error() == Some(errno.raw_os_error()))
    }
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
mod swap {
    use std::io;
    use std::path::Path;

    pub(crate) fn exchange(_: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn only_if_absent(_: &Path, _: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(crate) fn unknown(error: &io::Error) -> bool {
        error.kind() == io::ErrorKind::Unsupported
    }
}

/// Replaces a file of ours, whatever it holds, durably: its directory is synced as well.
///
/// # Errors
/// Whatever the system refuses. Where only the directory could not be synced, the new file is there and an error is returned.
pub(crate) fn replace(target: &Path, bytes: &[u8], keep: Option<&Meta>) -> io::Result<()> {
    replace_with(target, &|to| to.write_all(bytes), keep)
}

/// Writes a file's content, the same each time.
type Content<'a> = &'a dyn Fn(&mut dyn Write) -> io::Result<()>;

/// [`replace`], with content that is written in pieces.
///
/// # Errors
/// See [`replace`].
pub(crate) fn replace_with(target: &Path, write: Content<'_>, keep: Option<&Meta>) -> io::Result<()> {
    let mut staged = stage(target, keep)?;
    staged.write_with(write)?;
    match staged.put(Over::Anything, &|| true) {
        Ok(synced) => synced,
        Err(NotPut::Io(error)) => Err(error),
        Err(other) => Err(io::Error::other(other)),
    }
}

/// What will be written, and what it was planned from.
pub(crate) struct Planned {
    /// What the target held; `None` where there was no file.
    pub(crate) before: Option<String>,
    /// What it is to hold.
    pub(crate) after: String,
    /// Whose mode and owner are kept.
    pub(crate) keep: Option<Meta>,
}

/// How often a change is planned again because another program wrote meanwhile.
pub(crate) const TRIES: usize = 5;

/// Plans from what the target holds now, writes that, and puts it in place; from the start, a few times, where somebody else wrote
/// the target meanwhile. `staged` is a temp file that was opened for it before. Gives back what [`Staged::put`] does; `None` where `plan` has nothing to change.
///
/// # Errors
/// What `plan` says, or [`NotPut`].
pub(crate) fn edit<E: From<NotPut>>(
    target: &Path,
    mut staged: Option<Staged>,
    mut plan: impl FnMut() -> Result<Option<Planned>, E>,
    ours: &dyn Fn() -> bool,
) -> Result<Option<io::Result<()>>, E> {
    for _ in 0..TRIES {
        let Some(planned) = plan()? else { return Ok(None) };
        let mut temp = match staged.take() {
            Some(staged) => staged,
            None => stage(target, planned.keep.as_ref()).map_err(NotPut::Io)?,
        };
        temp.write(planned.after.as_bytes()).map_err(NotPut::Io)?;
        match temp.put(Over::read(planned.before.as_deref()), ours) {
            Ok(synced) => return Ok(Some(synced)),
            Err(NotPut::Changed) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Err(NotPut::Changed.into())
}

/// Removes the temp files in `dir` that killed processes left: those that nobody holds locked, or, where the file system has no
/// such locks, those of an hour ago. `spare` says which are kept all the same. A file that is removed while its writer lives
/// after all makes that one's [`Staged::put`] fail, nothing else.
pub(crate) fn sweep(dir: &Path, spare: impl Fn(&Path) -> bool) {
    for name in files::list(dir) {
        let path = dir.join(&name);
        let Some(target) = target_of(&name).filter(|_| !spare(&path)) else {
            continue;
        };
        step(At::Look, &path);
        // held until it is gone: its maker may be about to lock it
        let Some(_held) = abandoned(&path) else { continue };
        // after the exchange it is what was displaced, and its maker holds what is in its place
        if is_locked(&dir.join(target)) {
            continue;
        }
        step(At::Change, &path);
        if fs::remove_file(&path).is_ok() {
            tracing::debug!(file = %path.display(), "removed a temp file that a killed process left");
        }
    }
}

/// Whose temp file this is, by its name.
fn target_of(name: &str) -> Option<&str> {
    let (target, _) = name.strip_prefix('.')?.strip_suffix(TEMP_END)?.rsplit_once('.')?;
    Some(target)
}

fn open_plain(path: &Path) -> Option<File> {
    use rustix::fs::OFlags;
    let opened = OpenOptions::new()
        .read(true)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path);
    opened
        .ok()
        .filter(|file| file.metadata().is_ok_and(|meta| meta.is_file()))
}

/// A temp file whose maker is gone, locked.
fn abandoned(path: &Path) -> Option<File> {
    use rustix::fs::{FlockOperation, flock};
    let file = open_plain(path)?;
    let gone = match flock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => true,
        Err(rustix::io::Errno::WOULDBLOCK) => false,
        Err(_) => file
            .metadata()
            .and_then(|meta| meta.modified())
            .is_ok_and(|at| at.elapsed().is_ok_and(|age| age.as_secs() > 3600)),
    };
    gone.then_some(file)
}

/// Whether somebody has just put it there and is not done.
fn is_locked(path: &Path) -> bool {
    use rustix::fs::{FlockOperation, flock};
    let probe = |file: File| flock(&file, FlockOperation::NonBlockingLockShared) == Err(rustix::io::Errno::WOULDBLOCK);
    open_plain(path).is_some_and(probe)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn put(target: &Path, over: Over<'_>, bytes: &[u8], ours: &dyn Fn() -> bool) -> Result<io::Result<()>, NotPut> {
        let mut staged = stage(target, files::stat(target).as_ref()).unwrap();
        staged.write(bytes).unwrap();
        staged.put(over, ours)
    }

    /// Sweeps at every step of somebody else, and once before he has locked what he made.
    struct Sweeper {
        dir: PathBuf,
        at_work: std::cell::Cell<bool>,
        made: std::cell::Cell<bool>,
    }

    impl step::hold::Hold for Sweeper {
        fn step(&self, at: At, _: &Path) -> step::hold::Next {
            if !(self.at_work.get() || at == At::Lock && self.made.replace(true)) {
                self.at_work.set(true);
                sweep(&self.dir, |_| false);
                self.at_work.set(false);
            }
            step::hold::Next::Go
        }
    }

    #[test]
    fn who_sweeps_at_any_step_removes_nothing_of_who_lives() {
        let dir = tempfile::tempdir().unwrap();
        let target = dir.path().join("store.json");
        for other in [None, Some("theirs")] {
            fs::write(&target, "before").unwrap();
            let sweeper = Sweeper {
                dir: dir.path().to_owned(),
                at_work: Default::default(),
                made: Default::default(),
            };
            let put = step::hold::of(std::rc::Rc::new(sweeper), || {
                let mut staged = stage(&target, None).unwrap();
                staged.write(b"after").unwrap();
                let ours = || {
                    // somebody writes between the last look and the exchange
                    if let Some(text) = other {
                        fs::write(dir.path().join("new"), text).unwrap();
                        fs::rename(dir.path().join("new"), &target).unwrap();
                    }
                    true
                };
                staged.put(Over::Content(b"before"), &ours).map(drop)
            });
            let (put, want) = (put.unwrap(), other.unwrap_or("after"));
            assert_eq!(put.is_ok(), other.is_none(), "{put:?}");
            assert_eq!(fs::read_to_string(&target).unwrap(), want);
            assert_eq!(files::list(dir.path()), ["store.json"]);
        }
        // and of who does not
        let left = dir.path().join(".store.json.0123456789abcdef.nolapse-tmp");
        fs::write(&left, "left").unwrap();
        sweep(dir.path(), |_| false);
        assert_eq!(files::list(dir.path()), ["store.json"]);
    }

    #[test]
    fn a_replacement_keeps_the_mode_and_leaves_no_temp_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.json");
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        for (over, new) in [(Over::Content(b"old"), "new"), (Over::Anything, "newer")] {
            put(&path, over, new.as_bytes(), &|| true).unwrap().unwrap();
            let after = files::read(&path).unwrap();
            assert_eq!((after.bytes.as_slice(), after.meta.mode), (new.as_bytes(), 0o640));
            assert_eq!(files::list(dir.path()), ["store.json"]);
        }
    }

    #[test]
    fn what_is_written_twice_is_the_second_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.json");
        let mut staged = stage(&path, None).unwrap();
        staged.reserve(1 << 14).unwrap();
        staged.write(b"a long first content").unwrap();
        staged.write(b"short").unwrap();
        staged.put(Over::Absent, &|| true).unwrap().unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"short");
    }

    #[test]
    fn nothing_is_put_over_what_changed_or_without_the_locks() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.json");
        fs::write(&path, "theirs").unwrap();
        // seen before anything is exchanged: where the file system cannot do that, nobody else would see it
        for over in [Over::Content(b"old"), Over::Absent] {
            let done = put(&path, over, b"new", &|| {
                panic!("the locks are the last thing that is asked")
            });
            assert!(matches!(done, Err(NotPut::Changed)));
        }
        assert!(matches!(
            put(&path, Over::Content(b"theirs"), b"new", &|| false),
            Err(NotPut::Lost)
        ));
        assert_eq!(fs::read(&path).unwrap(), b"theirs");
        assert_eq!(files::list(dir.path()), ["store.json"]);
    }

    /// The moment between the last look and the rename, in which a process may be stopped for hours: `ours` is asked there.
    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn what_was_displaced_at_the_last_moment_is_put_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.json");
        for last_moment in ["renamed", "in place", "removed"] {
            fs::write(&path, "old").unwrap();
            let done = put(&path, Over::Content(b"old"), b"new", &|| {
                match last_moment {
                    "renamed" => {
                        fs::write(dir.path().join("x"), "theirs").unwrap();
                        fs::rename(dir.path().join("x"), &path).unwrap();
                    }
                    "in place" => fs::write(&path, "theirs").unwrap(),
                    _ => fs::remove_file(&path).unwrap(),
                }
                true
            });
            assert!(matches!(done, Err(NotPut::Changed)), "{last_moment}: {done:?}");
            let left = fs::read_to_string(&path).ok();
            assert_eq!(left.as_deref(), (last_moment != "removed").then_some("theirs"));
            assert_eq!(files::list(dir.path()).len(), left.iter().len());
        }
        let done = put(&dir.path().join("new.json"), Over::Absent, b"new", &|| {
            fs::write(dir.path().join("new.json"), "theirs").unwrap();
            true
        });
        assert!(matches!(done, Err(NotPut::Changed)));
        assert_eq!(fs::read(dir.path().join("new.json")).unwrap(), b"theirs");
    }

    #[test]
    fn a_temp_file_that_was_taken_away_is_not_renamed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.json");
        fs::write(&path, "old").unwrap();
        let mut staged = stage(&path, None).unwrap();
        staged.write(b"new").unwrap();
        let temp = staged.temp.path.clone();
        fs::remove_file(&temp).unwrap();
        fs::write(&temp, "somebody else's").unwrap();
        assert!(matches!(staged.put(Over::Content(b"old"), &|| true), Err(NotPut::Lost)));
        assert_eq!(fs::read(&path).unwrap(), b"old");
        assert_eq!(fs::read(&temp).unwrap(), b"somebody else's");
    }

    #[test]
    fn what_a_killed_process_left_is_swept_and_what_a_live_one_holds_is_not() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.json");
        let staged = stage(&path, None).unwrap();
        for name in [
            ".store.json.0123456789abcdef.nolapse-tmp",
            ".spared.nolapse-tmp",
            ".store.json.other-tmp",
        ] {
            fs::write(dir.path().join(name), "").unwrap();
        }
        sweep(dir.path(), |path| path.ends_with(".spared.nolapse-tmp"));
        assert_eq!(files::list(dir.path()).len(), 3);
        assert!(staged.temp.is_ours());
        drop(staged);
        assert_eq!(
            files::list(dir.path()),
            [".spared.nolapse-tmp", ".store.json.other-tmp"]
        );
    }

    /// What a peer does just before each step.
    struct Peer<F>(F);

    impl<F: Fn(At, &Path)> step::hold::Hold for Peer<F> {
        fn step(&self, at: At, path: &Path) -> step::hold::Next {
            (self.0)(at, path);
            step::hold::Next::Go
        }
    }

    fn beside<T>(acts: impl Fn(At, &Path) + 'static, work: impl FnOnce() -> T) -> T {
        step::hold::of(std::rc::Rc::new(Peer(acts)), work).expect("nobody kills it")
    }

    #[test]
    fn a_temp_file_is_made_anew_a_few_times_and_no_more() {
        use rustix::fs::{FlockOperation, flock};
        use std::cell::{Cell, RefCell};
        let make = |path: &Path| File::create_new(path).unwrap();
        let take = |path: &Path| {
            let file = File::open(path).unwrap();
            fs::remove_file(path).unwrap();
            file
        };
        let lock = |path: &Path| {
            let file = File::open(path).unwrap();
            flock(&file, FlockOperation::NonBlockingLockExclusive).unwrap();
            file
        };
        type Act = fn(&Path) -> File;
        // when and how often somebody does what, and how many names that takes
        let cases: [(At, usize, Act, Option<io::ErrorKind>, usize); 9] = [
            (At::Change, 0, make, None, 1),
            (At::Change, 1, make, None, 2),
            (At::Change, 8, make, None, 9),
            (At::Change, 20, make, Some(io::ErrorKind::AlreadyExists), 9),
            (At::Lock, 1, take, None, 2),
            (At::Lock, 8, take, None, 9),
            // what is taken away even then is seen before it is renamed
            (At::Lock, 20, take, None, 9),
            (At::Lock, 1, lock, None, 2),
            (At::Lock, 20, lock, None, 9),
        ];
        for (i, (when, often, act, error, wanted)) in cases.into_iter().enumerate() {
            let dir = tempfile::tempdir().unwrap();
            let names = std::rc::Rc::new(Cell::new(0));
            let (counted, held) = (names.clone(), RefCell::new(Vec::new()));
            let acts = move |at, path: &Path| {
                counted.set(counted.get() + usize::from(at == At::Change));
                if at == when && held.borrow().len() < often {
                    held.borrow_mut().push(act(path));
                }
            };
            let made = beside(acts, || Temp::beside(&dir.path().join("store.json")));
            assert_eq!((made.err().map(|e| e.kind()), names.get()), (error, wanted), "case {i}");
        }
        // what another name would not mend is not tried again
        let dir = tempfile::tempdir().unwrap();
        let names = std::rc::Rc::new(Cell::new(0));
        let counted = names.clone();
        let acts = move |_, _: &Path| counted.set(counted.get() + 1);
        let made = beside(acts, || Temp::beside(&dir.path().join("none/store.json")));
        let error = made.err().map(|error| error.kind());
        assert_eq!((error, names.get()), (Some(io::ErrorKind::NotFound), 1));
    }

    #[test]
    fn a_new_file_is_the_directory_owners_where_root_makes_it_and_else_ours() {
        use std::os::unix::fs::chown;
        let ours = (files::our_uid(), rustix::process::getegid().as_raw());
        let own = tempfile::tempdir().unwrap();
        // only root may, and where not all users are known not even root
        let _ = chown(own.path(), Some(1234), Some(1235));
        for dir in [own.path().to_owned(), std::env::temp_dir()] {
            let above = files::stat(&dir).unwrap();
            let staged = stage(&dir.join("nolapse-test"), None).unwrap();
            let made = files::stat(&staged.temp.path).unwrap();
            let wanted = if files::is_root() { (above.uid, above.gid) } else { ours };
            assert_eq!((made.uid, made.gid, made.mode), (wanted.0, wanted.1, 0o600), "{dir:?}");
        }
    }

    #[test]
    fn mode_and_owner_are_kept_and_a_group_where_that_may_be() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.json");
        fs::write(&path, "").unwrap();
        let now = files::stat(&path).unwrap();
        for mode in [0o600, 0o644, 0o400, 0o177, 0o4600, 0o4640] {
            let staged = stage(&path, Some(&Meta { mode, ..now })).unwrap();
            assert_eq!(files::stat(&staged.temp.path).unwrap().mode, mode & 0o777, "{mode:o}");
        }
        let staged = stage(&path, Some(&Meta { gid: 1, ..now })).unwrap();
        assert_eq!(files::stat(&staged.temp.path).unwrap().uid, now.uid);
        if !files::is_root() {
            let refused = stage(&path, Some(&Meta { uid: 0, ..now })).err().map(|e| e.kind());
            assert_eq!(refused, Some(io::ErrorKind::PermissionDenied));
        }
    }

    /// More is asked for than a file system in memory may hold, which that answers without setting anything aside.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_a_full_disk_has_no_room_for_is_refused_beforehand() {
        const TMPFS: i128 = 0x0102_1994;
        const HUGE: u64 = 1 << 50;
        let memory = Path::new("/dev/shm");
        let in_memory = rustix::fs::statfs(memory).is_ok_and(|fs| i128::from(fs.f_type) == TMPFS);
        let size = rustix::fs::statvfs(memory).map_or(0, |fs| fs.f_blocks * fs.f_frsize);
        let limited = in_memory && size > 0 && size < HUGE;
        let Some(dir) = limited.then(|| tempfile::tempdir_in(memory).ok()).flatten() else {
            return;
        };
        let staged = stage(&dir.path().join("store.json"), None).unwrap();
        let refused = staged.reserve(HUGE).err().map(|error| error.kind());
        assert_eq!(refused, Some(io::ErrorKind::StorageFull));
        staged.reserve(1).unwrap();
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn what_fails_just_then_for_another_reason_is_no_change_by_somebody() {
        let outer = tempfile::tempdir().unwrap();
        for taken in ["temp", "directory"] {
            let dir = outer.path().join(taken);
            let target = dir.join("store.json");
            fs::create_dir(&dir).unwrap();
            let (over, wanted) = match taken {
                "temp" => (Over::Absent, io::ErrorKind::NotFound),
                _ => (Over::Content(b"old"), io::ErrorKind::NotADirectory),
            };
            if let Over::Content(old) = over {
                fs::write(&target, old).unwrap();
            }
            let mut staged = stage(&target, None).unwrap();
            staged.write(b"new").unwrap();
            let temp = staged.temp.path.clone();
            let acts = move |at, path: &Path| match taken {
                _ if at != At::Change || path != target => {}
                "temp" => fs::remove_file(&temp).unwrap(),
                _ => {
                    fs::rename(&dir, dir.with_extension("gone")).unwrap();
                    fs::write(&dir, "").unwrap();
                }
            };
            match beside(acts, || staged.put(over, &|| true)) {
                Err(NotPut::Io(error)) => assert_eq!(error.kind(), wanted),
                other => panic!("{taken}: {other:?}"),
            }
        }
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn what_two_others_wrote_at_once_leaves_the_newer_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("store.json");
        fs::write(&path, "old").unwrap();
        let mut staged = stage(&path, None).unwrap();
        staged.write(b"new").unwrap();
        let (there, news) = (path.clone(), std::cell::RefCell::new(vec!["newer", "theirs"]));
        let acts = move |at, at_path: &Path| {
            let first = news.borrow().len() == 2;
            // one just before the exchange, the other just after it
            if at_path == there
                && (first && at == At::Change || !first && at == At::Look)
                && let Some(text) = news.borrow_mut().pop()
            {
                fs::write(there.with_extension("x"), text).unwrap();
                fs::rename(there.with_extension("x"), &there).unwrap();
            }
        };
        let done = beside(acts, || staged.put(Over::Content(b"old"), &|| true));
        assert!(matches!(done, Err(NotPut::Changed)), "{done:?}");
        assert_eq!(fs::read_to_string(&path).unwrap(), "newer");
        assert_eq!(files::list(dir.path()), ["store.json"]);
    }

    #[cfg(any(target_os = "linux", target_os = "android"))]
    #[test]
    fn where_the_system_cannot_exchange_it_renames() {
        use rustix::io::Errno;
        for (errno, wanted) in [
            (Errno::INVAL, true),
            (Errno::NOSYS, true),
            (Errno::OPNOTSUPP, true),
            (Errno::NOENT, false),
            (Errno::EXIST, false),
            (Errno::BUSY, false),
            (Errno::ACCESS, false),
        ] {
            assert_eq!(swap::unknown(&errno.into()), wanted, "{errno:?}");
        }
        // such a name is answered with `EINVAL`, as an exchange is where there is none; the plain rename says it in words of its own
        let dir = tempfile::tempdir().unwrap();
        for over in [Over::Absent, Over::Content(b"")] {
            let mut staged = stage(&dir.path().join("store.json"), None).unwrap();
            staged.target = dir.path().join("a\0b");
            let Err(NotPut::Io(error)) = staged.rename(over) else {
                panic!("{over:?}: renamed");
            };
            assert_eq!(
                (error.raw_os_error(), error.kind()),
                (None, io::ErrorKind::InvalidInput),
                "{over:?}"
            );
        }
    }

    #[test]
    fn a_link_with_a_temp_files_name_is_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("theirs"), "").unwrap();
        let names = [".store.json.0123456789abcdef.nolapse-tmp", "theirs"];
        std::os::unix::fs::symlink(dir.path().join(names[1]), dir.path().join(names[0])).unwrap();
        sweep(dir.path(), |_| false);
        assert_eq!(files::list(dir.path()), names);
    }
}
