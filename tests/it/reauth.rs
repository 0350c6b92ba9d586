//! Signing in again, driven end to end: the real binary, a stand-in for the CLI, with and without a terminal on our side.

use super::home::{HOUR, Home, MAIN, Terminal, now, token};
use serde_json::{Value, json};
use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::process::{Child, ChildStdin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

pub const CODE: &str = "goodCANARYcode#STATE";
const LINK: &str = "https://claude.ai/oauth/authorize?code=true";

/// As long as the real ones.
pub fn secret() -> String {
    format!("sk-ant-oat01-CANARY{}", "aB3_-".repeat(18))
}

fn home(mode: &str) -> Home {
    let mut home = Home::new();
    home.login("old", now() - 40 * HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("old", now() - 40 * HOUR)}));
    stand_in(&mut home, mode);
    home.env
        .insert("CLAUDE_CODE_OAUTH_TOKEN".into(), "CANARY-env-token".into());
    home.env.insert("HTTPS_PROXY".into(), "http://127.0.0.1:9".into());
    home.config(
        "[[channel]]\ntype = \"command\"\ncommand = [\"sh\", \"-c\", \"cat >> pushed\"]\nmin_severity = \"info\"\n",
    );
    home
}

/// A `claude` on the home's `PATH` that signs in as `mode` says.
pub fn stand_in(home: &mut Home, mode: &str) {
    let claude = home.write("bin/claude", include_str!("claude.sh"));
    fs::set_permissions(claude, fs::Permissions::from_mode(0o700)).unwrap();
    home.write("mode", format!("{mode}\n"));
    home.write("token", secret() + "\n");
    home.env
        .insert("PATH".into(), format!("{}:/usr/bin:/bin", home.at("bin").display()));
}

/// What lies in a home but what the stand-in notes about itself.
fn kept(home: &Home) -> Vec<(String, Vec<u8>)> {
    let files = home.files().into_iter();
    files.filter(|(path, _)| !path.starts_with("child-")).collect()
}

/// A run whose stdin and stdout are pipes, as over `ssh host nolapse reauth`.
pub struct Piped {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<std::process::ChildStdout>,
    said: String,
    watch: Arc<AtomicBool>,
    watcher: Option<std::thread::JoinHandle<()>>,
}

impl Piped {
    pub fn start(home: &Home, args: &[&str]) -> Self {
        let mut child = home.piped(args);
        let watch = Arc::new(AtomicBool::new(true));
        let (going, ours) = (watch.clone(), child.id().to_string());
        // no process that was started may carry a secret in its arguments, none of ours in its environment
        let watcher = std::thread::spawn(move || {
            while going.load(Ordering::Relaxed) {
                for entry in fs::read_dir("/proc").unwrap().flatten() {
                    let parent = fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
                    let fields = parent.rsplit(") ").next().unwrap_or_default();
                    if fields.split(' ').nth(1) == Some(&ours) || entry.file_name().to_str() == Some(&ours) {
                        let line = fs::read(entry.path().join("cmdline")).unwrap_or_default();
                        assert!(!String::from_utf8_lossy(&line).contains("CANARY"));
                    }
                }
                std::thread::sleep(std::time::Duration::from_millis(10));
            }
        });
        Self {
            input: child.stdin.take(),
            output: BufReader::new(child.stdout.take().unwrap()),
            child,
            said: String::new(),
            watch,
            watcher: Some(watcher),
        }
    }

    pub fn wait_for(&mut self, text: &str) {
        while !self.said.contains(text) {
            let read = self.output.read_line(&mut self.said).unwrap();
            assert!(read > 0, "no `{text}` in:\n{}", self.said);
        }
    }

    pub fn say(&mut self, line: &str) {
        self.input.as_mut().unwrap().write_all(line.as_bytes()).unwrap();
    }

    /// Closes every pipe, as a connection that breaks does; the exit code.
    fn hang_up(mut self) -> i32 {
        self.input = None;
        drop((self.output, self.child.stderr.take()));
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        self.watch.store(false, Ordering::Relaxed);
        self.watcher.take().unwrap().join().unwrap();
        code
    }

