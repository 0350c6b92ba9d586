//! A file that will be replaced, examined without touching it: what is there, how it is mounted, how it is marked. It is
//! asked before a single-use token is spent by anybody, ourselves or a program that we start.

use super::files;
use crate::rules::target::{Access, Kind, Target, Unfit, judge};
use rustix::io::Errno;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Proves that `path` can be replaced: the file that it leads to, and, where `path` is a link, the link itself as well (Claude Code
/// replaces the link). Where its directory does not exist there is nothing to prove.
///
/// # Errors
/// Why it cannot be replaced.
pub(crate) fn prove(path: &Path) -> Result<(), Unfit> {
    let Ok(real) = files::real_target(path) else {
        return Ok(());
    };
    judge(&look(&real))?;
    match (path.parent(), real.parent()) {
        (Some(here), Some(there)) if files::is_symlink(path) && files::place(here) != files::place(there) => {
            judge(&Target {
                kind: Kind::File,
                file: Access::Writable,
                dir: access(here, None),
            })
        }
        _ => Ok(()),
    }
}

/// What is at a real path.
fn look(real: &Path) -> Target {
    let above = real.parent().unwrap_or(Path::new("/"));
    let meta = fs::symlink_metadata(real).ok();
    let kind = match &meta {
        None => Kind::Absent,
        Some(meta) if meta.is_dir() => Kind::Directory,
        Some(meta) if !meta.is_file() => Kind::Special,
        Some(_) if is_mount_point(real) => Kind::MountedFile,
        Some(_) => Kind::File,
    };
    let dir = match sticky_and_anothers(above, meta.as_ref(), files::our_uid()) {
        true => Access::Denied,
        false => access(above, None),
    };
    let file = meta.as_ref().map_or(Access::Writable, |meta| access(real, Some(meta)));
    Target { kind, file, dir }
}

/// In a sticky directory only the owners of file and directory may replace the file.
fn sticky_and_anothers(dir: &Path, file: Option<&fs::Metadata>, us: u32) -> bool {
    match (fs::metadata(dir), file) {
        (Ok(dir), Some(file)) => dir.mode() & 0o1000 != 0 && us != 0 && ![dir.uid(), file.uid()].contains(&us),
        _ => false,
    }
}

/// Asks for the mount of the path itself, not of its directory's: one file can be mounted alone.
fn access(path: &Path, file: Option<&fs::Metadata>) -> Access {
    use rustix::fs::{Access as Ask, StatVfsMountFlags, access as ask, statvfs};
    let ask_for = match file {
        Some(_) => Ask::WRITE_OK,
        None => Ask::WRITE_OK | Ask::EXEC_OK,
    };
    if statvfs(path).is_ok_and(|fs| fs.f_flag.contains(StatVfsMountFlags::RDONLY)) {
        return Access::ReadOnly;
    }
    if let Some(marked) = marks(path) {
        return marked;
    }
    match ask(path, ask_for) {
        Ok(()) => Access::Writable,
        Err(Errno::ROFS) => Access::ReadOnly,
        // what Linux says of an immutable file, to root as well, whether or not the file system shows its marks
        Err(Errno::PERM) => Access::Immutable,
        Err(_) if fs::metadata(path).is_ok_and(|meta| meta.uid() != files::our_uid()) => Access::NotOurs,
        Err(_) => Access::Denied,
    }
}

#[cfg(target_os = "linux")]
fn marks(path: &Path) -> Option<Access> {
    use rustix::fs::StatxAttributes;
    let marked = attributes(path)?;
    if marked.contains(StatxAttributes::IMMUTABLE) {
        return Some(Access::Immutable);
    }
    marked.contains(StatxAttributes::APPEND).then_some(Access::AppendOnly)
}

#[cfg(target_os = "linux")]
fn is_mount_point(path: &Path) -> bool {
    attributes(path).is_some_and(|marked| marked.contains(rustix::fs::StatxAttributes::MOUNT_ROOT))
}

/// Not asked on Android, where older versions end a program for the call.
#[cfg(target_os = "linux")]
fn attributes(path: &Path) -> Option<rustix::fs::StatxAttributes> {
    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};
    Some(
        statx(CWD, path, AtFlags::empty(), StatxFlags::TYPE)
            .ok()?
            .stx_attributes,
    )
}

