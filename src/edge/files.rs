//! Files: bounded reads that say what they saw, and small changes of our own. How a file is replaced: [`super::replace`].

use super::step::{self, At, step};
use crate::edge::host::Clock;
use crate::types::{Meta, Moment};
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, Read, Seek, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

/// The most that is read of any foreign file; the agents' own are a few kB. Larger is garbage, and reported as such.
pub(crate) const LIMIT: u64 = 4 << 20;

/// A file as it was at one moment.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Snapshot {
    /// The content.
    pub(crate) bytes: Vec<u8>,
    /// What `stat` says about the opened file.
    pub(crate) meta: Meta,
}

/// When a file was last changed.
pub(crate) fn modified(meta: &fs::Metadata) -> Moment {
    Moment::at(meta.mtime() * 1000 + meta.mtime_nsec() / 1_000_000)
}

fn meta_of(meta: &fs::Metadata) -> Meta {
    Meta {
        mode: meta.mode() & 0o7777,
        uid: meta.uid(),
        gid: meta.gid(),
        modified: modified(meta),
        size: meta.size(),
        link: false,
    }
}

/// Why a file could not be read.
#[derive(Debug)]
pub(crate) enum ReadError {
    /// It does not exist.
    Absent,
    /// Larger than [`LIMIT`]; its size in bytes.
    TooLarge(u64),
    /// Not a regular file.
    NotAFile,
    /// It, or the directory it would be in, belongs to this other user, and tokens of two users are never mixed.
    Theirs(u32),
    /// A link, where none is followed.
    Link,
    /// The system refused.
    Io(io::Error),
}

impl std::fmt::Display for ReadError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Absent => f.write_str("no such file"),
            Self::TooLarge(size) => write!(f, "{size} bytes, more than the {LIMIT} that are read"),
            Self::NotAFile => f.write_str("not a regular file"),
            Self::Theirs(uid) => write!(f, "it belongs to user {uid}, and tokens of two users are never mixed"),
            Self::Link => f.write_str("a link, which is not followed here"),
            Self::Io(error) => f.write_str(&io_words(error)),
        }
    }
}

/// An I/O error in a few words, without the number.
pub(crate) fn io_words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "no such file".into(),
        io::ErrorKind::PermissionDenied => "permission denied".into(),
        io::ErrorKind::StorageFull => "no space left on the device".into(),
        io::ErrorKind::ReadOnlyFilesystem => "read-only file system".into(),
        _ => {
            let text = error.to_string();
            text.split(" (os error").next().unwrap_or(&text).to_lowercase()
        }
    }
}

/// Reads a regular file of at most [`LIMIT`] bytes, through links; never blocks on a FIFO or device.
pub(crate) fn read(path: &Path) -> Result<Snapshot, ReadError> {
    read_where(path, Whose::Anyone, LIMIT)
}

/// [`read`] of a file that holds tokens, or is to be replaced by one that does: that of a third user (a link to it, a directory of
/// theirs) is not read, however open it is.
///
/// # Errors
/// [`ReadError::Theirs`] also where there is no file, and the directory that it would be made in is another user's.
pub(crate) fn read_unmixed(path: &Path) -> Result<Snapshot, ReadError> {
    match read_where(path, Whose::NotTheirs, LIMIT) {
        Err(ReadError::Absent) => match path.ancestors().skip(1).find_map(|dir| fs::metadata(dir).ok()) {
            Some(above) if super::whose::is_third(above.uid()) => Err(ReadError::Theirs(above.uid())),
            _ => Err(ReadError::Absent),
        },
        other => other,
    }
}

/// [`read`] of a file in our own directories: no link is followed, and it must be this user's.
///
/// # Errors
/// See [`ReadError`].
pub(crate) fn read_ours(path: &Path) -> Result<Snapshot, ReadError> {
    read_where(path, Whose::Ours, LIMIT)
}

/// What [`read_ours`] would read, to be read in pieces; of what is longer than this many bytes, an error.
///
/// # Errors
/// See [`ReadError`].
pub(crate) fn open_ours_most(path: &Path, most: u64) -> Result<impl io::Read + io::Seek, ReadError> {
    open_where(path, Whose::Ours, most).map(|opened| io::BufReader::new(opened.file))
}

/// Whose file is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whose {
    Anyone,
    NotTheirs,
    Ours,
}

