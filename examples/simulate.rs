//! A year of a thousand logins in simulation: the real rules, ladder and outbox over a made-up world, beside a monitor that
//! rings on `expiresAt`.
//!
//! `simulate [SEED [LOGINS [DAYS]]]` prints the counts as a table and fails if a promise is broken. No wall clock: the same
//! seed gives the same year. The world: access tokens of 8 h that renew themselves half an hour before their end, logins of
//! 30 days that the server ends up to 3 days early, outages of the network, logouts by races, hosts that sleep for days,
//! clocks that are set wrong and right again, receivers that are down, hang or lie for days (200 with a login page, `ok: false`), and
//! people who sign in again some hours or days after they were told, or not before the second reminder. What a lie or a silence is taken
//! for is asked once of the real channels on loopback.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::expect_used,
    clippy::unreachable,
    reason = "a program of its own; the edges hold in `src/`"
)]

use nolapse::cause::Cause;
use nolapse::config::Config;
use nolapse::ctx::Ctx;
use nolapse::deliver::{self, Room};
use nolapse::edge::host::{Clock, Host};
use nolapse::edge::http::Http;
use nolapse::edge::progress;
use nolapse::notify::{Channel, Receipt, SendCtx, SendError, read_channels, send};
use nolapse::rules::agent::{Agent, Generation, StateDir};
use nolapse::rules::health::{self, Hangs, Known};
use nolapse::rules::lineage::Relation;
use nolapse::rules::login::{Grant, Login, Place, Refresh, Source, State};
use nolapse::rules::memory::{Ledger, Outgoing};
use nolapse::rules::policy::AlertsConfig;
use nolapse::rules::resolve::{self, AuthConfig, Candidate, Resolved, Rules};
use nolapse::rules::view::{AgentView, LoginView, ProfileView, View};
use nolapse::rules::{agent, alert, causes, health::Verdict, heard};
use nolapse::secret::Secret;
use nolapse::table::{Source as TomlSource, Table};
use nolapse::types::{
    AgentRef, Credential, DAY, Family, HOUR, Health, LockKind, MINUTE, Moment, Ms, Profile, Severity, Status,
};
use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;

/// 2026-01-01T00:00:00Z.
const START: Moment = Moment::at(1_767_225_600_000);
/// Between two passes.
const TICK: Ms = 10 * MINUTE;
/// The monitor's rule, that of the agents' own `auth-monitor.sh`: every half hour, ring if `expiresAt` is over or less than
/// 2 h ahead, and at most once an hour.
const MONITOR: (Ms, Ms, Ms) = (30 * MINUTE, 2 * HOUR, HOUR);

/// splitmix64.
struct Dice(u64);

impl Dice {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn between(&mut self, from: Ms, to: Ms) -> Ms {
        from + (self.next() % (to - from).unsigned_abs()).cast_signed()
    }

    fn chance(&mut self, percent: u64) -> bool {
        self.next() % 100 < percent
    }

    /// About `a_year` spans of a length in `length`, in order.
    fn spans(&mut self, days: Ms, a_year: Ms, length: (Ms, Ms)) -> Vec<(Moment, Moment)> {
        let count = (a_year * days + 364) / 365;
        let mut spans: Vec<(Moment, Moment)> = (0..count)
            .map(|_| {
                let from = START + self.between(0, days * DAY);
                (from, from + self.between(length.0, length.1))
            })
            .collect();
        spans.sort_unstable();
        spans
    }
}

fn within(spans: &[(Moment, Moment)], at: Moment) -> bool {
    spans.iter().any(|(from, to)| (*from..*to).contains(&at))
}

/// What was counted.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    /// Logins that were ended by their time limit, and of these told at least a day ahead.
    pub(crate) ended: u32,
    pub(crate) told_a_day_ahead: u32,
    /// Logins renewed by their person before they ended.
    pub(crate) renewed_in_time: u32,
    /// Logouts by races, and how long after it the first message arrived, in ms.
    pub(crate) races: u32,
    race_told_after: Vec<Ms>,
    /// Access tokens that ran out and came back by themselves: within the grace, of these told, and later.
    pub(crate) dips_within_grace: u32,
    told_within_grace: u32,
    dips_longer: u32,
    /// Messages that arrived at the phone, by what they were.
    warnings: u32,
    lapses: u32,
    pub(crate) reminders: u32,
    recoveries: u32,
    copies: u32,
    channels: u32,
    /// Of these that rang while nothing was wrong or ending.
    pub(crate) false_rings: u32,
    /// The monitor's messages, and of these while nothing was wrong or ending.
    pub(crate) monitor: u32,
    pub(crate) monitor_false: u32,
    renewals: u64,
    /// Passes in which something that had lapsed was shown to nobody, and those of them that did not end with 3.
    pub(crate) unheard: u32,
    unheard_without_three: u32,
    /// Messages that a receiver answered with a lie or with silence.
    pub(crate) lied_to: u32,
    /// Promises that were broken, in words.
    pub(crate) broken: Vec<String>,
}

