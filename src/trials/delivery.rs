//! Long random histories of delivery beside a small model: what each receiver was shown, and what fires. The model is the promise to a
//! person; it knows no outbox, no lease and no back-off. A pass may die between any two of its steps, and a delivery may take so
//! long that other passes are made meanwhile.

use super::world::{NOW, World};
use super::{Tried, histories};
use crate::ctx::{Clock, Ctx};
use crate::deliver::{self, Room};
use crate::ledger;
use crate::notify::{Channel, Receipt, SendError, testing};
use crate::rules::alert::{Ack, Alert, Silence, Until};
use crate::rules::memory::Outgoing;
use crate::rules::{alert, heard};
use crate::types::{DAY, Event, HOUR, MINUTE, Moment, Ms, Severity, Status};
use proptest::prelude::*;
use std::collections::{BTreeMap, BTreeSet};

const CAUSES: [&str; 3] = ["login:claude", "copies:claude", "store:clawdbot/main"];
const CHANNELS: [&str; 2] = ["phone", "mail"];

/// How things stand with one cause.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stands {
    Well,
    /// It ends in two days.
    Ahead,
    Lapsed,
}

/// The last that a pass does: it may be killed before it does the next.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Last {
    Decides,
    Saves,
    Sends,
    Ends,
}

/// What a receiver makes of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Receives {
    Shows,
    /// It cannot be reached.
    Down,
    /// It refuses for good.
    Refuses,
    /// It shows it, and its answer is lost.
    Mute,
}

#[derive(Clone, Copy, Debug)]
enum Step {
    /// The world changes.
    Becomes(usize, Stands),
    /// A pass is made.
    Pass(Last),
    /// One that takes its messages along and delivers them later.
    Slow,
    /// What was taken along is delivered and recorded.
    Lands,
    /// Minutes go by.
    Wait(Ms),
    Receiver(usize, Receives),
    /// A person says that they know.
    Ack(usize),
    /// A person wants silence for so many hours.
    Silence(Ms),
}

fn step() -> impl Strategy<Value = Step> {
    let stands = prop::sample::select(vec![Stands::Well, Stands::Ahead, Stands::Lapsed]);
    let last = vec![Last::Decides, Last::Saves, Last::Sends];
    let receives = vec![
        Receives::Shows,
        Receives::Shows,
        Receives::Down,
        Receives::Refuses,
        Receives::Mute,
    ];
    prop_oneof![
        4 => (0..CAUSES.len(), stands).prop_map(|(which, stands)| Step::Becomes(which, stands)),
        10 => Just(Step::Pass(Last::Ends)),
        3 => prop::sample::select(last).prop_map(Step::Pass),
        2 => Just(Step::Slow),
        2 => Just(Step::Lands),
        8 => prop::sample::select(vec![1, 4, 10, 60, 7 * 60, 30 * 60]).prop_map(Step::Wait),
        3 => (0..CHANNELS.len(), prop::sample::select(receives)).prop_map(|(which, how)| Step::Receiver(which, how)),
        1 => (0..CAUSES.len()).prop_map(Step::Ack),
        1 => (1_i64..30).prop_map(Step::Silence),
    ]
}

/// What a person saw last of one cause in one channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Saw {
    Firing(Severity),
    Over,
}

/// The promise.
#[derive(Default)]
struct Model {
    saw: BTreeMap<(usize, usize), Saw>,
    /// Who saw that it has lapsed, and nothing milder since of which that is known.
    lapsed: BTreeSet<(usize, usize)>,
    /// How many messages may have told somebody that it began, since it was over.
    began: BTreeMap<(usize, usize), usize>,
    /// How often each event was shown, by channel, and how often it may be.
    shown: BTreeMap<(usize, String), usize>,
    may: BTreeMap<(usize, String), usize>,
    silent_until: Moment,
    /// What a person knows of, as it stood then.
    acked: BTreeMap<usize, bool>,
}

struct History {
    _home: World,
    ctx: Ctx,
    channels: Vec<Channel>,
    stands: [Stands; 3],
    ends: [Moment; 3],
    since: [Moment; 3],
    receives: [Receives; 2],
    /// Until when what a killed pass took along is nobody else's.
    leased_until: Moment,
    /// Taken along and not delivered yet.
    under_way: Vec<(Vec<Outgoing>, Moment)>,
    model: Model,
    now: Moment,
    /// When the last pass was.
    passed: Moment,
    messages: usize,
}

impl super::History for History {
    type Step = Step;

