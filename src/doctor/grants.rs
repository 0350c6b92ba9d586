//! Who holds which refresh token.

use super::{spot, stored};
use crate::ctx::Ctx;
use crate::rules::agent::RefreshLocks;
use crate::rules::doctor::{Grants, Holder, Who};
use crate::rules::login::Login;
use crate::rules::policy::Share;
use crate::rules::view::View;

/// Of what is watched, and of the logins in `unwatched`.
pub(super) fn gather(ctx: &Ctx, view: &View, unwatched: &[Login]) -> Grants {
    let mut holders = holders(ctx, view);
    holders.extend(unwatched.iter().filter_map(|login| {
        let grant = login.grant()?;
        Some(Holder {
            token: grant.refresh.token()?.fingerprint(),
            who: Who::Login(login.place.id.clone(), spot(ctx, &login.place.dir)),
            locked: None,
        })
    }));
    Grants {
        holders,
        share_access: ctx.config.sync.share == Share::Access,
    }
}

fn holders(ctx: &Ctx, view: &View) -> Vec<Holder> {
    let mut holders = Vec::new();
    for login in stored(view) {
        if let Some(token) = login.login.grant().and_then(|grant| grant.refresh.token()) {
            holders.push(Holder {
                token: token.fingerprint(),
                who: Who::Login(login.id().to_owned(), spot(ctx, &login.login.place.dir)),
                locked: None,
            });
        }
    }
    for agent in &view.agents {
        let locked = view.state_dirs[agent.agent.state_dir].refresh_locks == Ok(RefreshLocks::GrantThenStore);
        for profile in &agent.profiles {
            if let Some(token) = profile.profile.credential.refresh_fingerprint() {
                holders.push(Holder {
                    token,
                    who: Who::Profile(agent.label(), profile.profile.id.clone()),
                    locked: locked.then_some(agent.agent.state_dir),
                });
            }
        }
    }
    holders
}
