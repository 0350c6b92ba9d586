//! The only orchestrator: look, plan, act, look again, judge, tell, record.
//!
//! A pass never fails and never retries: what went wrong is a finding, the next pass tries again. Nothing is written that was
//! not read again under its lock just before.

use crate::act::{heal_logins, heals, sweep, write_stores};
use crate::cause::Cause;
use crate::ctx::Ctx;
use crate::edge::files;
use crate::edge::locks::{self, LockError, PassLock};
use crate::note::Rest;
use crate::outcome::{self, Asked, Done, Outcome, Report, What};
use crate::rules::alert::{Alert, Why};
use crate::rules::login::Healed;
use crate::rules::memory::{Entry, Ledger, Outgoing};
use crate::rules::repairs::{self, Repairs};
use crate::rules::view::View;
use crate::rules::{self, plan, renew as renewal, spent, wording};
use crate::secret::{Fingerprint, Secret};
use crate::strangers::{PASS_PATIENCE, Tail, unusable};
use crate::types::{DAY, Moment, Ms, Problem, Severity};
use crate::{deliver, heard, history, judge, ledger, link, look, metrics, note, remotes, renew};
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;

/// What a pass is to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scope {
    /// Everything.
    Whole,
    /// Stores and logins alone; nobody is notified.
    Sync,
    /// The same, and logins are renewed.
    Refresh,
}

/// One pass.
pub(crate) async fn run(ctx: &Ctx, scope: Scope) -> Report {
    run_asked(ctx, scope, &Asked::default()).await
}

/// One pass, with what was asked of the renewals.
pub(crate) async fn run_asked(ctx: &Ctx, scope: Scope, asked: &Asked) -> Report {
    begin(ctx, scope, asked).await.finish(ctx).await
}

/// A pass up to where it would wait for strangers: what it found is saved and on its way.
pub(crate) async fn begin(ctx: &Ctx, scope: Scope, asked: &Asked) -> Begun {
    let begun = crate::edge::host::monotonic();
    let mut tail = (scope == Scope::Whole).then(|| Tail::begin(ctx, asked.at_leisure));
    let report = match Pass::open(ctx, &mut tail).await {
        Ok(mut pass) => {
            if let Some(tail) = &mut tail {
                pass.alert_ahead(tail, asked);
            }
            pass.settle().await;
            pass.heal().await;
            if scope != Scope::Sync {
                pass.renew(asked).await;
            }
            pass.write().await;
            let said = pass.judge(tail.as_mut());
            let told = pass.save(said);
            pass.close(told, &mut tail).await
        }
        Err(problems) => untouched(ctx, problems),
    };
    Begun { report, tail, begun }
}

/// What a pass carries from step to step.
struct Pass<'a> {
    ctx: &'a Ctx,
    /// Without it another pass might do the same: nothing is renewed, swept or told to a gateway.
    lock: Option<PassLock>,
    ledger: Ledger,
    /// The tokens that were known to be used up when the pass began.
    spent: BTreeMap<Fingerprint, Moment>,
    view: View,
    done: Vec<Done>,
    renewals: Vec<outcome::Seen>,
    problems: Vec<Problem>,
    /// What became of alerts before anything was repaired, and is not in the history yet.
    noted: Vec<Entry>,
}

/// What a pass has to say: to the history, to channels, to gateways.
struct Said {
    noted: Vec<Entry>,
    /// What is said this once, and so only if it can be remembered.
    once: Vec<Entry>,
    alerts: Vec<Alert>,
    leased: Vec<Outgoing>,
    reloads: Vec<link::Due>,
}

