//! New tokens on their way: written here, durably, as soon as the answer is in, before they are saved in their place, and removed
//! once they are. What a pass finds here was left by one that died or could not save; it is completed before anything else.

use crate::edge::files;
use crate::edge::replace::{self, NotPut, Over, Staged};
use crate::json::{Doc, Fields, Layout};
use crate::secret::{Fingerprint, Secret};
use crate::sources::claude::NewTokens;
use crate::types::Moment;
use std::io;
use std::path::{Path, PathBuf};

/// Room for an answer, in bytes; the tokens are a few hundred.
const ROOM: u64 = 16 << 10;

/// New tokens of one login or profile.
#[derive(Clone, Debug)]
pub(super) struct Rescue {
    /// The key of its record in the ledger.
    pub(crate) whom: String,
    /// The refresh token that they were given for.
    pub(crate) spent: Fingerprint,
    /// Until when the spent one's access token was good: a grant that ends later is a newer one, an older one was restored.
    pub(crate) until: Option<Moment>,
    pub(crate) new: NewTokens,
}

/// A place for new tokens, proven writable before the old one is spent.
pub(super) struct Slot(Staged);

/// `rescue/<fingerprint of the spent token>.json` in the state directory.
pub(super) fn path(state_dir: &Path, spent: Fingerprint) -> PathBuf {
    state_dir.join("rescue").join(format!("{spent}.json"))
}

/// Makes the place.
pub(super) fn open(state_dir: &Path, spent: Fingerprint) -> io::Result<Slot> {
    let path = path(state_dir, spent);
    let dir = files::own_target(&state_dir.join("rescue"))?;
    files::make_dirs(&dir)?;
    let staged = replace::stage(&files::own_target(&path)?, None)?;
    staged.reserve(ROOM)?;
    Ok(Slot(staged))
}

impl Slot {
    /// Writes the tokens, durably.
    ///
    /// # Errors
    /// What the system refuses. Where the directory alone could not be synced they are there, and may not survive a power cut.
    pub(crate) fn write(mut self, rescue: &Rescue) -> io::Result<()> {
        let doc = Doc::object([
            ("schema", Doc::string("nolapse.rescue/1")),
            ("whom", Doc::string(&rescue.whom)),
            ("spent", Doc::string(&rescue.spent.to_string())),
            ("access", Doc::string(rescue.new.access.expose())),
            ("refresh", Doc::string(rescue.new.refresh.expose())),
            ("expires", Doc::number(rescue.new.expires.ms())),
            ("deadline", Doc::number(rescue.new.deadline.unwrap_or_default().ms())),
            ("until", Doc::number(rescue.until.unwrap_or_default().ms())),
        ]);
        self.0.write(doc.to_text(Layout::Pretty).as_bytes())?;
        match self.0.put(Over::Anything, &|| true) {
            Ok(synced) => synced,
            Err(NotPut::Io(error)) => Err(error),
            Err(other) => Err(io::Error::other(other)),
        }
    }
}

/// What lies there, complete: a temp file counts as well, since its writer may have died before the rename.
pub(super) fn all(state_dir: &Path) -> Vec<(PathBuf, Rescue)> {
    let Ok(dir) = files::own_target(&state_dir.join("rescue")) else {
        return Vec::new();
    };
    files::list(&dir)
        .into_iter()
        .filter_map(|name| {
            let path = dir.join(name);
            let snapshot = files::read_ours(&path).ok()?;
            Some((path, parse(std::str::from_utf8(&snapshot.bytes).ok()?)?))
        })
        .collect()
}

/// Removes what killed passes left there and is no tokens. The caller holds the pass lock.
pub(super) fn sweep(state_dir: &Path) {
    let tokens = |path: &Path| {
        let text = files::read(path)
            .ok()
            .and_then(|file| String::from_utf8(file.bytes).ok());
        text.is_some_and(|text| parse(&text).is_some())
    };
    if let Ok(dir) = files::own_target(&state_dir.join("rescue")) {
        replace::sweep(&dir, tokens);
    }
}

fn parse(text: &str) -> Option<Rescue> {
    let fields = Fields::parse(text).ok()?;
    let text = |key: &str| fields.get(key).and_then(|value| value.str());
    let ms = |key: &str| {
        fields
            .get(key)
            .and_then(|value| value.number())
            .map(|n| Moment::at(n as i64))
    };
    (text("schema")? == "nolapse.rescue/1").then_some(())?;
    Some(Rescue {
        whom: text("whom")?.into_owned(),
        spent: Fingerprint::parse(&text("spent")?)?,
        new: NewTokens {
            access: Secret::new(text("access")?),
            refresh: Secret::new(text("refresh")?),
            expires: ms("expires")?,
            deadline: ms("deadline").filter(|at| *at > Moment::EPOCH),
        },
        until: ms("until").filter(|at| *at > Moment::EPOCH),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rescue(deadline: Option<Moment>, until: Option<Moment>) -> Rescue {
        Rescue {
            whom: "claude".into(),
            spent: Secret::new("R1").fingerprint(),
            until,
            new: NewTokens {
                access: Secret::new("A2"),
                refresh: Secret::new("R2"),
                expires: Moment::at(7),
                deadline,
            },
        }
    }

    #[test]
    fn what_is_rescued_comes_back_as_it_was_and_what_is_no_tokens_is_swept() {
        let home = tempfile::tempdir().unwrap();
        let spent = Secret::new("R1").fingerprint();
        for (deadline, until) in [
            (None, None),
            (Some(Moment::at(1)), None),
            (None, Some(Moment::at(1))),
            (Some(Moment::at(9)), Some(Moment::at(8))),
        ] {
            let rescue = rescue(deadline, until);
            open(home.path(), spent).unwrap().write(&rescue).unwrap();
            let found = all(home.path());
            assert_eq!(found.len(), 1);
            let back = &found[0].1;
            assert_eq!(
                (&found[0].0, &back.whom, back.spent),
                (&path(home.path(), spent), &rescue.whom, spent)
            );
            assert_eq!(
                (back.until, back.new.deadline, back.new.expires),
                (until, deadline, Moment::at(7))
            );
            assert_eq!(back.new.refresh.expose(), "R2");
        }
        // a killed writer's: one with tokens in it stays, an empty one goes
        let left = |name: &str| {
            home.path()
                .join(format!("rescue/.{name}.json.0123456789abcdef.nolapse-tmp"))
        };
        std::fs::copy(path(home.path(), spent), left("whole")).unwrap();
        std::fs::write(left("empty"), "").unwrap();
        sweep(home.path());
        assert!(files::exists(&left("whole")) && !files::exists(&left("empty")));
        assert_eq!(all(home.path()).len(), 2);
        assert!(crate::renew::rescued(home.path()).contains(&left("whole")));
    }
}
