//! The command line: exit codes, clean JSON, what is said where there is nothing.

use super::home::{DAY, HOUR, Home, NOW, credentials, now, oauth, token};
use serde_json::json;

#[test]
fn wrong_usage_is_three_and_help_is_zero() {
    let home = Home::new();
    for args in [
        &["statsu"][..],
        &["status", "--jsno"],
        &["status", "--at", "yesterday"],
        &[],
        &["--config", "none.toml", "status"],
    ] {
        let ran = home.run(args);
        assert_eq!((ran.code, ran.stdout.as_str()), (3, ""), "{args:?}: {ran:?}");
        assert!(!ran.stderr.is_empty());
    }
    for args in [&["--help"][..], &["--version"], &["help", "run"], &["status", "--help"]] {
        assert_eq!(home.run(args).code, 0, "{args:?}");
    }
    assert!(home.files().is_empty());
}

#[test]
fn exit_codes_are_the_agents_own() {
    let fine = |home: &Home| {
        home.login("1", now() + 8 * HOUR);
    };
    let healthy = Home::new();
    fine(&healthy);
    healthy.store("main", json!({"anthropic:claude-cli": oauth("1", now() + 8 * HOUR)}));
    let expired_work = Home::new();
    fine(&expired_work);
    expired_work.store("main", json!({"anthropic:claude-cli": oauth("1", now() + 8 * HOUR)}));
    expired_work.store("work", json!({"anthropic:claude-cli": oauth("0", now() - DAY)}));
    let soon = Home::new();
    soon.write(
        ".claude/.credentials.json",
        credentials("1", now() + HOUR, Some(now() + 9 * DAY)).to_string(),
    );
    let broken = Home::new();
    fine(&broken);
    broken.write(super::home::MAIN, "{\"version\":1,\"profiles\":{");
    let nothing = Home::new();
    let mut key = Home::new();
    key.env.insert("ANTHROPIC_API_KEY".into(), "k".into());
    for (name, home, code, health) in [
        ("a healthy 8-hour login", &healthy, 0, "ok"),
        ("an expired agent other than main", &expired_work, 1, "expired"),
        ("a deadline in nine days", &soon, 2, "expiring"),
        ("a broken store", &broken, 3, "ok"),
        ("nothing", &nothing, 1, "missing"),
        ("an API key in the environment", &key, 0, "static"),
    ] {
        let checked = home.run(&["check"]);
        assert_eq!(checked.code, code, "{name}: {checked:?}");
        assert_eq!(checked.stdout.is_empty(), code == 0, "{name}: {checked:?}");
        let ran = home.run(&["status", "--json", "--check"]);
        let json: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
        assert_eq!(
            (ran.code, &json["exit"], &json["health"]),
            (code, &json!(code), &json!(health)),
            "{name}"
        );
        assert_eq!(home.run(&["status"]).code, 0, "{name}: a look is no check");
    }
}

#[test]
fn where_there_is_nothing_it_says_where_it_looked_and_what_to_do() {
    let home = Home::new();
    let ran = home.run(&["run"]);
    assert_eq!(ran.code, 1);
    for said in [
        "~/.claude/.credentials.json",
        "~/.clawdbot",
        "~/.openclaw",
        "claude auth login",
        "nolapse demo",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {}", ran.stdout);
    }
    let made: Vec<_> = home
        .files()
        .into_keys()
        .filter(|path| !path.starts_with(".local/state/nolapse/"))
        .collect();
    assert!(made.is_empty(), "{made:?}");
}

#[test]
fn the_json_is_the_documented_object_and_nothing_else() {
    let home = Home::new();
    home.login("1", NOW + 8 * HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("1", NOW + 8 * HOUR)}));
    let at = NOW.to_string();
    let json = home.status(&["--at", &at]);
    let real = home.path().canonicalize().unwrap();
    let keys = |value: &serde_json::Value| value.as_object().unwrap().keys().cloned().collect::<Vec<_>>();
    assert_eq!(
        keys(&json),
        [
            "agents", "exit", "health", "host", "logins", "now", "problems", "schema"
        ]
    );
    let login = &json["logins"][0];
    assert_eq!(
        *login,
        json!({"id": "claude", "dir": home.at(".claude"), "source": "file", "health": "ok", "reason": "renews_itself",
            "access_expires_at": NOW + 8 * HOUR, "login_ends_at": NOW + 8 * HOUR + 20 * DAY, "renews": true,
            "lineage": login["lineage"], "subscription": "max", "shadowed_by": []})
    );
    let agent = &json["agents"][0];
    assert_eq!(
        *agent,
        json!({"family": "clawdbot", "agent": "main", "dir": real.join(".clawdbot/agents/main/agent"),
            "store": {"path": real.join(super::home::MAIN), "format": "json", "writable": true, "why": null},
            "profiles": [{"id": "anthropic:claude-cli", "provider": "anthropic", "type": "token", "clock": "expiring",
                "health": "ok", "reason": "renews_itself", "expires_at": NOW + 8 * HOUR, "login": "claude"}]})
    );
    // the run that syncs prints no JSON before or after it, on any stream that is parsed
    let ran = home.run(&["-vvv", "status", "--json"]);
    serde_json::from_str::<serde_json::Value>(&ran.stdout).unwrap();
}

