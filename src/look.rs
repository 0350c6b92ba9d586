//! What there is: every login, every agent's store, judged as of now. Reads only; writes nothing, locks nothing.

use self::reach::Around;
use crate::ctx::Ctx;
use crate::edge::files;
use crate::rules::agent::{self, Agent, Generation, OWN_MODE, StateDir};
use crate::rules::health::{self, Hangs, Known};
use crate::rules::lineage::{self, LoginMemory, Relation};
use crate::rules::login::{self, Kept, Login, Source, State};
use crate::rules::memory::Ledger;
use crate::rules::policy::RenewMode;
use crate::rules::renew::Record;
use crate::rules::view::{AgentView, LoginView, ProfileView, View, copy_key, mirror_id, mirrored_login, retired};
use crate::rules::{resolve, spent};
use crate::secret::{Fingerprint, Secret};
use crate::sources::claude;
use crate::stores::dotenv::Dotenv;
use crate::stores::{aside, discover, store};
use crate::types::{Credential, DAY, Health, Held, Moment, Problem, Profile, Reason};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

mod openclaw;
mod problems;
mod reach;
mod team;
mod writable;
pub(crate) use openclaw::{Databases, RETIRED_ID};
pub(crate) use reach::{key, misplaced};
pub(crate) use team::{holders, unwatched};
use writable::{fit, prove_writable, unhealed, writable};

/// Looks at everything.
pub(crate) fn look(ctx: &Ctx, ledger: &Ledger) -> View {
    let now = ctx.clock.now();
    let mut found = discover::discover(&ctx.host);
    let mut problems = std::mem::take(&mut found.problems);
    let mut logins = Vec::new();
    let mut looked_at = Vec::new();
    problems.extend(literal_tilde(ctx));
    let by_runtime = openclaw::runtime_dirs(ctx, &found.state_dirs);
    for place in claude::places_with(&ctx.host, &ctx.config.logins, &by_runtime) {
        looked_at.push(place.file());
        let login = claude::look(&ctx.host, &place);
        let remembered = ledger.logins.get(&place.id);
        let wanted = place.configured || by_runtime.contains(&place.dir);
        if matches!(login.state, State::Absent) && remembered.is_none() && !wanted {
            continue;
        }
        problems.extend(problems::of_login(ctx, &login));
        logins.push(judge_login(ctx, ledger, login, now));
    }
    if let Some(token) = claude::env_token(&ctx.host) {
        logins.push(token_login(ctx, ledger, "env", &token, now));
    }
    logins.extend(kept_tokens(ctx, ledger, now));
    looked_at.append(&mut found.looked_at);
    let shared = shared_stores(&found);
    let mut agents: Vec<AgentView> = found
        .agents
        .into_iter()
        .map(|agent| look_at_agent(ctx, agent, &found.state_dirs, &shared, &mut problems))
        .collect();
    let around = Around {
        ctx,
        ledger,
        logins: &logins,
        state_dirs: &found.state_dirs,
        now,
    };
    for agent in &mut agents {
        judge_agent(&around, agent);
    }
    for agent in &mut agents {
        prove_writable(ctx, agent, now);
    }
    problems.extend(team::recognise(ctx, &mut agents, &logins));
    reach::resolve_all(ctx, &mut agents, &found.state_dirs, now);
    for agent in &agents {
        problems.extend(reach::store_problems(ctx, agent));
        if reach::wants(agent) {
            problems.extend(reach::misplaced(ctx, agent));
        }
    }
    problems.extend(found.state_dirs.iter().filter_map(|dir| reach::beside(ctx, dir)));
    for state_dir in &found.state_dirs {
        problems.extend(problems::of_dotenv(ctx, ledger, state_dir));
    }
    let mut view = View {
        now,
        logins,
        agents,
        state_dirs: found.state_dirs,
        problems,
        looked_at,
    };
    for i in 0..view.logins.len() {
        view.logins[i].unhealed = unhealed(ctx, &view, i);
    }
    view
}

/// The judged world and what it was judged by: all that it takes to look at a part of it again.
#[derive(Clone, Copy)]
pub(crate) struct World<'a> {
    pub(crate) ctx: &'a Ctx,
    pub(crate) ledger: &'a Ledger,
    pub(crate) view: &'a View,
}

