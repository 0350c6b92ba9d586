//! Owners and modes, our state directory, and room on its disk.

use super::super::wording::{quote, take_over};
use super::{Facts, Finding, Group, Level, Spot, counted, private};

/// The mode and owner of a file or directory.
#[derive(Clone, Debug)]
pub(crate) struct ModeFact {
    /// Which.
    pub(crate) spot: Spot,
    /// What is in it.
    pub(crate) holds: Holds,
    /// `0o7777`.
    pub(crate) mode: u32,
    /// Its owner.
    pub(crate) uid: u32,
    /// Whose it should be: the directory's owner, or ours.
    pub(crate) should: u32,
    /// It is ours.
    pub(crate) ours: bool,
}

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Holds {
    /// A login.
    Login,
    /// An agents' JSON store.
    Store,
    /// An agents' database, which is not touched.
    Database,
    /// An agents' `.env`, which is not touched.
    Dotenv,
    /// What nolapse remembers.
    Memory,
    /// The directory of that.
    MemoryDir,
}

/// Our state directory.
#[derive(Clone, Debug, Default)]
pub(crate) struct StateFact {
    /// For people.
    pub(crate) shown: String,
    /// Why nothing can be written there.
    pub(crate) not_writable: Option<String>,
    /// Room that is left, in bytes.
    pub(crate) room: Option<u64>,
    /// Tokens that wait to be saved in their place.
    pub(crate) rescued: Vec<Spot>,
    /// Logins or profiles whose renewal was begun by a pass that died.
    pub(crate) fences: Vec<String>,
}

/// With fewer bytes than this the disk counts as full: a ledger and a login do not fit.
const NO_ROOM: u64 = 64 << 10;

/// Less room than this is soon none, in bytes.
const LITTLE_ROOM: u64 = 16 << 20;

/// Whose files are whose, and what there is room for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Files {
    /// Modes and owners of what holds secrets or memory.
    pub(crate) modes: Vec<ModeFact>,
    /// Our state directory.
    pub(crate) state: StateFact,
}

pub(super) fn judge(facts: &Facts) -> Vec<Finding> {
    let (modes, state) = (&facts.files.modes, &facts.files.state);
    let mut found: Vec<Finding> = modes.iter().filter_map(owner).collect();
    found.extend(modes.iter().filter_map(mode));
    found.extend(not_writable(state));
    found.extend(room(state));
    let rescued = facts.judged.alerts.iter().any(|(alert, _)| alert.kind == "rescue");
    found.extend(state.rescued.iter().filter(|_| !rescued).map(rescue));
    found.extend(state.fences.iter().map(|whom| fence(whom)));
    found
}

pub(super) fn checked(facts: &Facts) -> Option<String> {
    let room = facts.files.state.room;
    let room = room.map_or(String::new(), |room| format!(", {} MB left", room >> 20));
    Some(format!(
        "owner and mode of {}; state directory writable{room}",
        counted(facts.files.modes.len(), "file")
    ))
}

impl Holds {
    fn memory(self) -> bool {
        matches!(self, Self::Memory | Self::MemoryDir)
    }
}

fn owner(fact: &ModeFact) -> Option<Finding> {
    if fact.uid == fact.should {
        return None;
    }
    let (shown, uid, should) = (&fact.spot.shown, fact.uid, fact.should);
    let (what, why) = match fact.holds.memory() {
        true => (
            format!("`{shown}` belongs to user {uid}, and nolapse runs as user {should}"),
            "passes cannot remember what they did; something ran here as another user, perhaps root",
        ),
        false => (
            format!("`{shown}` belongs to user {uid} and its directory to user {should}"),
            "its user cannot read or replace it; something wrote it as another user, perhaps root",
        ),
    };
    let recursive = if fact.holds == Holds::MemoryDir { "-R " } else { "" };
    let command = match shown.rsplit_once('/') {
        // whose the directory is has to change, not whose our file is
        Some((dir, _)) if fact.ours && !fact.holds.memory() => take_over(dir),
        _ => format!("sudo chown {recursive}{should} {}", quote(shown)),
    };
    Some(
        Finding::new("wrong_owner", Group::Files, Level::Broken, what, why)
            .at(&fact.spot.path)
            .run(command),
    )
}

