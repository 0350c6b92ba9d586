//! Renewal of a login by our own exchange, opt-in, under Claude Code's two locks. The [`engine`] does it.

use super::engine::{self, Grant, Now, Spend};
use super::exchange::Exchange;
use super::rescue::Rescue;
use crate::ctx::Ctx;
use crate::edge::files;
use crate::edge::locks::{Group, LockError, PATIENCE};
use crate::look::{self, World};
use crate::outcome::Asked;
use crate::renew::{Attempt, case, problem};
use crate::rules::login::{Place, Refresh, Source, State};
use crate::rules::memory::Ledger;
use crate::rules::renew::{self as rule, Not, Way};
use crate::sources::claude;
use crate::sources::providers::ANTHROPIC;
use crate::sources::save::{self, Ready, SaveError};
use crate::types::Problem;
use std::io;
use std::path::{Path, PathBuf};

/// A login as the engine sees it.
pub(super) struct Login<'a> {
    pub(crate) id: &'a str,
    pub(crate) place: &'a Place,
    file: PathBuf,
}

impl<'a> Login<'a> {
    pub(crate) fn new(id: &'a str, place: &'a Place) -> Self {
        Self {
            id,
            place,
            file: place.file(),
        }
    }
}

impl Grant for Login<'_> {
    fn key(&self) -> &str {
        self.id
    }

    fn file(&self) -> &Path {
        &self.file
    }

    fn owner_record(&self) -> PathBuf {
        self.place.owner_record()
    }

    async fn lock(&self) -> Result<Group, LockError> {
        save::lock(self.place, PATIENCE).await
    }

    fn prepare(&self) -> io::Result<Ready> {
        save::prepare(&self.file)
    }

    async fn save(&self, ready: Ready, locks: &Group, rescue: &Rescue) -> Result<(), SaveError> {
        ready.save(self.place, locks, rescue.spent, &rescue.new).await
    }

    fn now(&self, ctx: &Ctx) -> Now {
        let login = claude::look(&ctx.host, self.place);
        if login.source != Source::File {
            return Now::Unreadable("it is kept in the Keychain".into());
        }
        match login.state {
            State::SignedIn(grant) => match &grant.refresh {
                Refresh::Token(refresh) => Now::Holds(refresh.fingerprint(), grant.expires),
                Refresh::Blank => Now::Blank,
                Refresh::None => Now::Gone,
            },
            State::Unreadable { why, .. } => Now::Unreadable(why),
            State::Absent if !files::is_dir(&self.place.dir) => Now::Unreadable("its directory is gone".into()),
            State::SignedOut | State::Absent => Now::Gone,
        }
    }

    fn not_writable(&self, what: &str, error: &io::Error) -> Problem {
        problem(
            "login_not_writable",
            &self.file,
            format!(
                "the login `{}` was not renewed, since {what}: {}",
                self.id,
                files::io_words(error)
            ),
            "make room, and make it writable for the user who runs nolapse",
        )
    }

    fn busy(&self) -> Problem {
        problem(
            "login_busy",
            self.place.refresh_lock(),
            format!("another program is renewing the login `{}`, or took its lock", self.id),
            "nothing to do: the next pass will retry",
        )
    }
}

/// Renews the login with this id.
pub(super) async fn direct(ctx: &Ctx, ledger: &mut Ledger, id: &str, place: &Place, asked: &Asked) -> Attempt {
    let target = Login::new(id, place);
    let locks = match target.lock().await {
        Ok(locks) => locks,
        Err(LockError::Busy(_)) => return Attempt::failed(target.busy()),
        Err(LockError::Io(error)) => {
            return Attempt::failed(problem(
                "login_not_writable",
                place.refresh_lock(),
                format!("the login `{id}` cannot be locked: {}", files::io_words(&error)),
                "make its directory writable for the user who runs nolapse",
            ));
        }
    };
    if locks.were_taken_over() {
        return Attempt::Not(Not::TakenOver);
    }
    // everything again: a token that another program just saved is adopted
    let view = look::look(ctx, ledger);
    let Some((i, login)) = view.logins.iter().enumerate().find(|(_, login)| login.id() == id) else {
        return Attempt::Not(Not::SignedOut);
    };
    let mut again = case(World::of(ctx, ledger, &view), i, Way::Direct, asked);
    // the lock is ours: a record that is there is of a process that ended, or gave up
    again.abandoned = claude::begun_and_not_saved(place, &login.login.state, login.login.meta.as_ref());
    let grant = match rule::due(&again, view.now) {
        Ok(grant) => grant.clone(),
        Err(why) => return Attempt::Not(why),
    };
    let Some(refresh) = grant.refresh.token() else {
        return Attempt::Not(Not::NoRefreshToken);
    };
    let config = &ctx.config.renew;
    let stored_scopes = grant.scopes.as_ref().map(|scopes| scopes.join(" "));
    let ask = Exchange {
        provider: ANTHROPIC,
        url: &config.token_url,
        client_id: grant.client_id.as_deref().unwrap_or(&config.client_id),
        refresh,
        scope: match &grant.client_id {
            Some(_) => stored_scopes.as_deref(),
            None => ANTHROPIC.scope,
        },
        other_scope: stored_scopes.as_deref().filter(|scopes| !scopes.is_empty()),
        timeout: config.timeout,
    };
    let spend = Spend {
        ask,
        expires: grant.expires,
        margin: 0,
    };
    engine::renew(ctx, ledger, &target, locks, spend).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::tests::ctx;
    use crate::secret::Secret;
    use crate::types::Moment;
    use std::fs;

    #[test]
    fn what_a_place_holds_is_told_from_a_place_that_is_gone() {
        let home = tempfile::tempdir().unwrap();
        let ctx = ctx(home.path());
        let place = Place::new("claude", home.path().join(".claude"), true);
        let grant = Login::new("claude", &place);
        let unreadable = |now: &Now| matches!(now, Now::Unreadable(_));
        assert!(unreadable(&grant.now(&ctx)), "it may come back, as a mount does");
        fs::create_dir(&place.dir).unwrap();
        assert_eq!(grant.now(&ctx), Now::Gone);
        let held = Now::Holds(Secret::new("R1").fingerprint(), Some(Moment::at(7)));
        for (text, want) in [
            (
                r#"{"claudeAiOauth":{"accessToken":"A","refreshToken":"R1","expiresAt":7}}"#,
                Some(held),
            ),
            (
                r#"{"claudeAiOauth":{"accessToken":"","refreshToken":""}}"#,
                Some(Now::Blank),
            ),
            (r#"{"claudeAiOauth":{"accessToken":"A"}}"#, Some(Now::Gone)),
            ("{}", Some(Now::Gone)),
            (r#"{"claudeAiO"#, None),
        ] {
            fs::write(place.file(), text).unwrap();
            let now = grant.now(&ctx);
            match want {
                Some(want) => assert_eq!(now, want, "{text}"),
                None => assert!(unreadable(&now), "{text}"),
            }
        }
    }
}