    /// Exit code and everything it said on stdout and stderr.
    pub fn end(mut self) -> (i32, String) {
        while self.output.read_line(&mut self.said).unwrap() > 0 {}
        let mut error = String::new();
        std::io::Read::read_to_string(&mut self.child.stderr.take().unwrap(), &mut error).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        self.watch.store(false, Ordering::Relaxed);
        self.watcher.take().unwrap().join().unwrap();
        (code, self.said + &error)
    }
}

pub fn no_secret(home: &Home, said: &str, holders: &[&str]) {
    assert!(!said.contains("CANARY"), "{said}");
    for (path, bytes) in home.files() {
        let holds = String::from_utf8_lossy(&bytes).contains("CANARY");
        assert!(
            !holds || holders.contains(&path.as_str()) || path == "token" || path == "bin/claude",
            "{path}"
        );
    }
}

#[test]
fn a_login_is_repaired_without_a_terminal_and_every_store_follows() {
    let home = home("");
    let opener = home.write("bin/xdg-open", "#!/bin/sh\necho \"$1\" >opened\n");
    fs::set_permissions(opener, fs::Permissions::from_mode(0o700)).unwrap();
    let mut run = Piped::start(&home, &["-vvv", "reauth", "--open", "--push", "--qr"]);
    run.wait_for("paste the code");
    assert!(run.said.contains(LINK) && run.said.contains('█'), "{}", run.said);
    let begun = std::time::Instant::now();
    while !home.at("pushed").exists() || !home.read("pushed").contains(LINK) {
        assert!(begun.elapsed().as_secs() < 20);
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
    assert!(home.read("opened").starts_with(LINK));
    run.say("half-a-code\n");
    run.wait_for("not the whole code");
    run.say(&format!("{CODE}\n"));
    let (code, said) = run.end();
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("signed in") && said.contains("clawdbot/main: brought up to date"),
        "{said}"
    );
    assert_eq!(home.json(".claude/.credentials.json")["mcpOAuth"], json!({"kept": 1}));
    assert_eq!(home.json(MAIN)["profiles"]["anthropic:claude-cli"]["token"], secret());
    assert_eq!(home.read("child-args"), "auth login --claudeai\n");
    let env = home.read("child-env");
    assert!(
        env.contains("HTTPS_PROXY=") && !env.contains("CLAUDE_CODE_OAUTH_TOKEN"),
        "{env}"
    );
    no_secret(&home, &said, &[MAIN, ".claude/.credentials.json"]);
}

#[test]
fn a_setup_token_is_made_in_a_terminal_and_never_seen() {
    let home = home("");
    let mut terminal = Terminal::start(home.command(&["-vvv", "reauth", "--setup-token"]), 80);
    terminal.wait_for("paste the code");
    assert!(terminal.heard().contains(LINK));
    assert!(!terminal.echoes());
    terminal.type_in(format!("{CODE}\r").as_bytes());
    let (code, said) = terminal.end();
    assert_eq!(code, 0, "{said}");
    assert!(terminal.echoes());
    assert!(
        said.contains("recorded anthropic:manual") && said.contains("a setup token is in place"),
        "{said}"
    );
    let profile = &home.json(MAIN)["profiles"]["anthropic:manual"];
    assert_eq!(
        (&profile["type"], &profile["token"]),
        (&json!("token"), &json!(secret()))
    );
    let year = profile["expires"].as_i64().unwrap() - now();
    assert!((364 * 24 * HOUR..=365 * 24 * HOUR).contains(&year));
    let ledger = home.json(".local/state/nolapse/ledger.json");
    let known: Vec<&Value> = ledger["setup_tokens"].as_object().unwrap().values().collect();
    assert_eq!(known[0]["expires_at"], profile["expires"]);
    no_secret(&home, &said, &[MAIN]);
}

