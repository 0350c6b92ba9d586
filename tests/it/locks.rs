//! Real lock contention: peers that hold the agents' locks, of both kinds, live and stale, and many of us at once.

use super::home::{DAY, HOUR, Home, MAIN, Ran, access, now, oauth, token};
use serde_json::json;
use std::fs::{self, File, FileTimes};
use std::path::Path;
use std::process::{Child, Command};
use std::time::{Duration, Instant, SystemTime};

fn stale_home() -> Home {
    let home = Home::new();
    home.login("2", now() + 8 * HOUR)
        .store("main", json!({"anthropic:claude-cli": token("1", now() - DAY)}));
    home
}

fn in_step(home: &Home) -> bool {
    home.read(MAIN).contains(&access("2"))
}

/// A peer of the directory kind: holds the lock for 5 s, touching it, as proper-lockfile does; says at last what the store is.
fn hold_directory(lock: &Path, store: &Path) -> Child {
    let script =
        "mkdir \"$0\" && echo held && for i in 1 2 3 4 5; do sleep 1; touch \"$0\"; done; cat \"$1\"; rmdir \"$0\"";
    started(Command::new("sh").args(["-c", script]).args([lock, store]))
}

/// A peer of the file kind: holds `{"pid","createdAt"}` for 5 s; says at last what the store is.
fn hold_file(lock: &Path, store: &Path) -> Child {
    let script = "set -C; printf '{\"pid\":%d,\"createdAt\":\"2026-01-01T00:00:00Z\"}' $$ > \"$0\" && echo held && sleep 5; \
        cat \"$1\"; rm \"$0\"";
    started(Command::new("sh").args(["-c", script]).args([lock, store]))
}

/// Waits until the peer says that it holds its lock.
fn started(command: &mut Command) -> Child {
    use std::io::Read;
    let mut child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = [0; 5];
    child.stdout.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!(&line, b"held\n");
    child
}

fn lock_of(home: &Home) -> std::path::PathBuf {
    home.at(&format!("{MAIN}.lock"))
}

#[test]
fn a_live_holder_of_either_kind_is_waited_for() {
    std::thread::scope(|scope| {
        for hold in [hold_directory, hold_file] {
            for version in [None, Some("2026.3.1")] {
                scope.spawn(move || a_live_holder_is_waited_for(hold, version));
            }
        }
    });
}