/// A file that may be read.
struct Opened {
    file: File,
    meta: fs::Metadata,
    /// What was opened is a link.
    link: bool,
}

fn open_where(path: &Path, whose: Whose, most: u64) -> Result<Opened, ReadError> {
    use rustix::fs::OFlags;
    step(At::Look, path);
    let open = |flags: OFlags| {
        OpenOptions::new()
            .read(true)
            .custom_flags((OFlags::NONBLOCK | flags).bits() as i32)
            .open(path)
    };
    let mut link = false;
    let opened = open(OFlags::NOFOLLOW).or_else(|error| {
        link = error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error());
        match link && whose != Whose::Ours {
            true => open(OFlags::empty()),
            false => Err(error),
        }
    });
    let file = match opened {
        Ok(file) => file,
        Err(error) => {
            return Err(match error.raw_os_error() {
                // ENOTDIR: a parent is a file, so there is no such file either
                Some(code) if code == rustix::io::Errno::NOTDIR.raw_os_error() => ReadError::Absent,
                _ if error.kind() == io::ErrorKind::NotFound => ReadError::Absent,
                _ if link && whose == Whose::Ours => ReadError::Link,
                _ => ReadError::Io(error),
            });
        }
    };
    let meta = file.metadata().map_err(ReadError::Io)?;
    if !meta.is_file() {
        return Err(ReadError::NotAFile);
    }
    let theirs = match whose {
        Whose::Anyone => false,
        Whose::NotTheirs => super::whose::is_third(meta.uid()),
        Whose::Ours => meta.uid() != our_uid(),
    };
    if theirs {
        return Err(ReadError::Theirs(meta.uid()));
    }
    if meta.size() > most {
        return Err(ReadError::TooLarge(meta.size()));
    }
    Ok(Opened { file, meta, link })
}

fn read_where(path: &Path, whose: Whose, most: u64) -> Result<Snapshot, ReadError> {
    let Opened { mut file, meta, link } = open_where(path, whose, most)?;
    let mut bytes = vec![0; meta.size() as usize + 1];
    let mut filled = 0;
    loop {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => break,
            Ok(n) => filled += n,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(ReadError::Io(error)),
        }
        // all of it was read and no further byte came: this is its end
        if filled >= meta.size() as usize && filled < bytes.len() || filled > most as usize {
            break;
        }
        if filled == bytes.len() {
            // it grew since it was looked at
            bytes.resize((bytes.len() * 2).min(most as usize + 1), 0);
        }
    }
    bytes.truncate(filled);
    if bytes.len() as u64 > most {
        return Err(ReadError::TooLarge(bytes.len() as u64));
    }
    Ok(Snapshot {
        bytes,
        meta: Meta { link, ..meta_of(&meta) },
    })
}

/// Compares what is written to it with what a file of our own holds, in pieces.
#[derive(Debug)]
pub(crate) struct Compared {
    file: Option<io::BufReader<File>>,
    /// How many bytes were written.
    pub(crate) written: u64,
}

impl Compared {
    /// With this file; one that cannot be read is not the same.
    pub(crate) fn with(path: &Path) -> Self {
        let file = open_ours(path, OpenOptions::new().read(true));
        Self {
            file: file.ok().map(io::BufReader::new),
            written: 0,
        }
    }

    /// Whether all that was written is all that it holds.
    pub(crate) fn same(self) -> bool {
        self.file
            .is_some_and(|mut file| file.fill_buf().is_ok_and(<[u8]>::is_empty))
    }
}

impl Write for Compared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut rest = bytes;
        while let Some(file) = self.file.as_mut().filter(|_| !rest.is_empty()) {
            let there = file.fill_buf().unwrap_or_default();
            let most = there.len().min(rest.len());
            if most == 0 || there[..most] != rest[..most] {
                self.file = None;
                break;
            }
            file.consume(most);
            rest = &rest[most..];
        }
        self.written += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The end of a file.
#[derive(Debug)]
pub(crate) struct Tail {
    /// Its last bytes.
    pub(crate) bytes: Vec<u8>,
    /// Whether that is all of it.
    pub(crate) whole: bool,
}