impl<'a> World<'a> {
    /// As the view was judged.
    pub(crate) fn of(ctx: &'a Ctx, ledger: &'a Ledger, view: &'a View) -> Self {
        Self { ctx, ledger, view }
    }
}

/// Reads one agent's store and every login again, under the store's lock: what is decided next is decided from this.
/// The view holds that agent alone; the store's text rides along for patching.
pub(crate) fn again(World { ctx, ledger, view }: World<'_>, agent: &AgentView) -> (View, Option<String>) {
    let now = ctx.clock.now();
    let logins = view.logins.iter().map(|login| match login.login.source {
        Source::Env => login.clone(),
        _ => judge_login(ctx, ledger, claude::look(&ctx.host, &login.login.place), now),
    });
    let logins: Vec<LoginView> = logins.collect();
    let store::Looked {
        state,
        text,
        meta,
        aside,
    } = store::look(&agent.path);
    let state_dir = &view.state_dirs[agent.agent.state_dir];
    let writable = writable(ctx, &agent.agent, state_dir, &state, meta.as_ref()).and_then(|()| fit(&state, &aside));
    let mut fresh = AgentView {
        store: state,
        meta,
        writable,
        profiles: Vec::new(),
        aside,
        ..agent.clone()
    };
    let around = Around {
        ctx,
        ledger,
        logins: &logins,
        state_dirs: &view.state_dirs,
        now,
    };
    judge_agent(&around, &mut fresh);
    let view = View {
        now,
        logins,
        agents: vec![fresh],
        state_dirs: view.state_dirs.clone(),
        problems: Vec::new(),
        looked_at: Vec::new(),
    };
    (view, text)
}

/// What an agent's store holds now, whatever its format; nothing where it cannot be read.
pub(crate) fn profiles_again(agent: &AgentView) -> Vec<Profile> {
    match agent.sqlite && !retired(agent) {
        true => openclaw::profiles_again(agent),
        false => store::read(&agent.path).0.profiles().to_vec(),
    }
}

fn judge_login(ctx: &Ctx, ledger: &Ledger, login: Login, now: Moment) -> LoginView {
    let before = ledger.logins.get(&login.place.id);
    let spent = login.grant().is_some_and(|grant| {
        is_spent(ledger, grant.refresh.token().map(Secret::fingerprint))
            || spent::put_back(before, grant, &ledger.spent, now)
    });
    let memory = match login.grant() {
        // what was put back is not what became of the login: what it had reached stays known
        Some(_) if spent && before.is_some() => before.cloned(),
        Some(grant) => lineage::observe(before, grant),
        None => before.map(|memory| LoginMemory {
            signed_in: false,
            ..memory.clone()
        }),
    };
    let known = Known {
        rejected: &ledger.rejected,
        abandoned: login.abandoned,
        spent,
        kept: ctx.config.renew.always && ctx.config.renew.mode != RenewMode::Off,
    };
    let verdict = health::login(&login.state, known, ctx.config.alerts.at(now));
    let healed = ledger.healed.get(&login.place.id);
    LoginView {
        memory,
        renewal: ledger.renewals.get(&login.place.id).cloned(),
        healed: healed.filter(|healed| now - healed.at < DAY).cloned(),
        ..LoginView::new(login, verdict)
    }
}

fn is_spent(ledger: &Ledger, token: Option<Fingerprint>) -> bool {
    !ledger.spent.is_empty() && token.is_some_and(|token| ledger.spent.contains_key(&token))
}

/// Setup tokens that were put into a file of their own or an agents' `.env`, and are still there.
fn kept_tokens(ctx: &Ctx, ledger: &Ledger, now: Moment) -> Vec<LoginView> {
    let held = |kept: &Kept| match &kept.var {
        Some(name) => Dotenv::read(&kept.path).0.get(name).cloned(),
        None => {
            let bytes = files::read(&kept.path).ok()?.bytes;
            Some(Secret::new(std::str::from_utf8(&bytes).ok()?.trim()))
        }
    };
    ledger
        .setup_tokens
        .iter()
        .filter_map(|(fingerprint, known)| {
            let kept = known.kept.as_ref()?;
            let token = held(kept).filter(|token| token.fingerprint() == *fingerprint)?;
            Some(token_login(ctx, ledger, &ctx.host.tilde(&kept.path), &token, now))
        })
        .collect()
}

