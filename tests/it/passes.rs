//! Whole passes of the real binary: what is synced, healed, told, remembered, and what is never touched.

use super::home::{DAY, HOUR, Home, MAIN, MINUTE, access, credentials, now, oauth, refresh, token};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::mpsc::{Receiver, channel};

/// A receiver on loopback that accepts every request: its headers in lower case, and its body.
fn receiver() -> (String, Receiver<(String, Value)>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/hook", listener.local_addr().unwrap());
    let (send, receive) = channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let mut reader = BufReader::new(stream);
            let mut head = String::new();
            while !head.ends_with("\r\n\r\n") {
                if reader.read_line(&mut head).unwrap_or(0) == 0 {
                    break;
                }
            }
            let head = head.to_lowercase();
            let length = head
                .lines()
                .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse().ok());
            let mut body = vec![0; length.unwrap_or(0)];
            reader.read_exact(&mut body).unwrap();
            reader
                .get_mut()
                .write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
                .unwrap();
            if send.send((head, serde_json::from_slice(&body).unwrap())).is_err() {
                return;
            }
        }
    });
    (url, receive)
}

fn with_webhook(home: &Home) -> Receiver<(String, Value)> {
    let (url, received) = receiver();
    home.config(&format!(
        "[renew]\nmode = \"off\"\n[[channel]]\ntype = \"webhook\"\nurl = \"{url}\"\nsecret = \"whsec_bm9sYXBzZS10ZXN0LXNlY3JldC1vZi0yNC1ieXRlcw==\"\n"
    ));
    received
}

fn wiped() -> String {
    json!({"claudeAiOauth": {"accessToken": "", "refreshToken": "", "expiresAt": 0,
        "refreshTokenExpiresAt": now() + 20 * DAY, "scopes": ["user:inference"]}})
    .to_string()
}