impl Counts {
    /// Messages to the phone.
    pub(crate) fn messages(&self) -> u32 {
        self.warnings + self.lapses + self.reminders + self.recoveries + self.copies + self.channels
    }
}

struct World {
    days: Ms,
    outages: Vec<(Moment, Moment)>,
    /// When each channel's receiver is down, hangs or lies.
    down: BTreeMap<String, Vec<(Moment, Moment)>>,
    /// What comes of a message then: the first of a receiver that is down, the others of those that lie or hang.
    faults: Vec<Result<Receipt, SendError>>,
}

impl World {
    /// What comes of a message, if its receiver does not simply take and show it.
    fn fault(&self, channel: &str, at: Moment) -> Option<(usize, Result<Receipt, SendError>)> {
        let spans = self.down.get(channel)?;
        let (from, _) = spans.iter().find(|(from, to)| (*from..*to).contains(&at))?;
        let which = usize::try_from(from.ms() / MINUTE).expect("a time since 1970") % self.faults.len();
        Some((which, self.faults[which].clone()))
    }
}

/// Answers 200 with a login page or with `ok: false`, as the path says, or not at all.
fn lie(mut stream: TcpStream, held: &mut Vec<TcpStream>) {
    let mut request = [0; 4096];
    let read = stream.read(&mut request).unwrap_or(0);
    let first = String::from_utf8_lossy(&request[..read]);
    let (kind, body) = match first.split(' ').nth(1).unwrap_or_default() {
        path if path.contains("page") => ("text/html", "<html><title>Sign in</title></html>"),
        path if path.contains("false") => ("application/json", "{\"ok\":false}"),
        _ => return held.push(stream),
    };
    let length = body.len();
    let _ = write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
}

/// What the real channels make of receivers that lie or hang.
fn of_liars(host: &Host, http: &Http) -> Vec<Result<Receipt, SendError>> {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("an address").port();
    std::thread::spawn(move || {
        let mut held = Vec::new();
        for stream in listener.incoming().flatten() {
            lie(stream, &mut held);
        }
    });
    let mut text = String::new();
    for manner in ["page", "false", "hang"] {
        let url = format!("url = \"http://127.0.0.1:{port}/{manner}\"\ntimeout = \"1s\"\n");
        for needs in [
            "type = \"ntfy\"\ntopic = \"t\"",
            "type = \"gotify\"\ntoken = \"t\"",
            "type = \"slack\"",
            "type = \"discord\"",
        ] {
            let name = format!("{}{manner}", &needs[8..11]);
            text.push_str(&format!("[[channel]]\nname = \"{name}\"\n{needs}\n{url}"));
        }
    }
    let channels = channels(host, &text);
    let event = serde_json::json!({"event_id": "msg_1", "alert_id": "login:x", "status": "firing", "severity": "critical",
        "kind": "login_ended", "title": "t", "message": "m", "commands": [], "login": null, "affected": [], "host": "h", "at": 0});
    let event = serde_json::from_value(event).expect("an event");
    let ctx = SendCtx::new(host, http, START);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.expect("a runtime");
    channels
        .iter()
        .map(|channel| runtime.block_on(send(channel, &event, &ctx)))
        .collect()
}

fn channels(host: &Host, text: &str) -> Vec<Channel> {
    let source = TomlSource {
        path: "config.toml".as_ref(),
        text,
        private: true,
        home: &host.home,
        env: &host.env,
    };
    let parsed = toml::de::DeTable::parse(text).expect("valid TOML");
    let table = Table::new(&source, "", parsed.span(), parsed.get_ref());
    read_channels(table.tables("channel").expect("tables")).expect("channels")
}

