//! Logins: facts about them beyond their health.

use super::{pid, spot, stored};
use crate::ctx::Ctx;
use crate::edge::files;
use crate::rules::doctor::{LoginFact, Logins};
use crate::rules::login::{Login, Rival, Source, State};
use crate::rules::memory::Ledger;
use crate::rules::view::{LoginView, View};
use crate::secret::Secret;
use crate::sources::claude;
use crate::types::{Health, Moment};
use std::path::PathBuf;

/// `unwatched` is what [`unwatched`] found.
pub(super) fn gather(ctx: &Ctx, ledger: &Ledger, view: &View, unwatched: &[Login]) -> Logins {
    Logins {
        all: stored(view).map(|login| fact(ctx, ledger, login, view.now)).collect(),
        unwatched: unwatched.iter().map(|login| spot(ctx, &login.place.dir)).collect(),
    }
}

fn fact(ctx: &Ctx, ledger: &Ledger, view: &LoginView, now: Moment) -> LoginFact {
    let login = &view.login;
    let place = &login.place;
    let over = login
        .grant()
        .is_some_and(|grant| grant.expires.is_some_and(|at| at <= now));
    let known = claude::env_token(&ctx.host)
        .and_then(|token| ledger.setup_tokens.get(&token.fingerprint()))
        .is_some_and(|token| token.expires_at > now);
    let dir = files::stat(&place.dir);
    let killed = login
        .dead_lock
        .as_ref()
        .is_some_and(|(path, _)| *path == place.refresh_lock())
        && claude::begun_and_not_saved(place, &login.state, login.meta.as_ref());
    let record = files::read(&place.owner_record()).ok();
    LoginFact {
        id: place.id.clone(),
        file: spot(ctx, &place.file()),
        dir: spot(ctx, &place.dir),
        shadowed_by: login.shadowed_by.clone(),
        shadow_known: known
            && login
                .shadowed_by
                .iter()
                .all(|shadow| shadow.rival == Rival::Token && shadow.file.is_none()),
        ended: matches!(view.verdict.health, Health::Expired | Health::Missing),
        abandoned: over && (login.abandoned || killed),
        abandoned_by: record.and_then(|record| pid(&record.bytes)),
        link: login.link.as_ref().map(|target| spot(ctx, target)),
        left_behind: left_behind(ledger, view).map(|target| spot(ctx, &target)),
        not_writable: match (&dir, login.source) {
            (Some(_), Source::File) => files::can_write(&place.dir).err().map(|error| files::io_words(&error)),
            _ => None,
        },
        no_end: login
            .grant()
            .filter(|grant| grant.refresh.token().is_some() && grant.access.is_some())
            .and_then(|grant| match grant.expires {
                None => Some("none"),
                Some(Moment::EPOCH) => Some("0"),
                Some(_) => None,
            }),
        // a user's own group, which some systems give write access by default, has nobody else in it
        open: dir
            .filter(|dir| dir.mode & 0o002 != 0 || dir.mode & 0o020 != 0 && dir.gid != dir.uid)
            .map(|dir| dir.mode),
    }
}

/// What the login's file was a link to, if that holds a token that the login had before.
fn left_behind(ledger: &Ledger, view: &LoginView) -> Option<PathBuf> {
    if view.login.link.is_some() {
        return None;
    }
    let target = ledger.links.get(view.id())?;
    let text = files::read(target).ok()?.bytes;
    let State::SignedIn(old) = claude::parse(std::str::from_utf8(&text).ok()?) else {
        return None;
    };
    let (now, held) = (view.login.grant()?, old.refresh.token()?.fingerprint());
    let present = now.refresh.token().map(Secret::fingerprint);
    let had = view.memory.as_ref().is_some_and(|memory| memory.past.contains(&held));
    // a login's deadline stays when it is renewed (2.1.330)
    let same = now.deadline.is_some() && now.deadline == old.deadline && old.expires < now.expires;
    (present != Some(held) && (had || same)).then(|| target.clone())
}
