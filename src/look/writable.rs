//! Whether stores and logins that have fallen behind can be written, why not, and what changes that.

use crate::ctx::Ctx;
use crate::edge::{files, target};
use crate::rules::agent::{self, Agent, Binds, Generation, NotWritten, StateDir};
use crate::rules::health::Verdict;
use crate::rules::lineage::Relation;
use crate::rules::login::Source;
use crate::rules::resolve::{self, Aside};
use crate::rules::view::{AgentView, ProfileView, Unhealed, View};
use crate::rules::{plan, wording};
use crate::stores::{families, store};
use crate::types::{Health, Meta, Moment, Reason};

/// Whether a store may be written. Asked again under its lock.
pub(super) fn writable(
    ctx: &Ctx,
    agent: &Agent,
    state_dir: &StateDir,
    state: &agent::Store,
    meta: Option<&Meta>,
) -> Result<(), NotWritten> {
    if let Generation::Unknown(why) = &state_dir.generation {
        return Err(why.clone().into());
    }
    let label = agent.agent.label();
    let (excludes, others): (Vec<_>, Vec<_>) = ctx
        .config
        .sync
        .exclude_agents
        .iter()
        .partition(|pattern| pattern.matches(&label));
    if !excludes.is_empty() {
        let others: Vec<&str> = others.into_iter().map(glob::Pattern::as_str).collect();
        return Err(NotWritten {
            fix: Some(wording::sync_again("exclude_agents", &others.join(","))),
            ..NotWritten::from("excluded by `sync.exclude_agents`")
        });
    }
    match state {
        agent::Store::Refused(why) | agent::Store::OwnMode(why) => return Err(why.clone().into()),
        agent::Store::Absent if files::exists(&agent.agent.dir.join(families::LEGACY_STORE)) => {
            return Err("the agent has to import its legacy `auth.json` first".into());
        }
        state => {
            if let Some(why) = state.unread() {
                return Err(format!("no store: {why}").into());
            }
        }
    }
    match meta {
        Some(meta) if !files::can_keep_owner(meta.uid) => Err(NotWritten {
            fix: Some(wording::take_over(
                &ctx.host.tilde(&agent.agent.dir.join(store::FILE_NAME)),
            )),
            binds: Binds::Everybody,
            ..NotWritten::from("it belongs to another user")
        }),
        _ => Ok(()),
    }
}

/// A file of another form than a store is not made one: what stands in it would be lost with the agent's next write.
pub(super) fn fit(state: &agent::Store, aside: &Aside) -> Result<(), NotWritten> {
    let outside = aside.ignored.iter().any(|one| one.why == resolve::Unread::Outside);
    match outside && state.profiles().is_empty() {
        true => Err("its entries stand outside `profiles`".into()),
        false => Ok(()),
    }
}

/// Asks the system whether a store can be replaced, where it would be: every question costs time, and most stores are up to date.
/// What its agent cannot save either, it does not renew.
pub(super) fn prove_writable(ctx: &Ctx, agent: &mut AgentView, now: Moment) {
    let behind = |profile: &ProfileView| {
        profile.login.is_some()
            && (!profile.verdict.fine() || profile.relation == Relation::Older || profile.clock == Health::Expired)
    };
    if agent.sqlite || !agent.profiles.iter().any(behind) {
        return;
    }
    if agent.writable.is_ok()
        && let Err(unfit) = target::prove(&agent.path)
    {
        agent.writable = Err(NotWritten {
            fix: Some(unfit.fix(&ctx.host.tilde(&agent.path))),
            binds: Binds::Everybody,
            ..format!("it {}", unfit.words()).into()
        });
    }
    if !matches!(&agent.writable, Err(not) if not.binds == Binds::Everybody) {
        return;
    }
    for profile in agent.profiles.iter_mut().filter(|profile| profile.login.is_some()) {
        let ends = profile.profile.credential.expires();
        if profile.verdict.fine() && ends.is_some_and(|end| end + ctx.config.alerts.grace <= now) {
            profile.verdict = Verdict {
                health: Health::Expired,
                reason: Some(Reason::CopyStale),
                ends,
            };
        }
    }
}

