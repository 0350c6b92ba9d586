//! Delegated renewal against stand-ins for `claude`, one per class of versions.

use crate::home::{Home, Ran, access, credentials, now, refresh, token};
use serde_json::{Value, json};
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

const CREDENTIALS: &str = ".claude/.credentials.json";

/// What a stand-in does before anything else: it notes how it was run.
const NOTE: &str = r#"#!/bin/sh
echo "$*" >> "$HOME/ran"
env | sed 's/=.*//' | sort | tr '\n' ' ' >> "$HOME/env"
[ -t 0 ] && echo tty >> "$HOME/ran"
cat >> "$HOME/stdin"
"#;

/// The next tokens are put in place as the CLI does it.
const REFRESH: &str =
    "cp \"$HOME/next.json\" \"$HOME/.claude/t\" && mv \"$HOME/.claude/t\" \"$HOME/.claude/.credentials.json\"\n";

fn home() -> Home {
    let mut home = Home::new();
    let expires = now() - 60_000;
    home.login("1", expires)
        .store("main", json!({"anthropic:claude-cli": token("1", expires)}));
    home.write(
        "next.json",
        credentials("2", now() + 28_800_000, Some(expires)).to_string(),
    );
    let path = format!("{}:/usr/bin:/bin", home.at("bin").display());
    home.env.insert("PATH".into(), path);
    fs::create_dir(home.at("bin")).unwrap();
    home
}

/// An npm installation: `bin/claude` is a link to the package's own program.
fn install(home: &Home, version: &str, body: &str) {
    let package = "lib/node_modules/@anthropic-ai/claude-code";
    home.write(
        &format!("{package}/package.json"),
        json!({"name": "@anthropic-ai/claude-code", "version": version}).to_string(),
    );
    program(home, &format!("{package}/bin/claude.exe"), body);
    let link = home.at("bin/claude");
    let _ = fs::remove_file(&link);
    symlink(home.at(&format!("{package}/bin/claude.exe")), link).unwrap();
}

