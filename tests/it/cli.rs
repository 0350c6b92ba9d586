//! The command line: exit codes, clean JSON, what is said where there is nothing.

use super::home::{DAY, HOUR, Home, NOW, Terminal, credentials, now, oauth, token};
use serde_json::json;

#[test]
fn wrong_usage_is_three_and_help_is_zero() {
    let home = Home::new();
    for args in [
        &["statsu"][..],
        &["status", "--jsno"],
        &["status", "--at", "yesterday"],
        &["--config", "none.toml"],
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
fn a_slip_in_a_name_is_answered_with_the_nearest() {
    let home = Home::new();
    home.config("[renew]\nmode = \"off\"\n[[channel]]\ntype = \"log\"\nname = \"phone\"\n");
    home.login("1", now() + 8 * HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("1", now() + 8 * HOUR)}));
    for (args, near) in [
        (&["refresh", "--dry-run", "--login", "cluade"][..], "claude"),
        (&["history", "--login", "claud"], "claude"),
        (&["reauth", "--login", "cladue"], "claude"),
        (&["alert", "test", "phon"], "phone"),
        (&["alert", "retry", "phome"], "phone"),
        (&["alert", "silence", "--login", "claued"], "claude"),
        (&["alert", "silence", "--agent", "clawdbot/mian"], "clawdbot/main"),
        (&["token", "list", "--agent", "clawdbot/mian"], "clawdbot/main"),
        (
            &["token", "remove", "--agent", "*", "--yes", "anthropic:claude-clo"],
            "anthropic:claude-cli",
        ),
    ] {
        let ran = home.run(args);
        assert_eq!(ran.code, 3, "{args:?}: {ran:?}");
        assert!(
            ran.stderr.contains(&format!("did you mean `{near}`?")),
            "{args:?}: {ran:?}"
        );
    }
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
                "health": "ok", "reason": "renews_itself", "expires_at": NOW + 8 * HOUR, "login": "claude"}],
            "providers": [{"provider": "anthropic", "in_use": true, "uses": "anthropic:claude-cli", "why": "the only one",
                "passed_over": [], "held_back_until": null}]})
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
        "same as claude",
    ] {
        assert!(ran.stdout.contains(said), "{said}:\n{}", ran.stdout);
    }
}

#[test]
fn at_eighty_columns_a_profile_is_one_line_and_the_worst_comes_first() {
    let mut home = Home::new();
    home.env.insert("COLUMNS".into(), "80".into());
    home.login("1", now() + 8 * HOUR)
        .store("main", json!({"anthropic:claude-cli": token("1", now() + 8 * HOUR)}))
        .store(
            "zz-with-a-name-that-is-longer-than-columns-are",
            json!({"anthropic:claude-cli": token("0", now() - DAY), "anthropic:manual": token("2", now() + 90 * DAY)}),
        );
    let ran = home.run(&["status"]);
    let (_, agents) = ran.stdout.split_once("agents\n").unwrap();
    let lines: Vec<&str> = agents.lines().take_while(|line| line.starts_with("  ")).collect();
    assert_eq!(lines.len(), 3, "{ran:?}");
    assert!(
        lines[0].contains("zz-with") && lines[0].contains("expired"),
        "{lines:?}"
    );
    assert!(lines[2].contains("clawdbot/main"), "{lines:?}");
    assert!(lines.iter().all(|line| line.chars().count() <= 80), "{lines:?}");
    home.env.insert("COLUMNS".into(), "200".into());
    assert!(home.run(&["status"]).stdout.contains('█'), "there is room for a bar");
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
        "stores written: 0, alerts sent: 0",
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
    assert!(lapsed.stdout.contains("critical: "), "{lapsed:?}");
    assert!(!lapsed.stderr.contains("ERROR"), "said once: {lapsed:?}");
    home.login("1", now() + 7 * HOUR);
    let recovered = home.run(&["run"]);
    assert!(recovered.stderr.contains("is fine again"), "{recovered:?}");
}

