//! What is remembered between passes, in one versioned JSON file that is replaced atomically: logins' lineages, copies,
//! what each channel was told, the outbox. Holds fingerprints and never a token.

use crate::edge::files::{self, ReadError};
use crate::edge::locks::{self, LockError};
use crate::edge::replace;
use crate::rules::memory::{Ledger, Passes};

use crate::rules::renew::Record;
use crate::secret::Fingerprint;
use crate::types::{Moment, Problem};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The format's name and version. What is neither this nor a newer one is set aside, not guessed at.
const SCHEMA: &str = "nolapse.ledger/1";

/// All that is read of a ledger whose form is unknown.
#[derive(Deserialize)]
struct Head {
    schema: String,
}

/// Whether this is a ledger of a later version than [`SCHEMA`], and which.
fn newer(mut file: impl Read + Seek) -> Option<String> {
    file.rewind().ok()?;
    let Head { schema } = serde_json::from_reader(file).ok()?;
    let version = |schema: &str| schema.strip_prefix("nolapse.ledger/")?.parse::<u32>().ok();
    (version(&schema)? > version(SCHEMA)?).then_some(schema)
}

/// A ledger as it was found.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// The ledger, empty where there was none.
    pub(crate) ledger: Ledger,
    /// What was wrong with it.
    pub(crate) problem: Option<Problem>,
    /// It is a newer version's, which this one neither understands nor replaces.
    pub(crate) newer: bool,
}

/// Its place in the state directory.
pub(crate) fn path(state_dir: &Path) -> PathBuf {
    state_dir.join("ledger.json")
}

/// Reads the ledger and changes nothing. One that cannot be read is reported and treated as empty; [`set_aside`] keeps it.
pub(crate) fn load(state_dir: &Path) -> Loaded {
    let path = path(state_dir);
    // what was posted must be known even where the ledger is lost: asked only then
    let anew = || {
        let Fences {
            renewals,
            rejected,
            spent,
        } = fences(state_dir);
        Ledger {
            schema: SCHEMA.into(),
            renewals,
            rejected,
            spent,
            ..Ledger::default()
        }
    };
    let stand_in = || Ledger {
        stands_in: true,
        ..anew()
    };
    let corrupt = |why: String| Loaded {
        ledger: stand_in(),
        problem: Some(Problem::at(
            "ledger_corrupt",
            &path,
            format!("the ledger cannot be read: {why}"),
            "nothing to do: it is set aside and begun anew, with what is known of spent tokens; an alert may be repeated once",
        )),
        newer: false,
    };
    let refused = |schema: String| Loaded {
        ledger: stand_in(),
        problem: Some(Problem::at(
            "state_dir",
            &path,
            format!(
                "a newer nolapse wrote this ledger (`{schema}`; this one reads `{SCHEMA}`), so nothing is done and nothing changed"
            ),
            "install that version again",
        )),
        newer: true,
    };
    let sound = |ledger: Ledger| Loaded {
        ledger,
        problem: None,
        newer: false,
    };
    let mut file = match files::open_ours_most(&path, LIMIT) {
        Ok(file) => file,
        Err(ReadError::Absent) => return sound(anew()),
        Err(error) => return corrupt(error.to_string()),
    };
    let why = match read(&mut file) {
        Ok(ledger) if ledger.schema == SCHEMA => return sound(ledger),
        Ok(ledger) => format!("its schema is `{}`, not `{SCHEMA}`", ledger.schema),
        Err(error) if error.is_io() => io::Error::from(error).to_string(),
        Err(error) => format!("line {} column {}", error.line(), error.column()),
    };
    match newer(file) {
        Some(schema) => refused(schema),
        None => corrupt(why),
    }
}

/// Reads in pieces: memory for the whole text would stay with the process (glibc keeps what it once gave back).
fn read(file: impl Read) -> serde_json::Result<Ledger> {
    let mut ledger: Ledger = serde_json::from_reader(file.take(LIMIT))?;
    // serde leaves room for more
    ledger.outbox.shrink_to_fit();
    Ok(ledger)
}

/// The most that a ledger may be, in bytes; a larger one is not written, since it would not be read. 10,000 profiles that all need a
/// person are a quarter of it.
const LIMIT: u64 = 32 << 20;

/// How many unreadable ledgers are kept.
const KEPT: usize = 3;