fn program(home: &Home, path: &str, body: &str) {
    let path = home.write(path, format!("{NOTE}{body}"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

fn record(home: &Home) -> Value {
    home.json(".local/state/nolapse/ledger.json")["renewals"]["claude"].clone()
}

fn ran(home: &Home) -> bool {
    home.at("ran").exists()
}

fn renewed(home: &Home, ran: &Ran) {
    assert!(ran.stdout.contains("login claude: renewed by Claude Code"), "{ran:?}");
    assert_eq!(home.json(CREDENTIALS)["claudeAiOauth"]["refreshToken"], refresh("2"));
    let store = home.json(".clawdbot/agents/main/agent/auth-profiles.json");
    assert_eq!(store["profiles"]["anthropic:claude-cli"]["token"], access("2"));
    assert_eq!(record(home), Value::Null);
}

#[test]
fn a_safe_cli_is_run_in_its_one_safe_form_and_judged_by_the_file() {
    for (version, exit) in [("2.1.181", 0), ("2.1.330", 0), ("2.2.0", 7), ("3.0.0", 0)] {
        let mut home = home();
        install(&home, version, &format!("{REFRESH}exit {exit}\n"));
        for (name, value) in [
            ("ANTHROPIC_API_KEY", "secret"),
            ("HTTPS_PROXY", "http://127.0.0.1:9"),
            ("NODE_EXTRA_CA_CERTS", "/ca.pem"),
            ("CLAUDE_CODE_SIMPLE", "1"),
            ("UNRELATED_SECRET", "secret"),
        ] {
            home.env.insert(name.into(), value.into());
        }
        let outcome = home.run(&["run"]);
        renewed(&home, &outcome);
        assert_eq!(home.read("ran"), "-p /cost --safe-mode --no-session-persistence\n");
        assert_eq!(home.read("stdin"), "");
        let env = home.read("env");
        for name in ["HOME", "PATH", "HTTPS_PROXY", "NODE_EXTRA_CA_CERTS"] {
            assert!(env.split(' ').any(|given| given == name), "{name}: {env}");
        }
        for name in [
            "ANTHROPIC_API_KEY",
            "CLAUDE_CODE_SIMPLE",
            "UNRELATED_SECRET",
            "CLAUDE_CONFIG_DIR",
        ] {
            assert!(!env.split(' ').any(|given| given == name), "{name}: {env}");
        }
        // good for hours: not run again
        home.run(&["run"]);
        home.run(&["refresh", "--force"]);
        assert_eq!(home.read("ran").lines().count(), 1);
    }
}

#[test]
fn a_token_in_the_environment_is_not_handed_on() {
    let mut home = home();
    install(&home, "2.1.330", REFRESH);
    home.env
        .insert("CLAUDE_CODE_OAUTH_TOKEN".into(), "sk-ant-oat01-ENV".into());
    home.run(&["run"]);
    assert!(!home.read("env").contains("CLAUDE_CODE_OAUTH_TOKEN"));
    assert_eq!(home.json(CREDENTIALS)["claudeAiOauth"]["refreshToken"], refresh("2"));
}

#[test]
fn a_cli_that_is_not_known_to_be_safe_is_never_run() {
    let native = |home: &Home, version: &str| {
        let path = format!(".local/share/claude/versions/{version}");
        program(home, &path, REFRESH);
        symlink(home.at(&path), home.at("bin/claude")).unwrap();
    };
    type Setup<'a> = Box<dyn Fn(&Home) + 'a>;
    let table: Vec<(&str, Setup<'_>, &str)> = vec![
        (
            "2.1.180",
            Box::new(|home| install(home, "2.1.180", REFRESH)),
            "cli_too_old",
        ),
        (
            "native 2.1.112",
            Box::new(|home| native(home, "2.1.112")),
            "cli_too_old",
        ),
        (
            "beta",
            Box::new(|home| install(home, "2.1.330-beta.1", REFRESH)),
            "cli_version_unknown",
        ),
        (
            "bare script",
            Box::new(|home| program(home, "bin/claude", REFRESH)),
            "cli_version_unknown",
        ),
        ("none", Box::new(|_| {}), "cli_not_found"),
    ];
    for (name, setup, kind) in table {
        let home = home();
        setup(&home);
        let before = home.read(CREDENTIALS);
        let outcome = home.run(&["run"]);
        assert_eq!(record(&home)["last"]["kind"], kind, "{name}: {outcome:?}");
        assert!(
            outcome.stdout.contains("login claude: not renewed: "),
            "{name}: {outcome:?}"
        );
        assert!(!ran(&home) && home.read(CREDENTIALS) == before, "{name}");
    }
    let home = home();
    native(&home, "2.1.181");
    renewed(&home, &home.run(&["run"]));
}

#[test]
fn a_configured_cli_and_another_directory() {
    let home = home();
    install(
        &home,
        "2.1.330",
        "cp \"$HOME/next.json\" \"$CLAUDE_CONFIG_DIR/.credentials.json\"\n",
    );
    fs::rename(home.at("bin/claude"), home.at("elsewhere")).unwrap();
    fs::rename(home.at(".claude"), home.at(".claude-fleet")).unwrap();
    home.config("[renew]\nclaude = \"~/elsewhere\"\n[[login]]\ndir = \"~/.claude-fleet\"\nagents = [\"clawdbot/*\"]\n");
    let outcome = home.run(&["run"]);
    assert!(
        outcome.stdout.contains("login claude-fleet: renewed by Claude Code"),
        "{outcome:?}"
    );
    assert_eq!(
        home.json(".claude-fleet/.credentials.json")["claudeAiOauth"]["refreshToken"],
        refresh("2")
    );
}

#[test]
fn a_cli_that_does_nothing_backs_off_and_the_alert_says_why() {
    let home = home();
    install(&home, "2.1.330", "exit 3\n");
    home.login("1", now() - 3_600_000)
        .store("main", json!({"anthropic:claude-cli": token("1", now() - 3_600_000)}));
    let before = home.read(CREDENTIALS);
    let outcome = home.run(&["run"]);
    assert_eq!(home.read(CREDENTIALS), before);
    let why = "`claude` ended with code 3 and did not renew the login";
    assert!(outcome.stdout.contains(why), "{outcome:?}");
    // the copy has been expired for longer than the grace: what a person is told names the cause
    let alerts = &home.json(".local/state/nolapse/ledger.json")["alerts"]["copies:claude"]["last"];
    assert_eq!(alerts["kind"], "copy_stale", "{outcome:?}");
    assert!(alerts["detail"].as_str().unwrap().contains(why), "{alerts}");
    let next = record(&home)["next_at"].as_i64().unwrap() - now();
    assert!((30_000..=60_000).contains(&next), "{next}");
    home.run(&["run"]);
    assert_eq!(
        home.read("ran").lines().count(),
        1,
        "not before the back-off has passed"
    );
    home.run(&["refresh"]);
    assert_eq!(home.read("ran").lines().count(), 1);
    home.run(&["refresh", "--force"]);
    assert_eq!(home.read("ran").lines().count(), 2);
}

#[test]
fn a_cli_that_does_nothing_because_its_settings_come_first_is_said_to() {
    for settings in [r#"{"apiKeyHelper":"/k"}"#, r#"{"env":{"CLAUDE_CODE_OAUTH_TOKEN":"x"}}"#] {
        let home = home();
        install(&home, "2.1.330", "exit 0\n");
        home.login("1", now() - 3_600_000)
            .write(".claude/settings.json", settings);
        let outcome = home.run(&["run"]);
        assert!(
            outcome.stdout.contains(" in settings.json") && outcome.stdout.contains(" takes precedence over it"),
            "{outcome:?}"
        );
    }
}

#[test]
fn a_cli_that_hangs_is_left_alone_and_not_started_again_beside_itself() {
    let home = home();
    // a FIFO: it goes on when the test lets it
    std::process::Command::new("mkfifo")
        .arg(home.at("gate"))
        .status()
        .unwrap();
    install(
        &home,
        "2.1.330",
        &format!(
            "trap 'echo signalled >> \"$HOME/ran\"' TERM INT HUP\nread x < \"$HOME/gate\"\n{REFRESH}echo ended >> \"$HOME/ran\"\n"
        ),
    );
    home.config("[renew]\npatience = \"1s\"\n");
    let outcome = home.run(&["run"]);
    assert!(outcome.stdout.contains("is left running"), "{outcome:?}");
    let pid = record(&home)["stage"]["running"]["pid"].as_i64().unwrap();
    let outcome = home.run(&["refresh", "--force"]);
    assert!(outcome.stdout.contains("is still running"), "{outcome:?}");
    assert_eq!(home.read("ran").lines().count(), 1);
    fs::write(home.at("gate"), "go\n").unwrap();
    let begun = std::time::Instant::now();
    while !home.read("ran").contains("ended") {
        assert!(begun.elapsed().as_secs() < 20);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(!home.read("ran").contains("signalled"), "pid {pid}");
    let outcome = home.run(&["run"]);
    let store = home.json(".clawdbot/agents/main/agent/auth-profiles.json");
    assert_eq!(
        store["profiles"]["anthropic:claude-cli"]["token"],
        access("2"),
        "{outcome:?}"
    );
}

/// A directory that was copied: a `claude` for each would post the same token twice.
#[test]
fn a_token_that_two_logins_hold_is_handed_to_one_claude() {
    for (body, patience) in [(REFRESH, 60), ("read x < \"$HOME/gate\"\n", 1)] {
        let home = home();
        let gate = std::process::Command::new("mkfifo").arg(home.at("gate")).status();
        assert!(gate.unwrap().success());
        install(&home, "2.1.330", body);
        home.write(".claude-copy/.credentials.json", home.read(CREDENTIALS));
        home.config(&format!(
            "[renew]\nalways = true\npatience = \"{patience}s\"\n[[login]]\ndir = \"~/.claude\"\n[[login]]\ndir = \"~/.claude-copy\"\n"
        ));
        for _ in 0..2 {
            let outcome = home.run(&["run"]);
            assert_eq!(home.read("ran").lines().count(), 1, "{outcome:?}");
        }
        // what waits there goes on and ends
        if patience == 1 {
            fs::write(home.at("gate"), "go\n").unwrap();
        }
    }
}

/// The kernel ends a stopped process with SIGHUP when the last process of its session that could continue it goes away.
#[cfg(target_os = "linux")]
#[test]
fn a_cli_that_was_stopped_outlives_us_unsignalled() {
    let home = home();
    let body = "trap 'echo signalled >> \"$HOME/ran\"' TERM INT HUP\nkill -STOP $$\n";
    install(
        &home,
        "2.1.330",
        &format!("{body}{REFRESH}echo ended >> \"$HOME/ran\"\n"),
    );
    home.config("[renew]\npatience = \"1s\"\n");
    let outcome = home.run(&["run"]);
    assert!(outcome.stdout.contains("is left running"), "{outcome:?}");
    let pid = record(&home)["stage"]["running"]["pid"].to_string();
    let continued = std::process::Command::new("kill").args(["-CONT", &pid]).status();
    assert!(continued.unwrap().success());
    let begun = std::time::Instant::now();
    while !home.read("ran").contains("ended") {
        assert!(begun.elapsed().as_secs() < 20);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(!home.read("ran").contains("signalled"), "{outcome:?}");
}

/// Another process may have the number of the `claude` that an earlier pass started, after a reboot say.
#[test]
fn only_the_very_process_that_was_started_is_waited_for() {
    let us = std::process::id();
    let stat = fs::read_to_string(format!("/proc/{us}/stat")).unwrap();
    let start: u64 = stat
        .rsplit_once(')')
        .unwrap()
        .1
        .split_whitespace()
        .nth(19)
        .unwrap()
        .parse()
        .unwrap();
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .unwrap()
        .trim()
        .to_owned();
    let mut zombie = std::process::Command::new("true").spawn().unwrap();
    for (what, stage, waits) in [
        (
            "it",
            json!({"pid": us, "start": start, "boot": boot, "at": now() - 60_000}),
            true,
        ),
        (
            "it, for long",
            json!({"pid": us, "start": start, "boot": boot, "at": now() - 601_000}),
            false,
        ),
        (
            "another one",
            json!({"pid": us, "start": start + 1, "boot": boot, "at": now() - 60_000}),
            false,
        ),
        (
            "before a reboot",
            json!({"pid": us, "start": start, "boot": "x", "at": now() - 60_000}),
            false,
        ),
        ("a zombie", json!({"pid": zombie.id(), "at": now() - 60_000}), false),
    ] {
        let home = home();
        home.run(&["run"]);
        let path = ".local/state/nolapse/ledger.json";
        let mut ledger = home.json(path);
        ledger["renewals"]["claude"]["stage"] = json!({"running": stage});
        ledger["renewals"]["claude"]["next_at"] = 0.into();
        home.write(path, ledger.to_string());
        install(&home, "2.1.330", REFRESH);
        let outcome = home.run(&["refresh"]);
        assert_eq!(
            outcome.stdout.contains("is still running"),
            waits,
            "{what}: {outcome:?}"
        );
        assert_eq!(ran(&home), !waits, "{what}: {outcome:?}");
    }
    zombie.wait().unwrap();
}

/// No agent uses it, so that no copy of it can be stale.
#[test]
fn a_login_that_is_to_be_kept_and_is_not_renewed_rings_whatever_held_it_up() {
    for (ended, rings) in [(29, false), (31, true)] {
        let home = Home::new();
        home.login("1", now() - ended * 60_000);
        home.config("[renew]\nalways = true\n");
        let ran = home.run(&["run"]);
        assert_eq!(ran.code != 0, rings, "{ended}: {ran:?}");
        assert_eq!(ran.stdout.contains("was not renewed"), rings, "{ended}: {ran:?}");
        assert!(!rings || ran.stdout.contains("is not on the `PATH`"), "{ran:?}");
    }
}

#[test]
fn a_cli_that_finds_its_token_refused_is_told_as_such() {
    let home = home();
    let mut wiped = credentials("1", 0, Some(now() + 20 * 86_400_000));
    wiped["claudeAiOauth"]["accessToken"] = "".into();
    wiped["claudeAiOauth"]["refreshToken"] = "".into();
    home.write("next.json", wiped.to_string());
    install(&home, "2.1.330", REFRESH);
    let outcome = home.run(&["run"]);
    assert!(
        outcome.stdout.contains("and Claude Code wiped the login"),
        "{outcome:?}"
    );
    // it is in the log alone, so nobody has heard of it
    assert_eq!(outcome.code, 3);
    let alert = &home.json(".local/state/nolapse/ledger.json")["alerts"]["login:claude"]["last"];
    assert_eq!(alert["kind"], "race_logout");
}

#[test]
fn a_cli_is_not_started_while_somebody_renews_and_its_end_is_not_ours() {
    let home = home();
    install(&home, "2.1.330", REFRESH);
    fs::create_dir(home.at(".claude/.oauth_refresh.lock")).unwrap();
    let outcome = home.run(&["run"]);
    assert!(
        outcome.stdout.contains("is being renewed by another program"),
        "{outcome:?}"
    );
    assert!(!ran(&home) && home.at(".claude/.oauth_refresh.lock").exists());
}

/// Its locks look old, and it may go on at any moment: a `claude` would take them over and post its token again.
#[cfg(target_os = "linux")]
#[test]
fn a_cli_is_not_started_beside_a_holder_that_is_only_stopped() {
    let home = home();
    install(&home, "2.1.330", REFRESH);
    let said = |path: &str| fs::read_to_string(path).unwrap_or_default().trim().to_owned();
    let space = fs::read_link("/proc/self/ns/pid").unwrap().display().to_string();
    let record = json!({
        "pid": std::process::id(),
        "pidDomain": format!("linux:{}:{space}", said("/etc/machine-id")),
        "pidSpace": format!("{}#{space}", said("/proc/sys/kernel/hostname")),
    });
    let owner = home.write(".claude/.oauth_refresh.lock.owner", record.to_string());
    let lock = home.at(".claude/.oauth_refresh.lock");
    fs::create_dir(&lock).unwrap();
    let long_ago = std::time::SystemTime::now() - std::time::Duration::from_secs(600);
    for path in [&lock, &owner] {
        fs::File::open(path).unwrap().set_modified(long_ago).unwrap();
    }
    let outcome = home.run(&["run"]);
    assert!(
        outcome.stdout.contains("is being renewed by another program"),
        "{outcome:?}"
    );
    assert!(!ran(&home) && lock.exists());
}

/// Runs `nolapse run` as somebody whom modes bind: root is made another user first.
fn run_unprivileged(home: &Home) -> Ran {
    use std::os::unix::process::CommandExt;
    let mut command = home.command(&["run"]);
    if fs::metadata("/proc/self").unwrap().uid() == 0 {
        let nobody = 65_534;
        let binary = home.at("nolapse");
        fs::copy(env!("CARGO_BIN_EXE_nolapse"), &binary).unwrap();
        fs::set_permissions(&binary, fs::Permissions::from_mode(0o755)).unwrap();
        let owned = std::process::Command::new("chown")
            .args(["-Rh", "65534:65534"])
            .arg(home.path())
            .status();
        assert!(owned.unwrap().success());
        command = std::process::Command::new(binary);
        command
            .arg("run")
            .env_clear()
            .env("HOME", home.path())
            .envs(&home.env)
            .current_dir(home.path())
            .uid(nobody)
            .gid(nobody);
    }
    Ran::of(command.output().unwrap())
}

#[test]
fn a_cli_is_not_started_where_it_could_not_save() {
    let home = home();
    install(&home, "2.1.330", REFRESH);
    let before = home.read(CREDENTIALS);
    fs::set_permissions(home.at(".claude"), fs::Permissions::from_mode(0o500)).unwrap();
    let outcome = run_unprivileged(&home);
    assert!(!ran(&home) && home.read(CREDENTIALS) == before, "{outcome:?}");
    assert_eq!(record(&home)["last"]["kind"], "login_not_writable", "{outcome:?}");
    assert!(
        outcome
            .stdout
            .contains("its file cannot be written and its new tokens would be lost"),
        "{outcome:?}"
    );
}

#[test]
fn what_is_in_the_place_of_the_file_goes_before_anybody_signs_in() {
    for (make, remedy) in [("mkdir", "rmdir"), ("mkfifo", "mv")] {
        let home = home();
        install(&home, "2.1.330", REFRESH);
        home.run(&["run"]);
        fs::remove_file(home.at(CREDENTIALS)).unwrap();
        fs::remove_file(home.at("ran")).unwrap();
        let made = std::process::Command::new(make).arg(home.at(CREDENTIALS)).status();
        assert!(made.unwrap().success());
        home.config("[[channel]]\ntype = \"command\"\ncommand = [\"sh\", \"-c\", \"cat >> told\"]\n");
        home.run(&["run"]);
        let told: Value = serde_json::from_str(&home.read("told")).unwrap();
        let commands: Vec<_> = told["commands"].as_array().unwrap().iter().collect();
        assert!(
            commands[0]
                .as_str()
                .unwrap()
                .starts_with(&format!("{remedy} ~/.claude/")),
            "{told}"
        );
        assert_eq!(commands[1], "claude auth login");
        let asked = home.run(&["reauth"]);
        assert_eq!(asked.code, 3, "{asked:?}");
        assert!(
            asked.stderr.contains(&format!("hint: run `{remedy} ~/.claude/")),
            "{asked:?}"
        );
        assert!(!ran(&home));
    }
}
