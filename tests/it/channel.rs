//! `channel` and `config set`: the configuration is changed without an editor, keeps its comments, and is never left invalid.

use super::home::{Home, Terminal};
use super::receiver::{Manner, Receiver};
use std::os::unix::fs::PermissionsExt;

const FILE: &str = ".config/nolapse/config.toml";

const MINE: &str = "\
# my own words
[alerts]
grace = \"45m\" # long

# the first
[[channel]]
type = \"log\" # for me
";

fn mode(home: &Home, path: &str) -> u32 {
    std::fs::metadata(home.at(path)).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_channel_is_added_tested_listed_and_removed() {
    let receiver = Receiver::new(Manner::Answer(200));
    let home = Home::new();
    home.config(MINE);
    let ran = home.run(&[
        "channel",
        "add",
        &format!("webhook={}", receiver.url()),
        "resolved=false",
    ]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("nolapse channel test webhook"), "{ran:?}");
    let text = home.read(FILE);
    assert!(text.starts_with(MINE), "{text}");
    assert!(
        text.contains("url_file = \"~/.config/nolapse/webhook-url\"\n"),
        "{text}"
    );
    assert!(text.contains("resolved = false\n"), "{text}");
    assert!(!text.contains(&receiver.url()), "{text}");
    assert_eq!(mode(&home, ".config/nolapse/webhook-url"), 0o600);
    assert_eq!(home.run(&["config", "check"]).code, 0);

    let ran = home.run(&["channel", "list"]);
    assert!(ran.stdout.contains("webhook, to 127.0.0.1"), "{ran:?}");
    assert!(!ran.stdout.contains("/hook"), "{ran:?}");
    let ran = home.run(&["channel", "test", "webhook"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(receiver.events().len(), 1);

    let ran = home.run(&["channel", "remove", "webhook"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert_eq!(home.read(FILE), MINE);
    assert!(!home.at(".config/nolapse/webhook-url").exists());
}

#[test]
fn what_is_not_valid_is_refused_and_nothing_is_written() {
    let home = Home::new();
    home.config(MINE);
    let before = home.files();
    for (args, says) in [
        (
            &["channel", "add", "slak=https://example.org"][..],
            "did you mean `slack`",
        ),
        (&["channel", "add", "slack=nonsense"], "not an http"),
        (&["channel", "add", "slack"], "needs url"),
        (&["channel", "add", "log", "name=log"], "used twice"),
        (
            &["channel", "add", "gotify=https://example.org", "token=CANARY"],
            "is a secret",
        ),
        (
            &["channel", "add", "email=a@example.org", "hst=x"],
            "did you mean `host`",
        ),
        (&["channel", "remove", "slack"], "no channel is called `slack`"),
        (&["config", "set", "alerts.grace", "10d"], "alerts.grace"),
        (&["config", "set", "alerts.grac", "1h"], "did you mean `grace`"),
        (&["config", "set", "nonsense.x", "1"], "is not a key"),
        (
            &["config", "set", "channel.log.resolved", "perhaps"],
            "channel[1].resolved",
        ),
        (
            &["config", "set", "channel.slack.resolved", "true"],
            "no channel in the configuration is called",
        ),
        (
            &["config", "set", "heartbeat.url", "https://example.org/CANARY"],
            "is a secret",
        ),
    ] {
        let ran = home.run(args);
        assert_eq!(ran.code, 3, "{args:?} {ran:?}");
        assert!(ran.stderr.contains(says), "{args:?} {ran:?}");
        assert!(
            !ran.stderr.contains("CANARY") && !ran.stdout.contains("CANARY"),
            "{ran:?}"
        );
        assert_eq!(home.files(), before, "{args:?}");
    }
}

#[test]
fn a_key_is_set_where_it_stands_and_secrets_come_from_stdin() {
    let home = Home::new();
    home.config(MINE);
    for (key, value) in [
        ("alerts.grace", "1h"),
        ("alerts.steps", "7d, 1d"),
        ("channel.log.quiet_hours", "22:00-07:00"),
        ("renew.always", "true"),
    ] {
        let ran = home.run(&["config", "set", key, value]);
        assert_eq!(ran.code, 0, "{key} {ran:?}");
    }
    let ran = home.run_with(
        &["config", "set", "heartbeat.url", "-"],
        b"https://example.org/CANARY\n",
    );
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(!format!("{ran:?}").contains("CANARY"), "{ran:?}");
    assert_eq!(
        home.read(".config/nolapse/heartbeat-url"),
        "https://example.org/CANARY\n"
    );
    assert_eq!(mode(&home, ".config/nolapse/heartbeat-url"), 0o600);
    let want = "\
# my own words
[alerts]
grace = \"1h\" # long
steps = [\"7d\", \"1d\"]

# the first
[[channel]]
type = \"log\" # for me
quiet_hours = \"22:00-07:00\"

[renew]
always = true

[heartbeat]
url_file = \"~/.config/nolapse/heartbeat-url\"
";
    assert_eq!(home.read(FILE), want);
    let ran = home.run(&["config", "set", "alerts.grace", "1h"]);
    assert!(ran.stdout.contains("nothing changed"), "{ran:?}");
    assert_eq!(home.read(FILE), want);
}

#[test]
fn what_is_missing_is_asked_for_and_a_secret_is_not_shown() {
    let home = Home::new();
    let mut terminal = Terminal::start(home.command(&["channel", "add", "telegram"]), 80);
    terminal.wait_for("Chat id");
    terminal.type_in(b"12x\x7f3\r");
    terminal.wait_for("Bot token");
    terminal.type_in(b"1:CANARY\r");
    let (code, heard) = terminal.end();
    assert_eq!(code, 0, "{heard}");
    assert!(heard.contains("12x\u{8} \u{8}3"), "{heard}");
    assert!(!heard.contains("CANARY"), "{heard}");
    assert_eq!(home.read(".config/nolapse/telegram-token"), "1:CANARY\n");
    let text = home.read(FILE);
    assert!(text.contains("chat_id = \"123\""), "{text}");
    assert_eq!(mode(&home, FILE), 0o600);

    // ^C at a question: nothing more is there than before
    let before = home.files();
    let mut terminal = Terminal::start(home.command(&["channel", "add", "slack"]), 80);
    terminal.wait_for("Webhook URL");
    terminal.type_in(b"https://example.org/CANARY\x03");
    let (code, heard) = terminal.end();
    assert_eq!(code, 130, "{heard}");
    assert!(terminal.echoes());
    assert_eq!(home.files(), before);
}

#[test]
fn a_topic_is_made_where_none_is_given() {
    let home = Home::new();
    let ran = home.run(&["channel", "add", "ntfy"]);
    assert_eq!(ran.code, 0, "{ran:?}");
    let topic = home.read(".config/nolapse/ntfy-topic");
    assert_eq!(topic.trim().len(), "nolapse-".len() + 32, "{topic}");
    assert!(ran.stdout.contains(topic.trim()), "{ran:?}");
}
