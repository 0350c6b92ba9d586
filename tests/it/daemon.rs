//! The resident form: what wakes it, and what does not. Waits are for events, with a generous deadline.

use crate::home::{DAY, HOUR, Home, MAIN, MINUTE, credentials, now, token};
use crate::receiver::{Manner, Receiver};
use serde_json::json;
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A daemon that has made its first pass; killed when dropped.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
}

/// A service manager's end: what was said to it, and when.
struct Manager {
    said: Arc<Mutex<Vec<(Instant, String)>>>,
}

impl Manager {
    /// Wants a sign of life within this many milliseconds.
    fn start(home: &mut Home, watchdog: u64) -> Self {
        let path = home.at("notify.socket");
        let socket = UnixDatagram::bind(&path).unwrap();
        home.env.insert("NOTIFY_SOCKET".into(), path.display().to_string());
        home.env.insert("WATCHDOG_USEC".into(), (watchdog * 1000).to_string());
        let said = Arc::new(Mutex::new(Vec::new()));
        let into = said.clone();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok(count) = socket.recv(&mut buffer) {
                let text = String::from_utf8_lossy(&buffer[..count]).into_owned();
                into.lock().unwrap().push((Instant::now(), text));
            }
        });
        Self { said }
    }

    fn heard(&self, word: &str) -> Vec<Instant> {
        let said = self.said.lock().unwrap();
        let with = said.iter().filter(|(_, text)| text.lines().any(|line| line == word));
        with.map(|(at, _)| *at).collect()
    }

    /// The longest time without a sign of life between two moments.
    fn gap(&self, from: Instant, to: Instant) -> Duration {
        let mut marks = vec![from];
        marks.extend(self.heard("WATCHDOG=1").into_iter().filter(|at| *at > from && *at < to));
        marks.push(to);
        marks.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap()
    }
}

impl Daemon {
    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    pub fn start(home: &Home) -> Self {
        let daemon = Self::spawn(home.command(&["-vv", "daemon"]));
        daemon.until("its first pass", || daemon.passes() >= 1);
        daemon
    }

    /// Every call that opens this file takes so long: a file system that does not answer. The tracer is a process of its own.
    fn start_slow(home: &Home, path: &Path, delay: Duration) -> Self {
        let mut strace = Command::new("strace");
        strace
            .args(["-D", "-f", "-qq", "-o", "/dev/null", "-P"])
            .arg(path)
            .args(["-e", "trace=openat", "-e"])
            .arg(format!("inject=openat:delay_enter={}", delay.as_micros()));
        let daemon = Self::spawn(home.under(strace, &["-vv", "daemon"]));
        daemon.until("its first pass", || daemon.passes() >= 1);
        daemon
    }

