//! What happened, told as a story: the real binary, a receiver on loopback, and what a terminal of 40 columns shows.

use super::home::{DAY, HOUR, Home, MINUTE, Terminal, credentials, now, token};
use super::receiver::{Manner, Receiver};
use serde_json::{Value, json};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;

const HISTORY: &str = ".local/state/nolapse/history.jsonl";

fn config(home: &Home, text: &str) {
    home.config(&format!("[renew]\nmode = \"off\"\n{text}"));
}

fn lapse(home: &Home) {
    let text = credentials("1", now() - 2 * HOUR, Some(now() - HOUR)).to_string();
    home.write(".claude/.credentials.json", text);
}

fn entries(home: &Home, args: &[&str]) -> Vec<Value> {
    let ran = home.run(&[&["history", "--json"], args].concat());
    assert_eq!(ran.code, 0, "{ran:?}");
    let object: Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!(object["schema"], "nolapse.history/1");
    object["entries"].as_array().unwrap().clone()
}

fn whats(entries: &[Value]) -> Vec<&str> {
    entries.iter().map(|entry| entry["what"].as_str().unwrap()).collect()
}

/// Puts all that was noted so far this much earlier.
fn earlier(home: &Home, ms: i64) {
    let mut text = String::new();
    for line in home.read(HISTORY).lines() {
        let mut entry: Value = serde_json::from_str(line).unwrap();
        entry["at"] = (entry["at"].as_i64().unwrap() - ms).into();
        text += &format!("{entry}\n");
    }
    home.write(HISTORY, text);
}

#[test]
fn a_lapse_who_was_told_what_a_person_did_and_the_recovery_are_a_story() {
    let home = Home::new();
    let (phone, mail) = (Receiver::new(Manner::Answer(200)), Receiver::new(Manner::Answer(404)));
    config(&home, &(phone.channel("phone", "") + &mail.channel("mail", "")));
    home.login("1", now() + 8 * HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("0", now() - HOUR)}));
    home.run(&["run"]);
    assert_eq!(whats(&entries(&home, &[])), ["sync"]);
    let before = home.read(HISTORY);
    home.run(&["run"]);
    assert_eq!(home.read(HISTORY), before, "nothing happened, nothing is noted");

    lapse(&home);
    home.run(&["run"]);
    assert_eq!(home.run(&["alert", "ack", "--all"]).code, 0);
    assert_eq!(home.run(&["alert", "silence", "--login", "claude"]).code, 0);
    assert_eq!(home.run(&["alert", "unsilence"]).code, 0);
    earlier(&home, 5 * MINUTE);
    home.login("2", now() + 8 * HOUR);
    home.run(&["run"]);
    home.run(&["alert", "test", "phone"]);
    let mut all = entries(&home, &[]);
    // channels are told side by side: whichever answers first
    all[2..4].sort_by_key(|entry| entry["what"].as_str().unwrap().to_owned());
    assert_eq!(
        whats(&all),
        [
            "sync",
            "lapsed",
            "delivered",
            "not_delivered",
            "acked",
            "silenced",
            "unsilenced",
            "lapsed",
            "sync",
            "recovered",
            "delivered",
            "delivered",
            "tested"
        ]
    );
    // the channel that refuses is an alert of its own, told by the others before anything is done
    assert_eq!(all[7]["alert"], "channel:mail");
    let lapsed = &all[1];
    assert_eq!(
        (
            &lapsed["login"],
            &lapsed["alert"],
            &lapsed["kind"],
            &lapsed["severity"],
            &lapsed["agents"]
        ),
        (
            &json!("claude"),
            &json!("login:claude"),
            &json!("login_ended"),
            &json!("critical"),
            &json!(["clawdbot/main"])
        )
    );
    assert_eq!(all[2]["channel"], "phone");
    assert_eq!(all[2]["event"], all[3]["event"]);
    assert!(all[3]["detail"].as_str().unwrap().contains("answered 404"));
    assert_eq!(all[9]["since"], lapsed["since"]);

    let ran = home.run(&["history"]);
    for said in [
        "brought clawdbot/main up to date from `claude`",
        "✗ Claude login `claude` has ended on",
        "          affected: clawdbot/main; it had happened 55 min before it was seen\n",
        "          notified phone\n          mail could not be notified yet: ",
        "`login:claude` was acknowledged",
        "claude: alerts of the login `claude` are silenced until",
        "is fine again; it was out for 1 h",
        "phone: a test was delivered: ",
        "in the last 7 d: 2 lapses, 1 recovery, 2 syncs, 3 messages delivered\n",
    ] {
        assert!(ran.stdout.contains(said), "{said}:\n{}", ran.stdout);
    }
    assert!(!ran.stdout.contains('\u{1b}'), "no colour away from a terminal");
    assert_eq!(whats(&entries(&home, &["-n", "2"])), ["delivered", "tested"]);
    assert_eq!(entries(&home, &["--since", "1m"]).len(), 6);
    assert!(!whats(&entries(&home, &["--login", "cl*"])).contains(&"tested"));
}