/// One host with one login and one agent.
struct Machine {
    view: View,
    ledger: Ledger,
    asleep: Vec<(Moment, Moment)>,
    wrong_clock: Vec<(Moment, Moment, Ms)>,
    races: Vec<Moment>,
    outages: Vec<(Moment, Moment)>,
    /// When the server ends the login, and at the latest.
    real_end: Moment,
    deadline: Moment,
    /// By how much the clock was wrong when the login was made.
    skewed: Ms,
    out_since: Option<(Moment, bool)>,
    dip_since: Option<Moment>,
    /// When the person will sign in again.
    appointment: Option<Moment>,
    /// When the present login was first told to be ending.
    told_at: Option<Moment>,
    monitor_at: Moment,
    heard: BTreeSet<(String, String)>,
    /// When what was last heard of an alert was decided, and which reminder it was.
    reminded: BTreeMap<(String, Cause), (Moment, u32)>,
    /// Lapses that fire and that people saw.
    shown: BTreeSet<String>,
}

fn login_view(id: usize) -> LoginView {
    let refresh = Refresh::Token(Secret::new("refresh"));
    let grant = Grant {
        deadline: Some(Moment::EPOCH),
        ..Grant::new(Secret::new("access"), refresh, Some(Moment::EPOCH))
    };
    let place = Place::new(format!("login{id}"), "/home/u/.claude", true);
    LoginView::new(Login::new(place, Source::File, State::SignedIn(grant)), verdict())
}

fn verdict() -> Verdict {
    Verdict {
        health: Health::Ok,
        reason: None,
        ends: None,
    }
}

fn agent_view() -> AgentView {
    let profile = Profile {
        account: None,
        id: "anthropic:claude-cli".into(),
        provider: "anthropic".into(),
        credential: Credential::Token {
            token: Some(Secret::new("access")),
            expires: Some(Moment::EPOCH),
        },
        held: Default::default(),
    };
    AgentView {
        agent: Agent {
            agent: AgentRef {
                family: Family::Openclaw,
                named: None,
                id: "main".into(),
                dir: PathBuf::from("/home/u/.openclaw/agents/main/agent"),
            },
            state_dir: 0,
        },
        path: PathBuf::from("/home/u/.openclaw/agents/main/agent/auth-profiles.json"),
        sqlite: false,
        store: agent::Store::Absent,
        meta: None,
        writable: Ok(()),
        profiles: vec![ProfileView {
            profile,
            clock: Health::Ok,
            verdict: verdict(),
            login: Some(0),
            relation: Relation::Same,
            renewal: None,
            elsewhere: None,
        }],
        aside: Default::default(),
        uses: Vec::new(),
        foreign: None,
        retires_claude_cli: false,
    }
}

/// What the agent uses: its one profile, as long as that works.
fn uses(profile: &ProfileView, now: Moment) -> Resolved {
    let (config, nothing) = (AuthConfig::default(), BTreeMap::new());
    let rules = Rules {
        stored: &[],
        config: &config,
        usage: &[&nothing],
        generation: resolve::Generation::First,
        now,
    };
    let candidate = Candidate {
        profile: &profile.profile,
        dead: matches!(profile.verdict.health, Health::Expired | Health::Missing),
    };
    Resolved {
        in_use: true,
        ..resolve::resolve("anthropic", &[candidate], &rules, None)
    }
}