impl<'a> Pass<'a> {
    /// Takes the lock and looks. An error is what is wrong where there is nothing else to do.
    async fn open(ctx: &'a Ctx, tail: &mut Option<Tail>) -> Result<Self, Vec<Problem>> {
        let mut problems = Vec::new();
        if let Err(error) = files::make_dirs(&ctx.state_dir) {
            problems.push(unusable(ctx, "cannot be made", &error));
        }
        let lock = match locks::pass_lock(&ctx.state_dir, PASS_PATIENCE).await {
            Ok(lock) => Some(lock),
            Err(LockError::Busy(_)) => {
                problems.push(Problem::at(
                    "pass_running",
                    &ctx.state_dir,
                    "another pass has been running for two minutes",
                    "see which one it is: `pgrep -fl nolapse`",
                ));
                return Err(problems);
            }
            Err(LockError::Io(error)) => {
                problems.push(unusable(ctx, "cannot be locked", &error));
                None
            }
        };
        let loaded = ledger::load(&ctx.state_dir);
        let mut ledger = loaded.ledger;
        if let Some(problem) = loaded.problem {
            problems.push(problem);
            if loaded.newer {
                return Err(problems);
            }
            if let Err(error) = ledger::set_aside(&ctx.state_dir, ctx.clock.now(), &mut ledger) {
                problems.push(unusable(ctx, "cannot be written", &error));
            }
        }
        rules::set_back::settle(&mut ledger, ctx.clock.now());
        let spent = ledger.spent.clone();
        if let Some(tail) = tail {
            tail.ask(&mut ledger, ctx.clock.now());
        }
        let view = look::look(ctx, &ledger);
        // what was seen before anything is changed is remembered too: a rotation between two looks keeps its lineage
        look::remember(&view, &mut ledger);
        Ok(Self {
            ctx,
            lock,
            ledger,
            spent,
            view,
            done: Vec::new(),
            renewals: Vec::new(),
            problems,
            noted: Vec::new(),
        })
    }

    /// What the repairs of this pass cannot change leaves before it waits for a lock, for `claude` or for a token endpoint.
    fn alert_ahead(&mut self, tail: &mut Tail, asked: &Asked) {
        let (ctx, now) = (self.ctx, self.ctx.clock.now());
        let repairs = expected(ctx, &self.ledger, &self.view, asked);
        // with nothing to repair nothing is waited for; whose tokens wait to be saved is only known once they were
        if repairs.is_empty() || !renew::rescued(&ctx.state_dir).is_empty() {
            return;
        }
        let firing = judge::firing(ctx, &self.view, &self.ledger, now);
        let alerts = repairs::untouched(firing, &self.view, &repairs);
        self.noted = note::of_alerts(&self.ledger.alerts, &alerts, Rest::Unknown, ctx.here(now));
        deliver::queue_ahead(ctx, &mut self.ledger, &tail.channels, &alerts, now);
        let leased = tail.lease_ahead(&mut self.ledger, &alerts, now);
        if leased.is_empty() {
            return;
        }
        // a process that dies meanwhile must not leave them to be sent at once again
        match self.put_down() {
            Ok(()) => {
                history::note(&ctx.state_dir, &std::mem::take(&mut self.noted));
                tail.send_ahead(leased);
            }
            Err(_) => deliver::give_back(&mut self.ledger, &leased, now),
        }
    }

    /// What an earlier pass left half done goes before anything else.
    async fn settle(&mut self) {
        let begun_before = under_way(&self.ledger);
        if self.lock.is_some() {
            sweep(&self.ctx.state_dir, &self.view);
        }
        self.done = renew::settle(self.ctx, &mut self.ledger, &self.view).await;
        if !self.done.is_empty() {
            self.view = look::look(self.ctx, &self.ledger);
        }
        for (whom, token) in begun_before {
            used_up(&mut self.ledger, &self.view, &whom, token);
        }
    }

    async fn heal(&mut self) {
        // what a copy holds is on disk before its login gets that: one that is renewed once more meanwhile is known by it
        if heals(self.ctx, &self.view)
            && let Err(error) = self.put_down()
        {
            tracing::warn!("the ledger: {}", files::io_words(&error));
        }
        let healed = heal_logins(self.ctx, &self.ledger, &mut self.view, false).await;
        note_healed(&mut self.ledger, &healed, self.view.now);
        self.done.extend(healed);
        look::remember(&self.view, &mut self.ledger);
    }

