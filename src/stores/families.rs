//! The table of store families, and how a state directory's generation is told.
//!
//! Source: clawdbot 2026.1.24-3, moltbot, openclaw 2026.1.29 to 2026.9.6 (`src/config/paths.ts`, `agent-paths.ts`), as
//! run and read. Adding a family is one row of [`FAMILIES`].

use crate::types::Family;
use std::path::PathBuf;

/// One family: where it keeps things and what overrides that. Blank variables count as unset; of several names the first
/// that is set, or exists, wins.
#[derive(Debug)]
pub struct FamilyRow {
    /// The product.
    pub family: Family,
    /// State directory names below the home; where none exists the first is the default.
    pub dirs: &'static [&'static str],
    /// Variables that name the state directory.
    pub state_env: &'static [&'static str],
    /// The variable that replaces the home for this product.
    pub home_env: Option<&'static str>,
    /// The variable that names a profile, `X` of `<first dir>-X`.
    pub profile_env: Option<&'static str>,
    /// Config file names in the state directory.
    pub config_names: &'static [&'static str],
    /// Variables that name the config file.
    pub config_env: &'static [&'static str],
    /// Variables that replace agent `main`'s directory.
    pub agent_dir_env: &'static [&'static str],
}

/// The families, oldest first.
pub const FAMILIES: [FamilyRow; 3] = [
    FamilyRow {
        family: Family::Clawdbot,
        dirs: &[".clawdbot"],
        state_env: &["CLAWDBOT_STATE_DIR"],
        home_env: None,
        profile_env: None,
        config_names: &["clawdbot.json"],
        config_env: &["CLAWDBOT_CONFIG_PATH"],
        agent_dir_env: &["CLAWDBOT_AGENT_DIR", "PI_CODING_AGENT_DIR"],
    },
    FamilyRow {
        family: Family::Moltbot,
        dirs: &[".clawdbot", ".moltbot"],
        state_env: &["MOLTBOT_STATE_DIR", "CLAWDBOT_STATE_DIR"],
        home_env: None,
        profile_env: None,
        config_names: &["moltbot.json", "clawdbot.json"],
        config_env: &["MOLTBOT_CONFIG_PATH", "CLAWDBOT_CONFIG_PATH"],
        agent_dir_env: &["MOLTBOT_AGENT_DIR", "CLAWDBOT_AGENT_DIR", "PI_CODING_AGENT_DIR"],
    },
    // 2026.1.29 also read CLAWDBOT_STATE_DIR; the row above finds what that names
    FamilyRow {
        family: Family::Openclaw,
        dirs: &[".openclaw", ".clawdbot", ".moltbot", ".moldbot"],
        state_env: &["OPENCLAW_STATE_DIR"],
        home_env: Some("OPENCLAW_HOME"),
        profile_env: Some("OPENCLAW_PROFILE"),
        config_names: &["openclaw.json", "moltbot.json", "moldbot.json", "clawdbot.json"],
        config_env: &["OPENCLAW_CONFIG_PATH"],
        agent_dir_env: &["OPENCLAW_AGENT_DIR", "PI_CODING_AGENT_DIR"],
    },
];

/// The row of a family.
pub fn row(family: Family) -> &'static FamilyRow {
    FAMILIES.iter().find(|row| row.family == family).unwrap_or(&FAMILIES[0])
}

/// The family and profile that a state directory's own name tells: `.clawdbot-work` is clawdbot's profile `work`.
pub fn by_dir_name(name: &str) -> Option<(Family, Option<&str>)> {
    [
        (".clawdbot", Family::Clawdbot),
        (".moltbot", Family::Moltbot),
        (".moldbot", Family::Moltbot),
        (".openclaw", Family::Openclaw),
    ]
    .into_iter()
    .find_map(|(stem, family)| match name.strip_prefix(stem)? {
        "" => Some((family, None)),
        rest => rest
            .strip_prefix('-')
            .filter(|profile| !profile.is_empty())
            .map(|profile| (family, Some(profile))),
    })
}

/// The family that a config file's name tells.
pub fn by_config_name(name: &str) -> Option<Family> {
    match name {
        "clawdbot.json" => Some(Family::Clawdbot),
        "moltbot.json" | "moldbot.json" => Some(Family::Moltbot),
        "openclaw.json" => Some(Family::Openclaw),
        _ => None,
    }
}

/// How a store's file is locked by the agents that use it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LockKind {
    /// A directory `<file>.lock` (proper-lockfile 4.1.2).
    Directory,
    /// A file `<file>.lock` holding `{"pid","createdAt"}`.
    File,
}

