//! Reads the SQLite generation's stores, read-only.
//!
//! Source: openclaw 2026.6.6, 2026.8.2 and 2026.9.6, WAL mode: each agent's `openclaw-agent.sqlite`, tables `auth_profile_store` and
//! `auth_profile_state`, and `state/openclaw.sqlite`, table `config_machine_state` (which 2026.6.6 and 2026.7.35 do not have).
//!
//! An ordinary read-only connection to a database in WAL mode makes `-wal` and `-shm` files where there are none, owned by
//! whoever reads (root, perhaps), and rebuilds a `-shm` that nobody holds. So a database without pending writes is opened
//! `immutable`, which touches nothing beside it, and read again if it changed meanwhile; one with a `-wal` is opened with
//! `readonly_shm`, which follows a live writer's index, or builds one in memory after a crash.
//!
//! Not guaranteed: a writer that closes the database between our look and our opening takes its `-wal` away, and SQLite
//! then makes an empty one (with the database's owner where root reads), which the next writer uses and removes.

use crate::edge::files;
use crate::types::Meta;
use rusqlite::{Connection, ErrorCode, OpenFlags, OptionalExtension, ffi};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Which of the two databases a path leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Which {
    /// An agent's `openclaw-agent.sqlite`.
    Agent,
    /// `state/openclaw.sqlite`.
    Shared,
}

/// Why a store could not be read; never holds any of its content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SqliteError {
    /// There is no such file.
    #[error("no such file")]
    Absent,
    /// A directory, FIFO or the like.
    #[error("not a regular file")]
    NotAFile,
    /// The file is not SQLite's, or encrypted.
    #[error("not an SQLite database")]
    NotADatabase,
    /// Its pages contradict each other.
    #[error("the database is damaged")]
    Damaged,
    /// A writer kept it locked, or changed it again and again, for [`PATIENCE`].
    #[error("the database was busy all the time it was tried")]
    Busy,
    /// Writes wait in `-wal`, and the index that goes with it is gone.
    #[error("the database has pending writes in its `-wal` file and no `-shm` file, which only its owner may make")]
    WalWithoutShm,
    /// A rollback journal holds an unfinished transaction.
    #[error("the database has an unfinished transaction in its `-journal` file, which only its owner may undo")]
    Unfinished,
    /// The store is larger than [`files::LIMIT`]; its size in bytes.
    #[error("the store in the database is {0} bytes, more than the {limit} that are read", limit = files::LIMIT)]
    TooLarge(u64),
    /// The system refused.
    #[error("{0}")]
    Io(String),
}

/// How long a busy database is tried.
pub(crate) const PATIENCE: Duration = Duration::from_millis(500);

/// What a database says of credentials; each part `None` where it holds none.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Cells {
    /// The profiles' JSON.
    pub(crate) store: Option<Vec<u8>>,
    /// Order, cooldowns and what is disabled, as JSON.
    pub(crate) state: Option<Vec<u8>>,
    /// `auth.sharedStore`: where the profiles that all agents share lie, as JSON. Of the shared database alone.
    pub(crate) location: Option<Vec<u8>>,
    /// The shared database has its table of state, which came between 2026.7.35 and 2026.8.2.
    pub(crate) machine_state: bool,
}

/// The store's JSON, `None` where the database holds none.
///
/// # Errors
/// As [`read_cells`].
#[cfg(any(test, fuzzing))]
pub(crate) fn read_store(path: &Path, which: Which) -> Result<Option<Vec<u8>>, SqliteError> {
    read_cells(path, which).map(|cells| cells.store)
}