#[cfg(target_os = "macos")]
fn marks(path: &Path) -> Option<Access> {
    use std::os::macos::fs::MetadataExt;
    // `UF_IMMUTABLE`, `SF_IMMUTABLE`, `UF_APPEND`, `SF_APPEND` of chflags(2)
    let flags = fs::metadata(path).ok()?.st_flags();
    match flags {
        _ if flags & 0x0002_0002 != 0 => Some(Access::Immutable),
        _ if flags & 0x0004_0004 != 0 => Some(Access::AppendOnly),
        _ => None,
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn marks(_: &Path) -> Option<Access> {
    None
}

/// A mount of the same file system cannot be told here; one of another can.
#[cfg(not(target_os = "linux"))]
fn is_mount_point(path: &Path) -> bool {
    let device = |path: &Path| fs::metadata(path).ok().map(|meta| meta.dev());
    path.parent().is_some_and(|dir| device(dir) != device(path))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn files_and_what_is_in_their_way_are_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let at = |name: &str| dir.path().join(name);
        fs::write(at("file"), "x").unwrap();
        fs::create_dir(at("dir")).unwrap();
        rustix::fs::mkfifoat(rustix::fs::CWD, at("fifo"), rustix::fs::Mode::RWXU).unwrap();
        symlink(at("file"), at("to file")).unwrap();
        symlink(at("dir"), at("to dir")).unwrap();
        symlink(at("nowhere/x"), at("dangling")).unwrap();
        for (name, want) in [
            ("file", Ok(())),
            ("none", Ok(())),
            ("no directory/none", Ok(())),
            ("dir", Err(Unfit::Directory)),
            ("fifo", Err(Unfit::Special)),
            ("to file", Ok(())),
            ("to dir", Err(Unfit::Directory)),
            ("dangling", Ok(())),
        ] {
            assert_eq!(prove(&at(name)), want, "{name}");
        }
    }

    #[test]
    fn in_a_sticky_directory_only_an_owner_replaces() {
        use std::os::unix::fs::PermissionsExt;
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        fs::write(&path, "x").unwrap();
        let file = fs::metadata(&path).unwrap();
        let (owner, other) = (file.uid(), file.uid() + 7);
        for (mode, us, denied) in [
            (0o777, other, false),
            (0o1777, other, true),
            (0o1777, owner, false),
            (0o1777, 0, false),
        ] {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(
                sticky_and_anothers(dir.path(), Some(&file), us),
                denied,
                "{mode:o} {us}"
            );
            assert!(!sticky_and_anothers(dir.path(), None, us));
        }
        // whose the directory is does as well
        if std::os::unix::fs::chown(&path, Some(owner + 8), None).is_ok() {
            let file = fs::metadata(&path).unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o1777)).unwrap();
            for (us, denied) in [(owner, false), (owner + 8, false), (other, true)] {
                assert_eq!(sticky_and_anothers(dir.path(), Some(&file), us), denied, "{us}");
            }
        }
    }

    /// `/proc/self/mounts` is a file of a file system that takes no new ones, whoever asks.
    #[cfg(target_os = "linux")]
    #[test]
    fn what_the_system_keeps_for_itself_is_not_fit() {
        assert!(prove(Path::new("/proc/self/status")).is_err());
    }

    /// `/proc/self` takes no new files, whoever asks, and `/proc` is mounted; what a link leads to may be fit, and its own place not.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_place_of_a_link_and_a_mount_are_told() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        fs::write(&file, "x").unwrap();
        let link = Path::new("/proc/self/exe");
        if prove(&fs::read_link(link).unwrap()).is_ok() {
            assert!(prove(link).is_err());
        }
        if !files::is_root() {
            assert_eq!(access(Path::new("/proc"), None), Access::NotOurs);
        }
        assert!(is_mount_point(Path::new("/proc")) && !is_mount_point(&file));
        assert_eq!(look(&file).kind, Kind::File);
        // containers have it mounted by itself
        let hosts = Path::new("/etc/hosts");
        if is_mount_point(hosts) {
            assert_eq!(look(hosts).kind, Kind::MountedFile);
        }
    }

    /// Root alone can mark a file, and not everywhere.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_mark_is_seen() {
        use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("file");
        let file = fs::File::create(&path).unwrap();
        for (mark, wanted) in [
            (IFlags::IMMUTABLE, Access::Immutable),
            (IFlags::APPEND, Access::AppendOnly),
        ] {
            let Ok(flags) = ioctl_getflags(&file) else { return };
            if ioctl_setflags(&file, flags | mark).is_err() {
                return;
            }
            let seen = marks(&path);
            ioctl_setflags(&file, flags).unwrap();
            assert_eq!((seen, marks(&path)), (Some(wanted), None));
        }
    }
}
