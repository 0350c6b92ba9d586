//! Owners and modes, our state directory, and the room on its disk.

use super::{spot, stored};
use crate::ctx::Ctx;
use crate::edge::files;
use crate::renew;
use crate::rules::doctor::{Files, Holds, ModeFact, StateFact};
use crate::rules::memory::Ledger;
use crate::rules::renew::Stage;
use crate::rules::view::View;
use crate::types::Meta;
use std::path::Path;

pub(super) fn gather(ctx: &Ctx, ledger: &Ledger, view: &View) -> Files {
    Files {
        modes: modes(ctx, view),
        state: state(ctx, ledger),
    }
}

fn modes(ctx: &Ctx, view: &View) -> Vec<ModeFact> {
    let us = files::our_uid();
    let mut facts = Vec::new();
    let mut add = |path: &Path, holds: Holds, meta: Option<Meta>, should: Option<u32>| {
        let Some(meta) = meta else { return };
        facts.push(ModeFact {
            spot: spot(ctx, path),
            holds,
            mode: meta.mode,
            uid: meta.uid,
            should: should.unwrap_or(meta.uid),
            ours: meta.uid == us,
        });
    };
    let above = |path: &Path| path.parent().and_then(files::stat).map(|dir| dir.uid);
    for login in stored(view) {
        let login = &login.login;
        add(&login.place.file(), Holds::Login, login.meta.clone(), login.dir_uid);
    }
    for agent in &view.agents {
        let database = agent.sqlite && agent.path.extension().is_some_and(|e| e == "sqlite");
        let holds = if database { Holds::Database } else { Holds::Store };
        let meta = agent.meta.clone().or_else(|| files::stat(&agent.path));
        add(&agent.path, holds, meta, above(&agent.path));
    }
    for state_dir in view.state_dirs.iter().filter(|dir| !dir.dotenv.is_empty()) {
        let path = state_dir.dir.join(".env");
        add(&path, Holds::Dotenv, files::stat(&path), None);
    }
    // root may look at a user's state without being the one who should own it
    let should = (!files::is_root()).then_some(us);
    add(&ctx.state_dir, Holds::MemoryDir, files::stat(&ctx.state_dir), should);
    for dir in [ctx.state_dir.clone(), ctx.state_dir.join("rescue")] {
        for name in files::list(&dir) {
            let path = dir.join(name);
            if files::is_file(&path) {
                add(&path, Holds::Memory, files::stat(&path), should);
            }
        }
    }
    // a store that agents share is looked at once
    facts.dedup_by(|a, b| a.spot.path == b.spot.path);
    facts
}

fn state(ctx: &Ctx, ledger: &Ledger) -> StateFact {
    let dir = &ctx.state_dir;
    // where it is not made yet, what would be made first counts
    let there = dir.ancestors().find(|dir| files::exists(dir)).unwrap_or(dir);
    let not_writable = match files::is_dir(there) {
        true => files::can_write(there).err().map(|error| files::io_words(&error)),
        false => Some(format!("`{}` is no directory", ctx.host.tilde(there))),
    };
    let renewals = ledger.renewals.iter();
    let sent = renewals.filter(|(_, record)| matches!(record.stage, Stage::Sent { .. }));
    StateFact {
        shown: ctx.host.tilde(dir),
        not_writable,
        room: files::room(there),
        rescued: renew::rescued(dir).iter().map(|path| spot(ctx, path)).collect(),
        fences: sent.map(|(whom, _)| whom.clone()).collect(),
    }
}