/// Reads the last `most` bytes of a regular file of our own; follows no link and never blocks on a FIFO or device.
///
/// # Errors
/// See [`ReadError`]; never [`ReadError::TooLarge`].
pub(crate) fn read_tail(path: &Path, most: u64) -> Result<Tail, ReadError> {
    let open = open_ours(path, OpenOptions::new().read(true));
    let mut file = open.map_err(|error| match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => ReadError::Absent,
        _ => ReadError::Io(error),
    })?;
    let meta = file.metadata().map_err(ReadError::Io)?;
    let skipped = meta.size().saturating_sub(most);
    file.seek(io::SeekFrom::Start(skipped)).map_err(ReadError::Io)?;
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).map_err(ReadError::Io)?;
    Ok(Tail {
        bytes,
        whole: skipped == 0,
    })
}

/// `read_unmixed`, and again while the content is not `whole` and was written just now: writers that truncate in place (Claude
/// Code up to 2.1.112, Clawdbot) leave a torn file for a moment. A file that has been still for two seconds is read once.
pub(crate) fn read_settled(path: &Path, whole: impl Fn(&[u8]) -> bool) -> Result<Snapshot, ReadError> {
    let mut tries = 0;
    loop {
        let snapshot = read_unmixed(path)?;
        if tries == 6 || !just_written(snapshot.meta.modified) || whole(&snapshot.bytes) {
            return Ok(snapshot);
        }
        tries += 1;
        step::pause_thread(std::time::Duration::from_millis(40));
    }
}

fn just_written(modified: Moment) -> bool {
    (Clock::System.now() - modified).abs() < 2_000
}

/// `stat` through links; `None` where there is nothing or it cannot be seen.
pub(crate) fn stat(path: &Path) -> Option<Meta> {
    step(At::Look, path);
    fs::metadata(path).ok().map(|meta| meta_of(&meta))
}

/// The owner of what is at `path` (through links), where that is a third user: its tokens are neither read nor replaced.
pub(crate) fn third_owner(path: &Path) -> Option<u32> {
    let uid = fs::metadata(path).ok()?.uid();
    super::whose::is_third(uid).then_some(uid)
}

/// Whether a file is this user's and its mode does not let this user read it.
pub(crate) fn owner_kept_out(path: &Path) -> bool {
    fs::metadata(path)
        .is_ok_and(|meta| meta.is_file() && meta.uid() == our_uid() && !is_root() && meta.mode() & 0o400 == 0)
}

/// Whether `path` is a directory (through links).
pub(crate) fn is_dir(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_dir())
}

/// Whether `path` is a regular file (through links).
pub(crate) fn is_file(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file())
}

/// Whether anything at all is at `path`, a dangling link included.
pub(crate) fn exists(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok()
}

/// Whether `path` itself is a symbolic link.
pub(crate) fn is_symlink(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|meta| meta.file_type().is_symlink())
}

/// What the link at `path` points to, from its own directory on; `None` where it is no link.
pub(crate) fn link_target(path: &Path) -> Option<PathBuf> {
    let target = fs::read_link(path).ok()?;
    Some(path.parent().unwrap_or(Path::new("/")).join(target))
}

/// Whether files can be made in `dir`, as far as the system tells without one being made.
///
/// # Errors
/// Why not.
pub(crate) fn can_write(dir: &Path) -> io::Result<()> {
    use rustix::fs::{Access, access};
    Ok(access(dir, Access::WRITE_OK | Access::EXEC_OK)?)
}

/// The room that is left for this user on the file system of `path`, in bytes; `None` where that is not told.
pub(crate) fn room(path: &Path) -> Option<u64> {
    let stat = rustix::fs::statvfs(path).ok()?;
    // some file systems count no blocks at all
    (stat.f_blocks > 0).then(|| stat.f_bavail.saturating_mul(stat.f_frsize))
}

/// Takes permissions away from a file or directory of our own: to `mode`, and never more than it has. Links are followed to
/// the end first; what is opened then is what is changed, and only if it is ours and has no second name elsewhere.
///
/// # Errors
/// `PermissionDenied` where it is another user's, a device, or linked from elsewhere; otherwise what the system refuses.
pub(crate) fn restrict(path: &Path, mode: u32) -> io::Result<()> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOFOLLOW;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags.bits() as i32)
        .open(fs::canonicalize(path)?)?;
    let meta = file.metadata()?;
    let plain = meta.is_dir() || meta.is_file() && meta.nlink() == 1;
    if meta.uid() != our_uid() || !plain {
        return Err(io::ErrorKind::PermissionDenied.into());
    }
    file.set_permissions(fs::Permissions::from_mode(meta.mode() & 0o7777 & mode))
}

