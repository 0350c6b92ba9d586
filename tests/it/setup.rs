//! `nolapse` alone, and `nolapse setup`: from nothing to an alert that arrived, by flags and by answers, and nothing half done.

use super::home::{DAY, HOUR, Home, MAIN, Terminal, access, credentials, now, token};
use super::install::Platform;
use super::receiver::{Manner, Receiver};
use serde_json::json;

const FILE: &str = ".config/nolapse/config.toml";

fn home() -> Home {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("1", now() + 8 * HOUR)}));
    home
}

fn team(home: &Home) {
    let text = credentials("2", now() + 8 * HOUR, Some(now() + 20 * DAY)).to_string();
    home.write(".claude-team/.credentials.json", text);
}

#[test]
fn by_flags_alone_an_alert_arrives_and_a_second_time_changes_nothing() {
    let receiver = Receiver::new(Manner::Answer(200));
    let home = home();
    team(&home);
    let channel = format!("--channel=webhook={},name=mine", receiver.url());
    let ran = home.run(&["setup", "--yes", "--no-install", &channel]);
    assert_eq!(ran.code, 0, "{ran:?}");
    for said in ["clawdbot/main", "~/.claude-team", "nolapse channel remove mine", FILE] {
        assert!(ran.stdout.contains(said), "{said}: {ran:?}");
    }
    assert_eq!(receiver.events()[0]["kind"], "test");
    let text = home.read(FILE);
    let want = "[[login]]\ndir = \"~/.claude-team\"\n\n[[channel]]\ntype = \"webhook\"\nname = \"mine\"\nurl_file = \"~/.config/nolapse/mine-url\"\n";
    assert_eq!(text, want);
    assert_eq!(home.run(&["config", "check"]).code, 0);

    let before = home.files();
    let ran = home.run(&["setup", "--yes", "--no-install"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("nothing changed"), "{ran:?}");
    assert_eq!(home.files(), before);
    assert_eq!(receiver.events().len(), 1);
}

/// A home of a team: each login is given to the agents that hold its tokens, and to nobody else.
#[test]
fn the_logins_of_a_team_go_to_their_own_agents() {
    let home = Home::new();
    for name in ["alice", "bob"] {
        let text = credentials(name, now() + 8 * HOUR, Some(now() + 20 * DAY)).to_string();
        home.write(&format!(".claude-{name}/.credentials.json"), text);
    }
    home.store(
        "main",
        json!({"openai:x": {"type": "api_key", "provider": "openai", "key": "k"}}),
    );
    home.store("alice", json!({"anthropic:claude-cli": token("alice", now() - HOUR)}));
    home.store("bob", json!({"anthropic:claude-cli": token("bob", now() + HOUR)}));
    let before = home.read(MAIN);
    let ran = home.run(&["setup", "--yes", "--no-install", "--channel=command=true"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("used by clawdbot/alice"), "{ran:?}");
    let text = home.read(FILE);
    for name in ["alice", "bob"] {
        let block = format!("[[login]]\ndir = \"~/.claude-{name}\"\nagents = [\"clawdbot/{name}\"]\n");
        assert!(text.contains(&block), "{name}: {text}");
    }
    home.run(&["run"]);
    let end = home.json(".claude-alice/.credentials.json")["claudeAiOauth"]["expiresAt"].clone();
    let of = |agent: &str| home.json(&format!(".clawdbot/agents/{agent}/agent/auth-profiles.json"))["profiles"].clone();
    assert_eq!(of("alice")["anthropic:claude-cli"]["expires"], end);
    assert_eq!(of("bob")["anthropic:claude-cli"]["token"], access("bob"));
    assert_eq!(
        home.read(MAIN),
        before,
        "nobody's login is given to an agent that holds none"
    );
}

#[test]
fn what_cannot_be_done_leaves_everything_as_it_was() {
    let receiver = Receiver::new(Manner::Answer(500));
    let home = home();
    let before = home.files();
    let refused = format!("--channel=webhook={}", receiver.url());
    for (args, says) in [
        (&["setup"][..], "no terminal to ask at"),
        (&["setup", "--yes", "--no-install", &refused], "nothing was changed"),
        (
            &["setup", "--yes", "--no-install", "--channel=slak"],
            "did you mean `slack`",
        ),
        (
            &["setup", "--yes", "--no-install", "--channel=gotify=https://example.org"],
            "needs token",
        ),
        (
            &["setup", "--yes", "--no-install", "--login=nowhere"],
            "is no directory",
        ),
    ] {
        let ran = home.run(args);
        assert_eq!(ran.code, 3, "{args:?} {ran:?}");
        assert!(ran.stderr.contains(says), "{args:?} {ran:?}");
        assert_eq!(home.files(), before, "{args:?}");
    }
    assert_eq!(receiver.seen().len(), 1);
    // nobody would be notified: said, and no success
    let ran = home.run(&["setup", "--yes", "--no-install"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    assert!(ran.stdout.contains("nobody is notified"), "{ran:?}");
    assert_eq!(home.files(), before);
}

#[test]
fn answers_in_a_terminal_do_the_same_and_the_url_is_not_shown() {
    let receiver = Receiver::new(Manner::Answer(200));
    let home = home();
    team(&home);
    let mut terminal = Terminal::start(home.command(&["setup", "--no-install"]), 80);
    terminal.wait_for("Watch ~/.claude-team too? [Y/n]");
    terminal.type_in(b"n\r");
    terminal.wait_for("Number or name");
    terminal.type_in(b"webhook\r");
    terminal.wait_for("URL (not shown): ");
    terminal.type_in(format!("{}\r", receiver.url()).as_bytes());
    terminal.wait_for("Did it arrive? [Y/n]");
    assert_eq!(receiver.events().len(), 1);
    terminal.type_in(b"\r");
    terminal.wait_for("Add another channel? [y/N]");
    terminal.type_in(b"\r");
    let (code, heard) = terminal.end();
    assert_eq!(code, 0, "{heard}");
    assert!(!heard.contains("/hook"), "{heard}");
    assert!(terminal.echoes());
    assert_eq!(home.read(".config/nolapse/webhook-url"), receiver.url() + "\n");
    assert!(!home.read(FILE).contains("team"), "{}", home.read(FILE));
}

#[test]
fn a_test_that_did_not_arrive_can_be_entered_again() {
    let receiver = Receiver::new(Manner::Answer(200));
    let home = home();
    let mut terminal = Terminal::start(home.command(&["setup", "--no-install"]), 80);
    terminal.wait_for("Number or name");
    terminal.type_in(b"webhook\r");
    terminal.wait_for("URL (not shown): ");
    terminal.type_in(b"no url\r");
    terminal.wait_for("not an http");
    terminal.type_in(format!("{}/elsewhere\r", receiver.url()).as_bytes());
    terminal.wait_for("Did it arrive?");
    terminal.type_in(b"n\r");
    terminal.wait_for("Enter it again?");
    terminal.type_in(b"y\r");
    terminal.wait_until("the question again", |t| {
        t.heard().matches("URL (not shown): ").count() == 3
    });
    terminal.type_in(format!("{}\r", receiver.url()).as_bytes());
    terminal.wait_until("the second test", |t| t.heard().matches("Did it arrive?").count() == 2);
    terminal.type_in(b"y\r");
    terminal.wait_for("Add another channel?");
    terminal.type_in(b"n\r");
    let (code, heard) = terminal.end();
    assert_eq!(code, 0, "{heard}");
    assert_eq!(home.read(FILE).matches("[[channel]]").count(), 1);
    assert_eq!(home.read(".config/nolapse/webhook-url"), receiver.url() + "\n");
}

#[test]
fn an_interrupt_at_any_question_leaves_all_as_it_was() {
    let receiver = Receiver::new(Manner::Answer(200));
    let url = format!("{}\r", receiver.url());
    let answers: [(&str, &str); 5] = [
        ("Watch ~/.claude-team too?", "y\r"),
        ("Number or name", "webhook\r"),
        ("URL (not shown): ", &url),
        ("Did it arrive?", "y\r"),
        ("Add another channel?", "n\r"),
    ];
    for stop in 0..answers.len() {
        let home = home();
        team(&home);
        let before = home.files();
        let mut terminal = Terminal::start(home.command(&["setup", "--no-install"]), 80);
        for (question, answer) in &answers[..stop] {
            terminal.wait_for(question);
            terminal.type_in(answer.as_bytes());
        }
        terminal.wait_for(answers[stop].0);
        terminal.type_in(b"\x03");
        let (code, heard) = terminal.end();
        assert_eq!(code, 130, "{stop}: {heard}");
        assert_eq!(home.files(), before, "{stop}: {heard}");
        assert!(terminal.echoes(), "{stop}");
    }
}

#[test]
fn it_installs_what_runs_it_and_keeps_it_running_and_says_how_to_undo_that() {
    let mut home = home();
    let platform = Platform::new(&mut home);
    std::fs::write(platform.at("linger"), "no\n").unwrap();
    let ran = home.run(&[
        "setup",
        "--yes",
        "--platform",
        "systemd",
        "--channel",
        "command=true",
        "--no-test",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let calls = platform.calls();
    assert!(calls.contains("systemctl --user enable --now nolapse.timer"), "{calls}");
    assert!(calls.contains("loginctl enable-linger u"), "{calls}");
    for said in [
        "nolapse uninstall",
        "loginctl disable-linger",
        "nolapse channel remove command",
    ] {
        assert!(ran.stdout.contains(said), "{said}: {ran:?}");
    }
    // what is there already is not proposed again
    let ran = home.run(&["setup", "--yes"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("already run by the systemd timer"), "{ran:?}");
    assert!(!platform.calls().contains("enable"));
}

#[test]
fn alone_it_says_where_one_stands_and_the_next_step() {
    let empty = Home::new();
    let ran = empty.run(&[]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    for said in ["claude auth login", "nolapse setup", "nolapse demo"] {
        assert!(ran.stdout.contains(said), "{ran:?}");
    }
    assert!(empty.files().is_empty());

    let mut home = home();
    let platform = Platform::new(&mut home);
    home.env.insert("PREFIX".into(), "/usr".into());
    let next = |home: &Home| {
        let ran = home.run(&[]);
        assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
        assert!(ran.stdout.contains("clawdbot/main"), "{ran:?}");
        ran.stdout.lines().last().unwrap().trim().to_owned()
    };
    std::fs::remove_file(platform.at("bin/termux-notification")).unwrap();
    assert_eq!(next(&home), "nolapse setup");
    home.config("[renew]\nmode = \"off\"\n[[channel]]\ntype = \"command\"\ncommand = [\"true\"]\n");
    assert_eq!(next(&home), "nolapse install");
    assert_eq!(home.run(&["install", "systemd"]).code, 0);
    assert_eq!(next(&home), "nothing to do; details: nolapse status");
    home.write(
        ".claude/.credentials.json",
        r#"{"claudeAiOauth":{"accessToken":"","refreshToken":"","expiresAt":0}}"#,
    );
    assert_eq!(next(&home), "nolapse login");
}

#[test]
fn words_that_people_try_name_the_command() {
    let home = Home::new();
    for (word, command) in [
        ("start", "install"),
        ("enable", "install"),
        ("logs", "history"),
        ("mute", "alert silence"),
    ] {
        let ran = home.run(&[word]);
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(
            ran.stderr.contains(&format!("did you mean `nolapse {command}`?")),
            "{ran:?}"
        );
    }
    // both names are one command
    let help = |name| home.run(&[name, "--help"]).stdout.replace("reauth", "login");
    assert_eq!(help("login"), help("reauth"));
    let help = home.run(&["channel", "add", "--help"]).stdout;
    let (own, global) = help.split_once("Global options:").unwrap();
    assert!(global.contains("--state-dir") && !own.contains("--state-dir"), "{help}");
}

#[test]
fn every_command_fits_a_narrow_screen() {
    let home = home();
    home.config("[renew]\nmode = \"off\"\n[[channel]]\ntype = \"command\"\nname = \"phone\"\ncommand = [\"true\"]\n");
    for args in [&[][..], &["channel", "list"], &["setup", "--yes", "--no-install"]] {
        let mut terminal = Terminal::start(home.command(args), 40);
        let (_, heard) = terminal.end();
        for line in heard.lines() {
            let shown = strip(line);
            assert!(shown.trim_end().chars().count() <= 40, "{args:?}: {shown}");
        }
    }
}

/// A line without colours.
fn strip(line: &str) -> String {
    let mut out = String::new();
    let mut parts = line.split('\u{1b}');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        out.push_str(
            part.split_once(|c: char| c.is_ascii_alphabetic())
                .map_or("", |(_, rest)| rest),
        );
    }
    out
}

#[test]
fn the_manual_page_is_read_through_the_pager_on_a_terminal_and_printed_elsewhere() {
    let mut home = Home::new();
    // no `man` here
    std::fs::create_dir(home.at("bin")).unwrap();
    for (name, at) in [("sh", "/bin/sh"), ("cat", "/bin/cat")] {
        std::os::unix::fs::symlink(at, home.at("bin").join(name)).unwrap();
    }
    home.env.insert("PATH".into(), home.at("bin").display().to_string());
    home.env.insert("PAGER".into(), "echo paged; cat".into());
    let mut terminal = Terminal::start(home.command(&["man"]), 80);
    let (code, heard) = terminal.end();
    assert!(
        code == 0 && heard.contains("paged") && heard.contains("Commands:"),
        "{heard}"
    );
    let ran = home.run(&["man"]);
    assert!(ran.code == 0 && ran.stdout.contains(".TH"), "{ran:?}");
}

#[test]
fn the_version_names_the_commit_or_that_it_is_unknown() {
    let ran = Home::new().run(&["--version"]);
    let version = ran.stdout.trim();
    let begin = format!("nolapse {} (", env!("CARGO_PKG_VERSION"));
    assert!(version.starts_with(&begin) && version.ends_with(')'), "{version}");
}