/// A token outside any store is a login of its own: it works until a day that only the ledger may know.
fn token_login(ctx: &Ctx, ledger: &Ledger, id: &str, token: &Secret, now: Moment) -> LoginView {
    let place = login::Place::new(id, PathBuf::new(), true);
    let grant = login::Grant::new(token.clone(), login::Refresh::None, None);
    let known = ledger.setup_tokens.get(&token.fingerprint());
    let verdict = health::env_token(token, known, ctx.config.alerts.at(now));
    LoginView::new(Login::new(place, Source::Env, State::SignedIn(grant)), verdict)
}

/// What the agents of each state directory share, by its index; nothing where they keep no SQLite.
fn shared_stores(found: &discover::Found) -> Vec<openclaw::Shared> {
    let one = |(i, state_dir): (usize, &StateDir)| {
        if state_dir.generation != Generation::Sqlite {
            return openclaw::Shared::default();
        }
        let main = |agent: &&Agent| agent.state_dir == i && agent.agent.id == "main";
        let main = found.agents.iter().find(main).map(|agent| agent.agent.dir.clone());
        let implied = || state_dir.dir.join("agents/main/agent");
        openclaw::shared(state_dir, &main.unwrap_or_else(implied))
    };
    found.state_dirs.iter().enumerate().map(one).collect()
}

fn look_at_agent(
    ctx: &Ctx,
    agent: Agent,
    state_dirs: &[StateDir],
    shared: &[openclaw::Shared],
    problems: &mut Vec<Problem>,
) -> AgentView {
    let state_dir = &state_dirs[agent.state_dir];
    let json = agent.agent.dir.join(store::FILE_NAME);
    if state_dir.generation == Generation::Sqlite {
        let shared = &shared[agent.state_dir];
        return openclaw::look_at(ctx, agent, shared, json, problems);
    }
    let store::Looked {
        mut state,
        meta,
        mut aside,
        ..
    } = store::look(&json);
    if let agent::Store::Refused(why) = &state
        && files::owner_kept_out(&json)
    {
        state = agent::Store::OwnMode(format!("{why}: {OWN_MODE}"));
    }
    if state_dir.auth_state {
        let beside = aside::of_state_file(&agent.agent.dir);
        aside.order.splice(0..0, beside.order);
        aside.usage.extend(beside.usage);
    }
    let writable = writable(ctx, &agent, state_dir, &state, meta.as_ref()).and_then(|()| fit(&state, &aside));
    let foreign = match &state {
        agent::Store::Refused(_) | agent::Store::OwnMode(_) => problems::another_owner(&state_dir.dir, &json),
        _ => meta
            .as_ref()
            .map(|meta| (json.clone(), meta.uid))
            .filter(|(_, uid)| !files::can_keep_owner(*uid)),
    };
    problems.extend(problems::of_store(ctx, &agent, &json, &state, foreign.as_ref()));
    AgentView {
        agent,
        path: json,
        sqlite: false,
        store: state,
        meta,
        writable,
        profiles: Vec::new(),
        aside,
        uses: Vec::new(),
        foreign: foreign.map(|(path, _)| path),
        retires_claude_cli: false,
    }
}

/// Whether a refresh token is known to be of no use, and why.
fn dead(ledger: &Ledger, credential: &Credential, alone: bool, relation: Relation) -> Option<Reason> {
    // as long as no token is, none of thousands need be hashed
    if ledger.rejected.is_empty() && ledger.spent.is_empty() {
        return None;
    }
    let token = credential.refresh_fingerprint();
    let rejected = token.is_some_and(|token| ledger.rejected.contains(&token)) && relation != Relation::Older;
    match alone && is_spent(ledger, token) {
        true => Some(Reason::OlderState),
        false => rejected.then_some(Reason::Rejected),
    }
}

/// How a profile's own renewals went. Thousands of profiles have none: no key is made for them.
fn renewal_of(ledger: &Ledger, label: &str, id: &str) -> Option<Box<Record>> {
    let any = !ledger.renewals.is_empty();
    any.then(|| ledger.renewals.get(&copy_key(label, id)).cloned().map(Box::new))
        .flatten()
}