/// Keeps a ledger that cannot be read under another name, before the one that stands in for it takes its place; of such, the three
/// newest.
///
/// # Errors
/// What the system refuses; where it is still in its place, [`save`] refuses too.
pub(crate) fn set_aside(state_dir: &Path, now: Moment, stand_in: &mut Ledger) -> io::Result<()> {
    files::rename(&path(state_dir), &state_dir.join(format!("ledger.corrupt-{now}.json")))?;
    stand_in.stands_in = false;
    let at = |name: &String| {
        let at = name.strip_prefix("ledger.corrupt-")?.strip_suffix(".json")?;
        at.parse::<i64>().ok()
    };
    let mut names: Vec<(i64, String)> = files::list(state_dir)
        .into_iter()
        .filter_map(|name| Some((at(&name)?, name)))
        .collect();
    names.sort();
    for (_, name) in &names[..names.len().saturating_sub(KEPT)] {
        files::remove(&state_dir.join(name))?;
    }
    Ok(())
}

/// Changes what is remembered, outside a pass's own work and under the lock of passes, which is waited for that long. A ledger that
/// cannot be read is set aside and reported, as a pass does it.
///
/// # Errors
/// A pass that runs for longer, and what the system refuses; what was remembered is still there then.
pub(crate) async fn change<T>(
    state_dir: &Path,
    now: Moment,
    wait: Duration,
    change: impl FnOnce(&mut Ledger) -> T,
) -> Result<T, LockError> {
    files::make_dirs(state_dir)?;
    let _lock = locks::pass_lock(state_dir, wait).await?;
    let mut loaded = load(state_dir);
    if let Some(problem) = loaded.problem {
        if loaded.newer {
            return Err(io::Error::other(problem.message).into());
        }
        set_aside(state_dir, now, &mut loaded.ledger)?;
        tracing::warn!("{}; hint: {}", problem.message, problem.hint);
    }
    let changed = change(&mut loaded.ledger);
    save(state_dir, &loaded.ledger)?;
    Ok(changed)
}

/// When the last whole pass ended, as it wrote that down beside the ledger.
pub(crate) fn last_pass(state_dir: &Path) -> Option<Moment> {
    passes(state_dir).last_at
}

/// Writes the ledger, durably.
///
/// # Errors
/// What the system refuses; the old one is then still there.
pub(crate) fn save(state_dir: &Path, ledger: &Ledger) -> io::Result<()> {
    if ledger.stands_in {
        return Err(io::Error::other("the ledger that cannot be read is still in its place"));
    }
    let path = files::own_target(&path(state_dir))?;
    // in pieces, twice: as a whole it would take as much memory as the ledger
    let write = |to: &mut dyn Write| -> io::Result<()> {
        serde_json::to_writer(&mut *to, ledger)?;
        to.write_all(b"\n")
    };
    let mut compared = files::Compared::with(&path);
    write(&mut compared)?;
    if compared.written > LIMIT {
        return Err(io::Error::other(format!(
            "the ledger would be {} bytes, more than the {LIMIT} that are read",
            compared.written
        )));
    }
    if compared.same() {
        return Ok(());
    }
    replace::replace_with(&path, &write, None)
}

/// [`save`], and certain to survive a power cut: what is written here is relied upon before a token is spent. The part that
/// tells of spent tokens is written a second time, so that a disk that loses the ledger does not lose that as well.
///
/// # Errors
/// What the system refuses.
pub(crate) fn save_durably(state_dir: &Path, ledger: &Ledger) -> io::Result<()> {
    let fences = Fences {
        renewals: ledger.renewals.clone(),
        rejected: ledger.rejected.clone(),
        spent: ledger.spent.clone(),
    };
    let bytes = serde_json::to_vec(&fences).map_err(io::Error::other)?;
    // first: where it cannot be written the ledger says nothing of what will not happen
    replace::replace(&files::own_target(&state_dir.join(FENCES))?, &bytes, None)?;
    save(state_dir, ledger)?;
    files::sync_dir(&files::own_target(&path(state_dir))?)
}

const FENCES: &str = "fences.json";

/// What is known of tokens that were posted or refused, as the last exchange left it. It may be behind the ledger: then it names
/// a token that is no longer there, or calls one spent that is not; such a token is reported and never tried.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
struct Fences {
    renewals: BTreeMap<String, Record>,
    rejected: Vec<Fingerprint>,
    spent: BTreeMap<Fingerprint, Moment>,
}

