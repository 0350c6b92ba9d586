//! Homes as people have them: what is said of each kind, and that every remedy helps.

use super::home::{DAY, HOUR, Home, MAIN, MINUTE, Ran, access, credentials, now, oauth, refresh, token};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

const LOGIN: &str = ".claude/.credentials.json";

/// A setup token, as long as a real one.
pub(super) fn setup() -> String {
    format!("sk-ant-oat01-SETUP-{}AA", "aB3_-".repeat(18))
        .chars()
        .take(106)
        .collect::<String>()
        + "AA"
}

pub(super) fn api_key() -> String {
    format!("sk-ant-api03-KEY-{}", "aB3_-".repeat(19))
        .chars()
        .take(108)
        .collect()
}

pub(super) fn pasted(text: &str) -> Value {
    json!({"type": "token", "provider": "anthropic", "token": text})
}

fn key(text: &str) -> Value {
    json!({"type": "api_key", "provider": "anthropic", "key": text})
}

/// A home in which nothing is renewed, and all alerts go to a file.
pub(super) fn quiet() -> Home {
    let home = Home::new();
    home.config(&format!(
        "[renew]\nmode = \"off\"\n[[channel]]\ntype = \"command\"\ncommand = [\"{}\"]\nmin_severity = \"info\"\n",
        hook(&home)
    ));
    home
}

fn hook(home: &Home) -> String {
    let told = home.at("told");
    std::fs::create_dir_all(&told).unwrap();
    let path = home.write(
        "hook",
        format!("#!/bin/sh\ncat > \"$(mktemp '{}/XXXXXX')\"\n", told.display()),
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).unwrap();
    path.display().to_string()
}

/// What fires after a pass, the worst first.
fn firing(home: &Home) -> Vec<Value> {
    fired(home, || drop(home.run(&["run"])))
}

/// What fires in what makes a pass.
fn fired(home: &Home, pass: impl FnOnce()) -> Vec<Value> {
    for file in std::fs::read_dir(home.at("told")).unwrap().flatten() {
        std::fs::remove_file(file.path()).unwrap();
    }
    let _ = std::fs::remove_dir_all(home.at(".local/state/nolapse"));
    pass();
    let files = std::fs::read_dir(home.at("told")).unwrap().flatten();
    let mut events: Vec<Value> = files
        .map(|file| serde_json::from_str(&std::fs::read_to_string(file.path()).unwrap()).unwrap())
        .filter(|event: &Value| event["status"] == "firing")
        .collect();
    let rank = |event: &Value| {
        ["critical", "warning", "info"]
            .iter()
            .position(|word| event["severity"] == *word)
    };
    events.sort_by_key(|event| (rank(event), event["alert_id"].to_string()));
    events
}

fn text(event: &Value) -> String {
    format!("{} {}", event["title"], event["message"])
}

pub(super) fn store(home: &Home, state: &str, agent: &str, value: &Value) {
    let path = format!("{state}/agents/{agent}/agent/auth-profiles.json");
    home.write(&path, serde_json::to_string_pretty(value).unwrap() + "\n");
}

pub(super) fn config(home: &Home, value: &Value) {
    home.write(".clawdbot/clawdbot.json", value.to_string());
}

fn provider(home: &Home) -> Value {
    home.status(&[])["agents"][0]["providers"][0].clone()
}

/// An `oauth` entry with this as its access token, good for hours by its clock.
fn oauth_of(access: &str) -> Value {
    let mut entry = oauth("9", now() + 6 * HOUR);
    entry["access"] = access.into();
    entry
}

/// What is no token is `missing`, and said with what it looks like; it never counts as something that works.
#[test]
fn what_is_no_token_never_counts_as_one() {
    let whole = setup();
    for (entry, looks_like) in [
        (pasted(&whole[..80]), "cut"),
        (pasted(&format!("{}\n{}", &whole[..79], &whole[79..])), "broken"),
        (pasted(&format!("\"{whole}\"")), "quoted"),
        (pasted("${CLAUDE_CODE_OAUTH_TOKEN}"), "placeholder"),
        (pasted("aBcDeF#sTaTe"), "code"),
        (pasted("sk-ant-oat01-..."), "example"),
        (pasted(&api_key()), "api_key"),
        (pasted(&refresh("1")), "refresh_token"),
        (pasted("  "), "empty"),
        (oauth_of(&refresh("9")), "refresh_token"),
        (oauth_of("${TOKEN}"), "placeholder"),
        (key(&whole), "token"),
        (key("${ANTHROPIC_API_KEY}"), "placeholder"),
        (key(""), "empty"),
    ] {
        let home = quiet();
        home.store("main", json!({"anthropic:manual": entry}));
        let status = home.status(&[]);
        let profile = &status["agents"][0]["profiles"][0];
        assert_eq!(
            (&profile["health"], &profile["reason"], &profile["looks_like"]),
            (&json!("missing"), &json!("no_token"), &json!(looks_like)),
            "{looks_like}"
        );
        assert_eq!(status["agents"][0]["providers"][0]["uses"], Value::Null, "{looks_like}");
        assert_eq!(home.run(&["check"]).code, 1, "{looks_like}");
        let events = firing(&home);
        assert_eq!(
            (events.len(), &events[0]["severity"]),
            (1, &json!("critical")),
            "{looks_like}: {events:?}"
        );
        // beside an ended token it stands in for nothing
        home.store(
            "main",
            json!({"anthropic:manual": entry, "anthropic:old": token("9", now() - HOUR)}),
        );
        let critical: Vec<Value> = firing(&home)
            .into_iter()
            .filter(|one| one["severity"] == "critical")
            .collect();
        assert_eq!(critical.len(), 1, "{looks_like}: {critical:?}");
        assert!(text(&critical[0]).contains("anthropic:old"), "{critical:?}");
    }
}

