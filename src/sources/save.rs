//! Writing into Claude Code's credentials file, under Claude Code's own locks and in its order.
//!
//! The order (`@anthropic-ai/claude-code` 2.1.330): `D/.oauth_refresh.lock`, then the real path of D with `.lock`, and only
//! around the save itself `D/.storage-write.lock`, for milliseconds: a CLI that wants to save while that one is held loses its
//! login. The save is compare-and-set: it is made only if the stored refresh token is blank or the one expected.

use super::owner;
use crate::edge::files;
use crate::edge::host::{monotonic, since};
use crate::edge::locks::{self, Group, LockError, Terms, Watch};
use crate::edge::replace::{self, NotPut, Over, Staged};
use crate::edge::step;
use crate::rules::login::{Place, Refresh, State};
use crate::secret::Fingerprint;
use crate::sources::claude::{self, NewTokens, REFRESH_LOCK, WRITE_LOCK};
use std::io;
use std::path::PathBuf;
use std::time::Duration;

/// Takes the locks of a refresh, the second one only where it can be made (Claude Code then goes on with the first alone). While
/// the second one is held, the first is released and both are tried again, as Claude Code does, so that nobody waits for somebody
/// who waits for him. Where the recorded holder of the locks lives, they are waited for, however old they look: it may be
/// stopped, with an answer on its way.
///
/// # Errors
/// [`LockError::Busy`] after `wait`; otherwise what the system refuses.
pub(crate) async fn lock(place: &Place, wait: Duration) -> Result<Group, LockError> {
    let begun = monotonic();
    let mut watch = Watch::default();
    watch.begin(&claude::dir_lock(place), REFRESH_LOCK);
    loop {
        let terms = Terms {
            wait: wait.saturating_sub(since(begun)),
            ..REFRESH_LOCK
        };
        if !owner::is_held(&place.owner_record()) {
            let mut group = Group::default();
            group.add(locks::acquire_watching(&place.refresh_lock(), terms, &mut watch).await?);
            match locks::try_acquire(&claude::dir_lock(place), terms, &mut watch) {
                Ok(Some(dir)) => {
                    group.add(dir);
                    return Ok(group);
                }
                Err(error) if locks::is_obstacle(&error) => return Err(error.into()),
                Err(_) => return Ok(group),
                Ok(None) => drop(group),
            }
        }
        if since(begun) >= wait {
            return Err(LockError::Busy(wait));
        }
        step::pause(Duration::from_millis(200)).await;
    }
}

