//! What `doctor` finds: facts in, findings out. A file a group, each with its facts, what they mean and what was looked at;
//! health and alerts are judged elsewhere and only put in their place here.

mod agents;
mod changes;
mod clock;
mod configuration;
mod files;
mod finding;
mod grants;
mod judged;
mod locks;
mod logins;
mod remotes;
mod running;
mod telling;
#[cfg(test)]
mod testing;

pub(crate) use crate::layout::counted;
use crate::types::{Moment, Ms};
pub(crate) use agents::{AgentFact, Agents, Behind, CopyFact};
pub(crate) use configuration::ConfigFact;
pub(crate) use files::{Files, Holds, ModeFact, StateFact};
pub(crate) use finding::{Finding, Fix, Group, Level, Remedy, Spot};
use finding::{helped, join, private};
pub(crate) use grants::{Grants, Holder, Who};
pub(crate) use judged::Judged;
pub(crate) use locks::{LockFact, LockOf};
pub(crate) use logins::{LoginFact, Logins};
pub(crate) use running::{On, RunningFact, Runs, TermuxApi, Way, patience, runs};
pub(crate) use telling::{ChannelFact, Probe};

/// All that is looked at, by group.
#[derive(Clone, Debug, Default)]
pub(crate) struct Facts {
    /// As of when.
    pub(crate) now: Moment,
    /// Our configuration.
    pub(crate) config: ConfigFact,
    /// What a pass would say.
    pub(crate) judged: Judged,
    /// Claude Code's logins.
    pub(crate) logins: Logins,
    /// Who can spend which refresh token.
    pub(crate) grants: Grants,
    /// The agents' stores.
    pub(crate) agents: Agents,
    /// Locks that exist.
    pub(crate) locks: Vec<LockFact>,
    /// Owners, modes, our state directory.
    pub(crate) files: Files,
    /// Channels, and the heartbeat.
    pub(crate) channels: Vec<ChannelFact>,
    /// Who runs nolapse.
    pub(crate) running: RunningFact,
    /// How many remotes are asked.
    pub(crate) remotes: usize,
    /// What is from the future, and by how much.
    pub(crate) ahead: Vec<(String, Ms)>,
}

/// A part of the examination.
type Judge = fn(&Facts) -> Vec<Finding>;

const JUDGES: [Judge; 10] = [
    configuration::judge,
    judged::judge,
    logins::judge,
    grants::judge,
    agents::judge,
    locks::judge,
    files::judge,
    telling::judge,
    running::judge,
    clock::judge,
];

/// What to say about a group in which nothing was found; `None` if there was nothing to look at.
type Checked = fn(&Facts) -> Option<String>;

const CHECKED: [(Group, Checked); 9] = [
    (Group::Configuration, configuration::checked),
    (Group::Logins, logins::checked),
    (Group::Agents, agents::checked),
    (Group::Locks, locks::checked),
    (Group::Files, files::checked),
    (Group::Telling, telling::checked),
    (Group::Running, running::checked),
    (Group::Remotes, remotes::checked),
    (Group::Clock, clock::checked),
];

/// Everything that is found, by group, the worst first.
pub(crate) fn examine(facts: &Facts) -> Vec<Finding> {
    let mut found: Vec<Finding> = JUDGES.iter().flat_map(|judge| judge(facts)).collect();
    found.sort_by(|a, b| (a.group, a.level, &a.kind).cmp(&(b.group, b.level, &b.kind)));
    found.dedup();
    found
}

/// What was looked at, a line for each group.
pub(crate) fn checked(facts: &Facts) -> Vec<(Group, String)> {
    let lines = CHECKED.iter();
    lines
        .filter_map(|(group, checked)| Some((*group, checked(facts)?)))
        .collect()
}

/// The exit code: what is broken outweighs what could not be told, and that what is only a warning.
pub(crate) fn exit(findings: &[Finding]) -> u8 {
    match findings.iter().map(|finding| finding.level).min() {
        Some(Level::Broken) => 1,
        Some(Level::Unknown) => 3,
        Some(Level::Warning) => 2,
        Some(Level::Note) | None => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::testing::*;
    use super::*;

    #[test]
    fn nothing_wrong_is_nothing_found() {
        let fine = with_login(login("claude"));
        assert_eq!(kinds(&fine), []);
        assert_eq!(exit(&examine(&fine)), 0);
        assert!(checked(&fine).iter().any(|(_, what)| what.contains("1 login")));
    }

    #[test]
    fn the_worst_decides_the_exit_code() {
        let of = |levels: &[Level]| {
            let found: Vec<Finding> = levels
                .iter()
                .map(|level| Finding::new("x", Group::Files, *level, "w", "w"))
                .collect();
            exit(&found)
        };
        for (levels, code) in [
            (&[][..], 0),
            (&[Level::Note], 0),
            (&[Level::Note, Level::Warning], 2),
            (&[Level::Warning, Level::Unknown], 3),
            (&[Level::Unknown, Level::Broken, Level::Warning], 1),
        ] {
            assert_eq!(of(levels), code, "{levels:?}");
        }
    }

    #[test]
    fn what_was_looked_at_is_a_line_of_each_group() {
        let lines = |facts: &Facts| -> Vec<String> {
            let line = |(group, what): (Group, String)| format!("{}: {what}", group.heading());
            checked(facts).into_iter().map(line).collect()
        };
        let mut world = with_login(login("claude"));
        let plain = [
            "configuration: the defaults, without a file",
            "logins: 1 login (not checked with the server)",
            "agents: 0 stores",
            "locks: none held, none left over",
            "files: owner and mode of 0 files; state directory writable",
            "channels: ",
            "running: the systemd timer, last pass 1 min ago",
            "clock: looks right (not checked against a time server)",
        ];
        assert_eq!(lines(&world), plain);
        world.config.there = true;
        world.config.shown = "~/c.toml".into();
        world.files.state.room = Some(5 << 20);
        world.running.last_pass = Some(NOW - crate::types::MINUTE + 1);
        world.running.linger = Some(true);
        world.running.termux_api = Some(TermuxApi::Answers);
        world.running.cli = Some(Ok("2.1.330".into()));
        world.remotes = 2;
        let more = [
            "configuration: `~/c.toml`, valid; its secrets are private",
            "logins: 1 login, renewed by `claude` 2.1.330 (not checked with the server)",
            plain[2],
            plain[3],
            "files: owner and mode of 0 files; state directory writable, 5 MB left",
            plain[5],
            "running: the systemd timer, last pass just now, linger on, Termux:API answers",
            "remotes: 2 hosts as the last pass heard them",
            plain[7],
        ];
        assert_eq!(lines(&world), more);
    }

    #[test]
    fn what_was_looked_at_is_told_in_the_order_of_the_groups() {
        let order: Vec<Group> = CHECKED.iter().map(|(group, _)| *group).collect();
        assert_eq!(order, Group::ALL);
    }
}
