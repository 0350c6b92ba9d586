//! The live view in a pseudo-terminal: what stands on the screen, what a redraw costs, and the terminal afterwards.

use super::home::{DAY, HOUR, Home, Terminal, credentials, now, token};
use serde_json::json;
use std::io::Read;

fn home() -> Home {
    let mut home = Home::new();
    home.env.insert("TERM".into(), "xterm-256color".into());
    home.config("[renew]\nmode = \"off\"\n");
    home.login("1", now() + 8 * HOUR);
    for agent in ["main", "work", "mail"] {
        home.store(agent, json!({"anthropic:claude-cli": token("1", now() + 8 * HOUR)}));
    }
    home
}

fn lapse(home: &Home) {
    let text = credentials("1", now() - 2 * HOUR, Some(now() - HOUR)).to_string();
    home.write(".claude/.credentials.json", text);
}

/// Waits until a screen of this size, drawn from the byte `from` on, shows all of this.
fn shows(terminal: &mut Terminal, columns: u16, rows: u16, from: usize, all: &[&str]) -> String {
    let mut text = String::new();
    terminal.wait_until(&format!("{all:?}"), |terminal| {
        text = terminal.screen(columns, rows, from).screen().contents();
        all.iter().all(|one| text.contains(one))
    });
    text
}

/// The terminal is as a shell left it.
fn restored(terminal: &mut Terminal) {
    assert!(terminal.echoes());
    let parser = terminal.screen(40, 20, 0);
    assert!(!parser.screen().alternate_screen() && !parser.screen().hide_cursor());
    let said = terminal.heard();
    assert!(said.trim_end().ends_with("\u{1b}[?1049l"), "{said:?}");
    assert_eq!(
        said.matches("\u{1b}[?2026h").count(),
        said.matches("\u{1b}[?2026l").count() - 1
    );
}

#[test]
fn forty_columns_by_twenty_rows_show_what_matters_and_follow_files_and_size() {
    let home = home();
    let mut terminal = Terminal::sized(home.command(&["status", "--watch"]), 40, 20);
    let first = shows(
        &mut terminal,
        40,
        20,
        0,
        &[
            "nolapse · ",
            "nothing needs you; 1 login, 3 agents",
            "claude        ok       ████░░ 17 d",
            "clawdbot/main ok       ██████ 8 h",
            "no pass seen yet",
            "nothing runs it automatically; q quits",
        ],
    );
    assert!(first.lines().count() <= 20, "{first}");
    assert!(terminal.screen(40, 20, 0).screen().alternate_screen());
    assert!(!terminal.echoes());

    // a file changes: shown over what stands there, in one bounded update, with nothing cleared first
    let from = terminal.since(0).len();
    home.store("main", json!({"anthropic:claude-cli": token("0", now() - DAY)}));
    shows(&mut terminal, 40, 20, 0, &["clawdbot/main expired  ░░░░░░ ended"]);
    terminal.wait_until("the end of the update", |terminal| {
        terminal.since(from).ends_with(b"\x1b[?2026l")
    });
    let update = terminal.since(from);
    let text = String::from_utf8_lossy(&update);
    assert!(
        text.starts_with("\u{1b}[?2026h") && text.ends_with("\u{1b}[?2026l"),
        "{text:?}"
    );
    assert!(
        !text.contains("\u{1b}[2J") && !text.contains("clawdbot/work"),
        "{text:?}"
    );
    assert!(update.len() < 1500, "{}: {text:?}", update.len());

    // a pass writes down when it was
    home.run(&["run"]);
    home.write(
        ".local/state/nolapse/passes.json",
        json!({"last_at": now() - 4 * 60_000}).to_string(),
    );
    shows(&mut terminal, 40, 20, 0, &["clawdbot/main ok", "last pass 4 min ago"]);

    // another size: all of it is drawn anew, whatever the terminal made of the old
    for (columns, rows) in [(100, 30), (40, 6), (30, 3), (40, 20)] {
        let from = terminal.since(0).len();
        terminal.resize(columns, rows);
        let text = shows(&mut terminal, columns, rows, from, &["nolapse"]);
        assert!(text.lines().count() <= usize::from(rows));
        assert!(!String::from_utf8_lossy(&terminal.since(from)).contains("\u{1b}[2J"));
    }
    lapse(&home);
    shows(
        &mut terminal,
        40,
        20,
        0,
        &[
            "1 thing needs you",
            "claude        expired",
            "▲ Claude login",
            "run: nolapse login",
        ],
    );
    terminal.type_in(b"\x1b[A\x1b[Bx");
    terminal.type_in(b"q");
    assert_eq!(terminal.end().0, 0);
    restored(&mut terminal);
}