#[test]
fn a_monitoring_plugin_says_one_line_with_its_own_codes() {
    let at = |deadline: i64| {
        let home = Home::new();
        home.write(
            ".claude/.credentials.json",
            credentials("1", NOW + 8 * HOUR, Some(NOW + deadline)).to_string(),
        );
        home
    };
    let plugin = |home: &Home, args: &[&str]| home.run(&[&["check", "--format", "nagios"], args].concat());
    let (now, fine, soon, over) = (NOW.to_string(), at(20 * DAY), at(7 * DAY), at(30 * DAY));
    over.write(
        ".claude/.credentials.json",
        credentials("1", NOW - 2 * DAY, Some(NOW - DAY)).to_string(),
    );
    over.write(
        ".clawdbot/agents/p|pe/agent/auth-profiles.json",
        "{\"version\":1,\"profiles\":{",
    );
    let broken = at(20 * DAY);
    broken.write(super::home::MAIN, "{\"version\":1,\"profiles\":{");
    let nothing = Home::new();
    for (home, code, begins, perfdata) in [
        (
            &fine,
            0,
            "NOLAPSE OK - 1 login, 0 agents: nothing needs you |",
            Some("'claude'=1468800s;604800:;1:;0"),
        ),
        (
            &soon,
            1,
            "NOLAPSE WARNING - warning: Claude login `claude` ",
            Some("'claude'=345600s;604800:;1:;0"),
        ),
        (
            &over,
            2,
            "NOLAPSE CRITICAL - critical: Claude login `claude` ",
            Some("'claude'=0s;604800:;1:;0"),
        ),
        (
            &broken,
            3,
            "NOLAPSE UNKNOWN - critical: ",
            Some("'claude'=1468800s;604800:;1:;0"),
        ),
        (&nothing, 2, "NOLAPSE CRITICAL - found neither", None),
    ] {
        let ran = plugin(home, &["--at", &now]);
        assert_eq!((ran.code, ran.stderr.as_str()), (code, ""), "{ran:?}");
        let first = ran.stdout.lines().next().unwrap();
        assert!(first.starts_with(begins), "{first}");
        assert_eq!(first.split_once(" | ").map(|(_, data)| data), perfdata, "{first}");
        let others = ran.stdout.lines().skip(1).filter(|line| line.contains('|'));
        assert_eq!(others.count(), 0, "{ran:?}");
        assert_eq!(
            ran.stdout.matches('|').count(),
            usize::from(perfdata.is_some()),
            "{ran:?}"
        );
    }
    // a configuration that is not valid is said where the plugin's words are looked for
    fine.config("[sync]\nenabeld = true\n");
    let ran = plugin(&fine, &[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (3, ""), "{ran:?}");
    assert!(
        ran.stdout.starts_with("NOLAPSE UNKNOWN - ") && ran.stdout.contains("enabeld"),
        "{ran:?}"
    );
    assert_eq!(plugin(&fine, &["--nope"]).code, 3);
}

/// Every command with those below it, as their own `--help` lists them.
fn commands(home: &Home) -> Vec<Vec<String>> {
    let mut all: Vec<Vec<String>> = vec![Vec::new()];
    let mut at = 0;
    while at < all.len() {
        let path = all[at].clone();
        let help = help(home, &path);
        let listed = help.split("\nCommands:\n").nth(1).unwrap_or_default();
        for line in listed.lines().take_while(|line| line.starts_with("  ")) {
            // deeper lines go on with a description
            let name = line.strip_prefix("  ").filter(|rest| !rest.starts_with(' '));
            if let Some(name) = name
                .and_then(|rest| rest.split_whitespace().next())
                .filter(|name| *name != "help")
            {
                all.push([path.as_slice(), &[name.to_owned()]].concat());
            }
        }
        at += 1;
    }
    assert!(all.len() > 35, "{all:?}");
    all
}

fn help(home: &Home, path: &[String]) -> String {
    let args: Vec<&str> = path.iter().map(String::as_str).chain(["--help"]).collect();
    let ran = home.run(&args);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{args:?}");
    ran.stdout
}

/// The words of a line as a shell would have them, up to where another command or a redirection begins.
fn words(line: &str) -> Vec<String> {
    let (mut words, mut word, mut quoted) = (Vec::new(), String::new(), None);
    for c in line.chars().chain([' ']) {
        match (quoted, c) {
            (Some(quote), c) if c == quote => quoted = None,
            (None, '\'' | '"') => quoted = Some(c),
            (None, ' ') if !word.is_empty() => words.push(std::mem::take(&mut word)),
            (None, ' ') => {}
            (_, c) => word.push(c),
        }
    }
    let end = words
        .iter()
        .position(|word| matches!(word.as_str(), "||" | "|" | ">" | "<" | "&&"));
    words.truncate(end.unwrap_or(words.len()));
    words
}

#[test]
fn every_help_teaches_with_examples_that_can_be_typed() {
    let home = Home::new();
    let mut typed = 0;
    for path in commands(&home) {
        let help = help(&home, &path);
        let (_, examples) = help
            .split_once("\nExamples:\n")
            .unwrap_or_else(|| panic!("{path:?} has no examples:\n{help}"));
        let lines = examples.lines().take_while(|line| line.starts_with("  "));
        for line in lines.filter_map(|line| line.trim_start().strip_prefix("nolapse ")) {
            // two blanks part the command from what is said of it
            let words = words(line.split("  ").next().unwrap());
            // what comes before `--help` is parsed, and nothing is done
            let args: Vec<&str> = words.iter().map(String::as_str).chain(["--help"]).collect();
            let ran = home.run(&args);
            assert_eq!(ran.code, 0, "nolapse {line}: {ran:?}");
            let own = path.iter().all(|name| words.contains(name));
            assert!(own || path == ["daemon"], "{path:?} shows another command: {line}");
            typed += 1;
        }
    }
    assert!(typed > 60, "only {typed}");
    assert!(home.files().is_empty());
}

/// The documented table of exit codes: each row's commands with each code that it documents.
#[test]
fn every_documented_exit_code_is_driven() {
    let fine = Home::new();
    fine.login("1", now() + 8 * HOUR)
        .store("main", json!({"anthropic:claude-cli": token("1", now() + 8 * HOUR)}));
    let expired = Home::new();
    expired
        .login("1", now() + 8 * HOUR)
        .store("work", json!({"anthropic:other": token("0", now() - DAY)}));
    let expiring = Home::new();
    expiring.write(
        ".claude/.credentials.json",
        credentials("1", now() + HOUR, Some(now() + 9 * DAY)).to_string(),
    );
    expiring.store("main", json!({"anthropic:claude-cli": token("1", now() + HOUR)}));
    let broken = Home::new();
    broken.login("1", now() + 8 * HOUR).config("[sync]\nenabeld = true\n");
    let homes = |name: &str| match name {
        "fine" => &fine,
        "expired" => &expired,
        "expiring" => &expiring,
        _ => &broken,
    };
    for home in [&fine, &expired, &expiring] {
        home.config("[renew]\nmode = \"off\"\n[[channel]]\ntype = \"command\"\ncommand = [\"true\"]\n");
    }
    let cell = |command: &str, code: usize| -> &'static str {
        match (command, code) {
            ("check --format nagios", 1) => "expiring",
            ("check --format nagios", 2) => "expired",
            // to the clock an access token's last day is its end, and a fine one has more than that
            ("status --by-clock", 0) => "by-clock",
            (_, 0) => "fine",
            (_, 1) => "expired",
            (_, 2) => "expiring",
            _ => "broken",
        }
    };
    let by_clock = Home::new();
    by_clock
        .login("1", now() + 3 * DAY)
        .store("main", json!({"anthropic:x": token("9", now() + 3 * DAY)}));
    let page = include_str!("../../docs/exit-codes.md");
    let (_, table) = page.split_once("| command | 0 | 1 | 2 | 3 |\n").unwrap();
    let mut driven = 0;
    for row in table.lines().skip(1).take_while(|line| line.starts_with('|')) {
        let cells: Vec<&str> = row.trim_matches('|').split('|').map(str::trim).collect();
        assert_eq!(cells.len(), 5, "{row}");
        if cells[0] == "all others" || cells[0] == "`doctor`" {
            continue;
        }
        for command in cells[0].split('`').skip(1).step_by(2) {
            for (code, _) in cells[1..].iter().enumerate().filter(|(_, meaning)| !meaning.is_empty()) {
                let name = cell(command, code);
                let home = if name == "by-clock" { &by_clock } else { homes(name) };
                let ran = home.run(&command.split(' ').collect::<Vec<_>>());
                assert_eq!(ran.code as usize, code, "{command} on what is {name}: {ran:?}");
                driven += 1;
            }
        }
    }
    assert!(driven >= 20, "only {driven}");
}