    pub fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, into) = (BufReader::new(child.stderr.take().unwrap()).lines(), log.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                into.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        Self { child, log }
    }

    pub fn log(&self) -> String {
        self.log.lock().unwrap().clone()
    }

    /// Every pass ends with its status in the log.
    pub fn passes(&self) -> usize {
        self.log().matches("; logins ").count()
    }

    pub fn until(&self, what: &str, done: impl Fn() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !done() {
            assert!(Instant::now() < deadline, "not yet: {what}\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    pub fn signal(&self, name: &str) {
        let status = std::process::Command::new("/bin/kill")
            .args(["-s", name, &self.child.id().to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    /// How often it gave up the processor by itself: wake-ups, all threads.
    pub fn switches(&self) -> u64 {
        let tasks = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
        let count = |status: String| -> u64 {
            let line = status
                .lines()
                .find(|line| line.starts_with("voluntary_ctxt_switches"))
                .unwrap();
            line.split_whitespace().nth(1).unwrap().parse().unwrap()
        };
        tasks
            .flatten()
            .map(|task| count(fs::read_to_string(task.path().join("status")).unwrap()))
            .sum()
    }

    pub fn stop(self) -> i32 {
        self.signal("TERM");
        self.end()
    }

    fn end(mut self) -> i32 {
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A program in the home's `bin`, which is on its `PATH`.
fn program(home: &mut Home, name: &str, script: &str) {
    let path = home.write(&format!("bin/{name}"), format!("#!/bin/sh\n{script}\n"));
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
    let path = format!("{}:/usr/bin:/bin", home.at("bin").display());
    home.env.insert("PATH".into(), path);
}

/// Another process holds the pass lock.
fn passing(home: &Home) -> bool {
    let lock = fs::File::open(home.at(".local/state/nolapse/pass.lock")).unwrap();
    rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err()
}

/// A daemon whose pass waits for a store that its agent holds.
fn waiting(home: &Home) -> Daemon {
    let daemon = Daemon::start(home);
    fs::create_dir(home.at(&format!("{MAIN}.lock"))).unwrap();
    home.login("2", now() + DAY);
    daemon.until("a pass that waits", || passing(home));
    daemon
}

/// A home with a login that lasts and a daemon schedule that does not come.
fn home() -> Home {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR).store("main", serde_json::json!({}));
    home.config("[daemon]\nschedule = \"0 0 0 1 1 *\"\n");
    home
}

#[test]
fn a_wiped_login_is_told_at_once() {
    let home = home();
    let daemon = Daemon::start(&home);
    let wiped = serde_json::json!({"claudeAiOauth": {"accessToken": "", "refreshToken": "", "expiresAt": 0}});
    home.write(".claude/.credentials.json", wiped.to_string());
    daemon.until("the alert", || {
        daemon.log().contains("Claude login `claude` was logged out")
    });
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_configuration_that_breaks_is_said_and_the_old_one_stays() {
    let home = home();
    let daemon = Daemon::start(&home);
    home.config("[sync]\nenabeld = true\n");
    daemon.signal("HUP");
    daemon.until("the complaint", || daemon.log().contains("the old one stays"));
    assert!(daemon.log().contains("enabeld"), "{}", daemon.log());
    daemon.until("the status", || daemon.log().contains("configuration not valid: "));
    home.config("[daemon]\nschedule = \"0 0 0 1 1 *\"\n");
    daemon.signal("HUP");
    daemon.until("the new one", || daemon.log().contains("read the configuration again"));
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_storm_of_signals_or_changes_is_a_few_passes() {
    let home = home();
    let daemon = Daemon::start(&home);
    for _ in 0..200 {
        daemon.signal("HUP");
    }
    // the last one is answered too
    let reloads = || daemon.log().matches("read the configuration again").count();
    daemon.until("a reload", || reloads() >= 1);
    let before = daemon.passes();
    let begun = Instant::now();
    let store = home.at(crate::home::MAIN);
    let mut changes = 0;
    // a thousand a second, where the machine lets us
    while begun.elapsed() < Duration::from_secs(4) || changes < 4000 {
        let text = fs::read(&store).unwrap();
        fs::write(&store, &text).unwrap();
        // as an agent does it: a lock, a file beside, a rename
        let (lock, beside) = (store.with_extension("json.lock"), store.with_extension("json.tmp"));
        if fs::create_dir(&lock).is_ok() {
            fs::write(&beside, text).unwrap();
            fs::rename(&beside, &store).unwrap();
            fs::remove_dir(&lock).unwrap();
        }
        changes += 5;
    }
    let seconds = begun.elapsed().as_secs() as usize + 1;
    // at most one in two seconds, and those that the signals still asked for
    let passes = daemon.passes() - before;
    assert!(
        passes <= seconds / 2 + 3,
        "{passes} passes in {seconds} s for {changes} changes"
    );
    // what stands after the storm is what it works with
    home.login("2", now() + DAY);
    daemon.until("the new login given out", || {
        home.read(MAIN).contains(&crate::home::access("2"))
    });
    let before = daemon.passes();
    daemon.signal("USR1");
    daemon.until("a pass that was asked for", || daemon.passes() > before);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_configuration_that_breaks_and_heals_in_a_storm_ends_as_it_stands() {
    let home = home();
    let daemon = Daemon::start(&home);
    let good = "[daemon]\nschedule = \"0 0 0 1 1 *\"\n";
    for round in 0..60 {
        // torn, wrong, gone, right
        match round % 4 {
            0 => drop(home.config("[daemon]\nsche")),
            1 => drop(home.config("[daemon]\nschedule = \"often\"\n")),
            2 => fs::remove_file(home.at(".config/nolapse/config.toml")).unwrap(),
            _ => drop(home.config(good)),
        }
        daemon.signal("HUP");
    }
    home.config("[sync]\nenabeld = true\n");
    daemon.signal("HUP");
    daemon.until("the last complaint", || {
        daemon
            .log()
            .lines()
            .last()
            .is_some_and(|line| line.contains("configuration not valid"))
            && daemon.log().contains("enabeld")
    });
    home.config(good);
    let before = daemon.log().len();
    daemon.signal("HUP");
    daemon.until("the last word", || {
        let log = daemon.log()[before..].to_owned();
        log.contains("read the configuration again") && log.lines().last().is_some_and(|line| line.contains("alerts 0"))
    });
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_pass_that_waits_long_gives_signs_of_life() {
    let mut home = Home::new();
    let expires = now() - MINUTE;
    home.login("1", expires)
        .store(
            "main",
            serde_json::json!({"anthropic:claude-cli": crate::home::token("1", expires)}),
        )
        .store("torn", serde_json::json!({}));
    // something to tell
    home.write(&MAIN.replace("main", "torn"), "{");
    let (mute, deaf) = (Receiver::new(Manner::Mute), Receiver::new(Manner::Deaf));
    let mut config = "[daemon]\nschedule = \"0 0 0 1 1 *\"\n[renew]\npatience = \"5s\"\n".to_owned();
    for (name, at) in [("a", &mute), ("b", &mute), ("c", &deaf), ("d", &deaf)] {
        let keys = format!("name = \"{name}\"\nurl = \"{}\"\ntimeout = \"3s\"\n", at.url());
        config.push_str(&format!("[[channel]]\ntype = \"webhook\"\n{keys}"));
    }
    for name in ["e", "f", "g"] {
        let keys = format!("name = \"{name}\"\ncommand = [\"/bin/sleep\", \"60\"]\ntimeout = \"3s\"\n");
        config.push_str(&format!("[[channel]]\ntype = \"command\"\n{keys}"));
    }
    config.push_str("[[remote]]\nname = \"gw\"\nssh = \"gw\"\ntimeout = \"3s\"\n");
    home.config(&config);
    program(&mut home, "ssh", "exec sleep 60");
    let package = "lib/node_modules/@anthropic-ai/claude-code";
    home.write(
        &format!("{package}/package.json"),
        "{\"name\": \"@anthropic-ai/claude-code\", \"version\": \"2.1.330\"}",
    );
    program(&mut home, "claude.sh", "exec sleep 30");
    fs::create_dir_all(home.at(&format!("{package}/bin"))).unwrap();
    fs::rename(home.at("bin/claude.sh"), home.at(&format!("{package}/bin/claude"))).unwrap();
    std::os::unix::fs::symlink(home.at(&format!("{package}/bin/claude")), home.at("bin/claude")).unwrap();
    let manager = Manager::start(&mut home, 2000);

    let daemon = Daemon::start(&home);
    let (ready, over) = (manager.heard("READY=1")[0], Instant::now());
    assert!(daemon.log().contains("started `claude`"), "{}", daemon.log());
    assert_eq!(daemon.log().matches("not delivered").count(), 7, "{}", daemon.log());
    assert!(over - ready > Duration::from_secs(4), "only {:?}", over - ready);
    let gap = manager.gap(ready, over);
    assert!(gap < Duration::from_secs(2), "silent for {gap:?}");
    assert_eq!(daemon.stop(), 0);
    assert_eq!(manager.heard("STOPPING=1").len(), 1);
}

#[test]
fn a_pass_that_a_file_system_holds_up_gives_none() {
    let mut home = home();
    let manager = Manager::start(&mut home, 1000);
    // the file is made when the daemon rests
    let store = home.at(&MAIN.replace("main", "far"));
    let daemon = Daemon::start_slow(&home, &store, Duration::from_millis(2500));
    let rest = Instant::now();
    daemon.until("signs of life", || {
        manager.heard("WATCHDOG=1").iter().filter(|at| **at > rest).count() >= 3
    });
    let stuck = Instant::now();
    assert!(manager.gap(rest, stuck) < Duration::from_secs(1));
    home.store("far", serde_json::json!({}));
    let passes = daemon.passes();
    daemon.until("the end of it", || daemon.passes() > passes);
    let gap = manager.gap(stuck, Instant::now());
    assert!(
        gap > Duration::from_secs(3),
        "signs of life while it was stuck: {gap:?}"
    );
    let after = Instant::now();
    daemon.until("signs of life again", || {
        manager.heard("WATCHDOG=1").iter().any(|at| *at > after)
    });
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn what_goes_wrong_with_a_pass_is_logged_once() {
    let home = home();
    assert_eq!(home.run(&["run"]).code, 0);
    let lock = home.at(".local/state/nolapse/pass.lock");
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    let daemon = Daemon::start(&home);
    let again = || {
        let before = daemon.passes();
        daemon.signal("USR1");
        daemon.until("another pass", || daemon.passes() > before);
        daemon.log().matches("WARN the state directory").count()
    };
    assert_eq!((again(), again()), (1, 1), "{}", daemon.log());
    fs::remove_dir(&lock).unwrap();
    again();
    fs::remove_file(&lock).unwrap();
    fs::create_dir(&lock).unwrap();
    assert_eq!(again(), 2, "it came back: {}", daemon.log());
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_pass_that_waits_hears_what_it_is_told() {
    let home = home();
    let daemon = waiting(&home);
    home.config("[sync]\nenabeld = true\n");
    daemon.signal("HUP");
    daemon.until("the complaint", || daemon.log().contains("the old one stays"));
    home.config("[daemon]\nschedule = \"0 0 0 1 1 *\"\n");
    daemon.signal("HUP");
    daemon.until("the new one", || daemon.log().contains("read the configuration again"));
    assert!(passing(&home), "still the same pass");
    daemon.signal("TERM");
    daemon.until("the first word", || {
        daemon.log().contains("stopping when the pass has finished")
    });
    assert!(passing(&home), "it is let finish");
    let told = Instant::now();
    // the second word ends it at once, with nothing left half done
    assert_eq!(daemon.stop(), 0);
    assert!(told.elapsed() < Duration::from_secs(10), "{:?}", told.elapsed());
    assert!(home.read(MAIN).contains(&crate::home::access("1")));
    assert_eq!(
        home.files().keys().filter(|name| name.contains("tmp")).count(),
        0,
        "{:?}",
        home.files().keys()
    );
}

/// OpenClaw's agents without a database of their own share one; its configuration names in all spellings are read too.
#[test]
fn a_change_of_the_shared_database_wakes_it() {
    let home = home();
    fs::create_dir_all(home.at(".openclaw/agents/main/agent")).unwrap();
    fs::create_dir_all(home.at(".openclaw/state")).unwrap();
    let database = home.at(".openclaw/state/openclaw.sqlite");
    let write = |sql: &str| {
        rusqlite::Connection::open(&database)
            .unwrap()
            .execute_batch(sql)
            .unwrap()
    };
    write("CREATE TABLE config_machine_state(state_key TEXT PRIMARY KEY, value_json TEXT, updated_at INTEGER)");
    let daemon = Daemon::start(&home);
    let passes = daemon.passes();
    let profiles = json!({"version": 1, "profiles": {"anthropic:x": token("7", now() - DAY)}});
    write(&format!(
        "INSERT INTO config_machine_state VALUES('authProfiles.store', '{profiles}', 0)"
    ));
    daemon.until("a pass for the database", || daemon.passes() > passes);
    let passes = daemon.passes();
    home.write(".openclaw/moldbot.json", "{}");
    daemon.until("a pass for the configuration", || daemon.passes() > passes);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_fifo_in_the_place_of_any_file_holds_nothing_up() {
    for place in [
        ".claude/.credentials.json",
        ".claude/settings.json",
        ".claude.json",
        MAIN,
        ".clawdbot/agents/main/agent/auth.json",
        ".clawdbot/clawdbot.json",
        ".clawdbot/.env",
        ".clawdbot/credentials/oauth.json",
        ".openclaw/agents/main/agent/openclaw-agent.sqlite",
        ".openclaw/openclaw.json",
        ".openclaw/state/openclaw.sqlite",
        ".local/state/nolapse/ledger.json",
        ".local/state/nolapse/.ledger.json.nolapse-tmp",
        ".local/state/nolapse/history.jsonl",
        ".local/state/nolapse/pass.lock",
        ".config/nolapse/config.toml",
    ] {
        let home = home();
        assert_eq!(home.run(&["run"]).code, 0);
        let path = home.at(place);
        let _ = fs::remove_file(&path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        let status = Command::new("mkfifo").arg(&path).status().unwrap();
        assert!(status.success());
        home.write(
            ".claude/.credentials.json.new",
            credentials("2", now() + 9 * HOUR, None).to_string(),
        );
        if place != ".claude/.credentials.json" {
            fs::rename(
                home.at(".claude/.credentials.json.new"),
                home.at(".claude/.credentials.json"),
            )
            .unwrap();
        }
        let mut child = home.spawn(&["run"]);
        let begun = Instant::now();
        let code = loop {
            if let Some(status) = child.try_wait().unwrap() {
                break status.code();
            }
            if begun.elapsed() > Duration::from_secs(45) {
                child.kill().unwrap();
                child.wait().unwrap();
                panic!("held up by `{place}`");
            }
            std::thread::sleep(Duration::from_millis(10));
        };
        assert!(code.is_some(), "{place}");
    }
}

#[test]
fn a_pass_under_way_is_finished_before_it_stops() {
    let home = home();
    let daemon = Daemon::start(&home);
    // an agent holds its store's lock: the pass waits for it
    let lock = home.at(&format!("{MAIN}.lock"));
    fs::create_dir(&lock).unwrap();
    let ledger = home.read(".local/state/nolapse/ledger.json");
    home.login("2", now() + DAY);
    daemon.until("a pass that waits", || passing(&home));
    daemon.signal("TERM");
    daemon.until("the answer", || {
        daemon.log().contains("stopping when the pass has finished")
    });
    assert_eq!(home.read(".local/state/nolapse/ledger.json"), ledger);
    fs::remove_dir(&lock).unwrap();
    assert_eq!(daemon.end(), 0);
    assert!(home.read(crate::home::MAIN).contains(&crate::home::access("2")));
}

/// What keeps a daemon from sleeping on until something happens: a thread that runs, or a wait or timer that ends within a minute
/// (syscall and fdinfo of proc(5)), and a watch that its own reads would wake.
fn wakes_by_itself(daemon: &Daemon, home: &Home) -> Vec<String> {
    #[cfg(target_arch = "x86_64")]
    const EPOLL_WAIT: [u64; 2] = [232, 281];
    #[cfg(not(target_arch = "x86_64"))]
    const EPOLL_WAIT: [u64; 1] = [22];
    // IN_ACCESS, IN_CLOSE_NOWRITE, IN_OPEN
    const READS: u64 = 0x1 | 0x10 | 0x20;
    let below = |dir: &str| fs::read_dir(format!("/proc/{}/{dir}", daemon.id())).unwrap().flatten();
    let hex = |text: &str| u64::from_str_radix(text.trim_start_matches("0x"), 16).unwrap();
    let mut wakes = Vec::new();
    for thread in below("task") {
        let call = match fs::read_to_string(thread.path().join("syscall")) {
            Err(_) if !thread.path().exists() => continue,
            call => call.unwrap(),
        };
        let words: Vec<&str> = call.split_whitespace().collect();
        let waits = words[0].parse().is_ok_and(|call| EPOLL_WAIT.contains(&call));
        let until = |timeout: i32| timeout == -1 || timeout > 60_000;
        if !waits || !until(hex(words[4]) as u32 as i32) {
            wakes.push(call);
        }
    }
    let ours = fs::metadata(home.at(".local/state/nolapse")).unwrap().ino();
    let mut watches = 0;
    for file in below("fdinfo") {
        let about = fs::read_to_string(file.path()).unwrap_or_default();
        for watch in about.lines().filter(|line| line.starts_with("inotify ")) {
            let of = |key: &str| {
                watch
                    .split_whitespace()
                    .find_map(|word| word.strip_prefix(key))
                    .map(hex)
            };
            if of("mask:").unwrap() & READS != 0 || of("ino:") == Some(ours) {
                wakes.push(watch.to_owned());
            }
            watches += 1;
        }
        // what is left of a timer, and what is between two rings: seconds and nanoseconds, or none
        let times = about.lines().filter(|line| line.starts_with("it_"));
        for time in times.filter(|line| !line.ends_with("(0, 0)")) {
            let seconds = time.split(['(', ',']).nth(1).unwrap();
            if seconds.parse::<u64>().unwrap() <= 60 {
                wakes.push(time.to_owned());
            }
        }
    }
    if watches == 0 {
        wakes.push("it watches nothing".to_owned());
    }
    wakes
}

#[test]
fn while_nothing_happens_it_does_not_wake() {
    let home = home();
    // not even with somebody to answer
    home.config("[daemon]\nschedule = \"0 0 0 1 1 *\"\nlisten = \"127.0.0.1:0\"\n");
    let daemon = Daemon::start(&home);
    // until what the start left to do is done
    daemon.until("rest", || wakes_by_itself(&daemon, &home).is_empty());
    assert_eq!(daemon.stop(), 0);
}