/// All that a database says of credentials, as of one moment.
///
/// # Errors
/// See [`SqliteError`]. A database without the tables counts as holding nothing.
pub(crate) fn read_cells(path: &Path, which: Which) -> Result<Cells, SqliteError> {
    let started = crate::edge::host::monotonic();
    loop {
        match try_read(path, which) {
            // a rollback journal is a writer at work, most likely, and gone in a moment
            Err(SqliteError::Busy | SqliteError::Unfinished) if started.elapsed() < PATIENCE => {
                #[expect(
                    clippy::disallowed_methods,
                    reason = "half a second at most, while nothing else runs"
                )]
                std::thread::sleep(Duration::from_millis(20));
            }
            other => return other,
        }
    }
}

/// A cell that holds JSON: its table, the column of the key, the key, the column of the JSON.
struct Place {
    table: &'static str,
    key_column: &'static str,
    key: &'static str,
    json_column: &'static str,
}

const AGENT_STORE: Place = Place {
    table: "auth_profile_store",
    key_column: "store_key",
    key: "primary",
    json_column: "store_json",
};

const AGENT_STATE: Place = Place {
    table: "auth_profile_state",
    key_column: "state_key",
    key: "primary",
    json_column: "state_json",
};

const MACHINE_STATE: &str = "config_machine_state";

const fn shared(key: &'static str) -> Place {
    Place {
        table: MACHINE_STATE,
        key_column: "state_key",
        key,
        json_column: "value_json",
    }
}

fn try_read(path: &Path, which: Which) -> Result<Cells, SqliteError> {
    let real = files::real(path).ok_or(SqliteError::Absent)?;
    if !files::is_file(&real) {
        return Err(SqliteError::NotAFile);
    }
    if let Some(uid) = files::third_owner(&real) {
        return Err(SqliteError::Io(files::ReadError::Theirs(uid).to_string()));
    }
    let before = Beside::look(&real);
    let pending = |meta: &Option<Meta>| meta.as_ref().is_some_and(|meta| meta.size > 0);
    let immutable = !pending(&before.wal);
    let result = if pending(&before.journal) {
        Err(SqliteError::Unfinished)
    } else if immutable {
        open_and_read(&real, "mode=ro&immutable=1", which)
    } else if !before.shm {
        Err(SqliteError::WalWithoutShm)
    } else {
        open_and_read(&real, "mode=ro&readonly_shm=1", which)
    };
    // `immutable` ignores locks and `-wal`, so what was read counts only if nobody wrote meanwhile; and what failed may
    // have failed because a writer came or went
    if (immutable || result.is_err()) && Beside::look(&real) != before {
        return Err(SqliteError::Busy);
    }
    result
}

/// A database and the files that SQLite keeps beside it.
#[derive(PartialEq, Eq)]
struct Beside {
    main: Option<Meta>,
    wal: Option<Meta>,
    shm: bool,
    journal: Option<Meta>,
}

impl Beside {
    fn look(real: &Path) -> Self {
        Self {
            main: files::stat(real),
            wal: files::stat(&with_suffix(real, "-wal")),
            shm: files::exists(&with_suffix(real, "-shm")),
            journal: files::stat(&with_suffix(real, "-journal")),
        }
    }
}

fn with_suffix(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    name.into()
}

fn open_and_read(real: &Path, options: &str, which: Which) -> Result<Cells, SqliteError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let db = Connection::open_with_flags(uri(real, options), flags)?;
    db.busy_timeout(Duration::from_millis(50))?;
    // one transaction: a store and its state that belong together
    let db = db.unchecked_transaction()?;
    let cell = |place: &Place| read_place(&db, place);
    Ok(match which {
        Which::Agent => Cells {
            store: cell(&AGENT_STORE)?,
            state: cell(&AGENT_STATE)?,
            ..Cells::default()
        },
        Which::Shared => Cells {
            store: cell(&shared("authProfiles.store"))?,
            state: cell(&shared("authProfiles.state"))?,
            location: cell(&shared("auth.sharedStore"))?,
            machine_state: has_table(&db, MACHINE_STATE)?,
        },
    })
}

/// Whether there is a real table of this name: a view could compute without end.
fn has_table(db: &Connection, name: &str) -> rusqlite::Result<bool> {
    db.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE type = 'table' AND name = ?1)",
        [name],
        |row| row.get(0),
    )
}