#[test]
fn what_fails_at_every_pass_is_noted_once() {
    let home = Home::new();
    config(&home, &Receiver::new(Manner::Answer(500)).channel("down", ""));
    lapse(&home);
    for _ in 0..3 {
        home.run(&["run"]);
        home.run(&["alert", "retry"]);
    }
    let all = entries(&home, &[]);
    assert_eq!(whats(&all), ["lapsed", "not_delivered", "lapsed"]);
    assert_eq!(all[2]["alert"], "channel:down");
}

#[test]
fn forty_columns_are_enough_and_foreign_names_break_no_terminal() {
    let home = Home::new();
    config(&home, "");
    lapse(&home);
    home.store("main", json!({"anthropic:claude-cli": token("0", now() - HOUR)}));
    home.run(&["run"]);
    let evil = json!({"at": now(), "what": "failed", "whom": "x\u{1b}[2J\u{7}y", "text": "a\nb\u{9b}31m"});
    home.write(HISTORY, home.read(HISTORY) + &evil.to_string() + "\ngarbage\n{\"at\":");
    let mut command = home.command(&["history"]);
    command.env("TERM", "xterm-256color");
    let mut terminal = Terminal::start(command, 40);
    let (code, said) = terminal.end();
    assert_eq!(code, 0);
    assert!(
        !said.contains("\u{1b}[2J") && !said.contains('\u{7}') && !said.contains('\u{9b}'),
        "{said:?}"
    );
    let mut screen = vt100::Parser::new(60.try_into().unwrap(), 200.try_into().unwrap(), 0);
    screen.process(said.as_bytes());
    let text = screen.screen().contents();
    assert!(text.contains("2 lines of the history could not be"), "{text}");
    assert!(text.contains("✗ Claude login"), "{text}");
    let widest = text.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
    assert!(widest <= 40, "{widest}:\n{text}");
}

#[test]
fn a_slip_is_named_and_an_empty_history_says_so() {
    let home = Home::new();
    let ran = home.run(&["history"]);
    assert_eq!(
        (ran.code, ran.stdout.as_str()),
        (0, "nothing happened in the last 7 d\n")
    );
    home.login("1", now() + 8 * HOUR);
    for (args, hint) in [
        (&["history", "--login", "cluade"][..], "did you mean `claude`?"),
        (&["history", "--login", "zzz*"], "there are: claude"),
        (&["history", "--since", "yesterday"], "write `7d`"),
    ] {
        let ran = home.run(args);
        assert_eq!(ran.code, 3, "{args:?}: {ran:?}");
        assert!(ran.stderr.contains(hint), "{args:?}: {ran:?}");
    }
    let day = day(now() - 2 * DAY);
    assert_eq!(home.run(&["history", "--since", &day]).code, 0);
    assert!(home.files().keys().all(|path| !path.contains("history")));
}

/// A date as a person writes it.
fn day(at: i64) -> String {
    chrono::DateTime::from_timestamp_millis(at)
        .unwrap()
        .format("%Y-%m-%d")
        .to_string()
}