#[test]
fn an_end_that_was_written_by_hand_is_none() {
    let home = quiet();
    let mut entry = pasted(&setup());
    entry["expires"] = 9_999_999_999_999_i64.into();
    home.store("main", json!({"anthropic:manual": entry}));
    let profile = &home.status(&[])["agents"][0]["profiles"][0];
    assert_eq!(
        (&profile["health"], &profile["reason"]),
        (&json!("static"), &json!("issue_date_unknown"))
    );
}

/// An agent that has nothing usable has stopped, whatever else lies in its store.
#[test]
fn what_an_agent_uses_is_resolved_as_it_does() {
    let (good, ended) = (pasted(&setup()), token("9", now() - HOUR));
    let two = json!({"anthropic:default": ended, "anthropic:good": good});
    let order = json!({"anthropic": ["anthropic:default"]});
    for (name, profiles, stored, configured, uses, kind) in [
        (
            "all",
            two.clone(),
            json!({}),
            json!({}),
            json!("anthropic:good"),
            "no_refresh_token",
        ),
        (
            "stored order",
            two.clone(),
            order.clone(),
            json!({}),
            Value::Null,
            "not_in_order",
        ),
        (
            "configured order",
            two.clone(),
            json!({}),
            json!({"order": order}),
            Value::Null,
            "not_in_order",
        ),
        (
            "the stored one counts",
            two.clone(),
            json!({"Anthropic": [" anthropic:good "]}),
            json!({"order": order}),
            json!("anthropic:good"),
            "no_refresh_token",
        ),
        (
            "mode",
            json!({"anthropic:good": good}),
            json!({}),
            json!({"profiles": {"anthropic:good": {"provider": "anthropic", "mode": "api_key"}}}),
            Value::Null,
            "mode_refused",
        ),
        (
            "a key under a token's mode",
            json!({"anthropic:good": key(&api_key())}),
            json!({}),
            json!({"profiles": {"anthropic:good": {"provider": "anthropic", "mode": "token"}}}),
            Value::Null,
            "key_refused",
        ),
    ] {
        let home = quiet();
        store(
            &home,
            ".clawdbot",
            "main",
            &json!({"version": 1, "profiles": profiles, "order": stored}),
        );
        config(&home, &json!({"auth": configured}));
        let provider = provider(&home);
        assert_eq!(provider["uses"], uses, "{name}: {provider}");
        let events = firing(&home);
        let loudest = events.iter().find(|one| one["severity"] == "critical");
        match uses.is_null() {
            true => assert_eq!(loudest.expect(name)["kind"], kind, "{name}"),
            false => assert!(
                loudest.is_none() && events.iter().all(|one| one["kind"] == kind),
                "{name}: {events:?}"
            ),
        }
    }
}

#[test]
fn what_an_agent_holds_back_is_said_with_its_end() {
    let home = quiet();
    let stats = json!({"anthropic:good": {"disabledUntil": now() + 5 * HOUR, "disabledReason": "billing"}});
    let profiles = json!({"anthropic:good": pasted(&setup())});
    store(
        &home,
        ".clawdbot",
        "main",
        &json!({"version": 1, "profiles": profiles, "usageStats": stats}),
    );
    let provider = provider(&home);
    assert_eq!(provider["uses"], Value::Null);
    assert_eq!(provider["held_back_until"], stats["anthropic:good"]["disabledUntil"]);
    let event = &firing(&home)[0];
    assert_eq!(event["kind"], "held_back");
    assert!(
        text(event).contains("until: ") && text(event).contains("(in 5 h)"),
        "{event}"
    );
    assert!(text(event).contains("pay or raise the limit"), "{event}");
    assert!(
        home.run(&["status"])
            .stdout
            .contains("held back by its agent (billing)")
    );
    // for a moment it is nobody's business
    let stats = json!({"anthropic:good": {"cooldownUntil": now() + 5 * MINUTE}});
    store(
        &home,
        ".clawdbot",
        "main",
        &json!({"version": 1, "profiles": profiles, "usageStats": stats}),
    );
    assert!(firing(&home).is_empty());
}

/// Where the store has nothing, a key elsewhere serves.
#[test]
fn a_key_outside_the_store_serves() {
    for (dotenv, agents, uses) in [
        (
            format!("ANTHROPIC_API_KEY={}\n", api_key()),
            json!({}),
            json!("dotenv:ANTHROPIC_API_KEY"),
        ),
        (
            String::new(),
            json!({"env": {"ANTHROPIC_API_KEY": api_key()}}),
            json!("config_env:ANTHROPIC_API_KEY"),
        ),
        (
            String::new(),
            json!({"env": {"vars": {"ANTHROPIC_OAUTH_TOKEN": setup()}}}),
            json!("config_env:ANTHROPIC_OAUTH_TOKEN"),
        ),
        (
            String::new(),
            json!({"models": {"providers": {"anthropic": {"apiKey": api_key()}}}}),
            json!("config_models"),
        ),
        ("ANTHROPIC_API_KEY=\n".into(), json!({}), Value::Null),
        ("ANTHROPIC_API_KEY=sk-ant-api03-xxxx\n".into(), json!({}), Value::Null),
    ] {
        let home = quiet();
        home.store("main", json!({"anthropic:manual": token("9", now() - HOUR)}));
        home.write(".clawdbot/.env", &dotenv);
        config(&home, &agents);
        assert_eq!(provider(&home)["uses"], uses, "{dotenv}{agents}");
        let severity = if uses.is_null() { "critical" } else { "info" };
        assert_eq!(firing(&home)[0]["severity"], severity, "{dotenv}{agents}");
    }
}