    fn begin() -> Self {
        let home = World::new();
        let mut ctx = home.ctx("state", NOW);
        let text =
            CHANNELS.map(|name| format!("[[channel]]\ntype = \"command\"\nname = \"{name}\"\ncommand = [\"true\"]\n"));
        ctx.config.channels = testing::channels(&text.concat()).unwrap_or_else(|error| panic!("{error}"));
        std::fs::create_dir_all(&ctx.state_dir).expect("a directory");
        Self {
            channels: ctx.channels(),
            ctx,
            _home: home,
            stands: [Stands::Well; 3],
            ends: [NOW; 3],
            since: [NOW; 3],
            receives: [Receives::Shows; 2],
            leased_until: NOW,
            under_way: Vec::new(),
            model: Model::default(),
            now: NOW,
            passed: NOW,
            messages: 0,
        }
    }

    fn next(&mut self, step: Step) -> Result<(), String> {
        match step {
            Step::Becomes(which, stands) if self.stands[which] != stands => {
                self.stands[which] = stands;
                self.since[which] = self.now;
                self.ends[which] = match stands {
                    Stands::Ahead => self.now + 2 * DAY,
                    _ => self.now,
                };
            }
            Step::Becomes(..) => {}
            Step::Wait(minutes) => {
                self.now = self.now + minutes * MINUTE;
                // no delivery takes longer than this
                while self
                    .under_way
                    .first()
                    .is_some_and(|(_, at)| self.now - *at > 5 * MINUTE)
                {
                    let (leased, at) = self.under_way.remove(0);
                    let now = std::mem::replace(&mut self.now, at + 5 * MINUTE);
                    self.send(leased, Last::Ends)?;
                    self.now = now;
                }
            }
            Step::Receiver(which, how) => self.receives[which] = how,
            Step::Ack(which) => self.ack(which),
            Step::Silence(hours) => self.silence(hours),
            Step::Pass(last) => return self.pass(last),
            Step::Slow => {
                let leased = self.lease(Last::Ends)?;
                self.under_way.push((leased, self.now));
            }
            Step::Lands => {
                if let Some((leased, _)) = self.under_way.pop() {
                    self.send(leased, Last::Ends)?;
                }
            }
        }
        Ok(())
    }

    /// All receivers work again and nobody wants silence: within two days everybody knows how things stand, and then it is quiet but
    /// for reminders that become rarer.
    fn settles(&mut self) -> Result<(), String> {
        self.receives = [Receives::Shows; 2];
        while let Some((leased, _)) = self.under_way.pop() {
            self.send(leased, Last::Ends)?;
        }
        self.now = self.now.max(self.model.silent_until);
        // what is ahead lapses in that time, or is well
        for which in 0..CAUSES.len() {
            if self.stands[which] == Stands::Ahead {
                self.next(Step::Becomes(which, Stands::Lapsed))?;
            }
        }
        for _ in 0..24 {
            self.now = self.now + 2 * HOUR;
            self.pass(Last::Ends)?;
        }
        for (which, cause) in CAUSES.iter().enumerate() {
            for (channel, name) in CHANNELS.iter().enumerate() {
                let saw = self.model.saw.get(&(which, channel));
                let fine = match self.stands[which] {
                    Stands::Well => !matches!(saw, Some(Saw::Firing(_))),
                    _ => saw == Some(&Saw::Firing(Severity::Critical)) || self.model.acked.contains_key(&which),
                };
                if !fine {
                    return Err(format!("{cause} is {:?}, and {name} saw {saw:?}", self.stands[which]));
                }
            }
        }
        let (before, firing) = (self.messages, self.alerts().len());
        for _ in 0..40 {
            self.now = self.now + 18 * HOUR;
            self.pass(Last::Ends)?;
        }
        // at most: 6 h, 1, 2, 4, 8 and 16 days after the last one
        let more = self.messages - before;
        match more <= firing * CHANNELS.len() * 6 {
            true => Ok(()),
            false => Err(format!("{more} messages in a month about {firing} that did not change")),
        }
    }
}

impl History {
    fn alerts(&self) -> Vec<Alert> {
        let all = CAUSES
            .iter()
            .enumerate()
            .filter(|(which, _)| self.stands[*which] != Stands::Well);
        let alert = |(which, id): (usize, &&str)| {
            let lapsed = self.stands[which] == Stands::Lapsed || self.ends[which] <= self.now;
            Alert {
                lapsed,
                ends: Some(self.ends[which]),
                severity: if lapsed { Severity::Critical } else { Severity::Warning },
                ..Alert::new(*id, "login_ended", Severity::Warning)
            }
        };
        all.map(alert).collect()
    }