fn read_place(db: &Connection, place: &Place) -> Result<Option<Vec<u8>>, SqliteError> {
    if !has_table(db, place.table)? {
        return Ok(None);
    }
    let Place {
        table,
        key_column,
        key,
        json_column,
    } = place;
    let query = format!(
        "SELECT octet_length({json_column}), CASE WHEN octet_length({json_column}) <= ?2 THEN CAST({json_column} AS BLOB) END \
         FROM {table} WHERE {key_column} = ?1"
    );
    let row = db.query_row(&query, rusqlite::params![key, files::LIMIT as i64], |row| {
        Ok((row.get::<_, Option<i64>>(0)?, row.get(1)?))
    });
    match row.optional()? {
        Some((Some(size), None)) => Err(SqliteError::TooLarge(size.unsigned_abs())),
        row => Ok(row.and_then(|(_, bytes)| bytes)),
    }
}

/// `file:` URI of an absolute path, every byte that could mean something in a URI encoded.
fn uri(path: &Path, options: &str) -> String {
    use std::fmt::Write;
    use std::os::unix::ffi::OsStrExt;
    let mut uri = String::from("file:");
    for &byte in path.as_os_str().as_bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'/' | b'-' | b'_' | b'.') {
            uri.push(byte.into());
        } else {
            let _ = write!(uri, "%{byte:02X}");
        }
    }
    uri.push('?');
    uri.push_str(options);
    uri
}

