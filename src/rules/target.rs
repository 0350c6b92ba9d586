//! Whether a file that new tokens have to go into can be replaced at all. A refresh token is spent once its renewal is posted, by
//! whoever posts it: where the answer could not be saved, nothing is posted and Claude Code is not started.

use super::wording::{quote, take_over};

/// What is at a path, through links.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing: a file can be made there.
    Absent,
    /// A regular file.
    File,
    /// A regular file that is a mount point of its own: it is written in place, since nothing can be renamed onto it.
    MountedFile,
    /// A directory.
    Directory,
    /// A FIFO, a socket, a device.
    Special,
}

/// Whether a file or directory may be written, as the system tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// It may.
    Writable,
    /// Its mount or its file system is read-only.
    ReadOnly,
    /// It is marked immutable, which binds root as well.
    Immutable,
    /// It is marked append-only: it can be neither replaced nor changed.
    AppendOnly,
    /// Its mode stands against it.
    Denied,
    /// It is another user's.
    NotOurs,
}

/// A file that will be replaced, as it was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Target {
    /// What is there.
    pub(crate) kind: Kind,
    /// The file itself; [`Access::Writable`] if it does not exist.
    pub(crate) file: Access,
    /// The directory that it is in.
    pub(crate) dir: Access,
}

/// Why a file cannot be replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfit {
    /// The file is mounted read-only.
    ReadOnly,
    /// The directory is mounted read-only.
    DirReadOnly,
    /// The file is immutable.
    Immutable,
    /// The file is append-only.
    AppendOnly,
    /// The directory is immutable or append-only.
    DirLocked,
    /// A directory is in its place.
    Directory,
    /// Something else that is no file is in its place.
    Special,
    /// Neither a file beside it nor, where it is mounted by itself, the file can be written.
    Denied,
    /// Its directory is another user's, and not open to this one.
    DirOfAnother,
}

/// Decides about a file. Where it is replaced by a rename its own mode does not matter, its marks and its mount do.
///
/// # Errors
/// Why it cannot be replaced.
pub(crate) fn judge(target: &Target) -> Result<(), Unfit> {
    match target.kind {
        Kind::Directory => return Err(Unfit::Directory),
        Kind::Special => return Err(Unfit::Special),
        Kind::Absent | Kind::File | Kind::MountedFile => {}
    }
    match target.file {
        Access::ReadOnly => return Err(Unfit::ReadOnly),
        Access::Immutable => return Err(Unfit::Immutable),
        Access::AppendOnly => return Err(Unfit::AppendOnly),
        Access::Denied | Access::NotOurs if target.kind == Kind::MountedFile => return Err(Unfit::Denied),
        Access::Denied | Access::NotOurs | Access::Writable => {}
    }
    match target.dir {
        Access::Writable => Ok(()),
        Access::ReadOnly => Err(Unfit::DirReadOnly),
        Access::Immutable | Access::AppendOnly => Err(Unfit::DirLocked),
        Access::Denied => Err(Unfit::Denied),
        Access::NotOurs => Err(Unfit::DirOfAnother),
    }
}