    /// Without our own lock another process might renew the same login.
    async fn renew(&mut self, asked: &Asked) {
        if self.lock.is_none() {
            return;
        }
        self.renewals = renew::renew(self.ctx, &mut self.ledger, &self.view, asked, false).await;
        self.done.extend(self.renewals.iter().filter_map(renewed));
        let before = std::mem::replace(&mut self.view, look::look(self.ctx, &self.ledger));
        let new = |seen: &&outcome::Seen| matches!(seen.what, What::Renewed { .. });
        for seen in self.renewals.iter().filter(new) {
            if let Some(token) = held(&before, &seen.whom) {
                used_up(&mut self.ledger, &self.view, &seen.whom, token);
            }
        }
        look::remember(&self.view, &mut self.ledger);
    }

    async fn write(&mut self) {
        let written = write_stores(self.ctx, &self.ledger, &mut self.view, false).await;
        self.done.extend(written);
        look::remember(&self.view, &mut self.ledger);
        note::count(&mut self.ledger.counts, &self.done);
    }

    /// What needs a person, and, in a whole pass, who will be notified.
    fn judge(&mut self, whole: Option<&mut Tail>) -> Said {
        let (ctx, now) = (self.ctx, self.ctx.clock.now());
        let (noted, mut once) = note::of_done(&mut self.ledger, &self.view, &self.done, &self.renewals, self.view.now);
        if whole.is_some() {
            remotes::forget(ctx, &mut self.ledger);
        }
        // without our own lock another pass might tell the same gateway
        let reloads = match self.lock {
            Some(_) => link::due(&mut self.ledger, &self.view),
            None => Vec::new(),
        };
        let alerts = judge::firing(ctx, &self.view, &self.ledger, now);
        let mut leased = Vec::new();
        if let Some(tail) = whole {
            tail.arrived(&mut self.ledger, now);
            once.append(&mut self.noted);
            once.extend(deliver::given_up(&self.ledger, now));
            once.extend(note::of_alerts(&self.ledger.alerts, &alerts, Rest::Over, ctx.here(now)));
            deliver::queue(ctx, &mut self.ledger, &tail.channels, &alerts, now);
            leased = tail.lease(&mut self.ledger, now);
        }
        Said {
            noted,
            once,
            alerts,
            leased,
            reloads,
        }
    }

    fn save(&mut self, mut said: Said) -> Said {
        match self.put_down() {
            Ok(()) => said.noted.append(&mut said.once),
            Err(error) => {
                self.problems.push(unusable(self.ctx, "cannot be written", &error));
                // what cannot be remembered would be said again at every pass: this is said by the exit code and the log instead
                said.leased.clear();
            }
        }
        history::note(&self.ctx.state_dir, &said.noted);
        said
    }

    fn put_down(&self) -> io::Result<()> {
        let dir = &self.ctx.state_dir;
        // what was used up is relied upon when an older state is put back: it survives a power cut, and a lost ledger
        match self.ledger.spent == self.spent {
            true => ledger::save(dir, &self.ledger),
            false => ledger::save_durably(dir, &self.ledger),
        }
    }

    /// Releases the lock, and hands over what is to be sent.
    async fn close(mut self, said: Said, tail: &mut Option<Tail>) -> Report {
        drop(self.lock.take());
        match tail {
            Some(tail) => tail.send(said.leased),
            None => self.problems.extend(deliver::failing(&self.ledger)),
        }
        self.problems.extend(link::reload_all(self.ctx, said.reloads).await);
        Report {
            view: self.view,
            done: self.done,
            alerts: said.alerts,
            told: Vec::new(),
            problems: self.problems,
            renewals: self.renewals,
        }
    }
}

/// A pass whose own work is done and saved; what it found is on its way.
#[derive(Debug)]
pub(crate) struct Begun {
    /// What it saw and did so far; who was told, and what other hosts say, comes with the end.
    pub(crate) report: Report,
    tail: Option<Tail>,
    begun: std::time::Instant,
}

/// What a pass reports that may do nothing.
fn untouched(ctx: &Ctx, problems: Vec<Problem>) -> Report {
    let ledger = ledger::load(&ctx.state_dir).ledger;
    Report {
        view: look::look(ctx, &ledger),
        done: Vec::new(),
        alerts: Vec::new(),
        told: Vec::new(),
        problems,
        renewals: Vec::new(),
    }
}