impl From<rusqlite::Error> for SqliteError {
    fn from(error: rusqlite::Error) -> Self {
        let rusqlite::Error::SqliteFailure(failure, _) = error else {
            return Self::Damaged;
        };
        match (failure.code, failure.extended_code) {
            (ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked, _) => Self::Busy,
            // the writer is between two states of its index
            (_, ffi::SQLITE_READONLY_CANTINIT | ffi::SQLITE_READONLY_CANTLOCK | ffi::SQLITE_READONLY_RECOVERY) => {
                Self::Busy
            }
            (_, ffi::SQLITE_READONLY_ROLLBACK) => Self::Unfinished,
            (ErrorCode::NotADatabase, _) => Self::NotADatabase,
            (ErrorCode::DatabaseCorrupt | ErrorCode::Unknown, _) => Self::Damaged,
            (ErrorCode::CannotOpen, _) => {
                Self::Io("cannot be opened: permission denied or a part of it is missing".into())
            }
            (ErrorCode::TooBig, _) => Self::TooLarge(files::LIMIT + 1),
            (_, code) => Self::Io(format!("SQLite answered: {}", ffi::code_to_str(code))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;
    use std::fs;
    use std::io::{BufRead, BufReader, Write};
    use std::process::{Command, Stdio};

    const STORE: &str = r#"{"version":1,"profiles":{}}"#;
    const AGENT_TABLE: &str = "CREATE TABLE auth_profile_store (store_key TEXT PRIMARY KEY, store_json TEXT NOT NULL, updated_at INTEGER NOT NULL)";
    const SHARED_TABLE: &str =
        "CREATE TABLE config_machine_state (state_key TEXT PRIMARY KEY, value_json TEXT, updated_at_ms INTEGER)";

    /// A database in WAL mode with automatic checkpoints off, so that writes stay in `-wal` while it is open.
    fn writer(path: &Path) -> Connection {
        let db = Connection::open(path).unwrap();
        db.pragma_update(None, "journal_mode", "wal").unwrap();
        db.pragma_update(None, "wal_autocheckpoint", 0).unwrap();
        db
    }

    fn put(db: &Connection, json: &str) {
        db.execute_batch(&AGENT_TABLE.replace("TABLE", "TABLE IF NOT EXISTS"))
            .unwrap();
        db.execute("REPLACE INTO auth_profile_store VALUES ('primary', ?1, 1)", [json])
            .unwrap();
    }

    /// Every file in the directory with its bytes, times and mode.
    fn listing(dir: &Path) -> BTreeMap<String, (Vec<u8>, Option<Meta>)> {
        files::list(dir)
            .into_iter()
            .map(|name| {
                let path = dir.join(&name);
                (name, (fs::read(&path).unwrap_or_default(), files::stat(&path)))
            })
            .collect()
    }

    /// Reads, and makes sure that nothing beside the database, nor itself, was made or changed.
    fn read_untouched(path: &Path, which: Which) -> Result<Option<String>, SqliteError> {
        let dir = path.parent().unwrap();
        let before = listing(dir);
        let result = read_store(path, which);
        let after = listing(dir);
        assert_eq!(before.keys().collect::<Vec<_>>(), after.keys().collect::<Vec<_>>());
        assert!(before == after, "a file was changed by reading");
        result.map(|bytes| bytes.map(|bytes| String::from_utf8(bytes).unwrap()))
    }

    #[test]
    fn a_closed_database_is_read_and_nothing_is_made_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        // every byte that means something in a URI
        let path = dir.path().join("a %41?b#c&d=e ü.sqlite");
        put(&writer(&path), STORE);
        assert_eq!(listing(dir.path()).len(), 1);
        assert_eq!(read_untouched(&path, Which::Agent), Ok(Some(STORE.into())));
    }

    #[test]
    fn a_schema_with_what_our_sqlite_cannot_query_is_read() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.sqlite");
        let db = writer(&path);
        put(&db, STORE);
        db.execute_batch(
            "CREATE TABLE notes (body TEXT, at TEXT, kind TEXT AS (json_extract(body, '$.kind')));
             CREATE INDEX by_topic ON notes (json_extract(body, '$.topic'));
             CREATE INDEX by_day ON notes (date(at, '+0 days')) WHERE at IS NOT NULL;
             PRAGMA writable_schema = ON;
             INSERT INTO sqlite_master VALUES ('table', 'words', 'words', 0, 'CREATE VIRTUAL TABLE words USING fts5(body)');
             INSERT INTO sqlite_master VALUES ('table', 'places', 'places', 0, 'CREATE VIRTUAL TABLE places USING rtree(id, a, b)');",
        )
        .unwrap();
        drop(db);
        assert_eq!(read_untouched(&path, Which::Agent), Ok(Some(STORE.into())));
    }

    /// Another process that writes: SQLite shares locks and the index within a process, so one writing here would not show
    /// what a reader does to a stranger's files.
    struct Writer {
        child: std::process::Child,
        answers: BufReader<std::process::ChildStdout>,
    }

    const WRITER_PATH: &str = "NOLAPSE_TEST_WRITER";

    impl Writer {
        /// Runs this test binary again, for `test` only, which must begin with [`Writer::be`].
        fn start(test: &str, path: &Path) -> Self {
            let mut child = Command::new(std::env::current_exe().unwrap())
                .args([
                    "--exact",
                    &format!("{}::{test}", module_path!().split_once("::").unwrap().1),
                    "--nocapture",
                ])
                .env(WRITER_PATH, path)
                .stdin(Stdio::piped())
                .stdout(Stdio::piped())
                .spawn()
                .unwrap();
            let answers = BufReader::new(child.stdout.take().unwrap());
            Self { child, answers }
        }

        /// Whether this is the process that writes; then it has written all it was told.
        fn be() -> bool {
            let Some(path) = std::env::var_os(WRITER_PATH) else {
                return false;
            };
            let db = writer(Path::new(&path));
            for line in std::io::stdin().lines() {
                db.execute_batch(&line.unwrap()).unwrap();
                println!("\ndone");
            }
            true
        }

        fn tell(&mut self, sql: &str) {
            writeln!(self.child.stdin.as_mut().unwrap(), "{sql}").unwrap();
            let mut line = String::new();
            while line.trim() != "done" {
                line.clear();
                assert_ne!(
                    self.answers.read_line(&mut line).unwrap(),
                    0,
                    "the writer failed at {sql}"
                );
            }
        }

        /// Lets it close the database.
        fn stop(mut self) {
            drop(self.child.stdin.take());
            std::io::copy(&mut self.answers, &mut std::io::sink()).unwrap();
            assert!(self.child.wait().unwrap().success());
        }
    }

    #[test]
    fn the_shared_database_has_a_row_of_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("openclaw.sqlite");
        for (sql, expected) in [
            (SHARED_TABLE.to_owned(), None),
            (
                "INSERT INTO config_machine_state VALUES ('authProfiles.state', '{}', 1), ('authProfiles.store', NULL, 1)".into(),
                None,
            ),
            (
                format!("UPDATE config_machine_state SET value_json = '{STORE}' WHERE state_key = 'authProfiles.store'"),
                Some(STORE.to_owned()),
            ),
        ] {
            writer(&path).execute_batch(&sql).unwrap();
            assert_eq!(read_untouched(&path, Which::Shared), Ok(expected), "{sql}");
        }
        assert_eq!(read_untouched(&path, Which::Agent), Ok(None));
    }

