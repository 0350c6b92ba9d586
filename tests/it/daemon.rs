//! The resident form: what wakes it, and what does not. Waits are for events, with a generous deadline.

use crate::home::{DAY, HOUR, Home, now};
use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// A daemon that has made its first pass; killed when dropped.
pub struct Daemon {
    child: Child,
    log: Arc<Mutex<String>>,
}

impl Daemon {
    pub fn start(home: &Home) -> Self {
        let mut child = home
            .command(&["-vv", "daemon"])
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let log = Arc::new(Mutex::new(String::new()));
        let (lines, into) = (BufReader::new(child.stderr.take().unwrap()).lines(), log.clone());
        std::thread::spawn(move || {
            for line in lines.map_while(Result::ok) {
                into.lock().unwrap().push_str(&(line + "\n"));
            }
        });
        let daemon = Self { child, log };
        daemon.until("its first pass", || daemon.passes() >= 1);
        daemon
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
    fn switches(&self) -> u64 {
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

    pub fn stop(mut self) -> i32 {
        self.signal("TERM");
        self.child.wait().unwrap().code().unwrap_or(-1)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
    while begun.elapsed() < Duration::from_secs(3) {
        let text = fs::read(&store).unwrap();
        fs::write(&store, text).unwrap();
        changes += 1;
        std::thread::sleep(Duration::from_millis(1));
    }
    let seconds = begun.elapsed().as_secs() as usize + 1;
    // at most one in two seconds, and those that the signals still asked for
    let passes = daemon.passes() - before;
    assert!(changes > 100, "only {changes} changes");
    assert!(
        passes <= seconds / 2 + 3,
        "{passes} passes in {seconds} s for {changes} changes"
    );
    let before = daemon.passes();
    daemon.signal("USR1");
    daemon.until("a pass that was asked for", || daemon.passes() > before);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_pass_under_way_is_finished_before_it_stops() {
    let home = home();
    let daemon = Daemon::start(&home);
    // an agent holds its store's lock: the pass waits for it
    let lock = home.at(&format!("{}.lock", crate::home::MAIN));
    fs::create_dir(&lock).unwrap();
    let ledger = home.read(".local/state/nolapse/ledger.json");
    home.login("2", now() + DAY);
    daemon.until("a pass that waits", || {
        // it holds the pass lock meanwhile
        let lock = fs::File::open(home.at(".local/state/nolapse/pass.lock")).unwrap();
        rustix::fs::flock(&lock, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err()
    });
    daemon.signal("TERM");
    assert_eq!(home.read(".local/state/nolapse/ledger.json"), ledger);
    fs::remove_dir(&lock).unwrap();
    assert_eq!(daemon.stop(), 0);
    assert!(home.read(crate::home::MAIN).contains(&crate::home::access("2")));
}

#[test]
fn while_nothing_happens_it_does_not_wake() {
    let home = home();
    // not even with somebody to answer
    home.config("[daemon]\nschedule = \"0 0 0 1 1 *\"\nlisten = \"127.0.0.1:0\"\n");
    let daemon = Daemon::start(&home);
    // until what the start left to do is done
    daemon.until("rest", || {
        let before = daemon.switches();
        std::thread::sleep(Duration::from_millis(500));
        before == daemon.switches()
    });
    let before = daemon.switches();
    std::thread::sleep(Duration::from_secs(3));
    assert_eq!(daemon.switches(), before, "it woke");
    assert_eq!(daemon.stop(), 0);
}