impl Begun {
    /// Waits for channels, other hosts and the heartbeat.
    pub(crate) async fn finish(self, ctx: &Ctx) -> Report {
        let Self {
            mut report,
            tail,
            begun,
        } = self;
        let Some(mut tail) = tail else {
            return report;
        };
        report.told = tail.finish(&mut report.problems).await;
        let ledger = ledger::load(&ctx.state_dir).ledger;
        let now = ctx.clock.now();
        report.problems.extend(judge::config_broken(ctx));
        report.problems.extend(deliver::failing(&ledger));
        // what other hosts said in the meantime
        report.alerts.retain(|alert| !alert.id.is_remote());
        report.alerts.extend(remotes::alerts(ctx, &ledger, now));
        rules::alert::sort(&mut report.alerts);
        report
            .problems
            .extend(heard::unheard(ctx, &ledger, &report.alerts, now));
        note_pass(ctx, &mut report, &ledger, begun.elapsed());
        tail.beat(|| bad_news(ctx, &report)).await;
        report
    }
}

/// What a pass is about to repair, as far as its first look tells.
fn expected(ctx: &Ctx, ledger: &Ledger, view: &View, asked: &Asked) -> Repairs {
    let mut repairs = Repairs {
        renewed: renew::due(ctx, ledger, view, asked),
        ..Repairs::default()
    };
    // what an earlier pass left half done is settled; an outcome that nobody knows stays so while its token is in its place
    let stays = |whom: &str, record: &renewal::Record| match record.stage {
        renewal::Stage::Idle => true,
        renewal::Stage::Unknown { .. } => held(view, whom) == Some(record.token),
        _ => false,
    };
    let half_done = ledger.renewals.iter().filter(|(whom, record)| !stays(whom, record));
    repairs.renewed.extend(half_done.map(|(whom, _)| whom.clone()));
    if !ctx.config.sync.enabled {
        return repairs;
    }
    for agent in &view.agents {
        let plan = plan::store(&ctx.config.sync, view, agent);
        let healed = plan.heal.map(|(login, _)| view.logins[login].id().to_owned());
        repairs.renewed.extend(healed);
        if !plan.edits.is_empty() && agent.writable.is_ok() {
            repairs.written.insert(agent.label());
        }
    }
    repairs
}

/// The tokens of renewals that an earlier pass began: a process that died, or a program that was left alone, may have used them up.
fn under_way(ledger: &Ledger) -> Vec<(String, Fingerprint)> {
    let begun = ledger
        .renewals
        .iter()
        .filter(|(_, record)| record.stage != renewal::Stage::Idle);
    begun.map(|(whom, record)| (whom.clone(), record.token)).collect()
}

/// The refresh token of a login, or of a store's own grant, by the key of its renewals.
fn held(view: &View, whom: &str) -> Option<Fingerprint> {
    if let Some(login) = view.logins.iter().find(|login| login.id() == whom) {
        return login.login.grant()?.refresh.token().map(Secret::fingerprint);
    }
    let (label, id) = whom.split_once('#')?;
    let agent = view.agents.iter().find(|agent| agent.label() == label)?;
    let profile = agent.profiles.iter().find(|profile| profile.profile.id == id)?;
    profile.profile.credential.refresh_fingerprint()
}

/// Remembers a token as used up if another one stands in its place.
fn used_up(ledger: &mut Ledger, view: &View, whom: &str, posted: Fingerprint) {
    if let Some(token) = spent::replaced(posted, held(view, whom), &ledger.spent) {
        let deadline = ledger.logins.get(whom).and_then(|memory| memory.deadline);
        spent::note(&mut ledger.spent, token, deadline, view.now);
    }
}

/// Remembers from whose copy logins were healed, and forgets what is no longer news.
fn note_healed(ledger: &mut Ledger, healed: &[Done], now: Moment) {
    ledger.healed.retain(|_, healed| (0..DAY).contains(&(now - healed.at)));
    for one in healed {
        if let Outcome::Healed(from) = &one.outcome {
            let from = from.clone();
            ledger.healed.insert(one.whom.clone(), Healed { at: now, from });
        }
    }
}

