//! Locks that exist, and the process each one names.

use super::{pid, spot, stored};
use crate::ctx::Ctx;
use crate::edge::{files, locks, process};
use crate::json::Fields;
use crate::rules::doctor::{LockFact, LockOf};
use crate::rules::login;
use crate::rules::view::View;
use crate::sources::claude::{REFRESH_LOCK, WRITE_LOCK};
use crate::sources::{claude, owner};
use crate::stores::families::{GRANT_LOCK, GRANT_LOCKS, STORE_LOCK};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) fn gather(ctx: &Ctx, view: &View) -> Vec<LockFact> {
    let mut facts = Vec::new();
    let mut look = |path: PathBuf, of: LockOf, limit: Duration, record: Option<PathBuf>| {
        let Ok(Some(seen)) = locks::look(&path, limit) else {
            return;
        };
        let held = record.as_deref().is_some_and(owner::is_held);
        let holder = match seen.pid {
            Some(pid) => Some((pid, process::is_alive(pid), process_name(pid))),
            None => record.as_deref().and_then(recorded),
        };
        facts.push(LockFact {
            spot: spot(ctx, &path),
            of,
            is_dir: seen.is_dir(),
            touched: seen.touched,
            stale: seen.stale && !held,
            limit,
            pid: holder,
        });
    };
    for login in stored(view) {
        let (place, id) = (&login.login.place, login.id());
        for lock in [place.refresh_lock(), claude::dir_lock(place)] {
            let record = Some(place.owner_record());
            look(lock, LockOf::Refresh(id.into()), REFRESH_LOCK.stale_after, record);
        }
        let save = LockOf::Save(id.into());
        look(place.write_lock(), save, WRITE_LOCK.stale_after, None);
    }
    for agent in view.agents.iter().filter(|agent| !agent.sqlite) {
        let real = files::real_or_same(&agent.path);
        let of = LockOf::Store(agent.label());
        let lock = locks::lock_path(&real);
        let record = login::owner_beside(&lock);
        look(lock, of, STORE_LOCK.stale_after, Some(record));
    }
    for state_dir in &view.state_dirs {
        let dir = state_dir.dir.join(GRANT_LOCKS);
        for name in files::list(&dir).iter().filter(|name| name.ends_with(".lock")) {
            look(dir.join(name), LockOf::Grant, GRANT_LOCK.stale_after, None);
        }
    }
    facts
}

/// Whom Claude Code's record beside its lock names, whether that lives, and its name. The record has the process's start and the
/// namespace that its number belongs to (2.1.330), so that another process with the same id is not mistaken for it.
fn recorded(record: &Path) -> Option<(u32, bool, Option<String>)> {
    let bytes = files::read(record).ok()?.bytes;
    let pid = pid(&bytes)?;
    let fields = Fields::parse(std::str::from_utf8(&bytes).ok()?).ok()?;
    let text = |key: &str| fields.get(key).and_then(|value| value.str());
    let ours = files::link_target(Path::new("/proc/self/ns/pid"));
    let ours = ours.as_ref().and_then(|path| path.file_name()?.to_str());
    if let (Some(domain), Some(ours)) = (text("pidDomain"), ours)
        && domain.contains("pid:[")
        && !domain.ends_with(ours)
    {
        return None;
    }
    let started = text("procStart").zip(process::start(pid));
    let alive = process::is_alive(pid) && started.is_none_or(|(then, now)| then == now.to_string());
    Some((pid, alive, process_name(pid).filter(|_| alive)))
}

fn process_name(pid: u32) -> Option<String> {
    let bytes = files::read(Path::new(&format!("/proc/{pid}/comm"))).ok()?.bytes;
    Some(String::from_utf8_lossy(&bytes).trim().to_owned())
}