#[test]
fn a_login_that_ended_rings_once_for_all_who_hang_on_it_and_once_when_it_is_back() {
    let home = Home::new();
    let received = with_webhook(&home);
    home.login("1", now() + 8 * HOUR);
    home.write(
        ".clawdbot/clawdbot.json",
        "{ agents: { list: [{ id: 'main' }, { id: 'a' }, { id: 'b' }] } } // JSON5",
    );
    assert_eq!(home.run(&["run"]).code, 0);
    assert!(received.try_recv().is_err(), "a healthy login rings nobody");

    home.write(".claude/.credentials.json", wiped());
    let ran = home.run(&["run"]);
    assert_eq!(ran.code, 1, "{ran:?}");
    let (head, event) = received.recv().unwrap();
    assert_eq!(
        (&event["schema"], &event["kind"], &event["severity"]),
        (&json!("nolapse.alert/1"), &json!("race_logout"), &json!("critical"))
    );
    assert_eq!(event["affected"].as_array().unwrap().len(), 3);
    assert_eq!(event["commands"][0], "nolapse login --login claude");
    assert_eq!(event["commands"][1], "claude auth login");
    assert!(head.contains(&format!("webhook-id: {}", event["event_id"].as_str().unwrap())));
    assert!(head.contains("webhook-signature: v1,") && head.contains("webhook-timestamp: "));
    for _ in 0..3 {
        home.run(&["run"]);
    }
    assert!(received.try_recv().is_err(), "it was told already");

    home.write(
        ".claude/.credentials.json",
        credentials("2", now() + 8 * HOUR, Some(now() + 28 * DAY)).to_string(),
    );
    let ran = home.run(&["run"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let (_, over) = received.recv().unwrap();
    assert_eq!(
        (&over["status"], &over["alert_id"]),
        (&json!("resolved"), &event["alert_id"])
    );
    assert_ne!(over["event_id"], event["event_id"]);
    home.run(&["run"]);
    assert!(received.try_recv().is_err());
    assert!(
        home.read(MAIN).contains(&access("2")),
        "and every store has the new login"
    );
}

#[test]
fn an_expired_access_token_rings_nobody_while_its_login_can_renew() {
    let home = Home::new();
    let received = with_webhook(&home);
    home.login("1", now() - 10 * MINUTE);
    home.store("main", json!({"anthropic:claude-cli": token("1", now() - 10 * MINUTE)}));
    let ran = home.run(&["run"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(received.try_recv().is_err());
    // for longer than the grace, with nobody renewing it, its agents have stopped
    home.login("1", now() - HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("1", now() - HOUR)}));
    assert_eq!(home.run(&["run"]).code, 1);
    assert_eq!(received.recv().unwrap().1["kind"], "copy_stale");
}

#[test]
fn a_copy_that_its_agent_renewed_heals_the_login() {
    for blanked in [false, true] {
        let home = Home::new();
        home.login("1", now() + HOUR)
            .store("main", json!({"anthropic:claude-cli": oauth("1", now() + HOUR)}));
        home.store("work", json!({"anthropic:claude-cli": oauth("1", now() + HOUR)}));
        assert_eq!(home.run(&["run"]).code, 0);
        // the agent spends the refresh token and writes its own store only; Claude Code may find out first
        home.store("main", json!({"anthropic:claude-cli": oauth("2", now() + 8 * HOUR)}));
        if blanked {
            home.write(".claude/.credentials.json", wiped());
        }
        let dry = home.run(&["sync", "--dry-run"]);
        assert!(
            dry.stdout
                .contains("login claude: would be healed from the newer copy of clawdbot/main"),
            "{dry:?}"
        );
        let ran = home.run(&["run"]);
        assert_eq!(ran.code, 0, "{ran:?}");
        let login = home.json(".claude/.credentials.json");
        assert_eq!(
            login["claudeAiOauth"]["refreshToken"],
            refresh("2"),
            "blanked: {blanked}"
        );
        assert!(home.read(MAIN).contains(&refresh("2")));
        let work = home.read(".clawdbot/agents/work/agent/auth-profiles.json");
        assert!(
            work.contains(&refresh("2")) && !work.contains(&refresh("1")),
            "the spent token is gone everywhere"
        );
        let locks: Vec<_> = home
            .files()
            .into_keys()
            .filter(|p| p.contains(".lock") && !p.ends_with("pass.lock"))
            .collect();
        assert!(locks.is_empty() && !home.at(".claude.lock").exists(), "{locks:?}");
    }
}

#[test]
fn a_store_is_never_given_back_an_older_token() {
    let home = Home::new();
    home.login("1", now() + HOUR)
        .store("main", json!({"anthropic:claude-cli": oauth("9", now() + 40 * DAY)}));
    let before = home.read(MAIN);
    home.run(&["run"]);
    assert_eq!(
        home.read(MAIN),
        before,
        "of unknown descent and longer life: perhaps the only living token"
    );
    assert!(home.read(".claude/.credentials.json").contains(&refresh("1")));
}

#[test]
fn sqlite_stores_are_judged_and_json_beside_them_is_never_made_nor_touched() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    fs::create_dir_all(home.at(".openclaw/agents/main/agent")).unwrap();
    fs::create_dir_all(home.at(".openclaw/agents/old/agent")).unwrap();
    let leftover = home.write(
        ".openclaw/agents/old/agent/auth-profiles.json",
        "{\"version\":1,\"profiles\":{}}",
    );
    let db = rusqlite::Connection::open(home.at(".openclaw/agents/main/agent/openclaw-agent.sqlite")).unwrap();
    let profiles = json!({"version": 1, "profiles": {"anthropic:x": oauth("7", now() - DAY)}}).to_string();
    db.execute_batch(
        "CREATE TABLE auth_profile_store(store_key TEXT PRIMARY KEY, store_json TEXT, updated_at INTEGER)",
    )
    .unwrap();
    db.execute("INSERT INTO auth_profile_store VALUES('primary', ?1, 0)", [profiles])
        .unwrap();
    drop(db);
    let before = home.files();
    let ran = home.run(&["run"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let after = home.files();
    for (path, bytes) in &before {
        assert_eq!(after.get(path), Some(bytes), "{path}");
    }
    assert!(
        after
            .keys()
            .all(|path| before.contains_key(path) || path.starts_with(".local/state/nolapse/"))
    );
    let json = home.status(&[]);
    let main = json["agents"]
        .as_array()
        .unwrap()
        .iter()
        .find(|agent| agent["agent"] == "main")
        .unwrap();
    assert_eq!(
        (&main["store"]["format"], &main["store"]["writable"]),
        (&json!("sqlite"), &json!(false))
    );
    assert_eq!(main["profiles"][0]["health"], "expired");
    assert!(
        json["problems"]
            .as_array()
            .unwrap()
            .iter()
            .any(|p| p["kind"] == "json_beside_sqlite"),
        "{leftover:?}"
    );
}

#[test]
fn what_is_not_installed_is_never_made() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    assert_eq!(home.run(&["run"]).code, 0);
    for product in [".clawdbot", ".moltbot", ".openclaw"] {
        assert!(!home.at(product).exists());
    }
    fs::create_dir(home.at(".clawdbot")).unwrap();
    home.run(&["run"]);
    let made = home.at(MAIN);
    assert_eq!(fs::metadata(&made).unwrap().mode() & 0o777, 0o600);
    assert_eq!(fs::metadata(made.parent().unwrap()).unwrap().mode() & 0o777, 0o700);
    assert_eq!(
        home.json(MAIN)["profiles"]["anthropic:claude-cli"]["type"],
        "token",
        "the access token alone by default"
    );
}

#[test]
fn reading_tolerates_whatever_stands_there() {
    for (name, text, health, reason) in [
        ("wiped", wiped(), "expired", json!("race_logout")),
        ("empty", String::new(), "missing", json!("unreadable")),
        (
            "torn",
            "{\"claudeAiOauth\":{\"accessTok".to_owned(),
            "missing",
            json!("unreadable"),
        ),
        ("garbage", "x".repeat(10 << 20), "missing", json!("unreadable")),
        ("signed out", "{\"mcpOAuth\":{}}".to_owned(), "missing", Value::Null),
        ("array", "[]".to_owned(), "missing", json!("unreadable")),
        ("deep", "[".repeat(200_000), "missing", json!("unreadable")),
        (
            "bom",
            format!("\u{feff}{}", credentials("1", now() + HOUR, None)),
            "missing",
            json!("unreadable"),
        ),
        (
            "string",
            credentials("1", 0, None)
                .to_string()
                .replace("\"expiresAt\":0", &format!("\"expiresAt\":\"{}\"", now() + HOUR)),
            "ok",
            json!("renews_itself"),
        ),
        (
            "seconds",
            credentials("1", now() / 1000, None).to_string(),
            "ok",
            json!("renews_itself"),
        ),
        (
            "no end",
            credentials("1", 0, None).to_string().replace("\"expiresAt\":0,", ""),
            "ok",
            json!("renews_itself"),
        ),
    ] {
        let home = Home::new();
        home.write(".claude/.credentials.json", &text);
        home.write(MAIN, &text);
        let json = home.status(&[]);
        let login = &json["logins"][0];
        assert_eq!(
            (&login["health"], &login["reason"]),
            (&json!(health), &reason),
            "{name}"
        );
        home.run(&["run"]);
        assert_eq!(home.read(".claude/.credentials.json"), text, "{name}");
    }
    let home = Home::new();
    fs::create_dir_all(home.at(".claude/.credentials.json")).unwrap();
    assert_eq!(home.status(&[])["logins"][0]["reason"], "unreadable", "a directory");
}

#[test]
fn links_owners_and_modes_are_kept() {
    let home = Home::new();
    home.login("2", now() + 8 * HOUR);
    let real = home.write(
        "elsewhere/profiles.json",
        json!({"version": 1, "profiles": {"anthropic:claude-cli": token("1", now() - DAY)}}).to_string(),
    );
    fs::set_permissions(&real, fs::Permissions::from_mode(0o640)).unwrap();
    let root = rustix::process::geteuid().is_root();
    if root {
        // a group that is not the owner's own
        std::os::unix::fs::chown(&real, None, Some(4243)).unwrap();
    }
    let owner = fs::metadata(&real).map(|meta| (meta.uid(), meta.gid())).unwrap();
    fs::create_dir_all(home.at(".clawdbot/agents/main/agent")).unwrap();
    symlink(&real, home.at(MAIN)).unwrap();
    let ran = home.run(&["sync"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let after = fs::metadata(&real).unwrap();
    assert!(
        home.read("elsewhere/profiles.json").contains(&access("2")),
        "written through the link"
    );
    assert!(fs::symlink_metadata(home.at(MAIN)).unwrap().is_symlink());
    assert_eq!(
        (after.mode() & 0o777, (after.uid(), after.gid())),
        (0o640, owner),
        "root: {root}"
    );
}

/// What root makes in a user's home is the user's: a lock of root's would lock them out.
#[test]
fn whatever_is_made_in_a_home_is_its_owners() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR).store("main", json!({}));
    home.config(
        "[[channel]]\ntype = \"command\"\ncommand = [\"/bin/true\"]\n[metrics]\ntextfile = \"~/nolapse.prom\"\n",
    );
    let root = rustix::process::geteuid().is_root();
    if root {
        let status = std::process::Command::new("chown")
            .args(["-R", "4242:4243"])
            .arg(home.path())
            .status()
            .unwrap();
        assert!(status.success());
    }
    let owner = fs::metadata(home.path()).map(|meta| (meta.uid(), meta.gid())).unwrap();
    for text in ["{", "{\"version\": 1, \"profiles\": {}}"] {
        fs::write(home.at(MAIN), text).unwrap();
        let ran = home.run(&["run"]);
        assert!(
            ran.code == 0 || text == "{" && ran.stdout.contains("notified command"),
            "{ran:?}"
        );
    }
    let mut seen = 0;
    let mut dirs = vec![home.path().to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in fs::read_dir(&dir).unwrap().flatten() {
            let meta = entry.metadata().unwrap();
            assert_eq!(
                (meta.uid(), meta.gid()),
                owner,
                "{} (root: {root})",
                entry.path().display()
            );
            if meta.is_dir() {
                dirs.push(entry.path());
            }
            seen += 1;
        }
    }
    assert!(seen > 12, "only {seen}");
}

#[test]
fn a_shadowed_login_is_named_and_a_token_in_the_environment_is_a_login() {
    let mut home = Home::new();
    home.login("1", now() + 8 * HOUR);
    home.env.insert("CLAUDE_CODE_OAUTH_TOKEN".into(), access("ENV"));
    let json = home.status(&[]);
    assert_eq!(json["logins"][0]["shadowed_by"], json!(["CLAUDE_CODE_OAUTH_TOKEN"]));
    let env = &json["logins"][1];
    assert_eq!(
        (&env["source"], &env["health"], &env["reason"]),
        (&json!("env"), &json!("static"), &json!("issue_date_unknown"))
    );
}

#[test]
fn several_logins_go_to_the_agents_that_they_are_meant_for() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    home.write(
        ".claude-fleet/.credentials.json",
        credentials("5", now() + 8 * HOUR, Some(now() + 20 * DAY)).to_string(),
    );
    home.write(
        ".clawdbot/clawdbot.json",
        r#"{"agents":{"list":[{"id":"main"},{"id":"fleet-1"},{"id":"private"}]}}"#,
    );
    home.config(
        "[sync]\nexclude_agents = [\"*/private\"]\n[[login]]\ndir = \"~/.claude-fleet\"\nname = \"fleet\"\nagents = [\"clawdbot/fleet-*\"]\nprofile = \"anthropic:fleet\"\n",
    );
    assert_eq!(home.run(&["run"]).code, 0);
    let of = |agent: &str| home.json(&format!(".clawdbot/agents/{agent}/agent/auth-profiles.json"))["profiles"].clone();
    assert_eq!(of("main")["anthropic:claude-cli"]["token"], access("1"));
    assert_eq!(of("fleet-1")["anthropic:fleet"]["token"], access("5"));
    assert!(of("fleet-1").get("anthropic:claude-cli").is_none());
    assert!(!home.at(".clawdbot/agents/private").exists());
}

#[test]
fn the_mac_keychain_is_asked_on_a_mac_only() {
    let mut home = Home::new();
    home.login("1", now() + 8 * HOUR);
    let script = home.write("bin/security", "#!/bin/sh\ntouch \"$HOME/called\"\n");
    fs::set_permissions(script, fs::Permissions::from_mode(0o755)).unwrap();
    home.env
        .insert("PATH".into(), format!("{}:/usr/bin:/bin", home.at("bin").display()));
    assert_eq!(home.status(&[])["logins"][0]["source"], "file");
    assert!(!home.at("called").exists());
}

#[test]
fn a_corrupt_ledger_is_set_aside_and_never_fatal() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    home.write(".local/state/nolapse/ledger.json", "{\"schema\":");
    let ran = home.run(&["run"]);
    assert!(ran.stdout.contains("set aside") && ran.code == 3, "{ran:?}");
    assert!(home.files().keys().any(|path| path.contains("ledger.corrupt-")));
    assert_eq!(home.run(&["run"]).code, 0);
}