    /// `nolapse alert ack`, by what the ledger shows.
    fn ack(&mut self, which: usize) {
        let mut ledger = ledger::load(&self.ctx.state_dir).ledger;
        if let Some(memory) = ledger.alerts.get_mut(&CAUSES[which].into()) {
            memory.ack = Some(Ack::of(&memory.last, self.now));
            self.model.acked.insert(which, memory.last.lapsed);
            ledger::save(&self.ctx.state_dir, &ledger).expect("saved");
        }
    }

    fn silence(&mut self, hours: Ms) {
        let mut ledger = ledger::load(&self.ctx.state_dir).ledger;
        let until = self.now + hours * HOUR;
        ledger.silences.push(Silence {
            scope: alert::Scope::All,
            until: Until::Time(until),
            since: self.now,
        });
        ledger::save(&self.ctx.state_dir, &ledger).expect("saved");
        self.model.silent_until = self.model.silent_until.max(until);
    }

    /// Decides and leases, as a pass does under its lock.
    fn lease(&mut self, last: Last) -> Result<Vec<Outgoing>, String> {
        self.now = self.now + 1000;
        self.passed = self.now;
        self.ctx.clock = Clock::Fixed(self.now);
        let mut ledger = ledger::load(&self.ctx.state_dir).ledger;
        deliver::queue(&self.ctx, &mut ledger, &self.channels, &self.alerts(), self.now);
        let leased = deliver::due(&self.ctx, &mut ledger, &self.channels, &mut Room::default(), self.now);
        if last == Last::Decides {
            return Ok(Vec::new());
        }
        ledger::save(&self.ctx.state_dir, &ledger).expect("saved");
        for (which, stands) in self.stands.iter().enumerate() {
            // nothing is kept for longer than a week
            if *stands == Stands::Well && self.now - self.since[which] >= 7 * DAY {
                self.model.saw.retain(|(of, _), _| *of != which);
            }
        }
        for out in &leased {
            let Some(place) = Model::place(out) else { continue };
            let began = self.model.began.entry(place).or_default();
            match out.event.status {
                Status::Firing => *began += 1,
                Status::Resolved if *began == 0 => {
                    return Err(format!("{}, of which nobody had said that it was not", out.event.title));
                }
                Status::Resolved => {}
            }
        }
        // what was acknowledged and has changed since is news
        let alerts = self.alerts();
        let as_it_was = |which: usize, lapsed: bool| {
            let now = alerts.iter().find(|alert| alert.id == CAUSES[which].into());
            now.is_some_and(|alert| alert.lapsed == lapsed)
        };
        self.model.acked.retain(|which, lapsed| as_it_was(*which, *lapsed));
        Ok(leased)
    }

    fn pass(&mut self, last: Last) -> Result<(), String> {
        let leased = self.lease(last)?;
        if last < Last::Ends {
            self.leased_until = self.now + 7 * MINUTE;
        }
        if last <= Last::Saves {
            return Ok(());
        }
        let silent = self.now < self.model.silent_until;
        if silent && leased.iter().any(|out| out.event.status == Status::Firing) {
            return Err("it rings in a silence".into());
        }
        self.send(leased, last)?;
        match last {
            Last::Ends => self.is_heard(),
            _ => Ok(()),
        }
    }

    /// Lets receivers have it, and records what they said.
    fn send(&mut self, leased: Vec<Outgoing>, last: Last) -> Result<(), String> {
        let mut tried = Vec::new();
        for out in leased {
            let channel = CHANNELS
                .iter()
                .position(|name| *name == out.channel)
                .expect("a channel");
            let receives = self.receives[channel];
            if matches!(receives, Receives::Shows | Receives::Mute) {
                self.messages += 1;
                self.model.show(channel, &out.event, receives == Receives::Shows)?;
            }
            // nobody can know whether it arrived
            if receives == Receives::Mute || last < Last::Ends {
                *self.model.may.entry((channel, out.event.event_id.clone())).or_insert(1) += 1;
            }
            let why = "w".to_owned();
            let result = match receives {
                Receives::Shows => Ok(Receipt::of("ok")),
                Receives::Mute => Err(SendError::Lost { why }),
                Receives::Refuses => Err(SendError::Permanent { why }),
                Receives::Down => Err(SendError::Passing { why, retry_after: None }),
            };
            if let (Last::Ends, Some(place)) = (last, Model::place(&out)) {
                let began = self.model.began.entry(place).or_default();
                *began = match (&result, out.event.status) {
                    (Ok(_), Status::Firing) => (*began).max(1),
                    // what began while this was under way is not ended by it
                    (Ok(_), Status::Resolved) if out.tried_at < self.passed => *began,
                    (Ok(_), Status::Resolved) => 0,
                    (Err(SendError::Lost { .. }), _) | (Err(_), Status::Resolved) => *began,
                    (Err(_), Status::Firing) => began.saturating_sub(1),
                };
            }
            tried.push((out, result));
        }
        if last == Last::Ends {
            let mut ledger = ledger::load(&self.ctx.state_dir).ledger;
            deliver::record(&mut ledger, &self.channels, &tried, self.now);
            ledger::save(&self.ctx.state_dir, &ledger).map_err(|error| error.to_string())?;
        }
        Ok(())
    }