    #[test]
    fn a_live_writers_newest_commit_is_seen_and_its_open_transaction_is_not() {
        if Writer::be() {
            return;
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("openclaw-agent.sqlite");
        let mut db = Writer::start(
            "a_live_writers_newest_commit_is_seen_and_its_open_transaction_is_not",
            &path,
        );
        db.tell(AGENT_TABLE);
        assert_eq!(read_untouched(&path, Which::Agent), Ok(None));
        for round in 0..8 {
            let json = format!("{{\"round\":{round}}}");
            db.tell(&format!(
                "REPLACE INTO auth_profile_store VALUES ('primary', '{json}', 1)"
            ));
            assert_eq!(read_untouched(&path, Which::Agent), Ok(Some(json.clone())));
            db.tell("BEGIN IMMEDIATE; UPDATE auth_profile_store SET store_json = 'unfinished'");
            assert_eq!(read_untouched(&path, Which::Agent), Ok(Some(json.clone())));
            db.tell("ROLLBACK");
            match round % 4 {
                1 => db.tell("PRAGMA wal_checkpoint(TRUNCATE)"),
                2 => db.tell("PRAGMA wal_checkpoint(RESTART)"),
                3 => db.tell("PRAGMA wal_checkpoint(PASSIVE)"),
                _ => {}
            }
            assert_eq!(read_untouched(&path, Which::Agent), Ok(Some(json)));
        }
        std::os::unix::fs::symlink(&path, dir.path().join("link")).unwrap();
        assert!(
            read_untouched(&dir.path().join("link"), Which::Agent)
                .unwrap()
                .unwrap()
                .contains("7")
        );
        // the writer goes on and closes cleanly
        db.tell(&format!(
            "REPLACE INTO auth_profile_store VALUES ('primary', '{STORE}', 1)"
        ));
        db.stop();
        assert_eq!(files::list(dir.path()), ["link", "openclaw-agent.sqlite"]);
        assert_eq!(read_untouched(&path, Which::Agent), Ok(Some(STORE.into())));
    }

    #[test]
    fn a_wal_left_by_a_crash_is_read_in_memory() {
        let dir = tempfile::tempdir().unwrap();
        let (live, dead) = (dir.path().join("live"), dir.path().join("dead"));
        fs::create_dir_all(&live).unwrap();
        fs::create_dir_all(&dead).unwrap();
        let db = writer(&live.join("x"));
        put(&db, "{}");
        db.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
        put(&db, STORE);
        for name in ["x", "x-wal", "x-shm"] {
            fs::copy(live.join(name), dead.join(name)).unwrap();
        }
        assert_eq!(read_untouched(&dead.join("x"), Which::Agent), Ok(Some(STORE.into())));
        // without its index nothing is made, and the reason is said
        fs::remove_file(dead.join("x-shm")).unwrap();
        assert_eq!(
            read_untouched(&dead.join("x"), Which::Agent),
            Err(SqliteError::WalWithoutShm)
        );
        // the last bytes of a write were lost: the commits before it count
        fs::copy(live.join("x-shm"), dead.join("x-shm")).unwrap();
        let wal = fs::read(dead.join("x-wal")).unwrap();
        fs::write(dead.join("x-wal"), &wal[..wal.len() - 100]).unwrap();
        assert_eq!(read_untouched(&dead.join("x"), Which::Agent), Ok(Some("{}".into())));
    }

    #[test]
    fn a_rollback_journal_is_left_to_its_owner() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        let db = Connection::open(&path).unwrap();
        put(&db, STORE);
        assert_eq!(read_untouched(&path, Which::Agent), Ok(Some(STORE.into())));
        db.execute_batch("BEGIN IMMEDIATE; UPDATE auth_profile_store SET store_json = 'unfinished'")
            .unwrap();
        assert_eq!(read_untouched(&path, Which::Agent), Err(SqliteError::Unfinished));
        db.execute_batch("COMMIT").unwrap();
        assert_eq!(read_untouched(&path, Which::Agent), Ok(Some("unfinished".into())));
    }