/// Puts all that is remembered this much earlier.
fn remembered_earlier(home: &Home, ms: i64) {
    for name in ["ledger.json", "history.jsonl", "passes.json"] {
        let path = format!(".local/state/nolapse/{name}");
        let text = home.read(&path);
        let moments = text.split(|c: char| !c.is_ascii_digit()).filter(|run| run.len() == 13);
        let mut moments: Vec<i64> = moments.map(|run| run.parse().unwrap()).collect();
        moments.sort_unstable();
        moments.dedup();
        let shifted = moments.iter().fold(text, |text, moment| {
            text.replace(&moment.to_string(), &format!("\u{0}{}", moment - ms))
        });
        home.write(&path, shifted.replace('\u{0}', ""));
    }
}

#[test]
fn the_story_in_the_documentation_is_the_one_that_is_told() {
    let mut home = Home::new();
    let phone = Receiver::new(Manner::Answer(200));
    let chat = Receiver::new(Manner::Answer(200));
    let text = |chat: &str| {
        format!(
            "[[login]]\ndir = \"~/.claude-ci\"\n{}{chat}",
            phone.channel("phone", "")
        )
    };
    // nobody listens there
    config(
        &home,
        &text(&chat.channel("chat", "").replace(&chat.url(), "http://127.0.0.1:1/hook")),
    );
    let good = credentials("1", now() + 2 * HOUR, Some(now() + 20 * DAY));
    home.write(".claude-ci/.credentials.json", good.to_string());
    home.write(".openclaw/openclaw.json", r#"{"agents":{"list":[{"id":"ci"}]}}"#);
    let profiles = json!({"anthropic:claude-cli": token("1", now() + 2 * HOUR)});
    home.write(
        ".openclaw/agents/ci/agent/auth-profiles.json",
        json!({"version": 1, "profiles": profiles}).to_string(),
    );
    // so that no midnight falls into it
    let hour = now() / HOUR % 24;
    home.env.insert("TZ".into(), format!("<xxx>{}", hour - 15));
    home.run(&["run"]);
    assert!(entries(&home, &[]).is_empty());

    home.write(
        ".claude-ci/.credentials.json",
        r#"{"claudeAiOauth":{"accessToken":"","refreshToken":"","expiresAt":0}}"#,
    );
    home.run(&["run"]);
    remembered_earlier(&home, 20 * MINUTE);
    config(&home, &text(&chat.channel("chat", "")));
    home.run(&["run"]);
    remembered_earlier(&home, 24 * MINUTE);
    let claude = home.write("bin/claude", include_str!("claude.sh"));
    std::fs::set_permissions(claude, std::fs::Permissions::from_mode(0o700)).unwrap();
    home.write("token", format!("sk-ant-oat01-{}\n", "aB3_-".repeat(18)));
    let path = format!("{}:/usr/bin:/bin", home.at("bin").display());
    home.env.insert("PATH".into(), path);
    let mut login = home.piped(&["login", "--login", "claude-ci"]);
    login.stdin.take().unwrap().write_all(b"goodcode#STATE\n").unwrap();
    let output = login.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");

    let ran = home.run(&["history", "--since", "12h"]);
    let host = ran.stdout.split_once("logged out on ").unwrap().1;
    let host = format!(" on {}", host.lines().next().unwrap());
    let told = ran
        .stdout
        .replace(&host, " on gw")
        .replace("http://127.0.0.1:1/…", "https://chat.example.org/…")
        // they are told side by side
        .replace("chat and phone", "phone and chat");
    let shown = super::docs::blocks(&super::docs::read("docs/history.md"), "text").remove(0);
    let shown = shown.strip_prefix("$ nolapse history --since 12h\n").unwrap();
    let dated = |text: &str| -> Vec<String> {
        let lines = text.lines().enumerate().map(|(n, line)| match line.as_bytes() {
            _ if n == 0 => "a day".to_owned(),
            [b' ', b' ', b'0'..=b'2', _, b':', ..] => format!("  00:00{}", &line[7..]),
            _ => line.to_owned(),
        });
        lines.collect()
    };
    assert_eq!(dated(&told), dated(shown), "{told}");
}