#[test]
fn a_sub_agent_has_what_the_main_one_has() {
    let home = quiet();
    home.store("main", json!({"anthropic:good": pasted(&setup())}));
    home.store("ops", json!({}));
    let status = home.status(&[]);
    assert_eq!(status["agents"][1]["providers"][0]["uses"], "anthropic:good");
    assert!(firing(&home).is_empty());
}

/// What stopped the main agent and stops those that have nothing of their own is one alert, and its remedy helps all.
#[test]
fn an_order_that_is_inherited_is_one_alert() {
    let home = quiet();
    let profiles = json!({"anthropic:good": pasted(&setup())});
    store(
        &home,
        ".clawdbot",
        "main",
        &json!({"version": 1, "profiles": profiles, "order": {"anthropic": ["anthropic:gone"]}}),
    );
    home.store("kate", json!({}));
    let events = firing(&home);
    assert_eq!(events.len(), 1, "{events:?}");
    assert_eq!(events[0]["alert_id"], "agent:clawdbot/main#anthropic");
    let affected: Vec<&Value> = events[0]["affected"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["agent"])
        .collect();
    assert_eq!(affected, ["main", "kate"]);
    run_as_a_person(&home, events[0]["commands"][0].as_str().unwrap());
    assert!(firing(&home).is_empty());
}

/// A file of this user's that its mode keeps this user from is opened again, and nobody signs in anew.
#[test]
fn a_file_that_its_mode_hides_is_opened_again() {
    for file in [".claude/.credentials.json", MAIN] {
        let home = quiet();
        home.login("1", now() + 8 * HOUR);
        home.store("main", json!({"anthropic:claude-cli": token("1", now() + 8 * HOUR)}));
        std::fs::set_permissions(home.at(file), std::fs::Permissions::from_mode(0o000)).unwrap();
        super::root::give(home.path());
        let events = firing(&home);
        assert_eq!(
            (events.len(), &events[0]["kind"]),
            (1, &json!("not_readable")),
            "{file}: {events:?}"
        );
        let command = events[0]["commands"][0].as_str().unwrap();
        assert_eq!(command, format!("chmod u+rw ~/{file}"));
        run_as_a_person(&home, command);
        assert!(firing(&home).is_empty(), "{file}");
    }
}

/// Where a store cannot be written that is said before anybody tries, and no sync is offered.
#[test]
fn a_store_that_cannot_be_written_is_said() {
    let home = quiet();
    home.login("1", now() + 8 * HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("1", now() - HOUR)}));
    let dir = home.at(MAIN).parent().unwrap().to_owned();
    std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o500)).unwrap();
    super::root::give(home.path());
    let status = home.run(&["status"]).stdout;
    assert!(status.contains("not written: it cannot be written"), "{status}");
    let events = firing(&home);
    assert_eq!(
        (events.len(), &events[0]["severity"]),
        (1, &json!("critical")),
        "{events:?}"
    );
    let command = events[0]["commands"][0].as_str().unwrap();
    assert_eq!(command, "chmod u+wx ~/.clawdbot/agents/main/agent");
    assert!(text(&events[0]).contains("the store is not written"), "{events:?}");
}

/// A command in a mount namespace of its own, after `setup`; nothing of it is left on this host.
fn apart(home: &Home, setup: &str, args: &[&str]) -> Ran {
    // who is not root may mount once they are root in a user namespace, and are themselves again in another
    let (uid, gid) = (rustix::process::geteuid(), rustix::process::getegid());
    let (namespaces, again): (&[&str], String) = match uid.is_root() {
        true => (&["--mount"], String::new()),
        false => (
            &["--map-root-user", "--mount"],
            format!("unshare --map-user={uid} --map-group={gid} "),
        ),
    };
    let mut unshare = Command::new("unshare");
    unshare
        .args(namespaces)
        .args(["--propagation", "private", "sh", "-c"])
        .arg(format!("set -e\n{setup}\nexec {again}\"$@\""))
        .arg("sh");
    let ran = Ran::of(home.under(unshare, args).output().unwrap());
    assert!(
        (0..=3).contains(&ran.code) && !ran.stderr.contains("unshare:"),
        "{setup}: {ran:?}"
    );
    ran
}