/// What would be done, and nothing done.
pub(crate) async fn rehearse(ctx: &Ctx) -> Report {
    rehearse_asked(ctx, &Asked::default()).await
}

/// What would be done, with what was asked of the renewals, and nothing done.
pub(crate) async fn rehearse_asked(ctx: &Ctx, asked: &Asked) -> Report {
    let mut loaded = ledger::load(&ctx.state_dir);
    let mut view = look::look(ctx, &loaded.ledger);
    let mut done = heal_logins(ctx, &loaded.ledger, &mut view, true).await;
    let renewals = renew::renew(ctx, &mut loaded.ledger, &view, asked, true).await;
    done.extend(renewals.iter().filter_map(renewed));
    done.extend(write_stores(ctx, &loaded.ledger, &mut view, true).await);
    let alerts = repairs::after(judge::firing(ctx, &view, &loaded.ledger, view.now), &repaired(&done));
    Report {
        view,
        done,
        alerts,
        told: Vec::new(),
        problems: loaded.problem.into_iter().collect(),
        renewals,
    }
}

/// What a pass that was only rehearsed would have repaired before it alerts.
fn repaired(done: &[Done]) -> Repairs {
    let mut repairs = Repairs::default();
    for one in done {
        match one.outcome {
            Outcome::WouldHeal(_) | Outcome::WouldRenew(_) => repairs.renewed.insert(one.whom.clone()),
            Outcome::WouldWrite(_) => repairs.written.insert(one.whom.clone()),
            _ => false,
        };
    }
    repairs
}

/// What a renewal leaves to be said in a pass; that nothing was due is not.
fn renewed(seen: &outcome::Seen) -> Option<Done> {
    let outcome = match &seen.what {
        What::Renewed { by, .. } => Outcome::Renewed((*by).to_owned()),
        What::Would(how) => Outcome::WouldRenew(how.clone()),
        What::Failed(problem) => Outcome::NotRenewed(problem.clone()),
        What::Not(_) | What::Off => return None,
    };
    Some(Done {
        whom: seen.whom.clone(),
        path: seen.path.clone(),
        outcome,
    })
}

/// Notes how a whole pass went, and puts its metrics where they are wanted.
fn note_pass(ctx: &Ctx, report: &mut Report, ledger: &Ledger, took: Duration) {
    let now = ctx.clock.now();
    let took = Ms::try_from(took.as_millis()).unwrap_or(Ms::MAX);
    let mut before = ledger::passes(&ctx.state_dir);
    before.made_by(env!("CARGO_PKG_VERSION"), now);
    let mut passes = before.clone();
    passes.note(report.good(), now, took);
    if let Some(path) = &ctx.config.metrics.textfile {
        let page = metrics::of_pass(ctx, report, ledger, &passes);
        if let Err(problem) = metrics::publish(ctx, path, &page) {
            report.problems.push(problem);
            passes = before;
            passes.note(false, now, took);
        }
    }
    if let Err(error) = ledger::save_passes(&ctx.state_dir, &passes) {
        tracing::debug!("{}: {}", ctx.state_dir.display(), files::io_words(&error));
    }
}