fn fences(state_dir: &Path) -> Fences {
    files::read_ours(&state_dir.join(FENCES))
        .ok()
        .and_then(|snapshot| serde_json::from_slice(&snapshot.bytes).ok())
        .unwrap_or_default()
}

/// How passes went so far; nothing where nobody wrote it down, or a power cut tore it.
pub(crate) fn passes(state_dir: &Path) -> Passes {
    files::read_ours(&state_dir.join(PASSES))
        .ok()
        .and_then(|snapshot| serde_json::from_slice(&snapshot.bytes).ok())
        .unwrap_or_default()
}

const PASSES: &str = "passes.json";

/// Writes down how passes went, in one step but not durably: nothing is decided by it.
///
/// # Errors
/// What the system refuses.
pub(crate) fn save_passes(state_dir: &Path, passes: &Passes) -> io::Result<()> {
    let mut bytes = serde_json::to_vec(passes).map_err(io::Error::other)?;
    bytes.push(b'\n');
    files::publish(&state_dir.join(PASSES), &bytes, 0o600)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rules::memory::Counts;

    #[test]
    fn a_ledger_comes_back_as_it_was_and_a_broken_one_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = load(dir.path()).ledger;
        ledger.events = 7;
        save(dir.path(), &ledger).unwrap();
        assert_eq!(load(dir.path()).ledger, ledger);
        for bad in ["{", "{\"schema\":\"other/9\"}", "\u{0}"] {
            replace::replace(&path(dir.path()), bad.as_bytes(), None).unwrap();
            let loaded = load(dir.path());
            assert_eq!(loaded.problem.unwrap().kind, "ledger_corrupt");
            assert_eq!(loaded.ledger.events, 0);
            // it stays until it is kept elsewhere, whoever goes on without it
            assert!(save(dir.path(), &loaded.ledger).is_err() && save_durably(dir.path(), &loaded.ledger).is_err());
            assert_eq!(std::fs::read(path(dir.path())).unwrap(), bad.as_bytes());
        }
        let mut anew = load(dir.path()).ledger;
        std::fs::create_dir_all(dir.path().join("ledger.corrupt-5.json/in-the-way")).unwrap();
        assert!(set_aside(dir.path(), Moment::at(5), &mut anew).is_err() && save(dir.path(), &anew).is_err());
        std::fs::remove_dir_all(dir.path().join("ledger.corrupt-5.json")).unwrap();
        std::fs::remove_file(dir.path().join(FENCES)).unwrap();
        set_aside(dir.path(), Moment::at(5), &mut anew).unwrap();
        assert_eq!(files::list(dir.path()), ["ledger.corrupt-5.json"]);
        for now in [30, 400, 20] {
            replace::replace(&path(dir.path()), b"{", None).unwrap();
            set_aside(dir.path(), Moment::at(now), &mut anew).unwrap();
        }
        assert_eq!(
            files::list(dir.path()),
            [
                "ledger.corrupt-20.json",
                "ledger.corrupt-30.json",
                "ledger.corrupt-400.json"
            ]
        );
        save(dir.path(), &anew).unwrap();
        assert!(load(dir.path()).problem.is_none());
    }

    #[test]
    fn what_could_not_be_read_back_is_not_written() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = load(dir.path()).ledger;
        ledger.events = 7;
        save(dir.path(), &ledger).unwrap();
        let mut large = ledger.clone();
        for n in 0..40 {
            large.stuck.insert(n.to_string(), "x".repeat(1 << 20));
        }
        assert!(save(dir.path(), &large).is_err());
        assert_eq!(load(dir.path()).ledger, ledger);
        // as much as fits is read back
        large.stuck.retain(|n, _| n.len() < 2);
        save(dir.path(), &large).unwrap();
        assert_eq!(load(dir.path()).ledger, large);
    }

    #[test]
    fn why_it_cannot_be_read_is_said_without_what_is_in_it() {
        let dir = tempfile::tempdir().unwrap();
        let said = |text: &str| {
            std::fs::write(path(dir.path()), text).unwrap();
            let loaded = load(dir.path());
            (loaded.newer, loaded.problem.unwrap().message)
        };
        // of this version, and torn
        let (newer, why) = said(&format!("{{\"schema\":\"{SCHEMA}\",\"outbox\":\"SECRET\"}}"));
        assert!(!newer && why.ends_with("cannot be read: line 1 column 46"), "{why}");
        let (newer, why) = said("{\"schema\":\"nolapse.ledger/0\"}");
        assert!(!newer && why.contains("its schema is `nolapse.ledger/0`"), "{why}");
        assert!(said("{\"schema\":\"nolapse.ledger/99\",\"outbox\":7}").0);
    }

    #[test]
    fn a_lost_ledger_takes_no_fence_with_it() {
        let dir = tempfile::tempdir().unwrap();
        let mut ledger = load(dir.path()).ledger;
        let token = crate::secret::Secret::new("r").fingerprint();
        let sent: Record =
            serde_json::from_value(serde_json::json!({"token": token, "stage": {"sent": {"expires": 1, "at": 2}}}))
                .unwrap();
        ledger.renewals.insert("claude".into(), sent.clone());
        ledger.rejected.push(token);
        ledger.spent.insert(token, Moment::at(7));
        // neither where one of them cannot be written
        std::fs::create_dir(dir.path().join(FENCES)).unwrap();
        assert!(save_durably(dir.path(), &ledger).is_err());
        assert_eq!(load(dir.path()).ledger.renewals.len(), 0);
        std::fs::remove_dir(dir.path().join(FENCES)).unwrap();
        save_durably(dir.path(), &ledger).unwrap();
        assert_eq!(load(dir.path()).ledger, ledger);
        for bad in [Some("{"), None] {
            match bad {
                Some(bad) => replace::replace(&path(dir.path()), bad.as_bytes(), None)
                    .map(drop)
                    .unwrap(),
                None => std::fs::remove_file(path(dir.path())).unwrap(),
            }
            let loaded = load(dir.path());
            assert_eq!(loaded.problem.is_some(), bad.is_some());
            assert_eq!(loaded.ledger.renewals.get("claude"), Some(&sent));
            assert_eq!(loaded.ledger.rejected, [token]);
            assert_eq!(loaded.ledger.spent.get(&token), Some(&Moment::at(7)));
        }
    }

    /// An older version's ledger has no counts, and an older version lets them pass.
    #[test]
    fn counts_are_an_addition() {
        let old = format!("{{\"schema\":\"{SCHEMA}\",\"events\":3}}");
        let ledger: Ledger = serde_json::from_str(&old).unwrap();
        assert_eq!((ledger.events, ledger.counts), (3, Counts::default()));
        let partly = format!("{{\"schema\":\"{SCHEMA}\",\"counts\":{{\"renewed\":2,\"later\":1}}}}");
        assert_eq!(serde_json::from_str::<Ledger>(&partly).unwrap().counts.renewed, 2);
    }

    #[test]
    fn passes_are_counted_and_a_torn_file_begins_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut noted = passes(dir.path());
        assert_eq!(noted, Passes::default());
        noted.note(true, Moment::at(5000), 20);
        noted.note(false, Moment::at(9000), 40);
        save_passes(dir.path(), &noted).unwrap();
        assert_eq!(passes(dir.path()), noted);
        assert_eq!(
            (noted.last_at, noted.last_good_at, noted.good, noted.bad),
            (Some(Moment::at(9000)), Some(Moment::at(5000)), 1, 1)
        );
        assert_eq!(files::list(dir.path()), [PASSES]);
        files::publish(&dir.path().join(PASSES), b"{\"last", 0o600).unwrap();
        assert_eq!(passes(dir.path()), Passes::default());
    }

    #[test]
    fn nothing_is_written_where_nothing_changed() {
        use std::os::unix::fs::MetadataExt;
        let dir = tempfile::tempdir().unwrap();
        let ledger = load(dir.path()).ledger;
        let inode = || std::fs::metadata(path(dir.path())).unwrap().ino();
        save(dir.path(), &ledger).unwrap();
        let before = inode();
        save(dir.path(), &ledger).unwrap();
        assert_eq!(inode(), before, "it was replaced by the same");
        let changed = Ledger { events: 1, ..ledger };
        save(dir.path(), &changed).unwrap();
        assert_ne!(inode(), before);
    }
}