/// Why new tokens were not saved in their place.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SaveError {
    /// Somebody else saved another refresh token meanwhile; theirs stands.
    #[error("it was changed by somebody else meanwhile")]
    Changed,
    /// Somebody else wrote the file every time.
    #[error("somebody else wrote the file each time")]
    Crowded,
    /// A lock was taken from us.
    #[error("its lock was lost")]
    Lost,
    /// A lock could not be had.
    #[error("lock: {0}")]
    Lock(#[from] LockError),
    /// The file is not one that can be patched.
    #[error("{0}")]
    NotPatchable(String),
    /// The system refused.
    #[error("{}", files::io_words(.0))]
    Io(#[from] io::Error),
}

impl From<NotPut> for SaveError {
    fn from(error: NotPut) -> Self {
        match error {
            NotPut::Changed => Self::Crowded,
            NotPut::Lost => Self::Lost,
            NotPut::Io(error) => Self::Io(error),
        }
    }
}

/// A place proven writable: its temp file is open beside it.
pub(crate) struct Ready {
    staged: Staged,
    target: PathBuf,
}

/// The most that new tokens make a file grow by, in bytes, and some more.
pub(crate) const ROOM: u64 = 16 << 10;

/// Opens the temp file beside a file that holds tokens and sets room aside in it, before anything is spent.
///
/// # Errors
/// What the system refuses, the file's owner included: root keeps the user's, a user cannot keep another's.
pub(crate) fn prepare(file: &std::path::Path) -> io::Result<Ready> {
    let target = files::real_target(file)?;
    let keep = files::stat(&target);
    let staged = replace::stage(&target, keep.as_ref())?;
    staged.reserve(keep.map_or(0, |meta| meta.size) + ROOM)?;
    Ok(Ready { staged, target })
}

impl Ready {
    /// The temp file and what it is for.
    pub(crate) fn parts(self) -> (Staged, PathBuf) {
        (self.staged, self.target)
    }

    /// Saves new tokens of a login, if the stored refresh token is blank, the one that was spent, or the new one already. The
    /// caller holds the refresh locks.
    ///
    /// # Errors
    /// See [`SaveError`]; the file is then as somebody else left it.
    pub(crate) async fn save(
        self,
        place: &Place,
        locks: &Group,
        spent: Fingerprint,
        new: &NewTokens,
    ) -> Result<(), SaveError> {
        let (mut staged, target) = (Some(self.staged), self.target);
        for _ in 0..replace::TRIES {
            let text = match files::read_settled(&target, claude::whole) {
                Ok(snapshot) => {
                    String::from_utf8(snapshot.bytes).map_err(|_| SaveError::NotPatchable("not UTF-8".into()))?
                }
                Err(error) => return Err(SaveError::NotPatchable(error.to_string())),
            };
            match claude::parse(&text) {
                State::SignedIn(grant) => match &grant.refresh {
                    Refresh::Blank => {}
                    Refresh::Token(stored) if [spent, new.refresh.fingerprint()].contains(&stored.fingerprint()) => {}
                    _ => return Err(SaveError::Changed),
                },
                State::Unreadable { why, .. } => return Err(SaveError::NotPatchable(why)),
                _ => return Err(SaveError::Changed),
            }
            let patched = claude::patch(&text, new).map_err(SaveError::NotPatchable)?;
            let mut temp = match staged.take() {
                Some(staged) => staged,
                None => replace::stage(&target, files::stat(&target).as_ref())?,
            };
            temp.write(patched.as_bytes())?;
            // for milliseconds alone: what takes long is done
            let write_lock = match locks::acquire(&place.write_lock(), WRITE_LOCK).await {
                Ok(held) => Some(held),
                Err(error @ LockError::Busy(_)) => return Err(error.into()),
                // a directory where no lock can be made is one where Claude Code can make none either
                Err(LockError::Io(_)) => None,
            };
            let ours = || locks.are_ours() && write_lock.as_ref().is_none_or(|lock| lock.is_ours());
            match temp.put(Over::Content(text.as_bytes()), &ours) {
                Ok(_) => return Ok(()),
                Err(NotPut::Changed) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Err(SaveError::Crowded)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::secret::Secret;
    use crate::types::Moment;
    use std::fs;
    use std::os::unix::fs::MetadataExt;
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
            expires: Moment::at(2),
            deadline: None,
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn a_save_is_compare_and_set_and_leaves_no_lock() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".claude");
        fs::create_dir(&dir).unwrap();
        let place = place(&dir);
        for (stored, saved) in [("R1", true), ("", true), ("R2", true), ("R9", false)] {
            let text =
                format!("{{\"claudeAiOauth\":{{\"accessToken\":\"\",\"refreshToken\":\"{stored}\",\"expiresAt\":0}}}}");
            fs::write(place.file(), &text).unwrap();
            let mut locks = lock(&place, Duration::from_secs(1)).await.unwrap();
            assert!(locks.touch());
            let spent = Secret::new("R1").fingerprint();
            let outcome = prepare(&place.file())
                .unwrap()
                .save(&place, &locks, spent, &new())
                .await;
            drop(locks);
            assert_eq!(outcome.is_ok(), saved, "{stored}: {outcome:?}");
            assert_eq!(fs::read_to_string(place.file()).unwrap().contains("\"A2\""), saved);
            assert_eq!(files::list(&dir), [".credentials.json"]);
            assert_eq!(files::list(home.path()), [".claude"]);
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_second_lock_is_done_without_only_where_nobody_can_make_it() {
        let home = tempfile::tempdir().unwrap();
        let soon = Duration::from_secs(1);
        let dir = home.path().join(".claude");
        fs::create_dir(&dir).unwrap();
        let at = place(&dir);
        std::os::unix::fs::symlink("/nonexistent", claude::dir_lock(&at)).unwrap();
        let refused = lock(&at, soon).await.unwrap_err();
        assert!(
            matches!(&refused, LockError::Io(error) if locks::is_obstacle(error)),
            "{refused:?}"
        );
        // no name may be that long
        let dir = home.path().join("d".repeat(252));
        fs::create_dir(&dir).unwrap();
        assert!(lock(&place(&dir), soon).await.unwrap().are_ours());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn what_cannot_be_patched_is_said_and_left() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".claude");
        fs::create_dir(&dir).unwrap();
        let place = place(&dir);
        let spent = Secret::new("R1").fingerprint();
        for (text, patchable) in [("[1]", false), ("{\"claudeAiOauth\":7}", true), ("{}", true)] {
            fs::write(place.file(), text).unwrap();
            let locks = lock(&place, Duration::from_secs(1)).await.unwrap();
            let saved = prepare(&place.file())
                .unwrap()
                .save(&place, &locks, spent, &new())
                .await;
            assert!(
                matches!(
                    (&saved, patchable),
                    (Err(SaveError::NotPatchable(_)), false) | (Err(SaveError::Changed), true)
                ),
                "{text}: {saved:?}"
            );
            assert_eq!(fs::read_to_string(place.file()).unwrap(), text);
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn nothing_is_saved_once_a_lock_is_lost() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".claude");
        fs::create_dir(&dir).unwrap();
        let place = place(&dir);
        let text = r#"{"claudeAiOauth":{"accessToken":"","refreshToken":"R1","expiresAt":0}}"#;
        fs::write(place.file(), text).unwrap();
        for lock_path in [place.refresh_lock(), claude::dir_lock(&place)] {
            let locks = lock(&place, Duration::from_secs(1)).await.unwrap();
            // somebody found it stale, and took it
            fs::remove_dir(&lock_path).unwrap();
            fs::create_dir(&lock_path).unwrap();
            let ready = prepare(&place.file()).unwrap();
            let saved = ready
                .save(&place, &locks, Secret::new("R1").fingerprint(), &new())
                .await;
            assert!(matches!(saved, Err(SaveError::Lost)), "{saved:?}");
            assert_eq!(fs::read_to_string(place.file()).unwrap(), text);
            assert_eq!(
                files::list(&dir).iter().filter(|name| name.ends_with("-tmp")).count(),
                0
            );
            drop(locks);
            fs::remove_dir(&lock_path).unwrap();
        }
    }

    #[tokio::test(flavor = "current_thread")]
    async fn locks_whose_recorded_holder_lives_are_waited_for_however_old() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".claude");
        fs::create_dir(&dir).unwrap();
        let place = place(&dir);
        let mut holder = std::process::Command::new("cat")
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let record = crate::sources::owner::tests::of(holder.id());
        fs::write(place.owner_record(), record).unwrap();
        for path in [place.refresh_lock(), claude::dir_lock(&place)] {
            fs::create_dir(&path).unwrap();
            let long_ago = std::time::SystemTime::now() - Duration::from_secs(86_400);
            let times = fs::FileTimes::new().set_modified(long_ago);
            fs::File::open(&path).unwrap().set_times(times).unwrap();
        }
        assert!(matches!(
            lock(&place, Duration::from_millis(50)).await,
            Err(LockError::Busy(_))
        ));
        drop(holder.stdin.take());
        holder.wait().unwrap();
        assert!(lock(&place, Duration::from_secs(20)).await.unwrap().are_ours());
    }

    #[tokio::test(flavor = "current_thread")]
    async fn the_first_lock_is_not_kept_while_the_second_is_held() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".claude");
        fs::create_dir(&dir).unwrap();
        let place = place(&dir);
        fs::create_dir(claude::dir_lock(&place)).unwrap();
        assert!(matches!(
            lock(&place, Duration::from_millis(50)).await,
            Err(LockError::Busy(_))
        ));
        assert!(!files::exists(&place.refresh_lock()) && files::exists(&claude::dir_lock(&place)));
        // nor is the first one waited for any longer
        fs::create_dir(place.refresh_lock()).unwrap();
        let wait = Duration::from_millis(50);
        match lock(&place, wait).await {
            Err(LockError::Busy(waited)) => assert!(waited <= wait, "{waited:?}"),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn room_is_set_aside_for_what_is_there_and_new_tokens() {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("s.json");
        fs::write(&file, vec![b' '; 3 * ROOM as usize]).unwrap();
        let ready = prepare(&file).unwrap();
        let temp = files::list(home.path()).into_iter().find(|name| name != "s.json");
        let room = fs::metadata(home.path().join(temp.unwrap())).unwrap().blocks() * 512;
        // none where the file system cannot
        assert!(room == 0 || (4 * ROOM..8 * ROOM).contains(&room), "{room}");
        drop(ready);
    }
}