/// When what is at `path` was made, in ms with their fraction, spelled as Node's `birthtimeMs`; `None` where that is not told.
pub(crate) fn born(path: &Path) -> Option<f64> {
    let born = fs::symlink_metadata(path).ok()?.created().ok()?;
    let since = born.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(since.as_secs() as f64 * 1000.0 + f64::from(since.subsec_nanos()) / 1e6)
}

/// What tells one existing place from another, whatever names lead to it: device and inode.
pub(crate) fn place(path: &Path) -> Option<(u64, u64)> {
    fs::metadata(path).ok().map(|meta| (meta.dev(), meta.ino()))
}

/// The real path, all links followed; `None` where it does not lead anywhere.
pub(crate) fn real(path: &Path) -> Option<PathBuf> {
    fs::canonicalize(path).ok()
}

/// The real path, or the path itself where it leads nowhere.
pub(crate) fn real_or_same(path: &Path) -> PathBuf {
    real(path).unwrap_or_else(|| path.to_owned())
}

/// The real path of a file that may not exist yet: its parent's real path with its name.
pub(crate) fn real_target(path: &Path) -> io::Result<PathBuf> {
    match fs::canonicalize(path) {
        Ok(real) => Ok(real),
        Err(error) if error.kind() == io::ErrorKind::NotFound && !is_symlink(path) => {
            let parent = path.parent().unwrap_or(Path::new("/"));
            Ok(fs::canonicalize(parent)?.join(path.file_name().unwrap_or_default()))
        }
        Err(error) => Err(error),
    }
}

/// The path of a file of our own in its directory's real path; the file itself may not be a link.
///
/// # Errors
/// It is a link, or what the system refuses.
pub(crate) fn own_target(path: &Path) -> io::Result<PathBuf> {
    if is_symlink(path) {
        return Err(no_link());
    }
    let parent = path.parent().unwrap_or(Path::new("/"));
    Ok(fs::canonicalize(parent)?.join(path.file_name().unwrap_or_default()))
}

fn no_link() -> io::Error {
    io::Error::other("it is a link, which is not followed here")
}

/// Opens a file of our own, 0600 where it is made: no link is followed, nothing is waited for, and what was opened is a regular
/// file of this user's. All else is decided by what was opened, never again by the path.
///
/// # Errors
/// In words where it is something else; otherwise what the system refuses.
pub(crate) fn open_ours(path: &Path, options: &mut OpenOptions) -> io::Result<File> {
    use rustix::fs::OFlags;
    let opened = options
        .mode(0o600)
        .custom_flags((OFlags::NOFOLLOW | OFlags::NONBLOCK).bits() as i32)
        .open(path);
    let file = opened.map_err(|error| match error.raw_os_error() {
        Some(code) if code == rustix::io::Errno::LOOP.raw_os_error() => no_link(),
        _ => error,
    })?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(io::Error::other("not a regular file"));
    }
    if meta.uid() != our_uid() {
        return Err(io::Error::other(format!("it belongs to user {}", meta.uid())));
    }
    Ok(file)
}

/// The names in a directory, sorted; empty where it cannot be read.
pub(crate) fn list(dir: &Path) -> Vec<String> {
    let Ok(entries) = fs::read_dir(dir) else {
        return Vec::new();
    };
    let mut names: Vec<String> = entries
        .flatten()
        .filter_map(|e| e.file_name().into_string().ok())
        .collect();
    names.sort();
    names
}