fn a_live_holder_is_waited_for(hold: fn(&Path, &Path) -> Child, version: Option<&str>) {
    let home = stale_home();
    if let Some(version) = version {
        // the same store under the generation that locks with a file
        fs::rename(home.at(".clawdbot"), home.at(".openclaw")).unwrap();
        home.write(
            ".openclaw/openclaw.json",
            json!({"meta": {"lastTouchedVersion": version}}).to_string(),
        );
    }
    let store = MAIN.replace(".clawdbot", if version.is_some() { ".openclaw" } else { ".clawdbot" });
    let lock = home.at(&format!("{store}.lock"));
    let peer = hold(&lock, &home.at(&store));
    let before = home.read(&store);
    let ran = home.run(&["sync"]);
    let peer = peer.wait_with_output().unwrap();
    assert!(peer.status.success(), "the peer's own lock was taken from it");
    assert_eq!(
        String::from_utf8_lossy(&peer.stdout),
        before,
        "written while the peer held it"
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(home.read(&store).contains(&access("2")), "{ran:?}");
    assert!(!lock.exists());
}

fn aged(lock: &Path, secs: u64) {
    let long_ago = SystemTime::now() - Duration::from_secs(secs);
    File::open(lock)
        .unwrap()
        .set_times(FileTimes::new().set_modified(long_ago))
        .unwrap();
}

#[test]
fn a_stale_lock_of_either_kind_is_watched_for_a_heartbeat_and_cleared() {
    type Make = fn(&Path);
    let makes: [(&str, Make); 3] = [
        ("directory", |lock| fs::create_dir(lock).unwrap()),
        ("file of a dead process", |lock| {
            let mut dead = Command::new("true").spawn().unwrap();
            dead.wait().unwrap();
            fs::write(lock, format!("{{\"pid\":{}}}", dead.id())).unwrap();
        }),
        ("empty file", |lock| fs::write(lock, "").unwrap()),
    ];
    std::thread::scope(|scope| {
        for (name, make) in makes {
            scope.spawn(move || {
                let home = stale_home();
                let lock = lock_of(&home);
                make(&lock);
                aged(&lock, 3600);
                let begun = Instant::now();
                let ran = home.run(&["sync"]);
                assert!(in_step(&home) && ran.code == 0 && !lock.exists(), "{name}: {ran:?}");
                assert!(begun.elapsed() >= Duration::from_secs(15), "{name}");
            });
        }
    });
}

/// The machine slept: its holder's lock looks stale, until it goes on and touches it.
#[test]
fn a_holder_that_wakes_up_keeps_its_lock() {
    let home = stale_home();
    let lock = lock_of(&home);
    fs::create_dir(&lock).unwrap();
    aged(&lock, 3600);
    let child = home.spawn(&["sync"]);
    // it waits at the lock: its pass lock is there
    while !home.at(".local/state/nolapse/pass.lock").exists() {
        std::thread::sleep(std::time::Duration::from_millis(2));
    }
    let script = "sleep 8; for i in 1 2 3 4 5 6 7 8 9 10; do touch \"$0\"; sleep 1; done; rmdir \"$0\" && echo kept";
    let holder = Command::new("sh").args(["-c", script]).arg(&lock).output().unwrap();
    assert_eq!(String::from_utf8_lossy(&holder.stdout), "kept\n");
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert!(ran.code == 0 && in_step(&home), "{ran:?}");
}

/// What an agent made of its store while the lock was waited for is looked at like any other store.
#[test]
fn a_store_that_became_another_kind_of_file_while_we_waited_is_not_written() {
    let home = stale_home();
    let lock = lock_of(&home);
    fs::create_dir(&lock).unwrap();
    let child = home.spawn_at(&lock, &["sync"]);
    let outside = json!({"anthropic:claude-cli": token("1", now() - DAY)}).to_string();
    home.write(MAIN, &outside);
    fs::remove_dir(&lock).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(home.read(MAIN), outside, "{ran:?}");
    assert!(ran.stdout.contains("its entries stand outside `profiles`"), "{ran:?}");
}

#[test]
fn what_is_no_lock_is_said_at_once() {
    let home = stale_home();
    let lock = lock_of(&home);
    assert!(Command::new("mkfifo").arg(&lock).status().unwrap().success());
    let begun = Instant::now();
    let ran = home.run(&["sync"]);
    assert!(begun.elapsed() < Duration::from_secs(10), "{ran:?}");
    assert!(ran.code != 0 && !in_step(&home), "{ran:?}");
    assert!(
        ran.stdout.contains("a named pipe stands where a lock belongs"),
        "{ran:?}"
    );
}

/// OpenClaw's, of a number that is nobody's here: it may be another container's. The temp files of our own killed passes go.
#[test]
fn a_fresh_lock_of_an_unknown_number_is_held_and_old_temp_files_go() {
    let home = stale_home();
    fs::rename(home.at(".clawdbot"), home.at(".openclaw")).unwrap();
    home.write(
        ".openclaw/openclaw.json",
        json!({"meta": {"lastTouchedVersion": "2026.5.12"}}).to_string(),
    );
    let store = MAIN.replace(".clawdbot", ".openclaw");
    let lock = home.at(&format!("{store}.lock"));
    for pid in [4711, 4712] {
        let left = home.write(&format!("{store}.lock.{pid}"), "{}");
        aged(&left, 120);
    }
    fs::write(&lock, format!("{{\"pid\":{}}}", i32::MAX)).unwrap();
    let script = "sleep 4; rm \"$0\" && echo kept";
    let holder = Command::new("sh")
        .args(["-c", script])
        .arg(&lock)
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    let ran = home.run(&["sync"]);
    assert_eq!(holder.wait_with_output().unwrap().stdout, b"kept\n", "{ran:?}");
    assert!(ran.code == 0 && home.read(&store).contains(&access("2")), "{ran:?}");
    let left: Vec<_> = home
        .files()
        .into_keys()
        .filter(|path| path.contains("json.lock"))
        .collect();
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn eighty_syncs_at_once_lose_nothing() {
    let home = Home::new();
    home.login("2", now() + 8 * HOUR);
    let profiles = json!({
        "anthropic:claude-cli": oauth("1", now() - DAY),
        "openai:default": {"type": "api_key", "provider": "openai", "key": "sk-KEPT", "x-odd": 1.50},
    });
    for agent in ["main", "work", "lab"] {
        home.store(agent, profiles.clone());
    }
    // a stale lock in the way, which only one of them may clear
    fs::create_dir(lock_of(&home)).unwrap();
    let long_ago = SystemTime::now() - Duration::from_secs(3600);
    File::open(lock_of(&home))
        .unwrap()
        .set_times(FileTimes::new().set_modified(long_ago))
        .unwrap();
    let children: Vec<_> = (0..80).map(|_| home.spawn(&["sync"])).collect();
    let mut wrote = 0;
    for child in children {
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
        wrote += ran.stdout.matches("brought up to date").count();
    }
    assert_eq!(wrote, 3, "each store is written once");
    for agent in ["main", "work", "lab"] {
        let store = home.json(&format!(".clawdbot/agents/{agent}/agent/auth-profiles.json"));
        assert_eq!(store["profiles"]["anthropic:claude-cli"]["access"], access("2"));
        assert_eq!(store["profiles"]["openai:default"]["key"], "sk-KEPT");
    }
    let left: Vec<_> = home
        .files()
        .into_keys()
        .filter(|path| path.contains("lock") || path.contains("tmp"))
        .collect();
    assert_eq!(left, [".local/state/nolapse/pass.lock"]);
}

#[test]
fn writers_without_our_pass_lock_lose_nothing_either() {
    let home = stale_home();
    let children: Vec<_> = (0..24)
        .map(|i| {
            let state = home.at(&format!("state-{i}"));
            home.spawn(&["sync", "--state-dir", state.to_str().unwrap()])
        })
        .collect();
    for child in children {
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert!(in_step(&home) && !lock_of(&home).exists());
}