#[test]
fn a_setup_token_goes_where_it_was_asked_to_and_is_watched_there() {
    for (store, path, text) in [
        (
            "env",
            ".clawdbot/.env",
            format!("A=1\nANTHROPIC_OAUTH_TOKEN={}\n", secret()),
        ),
        ("file:~/year", "year", secret() + "\n"),
    ] {
        let home = home("");
        home.write(".clawdbot/.env", "A=1\n");
        home.write("code", "an old one#STATE\n");
        let args = [
            "reauth",
            "--setup-token",
            "--store",
            store,
            "--json",
            "--code-file",
            "code",
        ];
        let mut run = Piped::start(&home, &args);
        run.wait_for("\"link\"");
        home.write("code", format!("{CODE}\n"));
        let (code, said) = run.end();
        assert_eq!(code, 0, "{said}");
        let events: Vec<Value> = said.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let names: Vec<_> = events.iter().map(|event| event["event"].as_str().unwrap()).collect();
        assert_eq!(names, ["link", "sent", "done"]);
        assert_eq!(home.read(path), text);
        assert_eq!(fs::metadata(home.at(path)).unwrap().permissions().mode() & 0o777, 0o600);
        let later = (now() + 360 * 24 * HOUR).to_string();
        let status = home.status(&["--at", &later]);
        let logins = status["logins"].as_array().unwrap();
        let kept = logins.iter().find(|login| login["id"] == format!("~/{path}")).unwrap();
        assert_eq!(
            (&kept["health"], &kept["reason"]),
            (&json!("expiring"), &json!("no_refresh_token"))
        );
        no_secret(&home, &said, &[path, "code"]);
    }
}

#[test]
fn what_goes_wrong_is_said_and_changes_nothing() {
    let login: &[&str] = &["reauth"];
    let year: &[&str] = &["reauth", "--setup-token"];
    for (mode, args, input, why) in [
        (
            "",
            login,
            "bad#STATE\n",
            "the code was refused: Couldn't log in: Request failed with status code 400",
        ),
        (
            "",
            year,
            "bad#STATE\n",
            "the code was refused: OAuth error: Request failed with status code 400",
        ),
        (
            "",
            login,
            "liar#STATE\n",
            "the sign-in did not arrive in `~/.claude/.credentials.json`",
        ),
        ("", login, "", "the connection was closed before a code came"),
        ("", year, "", "the connection was closed before a code came"),
        (
            "crash",
            login,
            "",
            "ended before it was done; its last words: Segmentation fault in …",
        ),
        (
            "crash",
            year,
            "",
            "ended before it was done; its last words: Segmentation fault in …",
        ),
        (
            "crash-at-the-end",
            year,
            "good#STATE\n",
            "`claude setup-token` ended before it was done",
        ),
    ] {
        let home = home(mode);
        let before = kept(&home);
        let ran = home.run_with(args, input.as_bytes());
        assert_eq!(ran.code, 3, "{ran:?}");
        assert!(ran.stderr.contains(why), "{why}: {ran:?}");
        assert!(
            ran.stderr.contains("\nhint: ") && !ran.stderr.contains("CANARY"),
            "{ran:?}"
        );
        assert_eq!(kept(&home), before, "{mode} {args:?}");
    }
    for (mode, args, why) in [
        ("mute", &["--timeout", "700ms"][..], "showed no link"),
        ("", &["--timeout", "1500ms"], "no code came"),
        ("", &["--timeout", "1500ms", "--setup-token"], "no code came"),
        ("crash-later", &["--setup-token"], "ended before it was done"),
        ("crash-later", &[], "ended before it was done"),
    ] {
        let home = home(mode);
        let before = kept(&home);
        let run = Piped::start(&home, &[&["reauth"], args].concat());
        let (code, said) = run.end();
        assert!(code == 3 && said.contains(why), "{mode} {args:?}: {said}");
        assert_eq!(kept(&home), before, "{mode} {args:?}");
    }
    let home = home("");
    for (args, why) in [
        (&["--claude", "nowhere"][..], "`~/nowhere` is no program"),
        (&["--login", "claud"], "did you mean `claude`?"),
        (&["--setup-token", "--agent", "nobody"], "no agent is called `nobody`"),
        (&["--setup-token", "--store", "file:/proc/x"], "cannot be written"),
        (
            &["--setup-token", "--store", "drawer"],
            "write `agents`, `env` or `file:PATH`",
        ),
        (
            &["--setup-token", "--profile", "openai:x"],
            "not a profile id of `anthropic`",
        ),
    ] {
        let ran = home.run(&[&["reauth"], args].concat());
        assert!(ran.code == 3 && ran.stderr.contains(why), "{ran:?}");
        assert!(!home.at("child-args").exists());
    }
    fs::remove_file(home.at("bin/claude")).unwrap();
    let ran = home.run(&["reauth"]);
    assert!(
        ran.code == 3 && ran.stderr.contains("`claude` is not on PATH"),
        "{ran:?}"
    );
}