#[test]
fn a_newer_versions_ledger_is_refused_and_kept_to_the_byte() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("0", now() + HOUR)}));
    let newer = "{\"schema\":\"nolapse.ledger/2\",\"logins\":[\"of another form\"]}";
    home.write(".local/state/nolapse/ledger.json", newer);
    let before = home.files();
    for args in [&["run"][..], &["sync"], &["alert", "ack", "login:claude"], &["refresh"]] {
        let ran = home.run(args);
        let said = format!("{}{}", ran.stdout, ran.stderr);
        assert!(
            ran.code == 3 && said.contains("a newer nolapse wrote this ledger"),
            "{args:?}: {ran:?}"
        );
        // what a pass notes of itself is beside the ledger
        let own = |path: &str| {
            [".lock", "history.jsonl", "passes.json"]
                .iter()
                .any(|end| path.ends_with(end))
        };
        let changed = home
            .files()
            .into_iter()
            .find(|(path, text)| !own(path) && before.get(path) != Some(text));
        assert_eq!(changed, None, "{args:?}");
    }
    assert!(
        home.run(&["status"]).stdout.contains("a newer nolapse"),
        "status says nothing"
    );
}

#[test]
fn a_dry_sync_says_why_a_profile_is_not_changed() {
    let home = Home::new();
    let expires = now() + 8 * HOUR;
    home.login("1", expires);
    for (agent, profiles, says) in [
        (
            "main",
            json!({"anthropic:claude-cli": oauth("1", expires)}),
            "1 profile is up to date",
        ),
        (
            "main",
            json!({"anthropic:claude-cli": {"type": "api_key", "provider": "anthropic", "key": "sk-ant-CANARY"}}),
            "clawdbot/main: anthropic:claude-cli not changed: it holds an API key",
        ),
        (
            "main",
            json!({"anthropic:claude-cli": oauth("7", now() + DAY)}),
            "clawdbot/main: anthropic:claude-cli not changed: its token expires later than the login's",
        ),
        (
            "main",
            json!({}),
            "clawdbot/main: anthropic:claude-cli not changed: it does not exist",
        ),
    ] {
        home.store(agent, profiles);
        home.config("[sync]\ncreate = \"never\"\n");
        let dry = home.run(&["sync", "--dry-run"]);
        assert!(
            dry.stdout.contains(says) && !dry.stdout.contains("would change"),
            "{says}: {dry:?}"
        );
        assert!(!dry.stdout.contains("CANARY"), "{dry:?}");
    }
    home.config("[sync]\nenabled = false\n");
    let dry = home.run(&["sync", "--dry-run"]);
    assert!(!dry.stdout.contains("not changed:"), "{dry:?}");
    home.config("");
    home.write(MAIN, "{");
    let dry = home.run(&["sync", "--dry-run"]);
    assert!(dry.stdout.contains("clawdbot/main not changed: no store"), "{dry:?}");
}

#[test]
fn a_dry_run_writes_nothing_at_all() {
    let home = Home::new();
    home.login("2", now() + 8 * HOUR)
        .store("main", json!({"anthropic:claude-cli": oauth("1", now() - DAY)}));
    let before = home.files();
    for args in [
        &["run", "--dry-run"][..],
        &["sync", "--dry-run"],
        &["status"],
        &["check"],
    ] {
        home.run(args);
        assert_eq!(home.files(), before, "{args:?}");
    }
}