impl Machine {
    fn new(id: usize, days: Ms, dice: &mut Dice) -> Self {
        let steps = dice.spans(days, 4, (10 * MINUTE, 12 * HOUR));
        let wrong_clock = steps.into_iter().map(|(from, to)| {
            let by = dice.between(2 * MINUTE, 26 * HOUR);
            (from, to, if dice.chance(50) { by } else { -by })
        });
        let wrong_clock = wrong_clock.collect();
        let mut one = Self {
            view: View {
                now: START,
                logins: vec![login_view(id)],
                agents: vec![agent_view()],
                state_dirs: vec![StateDir {
                    family: Family::Openclaw,
                    named: None,
                    dir: PathBuf::from("/home/u/.openclaw"),
                    config_path: None,
                    default_agent: "main".into(),
                    generation: GENERATION,
                    refresh_locks: Err("simulated".into()),
                    version: None,
                    shared_sqlite: None,
                    dotenv: Vec::new(),
                    dotenv_flaws: Vec::new(),
                    providers_in_use: Vec::new(),
                    agent_providers: Default::default(),
                    auth: Default::default(),
                    auth_state: false,
                    claude: Default::default(),
                    secrets: Vec::new(),
                    reload_off: false,
                }],
                problems: Vec::new(),
                looked_at: Vec::new(),
            },
            ledger: Ledger::default(),
            asleep: dice.spans(days, 8, (HOUR, 4 * DAY)),
            wrong_clock,
            races: dice.spans(days, 1, (0, 1)).into_iter().map(|(at, _)| at).collect(),
            outages: dice.spans(days, 12, (5 * MINUTE, 8 * HOUR)),
            real_end: Moment::EPOCH,
            deadline: Moment::EPOCH,
            skewed: 0,
            out_since: None,
            dip_since: None,
            appointment: None,
            told_at: None,
            monitor_at: Moment::EPOCH,
            heard: BTreeSet::new(),
            reminded: BTreeMap::new(),
            shown: BTreeSet::new(),
        };
        one.sign_in(START, 0, dice);
        // at the year's beginning logins are of any age
        let age = dice.between(0, 25 * DAY);
        one.real_end = one.real_end - age;
        one.deadline = one.deadline - age;
        if let Some(deadline) = &mut one.grant().deadline {
            *deadline = *deadline - age;
        }
        one
    }

    fn grant(&mut self) -> &mut Grant {
        match &mut self.view.logins[0].login.state {
            State::SignedIn(grant) => grant,
            _ => unreachable!("it stays signed in or is blanked"),
        }
    }

    fn sign_in(&mut self, at: Moment, skew: Ms, dice: &mut Dice) {
        self.deadline = at + 30 * DAY;
        self.skewed = skew;
        self.real_end = self.deadline - dice.between(0, 3 * DAY);
        let grant = self.grant();
        grant.access = Some(Secret::new("access"));
        grant.refresh = Refresh::Token(Secret::new("refresh"));
        grant.expires = Some(at + skew + 8 * HOUR);
        grant.deadline = Some(at + skew + 30 * DAY);
        grant.blanked = false;
        grant.ended_by_limit = false;
        self.out_since = None;
        self.dip_since = None;
        self.appointment = None;
        self.told_at = None;
    }

    /// Nothing is wrong, and the end is further away than the first warning.
    fn fine(&self, at: Moment) -> bool {
        self.out_since.is_none() && self.dip_since.is_none() && at < self.deadline - 10 * DAY
    }

    /// Claude Code wipes a login whose refresh was refused.
    fn blank(&mut self, at: Moment, by_limit: bool) {
        let grant = self.grant();
        grant.access = None;
        grant.refresh = Refresh::Blank;
        grant.expires = Some(Moment::EPOCH);
        grant.blanked = true;
        grant.ended_by_limit = by_limit;
        self.out_since = Some((at, by_limit));
        self.dip_since = None;
    }

    /// Ten minutes of this machine.
    fn tick(
        &mut self,
        at: Moment,
        world: &World,
        ctx: &mut Ctx,
        channels: &[Channel],
        dice: &mut Dice,
        counts: &mut Counts,
    ) {
        if within(&self.asleep, at) {
            return;
        }
        let skew = self
            .wrong_clock
            .iter()
            .find(|(from, to, _)| (*from..*to).contains(&at))
            .map_or(0, |step| step.2);
        let now = at + skew;
        if self.appointment.is_some_and(|when| when <= at) {
            counts.renewed_in_time += u32::from(self.out_since.is_none());
            self.sign_in(at, skew, dice);
        }
        if self
            .races
            .last()
            .is_some_and(|_| self.races.iter().any(|race| (at - TICK..at).contains(race)))
            && self.out_since.is_none()
        {
            counts.races += 1;
            self.blank(at, false);
        }
        self.renew(at, now, within(&world.outages, at) || within(&self.outages, at), counts);
        self.monitor(at, now, counts);
        self.pass(at, now, skew, world, ctx, channels, dice, counts);
    }