/// What makes a pass a bad one, in lines: it could not do its work, could not tell somebody, found what has stopped an agent,
/// or does not know how a renewal went. What is only ahead has its own alerts; what somebody silenced still counts, since
/// nobody else may know.
fn bad_news(ctx: &Ctx, report: &Report) -> String {
    let mut lines: Vec<String> = Vec::new();
    for problem in &report.problems {
        lines.push(format!("{}\n  hint: {}", problem.message, problem.hint));
    }
    for done in &report.done {
        if let Outcome::Failed(problem) = &done.outcome {
            lines.push(format!("{}: {}\n  hint: {}", done.whom, problem.message, problem.hint));
        }
    }
    let now = report.view.now;
    let lapsed =
        |alert: &&Alert| (alert.lapsed || matches!(alert.id, Cause::Renewal(_))) && alert.severity > Severity::Info;
    for alert in report.alerts.iter().filter(lapsed) {
        let words = wording::words(alert, Why::First, now, ctx.here(now));
        lines.push(format!("{}: {}", alert.severity.word(), words.title));
        lines.extend(words.message.lines().map(|line| format!("  {line}")));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::act::tests::ctx;
    use crate::rules::policy::RenewMode;
    use crate::types::HOUR;
    use std::fs;

    const NOW: Moment = Moment::at(1_769_000_000_000);

    fn done(whom: &str, outcome: Outcome) -> Done {
        Done {
            whom: whom.into(),
            path: whom.into(),
            outcome,
        }
    }

    #[test]
    fn what_would_be_healed_renewed_or_written_would_be_repaired() {
        let repairs = repaired(&[
            done("healed", Outcome::WouldHeal("a".into())),
            done("renewed", Outcome::WouldRenew("so".into())),
            done("written", Outcome::WouldWrite(String::new())),
            done("other", Outcome::Written(Vec::new())),
        ]);
        assert!(repairs.renewed.iter().eq(["healed", "renewed"]));
        assert!(repairs.written.iter().eq(["written"]));
    }

    #[test]
    fn whose_copy_healed_a_login_is_news_for_a_day() {
        let mut ledger = Ledger::default();
        for (whom, at) in [("old", NOW - DAY), ("fresh", NOW - DAY + 1), ("ahead", NOW + 1)] {
            let from = "a".into();
            ledger.healed.insert(whom.into(), Healed { at, from });
        }
        let healed = [
            done("now", Outcome::Healed("b".into())),
            done("not", Outcome::WouldHeal("b".into())),
        ];
        note_healed(&mut ledger, &healed, NOW);
        let left: Vec<_> = ledger
            .healed
            .iter()
            .map(|(whom, healed)| (whom.as_str(), healed.at))
            .collect();
        assert_eq!(left, [("fresh", NOW - DAY + 1), ("now", NOW)]);
    }

    fn token(text: &str) -> Fingerprint {
        Secret::new(text).fingerprint()
    }

    /// A login, an agent whose copy of it is out of date, and one whose copy is not and that has grants of others.
    fn home() -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        let access = |n: u8| format!("sk-ant-oat01-{n:a<90}");
        let end = NOW + 8 * HOUR;
        let copy = |n: u8, end: Moment| {
            let token = access(n);
            format!(
                r#""anthropic:claude-cli":{{"type":"token","provider":"anthropic","token":"{token}","expires":{end}}}"#
            )
        };
        let grant = |id: &str| format!(r#""{id}":{{"type":"oauth","provider":"p","access":"A","refresh":"R{id}"}}"#);
        for (agent, profiles) in [
            ("main", copy(1, NOW - HOUR)),
            ("other", format!("{},{},{}", grant("x"), copy(2, end), grant("y"))),
        ] {
            let dir = home.path().join(".clawdbot/agents").join(agent).join("agent");
            fs::create_dir_all(&dir).unwrap();
            let text = format!(r#"{{"version":1,"profiles":{{{profiles}}}}}"#);
            fs::write(dir.join("auth-profiles.json"), text).unwrap();
        }
        let login = format!(
            r#"{{"claudeAiOauth":{{"accessToken":"{}","refreshToken":"R2","expiresAt":{end},"scopes":["a"]}}}}"#,
            access(2)
        );
        fs::create_dir(home.path().join(".claude")).unwrap();
        fs::write(home.path().join(".claude/.credentials.json"), login).unwrap();
        home
    }

    #[test]
    fn a_refresh_token_is_found_by_the_key_of_its_renewals() {
        let home = home();
        let mut ledger = Ledger::default();
        let view = look::look(&ctx(home.path()), &ledger);
        let login = view.logins[0].id().to_owned();
        let other = view
            .agents
            .iter()
            .map(|agent| agent.label())
            .find(|label| label.ends_with("other"));
        let other = other.unwrap();
        for (whom, wanted) in [
            (login.clone(), Some("R2")),
            (format!("{other}#x"), Some("Rx")),
            (format!("{other}#y"), Some("Ry")),
            (format!("{other}#anthropic:claude-cli"), None),
            (format!("{other}#z"), None),
            (format!("{other}x#x"), None),
            (other, None),
        ] {
            assert_eq!(held(&view, &whom), wanted.map(token), "{whom}");
        }
        for (posted, used) in [("R2", false), ("R1", true)] {
            used_up(&mut ledger, &view, &login, token(posted));
            assert_eq!(ledger.spent.contains_key(&token(posted)), used, "{posted}");
        }
    }

    #[test]
    fn what_is_half_done_or_out_of_date_is_expected_to_be_repaired() {
        let home = home();
        let mut ctx = ctx(home.path());
        let mut ledger = Ledger::default();
        let view = look::look(&ctx, &ledger);
        look::remember(&view, &mut ledger);
        let login = view.logins[0].id();
        let unknown = || renewal::Stage::Unknown {
            expires: None,
            at: NOW,
            why: "why".into(),
        };
        let rescued = renewal::Stage::Rescued {
            at: NOW,
            why: "why".into(),
        };
        for (stage, of, half_done) in [
            (renewal::Stage::Idle, "R1", false),
            (renewal::Stage::Idle, "R2", false),
            (unknown(), "R1", true),
            (unknown(), "R2", false),
            (rescued, "R2", true),
        ] {
            let mut record = renewal::Record::new(token(of));
            record.stage = stage.clone();
            ledger.renewals.insert(login.to_owned(), record);
            let begun = under_way(&ledger);
            let wanted = (stage != renewal::Stage::Idle).then(|| (login.to_owned(), token(of)));
            assert_eq!(begun, Vec::from_iter(wanted));
            for enabled in [true, false] {
                ctx.config.sync.enabled = enabled;
                let repairs = expected(&ctx, &ledger, &view, &Asked::default());
                let login = half_done.then(|| login.to_owned());
                assert_eq!(
                    Vec::from_iter(repairs.renewed),
                    Vec::from_iter(login),
                    "{stage:?} of {of}"
                );
                let written: Vec<_> = repairs.written.iter().map(|label| label.ends_with("main")).collect();
                assert_eq!(written, if enabled { vec![true] } else { vec![] });
            }
        }
    }

    /// Only its fences survive a power cut for certain, or a ledger that is lost.
    #[tokio::test]
    async fn what_was_used_up_since_is_put_down_for_good() {
        let home = home();
        let ctx = ctx(home.path());
        let mut pass = Pass::open(&ctx, &mut None).await.unwrap();
        for used in [false, true] {
            if used {
                pass.ledger.spent.insert(token("R1"), NOW);
            }
            pass.put_down().unwrap();
            assert_eq!(files::exists(&ctx.state_dir.join("fences.json")), used);
        }
    }

    #[tokio::test]
    async fn what_an_earlier_pass_could_not_save_is_saved_and_looked_at_again() {
        let home = home();
        let ctx = ctx(home.path());
        let rescue = ctx.state_dir.join("rescue");
        files::make_dirs(&rescue).unwrap();
        let (posted, end) = (token("R2"), NOW + 8 * HOUR);
        let text = format!(
            r#"{{"schema":"nolapse.rescue/1","whom":"claude","spent":"{posted}","access":"A3","refresh":"R3","expires":{end}}}"#
        );
        files::publish(&rescue.join(format!("{posted}.json")), text.as_bytes(), 0o600).unwrap();
        let mut pass = Pass::open(&ctx, &mut None).await.unwrap();
        let mut record = renewal::Record::new(posted);
        record.stage = renewal::Stage::Rescued {
            at: NOW,
            why: "why".into(),
        };
        pass.ledger.renewals.insert("claude".into(), record);
        pass.settle().await;
        assert_eq!(held(&pass.view, "claude"), Some(token("R3")), "{:?}", pass.done);
        assert!(pass.ledger.spent.contains_key(&posted));
    }

    #[test]
    fn what_is_only_ahead_or_only_said_makes_no_bad_pass() {
        let home = tempfile::tempdir().unwrap();
        let ctx = ctx(home.path());
        let renewal = || Cause::Renewal("claude".into());
        let other = || Cause::Login("claude".into());
        for (cause, lapsed, severity, bad) in [
            (other(), true, Severity::Critical, true),
            (other(), true, Severity::Info, false),
            (other(), false, Severity::Critical, false),
            (renewal(), false, Severity::Warning, true),
            (renewal(), false, Severity::Info, false),
        ] {
            let alert = Alert {
                lapsed,
                ..Alert::new(cause, "login_ended", severity)
            };
            let report = Report {
                view: look::look(&ctx, &Ledger::default()),
                done: Vec::new(),
                alerts: vec![alert.clone()],
                told: Vec::new(),
                problems: Vec::new(),
                renewals: Vec::new(),
            };
            assert_eq!(!bad_news(&ctx, &report).is_empty(), bad, "{alert:?}");
        }
    }

    #[test]
    fn a_login_whose_renewal_is_due_is_expected_to_be_renewed() {
        let home = home();
        let mut ctx = ctx(home.path());
        let ledger = Ledger::default();
        let view = look::look(&ctx, &ledger);
        let asked = Asked {
            by_hand: true,
            force: true,
            ..Asked::default()
        };
        for (mode, wanted) in [(RenewMode::Direct, true), (RenewMode::Off, false)] {
            ctx.config.renew.mode = mode;
            let repairs = expected(&ctx, &ledger, &view, &asked);
            assert_eq!(repairs.renewed.contains(view.logins[0].id()), wanted, "{mode:?}");
        }
    }

    /// A store that nobody can mend is told of before the repair of another one; where nothing is repaired, or tokens wait to be
    /// saved, with all the rest.
    #[tokio::test]
    async fn what_no_repair_changes_is_told_ahead_of_them() {
        for (sync, rescued, ahead) in [(true, false, true), (false, false, false), (true, true, false)] {
            let home = home();
            let dir = home.path().join(".clawdbot/agents/broken/agent");
            fs::create_dir_all(&dir).unwrap();
            fs::write(dir.join("auth-profiles.json"), "{").unwrap();
            let mut ctx = ctx(home.path());
            ctx.config.sync.enabled = sync;
            ctx.config.renew.mode = RenewMode::Off;
            ctx.config.channels = crate::notify::testing::channels("[[channel]]\ntype = \"log\"\n").unwrap();
            if rescued {
                let rescue = ctx.state_dir.join("rescue");
                files::make_dirs(&rescue).unwrap();
                let text = r#"{"schema":"nolapse.rescue/1","whom":"x","spent":"POSTED","access":"A","refresh":"R","expires":5}"#;
                let text = text.replace("POSTED", &token("R9").to_string());
                files::publish(&rescue.join(format!("{}.json", token("R9"))), text.as_bytes(), 0o600).unwrap();
            }
            let mut tail = Tail::begin(&ctx, false);
            let mut pass = Pass::open(&ctx, &mut None).await.unwrap();
            pass.alert_ahead(&mut tail, &Asked::default());
            let of_store = pass
                .ledger
                .outbox
                .iter()
                .filter(|out| out.event.kind == "store_malformed");
            assert_eq!(of_store.count(), usize::from(ahead), "{sync} {rescued}");
        }
    }

    #[test]
    fn how_a_pass_went_is_noted() {
        let home = tempfile::tempdir().unwrap();
        let ctx = ctx(home.path());
        files::make_dirs(&ctx.state_dir).unwrap();
        let mut report = Report {
            view: look::look(&ctx, &Ledger::default()),
            done: Vec::new(),
            alerts: Vec::new(),
            told: Vec::new(),
            problems: Vec::new(),
            renewals: Vec::new(),
        };
        note_pass(&ctx, &mut report, &Ledger::default(), Duration::from_millis(20));
        let noted = ledger::passes(&ctx.state_dir);
        assert_eq!((noted.last_at, noted.last_took, noted.good), (Some(NOW), 20, 1));
    }
}