/// What is mounted read-only or marked is said with the command that shows or opens it; then the pass after it writes.
#[test]
fn a_store_on_a_read_only_mount_or_with_a_mark_is_said_and_written_once_it_is_open() {
    const FILE: &str = "~/.clawdbot/agents/main/agent/auth-profiles.json";
    const DIR: &str = "~/.clawdbot/agents/main/agent";
    let mount = |at: &str| format!("mount --bind {at} {at}\nmount -o remount,bind,ro {at}");
    let root = rustix::process::geteuid().is_root();
    let mut tried = 0;
    for (mounted, mark, at, says, command) in [
        (true, "", FILE, "is mounted read-only", format!("findmnt -T {FILE}")),
        (true, "", DIR, "mounted read-only", format!("findmnt -T {FILE}")),
        (
            false,
            "i",
            FILE,
            "is marked immutable",
            format!("sudo chattr -i {FILE}"),
        ),
        (
            false,
            "a",
            FILE,
            "is marked append-only",
            format!("sudo chattr -a {FILE}"),
        ),
        (
            false,
            "i",
            DIR,
            "is marked immutable or append-only",
            format!("sudo chattr -ia {DIR}"),
        ),
    ] {
        if !mounted && !root {
            eprintln!("NOT TRIED: only root may set the mark `{mark}`");
            continue;
        }
        tried += 1;
        let home = quiet();
        home.login("1", now() + 8 * HOUR);
        home.store("main", json!({"anthropic:claude-cli": token("1", now() - HOUR)}));
        let before = home.read(MAIN);
        let setup = if mounted {
            mount(at)
        } else {
            format!("chattr +{mark} {at}")
        };
        if !mounted {
            let ran = run_as_a_person(&home, &setup);
            assert_eq!(ran.code, 0, "{setup}: {ran:?}");
        }
        let within = if mounted { setup.as_str() } else { "" };
        let events = fired(&home, || drop(apart(&home, within, &["run"])));
        let undo = || run_as_a_person(&home, &format!("chattr -ia {FILE} {DIR}"));
        let status = apart(&home, within, &["status"]).stdout;
        let unchanged = home.read(MAIN) == before;
        // the mark goes before anything can fail, or the home could not be removed
        let opened = if mounted {
            None
        } else {
            let remedy = events
                .first()
                .map(|event| event["commands"][0].as_str().unwrap().replace("sudo ", ""));
            let ran = remedy.map(|remedy| run_as_a_person(&home, &remedy));
            let written = home.run(&["run"]);
            undo();
            ran.map(|ran| (ran, written))
        };
        assert_eq!(
            (events.len(), &events[0]["severity"]),
            (1, &json!("critical")),
            "{setup}: {events:?}"
        );
        assert!(
            text(&events[0]).contains(says) && status.contains(says),
            "{setup}: {events:?}\n{status}"
        );
        let commands: Vec<&str> = events[0]["commands"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| one.as_str().unwrap())
            .collect();
        assert_eq!(commands[0], command, "{setup}");
        assert!(!commands.contains(&"nolapse sync"), "{setup}: {commands:?}");
        assert!(unchanged, "{setup}");
        if let Some((ran, written)) = opened {
            assert_eq!((ran.code, written.code), (0, 0), "{setup}: {ran:?} {written:?}");
        }
        assert!(firing(&home).is_empty(), "{setup}");
        assert_eq!(
            home.json(MAIN)["profiles"]["anthropic:claude-cli"]["expires"],
            home.json(LOGIN)["claudeAiOauth"]["expiresAt"]
        );
    }
    assert!(tried >= 2);
}