    fn renew(&mut self, at: Moment, now: Moment, outage: bool, counts: &mut Counts) {
        let left = self.grant().expires.unwrap_or_default() - now;
        if self.out_since.is_some() || left > 30 * MINUTE {
            return;
        }
        if outage {
            if left <= 0 && self.dip_since.is_none() {
                self.dip_since = Some(now - left.abs());
            }
            return;
        }
        if at >= self.real_end {
            counts.ended += 1;
            match self.told_at {
                Some(told) if at - told >= DAY => counts.told_a_day_ahead += 1,
                told => counts.broken.push(format!(
                    "{} ended {} h after it was told ({told:?})",
                    self.view.logins[0].id(),
                    told.map_or(0, |told| (at - told) / HOUR)
                )),
            }
            self.blank(at, true);
            return;
        }
        if let Some(since) = self.dip_since.take() {
            match now - since <= AlertsConfig::default().grace {
                true => counts.dips_within_grace += 1,
                false => counts.dips_longer += 1,
            }
        }
        counts.renewals += 1;
        let grant = self.grant();
        grant.expires = Some(now + 8 * HOUR);
    }

    fn monitor(&mut self, at: Moment, now: Moment, counts: &mut Counts) {
        let (every, warn, gap) = MONITOR;
        let left = self.grant().expires.unwrap_or_default() - now;
        if at.ms() % every == 0 && left < warn && now - self.monitor_at >= gap {
            self.monitor_at = now;
            counts.monitor += 1;
            counts.monitor_false += u32::from(self.fine(at));
        }
    }

    #[expect(clippy::too_many_arguments, reason = "the whole world of a pass")]
    fn pass(
        &mut self,
        at: Moment,
        now: Moment,
        skew: Ms,
        world: &World,
        ctx: &mut Ctx,
        channels: &[Channel],
        dice: &mut Dice,
        counts: &mut Counts,
    ) {
        let policy = ctx.config.alerts.clone();
        let grant = self.grant();
        let (expires, deadline) = (grant.expires.unwrap_or_default(), grant.deadline.unwrap_or_default());
        // nothing that the rules look at changes before one of these
        let quiet = now < expires && now < deadline - 12 * DAY && self.out_since.is_none();
        if quiet && self.ledger.alerts.is_empty() && self.ledger.outbox.is_empty() && self.ledger.troubles.is_empty() {
            return;
        }
        ctx.clock = Clock::Fixed(now);
        self.view.now = now;
        let known = Known {
            spent: false,
            rejected: &[],
            abandoned: false,
            kept: false,
        };
        let login = health::login(&self.view.logins[0].login.state, known, policy.at(now));
        let profile = &mut self.view.agents[0].profiles[0];
        if let Credential::Token { expires: copy, .. } = &mut profile.profile.credential {
            // a blanked login gives nothing: the copy keeps what it had
            if expires > Moment::EPOCH {
                *copy = Some(expires);
            }
        }
        let hangs = Hangs {
            login: &login,
            relation: Relation::Same,
        };
        profile.verdict = health::profile(
            &profile.profile.credential,
            "anthropic",
            Some(hangs),
            false,
            policy.at(now),
        );
        self.view.logins[0].verdict = login;
        let agent = &mut self.view.agents[0];
        agent.uses = vec![uses(&agent.profiles[0], now)];
        let mut alerts = causes::collect(&self.view, policy.grace, &|path| path.display().to_string());
        alerts.extend(alert::channel_alerts(&self.ledger.troubles));
        deliver::queue(ctx, &mut self.ledger, channels, &alerts, now);
        let due = deliver::due(ctx, &mut self.ledger, channels, &mut Room::default(), now);
        // what people saw, whatever the receiver said
        let mut shown = Vec::new();
        let tried: Vec<(Outgoing, Result<Receipt, SendError>)> = due
            .into_iter()
            .map(|out| {
                let fault = world.fault(&out.channel, at);
                counts.lied_to += u32::from(fault.as_ref().is_some_and(|(which, _)| *which > 0));
                shown.push(fault.is_none());
                let result = fault.map_or_else(|| Ok(Receipt::of("ok")), |(_, result)| result);
                (out, result)
            })
            .collect();
        for ((out, _), shown) in tried.iter().zip(shown) {
            if shown {
                self.hear(out, at, now, skew, dice, counts);
            }
        }
        deliver::record(&mut self.ledger, channels, &tried, now);
        let names: Vec<String> = world.down.keys().cloned().collect();
        let lapses = heard::lapses(&self.ledger, &alerts, &names, now);
        self.shown.retain(|id| lapses.iter().any(|(lapse, _)| lapse == id));
        for (id, three) in lapses.into_iter().filter(|(id, _)| !id.starts_with("channel:")) {
            if !self.shown.contains(&id) {
                counts.unheard += 1;
                if !three {
                    counts.unheard_without_three += 1;
                    counts
                        .broken
                        .push(format!("nobody saw {id}, and the pass did not end with 3"));
                }
            }
        }
    }