impl Unfit {
    /// In words, after the file's name.
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::ReadOnly => "is mounted read-only",
            Self::DirReadOnly => "is in a directory that is mounted read-only",
            Self::Immutable => "is marked immutable",
            Self::AppendOnly => "is marked append-only",
            Self::DirLocked => "is in a directory that is marked immutable or append-only",
            Self::Directory => "is a directory",
            Self::Special => "is not a regular file",
            Self::Denied => "cannot be written",
            Self::DirOfAnother => "is in a directory of another user's",
        }
    }

    /// The command that helps, or shows what to do; `path` is the file, `~` for the home.
    pub(crate) fn fix(self, path: &str) -> String {
        let dir = path.rsplit_once('/').map_or(".", |(dir, _)| dir);
        match self {
            Self::ReadOnly => format!("findmnt -T {}", quote(path)),
            Self::DirReadOnly => format!("findmnt -T {}", quote(dir)),
            Self::Immutable => format!("sudo chattr -i {}", quote(path)),
            Self::AppendOnly => format!("sudo chattr -a {}", quote(path)),
            Self::DirLocked => format!("sudo chattr -ia {}", quote(dir)),
            Self::Directory => format!("rmdir {}", quote(path)),
            Self::Special => format!("mv {0} {0}.old", quote(path)),
            Self::Denied => format!("chmod u+wx {}", quote(dir)),
            Self::DirOfAnother => take_over(dir),
        }
    }

    /// What to do, in words.
    pub(crate) fn remedy(self, path: &str) -> String {
        let command = self.fix(path);
        match self {
            Self::ReadOnly => "mount its whole directory read-write, not only the file".into(),
            Self::DirReadOnly => "mount the directory read-write".into(),
            Self::Directory | Self::Special => format!("run `{command}` before signing in"),
            _ => format!("run `{command}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use Access::{AppendOnly, Denied, Immutable, NotOurs, ReadOnly, Writable};

    #[test]
    fn every_way_not_to_be_replaced_has_its_case() {
        let table = [
            ("a file", Kind::File, Writable, Writable, Ok(())),
            ("none yet", Kind::Absent, Writable, Writable, Ok(())),
            // a rename does not ask for the mode of what it replaces
            ("mode 0400", Kind::File, Denied, Writable, Ok(())),
            ("mounted by itself", Kind::MountedFile, Writable, Writable, Ok(())),
            (
                "mounted, and mode 0400",
                Kind::MountedFile,
                Denied,
                Writable,
                Err(Unfit::Denied),
            ),
            (
                "mounted read-only",
                Kind::MountedFile,
                ReadOnly,
                Writable,
                Err(Unfit::ReadOnly),
            ),
            (
                "read-only, not known to be a mount",
                Kind::File,
                ReadOnly,
                Writable,
                Err(Unfit::ReadOnly),
            ),
            ("immutable", Kind::File, Immutable, Writable, Err(Unfit::Immutable)),
            ("append-only", Kind::File, AppendOnly, Writable, Err(Unfit::AppendOnly)),
            (
                "a directory",
                Kind::Directory,
                Writable,
                Writable,
                Err(Unfit::Directory),
            ),
            ("a FIFO", Kind::Special, Writable, Writable, Err(Unfit::Special)),
            (
                "in a read-only directory",
                Kind::File,
                Writable,
                ReadOnly,
                Err(Unfit::DirReadOnly),
            ),
            (
                "mounted in a read-only directory",
                Kind::MountedFile,
                Writable,
                ReadOnly,
                Err(Unfit::DirReadOnly),
            ),
            (
                "none, read-only directory",
                Kind::Absent,
                Writable,
                ReadOnly,
                Err(Unfit::DirReadOnly),
            ),
            (
                "in an immutable directory",
                Kind::File,
                Writable,
                Immutable,
                Err(Unfit::DirLocked),
            ),
            (
                "in an append-only directory",
                Kind::File,
                Writable,
                AppendOnly,
                Err(Unfit::DirLocked),
            ),
            (
                "in a directory of mode 0500",
                Kind::File,
                Writable,
                Denied,
                Err(Unfit::Denied),
            ),
            (
                "in another's directory",
                Kind::File,
                Writable,
                NotOurs,
                Err(Unfit::DirOfAnother),
            ),
            (
                "another's, in one's own directory",
                Kind::File,
                NotOurs,
                Writable,
                Ok(()),
            ),
        ];
        for (name, kind, file, dir, want) in table {
            assert_eq!(judge(&Target { kind, file, dir }), want, "{name}");
        }
    }

    #[test]
    fn what_is_in_the_way_goes_before_anybody_signs_in() {
        assert_eq!(
            Unfit::Directory.remedy("~/.claude/.credentials.json"),
            "run `rmdir ~/.claude/.credentials.json` before signing in"
        );
        for (unfit, command) in [
            (Unfit::Immutable, "sudo chattr -i ~/'a b/c'"),
            (Unfit::AppendOnly, "sudo chattr -a ~/'a b/c'"),
            (Unfit::DirLocked, "sudo chattr -ia ~/'a b'"),
            (Unfit::Denied, "chmod u+wx ~/'a b'"),
            (Unfit::DirOfAnother, "sudo chown -R \"$(id -un)\" ~/'a b'"),
        ] {
            assert_eq!(unfit.remedy("~/a b/c"), format!("run `{command}`"));
        }
        assert_eq!(Unfit::Special.remedy("~/c"), "run `mv ~/c ~/c.old` before signing in");
        for (unfit, shown) in [
            (Unfit::ReadOnly, "findmnt -T ~/c"),
            (Unfit::DirReadOnly, "findmnt -T '~'"),
        ] {
            assert_eq!(unfit.fix("~/c"), shown);
            assert!(unfit.remedy("~/c").starts_with("mount "), "{unfit:?}");
        }
    }
}
