//! `doctor`: each pattern made on a home and found by its word, healthy homes found healthy, repairs that touch nothing else.

use super::home::{DAY, HOUR, Home, MAIN, MINUTE, Ran, Terminal, credentials, now, oauth, refresh, token};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fs::{self, File, FileTimes};
use std::io::Read;
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::time::{Duration, SystemTime};

const STATE: &str = ".local/state/nolapse";
const LOGIN: &str = ".claude/.credentials.json";
/// Somebody who takes every alert.
const CHANNEL: &str = "[[channel]]\ntype = \"command\"\ncommand = [\"true\"]\n";

/// A login, a copy of it, a `claude` that is new enough, and a pass just now.
fn healthy() -> Home {
    let home = bare();
    home.login("1", now() + 8 * HOUR)
        .store("main", json!({"anthropic:claude-cli": token("1", now() + 8 * HOUR)}));
    assert_eq!(home.run(&["run"]).code, 0);
    home
}

/// A `claude` that is new enough, a crontab that runs nolapse, and nothing else.
fn bare() -> Home {
    let mut home = Home::new();
    cli(&home, "2.1.330");
    program(&home, "bin/crontab", CRONTAB);
    home.write("tab", format!("*/4 * * * * '{}' run\n", env!("CARGO_BIN_EXE_nolapse")));
    let path = format!("{}:/usr/bin:/bin", home.at("bin").display());
    home.env.insert("PATH".into(), path);
    home.config(CHANNEL);
    home
}

/// `crontab -l`, of a file in the home.
const CRONTAB: &str = "cat \"$HOME/tab\" 2>/dev/null || { echo 'no crontab for u' >&2; exit 1; }";

/// Nothing runs nolapse any more.
fn unscheduled(home: &Home) {
    fs::remove_file(home.at("tab")).unwrap();
}

fn cli(home: &Home, version: &str) {
    let path = program(home, &format!(".local/share/claude/versions/{version}"), "exit 1");
    fs::create_dir_all(home.at(".local/bin")).unwrap();
    let link = home.at(".local/bin/claude");
    let _ = fs::remove_file(&link);
    symlink(path, link).unwrap();
}