/// The generation of the product that last touched a state directory, which decides format and lock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Generation {
    /// JSON stores with this lock.
    Json(LockKind),
    /// JSON stores may not be written, since what lives here cannot be told; says why.
    Unknown(String),
    /// SQLite stores (openclaw 2026.6.5 and later): JSON beside them must be neither made nor written.
    Sqlite,
}

/// What tells a generation.
#[derive(Clone, Copy, Debug, Default)]
pub struct Signs<'a> {
    /// `meta.lastTouchedVersion` of the config.
    pub version: Option<&'a str>,
    /// `state/openclaw.sqlite` or any agent's `openclaw-agent.sqlite` exists.
    pub sqlite: bool,
    /// Any agent has an `auth-profiles.json`.
    pub json_store: bool,
    /// Any agent has an `auth-state.json`, which came with openclaw 2026.4.25.
    pub auth_state: bool,
}

/// Tells the generation. The config's version is that of the last *write* to the config, so what newer versions leave on
/// disk is believed before it.
pub fn generation(family: Family, signs: Signs<'_>) -> Generation {
    if signs.sqlite {
        return Generation::Sqlite;
    }
    let told = match signs.version.map(|text| (text, parse_version(text))) {
        Some((_, Some(version))) if version >= (2026, 6, 5) => return Generation::Sqlite,
        Some((text, Some(version))) if version > (2026, 5, 12) => {
            return Generation::Unknown(format!(
                "last touched by version `{text}`, between the JSON and the SQLite generations, whose store is not known"
            ));
        }
        // 2026.2.13 to 2026.2.16 were not observed; the file lock came with 2026.2.17
        Some((_, Some(version))) if version <= (2026, 2, 16) => Some(LockKind::Directory),
        Some((_, Some(_))) => Some(LockKind::File),
        Some((_, None)) | None => match family {
            Family::Clawdbot | Family::Moltbot => Some(LockKind::Directory),
            Family::Openclaw => signs.json_store.then_some(LockKind::File),
        },
    };
    match told {
        _ if signs.auth_state => Generation::Json(LockKind::File),
        Some(kind) => Generation::Json(kind),
        None => Generation::Unknown(
            "the config names no version and there is no store yet: nothing tells which generation of OpenClaw lives here"
                .into(),
        ),
    }
}

/// `2026.1.24-3` as its three numbers; what follows them is ignored.
fn parse_version(text: &str) -> Option<(u32, u32, u32)> {
    let text = text.trim();
    let text = text.strip_prefix('v').unwrap_or(text);
    let mut parts = text.splitn(3, '.');
    let year = parts.next()?.parse().ok()?;
    let month = parts.next()?.parse().ok()?;
    let last = parts.next()?;
    let end = last.find(|c: char| !c.is_ascii_digit()).unwrap_or(last.len());
    Some((year, month, last[..end].parse().ok()?))
}

/// Whether this version keeps `order`, `lastGood` and `usageStats` beside the store, in `auth-state.json`.
pub fn keeps_state_apart(version: Option<&str>) -> bool {
    version
        .and_then(parse_version)
        .is_some_and(|version| version >= (2026, 4, 25))
}

/// The agent id as the agents make it (`normalizeAgentId`): lower case, runs of characters other than `a-z0-9_-` become
/// `-`, none at the ends, at most 64, `main` where nothing is left. An id that is valid but for its case keeps its ends.
pub fn normalise_agent_id(text: &str) -> String {
    let lower = text.trim().to_lowercase();
    let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || matches!(c, '_' | '-');
    if !lower.is_empty() && lower.len() <= 64 && lower.chars().all(valid) && !lower.starts_with(['_', '-']) {
        return lower;
    }
    let mut id = String::new();
    let mut invalid_run = false;
    for c in lower.chars() {
        if valid(c) {
            id.push(c);
        } else if !invalid_run {
            id.push('-');
        }
        invalid_run = !valid(c);
    }
    let id = id.trim_matches('-');
    // cut at 64 (all ASCII by now); a `-` that the cut leaves at the end is trimmed so that the result is stable
    let id = id[..id.len().min(64)].trim_end_matches('-');
    if id.is_empty() { "main".into() } else { id.into() }
}