fn mode(fact: &ModeFact) -> Option<Finding> {
    if fact.mode & 0o077 == 0 {
        return None;
    }
    let touchable = fact.ours && !matches!(fact.holds, Holds::Database | Holds::Dotenv);
    let found = Finding::new(
        "readable_by_others",
        Group::Files,
        Level::Warning,
        format!("`{}` has mode {:04o}", fact.spot.shown, fact.mode),
        match fact.holds.memory() {
            true => "others on this host can see which logins and agents there are, and which alerts were sent",
            false => "others on this host can read the tokens in it",
        },
    );
    let wanted = if fact.holds == Holds::MemoryDir { 0o700 } else { 0o600 };
    Some(private(found, &fact.spot, wanted, touchable))
}

fn not_writable(state: &StateFact) -> Option<Finding> {
    let why = state.not_writable.as_ref()?;
    let found = Finding::new(
        "state_dir",
        Group::Files,
        Level::Broken,
        format!("nothing can be written in `{}`: {why}", state.shown),
        "sent alerts cannot be recorded, so none are sent",
    );
    Some(found.advice("make it writable, or name another with `--state-dir`"))
}

fn room(state: &StateFact) -> Option<Finding> {
    let room = state.room.filter(|room| *room < LITTLE_ROOM)?;
    let level = if room < NO_ROOM { Level::Broken } else { Level::Warning };
    let found = Finding::new(
        "disk_full",
        Group::Files,
        level,
        format!("{} kB are left on the disk of `{}`", room >> 10, state.shown),
        "a pass that cannot write renews nothing and sends no alerts",
    );
    Some(found.run(format!("df -h {}", quote(&state.shown))))
}

fn rescue(spot: &Spot) -> Finding {
    Finding::new(
        "rescue",
        Group::Logins,
        Level::Broken,
        format!(
            "`{}` holds new tokens that could not be saved in their place",
            spot.shown
        ),
        "they exist nowhere else; the next pass that can will save them, and whatever uses the login before that is logged out",
    )
    .at(&spot.path)
    .run("nolapse refresh")
}

fn fence(whom: &str) -> Finding {
    Finding::new(
        "fence_left",
        Group::Logins,
        Level::Warning,
        format!("a renewal of `{whom}` was begun by a pass that died before the answer came"),
        "the next pass finds out whether its single-use token was used up, without sending it again",
    )
    .run("nolapse run")
}

#[cfg(test)]
mod tests {
    use super::super::testing::*;
    use super::super::{Fix, Remedy};
    use super::*;
    use crate::types::Severity;

    fn fact(holds: Holds, mode: u32, uid: u32, should: u32) -> ModeFact {
        ModeFact {
            spot: spot("~/f"),
            holds,
            mode,
            uid,
            should,
            ours: uid == 1000,
        }
    }

    #[test]
    fn owners_and_modes_are_judged_and_only_what_is_ours_is_repaired() {
        for (fact, kind, level, command, fix) in [
            (
                fact(Holds::Login, 0o600, 0, 1000),
                "wrong_owner",
                Level::Broken,
                "sudo chown 1000 ~/f",
                None,
            ),
            (
                fact(Holds::MemoryDir, 0o700, 0, 1000),
                "wrong_owner",
                Level::Broken,
                "sudo chown -R 1000 ~/f",
                None,
            ),
            // ours, in a directory of somebody else's
            (
                fact(Holds::Login, 0o600, 1000, 5),
                "wrong_owner",
                Level::Broken,
                "sudo chown -R \"$(id -un)\" '~'",
                None,
            ),
            (
                fact(Holds::Memory, 0o600, 1000, 5),
                "wrong_owner",
                Level::Broken,
                "sudo chown 5 ~/f",
                None,
            ),
            (
                fact(Holds::Login, 0o644, 1000, 1000),
                "readable_by_others",
                Level::Warning,
                "chmod 600 ~/f",
                Some(0o600),
            ),
            (
                fact(Holds::MemoryDir, 0o755, 1000, 1000),
                "readable_by_others",
                Level::Warning,
                "chmod 700 ~/f",
                Some(0o700),
            ),
            (
                fact(Holds::Store, 0o640, 5, 5),
                "readable_by_others",
                Level::Warning,
                "chmod 600 ~/f",
                None,
            ),
            (
                fact(Holds::Database, 0o644, 1000, 1000),
                "readable_by_others",
                Level::Warning,
                "chmod 600 ~/f",
                None,
            ),
            (
                fact(Holds::Dotenv, 0o644, 1000, 1000),
                "readable_by_others",
                Level::Warning,
                "chmod 600 ~/f",
                None,
            ),
        ] {
            let found = super::super::examine(&with_modes(fact.clone()));
            assert_eq!(found.len(), 1, "{fact:?}");
            let wanted = fix.map(|mode| Fix::Mode {
                path: "/h/f".into(),
                mode,
            });
            assert_eq!((found[0].kind.as_str(), found[0].level), (kind, level), "{fact:?}");
            assert_eq!(
                (&found[0].remedy, &found[0].fix),
                (&Remedy::Run(command.into()), &wanted),
                "{fact:?}"
            );
        }
        let fine = fact(Holds::Login, 0o600, 1000, 1000);
        assert_eq!(kinds(&with_modes(fine)), []);
    }