/// What keeps a login from being brought up to date from an agent's newer copy of it.
pub(super) fn unhealed(ctx: &Ctx, view: &View, index: usize) -> Option<Unhealed> {
    let login = &view.logins[index].login;
    let heals = |agent: &AgentView| {
        let hang = agent.profiles.iter().any(|profile| profile.login == Some(index));
        hang && plan::store(&ctx.config.sync, view, agent)
            .heal
            .is_some_and(|(of, _)| of == index)
    };
    if !ctx.config.sync.enabled || login.source != Source::File || !view.agents.iter().any(heals) {
        return None;
    }
    let path = login.place.file();
    let unfit = target::prove(&path).err()?;
    Some(Unhealed {
        why: format!("it {}", unfit.words()),
        fix: unfit.fix(&ctx.host.tilde(&path)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::tests::{NOW, ctx};
    use crate::rules::memory::Ledger;

    #[test]
    fn a_copy_that_nobody_can_save_has_expired_once_its_grace_is_over() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join(".clawdbot/agents/main/agent");
        std::fs::create_dir_all(&dir).unwrap();
        let copy = r#"{"type":"token","provider":"anthropic","token":"old","expires":EXPIRES}"#;
        let ctx = ctx(home.path());
        let grace = ctx.config.alerts.grace;
        let kept_out = |binds| NotWritten {
            binds,
            ..NotWritten::from("why")
        };
        for (ended, writable, health) in [
            (grace - 1, Err(kept_out(Binds::Everybody)), Health::Ok),
            (grace, Err(kept_out(Binds::Everybody)), Health::Expired),
            (grace + 1, Err(kept_out(Binds::Everybody)), Health::Expired),
            // its agent saves what it renews
            (grace + 1, Err(kept_out(Binds::Us)), Health::Ok),
            (grace + 1, Ok(()), Health::Ok),
        ] {
            let text = copy.replace("EXPIRES", &(NOW - ended).to_string());
            std::fs::write(
                dir.join(store::FILE_NAME),
                format!(r#"{{"profiles":{{"anthropic:claude-cli":{text}}}}}"#),
            )
            .unwrap();
            let mut agent = super::super::look(&ctx, &Ledger::default()).agents.swap_remove(0);
            agent.writable = writable.clone();
            agent.profiles[0].login = Some(0);
            agent.profiles[0].relation = Relation::Older;
            agent.profiles[0].verdict = Verdict {
                health: Health::Ok,
                reason: None,
                ends: None,
            };
            prove_writable(&ctx, &mut agent, NOW);
            let verdict = agent.profiles[0].verdict;
            assert_eq!(verdict.health, health, "{ended} {writable:?}");
            let stale = (health == Health::Expired).then_some(Reason::CopyStale);
            assert_eq!((verdict.reason, verdict.ends), (stale, stale.map(|_| NOW - ended)));
        }
    }

    fn looked(ctx: &Ctx) -> View {
        let dir = ctx.host.home.join(".clawdbot/agents/main/agent");
        let login = ctx.host.home.join(".claude");
        std::fs::create_dir_all(&dir).unwrap();
        std::fs::create_dir_all(&login).unwrap();
        let grant = |end| {
            format!(r#"{{"claudeAiOauth":{{"accessToken":"a","refreshToken":"R1","expiresAt":{end},"scopes":[]}}}}"#)
        };
        let copy = format!(
            r#"{{"profiles":{{"anthropic:claude-cli":{{"type":"oauth","provider":"anthropic","access":"b","refresh":"R2","expires":{}}}}}}}"#,
            NOW + 9000
        );
        std::fs::write(login.join(".credentials.json"), grant(NOW + 1000)).unwrap();
        std::fs::write(dir.join(store::FILE_NAME), copy).unwrap();
        super::super::look(ctx, &Ledger::default())
    }

    #[test]
    fn a_login_is_not_healed_where_its_own_file_cannot_be_replaced() {
        let home = tempfile::tempdir().unwrap();
        let mut ctx = ctx(home.path());
        let mut view = looked(&ctx);
        view.agents[0].profiles[0].relation = Relation::Newer;
        view.agents[0].profiles[0].login = Some(0);
        assert_eq!(unhealed(&ctx, &view, 0), None);
        // something else stands in its place
        let dir = home.path().join("other");
        std::fs::create_dir_all(dir.join(".credentials.json")).unwrap();
        view.logins[0].login.place.dir = dir;
        for (enabled, source, login, relation, said) in [
            (true, Source::File, Some(0), Relation::Newer, true),
            (false, Source::File, Some(0), Relation::Newer, false),
            (true, Source::Keychain, Some(0), Relation::Newer, false),
            (true, Source::File, None, Relation::Newer, false),
            (true, Source::File, Some(0), Relation::Unknown, false),
        ] {
            ctx.config.sync.enabled = enabled;
            view.logins[0].login.source = source;
            view.agents[0].profiles[0].login = login;
            view.agents[0].profiles[0].relation = relation;
            let found = unhealed(&ctx, &view, 0);
            let why = found.as_ref().map(|found| found.why.as_str());
            assert_eq!(
                why,
                said.then_some("it is a directory"),
                "{enabled} {source:?} {login:?} {relation:?}"
            );
        }
    }

    #[test]
    fn the_system_is_asked_of_a_store_that_is_behind() {
        let home = tempfile::tempdir().unwrap();
        let ctx = ctx(home.path());
        let agent = looked(&ctx).agents.swap_remove(0);
        let (ok, ended, same) = (Health::Ok, Health::Expired, Relation::Same);
        for (sqlite, login, health, relation, clock, asked) in [
            (false, None, ended, Relation::Older, ended, false),
            (false, Some(0), ok, same, ok, false),
            (false, Some(0), ended, same, ok, true),
            (false, Some(0), ok, Relation::Older, ok, true),
            (false, Some(0), ok, same, ended, true),
            (true, Some(0), ended, Relation::Older, ended, false),
        ] {
            let mut agent = agent.clone();
            // a directory in its place
            agent.path = home.path().into();
            (agent.sqlite, agent.writable) = (sqlite, Ok(()));
            let profile = &mut agent.profiles[0];
            (profile.login, profile.relation, profile.clock) = (login, relation, clock);
            profile.verdict = Verdict {
                health,
                reason: None,
                ends: None,
            };
            prove_writable(&ctx, &mut agent, NOW);
            let not = agent.writable.err();
            let said = not.map(|not| (not.binds, not.fix.is_some()));
            let wanted = asked.then_some((Binds::Everybody, true));
            assert_eq!(said, wanted, "{sqlite} {login:?} {health} {relation:?} {clock}");
        }
    }

    #[test]
    fn whose_store_is_not_written_and_what_changes_that() {
        let home = tempfile::tempdir().unwrap();
        let mut ctx = ctx(home.path());
        let view = looked(&ctx);
        let (agent, state_dir) = (&view.agents[0].agent, &view.state_dirs[0]);
        let here = |ctx: &Ctx, meta: Option<&Meta>| writable(ctx, agent, state_dir, &agent::Store::Absent, meta);
        let meta = view.agents[0].meta.clone().unwrap();
        let others = Meta {
            uid: files::our_uid() + 7,
            ..meta.clone()
        };
        assert_eq!(here(&ctx, Some(&meta)), Ok(()));
        // root can give a file to its owner again
        let not = NotWritten {
            fix: Some(wording::take_over("~/.clawdbot/agents/main/agent/auth-profiles.json")),
            binds: Binds::Everybody,
            ..NotWritten::from("it belongs to another user")
        };
        let wanted = if files::is_root() { Ok(()) } else { Err(not) };
        assert_eq!(here(&ctx, Some(&others)), wanted);
        let legacy = agent.agent.dir.join(families::LEGACY_STORE);
        std::fs::write(&legacy, "{}").unwrap();
        assert!(here(&ctx, None).is_err());
        std::fs::remove_file(&legacy).unwrap();
        ctx.config.sync.exclude_agents = ["clawdbot/*", "x"].map(|glob| glob.parse().unwrap()).into();
        let fix = here(&ctx, None).unwrap_err().fix;
        assert_eq!(fix, Some(wording::sync_again("exclude_agents", "x")));
    }
}