fn judge_agent(around: &Around<'_>, view: &mut AgentView) {
    let Around {
        ctx,
        ledger,
        logins,
        state_dirs,
        now,
    } = *around;
    let label = view.label();
    let is_retired = retired(view);
    let state_dir = &state_dirs[view.agent.state_dir];
    let runtime = openclaw::runtime_profile(ctx, view, state_dir, logins);
    let sqlite = view.sqlite && !is_retired;
    let refused = view.retires_claude_cli.then(openclaw::retired);
    let judge = |profile: Profile| {
        let (login, relation) = match (&profile.held, &profile.credential) {
            (Held::Referenced(to), _) => (
                openclaw::referenced_login(&ctx.host, state_dir, to, logins),
                Relation::Same,
            ),
            // a token in SQLite is brought up to date by nobody: it lives by its own clock
            (_, Credential::Token { .. }) if sqlite => (None, Relation::Unknown),
            _ => hangs_on(around, &label, &profile),
        };
        let hangs = login.map(|i| Hangs {
            login: &logins[i].verdict,
            relation,
        });
        let of_login = sqlite.then(|| openclaw::with_the_logins_end(&profile, logins));
        let credential = match of_login.flatten() {
            Some(credential) => Cow::Owned(credential),
            None => health::with_known_end(&profile.credential, &ledger.setup_tokens),
        };
        let mut verdict = match health::held(&profile, relation, now) {
            Some(verdict) => match (&profile.held, login) {
                (Held::Referenced(_), Some(i)) => logins[i].verdict,
                _ => reach::with_the_end_of(around, state_dir, &profile.held, verdict),
            },
            None => health::profile(
                &health::without_made_up_end(credential, now),
                &profile.provider,
                hangs,
                ctx.config.renew.mode == RenewMode::Off,
                ctx.config.alerts.at(now),
            ),
        };
        if let Some(refused) = refused.filter(|_| profile.id == openclaw::RETIRED_ID) {
            verdict = refused;
        }
        if let Some(reason) = dead(ledger, &profile.credential, login.is_none(), relation) {
            let over = profile.credential.expires().is_none_or(|end| end <= now);
            verdict.health = if over { Health::Expired } else { Health::Expiring };
            verdict.reason = Some(reason);
        }
        if is_retired {
            verdict.reason = Some(Reason::StoreRetired);
        }
        ProfileView {
            clock: health::clock(&profile.credential, now),
            verdict,
            login,
            relation,
            renewal: renewal_of(ledger, &label, &profile.id),
            elsewhere: None,
            profile,
        }
    };
    let profiles = view.store.take_profiles().into_iter().map(judge);
    view.profiles = profiles.chain(runtime).collect();
}

/// The login a profile hangs on: the one whose tokens it holds, else the one that its id mirrors.
fn hangs_on(around: &Around<'_>, label: &str, profile: &Profile) -> (Option<usize>, Relation) {
    let Around {
        ctx,
        ledger,
        logins,
        now,
        ..
    } = *around;
    // other providers' tokens are no copies of a login: hashing thousands of them would take most of a look's time
    let provider = resolve::normalise_provider(&profile.provider);
    if profile.credential == Credential::ApiKey || !matches!(provider.as_ref(), "anthropic" | "claude-cli") {
        return (None, Relation::Unknown);
    }
    let copy = ledger.copies.get(&copy_key(label, &profile.id));
    let mut newer = None;
    for (i, login) in logins.iter().enumerate() {
        let Some(memory) = &login.memory else { continue };
        let put_back = login.verdict.reason == Some(Reason::OlderState);
        match lineage::relation(&profile.credential, copy, login.id(), memory) {
            Relation::Unknown => {}
            // what the login had reached before an older state of it was put back lives here
            Relation::Same if put_back && matches!(profile.credential, Credential::Oauth { .. }) => newer = Some(i),
            Relation::Newer => newer = newer.or(Some(i)),
            relation => return (Some(i), relation),
        }
    }
    // a token that another login is known to have had was returned above
    if let Some(i) = newer.filter(|_| lineage::descends(profile, copy, now)) {
        return (Some(i), Relation::Newer);
    }
    // a token that outlives any access token by far is one of its own, a setup token say
    let own = match &profile.credential {
        Credential::Token { token, expires } => {
            expires.is_none_or(|end| end - now > DAY)
                || token
                    .as_ref()
                    .is_some_and(|token| ledger.setup_tokens.contains_key(&token.fingerprint()))
        }
        _ => false,
    };
    let login = (!own).then(|| mirrored_login(logins, label)).flatten();
    (
        login.filter(|i| mirror_id(&ctx.config.sync, &logins[*i]) == profile.id),
        Relation::Unknown,
    )
}

