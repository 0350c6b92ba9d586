//! Writing into Claude Code's credentials file, under Claude Code's own locks and in its order.
//!
//! The order (`@anthropic-ai/claude-code` 2.1.330): `D/.oauth_refresh.lock`, then the real path of D with `.lock`, and only
//! around the save itself `D/.storage-write.lock`, for milliseconds: a CLI that wants to save while that one is held loses its
//! login. The save is compare-and-set: it is made only if the stored refresh token is blank or the one expected.

use super::claude::{self, NewTokens, Place, REFRESH_LOCK, Refresh, State, WRITE_LOCK};
use crate::edge::files::{self, Staged};
use crate::edge::locks::{self, Held, LockError, Terms, Watch};
use crate::secret::Secret;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Both locks of a refresh, the second one missing where it cannot be made (Claude Code then goes on with the first alone).
#[derive(Debug)]
pub struct RefreshLocks {
    // dropped in this order: the second lock first
    dir: Option<Held>,
    refresh: Held,
}

impl RefreshLocks {
    /// Keeps both fresh; `false` where one was taken from us: stop, and write nothing.
    pub fn touch(&mut self) -> bool {
        self.dir.as_mut().is_none_or(Held::touch) && self.refresh.touch()
    }

    /// Whether one of them was somebody's who has stopped: see [`Held::was_taken_over`].
    pub fn were_taken_over(&self) -> bool {
        self.refresh.was_taken_over() || self.dir.as_ref().is_some_and(Held::was_taken_over)
    }

    /// Whether both are still ours.
    pub fn are_ours(&self) -> bool {
        self.dir.as_ref().is_none_or(Held::is_ours) && self.refresh.is_ours()
    }
}

/// Takes the locks of a refresh. While the second one is held, the first is released and both are tried again, as Claude Code
/// does, so that nobody waits for somebody who waits for him.
///
/// # Errors
/// [`LockError::Held`] after `wait`; otherwise what the system refuses.
pub async fn lock(place: &Place, wait: Duration) -> Result<RefreshLocks, LockError> {
    let begun = crate::edge::host::monotonic();
    let mut watch = Watch::default();
    watch.begin(&place.dir_lock(), REFRESH_LOCK);
    loop {
        let terms = Terms {
            wait: wait.saturating_sub(begun.elapsed()),
            ..REFRESH_LOCK
        };
        let refresh = locks::acquire_watching(&place.refresh_lock(), terms, &mut watch).await?;
        match locks::try_acquire(&place.dir_lock(), terms, &mut watch) {
            Ok(Some(dir)) => {
                return Ok(RefreshLocks {
                    dir: Some(dir),
                    refresh,
                });
            }
            Err(error) if locks::is_obstacle(&error) => return Err(error.into()),
            Err(_) => return Ok(RefreshLocks { dir: None, refresh }),
            Ok(None) => drop(refresh),
        }
        if begun.elapsed() >= wait {
            return Err(LockError::Held(wait));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Why new tokens were not saved.
#[derive(Debug, thiserror::Error)]
pub enum SaveError {
    /// Somebody else saved another refresh token meanwhile; theirs stands.
    #[error("the login was changed by somebody else meanwhile")]
    Changed,
    /// A lock was lost or could not be had.
    #[error("lock: {0}")]
    Lock(#[from] LockError),
    /// The file is not one that can be patched.
    #[error("{0}")]
    NotPatchable(String),
    /// The system refused.
    #[error("{}", files::io_words(.0))]
    Io(#[from] io::Error),
}

/// A place proven writable: its temp file is open beside it.
pub struct Ready {
    staged: Staged,
    target: PathBuf,
}

/// The most that new tokens make the file grow by, in bytes, and some more.
const ROOM: u64 = 16 << 10;

/// Opens the temp file beside the credentials file and sets room aside in it, before anything is spent.
///
/// # Errors
/// What the system refuses, the file's owner included: root keeps the user's, a user cannot keep another's.
pub fn prepare(place: &Place) -> io::Result<Ready> {
    let target = files::real_target(&place.file())?;
    let keep = files::stat(&target);
    let staged = files::stage(&target, keep.as_ref())?;
    staged.reserve(keep.map_or(0, |meta| meta.size) + ROOM)?;
    Ok(Ready { staged, target })
}

impl Ready {
    /// Saves, if the stored refresh token is blank or `expected`. The caller holds the refresh locks.
    ///
    /// # Errors
    /// See [`SaveError`]; the file is then as it was.
    pub async fn save(self, place: &Place, expected: &Secret, new: &NewTokens) -> Result<(), SaveError> {
        let write_lock = match locks::acquire(&place.write_lock(), WRITE_LOCK).await {
            Ok(held) => Some(held),
            Err(error @ LockError::Held(_)) => return Err(error.into()),
            // a directory where no lock can be made is one where Claude Code can make none either
            Err(LockError::Io(_)) => None,
        };
        let text = match files::read_unmixed(&self.target) {
            Ok(snapshot) => {
                String::from_utf8(snapshot.bytes).map_err(|_| SaveError::NotPatchable("not UTF-8".into()))?
            }
            Err(error) => return Err(SaveError::NotPatchable(error.to_string())),
        };
        match claude::parse(&text) {
            State::SignedIn(grant) => match &grant.refresh {
                Refresh::Blank => {}
                Refresh::Token(stored) if stored == expected => {}
                _ => return Err(SaveError::Changed),
            },
            _ => return Err(SaveError::Changed),
        }
        let patched = claude::patch(&text, new).map_err(SaveError::NotPatchable)?;
        if write_lock.as_ref().is_some_and(|lock| !lock.is_ours()) {
            return Err(SaveError::Changed);
        }
        self.staged.commit(patched.as_bytes())?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::path::Path;

    fn place(dir: &Path) -> Place {
        Place {
            id: "claude".into(),
            dir: dir.into(),
            configured: false,
            agents: None,
            profile: None,
            dir_var: None,
        }
    }

    fn new() -> NewTokens {
        NewTokens {
            access: Secret::new("A2"),
            refresh: Secret::new("R2"),
            expires: 2,
            deadline: None,
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_save_is_compare_and_set_and_leaves_no_lock() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".claude");
        fs::create_dir(&dir).unwrap();
        let place = place(&dir);
        for (stored, saved) in [("R1", true), ("", true), ("R9", false)] {
            let text =
                format!("{{\"claudeAiOauth\":{{\"accessToken\":\"\",\"refreshToken\":\"{stored}\",\"expiresAt\":0}}}}");
            fs::write(place.file(), &text).unwrap();
            let mut locks = lock(&place, Duration::from_secs(1)).await.unwrap();
            assert!(locks.touch());
            let outcome = prepare(&place).unwrap().save(&place, &Secret::new("R1"), &new()).await;
            drop(locks);
            assert_eq!(outcome.is_ok(), saved, "{stored}: {outcome:?}");
            assert_eq!(fs::read_to_string(place.file()).unwrap().contains("\"R2\""), saved);
            assert_eq!(files::list(&dir), [".credentials.json"]);
            assert_eq!(files::list(home.path()), [".claude"]);
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_first_lock_is_not_kept_while_the_second_is_held() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".claude");
        fs::create_dir(&dir).unwrap();
        let place = place(&dir);
        fs::create_dir(place.dir_lock()).unwrap();
        assert!(matches!(
            lock(&place, Duration::from_millis(50)).await,
            Err(LockError::Held(_))
        ));
        assert!(!files::exists(&place.refresh_lock()) && files::exists(&place.dir_lock()));
    }
}