    /// A message arrives.
    fn hear(&mut self, out: &Outgoing, at: Moment, now: Moment, skew: Ms, dice: &mut Dice, counts: &mut Counts) {
        let (event, told) = (&out.event, &out.told);
        if !self.heard.insert((out.channel.clone(), event.event_id.clone())) {
            counts.broken.push(format!("{} arrived twice", event.event_id));
        }
        let about_login = matches!(event.alert_id, Cause::Login(_));
        let firing = event.status == Status::Firing;
        if firing && told.lapsed {
            self.shown.insert(event.alert_id.to_string());
        }
        let key = (out.channel.clone(), event.alert_id.clone());
        // of reminders that follow each other, with nothing left out while a receiver was down
        let follows = self
            .reminded
            .get(&key)
            .filter(|(_, n)| firing && told.reminders == n + 1);
        let steady = !self
            .wrong_clock
            .iter()
            .any(|(from, to, _)| *from <= at && *to + 8 * DAY >= at);
        // a sleeping host may make a gap longer, and nothing may make it shorter than its number says
        if let Some((last, n)) = follows.filter(|_| steady)
            && event.at - *last < alert::reminder_gap(*n)
        {
            let gap = (event.at - *last) / MINUTE;
            counts.broken.push(format!("reminder {} came after {gap} min", n + 1));
        }
        self.reminded.insert(key, (event.at, told.reminders));
        if let (true, Some(since)) = (firing && matches!(event.alert_id, Cause::Copies(_)), self.dip_since) {
            let grace = AlertsConfig::default().grace;
            if skew == 0 && now - since < grace {
                counts.told_within_grace += 1;
                counts
                    .broken
                    .push(format!("rang {} min after a token ran out", (now - since) / MINUTE));
            }
        }
        if firing && about_login && self.told_at.is_none() {
            self.told_at = Some(at);
            if let Some((since, false)) = self.out_since {
                counts.race_told_after.push(at - since);
            }
        }
        if firing && about_login && self.appointment.is_none() {
            self.appointment = match (event.severity, told.reminders) {
                (Severity::Critical, n) if n >= 2 || dice.chance(75) => Some(at + dice.between(10 * MINUTE, 30 * HOUR)),
                (Severity::Warning, _) if dice.chance(25) => Some(at + dice.between(HOUR, 4 * DAY)),
                _ => None,
            };
        }
        if out.channel != "phone" {
            return;
        }
        let about_channel = matches!(event.alert_id, Cause::Channel(_));
        if firing && !about_channel && self.fine(at) {
            counts.false_rings += 1;
            if skew == 0 && self.skewed == 0 {
                counts
                    .broken
                    .push(format!("{} rang and nothing was wrong", event.alert_id));
            }
        }
        let what = match (&event.alert_id, firing) {
            (Cause::Channel(_), _) => &mut counts.channels,
            (Cause::Copies(_), _) => &mut counts.copies,
            (_, false) => &mut counts.recoveries,
            _ if told.reminders > 0 => &mut counts.reminders,
            _ if told.lapsed => &mut counts.lapses,
            _ => &mut counts.warnings,
        };
        *what += 1;
    }
}

const GENERATION: Generation = Generation::Json(LockKind::Directory);

/// Lets `logins` live for `days`.
pub(crate) fn live(seed: u64, logins: usize, days: Ms) -> Counts {
    let mut dice = Dice(seed);
    let host = Host {
        home: PathBuf::from("/home/u"),
        env: BTreeMap::new(),
        cwd: PathBuf::from("/"),
        name: "host".into(),
        macos: false,
        own: vec!["nolapse".into()],
    };
    let text = "[[channel]]\ntype = \"log\"\nname = \"phone\"\n[[channel]]\ntype = \"log\"\nname = \"mail\"\n";
    let channels = channels(&host, text);
    let http = Http::new(&host.env);
    let mut faults = vec![Err(SendError::Passing {
        why: "down".into(),
        retry_after: None,
    })];
    faults.extend(of_liars(&host, &http));
    let mut ctx = Ctx {
        host,
        clock: Clock::Fixed(START),
        config: Config::default(),
        state_dir: PathBuf::from("/nonexistent"),
        http,
    };
    let phone = dice.spans(days, 12, (HOUR, 72 * HOUR));
    let mail = dice.spans(days, 6, (HOUR, 24 * HOUR));
    // a network that nobody is reached over
    let both = dice.spans(days, 12, (HOUR, 24 * HOUR));
    let world = World {
        days,
        outages: dice.spans(days, 4, (10 * MINUTE, 6 * HOUR)),
        down: BTreeMap::from([
            ("phone".to_owned(), [&phone[..], &both].concat()),
            ("mail".to_owned(), [&mail[..], &both].concat()),
        ]),
        faults,
    };
    let mut counts = Counts::default();
    for id in 0..logins {
        let mut machine = Machine::new(id, days, &mut dice);
        let mut at = START;
        while at < START + world.days * DAY {
            machine.tick(at, &world, &mut ctx, &channels, &mut dice, &mut counts);
            at = at + TICK;
        }
    }
    counts.race_told_after.sort_unstable();
    counts
}