    /// What has lapsed was shown to somebody, or the pass says that it was not; what another one took along may have been.
    fn is_heard(&self) -> Result<(), String> {
        if self.now <= self.leased_until || !self.under_way.is_empty() {
            return Ok(());
        }
        let ledger = ledger::load(&self.ctx.state_dir).ledger;
        let names = CHANNELS.map(str::to_owned);
        for (id, unheard) in heard::lapses(&ledger, &self.alerts(), &names, self.now) {
            let which = CAUSES.iter().position(|cause| *cause == id).expect("a cause");
            let saw = (0..CHANNELS.len()).any(|channel| self.model.lapsed.contains(&(which, channel)));
            if !saw && !unheard {
                return Err(format!("nobody saw {id}, and the pass did not end with 3"));
            }
        }
        Ok(())
    }
}

impl Model {
    /// Of which cause it is, and whose.
    fn place(out: &Outgoing) -> Option<(usize, usize)> {
        let which = CAUSES.iter().position(|cause| out.event.alert_id == (*cause).into())?;
        Some((which, CHANNELS.iter().position(|name| *name == out.channel)?))
    }

    fn show(&mut self, channel: usize, event: &Event, certain: bool) -> Result<(), String> {
        let which = CAUSES.iter().position(|cause| event.alert_id == (*cause).into());
        let Some(which) = which else {
            return Ok(());
        };
        let id = (channel, event.event_id.clone());
        let times = self.shown.entry(id.clone()).or_default();
        *times += 1;
        if *times > *self.may.entry(id).or_insert(1) {
            return Err(format!("{} was shown {times} times", event.title));
        }
        let lapsed = event.status == Status::Firing && event.severity == Severity::Critical;
        if lapsed {
            self.lapsed.insert((which, channel));
        } else if certain {
            self.lapsed.remove(&(which, channel));
        }
        self.saw.insert(
            (which, channel),
            match event.status {
                Status::Firing => Saw::Firing(event.severity),
                Status::Resolved => Saw::Over,
            },
        );
        Ok(())
    }
}

/// What failed once, as it is printed.
mod kept {
    use super::{Last::*, Receives::*, Stands::*, Step, Step::*};