/// All others: 0 when it is done, 3 when it is not. What needs a terminal or a platform has its own tests.
#[test]
fn what_is_done_is_zero_and_what_is_not_is_three() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR)
        .store("main", json!({"anthropic:claude-cli": token("1", now() + 8 * HOUR)}));
    home.config("[renew]\nmode = \"off\"\n[[channel]]\ntype = \"command\"\ncommand = [\"true\"]\n");
    for (args, code) in [
        (&["status"][..], 0),
        (&["sync"], 0),
        (&["refresh"], 0),
        (&["refresh", "--login", "nobody"], 3),
        (&["token", "list"], 0),
        (&["token", "list", "--agent", "nobody/*"], 3),
        (
            &["token", "remove", "anthropic:none", "--agent", "nobody/*", "--yes"],
            3,
        ),
        (&["order", "get"], 0),
        (&["order", "set", "anthropic:claude-cli"], 0),
        (&["order", "set", "anthropic:none"], 3),
        (&["order", "clear"], 0),
        (&["order", "clear", "--agent", "nobody/*"], 3),
        (&["alert", "test"], 0),
        (&["alert", "test", "nobody"], 3),
        (&["alert", "list"], 0),
        (&["alert", "ack", "nobody"], 3),
        (&["alert", "ack", "--all"], 0),
        (&["alert", "silence", "--all"], 0),
        (&["alert", "silence", "--login", "nobody"], 3),
        (&["alert", "unsilence"], 0),
        (&["alert", "retry"], 0),
        (&["alert", "retry", "nobody"], 3),
        (&["history"], 0),
        (&["install", "cron", "--dry-run"], 0),
        (&["install", "cron", "--daemon"], 3),
        (&["uninstall", "--dry-run"], 0),
        (&["metrics"], 0),
        (&["metrics", "--textfile", "none/x.prom"], 3),
        (&["config", "init"], 3),
        (&["config", "check"], 0),
        (&["config", "show"], 0),
        (&["config", "path"], 0),
        (&["config", "schema"], 0),
        (&["completions", "bash"], 0),
        (&["man"], 0),
        (&["man", "--dir", ".claude/.credentials.json"], 3),
    ] {
        let ran = home.run(args);
        assert_eq!(ran.code, code, "{args:?}: {ran:?}");
        let said = ran.stdout.len() + ran.stderr.len();
        assert!(code == 0 || said > 0, "{args:?} says nothing");
        let logged = args == ["alert", "test"];
        assert!(code != 0 || ran.stderr.is_empty() || logged, "{args:?}: {ran:?}");
    }
    for path in commands(&home).iter().filter(|path| !path.is_empty()) {
        let args: Vec<&str> = path.iter().map(String::as_str).chain(["--nope"]).collect();
        assert_eq!(home.run(&args).code, 3, "{args:?}");
    }
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

#[test]
fn a_command_to_copy_is_one_line_on_any_screen() {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    home.config("[renew]\nmode = \"off\"\n");
    let store = ".clawdbot/agents/main/agent/auth-profiles.json";
    home.write(store, "{");
    let command = format!("mv ~/{store} ~/{store}.broken");
    home.run(&["run"]);
    for args in [&["check"][..], &["run", "--dry-run"], &["alert", "list"]] {
        let (_, said) = Terminal::start(home.command(args), 40).end();
        assert!(said.lines().any(|line| line.trim() == command), "{args:?}: {said}");
    }
    // below its words, deeper
    let (_, said) = Terminal::start(home.command(&[]), 40).end();
    assert!(said.contains("\r\n    nolapse alert list\r\n"), "{said}");
}