#[test]
fn it_ends_cleanly_however_it_is_ended() {
    for stop in ["q", "\u{3}", "\u{4}", "INT", "TERM", "HUP"] {
        let home = home();
        let before = home.files();
        let mut terminal = Terminal::sized(home.command(&["status", "--watch"]), 40, 20);
        shows(&mut terminal, 40, 20, 0, &["q quits"]);
        match stop.len() {
            1 => terminal.type_in(stop.as_bytes()),
            _ => terminal.signal(stop),
        }
        assert_eq!(terminal.end().0, 0, "{stop}");
        restored(&mut terminal);
        assert_eq!(home.files(), before, "a look writes nothing");
    }
}

#[test]
fn it_ends_when_its_terminal_is_gone() {
    let home = home();
    let command = home.command(&["status", "--watch"]);
    let (mut pty, pts) = pty_process::blocking::open().unwrap();
    pty.resize(pty_process::Size::new(20, 40)).unwrap();
    let mut run = pty_process::blocking::Command::new(command.get_program())
        .args(command.get_args())
        .env_clear();
    for (name, value) in command.get_envs() {
        run = run.env(name, value.unwrap());
    }
    let mut child = run.spawn(pts).unwrap();
    let mut heard = Vec::new();
    let mut chunk = [0; 1024];
    while !String::from_utf8_lossy(&heard).contains("q quits") {
        let count = pty.read(&mut chunk).unwrap();
        heard.extend_from_slice(&chunk[..count]);
    }
    drop(pty);
    assert_eq!(child.wait().unwrap().code(), Some(0));
}

#[test]
fn it_is_stopped_and_continued_as_a_shell_would() {
    let home = home();
    let mut terminal = Terminal::sized(home.command(&["status", "--watch"]), 40, 20);
    shows(&mut terminal, 40, 20, 0, &["q quits"]);
    // a debugger or `kill -STOP`, and another program that left the terminal as it likes
    terminal.signal("STOP");
    let from = terminal.since(0).len();
    terminal.signal("CONT");
    shows(&mut terminal, 40, 20, from, &["nothing needs you", "q quits"]);
    assert!(!terminal.echoes());
    // ^L draws all of it
    let from = terminal.since(0).len();
    terminal.type_in(b"\x0c");
    shows(&mut terminal, 40, 20, from, &["nothing needs you", "q quits"]);
    terminal.type_in(b"q");
    assert_eq!(terminal.end().0, 0);
}

#[test]
fn what_files_hold_reaches_no_terminal_as_it_is() {
    let home = home();
    home.store(
        "evil",
        json!({"anthropic:\u{1b}[2J\u{7}x": token("0", now() - DAY), "\u{9b}31m": token("0", now() - DAY)}),
    );
    let mut terminal = Terminal::sized(home.command(&["status", "--watch"]), 120, 30);
    shows(&mut terminal, 120, 30, 0, &["clawdbot/evil", "q quits"]);
    terminal.type_in(b"q");
    let (code, said) = terminal.end();
    assert_eq!(code, 0);
    assert!(
        !said.contains("\u{1b}[2J") && !said.contains('\u{7}') && !said.contains('\u{9b}'),
        "{said:?}"
    );
}

#[test]
fn without_a_terminal_it_says_what_to_do_instead() {
    let mut home = home();
    let ran = home.run(&["status", "--watch"]);
    assert_eq!((ran.code, ran.stdout.as_str()), (3, ""));
    assert!(ran.stderr.contains("hint: leave it out, or use `--json`"), "{ran:?}");
    home.env.insert("TERM".into(), "dumb".into());
    let mut terminal = Terminal::sized(home.command(&["status", "--watch"]), 40, 20);
    let (code, said) = terminal.end();
    assert!(code == 3 && !said.contains('\u{1b}'), "{said:?}");
}

#[test]
fn the_table_is_readable_on_a_terminal_of_forty_columns() {
    let home = home();
    lapse(&home);
    home.write(".clawdbot/agents/lab/agent/auth-profiles.json", "{");
    for columns in [40, 60, 100, 160] {
        let mut terminal = Terminal::sized(home.command(&["status"]), columns, 60);
        assert_eq!(terminal.end().0, 0);
        // on a screen that is wider, a line that was wrapped by the terminal would show
        let text = terminal.screen(300, 60, 0).screen().contents();
        let widest = text.lines().map(|line| line.trim_end().chars().count()).max().unwrap();
        assert!(widest <= usize::from(columns), "{columns}: {widest}\n{text}");
        assert!(text.contains("hint: "), "{text}");
    }
}