/// Makes `dir` and what is missing above it, each 0700 as the agents do. Nothing is given away: whoever owns the directory above
/// could put a link in its place first (root in another user's home has become that user before).
pub(crate) fn make_dirs(dir: &Path) -> io::Result<()> {
    if is_dir(dir) {
        return Ok(());
    }
    step(At::Change, dir);
    if let Some(parent) = dir.parent() {
        make_dirs(parent)?;
    }
    match fs::DirBuilder::new().mode(0o700).create(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && is_dir(dir) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether this process runs as root, which must never take a user's file.
pub(crate) fn is_root() -> bool {
    our_uid() == 0
}

/// This process's user.
pub(crate) fn our_uid() -> u32 {
    rustix::process::geteuid().as_raw()
}

/// Whether files made by this process would keep the owner `uid`: it is ours, or we are root and can give it away.
pub(crate) fn can_keep_owner(uid: u32) -> bool {
    is_root() || our_uid() == uid
}

/// The file that [`publish`] writes before it is renamed: one fixed name per target, which the writers lock among themselves.
fn temp_path(target: &Path) -> PathBuf {
    let mut name = std::ffi::OsString::from(".");
    name.push(target.file_name().unwrap_or_default());
    name.push(".nolapse-tmp");
    target.with_file_name(name)
}

/// Replaces `path` by `bytes` in one step and with this mode, whatever the umask; a link is replaced, not followed.
/// For what other programs read and the next pass writes again: not durable. The caller holds no lock of its own: the temp
/// file itself is locked, so that two writers do not mix and the next one takes over what a killed one left.
///
/// # Errors
/// What the system refuses; `InvalidInput` where something else than a file is there, `WouldBlock` where another process is
/// writing it all the time.
pub(crate) fn publish(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    if fs::symlink_metadata(path).is_ok_and(|meta| !meta.is_file() && !meta.is_symlink()) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "not a regular file"));
    }
    let temp = temp_path(path);
    let mut tries = 0;
    let file = loop {
        match lock_temp(&temp)? {
            Some(file) => break file,
            None if tries == 10 => return Err(io::ErrorKind::WouldBlock.into()),
            None => {
                tries += 1;
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        }
    };
    let written = file
        .set_len(0)
        .and_then(|()| (&file).write_all(bytes))
        .and_then(|()| file.set_permissions(fs::Permissions::from_mode(mode)))
        .and_then(|()| fs::rename(&temp, path));
    if written.is_err() {
        let _ = fs::remove_file(&temp);
    }
    written
}

/// Opens a temp file and locks it; `None` where another process has it, or just put it in its target's place.
fn lock_temp(temp: &Path) -> io::Result<Option<File>> {
    let file = open_ours(temp, OpenOptions::new().write(true).create(true).truncate(false))?;
    match rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => {}
        Err(rustix::io::Errno::WOULDBLOCK) => return Ok(None),
        Err(error) => return Err(error.into()),
    }
    let (ours, there) = (file.metadata()?, fs::symlink_metadata(temp));
    let same = there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino()));
    Ok(same.then_some(file))
}

/// Makes a rename in this file's directory durable. Some file systems refuse fsync on directories; that is no error.
///
/// # Errors
/// What the system refuses.
pub(crate) fn sync_dir(file: &Path) -> io::Result<()> {
    let dir = file.parent().unwrap_or(Path::new("/"));
    match File::open(dir)?.sync_all() {
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => Ok(()),
        other => other,
    }
}

/// Creates `path` with `bytes` (0600) unless something is there already.
///
/// # Errors
/// `AlreadyExists` where something is, otherwise what the system refuses.
pub(crate) fn create_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    step(At::Change, path);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    let written = file.write_all(bytes).and_then(|()| file.sync_all());
    // half a file may say what is not so
    if written.is_err() {
        let _ = fs::remove_file(path);
    }
    written
}

/// Appends to a file of ours (0600, made if missing) in one write, so that concurrent lines do not mix.
///
/// # Errors
/// See `open_ours`.
pub(crate) fn append(path: &Path, bytes: &[u8]) -> io::Result<()> {
    step(At::Change, path);
    open_ours(path, OpenOptions::new().append(true).create(true))?.write_all(bytes)
}

/// Makes a new directory of our own below `parent`, 0700, with a name that nobody else has.
///
/// # Errors
/// What the system refuses.
pub(crate) fn make_own_dir(parent: &Path, prefix: &str) -> io::Result<PathBuf> {
    for n in 0.. {
        let dir = parent.join(format!("{prefix}-{}-{n}", std::process::id()));
        match fs::DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists && n < 100 => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::AlreadyExists.into())
}

/// Removes a directory that [`make_own_dir`] made, with all that is in it.
///
/// # Errors
/// What the system refuses.
pub(crate) fn remove_own_dir(dir: &Path) -> io::Result<()> {
    fs::remove_dir_all(dir)
}

