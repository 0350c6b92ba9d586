//! What a person at a terminal waits for: shown once it lasts, rewritten in place, gone at the end, and never anywhere else.

use super::home::{HOUR, Home, Terminal, now, token};
use serde_json::json;
use std::fs;
use std::os::unix::fs::PermissionsExt;

/// Stand-ins that note that they were begun, and go on once they may.
const WAIT: &str = "#!/bin/sh\n: > \"$HOME/begun\"\nwhile [ ! -e \"$HOME/go\" ]; do sleep 0.02; done\n";

fn home() -> Home {
    let mut home = Home::new();
    home.login("1", now() + 8 * HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("1", now() + 8 * HOUR)}));
    let path = format!("{}:/usr/bin:/bin", home.at("bin").display());
    home.env.insert("PATH".into(), path);
    home.env.insert("TERM".into(), "xterm-256color".into());
    home
}

fn program(home: &Home, name: &str, text: &str) {
    let path = home.write(&format!("bin/{name}"), text);
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// A home, and the command that waits there for something of this name.
fn slow(what: &str) -> (Home, &'static [&'static str]) {
    let home = home();
    match what {
        "gw to answer" => {
            program(&home, "ssh", WAIT);
            home.config("[renew]\nmode = \"off\"\n[[remote]]\nname = \"gw\"\nssh = \"u@gw\"\n");
            (home, &["run"])
        }
        "the channel `phone`" => {
            program(&home, "tell", WAIT);
            home.config("[[channel]]\ntype = \"command\"\nname = \"phone\"\ncommand = [\"tell\"]\n");
            (home, &["alert", "test", "phone"])
        }
        "Claude Code to renew `claude`" => {
            program(&home, "../package/bin/claude.exe", WAIT);
            let package = json!({"name": "@anthropic-ai/claude-code", "version": "2.1.330"});
            home.write("package/package.json", package.to_string());
            fs::create_dir_all(home.at("bin")).unwrap();
            std::os::unix::fs::symlink(home.at("package/bin/claude.exe"), home.at("bin/claude")).unwrap();
            home.login("1", now() - HOUR);
            (home, &["refresh"])
        }
        other => panic!("{other}"),
    }
}

#[test]
fn what_lasts_is_shown_in_one_line_and_gone_at_the_end() {
    for what in ["gw to answer", "the channel `phone`", "Claude Code to renew `claude`"] {
        let (home, args) = slow(what);
        let mut terminal = Terminal::sized(home.command(args), 80, 24);
        terminal.wait_for(&format!("\r\u{1b}[Kwaiting for {what}: 0 s"));
        terminal.wait_for(&format!("\r\u{1b}[Kwaiting for {what}: 1 s"));
        // one line, whatever was drawn in it
        let shown = terminal.screen(80, 24, 0).screen().contents();
        assert_eq!(shown.matches("waiting for").count(), 1, "{shown}");
        home.write("go", "");
        let (_, said) = terminal.end();
        let left = terminal.screen(80, 24, 0).screen().contents();
        assert!(!left.contains("waiting for"), "{left}\n{said:?}");
    }
}

/// Whether something waits to draw in this process: what is waited for after [`WAIT`] has begun has a thread that draws it, or none.
fn draws(pid: u32) -> bool {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).unwrap().flatten();
    let mut names = threads.map(|thread| fs::read_to_string(thread.path().join("comm")).unwrap_or_default());
    names.any(|name| name.contains("progress"))
}

#[test]
fn where_nobody_looks_there_is_no_byte_of_it() {
    for what in ["gw to answer", "the channel `phone`"] {
        let (home, args) = slow(what);
        let mut child = home.spawn(args);
        while !home.at("begun").exists() {
            std::thread::sleep(std::time::Duration::from_millis(2));
            assert_eq!(child.try_wait().unwrap(), None);
        }
        assert!(!draws(child.id()));
        home.write("go", "");
        let ran = super::home::Ran::of(child.wait_with_output().unwrap());
        for said in [&ran.stderr, &ran.stdout] {
            assert!(!said.contains("waiting for") && !said.contains('\u{1b}'), "{ran:?}");
        }
    }
    for (term, daemon) in [
        ("xterm-256color", false),
        ("dumb", false),
        ("", false),
        ("xterm-256color", true),
    ] {
        let (mut home, run) = slow("gw to answer");
        home.env.insert("TERM".into(), term.into());
        let args = if daemon { &["daemon"] } else { run };
        let mut terminal = Terminal::sized(home.command(args), 80, 24);
        terminal.wait_until("the remote's turn", |_| home.at("begun").exists());
        let shown = !daemon && term.starts_with("xterm");
        assert_eq!(draws(terminal.id()), shown, "{term:?} {args:?}: {}", terminal.heard());
        home.write("go", "");
        terminal.wait_until("the remote's answer", |_| {
            home.at(".local/state/nolapse/passes.json").exists()
        });
        if daemon {
            terminal.signal("TERM");
        }
        let (_, said) = terminal.end();
        assert!(
            shown || !said.contains("waiting for") && !said.contains('\u{1b}'),
            "{term}: {said:?}"
        );
    }
}

#[test]
fn another_pass_is_waited_for_by_name_and_the_log_stays_whole() {
    let home = home();
    home.config("[renew]\nmode = \"off\"\n");
    home.run(&["run"]);
    let lock = fs::File::open(home.at(".local/state/nolapse/pass.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::LockExclusive).unwrap();
    let mut terminal = Terminal::sized(home.command(&["-vv", "run"]), 120, 24);
    terminal.wait_for("waiting for another pass to end: 0 s");
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::Unlock).unwrap();
    assert_eq!(terminal.end().0, 0);
    let left = terminal.screen(120, 24, 0).screen().contents();
    assert!(
        !left.contains("waiting for") && left.contains("nothing needs you"),
        "{left}"
    );
}