fn main() -> std::process::ExitCode {
    let mut args = std::env::args()
        .skip(1)
        .map(|arg| arg.parse::<u64>().expect("a whole number"));
    let seed = args.next().unwrap_or(1);
    let logins = usize::try_from(args.next().unwrap_or(1000)).expect("a count");
    let days = args.next().unwrap_or(365).cast_signed();
    progress::to_terminal(std::env::var("TERM").ok().as_deref());
    let waiting = progress::waiting(|| format!("{logins} logins to live {days} days"));
    let counts = live(seed, logins, days);
    drop(waiting);
    println!(
        "seed {seed}, {logins} logins, {days} days, {} renewals by themselves\n",
        counts.renewals
    );
    print!("{}", table(&counts, logins));
    for broken in counts.broken.iter().take(20) {
        eprintln!("BROKEN: {broken}");
    }
    std::process::ExitCode::from(u8::from(!counts.broken.is_empty()))
}

fn table(c: &Counts, logins: usize) -> String {
    let per = |n: u32| format!("{n} ({:.1} a login)", f64::from(n) / logins as f64);
    let median = c.race_told_after.get(c.race_told_after.len() / 2).copied().unwrap_or(0) / MINUTE;
    let rows = [
        ("messages to one phone".to_owned(), per(c.messages()), per(c.monitor)),
        (
            "… of which while nothing was wrong or ending".into(),
            per(c.false_rings),
            per(c.monitor_false),
        ),
        (
            "… warnings ahead of a deadline".into(),
            c.warnings.to_string(),
            "0".into(),
        ),
        ("… at a lapse".into(), c.lapses.to_string(), "not told apart".into()),
        ("… reminders".into(), c.reminders.to_string(), "not told apart".into()),
        ("… recoveries".into(), c.recoveries.to_string(), "0".into()),
        (
            "… a token ran out and could not be renewed for longer than `grace`, or can again".into(),
            c.copies.to_string(),
            "not told apart".into(),
        ),
        (
            "… another channel fails, or works again".into(),
            c.channels.to_string(),
            "0".into(),
        ),
        (
            format!("{} logins reached their time limit: told at least a day ahead", c.ended),
            c.told_a_day_ahead.to_string(),
            "0".into(),
        ),
        (
            "logins that were signed in again before they ended".into(),
            c.renewed_in_time.to_string(),
            "".into(),
        ),
        (
            format!("{} logouts by a race: median time to the first message", c.races),
            match median < TICK / MINUTE {
                true => "the next pass".to_owned(),
                false => format!("{median} min"),
            },
            "within 1 h".into(),
        ),
        (
            format!(
                "{} tokens that ran out and came back within `grace`: told",
                c.dips_within_grace
            ),
            c.told_within_grace.to_string(),
            "not told apart".into(),
        ),
    ];
    let rows = rows.into_iter().chain([
        (
            "messages that a receiver answered with a lie (200 with a login page, `ok: false`) or with silence"
                .to_owned(),
            c.lied_to.to_string(),
            "".to_owned(),
        ),
        (
            format!(
                "{} passes in which a lapse had reached nobody: not ended with 3",
                c.unheard
            ),
            c.unheard_without_three.to_string(),
            "".to_owned(),
        ),
    ]);
    let mut out = String::from("| | nolapse | a monitor of `expiresAt` |\n| --- | ---: | ---: |\n");
    for (what, ours, theirs) in rows {
        out.push_str(&format!("| {what} | {ours} | {theirs} |\n"));
    }
    out
}