/// Removes a directory that is empty.
///
/// # Errors
/// It is not empty, or what else the system refuses.
pub(crate) fn remove_empty_dir(dir: &Path) -> io::Result<()> {
    fs::remove_dir(dir)
}

/// Renames within our own directories.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    step(At::Change, to);
    fs::rename(from, to)
}

/// Whether `path` is an executable file (through links).
pub(crate) fn is_executable(path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
}

/// Removes a file; absent is fine.
pub(crate) fn remove(path: &Path) -> io::Result<()> {
    step(At::Change, path);
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_only_taken_away_and_only_from_what_is_ours_alone() {
        let dir = tempfile::tempdir().unwrap();
        let (file, link) = (dir.path().join("f"), dir.path().join("l"));
        fs::write(&file, "x").unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        for (before, after) in [(0o666, 0o600), (0o444, 0o400)] {
            fs::set_permissions(&file, fs::Permissions::from_mode(before)).unwrap();
            restrict(&link, 0o600).unwrap();
            assert_eq!(stat(&file).unwrap().mode, after);
        }
        assert_eq!(link_target(&link), Some(file.clone()));
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        fs::hard_link(&file, dir.path().join("second")).unwrap();
        assert!(restrict(&file, 0o600).is_err());
        assert_eq!(stat(&file).unwrap().mode, 0o644);
        assert!(can_write(dir.path()).is_ok() && can_write(&dir.path().join("none")).is_err());
        assert!(room(dir.path()).is_some());
    }

    #[test]
    fn what_is_published_has_its_mode_and_follows_no_link() {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("n.prom"), dir.path().join("other"));
        fs::write(&other, "mine").unwrap();
        std::os::unix::fs::symlink(&other, &path).unwrap();
        fs::write(temp_path(&path), "left by a crash, and longer than what comes").unwrap();
        for text in [&b"one"[..], b"two"] {
            publish(&path, text, 0o644).unwrap();
            let read = read(&path).unwrap();
            assert_eq!((read.bytes.as_slice(), read.meta.mode), (text, 0o644));
        }
        assert_eq!(fs::read(&other).unwrap(), b"mine");
        assert_eq!(list(dir.path()), ["n.prom", "other"]);
        assert_eq!(
            publish(dir.path(), b"x", 0o644).unwrap_err().kind(),
            io::ErrorKind::InvalidInput
        );
        assert!(publish(&dir.path().join("none/n.prom"), b"x", 0o644).is_err());
        assert_eq!(list(dir.path()), ["n.prom", "other"]);
        let held = lock_temp(&temp_path(&path)).unwrap().unwrap();
        assert_eq!(
            publish(&path, b"three", 0o644).unwrap_err().kind(),
            io::ErrorKind::WouldBlock
        );
        drop(held);
        publish(&path, b"three", 0o644).unwrap();
        assert_eq!(list(dir.path()), ["n.prom", "other"]);
    }

    #[test]
    fn what_many_publish_at_once_is_always_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("n.prom");
        publish(&path, b"begin", 0o644).unwrap();
        std::thread::scope(|scope| {
            for letter in [b'a', b'b', b'c'] {
                let path = &path;
                scope.spawn(move || {
                    for length in 1..200 {
                        // one that is crowded out all the time says so
                        let _ = publish(path, &vec![letter; length * 50], 0o644);
                        let read = fs::read(path).unwrap();
                        assert!(
                            read == b"begin"
                                || read.iter().all(|byte| *byte == read[0]) && read.len().is_multiple_of(50)
                        );
                    }
                });
            }
        });
        assert_eq!(list(dir.path()), ["n.prom"]);
    }

    #[test]
    fn reads_are_bounded_and_say_what_they_saw() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("big");
        fs::write(&path, vec![b'x'; LIMIT as usize + 1]).unwrap();
        assert!(matches!(read(&path), Err(ReadError::TooLarge(size)) if size == LIMIT + 1));
        assert!(matches!(read(dir.path()), Err(ReadError::NotAFile)));
        assert!(matches!(read(&dir.path().join("none")), Err(ReadError::Absent)));
        assert!(matches!(read(&path.join("below")), Err(ReadError::Absent)));
        fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &path,
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR | rustix::fs::Mode::WUSR,
            0,
        )
        .unwrap();
        assert!(matches!(read(&path), Err(ReadError::NotAFile)));
    }
}