/// A product's state directory, found and understood.
#[derive(Clone, Debug)]
pub struct StateDir {
    /// The product.
    pub family: Family,
    /// `X` of `--profile X`.
    pub named: Option<String>,
    /// The directory, links followed. Absent where only an agent directory named by the environment exists.
    pub dir: PathBuf,
    /// The agents' config file, if there is one.
    pub config_path: Option<PathBuf>,
    /// The default agent's id (`main` unless the config says otherwise).
    pub default_agent: String,
    /// Format and lock.
    pub generation: Generation,
    /// Version of the product that last wrote the config, as it spells it.
    pub version: Option<String>,
    /// `state/openclaw.sqlite`, if there is one.
    pub shared_sqlite: Option<PathBuf>,
    /// Names (never values) of the non-blank variables in `<state>/.env`.
    pub dotenv: Vec<String>,
    /// Providers of the models in use by the default agent (`agents.defaults.model` and the agent's own), `anthropic` where
    /// the config names none; for the raw clock's "a provider in use has no auth".
    pub providers_in_use: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_normalised_as_the_agents_do() {
        for (text, id) in [
            ("main", "main"),
            ("Work", "work"),
            ("no such/Dir", "no-such-dir"),
            ("No Such/Dir!", "no-such-dir"),
            ("", "main"),
            ("  ", "main"),
            ("!!!", "main"),
            ("../../etc/passwd", "etc-passwd"),
            ("..", "main"),
            ("a--b", "a--b"),
            ("a- b", "a--b"),
            ("-a-", "a"),
            ("a-", "a-"),
            ("_x", "_x"),
            ("Größe", "gr-e"),
            ("агент", "main"),
            ("\u{212a}elvin", "kelvin"),
            ("a\0b", "a-b"),
        ] {
            assert_eq!(normalise_agent_id(text), id, "{text:?}");
        }
        assert_eq!(normalise_agent_id(&"x".repeat(100)), "x".repeat(64));
    }

    proptest::proptest! {
        #[test]
        fn a_normalised_id_is_valid_and_stays(text in proptest::prop_oneof![".*", "[a-zA-Z_ /.-]{50,80}", "[a-z]{60,64}[- !]+[a-z]*"]) {
            let id = normalise_agent_id(&text);
            proptest::prop_assert!(!id.is_empty() && id.len() <= 64);
            proptest::prop_assert!(id.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-'));
            proptest::prop_assert_eq!(normalise_agent_id(&id), id);
        }
    }

    #[test]
    fn generations_are_told_by_version_then_family() {
        use Family::{Clawdbot, Moltbot, Openclaw};
        let directory = Some(Generation::Json(LockKind::Directory));
        let file = Some(Generation::Json(LockKind::File));
        let sqlite = Some(Generation::Sqlite);
        for (family, version, json_store, expected) in [
            (Clawdbot, None, false, &directory),
            (Moltbot, None, true, &directory),
            (Openclaw, None, true, &file),
            (Openclaw, None, false, &None),
            (Openclaw, Some("garbage"), false, &None),
            (Openclaw, Some("2026.1"), true, &file),
            (Clawdbot, Some("2026.1.24-3"), false, &directory),
            (Openclaw, Some("2026.2.12"), false, &directory),
            (Openclaw, Some("2026.2.16"), false, &directory),
            (Openclaw, Some("2026.2.17"), false, &file),
            (Openclaw, Some("v2026.4.14-beta.1"), false, &file),
            (Clawdbot, Some("2026.5.12"), false, &file),
            (Openclaw, Some("2026.5.13"), true, &None),
            (Openclaw, Some("2026.6.4"), true, &None),
            (Openclaw, Some("2026.6.5"), true, &sqlite),
            (Openclaw, Some("2026.10.1"), true, &sqlite),
            (Openclaw, Some("2027.1.0"), false, &sqlite),
        ] {
            let signs = Signs {
                version,
                json_store,
                ..Signs::default()
            };
            let got = generation(family, signs);
            let matches = expected
                .as_ref()
                .map_or(matches!(got, Generation::Unknown(_)), |want| got == *want);
            assert!(matches, "{family} {version:?} {json_store}: {got:?}");
        }
    }

    #[test]
    fn what_newer_versions_leave_on_disk_beats_the_config() {
        let old = Signs {
            version: Some("2026.1.24-3"),
            ..Signs::default()
        };
        assert_eq!(
            generation(Family::Clawdbot, Signs { sqlite: true, ..old }),
            Generation::Sqlite
        );
        assert_eq!(
            generation(
                Family::Openclaw,
                Signs {
                    auth_state: true,
                    ..old
                }
            ),
            Generation::Json(LockKind::File)
        );
    }

    #[test]
    fn directory_names_tell_family_and_profile() {
        for (name, expected) in [
            (".clawdbot", Some((Family::Clawdbot, None))),
            (".clawdbot-work", Some((Family::Clawdbot, Some("work")))),
            (".moldbot", Some((Family::Moltbot, None))),
            (".openclaw-a-b", Some((Family::Openclaw, Some("a-b")))),
            (".openclaw-", None),
            (".openclawx", None),
            ("clawdbot", None),
        ] {
            assert_eq!(by_dir_name(name), expected, "{name}");
        }
    }
}