#[test]
fn the_table_is_readable_without_colour() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR)
        .store("main", json!({"anthropic:claude-cli": token("1", now() + 8 * HOUR)}));
    let ran = home.run(&["status"]);
    assert!(!ran.stdout.contains('\u{1b}'), "no escape codes away from a terminal");
    for said in [
        "claude",
        "ok",
        "renews itself",
        "clawdbot/main",
        "anthropic:claude-cli",
        "in step with claude",
    ] {
        assert!(ran.stdout.contains(said), "{said}:\n{}", ran.stdout);
    }
}

#[test]
fn the_demo_shows_the_whole_job_and_leaves_nothing() {
    let mut home = Home::new();
    home.env.insert("TMPDIR".into(), home.path().display().to_string());
    let ran = home.run(&["demo"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for said in [
        "brought up to date",
        "was logged out",
        "ends in",
        "is broken",
        "stores written: 0, alerts told: 0",
    ] {
        assert!(ran.stdout.contains(said), "{said}:\n{}", ran.stdout);
    }
    assert!(home.files().is_empty());
}

#[test]
fn config_init_check_show_path() {
    let home = Home::new();
    assert_eq!(
        home.run(&["config", "path"]).stdout.trim(),
        home.at(".config/nolapse/config.toml").to_str().unwrap()
    );
    assert!(
        home.run(&["config", "check"])
            .stdout
            .contains("not there, which is fine")
    );
    assert_eq!(home.run(&["config", "init"]).code, 0);
    let made = home.read(".config/nolapse/config.toml");
    assert!(home.run(&["config", "check"]).stdout.contains("valid"));
    let again = home.run(&["config", "init"]);
    assert_eq!(again.code, 3, "{again:?}");
    assert_eq!(home.read(".config/nolapse/config.toml"), made);
    assert!(home.run(&["config", "show"]).stdout.contains("share = \"access\""));
}

#[test]
fn the_log_tells_a_lapse_and_its_recovery() {
    let home = Home::new();
    home.config("[[channel]]\ntype = \"log\"\n");
    let wiped = r#"{"claudeAiOauth":{"accessToken":"","refreshToken":"","expiresAt":0,"scopes":[]}}"#;
    home.write(".claude/.credentials.json", wiped);
    let lapsed = home.run(&["run"]);
    assert!(lapsed.stderr.contains("ERROR"), "{lapsed:?}");
    home.login("1", now() + 7 * HOUR);
    let recovered = home.run(&["run"]);
    assert!(recovered.stderr.contains("is fine again"), "{recovered:?}");
}

/// A directory may be named in any bytes: what cannot be spelled in JSON is replaced, and nothing else is lost by it.
#[test]
fn a_home_whose_name_is_no_text_is_looked_after() {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;
    let outer = Home::new();
    outer.login("1", now() + 8 * HOUR);
    outer.store("main", json!({}));
    let home = outer.path().join(OsStr::from_bytes(b"h\xffme"));
    let real = home.join("real");
    std::fs::create_dir_all(&real).unwrap();
    std::fs::rename(outer.at(".clawdbot"), home.join(".clawdbot")).unwrap();
    std::fs::rename(outer.at(".claude"), home.join(".claude")).unwrap();
    let credentials = home.join(".claude/.credentials.json");
    std::fs::rename(&credentials, real.join("credentials.json")).unwrap();
    std::os::unix::fs::symlink(real.join("credentials.json"), &credentials).unwrap();
    let run = |args: &[&str]| {
        let mut command = outer.command(args);
        command.arg("--home").arg(&home);
        crate::home::Ran::of(command.output().unwrap())
    };
    assert_eq!(run(&["run"]).code, 0);
    let again = run(&["run"]);
    assert_eq!(
        (again.code, again.stderr.as_str()),
        (0, ""),
        "the ledger could not be kept"
    );
    for args in [&["status", "--json"], &["doctor", "--json"]] {
        let ran = run(args);
        let value: serde_json::Value =
            serde_json::from_str(&ran.stdout).unwrap_or_else(|error| panic!("{error}: {ran:?}"));
        assert!(value["schema"].as_str().unwrap().starts_with("nolapse."));
    }
    let status: serde_json::Value = serde_json::from_str(&run(&["status", "--json"]).stdout).unwrap();
    assert!(status["logins"][0]["dir"].as_str().unwrap().contains("h\u{fffd}me"));
    assert_eq!(status["agents"][0]["profiles"][0]["health"], "ok");
}
