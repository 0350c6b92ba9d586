//! Whose process this is. Root in another user's home becomes that user before anything of the home is opened: whoever owns a
//! directory can put a link or another file in the place of each name in it, at any moment, so no check made as root holds.
//! Made by hand from `nix`'s safe wrappers, which reach every thread of the process (rustix's set the calling thread alone).

use super::whose::HOME_OWNER;
use crate::edge::files;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::{fs, io};

/// The user that this process became.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Became {
    /// Its number.
    pub(crate) uid: u32,
    /// Its name, where the system knows one.
    pub(crate) name: Option<String>,
}

/// Why root may not work in a home.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It belongs to this user, whom this process could not become.
    NotBecome(u32, io::Error),
    /// It is root's, but this directory or link on the way to it can be changed by others.
    OpenAbove(PathBuf),
}

/// Where this process is root's and `home` another user's: becomes that user for good, with that user's groups and no other.
/// A home that does not exist yet belongs to the owner of the directory that it would be made in. Nothing of the home is opened.
///
/// # Errors
/// See [`Refused`]; the process must then end.
pub(crate) fn settle(home: &Path) -> Result<Option<Became>, Refused> {
    let owner = existing(home).map(|meta| meta.uid());
    if let Some(owner) = owner {
        let _ = HOME_OWNER.set(owner);
    }
    if !rustix::process::geteuid().is_root() {
        return Ok(None);
    }
    match owner {
        Some(0) | None => match open_above(home) {
            Some(open) => Err(Refused::OpenAbove(open)),
            None => Ok(None),
        },
        Some(uid) => {
            let gid = existing(home).map_or(uid, |meta| meta.gid());
            let name = become_user(uid, gid).map_err(|error| Refused::NotBecome(uid, error))?;
            Ok(Some(Became { uid, name }))
        }
    }
}

/// Where `path`, which lies outside the home (`--state-dir`, `--config`), is not root's alone and this process is: the step on the
/// way to it that others can change. `None` for everybody but root.
pub(crate) fn not_roots_alone(path: &Path) -> Option<PathBuf> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    match existing(path).map(|meta| meta.uid()) {
        Some(0) | None => open_above(path),
        Some(_) => Some(path.to_owned()),
    }
}

/// `path`, links followed, or the next directory above it that exists.
fn existing(path: &Path) -> Option<fs::Metadata> {
    path.ancestors().find_map(|path| fs::metadata(path).ok())
}

/// The first step on the way to `home` that somebody else than root could turn elsewhere: a link or directory of another user, or a
/// directory that others can write without the sticky bit. In a sticky one (`/tmp`) an entry of root's stays root's.
fn open_above(home: &Path) -> Option<PathBuf> {
    let real = files::real(home).filter(|real| real != home);
    let steps = home
        .ancestors()
        .skip(1)
        .chain(real.iter().flat_map(|real| real.ancestors().skip(1)));
    let open = |step: &Path| {
        fs::symlink_metadata(step).is_ok_and(|meta| {
            meta.uid() != 0 || meta.is_dir() && meta.mode() & 0o022 != 0 && meta.mode() & 0o1000 == 0 && writable(&meta)
        })
    };
    let link = fs::symlink_metadata(home).is_ok_and(|meta| meta.uid() != 0);
    match link {
        true => Some(home.to_owned()),
        false => steps.map(Path::to_owned).find(|step| open(step)),
    }
}

/// Whether others than root can write: root's own group holds nobody else.
fn writable(meta: &fs::Metadata) -> bool {
    meta.mode() & 0o002 != 0 || meta.gid() != 0
}

/// For good: real, effective and saved ids, so that there is no way back.
#[cfg(any(target_os = "linux", target_os = "android"))]
fn become_user(uid: u32, home_gid: u32) -> io::Result<Option<String>> {
    use nix::unistd::{Gid, Uid, User, getgid, getuid, initgroups, setgid, setgroups, setuid};
    let known = match User::from_uid(Uid::from_raw(uid)) {
        // musl says so where there is no `/etc/passwd` (getpwuid_r(3): a user that is not found may be an error)
        Err(nix::errno::Errno::ENOENT) => None,
        known => known?,
    };
    match &known {
        Some(user) => {
            let name = std::ffi::CString::new(user.name.as_str())?;
            initgroups(&name, user.gid)?;
            setgid(user.gid)?;
        }
        // a user without a name, as in containers: no group of root's in any case
        None => {
            let gid = Gid::from_raw(if home_gid == 0 { uid } else { home_gid });
            setgroups(&[])?;
            setgid(gid)?;
        }
    }
    setuid(Uid::from_raw(uid))?;
    let back = setuid(Uid::from_raw(0)).is_ok();
    if back || getuid().as_raw() != uid || Uid::effective().as_raw() != uid || getgid().as_raw() == 0 && known.is_none()
    {
        return Err(io::Error::other("the change of user did not take"));
    }
    Ok(known.map(|user| user.name))
}

/// macOS keeps a user's groups elsewhere (opendirectoryd), and no safe call gives up root's there.
#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn become_user(_: u32, _: u32) -> io::Result<Option<String>> {
    Err(io::ErrorKind::Unsupported.into())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};

    /// Only root can make such directories, and nothing is asked of anybody else.
    #[test]
    fn a_way_to_roots_home_that_others_can_turn_is_open() {
        let base = tempfile::tempdir().unwrap();
        let (above, home) = (base.path().join("a"), base.path().join("a/h"));
        fs::create_dir_all(&home).unwrap();
        if !rustix::process::geteuid().is_root() {
            assert_eq!(not_roots_alone(&home), None);
            return;
        }
        // where not all users are known not even root may, and what lies above is not ours to judge
        let closed = |step: &Path| {
            fs::metadata(step)
                .is_ok_and(|meta| meta.uid() == 0 && (meta.mode() & 0o022 == 0 || meta.mode() & 0o1000 != 0))
        };
        if !base.path().ancestors().all(closed) || chown(&above, Some(0), Some(5)).is_err() {
            return;
        }
        for (mode, uid, gid, open) in [
            (0o755, 0, 5, false),
            (0o775, 0, 0, false),
            (0o775, 0, 5, true),
            (0o777, 0, 0, true),
            (0o1777, 0, 5, false),
            (0o1775, 0, 5, false),
            (0o755, 5, 0, true),
            (0o1777, 5, 0, true),
        ] {
            chown(&above, Some(uid), Some(gid)).unwrap();
            fs::set_permissions(&above, fs::Permissions::from_mode(mode)).unwrap();
            let wanted = open.then(|| above.clone());
            assert_eq!(open_above(&home), wanted, "{mode:o} of {uid}:{gid}");
            assert_eq!(not_roots_alone(&home.join("none")), wanted, "{mode:o} of {uid}:{gid}");
            // a link of root's own leads there as well
            let link = base.path().join("l");
            symlink(&home, &link).unwrap();
            assert_eq!(open_above(&link), wanted, "{mode:o} of {uid}:{gid}");
            lchown(&link, Some(5), None).unwrap();
            assert_eq!(open_above(&link), Some(link.clone()));
            fs::remove_file(&link).unwrap();
        }
        chown(&home, Some(5), None).unwrap();
        assert_eq!(not_roots_alone(&home), Some(home));
    }
}