fn program(home: &Home, path: &str, script: &str) -> std::path::PathBuf {
    let path = home.write(path, format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    path
}

fn mode(home: &Home, path: &str, mode: u32) {
    fs::set_permissions(home.at(path), fs::Permissions::from_mode(mode)).unwrap();
}

fn mode_of(home: &Home, path: &str) -> u32 {
    fs::metadata(home.at(path)).unwrap().mode() & 0o777
}

/// `ago` may be ahead.
fn touch(home: &Home, path: &str, ago: i64) {
    let by = Duration::from_millis(ago.unsigned_abs());
    let at = if ago < 0 {
        SystemTime::now() + by
    } else {
        SystemTime::now() - by
    };
    let times = FileTimes::new().set_modified(at);
    File::open(home.at(path)).unwrap().set_times(times).unwrap();
}

fn lock(home: &Home, path: &str, ago: i64) {
    fs::create_dir_all(home.at(path)).unwrap();
    touch(home, path, ago);
}

fn dead_pid() -> u32 {
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    child.id()
}

fn fingerprint(text: &str) -> String {
    Sha256::digest(text)
        .iter()
        .take(8)
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

fn edit_ledger(home: &Home, key: &str, value: Value) {
    let path = format!("{STATE}/ledger.json");
    let mut ledger = home.json(&path);
    ledger[key] = value;
    home.write(&path, ledger.to_string());
}

/// The last pass was so long ago.
fn passed(home: &Home, ago: i64) {
    let path = format!("{STATE}/passes.json");
    let mut passes = home.json(&path);
    for key in ["last_at", "last_good_at"] {
        passes[key] = (now() - ago).into();
    }
    home.write(&path, passes.to_string());
}

struct Found {
    ran: Ran,
    json: Value,
}

impl Found {
    fn of(ran: Ran) -> Self {
        let json = serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        Self { ran, json }
    }

    fn all(&self) -> Vec<(&str, &str)> {
        let findings = self.json["findings"].as_array().unwrap();
        findings
            .iter()
            .map(|one| (one["kind"].as_str().unwrap(), one["level"].as_str().unwrap()))
            .collect()
    }

    /// The words of what counts.
    fn wrong(&self) -> Vec<&str> {
        self.all()
            .into_iter()
            .filter(|(_, level)| *level != "note")
            .map(|(kind, _)| kind)
            .collect()
    }

    fn one(&self, kind: &str) -> &Value {
        let findings = self.json["findings"].as_array().unwrap();
        let found = findings.iter().find(|one| one["kind"] == kind);
        found.unwrap_or_else(|| panic!("{kind} in {:#}", self.json))
    }
}

fn doctor(home: &Home, args: &[&str]) -> Found {
    Found::of(home.run(&[&["doctor", "--json"], args].concat()))
}

#[test]
fn healthy_homes_are_found_healthy() {
    let container = healthy();
    let mut termux = healthy();
    for (name, script) in [
        ("usr/bin/termux-notification", "exit 0"),
        ("usr/bin/termux-job-scheduler", "echo 'no jobs'"),
    ] {
        program(&termux, name, script);
    }
    let prefix = termux.at("usr").display().to_string();
    program(&termux, "usr/bin/crontab", CRONTAB);
    termux.env.insert("PATH".into(), format!("{prefix}/bin:/usr/bin:/bin"));
    termux.env.insert("PREFIX".into(), prefix);
    termux.env.insert("TERMUX_VERSION".into(), "0.118.3".into());
    termux.env.insert("BOOTCLASSPATH".into(), "/apex/core-oj.jar".into());
    let mut desktop = healthy();
    fs::create_dir(desktop.at("run")).unwrap();
    let _bus = std::os::unix::net::UnixListener::bind(desktop.at("run/bus")).unwrap();
    desktop
        .env
        .insert("XDG_RUNTIME_DIR".into(), desktop.at("run").display().to_string());
    // two minutes before its end, and over: renewing itself is nothing wrong
    let over = healthy();
    over.login("1", now() - MINUTE);
    let direct = healthy();
    direct.config(&format!("[renew]\nmode = \"off\"\n{CHANNEL}"));
    for (name, home) in [
        ("in a container", &container),
        ("on a phone", &termux),
        ("on a desktop", &desktop),
        ("with an access token that is over", &over),
        ("that nobody renews here", &direct),
    ] {
        let found = doctor(home, &[]);
        assert_eq!((found.wrong(), found.ran.code), (vec![], 0), "{name}: {:#}", found.json);
        assert_eq!(found.ran.stderr, "", "{name}");
        let before = home.files();
        let ran = home.run(&["doctor"]);
        assert!(
            ran.stdout.contains("nothing is wrong") && ran.code == 0,
            "{name}: {ran:?}"
        );
        assert!(ran.stdout.contains("logins: 1 login"), "{name}: {ran:?}");
        assert_eq!(home.files(), before, "{name}: a look wrote");
    }
}

type Make = fn(&mut Home);

fn json_beside_sqlite(home: &mut Home) {
    home.write(
        ".openclaw/openclaw.json",
        json!({"meta": {"lastTouchedVersion": "2026.9.6"}}).to_string(),
    );
    let store = json!({"version": 1, "profiles": {"openai:k": {"type": "api_key", "provider": "openai", "key": "k"}}});
    home.write(".openclaw/agents/main/agent/auth-profiles.json", store.to_string());
}

/// Word, level, exit code, and how it comes about.
const PATTERNS: &[(&str, &str, i32, Make)] = &[
    ("race_logout", "broken", 1, |home| {
        let mut blank = credentials("1", 0, Some(now() + 20 * DAY));
        blank["claudeAiOauth"]["accessToken"] = "".into();
        blank["claudeAiOauth"]["refreshToken"] = "".into();
        home.write(LOGIN, blank.to_string());
    }),
    ("login_ended", "broken", 1, |home| {
        let mut blank = credentials("1", 0, Some(now() + 20 * DAY));
        blank["claudeAiOauth"]["accessToken"] = "".into();
        blank["claudeAiOauth"]["refreshToken"] = "".into();
        blank["claudeAiOauth"]["loginEnded"] = "time_limit".into();
        home.write(LOGIN, blank.to_string());
    }),
    ("login_ends_soon", "warning", 2, |home| {
        home.write(LOGIN, credentials("1", now() + HOUR, Some(now() + 5 * DAY)).to_string());
    }),
    ("blanked", "warning", 2, |home| {
        let mut half = credentials("1", now() + 8 * HOUR, Some(now() + 20 * DAY));
        half["claudeAiOauth"]["refreshToken"] = "".into();
        home.write(LOGIN, half.to_string());
    }),
    ("abandoned_refresh", "warning", 2, |home| {
        home.login("1", now() - MINUTE);
        let record = json!({"pid": dead_pid(), "pidDomain": "x", "pidSpace": "y", "lockBirthtimeMs": now()});
        home.write(".claude/.oauth_refresh.lock.owner", record.to_string());
    }),
    ("abandoned_refresh", "broken", 1, |home| {
        home.login("1", now() - HOUR);
        home.write(".claude/.oauth_refresh.lock.owner", "{}");
    }),
    ("dead_lock", "warning", 2, |home| {
        lock(home, ".claude/.oauth_refresh.lock", HOUR)
    }),
    ("dead_lock", "warning", 2, |home| lock(home, ".claude.lock", 2 * MINUTE)),
    ("dead_lock", "warning", 2, |home| {
        lock(home, ".claude/.storage-write.lock", MINUTE)
    }),
    ("dead_lock", "warning", 2, |home| {
        lock(home, &format!("{MAIN}.lock"), HOUR)
    }),
    ("dead_lock", "warning", 2, |home| {
        home.write(&format!("{MAIN}.lock"), json!({"pid": dead_pid()}).to_string());
        touch(home, &format!("{MAIN}.lock"), MINUTE);
    }),
    // a number that is unknown here may be another container's
    ("lock_held", "note", 0, |home| {
        home.write(&format!("{MAIN}.lock"), json!({"pid": dead_pid()}).to_string());
    }),
    ("dead_lock", "warning", 2, |home| {
        let path = ".clawdbot/locks/oauth-refresh/sha256-00.lock";
        home.write(path, json!({"pid": dead_pid()}).to_string());
        touch(home, path, 4 * MINUTE);
    }),
    ("lock_stopped", "warning", 2, |home| {
        lock(home, ".claude/.oauth_refresh.lock", HOUR);
        let record = json!({"pid": std::process::id()});
        home.write(".claude/.oauth_refresh.lock.owner", record.to_string());
        touch(home, ".claude/.oauth_refresh.lock.owner", 2 * HOUR);
    }),
    // its number belongs to another process by now, or to another container
    ("dead_lock", "warning", 2, |home| {
        lock(home, ".claude/.oauth_refresh.lock", HOUR);
        let record = json!({"pid": std::process::id(), "procStart": "1"});
        home.write(".claude/.oauth_refresh.lock.owner", record.to_string());
        touch(home, ".claude/.oauth_refresh.lock.owner", 2 * HOUR);
    }),
    ("dead_lock", "warning", 2, |home| {
        lock(home, ".claude/.oauth_refresh.lock", HOUR);
        let record = json!({"pid": std::process::id(), "pidDomain": "linux:0:pid:[1]"});
        home.write(".claude/.oauth_refresh.lock.owner", record.to_string());
        touch(home, ".claude/.oauth_refresh.lock.owner", 2 * HOUR);
    }),
    ("abandoned_refresh", "warning", 2, |home| {
        home.login("1", now() - MINUTE);
        touch(home, LOGIN, 3 * HOUR);
        lock(home, ".claude/.oauth_refresh.lock", HOUR);
        home.write(
            ".claude/.oauth_refresh.lock.owner",
            json!({"pid": dead_pid()}).to_string(),
        );
    }),
    ("lock_from_the_future", "warning", 2, |home| {
        lock(home, ".claude.lock", -3 * HOUR)
    }),
    ("symlink_replaced", "broken", 1, |home| {
        fs::create_dir(home.at("shared")).unwrap();
        fs::rename(home.at(LOGIN), home.at("shared/c.json")).unwrap();
        symlink("../shared/c.json", home.at(LOGIN)).unwrap();
        home.run(&["run"]);
        fs::remove_file(home.at(LOGIN)).unwrap();
        // renewed: the deadline stays
        let deadline = home.json("shared/c.json")["claudeAiOauth"]["refreshTokenExpiresAt"].as_i64();
        home.write(LOGIN, credentials("2", now() + 9 * HOUR, deadline).to_string());
        home.run(&["run"]);
    }),
    ("credentials_linked", "warning", 2, |home| {
        fs::rename(home.at(LOGIN), home.at("c.json")).unwrap();
        symlink("../c.json", home.at(LOGIN)).unwrap();
    }),
    ("copy_diverged", "warning", 2, |home| {
        home.store(
            "main",
            json!({"anthropic:claude-cli": oauth("other", now() + 8 * HOUR)}),
        );
    }),
    ("copy_behind", "warning", 2, |home| {
        home.store("main", json!({"anthropic:claude-cli": oauth("1", now() + 8 * HOUR)}));
        home.run(&["run"]);
        home.login("2", now() + 9 * HOUR);
        edit_ledger(home, "logins", {
            let mut logins = home.json(&format!("{STATE}/ledger.json"))["logins"].clone();
            logins["claude"]["past"] = json!([fingerprint(&refresh("1"))]);
            logins["claude"]["refresh"] = fingerprint(&refresh("2")).into();
            logins
        });
    }),
    ("copy_stale", "broken", 1, |home| {
        home.store("main", json!({"anthropic:claude-cli": token("1", now() - DAY)}));
    }),
    ("shared_grant", "warning", 2, |home| {
        home.store("main", json!({"anthropic:claude-cli": oauth("1", now() + 8 * HOUR)}));
    }),
    ("shared_grant", "warning", 2, |home| {
        fs::create_dir(home.at(".claude-copy")).unwrap();
        fs::copy(home.at(LOGIN), home.at(".claude-copy/.credentials.json")).unwrap();
    }),
    ("shared_grant", "warning", 2, |home| {
        for agent in ["a", "b"] {
            home.store(agent, json!({"anthropic:own": oauth("own", now() + 8 * HOUR)}));
        }
    }),
    ("login_not_watched", "note", 0, |home| {
        let other = credentials("other", now() + HOUR, Some(now() + 20 * DAY));
        home.write(".claude-team/.credentials.json", other.to_string());
    }),
    ("unreadable", "broken", 1, |home| {
        home.write(LOGIN, "{\"claudeAiOauth\":{\"acc");
    }),
    ("no_access_end", "warning", 2, |home| {
        home.write(LOGIN, credentials("1", 0, Some(now() + 20 * DAY)).to_string());
    }),
    ("store_malformed", "broken", 1, |home| {
        home.write(MAIN, "{\"version\":1,\"profiles\":{");
    }),
    ("shadowed_by_env", "warning", 2, |home| {
        home.env.insert("ANTHROPIC_API_KEY".into(), "k".into());
    }),
    ("shadowed_by_env", "warning", 2, |home| {
        home.write(".claude/settings.json", r#"{"apiKeyHelper":"/opt/keys"}"#);
    }),
    ("shadowed_by_env", "warning", 2, |home| {
        home.write(".clawdbot/.env", "ANTHROPIC_API_KEY=k\n");
    }),
    ("rejected", "broken", 1, |home| {
        edit_ledger(home, "rejected", json!([fingerprint(&refresh("1"))]))
    }),
    ("unknown_outcome", "broken", 1, |home| {
        let stage = json!({"unknown": {"expires": now() + 8 * HOUR, "at": now() - HOUR, "why": "it broke off"}});
        edit_ledger(
            home,
            "renewals",
            json!({"claude": {"token": fingerprint(&refresh("1")), "stage": stage}}),
        );
    }),
    ("fence_left", "warning", 2, |home| {
        let stage = json!({"sent": {"expires": now() + 8 * HOUR, "at": now() - HOUR}});
        edit_ledger(
            home,
            "renewals",
            json!({"claude": {"token": fingerprint(&refresh("1")), "stage": stage}}),
        );
    }),
    ("rescue", "broken", 1, |home| {
        let spent = fingerprint(&refresh("0"));
        let text = json!({"schema": "nolapse.rescue/1", "whom": "claude", "spent": spent, "access": "a", "refresh": "r",
            "expires": now() + HOUR, "deadline": 0});
        home.write(&format!("{STATE}/rescue/{spent}.json"), text.to_string());
    }),
    ("config_invalid", "broken", 1, |home| {
        home.config("[sync]\nshare = \"ful\"\n");
    }),
    ("config_open", "broken", 1, |home| {
        home.config("[renew]\nmode = \"off\"\n");
        mode(home, ".config/nolapse/config.toml", 0o660);
    }),
    ("secret_readable", "broken", 1, |home| {
        home.write(".config/nolapse/secret", "https://127.0.0.1:9/\n");
        mode(home, ".config/nolapse/secret", 0o644);
        home.config("[[channel]]\ntype = \"webhook\"\nurl_file = \"secret\"\n");
    }),
    ("secret_readable", "broken", 1, |home| {
        home.config("[[channel]]\ntype = \"webhook\"\nurl = \"https://127.0.0.1:9/\"\n");
        mode(home, ".config/nolapse/config.toml", 0o640);
    }),
    ("readable_by_others", "warning", 2, |home| mode(home, LOGIN, 0o644)),
    ("readable_by_others", "warning", 2, |home| mode(home, MAIN, 0o660)),
    ("readable_by_others", "warning", 2, |home| mode(home, STATE, 0o755)),
    ("readable_by_others", "warning", 2, |home| {
        mode(home, &format!("{STATE}/ledger.json"), 0o644)
    }),
    ("dir_writable_by_others", "warning", 2, |home| {
        mode(home, ".claude", 0o777)
    }),
    ("ledger_corrupt", "warning", 2, |home| {
        home.write(&format!("{STATE}/ledger.json"), "{");
    }),
    ("clock_skew", "warning", 2, |home| touch(home, LOGIN, -HOUR)),
    ("clock_skew", "warning", 2, |home| {
        let token = json!({"issued_at": now() + DAY, "expires_at": now() + 300 * DAY});
        edit_ledger(home, "setup_tokens", json!({"0123456789abcdef": token}));
    }),
    ("json_beside_sqlite", "warning", 2, json_beside_sqlite),
    ("store_retired", "note", 2, json_beside_sqlite),
    ("store_behind", "note", 0, |home| {
        home.login("2", now() + 8 * HOUR);
        home.store("main", json!({"anthropic:claude-cli": token("1", now() + 7 * HOUR)}));
    }),
    // although somebody made a pass a moment ago
    ("not_installed", "warning", 2, |home| unscheduled(home)),
    ("last_pass_old", "warning", 2, |home| passed(home, 3 * HOUR)),
    ("channel_unreachable", "broken", 1, |home| {
        home.config("[[channel]]\ntype = \"webhook\"\nurl = \"http://127.0.0.1:9/x\"\n");
    }),
    ("channel_unreachable", "warning", 2, |home| {
        home.config("[[channel]]\ntype = \"command\"\ncommand = [\"none-such\"]\n[[channel]]\ntype = \"log\"\n");
    }),
    ("heartbeat_unreachable", "warning", 2, |home| {
        home.config("[heartbeat]\nurl = \"http://127.0.0.1:9/x\"\n");
    }),
    ("no_session_bus", "broken", 1, |home| {
        home.config("[[channel]]\ntype = \"desktop\"\n");
    }),
    ("delivery_failed", "warning", 2, |home| {
        home.config("[[channel]]\ntype = \"command\"\ncommand = [\"false\"]\n");
        home.write(MAIN, "{");
        home.run(&["run"]);
        home.store("main", json!({"anthropic:claude-cli": token("1", now() + 8 * HOUR)}));
    }),
    ("channel_refused", "broken", 1, |home| {
        home.config("[[channel]]\ntype = \"command\"\ncommand = [\"sh\", \"-c\", \"exit 78\"]\n");
        home.write(MAIN, "{");
        home.run(&["run"]);
        home.store("main", json!({"anthropic:claude-cli": token("1", now() + 8 * HOUR)}));
    }),
    ("silenced", "note", 0, |home| {
        home.run(&["alert", "silence", "--all", "--for", "1h"]);
    }),
    ("cli_not_found", "warning", 2, |home| {
        fs::remove_file(home.at(".local/bin/claude")).unwrap()
    }),
    ("cli_too_old", "warning", 2, |home| cli(home, "2.1.144")),
    ("cli_version_unknown", "warning", 2, |home| {
        fs::remove_file(home.at(".local/bin/claude")).unwrap();
        program(home, ".local/bin/claude", "exit 0");
    }),
    ("termux_api_missing", "broken", 1, |home| {
        home.env.insert("TERMUX_VERSION".into(), "0.118.3".into());
        home.config("[[channel]]\ntype = \"termux\"\n");
    }),
    ("termux_api_silent", "broken", 1, |home| {
        home.env.insert("TERMUX_VERSION".into(), "0.118.3".into());
        home.env.insert("BOOTCLASSPATH".into(), "/apex/core-oj.jar".into());
        for name in ["usr/bin/termux-notification", "usr/bin/termux-job-scheduler"] {
            program(home, name, "exec sleep 600");
        }
        let path = format!("{}:/usr/bin:/bin", home.at("usr/bin").display());
        home.env.insert("PATH".into(), path);
    }),
    ("nothing_found", "broken", 1, |home| {
        fs::remove_dir_all(home.at(".claude")).unwrap();
        fs::remove_dir_all(home.at(".clawdbot")).unwrap();
        edit_ledger(home, "logins", json!({}));
    }),
];

#[test]
fn each_pattern_is_found_by_its_word() {
    for (i, (kind, level, code, make)) in PATTERNS.iter().enumerate() {
        let mut home = healthy();
        make(&mut home);
        let before = home.files();
        let found = doctor(&home, &[]);
        let name = format!("{i} {kind}");
        assert!(found.all().contains(&(kind, level)), "{name}: {:#}", found.json);
        assert_eq!(found.ran.code, *code, "{name}: {:#}", found.json);
        assert_eq!(found.json["exit"], *code, "{name}");
        assert_eq!(home.files(), before, "{name}: a look wrote");
        let one = found.one(kind);
        for key in ["what", "why"] {
            assert!(one[key].as_str().is_some_and(|text| text.len() > 10), "{name}: {one:#}");
        }
        assert!(one["command"].is_string() != one["hint"].is_string(), "{name}: {one:#}");
        if *kind == "termux_api_silent" {
            // it takes its whole patience each time
            continue;
        }
        // the text says the same
        let text = home.run(&["doctor"]);
        assert_eq!(text.code, *code, "{name}: {text:?}");
        assert!(text.stdout.contains(&format!("  {level}: ")), "{name}: {text:?}");
    }
}

#[test]
fn a_lock_is_explained() {
    let home = healthy();
    let pid = dead_pid();
    lock(&home, ".claude/.oauth_refresh.lock", 3 * HOUR);
    home.write(".claude/.oauth_refresh.lock.owner", json!({"pid": pid}).to_string());
    touch(&home, ".claude/.oauth_refresh.lock.owner", 3 * HOUR);
    let found = doctor(&home, &[]);
    let one = found.one("dead_lock");
    let words = format!("{} {}", one["what"], one["why"]);
    for said in [
        &format!("process {pid}, which is gone"),
        "3 h ago",
        "a renewal of the login `claude`",
        "Safe to remove",
        "the limit is 60 s",
    ] {
        assert!(words.contains(said), "{said}: {words}");
    }
    let live = healthy();
    live.write(&format!("{MAIN}.lock"), json!({"pid": std::process::id()}).to_string());
    let found = doctor(&live, &[]);
    let one = found.one("lock_held");
    let who = format!("process {}", std::process::id());
    assert!(one["what"].as_str().unwrap().contains(&who), "{one:#}");
    assert!(one["why"].as_str().unwrap().contains("not safe to remove"), "{one:#}");
}

/// Everything below the home but what nolapse remembers: what it is, its mode, its content, its time.
fn tree(home: &Home) -> BTreeMap<String, (u32, Vec<u8>, i64)> {
    let mut tree = BTreeMap::new();
    let mut dirs = vec![home.path().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let (path, meta) = (entry.path(), entry.metadata().unwrap());
            let name = path.strip_prefix(home.path()).unwrap().display().to_string();
            if meta.is_dir() {
                dirs.push(path.clone());
            }
            let bytes = if meta.is_file() {
                fs::read(&path).unwrap()
            } else {
                Vec::new()
            };
            // what changes in a directory changes its time
            let at = if meta.is_dir() && !name.ends_with(".lock") {
                0
            } else {
                meta.mtime_nsec()
            };
            if !name.starts_with(STATE) {
                tree.insert(name, (meta.mode() & 0o777, bytes, at));
            }
        }
    }
    tree
}

#[test]
fn repairs_are_done_and_touch_nothing_else() {
    let home = healthy();
    home.config(&format!("[sync]\nenabled = false\n{CHANNEL}"));
    home.store(
        "work",
        json!({"openai:k": {"type": "api_key", "provider": "openai", "key": "k"}}),
    );
    home.store(
        "held",
        json!({"openai:k": {"type": "api_key", "provider": "openai", "key": "k"}}),
    );
    let of = |agent: &str| format!(".clawdbot/agents/{agent}/agent/auth-profiles.json.lock");
    // live: a directory touched just now, a file past its limit whose process lives
    lock(&home, ".claude.lock", 0);
    home.write(&of("held"), json!({"pid": std::process::id()}).to_string());
    touch(&home, &of("held"), MINUTE);
    // and what is wrong
    lock(&home, ".claude/.oauth_refresh.lock", HOUR);
    lock(&home, &of("main"), HOUR);
    home.write(&of("work"), json!({"pid": dead_pid()}).to_string());
    touch(&home, &of("work"), HOUR);
    for (path, wrong) in [(LOGIN, 0o644), (MAIN, 0o660), (STATE, 0o755)] {
        mode(&home, path, wrong);
    }
    home.write(".clawdbot/.env", "OPENAI_API_KEY=k\n");
    mode(&home, ".clawdbot/.env", 0o644);
    let before = tree(&home);
    let shown = home.run(&["doctor", "--fix"]);
    assert_eq!(shown.code, 2, "{shown:?}");
    assert!(shown.stdout.contains("nothing was repaired"), "{shown:?}");
    assert!(
        shown.stdout.contains("chmod 600 ~/.claude/.credentials.json"),
        "{shown:?}"
    );
    assert_eq!(tree(&home), before, "without an answer nothing is done");
    let found = doctor(&home, &["--fix"]);
    let states: Vec<_> = found.json["repairs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["state"])
        .collect();
    assert_eq!(states, ["possible"; 6], "{:#}", found.json);
    assert_eq!(tree(&home), before);

    let fixed = doctor(&home, &["--fix", "--yes"]);
    let repairs = fixed.json["repairs"].as_array().unwrap();
    assert!(
        repairs.iter().all(|one| one["state"] == "done") && repairs.len() == 6,
        "{:#}",
        fixed.json
    );
    // what is not ours to repair is still said
    assert_eq!(
        (fixed.wrong(), fixed.ran.code),
        (vec!["readable_by_others"], 2),
        "{:#}",
        fixed.json
    );
    let mut expected = before;
    for gone in [".claude/.oauth_refresh.lock".to_owned(), of("main"), of("work")] {
        assert!(expected.remove(&gone).is_some());
    }
    for path in [LOGIN, MAIN] {
        expected.get_mut(path).unwrap().0 = 0o600;
    }
    assert_eq!(tree(&home), expected, "only that");
    assert_eq!(mode_of(&home, STATE), 0o700);
    let history = home.read(&format!("{STATE}/history.jsonl"));
    assert_eq!(history.matches("\"what\":\"repaired\"").count(), 6, "{history}");

    let again = doctor(&home, &["--fix", "--yes"]);
    assert_eq!(again.json["repairs"], json!([]));
    assert_eq!(tree(&home), expected, "twice is once");
}

#[test]
fn secrets_of_the_configuration_are_made_private() {
    let home = healthy();
    home.write("hook", "https://127.0.0.1:9/\n");
    home.config("[[channel]]\ntype = \"ntfy\"\ntopic = \"t\"\nurl = \"http://127.0.0.1:9\"\n[[channel]]\ntype = \"slack\"\nurl_file = \"~/hook\"\n");
    mode(&home, "hook", 0o640);
    mode(&home, ".config/nolapse/config.toml", 0o644);
    assert_eq!(home.run(&["check"]).code, 3, "it is refused");
    let found = doctor(&home, &["--fix", "--yes"]);
    assert_eq!(found.json["repairs"].as_array().unwrap().len(), 2, "{:#}", found.json);
    assert_eq!(
        (mode_of(&home, "hook"), mode_of(&home, ".config/nolapse/config.toml")),
        (0o600, 0o600)
    );
    assert!(
        !found
            .wrong()
            .iter()
            .any(|kind| kind.starts_with("config") || kind.starts_with("secret"))
    );
    assert_eq!(home.run(&["check"]).code, 0);
}

#[test]
fn stores_are_brought_up_to_date_as_sync_does_it() {
    let home = healthy();
    home.login("2", now() + 8 * HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("1", now() + 7 * HOUR)}));
    let before = home.read(MAIN);
    let shown = home.run(&["doctor", "--fix"]);
    assert!(shown.stdout.contains("nolapse sync  # ~/.clawdbot"), "{shown:?}");
    assert_eq!(home.read(MAIN), before, "without an answer nothing is done");

    // a configuration that cannot be read may forbid it
    home.config("[sync]\nenabled = false\nnone = 1\n");
    let unread = doctor(&home, &["--fix", "--yes"]);
    assert_eq!(unread.json["repairs"], json!([]), "{:#}", unread.json);
    home.config("[sync]\nenabled = false\n");
    assert_eq!(doctor(&home, &["--fix", "--yes"]).json["repairs"], json!([]));
    home.config(CHANNEL);
    assert_eq!(home.read(MAIN), before);

    let fixed = doctor(&home, &["--fix", "--yes"]);
    assert_eq!(fixed.json["repairs"][0]["state"], "done", "{:#}", fixed.json);
    assert_eq!((fixed.wrong(), fixed.ran.code), (vec![], 0), "{:#}", fixed.json);
    assert!(!fixed.all().iter().any(|(kind, _)| *kind == "store_behind"));
    assert!(home.read(MAIN).contains(&super::home::access("2")));
    assert!(
        !home.read(MAIN).contains(&refresh("2")),
        "its refresh token stays with the login"
    );
    assert!(!fixed.ran.stdout.contains("sk-ant"), "{}", fixed.ran.stdout);
}

#[test]
fn on_a_terminal_it_asks_and_fits_forty_columns() {
    let mut home = healthy();
    mode(&home, LOGIN, 0o644);
    home.env.insert("NO_COLOR".into(), "1".into());
    for (answer, said, after) in [
        (&b"\r"[..], "nothing was repaired", 0o644),
        (b"n\r", "nothing was repaired", 0o644),
        (b"y\r", "done: chmod 600", 0o600),
    ] {
        let mut terminal = Terminal::start(home.command(&["doctor", "--fix"]), 40);
        terminal.wait_for("[y/N]");
        terminal.type_in(answer);
        let (code, text) = terminal.end();
        assert!(text.contains(said), "{text}");
        assert_eq!(
            (mode_of(&home, LOGIN), code),
            (after, if after == 0o600 { 0 } else { 2 }),
            "{text}"
        );
        assert!(!text.contains('\u{1b}'), "NO_COLOR: {text}");
        for line in text.lines().map(|line| line.trim_end_matches('\r')) {
            let whole = ["run: ", "chmod ", "done: "]
                .iter()
                .any(|word| line.trim_start().starts_with(word));
            assert!(
                line.chars().count() <= 40 || whole || !line.trim().contains(' '),
                "{line}"
            );
        }
    }
}

#[test]
fn on_a_terminal_it_says_what_it_waits_for() {
    let mut home = healthy();
    home.env.insert("TERMUX_VERSION".into(), "0.118.3".into());
    home.env
        .insert("PATH".into(), format!("{}:/usr/bin:/bin", home.at("usr/bin").display()));
    home.env.insert("BOOTCLASSPATH".into(), "/apex/core-oj.jar".into());
    for name in ["usr/bin/termux-notification", "usr/bin/termux-job-scheduler"] {
        program(&home, name, "exec sleep 600");
    }
    home.env.insert("TERM".into(), "xterm-256color".into());
    let mut terminal = Terminal::start(home.command(&["doctor"]), 40);
    terminal.wait_for("waiting for channels and services: 1 s");
    let (code, text) = terminal.end();
    assert!(code == 1 && text.contains("Termux:API does not answer"), "{text}");
}

/// The platform's programs as they answer on a host with systemd and cron.
fn with_systemd(home: &mut Home) {
    program(
        home,
        "bin/systemctl",
        "case \"$*\" in *is-active*) [ -e \"$HOME/active\" ] || exit 3 ;; *enable*) touch \"$HOME/active\" ;; esac",
    );
    program(home, "bin/loginctl", "cat \"$HOME/linger\" 2>/dev/null || echo no");
    unscheduled(home);
    home.env.insert("USER".into(), "u".into());
}

#[test]
fn an_installation_is_looked_after() {
    let mut home = healthy();
    with_systemd(&mut home);
    assert_eq!(home.run(&["install", "systemd"]).code, 0);
    let linger = doctor(&home, &[]);
    assert_eq!(linger.wrong(), ["linger_off"], "{:#}", linger.json);
    assert_eq!(linger.one("linger_off")["command"], "loginctl enable-linger u");
    home.write("linger", "yes\n");
    assert_eq!(doctor(&home, &[]).wrong(), Vec::<&str>::new());

    passed(&home, 5 * HOUR);
    assert_eq!(doctor(&home, &[]).all().last(), Some(&("last_pass_old", "warning")));
    passed(&home, 2 * DAY);
    assert_eq!(doctor(&home, &[]).ran.code, 1);
    passed(&home, MINUTE);

    fs::remove_file(home.at("active")).unwrap();
    let off = doctor(&home, &[]);
    assert_eq!((off.wrong(), off.ran.code), (vec!["not_running"], 1), "{:#}", off.json);
    program(
        &home,
        "bin/systemctl",
        "echo 'Failed to connect to bus: No medium found' >&2; exit 1",
    );
    let untold = doctor(&home, &[]);
    assert_eq!(
        (untold.wrong(), untold.ran.code),
        (vec!["not_told"], 3),
        "{:#}",
        untold.json
    );
    program(&home, "bin/systemctl", "exit 0");

    home.write("tab", "*/4 * * * * '/opt/other/nolapse' run >/dev/null 2>&1\n");
    let two = doctor(&home, &[]);
    for kind in ["two_installs", "two_programs", "program_gone"] {
        two.one(kind);
    }
    assert_eq!(two.one("two_installs")["command"], "nolapse uninstall cron");
    fs::remove_file(home.at("tab")).unwrap();

    let unit = ".config/systemd/user/nolapse.service";
    home.write(
        unit,
        home.read(unit).replace(env!("CARGO_BIN_EXE_nolapse"), "/gone/nolapse"),
    );
    assert_eq!(doctor(&home, &[]).wrong(), ["program_gone"]);
    fs::remove_file(home.at(unit)).unwrap();
    assert_eq!(doctor(&home, &[]).wrong(), ["install_incomplete"]);
}

#[test]
fn two_daemons_are_noticed() {
    let home = healthy();
    unscheduled(&home);
    let mut daemons = [home.spawn(&["daemon"]), home.spawn(&["daemon"])];
    let begun = std::time::Instant::now();
    // they are there once they are running their program
    let found = loop {
        let found = doctor(&home, &[]);
        if found.all().iter().any(|(kind, _)| *kind == "two_installs") || begun.elapsed() > Duration::from_secs(20) {
            break found;
        }
    };
    for daemon in &mut daemons {
        daemon.kill().unwrap();
        daemon.wait().unwrap();
    }
    let command = found.one("two_installs")["command"].as_str().unwrap();
    assert!(
        daemons.iter().any(|daemon| command == format!("kill {}", daemon.id())),
        "{command}"
    );
}

#[test]
fn a_channel_is_reached_without_a_word() {
    let home = healthy();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    home.config(&format!(
        "[[channel]]\ntype = \"webhook\"\nurl = \"http://127.0.0.1:{port}/canary\"\n[heartbeat]\nurl = \"http://127.0.0.1:{port}/canary\"\n"
    ));
    let found = doctor(&home, &[]);
    assert_eq!(found.wrong(), Vec::<&str>::new(), "{:#}", found.json);
    assert!(
        found.ran.stdout.contains("webhook reached, heartbeat reached"),
        "{:#}",
        found.json
    );
    for _ in 0..2 {
        let mut said = Vec::new();
        listener.accept().unwrap().0.read_to_end(&mut said).unwrap();
        assert!(said.is_empty(), "{said:?}");
    }
    let mut proxied = home;
    proxied.env.insert("HTTP_PROXY".into(), "http://127.0.0.1:9".into());
    assert!(doctor(&proxied, &[]).ran.stdout.contains("a proxy is set"));
}

#[test]
fn a_state_directory_that_cannot_be_one_is_said() {
    let home = healthy();
    let file = home.write("file", "");
    let found = Found::of(home.run(&["doctor", "--json", "--state-dir", file.join("x").to_str().unwrap()]));
    assert_eq!(found.ran.code, 1);
    let one = found.one("state_dir");
    assert!(one["what"].as_str().unwrap().contains("is no directory"), "{one:#}");
    assert!(Path::new(&file).is_file());
}

#[test]
fn the_json_is_one_object_with_these_keys() {
    let home = healthy();
    mode(&home, LOGIN, 0o644);
    let found = doctor(&home, &[]);
    let keys = |value: &Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        keys(&found.json),
        ["checked", "exit", "findings", "host", "now", "repairs", "schema"]
    );
    assert_eq!(found.json["schema"], "nolapse.doctor/1");
    let one = found.one("readable_by_others");
    assert_eq!(
        keys(one),
        [
            "command",
            "group",
            "hint",
            "kind",
            "level",
            "path",
            "repairable",
            "what",
            "why"
        ]
    );
    assert_eq!((&one["repairable"], &one["group"]), (&json!(true), &json!("files")));
    assert_eq!(keys(&found.json["repairs"][0]), ["command", "path", "state", "why"]);
    let usage = home.run(&["doctor", "--yes"]);
    assert_eq!((usage.code, usage.stdout.as_str()), (3, ""), "{usage:?}");
    assert!(home.run(&["doctor", "--help"]).stdout.contains("Exit codes:"));
}