/// What a look leaves to be remembered: each login's memory, and which of its refresh tokens each copy held.
pub(crate) fn remember(view: &View, ledger: &mut Ledger) {
    for login in &view.logins {
        if let Some(memory) = &login.memory {
            // known by more than its token at first
            if login.verdict.reason == Some(Reason::OlderState)
                && let Some(token) = login.login.grant().and_then(|grant| grant.refresh.token())
                && !is_spent(ledger, Some(token.fingerprint()))
            {
                spent::note(&mut ledger.spent, token.fingerprint(), memory.deadline, view.now);
            }
            let before = ledger.logins.get(login.id());
            if let Some(token) = spent::rotated(before, memory, &ledger.spent) {
                spent::note(&mut ledger.spent, token, memory.deadline, view.now);
            }
            ledger.logins.insert(login.id().to_owned(), memory.clone());
        }
        // remembered after it was replaced: what it pointed to then holds a spent token
        // a name that is no text cannot be written down
        if let Some(link) = login.login.link.as_ref().filter(|link| link.to_str().is_some()) {
            ledger.links.insert(login.id().to_owned(), link.clone());
        }
    }
    let mut copies = BTreeMap::new();
    for agent in &view.agents {
        let label = agent.label();
        for profile in &agent.profiles {
            let key = copy_key(&label, &profile.profile.id);
            let held = match (
                profile.login,
                profile.relation,
                profile.profile.credential.refresh_fingerprint(),
            ) {
                (Some(login), Relation::Same | Relation::Older, Some(refresh)) => Some(lineage::CopyMemory {
                    login: view.logins[login].id().to_owned(),
                    refresh,
                    renewed: None,
                    account: profile.profile.account,
                }),
                // renewed by its agent and not healed yet: what it held before is what will tell
                (login, Relation::Newer, renewed) => ledger.copies.get(&key).map(|held| lineage::CopyMemory {
                    refresh: login
                        .and_then(|login| view.logins[login].memory.as_ref()?.refresh)
                        .unwrap_or(held.refresh),
                    renewed,
                    ..held.clone()
                }),
                _ => None,
            };
            if let Some(held) = held {
                copies.insert(key, held);
            }
        }
        if agent.store.unread().is_some() {
            let of_this = |(key, _): &(&String, &lineage::CopyMemory)| key.starts_with(&format!("{label}#"));
            let kept = ledger.copies.iter().filter(of_this);
            copies.extend(kept.map(|(key, copy)| (key.clone(), copy.clone())));
        }
    }
    ledger.copies = copies;
}

/// systemd and `.env` files expand neither a tilde nor a variable, and neither does Claude Code.
fn literal_tilde(ctx: &Ctx) -> Option<Problem> {
    let (name, value) = ["CLAUDE_SECURESTORAGE_CONFIG_DIR", "CLAUDE_CONFIG_DIR"]
        .iter()
        .find_map(|name| Some((*name, ctx.host.var(name)?)))?;
    let what = match value.get(..1) {
        Some("~") => "tilde",
        Some("$") => "variable",
        _ => return None,
    };
    let first = value.split('/').next().unwrap_or(value);
    let meant = match value.strip_prefix("$HOME/") {
        Some(rest) => ctx.host.home.join(rest),
        None => ctx.host.path(value),
    };
    Some(Problem::at(
        "literal_tilde",
        ctx.host.cwd.join(value),
        format!(
            "`{name}` is `{value}` with the {what} not expanded: Claude Code uses a directory named `{first}` below its working directory"
        ),
        format!("write the full path: `{name}={}`", meant.display()),
    ))
}