    fn with_modes(fact: ModeFact) -> Facts {
        let files = Files {
            modes: vec![fact],
            ..Files::default()
        };
        Facts { files, ..facts() }
    }

    #[test]
    fn room_is_judged() {
        let room = |room| {
            let state = StateFact {
                room: Some(room),
                ..StateFact::default()
            };
            let files = Files {
                state,
                ..Files::default()
            };
            kinds(&Facts { files, ..facts() })
        };
        let one = |level| vec![("disk_full".to_owned(), level)];
        assert_eq!(room(1 << 30), []);
        assert_eq!(room(LITTLE_ROOM), []);
        assert_eq!(room(LITTLE_ROOM - 1), one(Level::Warning));
        assert_eq!(room(NO_ROOM), one(Level::Warning));
        assert_eq!(room(NO_ROOM - 1), one(Level::Broken));
    }

    const WORLDS: &[World] = &[
        (
            |facts| {
                facts.files.state.shown = "~/state".into();
                facts.files.state.not_writable = Some("read-only file system".into());
                facts.files.state.room = Some(1 << 20);
            },
            r#"
state_dir broken -
nothing can be written in `~/state`: read-only file system
sent alerts cannot be recorded, so none are sent
make it writable, or name another with `--state-dir`
disk_full warning -
1024 kB are left on the disk of `~/state`
a pass that cannot write renews nothing and sends no alerts
$ df -h ~/state"#,
        ),
        (
            |facts| {
                facts.files.state.rescued = vec![spot("~/state/rescue/claude.json")];
                facts.files.state.fences = vec!["claude".into()];
            },
            r#"
rescue broken /h/state/rescue/claude.json
`~/state/rescue/claude.json` holds new tokens that could not be saved in their place
they exist nowhere else; the next pass that can will save them, and whatever uses the login before that is logged out
$ nolapse refresh
fence_left warning -
a renewal of `claude` was begun by a pass that died before the answer came
the next pass finds out whether its single-use token was used up, without sending it again
$ nolapse run"#,
        ),
        // the alert says it
        (
            |facts| {
                facts.files.state.rescued = vec![spot("~/state/rescue/claude.json")];
                fires(facts, "renew:claude", "rescue", Severity::Critical);
            },
            r#"
rescue broken -
title
cause; affected: a
nothing to do"#,
        ),
        (
            |facts| {
                let of = |holds, mode, uid| ModeFact {
                    spot: spot("~/d/f"),
                    holds,
                    mode,
                    uid,
                    should: 1000,
                    ours: uid == 1000,
                };
                facts.files.modes = vec![
                    of(Holds::Login, 0o600, 0),
                    of(Holds::Memory, 0o600, 0),
                    of(Holds::Login, 0o644, 1000),
                    of(Holds::MemoryDir, 0o701, 1000),
                ];
            },
            r#"
wrong_owner broken /h/d/f
`~/d/f` belongs to user 0 and its directory to user 1000
its user cannot read or replace it; something wrote it as another user, perhaps root
$ sudo chown 1000 ~/d/f
wrong_owner broken /h/d/f
`~/d/f` belongs to user 0, and nolapse runs as user 1000
passes cannot remember what they did; something ran here as another user, perhaps root
$ sudo chown 1000 ~/d/f
readable_by_others warning /h/d/f
`~/d/f` has mode 0644
others on this host can read the tokens in it
$ chmod 600 ~/d/f | fix /h/d/f
readable_by_others warning /h/d/f
`~/d/f` has mode 0701
others on this host can see which logins and agents there are, and which alerts were sent
$ chmod 700 ~/d/f | fix /h/d/f"#,
        ),
    ];

    #[test]
    fn what_is_said_of_each_world() {
        each(WORLDS);
    }
}