#[test]
fn foreign_names_break_neither_a_terminal_nor_a_command() {
    let home = healthy();
    let id = "x:'$(touch pwned)'\u{1b}]0;t\u{7}";
    home.store("main", json!({id: oauth("1", now() + 8 * HOUR)}));
    let ran = home.run(&["doctor"]);
    assert!(ran.stdout.contains("one refresh token is held by"), "{ran:?}");
    assert!(!ran.stdout.chars().any(|c| c.is_control() && c != '\n'), "{ran:?}");
    let found = doctor(&home, &[]);
    let command = found.one("shared_grant")["command"].as_str().unwrap().to_owned();
    let shown = command.replace("nolapse", "printf '%s|'").replace(" && ", "; ");
    let sh = std::process::Command::new("sh")
        .args(["-c", &shown])
        .current_dir(home.path())
        .output()
        .unwrap();
    let words = String::from_utf8_lossy(&sh.stdout).into_owned();
    assert!(
        words.starts_with(&format!("token|remove|{id}|--agent|clawdbot/main|")),
        "{command}: {words}"
    );
    assert!(!home.at("pwned").exists());
}

#[test]
fn every_word_is_documented() {
    let read = |name: &str| fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap();
    let (page, reasons) = (read("docs/doctor.md"), read("docs/json.md"));
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules/doctor");
    let mut made: Vec<String> = Vec::new();
    for entry in fs::read_dir(dir).unwrap() {
        let rules = fs::read_to_string(entry.unwrap().path()).unwrap();
        let code = rules.split("#[cfg(test)]").next().unwrap();
        // the first argument of each finding that is made there, by `Finding::new` or a group's own `finding`
        let calls = ["Finding::new(", " finding(", "(finding("];
        for rest in calls.iter().flat_map(|call| code.split(call).skip(1)) {
            let word = rest
                .trim_start()
                .strip_prefix('"')
                .and_then(|rest| rest.split('"').next());
            made.extend(word.map(Into::into));
        }
    }
    // and those whose word is chosen before
    made.extend(["no_session_bus", "heartbeat_unreachable", "channel_unreachable"].map(Into::into));
    assert!(made.len() > 45, "{made:?}");
    for word in PATTERNS
        .iter()
        .map(|(kind, ..)| *kind)
        .chain(made.iter().map(String::as_str))
    {
        let quoted = format!("`{word}`");
        assert!(page.contains(&quoted) || reasons.contains(&quoted), "{word}");
    }
}