#[test]
fn whoever_hangs_up_before_the_code_changes_nothing_and_the_terminal_is_put_back() {
    for args in [&["reauth"][..], &["reauth", "--setup-token"]] {
        for stop in ["^C", "HUP", "TERM"] {
            let home = home("");
            let before = kept(&home);
            let mut terminal = Terminal::start(home.command(args), 80);
            terminal.wait_for("paste the code");
            match stop {
                "^C" => terminal.type_in(b"\x03"),
                signal => terminal.signal(signal),
            }
            let (code, said) = terminal.end();
            assert!(code == 3 && said.contains("interrupted"), "{stop}: {said}");
            assert!(terminal.echoes());
            assert_eq!(kept(&home), before);
        }
    }
}

#[test]
fn whoever_hangs_up_after_the_code_keeps_the_login() {
    for mode in ["slow", "crash-at-the-end"] {
        let home = home(mode);
        let mut run = Piped::start(&home, &["reauth"]);
        run.wait_for("paste the code");
        run.say(&format!("{CODE}\n"));
        run.wait_for("the code is with Claude Code");
        run.input = None;
        let pid = run.child.id().to_string();
        if mode == "slow" {
            for signal in ["HUP", "INT", "TERM"] {
                let kill = std::process::Command::new("kill").args(["-s", signal, &pid]).status();
                assert!(kill.unwrap().success());
            }
        }
        // nobody reads what is said any more
        let code = run.hang_up();
        assert_eq!(code, 0);
        assert_eq!(home.json(MAIN)["profiles"]["anthropic:claude-cli"]["token"], secret());
    }
}

#[test]
fn a_token_that_nothing_can_take_is_rescued() {
    let home = home("");
    let mut run = Piped::start(&home, &["reauth", "--setup-token"]);
    run.wait_for("paste the code");
    // the store breaks while the person signs in
    home.write(MAIN, "{\"profiles\": 5}");
    run.say(&format!("{CODE}\n"));
    let (code, said) = run.end();
    assert_eq!(code, 3, "{said}");
    assert!(
        said.contains("it is kept in `~/.local/state/nolapse/rescue/setup-token-"),
        "{said}"
    );
    let dir = home.at(".local/state/nolapse/rescue");
    let file = fs::read_dir(dir).unwrap().flatten().next().unwrap().path();
    assert_eq!(fs::read_to_string(file).unwrap(), secret() + "\n");
}

#[test]
fn what_is_waited_for_is_shown_and_leaves_nothing_behind() {
    let mut home = home("");
    home.env.insert("TERM".into(), "xterm-256color".into());
    let mut terminal = Terminal::start(home.command(&["reauth"]), 80);
    terminal.wait_for("waiting for the code from your browser: 1 s");
    terminal.type_in(format!("{CODE}\r").as_bytes());
    let (code, said) = terminal.end();
    assert_eq!(code, 0, "{said}");
    let left = terminal.screen(80, 60, 0).screen().contents();
    assert!(left.contains("signed in") && !left.contains("waiting for"), "{left}");
    assert!(!said.contains(CODE), "{said}");
    assert!(terminal.echoes());
}

#[test]
fn the_sign_in_in_the_documentation_is_the_one_that_is_seen() {
    let mut home = home("dated");
    home.env.remove("CLAUDE_CODE_OAUTH_TOKEN");
    let mut terminal = Terminal::start(home.command(&["login"]), 100);
    terminal.wait_for("paste the code");
    terminal.type_in(format!("{CODE}\r").as_bytes());
    let (code, said) = terminal.end();
    assert_eq!(code, 0, "{said}");
    // the rest of the link, and the day that it ends
    let link = said.lines().find(|line| line.starts_with(LINK)).unwrap().to_owned();
    let said = said.replace(&link, &format!("{LINK}&…\r")).replace('\r', "");
    let dated = |text: &str| -> Vec<String> {
        let lines = text.lines().map(str::trim_end);
        lines
            .map(|line| match line.split_once("signed in, until ") {
                Some((before, date)) => {
                    assert_eq!(date.split(' ').count(), 5, "{date}");
                    format!("{before}signed in, until …")
                }
                None => line.to_owned(),
            })
            .collect()
    };
    let shown = super::docs::blocks(&super::docs::read("docs/reauth.md"), "console").remove(0);
    let shown = shown.strip_prefix("$ nolapse login\n").unwrap();
    assert_eq!(dated(&said), dated(shown));
}