    // a history is a line, as it is printed
    #[rustfmt::skip]
    pub(super) const KEPT: &[&[Step]] = &[
        // what was under way arrived after its recovery
        &[Becomes(0, Ahead), Slow, Becomes(0, Well), Pass(Ends)],
        // what was under way arrived after its recovery, since somebody knew of it meanwhile
        &[Becomes(0, Ahead), Slow, Ack(0), Pass(Ends), Becomes(0, Well), Pass(Ends)],
        // the same, since it got worse meanwhile
        &[Becomes(0, Ahead), Slow, Becomes(0, Lapsed), Pass(Ends), Becomes(0, Well), Pass(Ends)],
        // what may have been heard was put away once somebody knew of it, and its recovery with it
        &[Becomes(0, Ahead), Receiver(0, Mute), Pass(Ends), Ack(0), Pass(Ends), Becomes(0, Well)],
        // the same, once a further try had failed for certain
        &[Becomes(2, Ahead), Pass(Sends), Receiver(0, Down), Wait(10), Pass(Ends), Becomes(2, Well)],
        // the same, once another message had taken its place
        &[Receiver(1, Mute), Becomes(0, Ahead), Pass(Ends), Receiver(1, Down), Becomes(0, Lapsed), Pass(Ends), Becomes(0, Well)],
        // a recovery that could not be told was displaced by what began anew and could not be told either
        &[Becomes(0, Ahead), Pass(Ends), Becomes(0, Well), Receiver(0, Down), Pass(Ends), Becomes(0, Ahead), Pass(Ends), Becomes(0, Well)],
        // the same, while a person wanted silence
        &[Becomes(0, Ahead), Pass(Ends), Receiver(0, Down), Silence(1), Becomes(0, Well), Pass(Ends), Becomes(0, Ahead), Pass(Ends), Becomes(0, Well)],
        // what was under way at its end failed: its recovery was owed to nobody
        &[Receiver(0, Down), Becomes(0, Ahead), Slow, Becomes(0, Well), Pass(Ends), Lands],
        // the same, once it had got worse meanwhile
        &[Becomes(0, Ahead), Slow, Receiver(0, Down), Becomes(0, Lapsed), Wait(4), Pass(Ends), Lands, Becomes(0, Well)],
        // a recovery was under way when it began anew
        &[Becomes(0, Ahead), Pass(Ends), Becomes(0, Well), Slow, Becomes(0, Ahead), Pass(Ends), Becomes(0, Well), Pass(Ends)],
        // a recovery that may have been heard was displaced by what nobody heard: the pass ends with 3
        &[Becomes(2, Lapsed), Pass(Ends), Becomes(2, Well), Pass(Sends), Receiver(0, Down), Receiver(1, Down), Wait(10), Becomes(2, Lapsed), Pass(Ends)],
        // it began, and was repaired in part and in whole while it was told
        &[Receiver(0, Down), Becomes(1, Lapsed), Slow, Becomes(1, Ahead), Pass(Ends), Lands, Becomes(1, Well), Pass(Ends)],
        // who was told of what was ahead, and not of its end, does not know that it lapsed
        &[Becomes(2, Ahead), Pass(Ends), Receiver(0, Down), Wait(3600), Pass(Ends), Becomes(2, Well), Pass(Ends), Receiver(1, Down), Becomes(2, Lapsed), Pass(Ends)],
        // who was told that it is ahead is owed the end of it, though what got worse never arrived
        &[Becomes(0, Ahead), Pass(Ends), Becomes(0, Lapsed), Slow, Receiver(0, Down), Becomes(0, Well), Pass(Ends), Lands],
        // the same, though what began anew never arrived
        &[Becomes(0, Ahead), Pass(Ends), Becomes(0, Well), Receiver(0, Down), Pass(Ends), Becomes(0, Ahead), Slow, Becomes(0, Well), Pass(Ends), Lands],
        // what was under way arrived after it had begun anew and was over again
        &[Becomes(0, Ahead), Slow, Becomes(0, Well), Pass(Ends), Becomes(0, Ahead), Receiver(0, Down), Pass(Ends), Receiver(0, Shows), Becomes(0, Well), Pass(Ends), Lands],
        // the same, in a silence
        &[Becomes(0, Ahead), Slow, Becomes(0, Well), Pass(Ends), Silence(1), Becomes(0, Ahead), Pass(Ends), Becomes(0, Well), Pass(Ends), Lands],
        // the same, and it did not arrive
        &[Receiver(0, Down), Becomes(0, Ahead), Slow, Becomes(0, Well), Pass(Ends), Becomes(0, Ahead), Pass(Ends), Becomes(0, Well), Pass(Ends), Lands],
        // what was under way at its end may have been heard
        &[Receiver(0, Mute), Becomes(0, Ahead), Slow, Becomes(0, Well), Pass(Ends), Lands],
        // of two that were under way one arrived
        &[Becomes(0, Ahead), Slow, Becomes(0, Lapsed), Slow, Becomes(0, Well), Pass(Ends), Receiver(0, Down), Lands, Receiver(0, Shows), Lands],
        // the same, of two causes
        &[Becomes(0, Ahead), Slow, Becomes(1, Ahead), Slow, Becomes(0, Well), Becomes(1, Well), Pass(Ends), Receiver(0, Down), Lands, Receiver(0, Shows), Lands],
        // what failed for certain was put away in a silence: nobody is told of its end
        &[Becomes(0, Ahead), Receiver(0, Down), Slow, Silence(2), Wait(10), Pass(Ends), Becomes(0, Well)],
    ];
}

#[test]
fn nothing_is_lost_or_repeated_on_its_way() {
    let (seeds, length) = match super::tried() {
        Tried::Some => (0..40, 60),
        Tried::More => (0..2_000, 200),
        Tried::All => (0..20_000, 200),
    };
    histories::<History>("delivery", kept::KEPT, seeds, prop::collection::vec(step(), 1..length));
}