/// A file that a container was given by itself cannot be renamed onto: it is written in its place, whole.
#[test]
fn a_store_that_is_a_mount_by_itself_is_written_in_place() {
    use std::os::unix::fs::MetadataExt;
    let home = quiet();
    home.login("1", now() + 8 * HOUR);
    home.store(
        "main",
        json!({"anthropic:claude-cli": token("1", now() - HOUR), "x": {"type": "later", "n": 1}}),
    );
    let text = home.read(MAIN);
    // longer than what will be there: nothing of it may be left behind
    home.write("host.json", format!("{text}{}", " ".repeat(4000)));
    let inode = std::fs::metadata(home.at("host.json")).unwrap().ino();
    let ran = apart(&home, &format!("mount --bind ~/host.json ~/{MAIN}"), &["sync"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let store = home.json("host.json");
    assert_eq!(
        store["profiles"]["anthropic:claude-cli"]["expires"],
        home.json(LOGIN)["claudeAiOauth"]["expiresAt"]
    );
    assert_eq!(store["profiles"]["x"], json!({"type": "later", "n": 1}));
    assert_eq!(std::fs::metadata(home.at("host.json")).unwrap().ino(), inode);
    // what it covers is as it was, and nothing is left beside it
    assert_eq!(home.read(MAIN), text);
    let dir = home.at(MAIN).parent().unwrap().to_owned();
    let beside: Vec<_> = std::fs::read_dir(dir)
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(beside, ["auth-profiles.json"]);
}

/// What an administrator's settings put before a login is named with their file, which `/etc` alone may hold.
#[test]
fn what_managed_settings_put_before_a_login_is_named() {
    const FILE: &str = "/etc/claude-code/managed-settings.json";
    for (settings, named) in [
        (r#"{"env":{"CLAUDE_CODE_SIMPLE":"1"}}"#, Some("CLAUDE_CODE_SIMPLE")),
        (
            r#"{"env":{"ANTHROPIC_BASE_URL":"http://127.0.0.1:9"}}"#,
            Some("ANTHROPIC_BASE_URL"),
        ),
        (r#"{"apiKeyHelper":"/opt/key"}"#, Some("apiKeyHelper")),
        (
            "\u{feff}{\"env\":{\"ANTHROPIC_AUTH_TOKEN\":\"x\"}}",
            Some("ANTHROPIC_AUTH_TOKEN"),
        ),
        (r#"{"env":{"CLAUDE_CODE_SIMPLE":"0"}}"#, None),
        // Claude Code does not read a comment
        ("// ours\n{\"apiKeyHelper\":\"/opt/key\"}", None),
    ] {
        let home = quiet();
        home.login("1", now() + 8 * HOUR);
        home.write("managed", settings);
        let setup = format!("mount -t tmpfs tmpfs /etc\nmkdir /etc/claude-code\ncp managed {FILE}");
        let status = apart(&home, &setup, &["status"]).stdout;
        match named {
            Some(name) => assert!(status.contains(&format!("{name} in {FILE}")), "{settings}: {status}"),
            None => assert!(!status.contains(FILE), "{settings}: {status}"),
        }
        // the user's own say it as well
        home.write(".claude/settings.json", settings);
        let status = home.run(&["status"]).stdout;
        assert_eq!(
            status.contains("in settings.json"),
            named.is_some(),
            "{settings}: {status}"
        );
    }
}

/// A token in Claude Code's settings is used before a login that was wiped; one that is none is no reason for silence.
#[test]
fn a_token_in_the_settings_replaces_a_login() {
    let token = |text: &str| json!({"env": {"CLAUDE_CODE_OAUTH_TOKEN": text}});
    for (settings, rings) in [
        (token(&setup()), false),
        (token(&setup()[..70]), true),
        (json!({"env": {"CLAUDE_CODE_USE_BEDROCK": 1}}), false),
        (json!({"env": {"CLAUDE_CODE_USE_BEDROCK": "0"}}), true),
        (json!({"apiKeyHelper": "/usr/local/bin/key"}), false),
    ] {
        let home = quiet();
        let mut blank = credentials("1", 0, None);
        for key in ["accessToken", "refreshToken"] {
            blank["claudeAiOauth"][key] = "".into();
        }
        home.write(".claude/.credentials.json", blank.to_string());
        home.write(".claude/settings.json", settings.to_string());
        let loud = firing(&home).iter().any(|one| one["severity"] == "critical");
        assert_eq!((loud, home.run(&["check"]).code != 0), (rings, rings));
    }
}

/// A placeholder in Claude Code's own file is no login.
#[test]
fn what_is_no_token_is_no_login() {
    let home = quiet();
    let mut file = credentials("1", now() + 8 * HOUR, None);
    file["claudeAiOauth"]["accessToken"] = "${TOKEN}".into();
    home.write(".claude/.credentials.json", file.to_string());
    let login = &home.status(&[])["logins"][0];
    assert_eq!(
        (&login["health"], &login["reason"]),
        (&json!("missing"), &json!("no_token"))
    );
    assert_eq!(home.run(&["check"]).code, 1);
}

/// The fields of a login without `claudeAiOauth` around them are none, and that is said.
#[test]
fn tokens_in_the_wrong_place_of_a_credentials_file_are_said() {
    let whole = credentials("1", now() + 8 * HOUR, None);
    for (text, said) in [
        (whole["claudeAiOauth"].to_string(), true),
        (json!({"claude_ai_oauth": whole["claudeAiOauth"]}).to_string(), true),
        (json!({"mcpOAuth": {"x": {"accessToken": "t"}}}).to_string(), false),
    ] {
        let home = quiet();
        home.write(".claude/.credentials.json", &text);
        let status = home.run(&["status"]).stdout;
        assert_eq!(status.contains("stand outside `claudeAiOauth`"), said, "{status}");
        assert_eq!(firing(&home).len(), usize::from(said), "{text}");
    }
}

/// What agents are configured to do and nolapse may not read is named with what opens it.
#[test]
fn an_agents_config_that_cannot_be_read_is_opened_again() {
    let home = quiet();
    home.store("main", json!({"anthropic:good": pasted(&setup())}));
    config(&home, &json!({}));
    let path = home.at(".clawdbot/clawdbot.json");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
    super::root::give(home.path());
    let hint = |home: &Home| {
        let problems = home.status(&[])["problems"].clone();
        let all = problems.as_array().unwrap().iter();
        let mut ours = all.filter(|one| one["kind"] == "agent_config_malformed");
        ours.next().map(|one| one["hint"].as_str().unwrap().to_owned())
    };
    let said = hint(&home).unwrap();
    assert!(
        said.starts_with("run `chmod u+rw ") && said.contains("clawdbot.json"),
        "{said}"
    );
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(hint(&home), None);
    if rustix::process::geteuid().is_root() {
        std::os::unix::fs::lchown(&path, Some(0), Some(0)).unwrap();
        let said = hint(&home).unwrap();
        assert!(said.starts_with("run `sudo chown -R "), "{said}");
    }
}

#[test]
fn references_are_named_and_their_known_end_counts() {
    let mut home = quiet();
    let reference = json!({"source": "env", "provider": "default", "id": "CLAUDE_TOKEN"});
    home.write(
        ".openclaw/openclaw.json",
        r#"{"meta":{"lastTouchedVersion":"2026.5.12"}}"#,
    );
    let entry = json!({"type": "token", "provider": "anthropic", "tokenRef": reference});
    store(
        &home,
        ".openclaw",
        "main",
        &json!({"version": 1, "profiles": {"anthropic:manual": entry}}),
    );
    let profile = home.status(&[])["agents"][0]["profiles"][0].clone();
    assert_eq!(
        (&profile["health"], &profile["reference"]),
        (&json!("referenced"), &json!("env CLAUDE_TOKEN"))
    );
    assert_eq!(home.run(&["check"]).code, 0);
    // its token's issue is on record, and it ends in a long time, and in two days
    home.env.insert("CLAUDE_TOKEN".into(), setup());
    for (days, health) in [(65, "referenced"), (363, "expiring")] {
        let issued = (now() - days * DAY).to_string();
        let ran = home.run_with(
            &["token", "add", "--remember-only", "--issued", &issued],
            setup().as_bytes(),
        );
        assert_eq!(ran.code, 0, "{ran:?}");
        assert_eq!(home.status(&[])["agents"][0]["profiles"][0]["health"], health);
    }
}

/// Entries that an agent does not read are said, and nothing is written over them.
#[test]
fn entries_that_agents_ignore_are_said() {
    for (value, why) in [
        (
            json!({"anthropic:default": pasted(&setup())}),
            "stands outside `profiles`",
        ),
        (
            json!({"proxy": {"apiKey": "k", "baseUrl": "http://10.0.0.1"}}),
            "stands outside `profiles`",
        ),
        (
            json!({"profiles": {"a:b": {"mode": "token", "provider": "anthropic", "token": setup()}}}),
            "has no `type`",
        ),
        (
            json!({"profiles": {"a:b": {"type": "apiKey", "provider": "anthropic", "key": "k"}}}),
            "do not know",
        ),
        (
            json!({"profiles": {"a:b": {"type": "api_key", "provider": "anthropic", "apiKey": api_key()}}}),
            "`apiKey` where agents read `key`",
        ),
        (
            json!({"profiles": {"a:b": {"type": "oauth", "provider": "anthropic", "accessToken": access("9"), "refreshToken": refresh("9")}}}),
            "`accessToken` where agents read `access`",
        ),
        (
            json!({"profiles": {"a:b": {"type": "token", "token": setup()}}}),
            "has no `provider`",
        ),
    ] {
        let home = quiet();
        home.login("1", now() + 8 * HOUR);
        home.write(
            ".openclaw/openclaw.json",
            r#"{"meta":{"lastTouchedVersion":"2026.4.25"}}"#,
        );
        store(&home, ".openclaw", "main", &value);
        let before = home.read(".openclaw/agents/main/agent/auth-profiles.json");
        let ran = home.run(&["status"]);
        assert!(
            ran.stdout.contains("1 entry that the agent ignores") && ran.stdout.contains(why),
            "{why}: {ran:?}"
        );
        let events = firing(&home);
        // one cause, one alert
        assert_eq!(
            (events.len(), &events[0]["severity"]),
            (1, &json!("critical")),
            "{why}: {events:?}"
        );
        assert!(text(&events[0]).contains(why), "{events:?}");
        assert_eq!(
            home.read(".openclaw/agents/main/agent/auth-profiles.json"),
            before,
            "{why}"
        );
    }
}

#[test]
fn stores_in_the_wrong_place_are_named() {
    for (place, named) in [
        (
            ".clawdbot/agents/main/auth-profiles.json",
            "~/.clawdbot/agents/main/auth-profiles.json",
        ),
        (".clawdbot/auth-profiles.json", "~/.clawdbot/auth-profiles.json"),
        (".moltbot/agents/main/agent/auth-profiles.json", "~/.moltbot"),
    ] {
        let home = quiet();
        home.write(".clawdbot/clawdbot.json", "{}");
        home.write(
            place,
            json!({"version": 1, "profiles": {"anthropic:manual": pasted(&setup())}}).to_string(),
        );
        let ran = home.run(&["status"]);
        assert!(
            ran.stdout.contains(named) && ran.stdout.contains("that no agent reads"),
            "{place}: {ran:?}"
        );
    }
}

#[test]
fn what_keeps_claude_code_from_its_login_is_named() {
    for (settings, env, named) in [
        (
            r#"{"env":{"CLAUDE_CODE_SIMPLE":"1"}}"#,
            None,
            "CLAUDE_CODE_SIMPLE in settings.json",
        ),
        (
            r#"{"env":{"ANTHROPIC_BASE_URL":"http://127.0.0.1:9"}}"#,
            None,
            "ANTHROPIC_BASE_URL in settings.json",
        ),
        ("{}", Some(("CLAUDE_CODE_SIMPLE", "1")), "CLAUDE_CODE_SIMPLE"),
        (
            "{}",
            Some(("CLAUDE_CONFIG_DIR", "~/.claude-work")),
            "tilde not expanded",
        ),
        (
            "{}",
            Some(("CLAUDE_CONFIG_DIR", "$HOME/.claude-work")),
            "variable not expanded",
        ),
        ("{}", Some(("CLAUDE_CONFIG_DIR", "work")), "`CLAUDE_CONFIG_DIR` is set"),
    ] {
        let mut home = quiet();
        home.login("1", now() + 8 * HOUR);
        home.write(".claude/settings.json", settings);
        home.env
            .extend(env.map(|(name, value)| (name.to_owned(), value.to_owned())));
        let ran = home.run(&["status"]);
        assert!(ran.stdout.contains(named), "{named}: {ran:?}");
    }
}

#[test]
fn a_login_that_a_good_token_replaces_is_no_alarm() {
    let mut home = quiet();
    let mut blank = credentials("1", 0, None);
    for key in ["accessToken", "refreshToken"] {
        blank["claudeAiOauth"][key] = "".into();
    }
    home.write(".claude/.credentials.json", blank.to_string());
    home.env.insert("CLAUDE_CODE_OAUTH_TOKEN".into(), setup());
    assert!(firing(&home).iter().all(|one| one["severity"] == "info"));
    assert_eq!(home.run(&["check"]).code, 0);
    let doctor = home.run(&["doctor"]).stdout;
    assert!(!doctor.contains("unset CLAUDE_CODE_OAUTH_TOKEN"), "{doctor}");
    // one that is broken replaces nothing
    home.env.insert(
        "CLAUDE_CODE_OAUTH_TOKEN".into(),
        format!("{}\n{}", &setup()[..79], &setup()[79..]),
    );
    assert!(firing(&home).iter().any(|one| one["severity"] == "critical"));
}

/// The tokens of a login that is there and not configured: what to configure is offered, and then helps.
#[test]
fn a_team_home_is_offered_its_logins() {
    let home = quiet();
    let text = credentials("alice", now() + 8 * HOUR, Some(now() + 20 * DAY)).to_string();
    home.write(".claude-alice/.credentials.json", text);
    let mut copy = oauth("alice", now() - HOUR);
    copy["access"] = access("old").into();
    copy.as_object_mut().unwrap().remove("refresh");
    copy["refresh"] = refresh("alice").into();
    let mut stale = token("x", now() - HOUR);
    stale["token"] = access("alice").into();
    home.store("alice", json!({"anthropic:claude-cli": stale}));
    config(&home, &json!({"agents": {"list": [{"id": "alice"}]}}));
    let events = firing(&home);
    let event = events
        .iter()
        .find(|one| one["kind"] == "login_not_configured")
        .expect("an offer");
    assert_eq!(event["severity"], "warning");
    let command = event["commands"][0].as_str().unwrap();
    assert!(
        command.contains("~/.claude-alice") && command.contains("clawdbot/alice"),
        "{command}"
    );
    run_as_a_person(&home, command);
    assert!(
        home.run(&["config", "check"]).code == 0,
        "{}",
        home.read(".config/nolapse/config.toml")
    );
    assert!(firing(&home).is_empty());
    assert_eq!(
        home.json(".clawdbot/agents/alice/agent/auth-profiles.json")["profiles"]["anthropic:claude-cli"]["token"],
        access("alice")
    );
}

/// Runs a command of an alert in a shell, with nolapse on the PATH.
fn run_as_a_person(home: &Home, command: &str) -> Ran {
    let bin = std::path::Path::new(env!("CARGO_BIN_EXE_nolapse")).parent().unwrap();
    let shell = Command::new("sh")
        .args(["-c", command])
        .env_clear()
        .env("HOME", home.path())
        .env("PATH", format!("{}:/usr/bin:/bin", bin.display()))
        .current_dir(home.path())
        .output()
        .unwrap();
    Ran::of(shell)
}

/// A byte order mark goes, and every key that was in the file stays.
#[test]
fn a_byte_order_mark_is_taken_away_and_nothing_else() {
    let home = quiet();
    let login = credentials("1", now() + 8 * HOUR, Some(now() + 20 * DAY)).to_string();
    let entries = json!({"version": 1, "profiles": {"anthropic:manual": pasted(&setup())}}).to_string();
    home.write(".claude/.credentials.json", format!("\u{feff}{login}"));
    home.write(MAIN, format!("\u{feff}{entries}"));
    assert_eq!(home.status(&[])["logins"][0]["health"], "missing");
    let events = firing(&home);
    assert_eq!(events.len(), 2, "{events:?}");
    for event in &events {
        assert_eq!(event["kind"], "byte_order_mark");
        let ran = run_as_a_person(&home, event["commands"][0].as_str().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
    }
    assert_eq!(home.read(".claude/.credentials.json"), login);
    assert_eq!(home.read(MAIN).trim_end(), entries);
    assert!(firing(&home).is_empty());
}

/// What a new token is given to is given it, in the store of the agent that lacks it.
#[test]
fn a_new_token_reaches_the_agent_that_lacks_it() {
    let flat = json!({"anthropic:default": pasted(&setup())});
    let bad_key = json!({"version": 1, "profiles": {"anthropic:default": key("YOUR_API_KEY")}});
    let unnamed = json!({"version": 1, "profiles": {"anthropic:default": {"type": "pat", "provider": "anthropic", "token": setup()}}});
    let ended = json!({"version": 1, "profiles": {"anthropic:manual": token("9", now() - HOUR)}});
    for (name, state, agent, value, secret) in [
        ("ended, another agent", ".openclaw", "ops", ended.clone(), setup()),
        (
            "ended, another state directory",
            ".openclaw-work",
            "main",
            ended,
            setup(),
        ),
        ("no key", ".openclaw", "main", bad_key, api_key()),
        ("outside", ".openclaw", "ops", flat, setup()),
        ("a type of its own", ".openclaw", "main", unnamed, setup()),
    ] {
        let home = quiet();
        home.write(
            &format!("{state}/openclaw.json"),
            json!({"meta": {"lastTouchedVersion": "2026.4.25"}, "agents": {"list": [{"id": agent}]}}).to_string(),
        );
        store(&home, state, agent, &value);
        let before = firing(&home);
        assert_eq!(
            (before.len(), &before[0]["severity"]),
            (1, &json!("critical")),
            "{name}: {before:?}"
        );
        let secret = home.write("secret", secret + "\n");
        for command in before[0]["commands"].as_array().unwrap() {
            let command = command.as_str().unwrap();
            // making a token is a person's act
            if command != "claude setup-token" {
                let ran = run_as_a_person(&home, &format!("{command} < {}", secret.display()));
                assert_eq!(ran.code, 0, "{name}: {command}: {ran:?}");
            }
        }
        let after = firing(&home);
        assert!(
            after
                .iter()
                .all(|one| one["alert_id"] != before[0]["alert_id"] && one["severity"] != "critical"),
            "{name}: {after:?}"
        );
    }
}

/// With renewal switched off nothing brings a copy up to date whose login has ended too: the remedy is to use Claude Code.
#[test]
fn nothing_is_promised_that_a_sync_cannot_do() {
    let home = quiet();
    home.login("1", now() - HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("1", now() - HOUR)}));
    let events = firing(&home);
    let command = events[0]["commands"][0].as_str().unwrap();
    assert!(command.starts_with("claude -p /cost"), "{events:?}");
}

/// A profile is made where the agent itself would make it, and kept up to date everywhere.
#[test]
fn profiles_are_made_as_the_agents_do() {
    for (product, version, setting, made) in [
        ("clawdbot", "2026.1.24-3", "", true),
        ("clawdbot", "2026.1.24-3", "create = \"never\"", false),
        ("openclaw", "2026.3.2", "", false),
        ("openclaw", "2026.3.2", "create = \"always\"", true),
    ] {
        let home = Home::new();
        home.config(&format!("[sync]\n{setting}\n[renew]\nmode = \"off\"\n"));
        home.login("1", now() + 8 * HOUR);
        home.write(
            &format!(".{product}/{product}.json"),
            json!({"meta": {"lastTouchedVersion": version}}).to_string(),
        );
        let path = format!(".{product}/agents/main/agent/auth-profiles.json");
        store(
            &home,
            &format!(".{product}"),
            "main",
            &json!({"version": 1, "profiles": {"openai:x": {"type": "api_key", "provider": "openai", "key": "k"}}}),
        );
        let ran = home.run(&["sync"]);
        let there = |home: &Home| home.json(&path)["profiles"].get("anthropic:claude-cli").is_some();
        assert_eq!(there(&home), made, "{product} {setting}: {ran:?}");
        if !made && setting.is_empty() {
            assert!(ran.stdout.contains("nolapse sync --create"), "{ran:?}");
            assert_eq!(home.run(&["sync", "--create"]).code, 0);
            assert!(there(&home), "{product}");
            // and from then on it is kept up to date
            home.login("2", now() + 9 * HOUR);
            home.run(&["sync"]);
            assert_eq!(
                home.json(&path)["profiles"]["anthropic:claude-cli"]["token"],
                access("2")
            );
        }
    }
}

/// An agent's store that somebody emptied is not filled: what would be put there is offered. The main agent's is what its program fills
/// itself.
#[test]
fn an_emptied_store_is_asked_about_and_not_filled() {
    let empty = json!({"version": 1, "profiles": {}});
    for (agent, setting, made) in [
        ("kate", "", false),
        ("kate", "create = \"never\"", false),
        ("kate", "create = \"always\"", true),
        ("main", "", true),
        ("main", "create = \"never\"", false),
    ] {
        let home = Home::new();
        home.config(&format!("[sync]\n{setting}\n[renew]\nmode = \"off\"\n"));
        home.login("1", now() + 8 * HOUR);
        config(
            &home,
            &json!({"meta": {"lastTouchedVersion": "2026.1.24-3"}, "agents": {"list": [{"id": "main"}, {"id": "kate"}]}}),
        );
        let other = if agent == "main" { "kate" } else { "main" };
        store(
            &home,
            ".clawdbot",
            other,
            &json!({"version": 1, "profiles": {"openai:x": {"type": "api_key", "provider": "openai", "key": "k"}}}),
        );
        store(&home, ".clawdbot", agent, &empty);
        let path = format!(".clawdbot/agents/{agent}/agent/auth-profiles.json");
        let before = home.read(&path);
        let has = |home: &Home| home.json(&path)["profiles"].get("anthropic:claude-cli").is_some();
        for command in ["sync", "run"] {
            let ran = home.run(&[command]);
            assert_eq!(has(&home), made, "{agent} {setting} {command}: {ran:?}");
            if !made {
                assert_eq!(home.read(&path), before, "{agent} {setting} {command}: to the byte");
            }
        }
        if made {
            continue;
        }
        // asked about, and filled by whoever says so
        let dry = home.run(&["sync", "--dry-run"]).stdout;
        assert!(dry.contains("nolapse sync --create"), "{agent} {setting}: {dry}");
        assert_eq!(home.run(&["sync", "--create"]).code, 0);
        assert!(has(&home), "{agent} {setting}");
        home.login("2", now() + 9 * HOUR);
        home.run(&["run"]);
        assert_eq!(
            home.json(&path)["profiles"]["anthropic:claude-cli"]["token"],
            access("2")
        );
    }
}

/// `share = "full"` makes no `oauth` where the agents' config takes a `token` alone.
#[test]
fn a_mode_that_takes_a_token_gets_a_token() {
    let home = Home::new();
    home.config("[sync]\nshare = \"full\"\n[renew]\nmode = \"off\"\n");
    home.login("1", now() + 8 * HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("0", now() - HOUR)}));
    config(
        &home,
        &json!({"auth": {"profiles": {"anthropic:claude-cli": {"provider": "anthropic", "mode": "token"}}}}),
    );
    home.run(&["sync"]);
    let entry = &home.json(MAIN)["profiles"]["anthropic:claude-cli"];
    assert_eq!(
        (&entry["type"], &entry["token"]),
        (&json!("token"), &json!(access("1")))
    );
}