    #[test]
    fn what_is_no_store_says_so_in_words_and_shows_no_content() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        fs::write(path("garbage"), "sk-CANARY".repeat(1000)).unwrap();
        fs::write(path("empty"), "").unwrap();
        fs::create_dir(path("directory")).unwrap();
        writer(&path("other")).execute_batch("CREATE TABLE x (y)").unwrap();
        writer(&path("view"))
            .execute_batch(
                "CREATE VIEW auth_profile_store AS WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n)
                 SELECT 'primary' AS store_key, i AS store_json FROM n",
            )
            .unwrap();
        let db = writer(&path("huge"));
        put(&db, &"x".repeat(files::LIMIT as usize + 1));
        drop(db);
        put(&writer(&path("torn")), &format!("\"{}\"", "sk-CANARY".repeat(5000)));
        let whole = fs::read(path("torn")).unwrap();
        fs::write(path("torn"), &whole[..whole.len() / 2]).unwrap();
        for (name, which, expected) in [
            ("absent", Which::Agent, Err(SqliteError::Absent)),
            ("directory", Which::Agent, Err(SqliteError::NotAFile)),
            ("garbage", Which::Agent, Err(SqliteError::NotADatabase)),
            ("empty", Which::Agent, Ok(None)),
            // 2026.6.6 and 2026.7.35 have no such table
            ("empty", Which::Shared, Ok(None)),
            ("other", Which::Agent, Ok(None)),
            ("other", Which::Shared, Ok(None)),
            ("view", Which::Agent, Ok(None)),
            ("huge", Which::Agent, Err(SqliteError::TooLarge(files::LIMIT + 1))),
            ("torn", Which::Agent, Err(SqliteError::Damaged)),
        ] {
            let result = read_untouched(&path(name), which);
            assert_eq!(result, expected, "{name}");
            if let Err(error) = result {
                assert!(!error.to_string().contains("CANARY"), "{error}");
            }
        }
    }

    #[test]
    fn a_link_leads_to_the_database_and_the_files_beside_it() {
        let dir = tempfile::tempdir().unwrap();
        let real = dir.path().join("real");
        fs::create_dir(&real).unwrap();
        let db = writer(&real.join("x"));
        put(&db, STORE);
        std::os::unix::fs::symlink(real.join("x"), dir.path().join("link")).unwrap();
        // the writes are in `real/x-wal` only, where a reader that looks for `link-wal` finds none
        assert_eq!(
            read_store(&dir.path().join("link"), Which::Agent),
            Ok(Some(STORE.into()))
        );
        assert_eq!(files::list(dir.path()), ["link", "real"]);
    }
}
