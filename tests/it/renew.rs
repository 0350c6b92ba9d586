//! Direct renewal with the real binary: every answer, every race, every way to die.

use crate::endpoint::{Answer, Endpoint};
use crate::home::{Home, Ran, access, now, oauth, refresh, token};
use serde_json::{Value, json};
use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

const CREDENTIALS: &str = ".claude/.credentials.json";
const STORE: &str = ".clawdbot/agents/main/agent/auth-profiles.json";

/// A login whose access token ended a minute ago, and an agent that hangs on it.
fn home(config: &str) -> Home {
    let home = Home::new();
    let expires = now() - 60_000;
    home.login("1", expires)
        .store("main", json!({"anthropic:claude-cli": token("1", expires)}))
        .config(config);
    let mut login = home.json(CREDENTIALS);
    login["mcpOAuth"] = json!({"kept": 1.0});
    home.write(CREDENTIALS, login.to_string());
    home
}

fn ledger(home: &Home) -> Value {
    home.json(".local/state/nolapse/ledger.json")
}

fn record(home: &Home) -> Value {
    ledger(home)["renewals"]["claude"].clone()
}

/// A whole pass, at its most talkative; no token may show anywhere but in its two files.
fn pass(home: &Home) -> Ran {
    let ran = home.run(&["run", "-vvv"]);
    check(home, &ran);
    ran
}

fn check(home: &Home, ran: &Ran) {
    for text in [&ran.stdout, &ran.stderr] {
        assert!(!text.contains("ACCESS-") && !text.contains("REFRESH-"), "{text}");
    }
    for (path, bytes) in home.files() {
        let text = String::from_utf8_lossy(&bytes);
        let may = path == CREDENTIALS || path == STORE || path.contains("/rescue/") || path == "next.json";
        assert!(may || !text.contains("ACCESS-") && !text.contains("REFRESH-"), "{path}");
    }
    for left in [
        ".claude/.oauth_refresh.lock",
        ".claude.lock",
        ".claude/.storage-write.lock",
    ] {
        assert!(!home.at(left).exists(), "{left} was left behind");
    }
    assert!(!home.at(".claude/.oauth_refresh.lock.owner").exists() || record(home)["stage"].is_object());
    assert!(!home.files().keys().any(|path| path.contains("nolapse-tmp")));
}

fn alerted(home: &Home, kind: &str) -> bool {
    ledger(home)["alerts"]
        .as_object()
        .unwrap()
        .values()
        .any(|alert| alert["last"]["kind"] == kind)
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !done() {
        assert!(begun.elapsed() < Duration::from_secs(20), "{what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn a_login_is_renewed_and_fanned_out_in_the_same_pass() {
    let server = Endpoint::start("1", vec![]);
    let home = home(&server.config());
    let before = home.json(CREDENTIALS);
    let ran = pass(&home);
    assert_eq!(ran.code, 0, "{ran:?}");
    assert!(ran.stdout.contains("login claude: renewed directly"), "{ran:?}");
    let after = home.json(CREDENTIALS);
    let oauth = &after["claudeAiOauth"];
    assert_eq!(
        (&oauth["accessToken"], &oauth["refreshToken"]),
        (&json!(access("r1")), &json!(refresh("r1")))
    );
    assert!((oauth["expiresAt"].as_i64().unwrap() - now() - 28_800_000).abs() < 20_000);
    assert_eq!(
        oauth["refreshTokenExpiresAt"],
        before["claudeAiOauth"]["refreshTokenExpiresAt"]
    );
    assert_eq!(
        (&after["mcpOAuth"], &oauth["scopes"]),
        (&before["mcpOAuth"], &before["claudeAiOauth"]["scopes"])
    );
    let copy = &home.json(STORE)["profiles"]["anthropic:claude-cli"];
    assert_eq!(
        (&copy["token"], &copy["expires"]),
        (&oauth["accessToken"], &oauth["expiresAt"])
    );
    assert_eq!(record(&home), Value::Null);
    assert!(
        fs::read_dir(home.at(".local/state/nolapse/rescue"))
            .unwrap()
            .next()
            .is_none()
    );
    let posted = server.seen();
    assert_eq!(posted.len(), 1);
    assert_eq!(posted[0]["client_id"], "9d1c250a-e61b-44d9-88ed-5944d1962f5e");
    assert_eq!(posted[0]["grant_type"], "refresh_token");
    // fresh now: nothing more is asked, whoever asks
    pass(&home);
    let ran = home.run(&["refresh"]);
    assert!(
        ran.stdout.contains("not renewed, its access token is good until"),
        "{ran:?}"
    );
    assert_eq!(server.made(), 1);
    // unless it is forced, and then with the new token
    let ran = home.run(&["refresh", "--login", "claude", "--force"]);
    assert_eq!(
        (ran.code, server.made(), server.live().as_deref()),
        (0, 2, Some(refresh("r2").as_str())),
        "{ran:?}"
    );
    let before = home.files();
    assert_eq!(home.run(&["refresh", "--login", "other", "--force"]).code, 3);
    assert!(
        home.files() == before && server.made() == 2,
        "a slip of the name did something"
    );
}

/// After every misbehaviour the login is usable or exactly as before, the cause is named, and nothing is posted in vain.
#[test]
fn every_misbehaviour_leaves_a_login_that_is_usable_or_untouched_and_names_its_cause() {
    use Answer::{Cut, HangUp, NoRotation, OnlyScope, Silent, Slow, Spent, Status};
    const HTML: &str = "<!DOCTYPE html><title>Just a moment...</title>";
    let second = Duration::from_secs(1);
    let table: Vec<(&str, Answer, &str)> = vec![
        ("no rotation", NoRotation, "renewed"),
        ("slow", Slow(second), "renewed"),
        ("other scopes", OnlyScope("user:inference user:profile"), "renewed"),
        (
            "400 invalid_grant",
            Status(400, "", r#"{"error":"invalid_grant"}"#),
            "rejected",
        ),
        (
            "401 invalid_grant",
            Status(401, "", r#"{"error":"invalid_grant"}"#),
            "rejected",
        ),
        (
            "400 nested",
            Status(400, "", r#"{"error":{"type":"invalid_grant"}}"#),
            "not_renewed",
        ),
        (
            "400 invalid_request",
            Status(400, "", r#"{"error":"invalid_request"}"#),
            "not_renewed",
        ),
        ("401", Status(401, "", ""), "not_renewed"),
        (
            "403 page",
            Status(403, "content-type: text/html\r\n", HTML),
            "endpoint_blocked",
        ),
        ("404", Status(404, "", "not found"), "endpoint_blocked"),
        ("200 page", Status(200, "", HTML), "endpoint_blocked"),
        (
            "302",
            Status(302, "location: http://127.0.0.1:9/\r\n", ""),
            "not_renewed",
        ),
        ("429", Status(429, "retry-after: 7200\r\n", ""), "rate_limited"),
        ("500", Status(500, "", "oops"), "server_error"),
        ("503 page", Status(503, "", HTML), "server_error"),
        ("garbage", Spent("garbage"), "unknown_outcome"),
        ("empty", Spent(""), "unknown_outcome"),
        ("no access token", Spent("{}"), "unknown_outcome"),
        ("cut", Cut, "unknown_outcome"),
        ("hung up", HangUp, "unknown_outcome"),
        ("silent", Silent(Duration::from_secs(8)), "unknown_outcome"),
    ];
    for (name, answer, want) in table {
        let server = Endpoint::start("1", vec![answer.clone(), answer]);
        let home = home(&server.config());
        let before = home.read(CREDENTIALS);
        let ran = pass(&home);
        let posts = server.seen().len();
        if want == "renewed" {
            let now = home.json(CREDENTIALS);
            assert_eq!(
                now["claudeAiOauth"]["refreshToken"].as_str(),
                server.live().as_deref(),
                "{name}: {ran:?}"
            );
            assert_eq!(
                (now["claudeAiOauth"]["accessToken"].as_str(), record(&home)),
                (Some(access("r1").as_str()), Value::Null)
            );
            continue;
        }
        assert_eq!(home.read(CREDENTIALS), before, "{name}");
        assert_eq!(record(&home)["last"]["kind"], want, "{name}: {ran:?}");
        assert!(ran.stdout.contains("login claude: not renewed: "), "{name}: {ran:?}");
        // at once again: nothing is posted, since it backs off, is rejected or is unknown
        pass(&home);
        assert_eq!(server.seen().len(), posts, "{name}");
        let forced = home.run(&["refresh", "--force"]);
        check(&home, &forced);
        match want {
            "unknown_outcome" => {
                assert!(alerted(&home, "unknown_outcome"), "{name}");
                assert!(forced.stdout.contains("is not sent again"), "{name}: {forced:?}");
                assert_eq!(server.seen().len(), posts, "{name}");
            }
            "rejected" => {
                assert!(alerted(&home, "rejected"), "{name}");
                assert_eq!(server.seen().len(), posts, "{name}");
            }
            // the token was kept, and is good
            _ => assert!(
                server.seen().len() > posts && server.live() == Some(refresh("1")),
                "{name}"
            ),
        }
        if name == "429" {
            let wait = record(&home)["next_at"].as_i64().unwrap() - now();
            assert!((7_100_000..=7_200_000).contains(&wait), "{wait}");
        }
    }
}

#[test]
fn a_closed_port_costs_nothing() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/token", listener.local_addr().unwrap());
    drop(listener);
    let home = home(&format!("[renew]\nmode = \"direct\"\ntoken_url = \"{url}\"\n"));
    let before = home.read(CREDENTIALS);
    pass(&home);
    assert_eq!(
        (home.read(CREDENTIALS), record(&home)["last"]["kind"].as_str()),
        (before, Some("endpoint_unreachable"))
    );
    assert_eq!(record(&home)["stage"], "idle");
}

/// Nothing was posted, so nothing may look like a refresh that was begun.
#[test]
fn an_owner_that_cannot_be_recorded_costs_one_pass() {
    for (call, error) in [("write", "ENOSPC"), ("fsync", "EIO")] {
        let server = Endpoint::start("1", vec![]);
        let home = home(&server.config());
        let owner = home.at(".claude/.oauth_refresh.lock.owner");
        let (trace, inject) = (format!("trace={call}"), format!("inject={call}:error={error}"));
        let only = [
            "-o",
            "/dev/null",
            "-P",
            owner.to_str().unwrap(),
            "-e",
            &trace,
            "-e",
            &inject,
        ];
        let ran = Ran::of(home.traced("run", &only));
        assert!(ran.stdout.contains("owner could not be recorded"), "{ran:?}");
        check(&home, &ran);
        home.run(&["refresh", "--force"]);
        assert_eq!((server.made(), server.live()), (1, Some(refresh("r1"))), "{call}");
    }
}

#[test]
fn a_process_that_is_killed_while_it_waits_leaves_an_outcome_that_is_alerted_and_never_replayed() {
    let server = Endpoint::start("1", vec![Answer::Silent(Duration::from_secs(60))]);
    let home = home(&server.config().replace("5s", "60s"));
    let before = home.read(CREDENTIALS);
    let mut child = home.spawn(&["run"]);
    until("the request", || server.seen().len() == 1);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(record(&home)["stage"]["sent"].is_object(), "{}", record(&home));
    for left in [".claude/.oauth_refresh.lock", ".claude.lock"] {
        // a killed holder's locks: stale after a minute, made so here
        let old = std::time::SystemTime::now() - Duration::from_secs(90);
        fs::File::open(home.at(left)).unwrap().set_modified(old).unwrap();
    }
    for _ in 0..2 {
        let ran = home.run(&["run", "-vvv"]);
        assert_eq!((home.read(CREDENTIALS), server.seen().len()), (before.clone(), 1));
        assert!(ran.stdout.contains("may have been lost in a renewal"), "{ran:?}");
        assert!(alerted(&home, "unknown_outcome"));
    }
    // somebody signs in again: settled, and over
    home.login("2", now() + 3_600_000);
    home.run(&["run"]);
    assert_eq!((record(&home), alerted(&home, "unknown_outcome")), (Value::Null, false));
    assert!(!home.at(".claude/.oauth_refresh.lock.owner").exists());
}

#[test]
fn a_signal_while_waiting_does_not_lose_the_answer() {
    for signal in ["-TERM", "-INT"] {
        let server = Endpoint::start("1", vec![Answer::Slow(Duration::from_millis(700))]);
        let home = home(&server.config());
        let child = home.spawn(&["run", "-vvv"]);
        until("the request", || server.seen().len() == 1);
        Command::new("kill")
            .args([signal, &child.id().to_string()])
            .status()
            .unwrap();
        let ran = Ran::of(child.wait_with_output().unwrap());
        // it ends at once after the save, or finishes what is left if that takes no waiting
        assert!(
            [0, if signal == "-TERM" { 143 } else { 130 }].contains(&ran.code),
            "{ran:?}"
        );
        check(&home, &ran);
        assert_eq!(home.json(CREDENTIALS)["claudeAiOauth"]["refreshToken"], refresh("r1"));
        pass(&home);
        assert_eq!((server.made(), server.live()), (1, Some(refresh("r1"))));
        assert_eq!(
            home.json(STORE)["profiles"]["anthropic:claude-cli"]["token"],
            access("r1")
        );
    }
}

#[test]
fn a_signal_while_waiting_for_a_lock_leaves_nothing_behind() {
    let server = Endpoint::start("1", vec![]);
    let home = home(&server.config());
    fs::create_dir(home.at(".claude.lock")).unwrap();
    let child = home.spawn(&["run"]);
    until("the pass", || home.at(".local/state/nolapse/pass.lock").exists());
    Command::new("kill")
        .args(["-TERM", &child.id().to_string()])
        .status()
        .unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!((ran.code, server.seen().len()), (143, 0), "{ran:?}");
    fs::remove_dir(home.at(".claude.lock")).unwrap();
    check(&home, &ran);
}

#[test]
fn tokens_that_cannot_be_saved_are_rescued_and_completed_first() {
    let server = Endpoint::start("1", vec![Answer::Slow(Duration::from_millis(500))]);
    let home = home(&server.config());
    let before = home.read(CREDENTIALS);
    let child = home.spawn(&["run", "-vvv"]);
    until("the request", || server.seen().len() == 1);
    home.write(CREDENTIALS, "{\"claudeAiOauth\":{\"accessTok");
    let ran = Ran::of(child.wait_with_output().unwrap());
    check(&home, &ran);
    assert!(record(&home)["stage"]["rescued"].is_object(), "{ran:?}");
    assert!(
        ran.stdout.contains("kept in `rescue/`") && alerted(&home, "rescue"),
        "{ran:?}"
    );
    let rescued = fs::read_dir(home.at(".local/state/nolapse/rescue"))
        .unwrap()
        .next()
        .unwrap()
        .unwrap();
    let mode =
        |path: &Path| std::os::unix::fs::PermissionsExt::mode(&fs::metadata(path).unwrap().permissions()) & 0o777;
    assert_eq!(
        (mode(&rescued.path()), mode(rescued.path().parent().unwrap())),
        (0o600, 0o700)
    );
    // still not possible: still there
    pass(&home);
    assert!(rescued.path().exists() && server.seen().len() == 1);
    assert!(record(&home)["stage"]["rescued"].is_object() && !alerted(&home, "unknown_outcome"));
    // nor where the login can be read, and still holds the spent token, but cannot be locked
    home.write(CREDENTIALS, before);
    let lock = home.at(".claude/.oauth_refresh.lock");
    std::os::unix::fs::symlink("nowhere", &lock).unwrap();
    let ran = pass(&home);
    assert!(rescued.path().exists() && server.seen().len() == 1, "{ran:?}");
    assert!(
        record(&home)["stage"]["rescued"].is_object() && !alerted(&home, "unknown_outcome"),
        "{ran:?}"
    );
    fs::remove_file(lock).unwrap();
    let ran = pass(&home);
    assert!(
        ran.stdout
            .contains("renewed from tokens that an earlier pass could not save"),
        "{ran:?}"
    );
    assert_eq!(home.json(CREDENTIALS)["claudeAiOauth"]["refreshToken"], refresh("r1"));
    assert_eq!(
        home.json(STORE)["profiles"]["anthropic:claude-cli"]["token"],
        access("r1")
    );
    assert!(!rescued.path().exists() && record(&home) == Value::Null && !alerted(&home, "rescue"));
    assert_eq!((server.made(), server.live()), (1, Some(refresh("r1"))));
}

#[test]
fn an_abandoned_refresh_is_not_taken_up() {
    let server = Endpoint::start("1", vec![]);
    for killed in [false, true] {
        let home = home(&server.config());
        home.write(".claude/.oauth_refresh.lock.owner", "{}");
        if killed {
            fs::create_dir(home.at(".claude/.oauth_refresh.lock")).unwrap();
            let old = std::time::SystemTime::now() - Duration::from_secs(90);
            fs::File::open(home.at(".claude/.oauth_refresh.lock"))
                .unwrap()
                .set_modified(old)
                .unwrap();
        }
        let ran = home.run(&["refresh", "--force"]);
        assert!(ran.stdout.contains("its token is probably used up"), "{ran:?}");
        assert_eq!(server.seen().len(), 0);
        // the login was saved since: the record is an old one
        home.write(CREDENTIALS, home.read(CREDENTIALS));
        let old = std::time::SystemTime::now() - Duration::from_secs(90);
        fs::File::open(home.at(".claude/.oauth_refresh.lock.owner"))
            .unwrap()
            .set_modified(old)
            .unwrap();
        assert!(
            home.run(&["refresh", "--dry-run"])
                .stdout
                .contains("would be renewed directly")
        );
    }
}

/// Looked at before, the lock was held by somebody alive.
#[test]
fn what_the_holder_of_the_lock_left_undone_while_we_waited_is_not_posted() {
    let server = Endpoint::start("1", vec![]);
    let home = home(&server.config());
    let lock = home.at(".claude/.oauth_refresh.lock");
    fs::create_dir(&lock).unwrap();
    let child = home.spawn_at(&lock, &["refresh"]);
    home.write(".claude/.oauth_refresh.lock.owner", "{}");
    fs::remove_dir(&lock).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert!(ran.stdout.contains("its token is probably used up"), "{ran:?}");
    assert_eq!(server.seen().len(), 0);
}

/// Stopped between its last look and the request, it may find that somebody cleared its lock as stale and took it.
#[test]
fn a_renewal_that_lost_its_lock_before_it_posts_does_not_post() {
    for (lock, owner, home) in [
        (
            ".claude/.oauth_refresh.lock",
            ".claude/.oauth_refresh.lock.owner",
            home as fn(&str) -> Home,
        ),
        (".claude.lock", ".claude/.oauth_refresh.lock.owner", home),
        (
            ".clawdbot/agents/main/agent/auth-profiles.json.lock",
            ".clawdbot/agents/main/agent/auth-profiles.json.lock.owner",
            |config| own_home_of(config),
        ),
    ] {
        let server = Endpoint::start("1", vec![]);
        let home = home(&server.config());
        let (lock, owner) = (home.at(lock), home.at(owner));
        let mut strace = Command::new("strace");
        strace.args(["-f", "-qq", "-o", "/dev/null", "-P"]).arg(&owner);
        strace.args(["-e", "trace=fsync", "-e", "inject=fsync:signal=SIGSTOP"]);
        let mut run = home.under(strace, &["run"]);
        let child = run.stdout(std::process::Stdio::piped()).spawn().unwrap();
        let stopped = || -> Option<String> {
            let record: Value = serde_json::from_str(&fs::read_to_string(&owner).ok()?).ok()?;
            let pid = record["pid"].to_string();
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
            // under a tracer its stop is a traced one
            let state = stat.rsplit_once(')')?.1.split_whitespace().next()?.to_owned();
            (state.eq_ignore_ascii_case("t") && fs::read_to_string(format!("/proc/{pid}/wchan")).is_ok()).then_some(pid)
        };
        let mut pid = None;
        until("it stops", || {
            pid = stopped();
            pid.is_some()
        });
        fs::remove_dir(&lock).unwrap();
        fs::create_dir(&lock).unwrap();
        let done = Command::new("kill").args(["-CONT", &pid.unwrap()]).status();
        assert!(done.unwrap().success());
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(server.seen().len(), 0, "{}: {ran:?}", lock.display());
        assert!(!owner.exists() && lock.is_dir(), "{ran:?}");
    }
}

#[test]
fn a_copy_that_is_newer_heals_the_login_and_nothing_is_posted() {
    let server = Endpoint::start("1", vec![]);
    let home = home(&server.config());
    let expires = now() - 60_000;
    home.store(
        "main",
        json!({"anthropic:claude-cli": crate::home::oauth("1", expires)}),
    );
    home.config("[renew]\nmode = \"off\"\n");
    pass(&home);
    home.store(
        "main",
        json!({"anthropic:claude-cli": crate::home::oauth("2", now() + 3_600_000)}),
    );
    home.config(&server.config());
    let ran = pass(&home);
    assert!(ran.stdout.contains("healed from the newer copy"), "{ran:?}");
    assert_eq!(
        (
            home.json(CREDENTIALS)["claudeAiOauth"]["refreshToken"].as_str(),
            server.seen().len()
        ),
        (Some(refresh("2").as_str()), 0)
    );
}

#[test]
fn nobody_needs_it_so_nothing_is_done() {
    let server = Endpoint::start("1", vec![]);
    let home = Home::new();
    home.login("1", now() - 60_000).config(&server.config());
    pass(&home);
    assert_eq!(server.seen().len(), 0);
    assert!(
        home.run(&["refresh", "--dry-run"])
            .stdout
            .contains("would be renewed directly")
    );
    home.config(&(server.config() + "always = true\n"));
    pass(&home);
    assert_eq!(server.made(), 1);
}

#[test]
fn thirty_two_processes_make_one_exchange() {
    let server = Endpoint::start("1", vec![Answer::Slow(Duration::from_millis(300))]);
    let home = home(&server.config());
    for agent in ["a", "b", "c", "d"] {
        home.store(agent, json!({"anthropic:claude-cli": token("1", now() - 60_000)}));
    }
    let children: Vec<_> = (0..32).map(|_| home.spawn(&["run"])).collect();
    for child in children {
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(ran.code, 0, "{ran:?}");
        check_quiet(&ran);
    }
    assert_eq!(
        (server.made(), server.seen().len(), server.live()),
        (1, 1, Some(refresh("r1")))
    );
    assert_eq!(home.json(CREDENTIALS)["claudeAiOauth"]["refreshToken"], refresh("r1"));
    for agent in ["main", "a", "b", "c", "d"] {
        let store = home.json(&format!(".clawdbot/agents/{agent}/agent/auth-profiles.json"));
        assert_eq!(
            store["profiles"]["anthropic:claude-cli"]["token"],
            access("r1"),
            "{agent}"
        );
    }
}

fn check_quiet(ran: &Ran) {
    assert!(!ran.stdout.contains("not renewed"), "{ran:?}");
}

/// A client that follows Claude Code's lock protocol: both locks in order, re-read, post, save under the write lock.
struct Peer<'a> {
    home: &'a Home,
    server: &'a Endpoint,
    /// How long its exchange takes.
    takes: Duration,
}

impl Peer<'_> {
    fn take(path: &Path) {
        let begun = Instant::now();
        while fs::create_dir(path).is_err() {
            assert!(
                begun.elapsed() < Duration::from_secs(20),
                "{} was never released",
                path.display()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Returns whether it had to post.
    fn renew(&self) -> bool {
        let locks = [
            ".claude/.oauth_refresh.lock",
            ".claude.lock",
            ".claude/.storage-write.lock",
        ]
        .map(|lock| self.home.at(lock));
        Self::take(&locks[0]);
        Self::take(&locks[1]);
        let mut login = self.home.json(CREDENTIALS);
        let oauth = &mut login["claudeAiOauth"];
        let due = oauth["expiresAt"].as_i64().unwrap() <= now() + 300_000;
        if due {
            let (access, refresh) = self
                .server
                .spend(oauth["refreshToken"].as_str().unwrap())
                .expect("the token was spent");
            std::thread::sleep(self.takes);
            oauth["accessToken"] = access.into();
            oauth["refreshToken"] = refresh.into();
            oauth["expiresAt"] = (now() + 28_800_000).into();
            Self::take(&locks[2]);
            fs::write(self.home.at("next.json"), login.to_string()).unwrap();
            fs::rename(self.home.at("next.json"), self.home.at(CREDENTIALS)).unwrap();
            fs::remove_dir(&locks[2]).unwrap();
        }
        fs::remove_dir(&locks[1]).unwrap();
        fs::remove_dir(&locks[0]).unwrap();
        due
    }
}

#[test]
fn beside_a_client_that_follows_claude_codes_locks_one_exchange_is_made_whoever_is_first() {
    // the client is first: its token is adopted
    let server = Endpoint::start("1", vec![]);
    let home = home(&server.config());
    let peer = Peer {
        home: &home,
        server: &server,
        takes: Duration::from_millis(800),
    };
    std::thread::scope(|scope| {
        let posted = scope.spawn(|| peer.renew());
        until("the client's lock", || home.at(".claude.lock").exists());
        let children: Vec<_> = (0..8).map(|_| home.spawn(&["run"])).collect();
        for child in children {
            assert_eq!(Ran::of(child.wait_with_output().unwrap()).code, 0);
        }
        assert!(posted.join().unwrap());
    });
    assert_eq!(
        (server.made(), server.seen().len(), server.live()),
        (1, 0, Some(refresh("r1")))
    );
    assert_eq!(
        home.json(STORE)["profiles"]["anthropic:claude-cli"]["token"],
        access("r1")
    );

    // we are first: the client waits for our locks and adopts ours
    let server = Endpoint::start("1", vec![Answer::Slow(Duration::from_millis(800))]);
    let home = self::home(&server.config());
    let peer = Peer {
        home: &home,
        server: &server,
        takes: Duration::ZERO,
    };
    let child = home.spawn(&["run"]);
    until("our request", || server.seen().len() == 1);
    assert!(!peer.renew(), "the client did not adopt what we saved");
    assert_eq!(Ran::of(child.wait_with_output().unwrap()).code, 0);
    assert_eq!((server.made(), server.live()), (1, Some(refresh("r1"))));
}

/// An agent with a grant of its own: no login knows its tokens.
fn own_home(server: &Endpoint) -> Home {
    own_home_of(&server.config())
}

fn own_home_of(config: &str) -> Home {
    let home = Home::new();
    home.config(config);
    let mut work = crate::home::oauth("1", now() - 60_000);
    work["email"] = "kept@example.org".into();
    home.store(
        "main",
        json!({"anthropic:work": work, "openai:key": {"type": "api_key", "provider": "openai", "key": "sk-k"}}),
    );
    home
}

fn own_record(home: &Home) -> Value {
    ledger(home)["renewals"]["clawdbot/main#anthropic:work"].clone()
}

#[test]
fn a_grant_that_a_store_owns_alone_is_renewed_under_the_stores_lock() {
    let server = Endpoint::start("1", vec![Answer::Slow(Duration::from_millis(400))]);
    let home = own_home(&server);
    let child = home.spawn(&["run", "-vvv"]);
    until("the request", || server.seen().len() == 1);
    assert!(home.at(&format!("{STORE}.lock")).is_dir());
    let ran = Ran::of(child.wait_with_output().unwrap());
    check(&home, &ran);
    let store = home.json(STORE);
    let work = &store["profiles"]["anthropic:work"];
    assert_eq!(
        (&work["access"], &work["refresh"]),
        (&json!(access("r1")), &json!(refresh("r1"))),
        "{ran:?}"
    );
    // as the agents store it: five minutes before the real end
    assert!((work["expires"].as_i64().unwrap() - now() - 28_500_000).abs() < 20_000);
    assert_eq!(
        (&work["email"], &store["profiles"]["openai:key"]["key"]),
        (&json!("kept@example.org"), &json!("sk-k"))
    );
    assert!(!home.at(&format!("{STORE}.lock")).exists() && own_record(&home) == Value::Null);
    assert_eq!((server.made(), server.live()), (1, Some(refresh("r1"))));
}

#[test]
fn what_a_dead_process_began_with_a_stores_grant_is_not_posted() {
    let server = Endpoint::start("1", vec![]);
    let home = own_home(&server);
    home.write(&format!("{STORE}.lock.owner"), "{}");
    let ran = home.run(&["refresh", "--force"]);
    assert!(ran.stdout.contains("its token is probably used up"), "{ran:?}");
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn a_grant_that_somebody_signed_in_anew_during_the_exchange_stays_as_it_is() {
    let (answer, gate) = Answer::held();
    let server = Endpoint::start("1", vec![answer]);
    let home = own_home(&server);
    let child = home.spawn(&["run"]);
    until("the request", || server.seen().len() == 1);
    home.store("main", json!({"anthropic:work": oauth("9", now() + 3_600_000)}));
    let theirs = home.read(STORE);
    gate.open();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert_eq!(home.read(STORE), theirs, "{ran:?}");
    assert!(ran.stdout.contains("that change is kept"), "{ran:?}");
}

/// A lock that looks stale may be of a holder that is stopped in its own exchange.
#[test]
fn what_a_stopped_holder_may_have_posted_is_not_posted_in_the_pass_that_takes_its_lock() {
    let server = Endpoint::start("1", vec![]);
    let home = home(&server.config());
    let lock = home.at(".claude/.oauth_refresh.lock");
    fs::create_dir(&lock).unwrap();
    let old = std::time::SystemTime::now() - Duration::from_secs(90);
    fs::File::open(&lock).unwrap().set_modified(old).unwrap();
    let ran = home.run(&["refresh"]);
    assert!(ran.stdout.contains("that held its lock has stopped"), "{ran:?}");
    assert_eq!(server.seen().len(), 0);
    home.run(&["refresh"]);
    assert_eq!((server.made(), server.live()), (1, Some(refresh("r1"))));
}

#[test]
fn a_direct_renewal_goes_before_who_renews_at_the_end() {
    for (lead, left, renewed) in [
        ("", 14, true),
        ("", 16, false),
        ("lead = \"5m\"\n", 6, false),
        ("lead = \"5m\"\n", 4, true),
        ("lead = \"1h\"\n", 59, true),
    ] {
        let server = Endpoint::start("1", vec![]);
        let home = home(&format!("{}{lead}", server.config()));
        let expires = now() + left * 60_000;
        home.login("1", expires)
            .store("main", json!({"anthropic:claude-cli": token("1", expires)}));
        home.run(&["run"]);
        assert_eq!(server.made(), u32::from(renewed), "{lead} {left}");
    }
}

const OPENCLAW: &str = ".openclaw/agents/main/agent/auth-profiles.json";

/// Where openclaw 2026.4.20 to 2026.5.12 guard the refresh of `anthropic:work`, as their own function tells.
const GRANT_LOCK: &str =
    ".openclaw/locks/oauth-refresh/sha256-4d19937b1c5bf95eddba99a8cd8189af931f28a5b9f48c517a18cac2694b4257.lock";

/// A process by the name of openclaw's, for as long as this one lives: in a container, a grant is renewed only where one is to be
/// seen.
fn an_openclaw_runs() {
    use std::os::unix::process::CommandExt;
    static RUNS: std::sync::OnceLock<std::process::Child> = std::sync::OnceLock::new();
    RUNS.get_or_init(|| {
        let mut command = std::process::Command::new("/bin/sh");
        command.arg0("openclaw").args(["-c", "read line; exit"]);
        command.stdin(std::process::Stdio::piped()).spawn().unwrap()
    });
}

/// The same at an agent of openclaw.
fn openclaw_home(server: &Endpoint, version: Option<&str>) -> Home {
    an_openclaw_runs();
    let home = Home::new();
    home.config(&server.config());
    let config = version.map_or(json!({}), |version| json!({"meta": {"lastTouchedVersion": version}}));
    home.write(".openclaw/openclaw.json", config.to_string());
    let store = json!({"version": 1, "profiles": {"anthropic:work": crate::home::oauth("1", now() - 60_000)}});
    home.write(OPENCLAW, store.to_string());
    home
}

#[test]
fn a_grant_of_openclaw_is_renewed_under_the_locks_that_its_version_takes() {
    let store_lock = format!("{OPENCLAW}.lock");
    for (version, with_grant_lock) in [
        ("2026.2.17", false),
        ("2026.4.15", false),
        ("2026.4.20", true),
        ("2026.5.12", true),
    ] {
        let server = Endpoint::start("1", vec![Answer::Slow(Duration::from_millis(400))]);
        let home = openclaw_home(&server, Some(version));
        let child = home.spawn(&["run", "-vvv"]);
        until("the request", || server.seen().len() == 1);
        // a `pid` would have openclaw in another container remove it at once
        let lock = home.json(&store_lock);
        assert!(
            lock["holder"]["pid"] == child.id() && lock["pid"].is_null(),
            "{version}"
        );
        assert_eq!(home.at(GRANT_LOCK).exists(), with_grant_lock, "{version}");
        if with_grant_lock {
            let lock = home.json(GRANT_LOCK);
            assert!(
                lock["holder"]["pid"] == child.id() && lock["createdAt"].is_string(),
                "{lock}"
            );
        }
        let ran = Ran::of(child.wait_with_output().unwrap());
        assert_eq!(
            home.json(OPENCLAW)["profiles"]["anthropic:work"]["refresh"],
            refresh("r1"),
            "{ran:?}"
        );
        assert_eq!((server.made(), server.seen().len()), (1, 1), "{version}");
        let left: Vec<_> = home.files().into_keys().filter(|path| path.contains(".lock")).collect();
        assert!(
            left.iter().all(|path| path == ".local/state/nolapse/pass.lock"),
            "{left:?}"
        );
    }
}

/// What openclaw 2026.4.20 to 2026.5.12 do: the grant's lock, inside it the store's, both over the exchange; what somebody saved
/// in the meantime is adopted. Returns whether it had to post.
fn openclaw_renews(home: &Home, server: &Endpoint, takes: Duration) -> bool {
    let locks = [home.at(GRANT_LOCK), home.at(&format!("{OPENCLAW}.lock"))];
    fs::create_dir_all(locks[0].parent().unwrap()).unwrap();
    let body = json!({"pid": std::process::id(), "createdAt": chrono::Utc::now().to_rfc3339()}).to_string();
    for lock in &locks {
        let begun = Instant::now();
        while let Err(error) = fs::File::create_new(lock).and_then(|mut file| file.write_all(body.as_bytes())) {
            assert!(begun.elapsed() < Duration::from_secs(20), "{}: {error}", lock.display());
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    let mut store = home.json(OPENCLAW);
    let work = &mut store["profiles"]["anthropic:work"];
    let due = work["expires"].as_i64().unwrap() <= now();
    if due {
        let (access, refresh) = server
            .spend(work["refresh"].as_str().unwrap())
            .expect("the token was spent");
        std::thread::sleep(takes);
        work["access"] = access.into();
        work["refresh"] = refresh.into();
        work["expires"] = (now() + 28_500_000).into();
        fs::write(home.at("next.json"), store.to_string()).unwrap();
        fs::rename(home.at("next.json"), home.at(OPENCLAW)).unwrap();
    }
    for lock in locks.iter().rev() {
        fs::remove_file(lock).unwrap();
    }
    due
}

#[test]
fn beside_an_openclaw_that_renews_the_same_grant_one_exchange_is_made_whoever_is_first() {
    // openclaw is first: what it saved is adopted
    let server = Endpoint::start("1", vec![]);
    let home = openclaw_home(&server, Some("2026.5.12"));
    std::thread::scope(|scope| {
        let posted = scope.spawn(|| openclaw_renews(&home, &server, Duration::from_millis(800)));
        until("openclaw's lock", || server.made() == 1);
        let children: Vec<_> = (0..4).map(|_| home.spawn(&["run"])).collect();
        for child in children {
            let ran = Ran::of(child.wait_with_output().unwrap());
            assert_eq!(ran.code, 0, "{ran:?}");
        }
        assert!(posted.join().unwrap());
    });
    assert_eq!(
        (server.made(), server.seen().len(), server.live()),
        (1, 0, Some(refresh("r1")))
    );

    // the grant's lock alone, as an agent with another store would hold it, is waited for too
    let server = Endpoint::start("1", vec![]);
    let home = openclaw_home(&server, Some("2026.5.12"));
    home.write(GRANT_LOCK, json!({"pid": std::process::id()}).to_string());
    let child = home.spawn_at(&home.at(GRANT_LOCK), &["run"]);
    assert!(!home.at(&format!("{OPENCLAW}.lock")).exists());
    assert_eq!(server.seen().len(), 0);
    fs::remove_file(home.at(GRANT_LOCK)).unwrap();
    child.wait_with_output().unwrap();
    assert_eq!((server.made(), server.seen().len()), (1, 1));

    // we are first: openclaw waits for our locks and adopts ours
    let server = Endpoint::start("1", vec![Answer::Slow(Duration::from_millis(800))]);
    let home = openclaw_home(&server, Some("2026.5.12"));
    let child = home.spawn(&["run"]);
    until("our request", || server.seen().len() == 1);
    assert!(
        !openclaw_renews(&home, &server, Duration::ZERO),
        "openclaw did not adopt what we saved"
    );
    child.wait_with_output().unwrap();
    assert_eq!((server.made(), server.live()), (1, Some(refresh("r1"))));
}

/// It was upgraded while its store's lock was waited for: what its version locks by now is not held.
#[test]
fn a_grant_whose_agents_lock_something_else_by_now_is_left_for_the_next_pass() {
    let server = Endpoint::start("1", vec![]);
    let home = openclaw_home(&server, Some("2026.4.15"));
    let lock = home.write(
        &format!("{OPENCLAW}.lock"),
        format!("{{\"pid\":{}}}", std::process::id()),
    );
    let child = home.spawn_at(&lock, &["refresh"]);
    let newer = json!({"meta": {"lastTouchedVersion": "2026.5.12"}});
    home.write(".openclaw/openclaw.json", newer.to_string());
    fs::remove_file(&lock).unwrap();
    let ran = Ran::of(child.wait_with_output().unwrap());
    assert!(ran.stdout.contains("is locked by another process"), "{ran:?}");
    assert_eq!(server.seen().len(), 0);
    home.run(&["refresh", "--force"]);
    assert_eq!((server.made(), server.live()), (1, Some(refresh("r1"))));
}

#[test]
fn an_openclaw_stores_new_tokens_that_cannot_be_saved_are_completed_under_its_lock() {
    let server = Endpoint::start("1", vec![Answer::Slow(Duration::from_millis(500))]);
    let home = openclaw_home(&server, Some("2026.5.12"));
    let before = home.read(OPENCLAW);
    let child = home.spawn(&["run"]);
    until("the request", || server.seen().len() == 1);
    home.write(OPENCLAW, "{\"version\":1,\"profiles\":{");
    child.wait_with_output().unwrap();
    home.write(OPENCLAW, before);
    let ran = home.run(&["run"]);
    assert!(
        ran.stdout
            .contains("renewed from tokens that an earlier pass could not save"),
        "{ran:?}"
    );
    assert_eq!(
        home.json(OPENCLAW)["profiles"]["anthropic:work"]["refresh"],
        refresh("r1")
    );
    assert_eq!((server.made(), server.live()), (1, Some(refresh("r1"))));
}

#[test]
fn a_stores_own_grant_is_left_alone_where_renewing_it_could_cost_it() {
    let server = Endpoint::start("1", vec![]);
    // two agents hold the same grant
    let home = own_home(&server);
    home.store(
        "work",
        json!({"anthropic:work": crate::home::oauth("1", now() - 60_000)}),
    );
    let ran = home.run(&["refresh", "--force"]);
    assert!(ran.stdout.contains("renewing one would log the other out"), "{ran:?}");
    // what the agents lock over a refresh cannot be told
    for (version, why) in [
        (
            Some("2026.4.17"),
            "version `2026.4.17` lies between those that were looked at",
        ),
        (None, "the config names no version of OpenClaw"),
    ] {
        let home = openclaw_home(&server, version);
        for args in [&["refresh", "--force"][..], &["refresh", "--dry-run"]] {
            let ran = home.run(args);
            let why = format!("its agents may be renewing it; their locks do not show: {why}");
            assert!(ran.stdout.contains(&why), "{ran:?}");
        }
        home.run(&["run"]);
    }
    // by the CLI nothing of the kind is done
    let home = own_home(&server);
    home.config("");
    home.run(&["run"]);
    assert_eq!(server.seen().len(), 0);
}

#[test]
fn a_stores_own_grant_that_was_posted_without_an_answer_is_alerted_and_a_refused_one_remembered() {
    for (answer, want) in [
        (Answer::HangUp, "unknown_outcome"),
        (Answer::Status(400, "", r#"{"error":"invalid_grant"}"#), "rejected"),
    ] {
        let server = Endpoint::start("1", vec![answer]);
        let home = own_home(&server);
        let before = home.read(STORE);
        for _ in 0..2 {
            check(&home, &home.run(&["run", "-vvv"]));
            home.run(&["refresh", "--force"]);
        }
        assert_eq!((home.read(STORE), server.seen().len()), (before, 1), "{want}");
        assert!(alerted(&home, want), "{want}: {}", ledger(&home)["alerts"]);
    }
}

#[test]
fn a_stores_new_tokens_that_cannot_be_saved_are_rescued_and_completed() {
    let server = Endpoint::start("1", vec![Answer::Slow(Duration::from_millis(500))]);
    let home = own_home(&server);
    let before = home.read(STORE);
    let child = home.spawn(&["run"]);
    until("the request", || server.seen().len() == 1);
    home.write(STORE, "{\"version\":1,\"profiles\":{");
    check(&home, &Ran::of(child.wait_with_output().unwrap()));
    home.write(STORE, before);
    let ran = pass(&home);
    assert!(
        ran.stdout
            .contains("renewed from tokens that an earlier pass could not save"),
        "{ran:?}"
    );
    assert_eq!(home.json(STORE)["profiles"]["anthropic:work"]["refresh"], refresh("r1"));
    assert_eq!(
        (server.made(), server.live(), own_record(&home)),
        (1, Some(refresh("r1")), Value::Null)
    );
}

/// What waits in `rescue/` is newer than any state that a backup can bring back.
#[test]
fn rescued_tokens_outlive_an_older_state_that_is_put_back() {
    let (answer, gate) = Answer::held();
    let server = Endpoint::start("1", vec![answer]);
    let home = home(&server.config());
    let before = home.read(CREDENTIALS);
    let child = home.spawn(&["run"]);
    until("the request", || server.seen().len() == 1);
    home.login("0", now() - 9 * 3_600_000);
    gate.open();
    let rescued = |ran: &Ran| {
        let kept = fs::read_dir(home.at(".local/state/nolapse/rescue")).unwrap().count();
        assert_eq!((kept, alerted(&home, "rescue")), (1, true), "{ran:?}");
        assert!(
            ran.stdout.contains("an older state of the file was restored"),
            "{ran:?}"
        );
    };
    rescued(&Ran::of(child.wait_with_output().unwrap()));
    rescued(&pass(&home));
    home.write(CREDENTIALS, before);
    pass(&home);
    assert_eq!(home.json(CREDENTIALS)["claudeAiOauth"]["refreshToken"], refresh("r1"));
    assert_eq!((server.made(), server.seen().len()), (1, 1));
    assert!(!alerted(&home, "rescue"));
}

/// Nor is it a reason to forget that the answer for the token that stood there after it never came.
#[test]
fn an_older_state_that_is_put_back_over_an_unknown_outcome_is_not_posted() {
    for own in [false, true] {
        let server = Endpoint::start("1", vec![Answer::HangUp]);
        let home = match own {
            true => own_home(&server),
            false => home(&server.config()),
        };
        home.run(&["run"]);
        let before = now() - 9 * 3_600_000;
        match own {
            true => home.store("main", json!({"anthropic:work": oauth("0", before)})),
            false => home.login("0", before),
        };
        for args in [&["run"][..], &["refresh", "--force"]] {
            let ran = home.run(args);
            assert_eq!(server.seen().len(), 1, "{ran:?}");
            assert!(alerted(&home, "unknown_outcome"), "{ran:?}");
        }
        // a new sign-in ends it
        match own {
            true => home.store("main", json!({"anthropic:work": oauth("2", now() + 3_600_000)})),
            false => home.login("2", now() + 3_600_000),
        };
        home.run(&["run"]);
        assert!(!alerted(&home, "unknown_outcome"));
    }
}

/// The state of before comes back (a backup, a sync tool): what it holds is spent.
#[test]
fn an_older_state_that_is_put_back_is_never_posted_and_is_told_of() {
    let server = Endpoint::start("1", vec![]);
    let home = home(&server.config());
    let before = home.read(CREDENTIALS);
    pass(&home);
    assert_eq!((server.made(), server.live()), (1, Some(refresh("r1"))));
    home.write(CREDENTIALS, &before);
    for mode in ["direct", "delegate"] {
        home.config(&server.config().replace("direct", mode));
        for args in [&["run", "-vvv"][..], &["refresh", "--force"]] {
            let ran = home.run(args);
            check(&home, &ran);
            assert_eq!(
                (home.read(CREDENTIALS), server.seen().len()),
                (before.clone(), 1),
                "{ran:?}"
            );
        }
        let ran = home.run(&["refresh", "--force"]);
        assert!(ran.stdout.contains("an older file was put back"), "{ran:?}");
        assert!(alerted(&home, "older_state"));
    }
    home.config(&server.config());
    // a ledger that is lost does not lose that
    fs::remove_file(home.at(".local/state/nolapse/ledger.json")).unwrap();
    pass(&home);
    assert_eq!((home.read(CREDENTIALS), server.seen().len()), (before, 1));
    // a new sign-in is another login
    home.login("2", now() + 3_600_000);
    pass(&home);
    assert!(!alerted(&home, "older_state"));
}

/// The same where an agent's copy still holds what the login had reached.
#[test]
fn an_older_state_that_is_put_back_is_healed_from_a_copy_that_is_not() {
    let server = Endpoint::start("1", vec![]);
    let home = home(&server.config());
    home.store("main", json!({"anthropic:claude-cli": oauth("1", now() - 60_000)}));
    let before = home.read(CREDENTIALS);
    pass(&home);
    let copy = home.json(STORE)["profiles"]["anthropic:claude-cli"].clone();
    assert_eq!(copy["refresh"].as_str(), server.live().as_deref());
    home.write(CREDENTIALS, &before);
    let ran = pass(&home);
    let login = home.json(CREDENTIALS);
    assert_eq!(
        login["claudeAiOauth"]["refreshToken"].as_str(),
        server.live().as_deref(),
        "{ran:?}"
    );
    assert_eq!(home.json(STORE)["profiles"]["anthropic:claude-cli"], copy);
    assert_eq!(server.seen().len(), 1);
    assert!(alerted(&home, "healed") && !alerted(&home, "older_state"));
    let told = &ledger(&home)["alerts"]["healed:claude"]["last"];
    assert_eq!(
        (&told["severity"], &told["detail"]),
        (&json!("info"), &json!("clawdbot/main"))
    );
}

/// A backup may be older than anything that we ever saw.
#[test]
fn a_state_from_before_the_first_look_is_never_posted_and_healed_from_a_copy() {
    for with_copy in [false, true] {
        let server = Endpoint::start("1", vec![]);
        let home = home(&server.config());
        let copy = match with_copy {
            true => oauth("1", now() + 3_600_000),
            false => token("1", now() + 3_600_000),
        };
        home.login("1", now() + 3_600_000)
            .store("main", json!({"anthropic:claude-cli": copy}));
        pass(&home);
        let (live, mut older) = (home.json(CREDENTIALS), home.json(CREDENTIALS));
        let oauth = &mut older["claudeAiOauth"];
        (oauth["accessToken"], oauth["refreshToken"]) = (access("0").into(), refresh("0").into());
        oauth["expiresAt"] = (now() - 60_000).into();
        home.write(CREDENTIALS, older.to_string());
        for args in [&["refresh", "--dry-run"][..], &["run"], &["refresh", "--force"]] {
            let ran = home.run(args);
            assert_eq!(
                server.seen().len(),
                usize::from(with_copy && args[1..] == ["--force"]),
                "{args:?}: {ran:?}"
            );
        }
        if with_copy {
            assert_eq!(server.live(), Some(refresh("r1")));
            assert!(alerted(&home, "healed"));
            continue;
        }
        assert!(alerted(&home, "older_state"));
        // a ledger that is lost does not lose that
        fs::remove_file(home.at(".local/state/nolapse/ledger.json")).unwrap();
        pass(&home);
        assert_eq!(server.seen().len(), 0);
        // what was there before comes back, and is not taken for what was used up
        home.write(CREDENTIALS, live.to_string());
        home.run(&["refresh", "--force"]);
        assert_eq!((server.made(), server.live()), (1, Some(refresh("r1"))));
        pass(&home);
        assert!(!alerted(&home, "older_state"));
    }
}

/// A directory that was copied: to renew one login spends the token of both.
#[test]
fn a_token_that_two_logins_hold_is_posted_once() {
    for (answer, live) in [(Answer::Good, "r1"), (Answer::HangUp, "r1")] {
        let server = Endpoint::start("1", vec![answer.clone()]);
        let home = home("");
        home.write(".claude-copy/.credentials.json", home.read(CREDENTIALS));
        home.config(&format!(
            "{}always = true\n[[login]]\ndir = \"~/.claude\"\n[[login]]\ndir = \"~/.claude-copy\"\n",
            server.config()
        ));
        for args in [
            &["run"][..],
            &["run"],
            &["refresh", "--force", "--login", "claude-copy"],
        ] {
            let ran = home.run(args);
            assert_eq!(
                (server.seen().len(), server.live()),
                (1, Some(refresh(live))),
                "{answer:?} {args:?}: {ran:?}"
            );
        }
    }
}

/// A copy is where an agent's renewal is seen first; it is also where an agent that was signed in elsewhere shows.
#[test]
fn a_login_is_not_handed_to_whom_a_copy_was_signed_in_for() {
    let soon = now() + 6 * 3_600_000;
    let named = |account: &str| {
        let mut copy = oauth("other", soon);
        copy["email"] = account.into();
        copy
    };
    for (name, copy, healed) in [
        ("renewed by its agent", oauth("other", soon), true),
        ("another account", named("b@example.org"), false),
        ("for a year", oauth("other", now() + 365 * 86_400_000), false),
    ] {
        let home = home("[renew]\nmode = \"off\"\n");
        home.login("1", now() + 60_000);
        home.store("main", json!({"anthropic:claude-cli": oauth("1", now() + 60_000)}));
        let before = home.read(CREDENTIALS);
        home.run(&["run"]);
        home.store("main", json!({"anthropic:claude-cli": copy}));
        for _ in 0..2 {
            home.run(&["run"]);
            assert_eq!(home.read(CREDENTIALS) != before, healed, "{name}");
        }
    }
}

#[test]
fn without_its_own_lock_a_pass_renews_nothing() {
    let server = Endpoint::start("1", vec![]);
    let home = home(&server.config());
    fs::create_dir_all(home.at(".local/state/nolapse/pass.lock")).unwrap();
    let before = home.read(CREDENTIALS);
    let left = home.write(".claude/..credentials.json.0123456789abcdef.nolapse-tmp", "");
    let ran = home.run(&["run"]);
    assert_eq!((home.read(CREDENTIALS), server.seen().len()), (before, 0), "{ran:?}");
    // nor does it clear up after others
    assert!(left.exists(), "{ran:?}");
    fs::remove_dir(home.at(".local/state/nolapse/pass.lock")).unwrap();
    home.run(&["run"]);
    assert!(!left.exists() && server.seen().len() == 1);
}

#[test]
fn a_fence_outlives_what_cannot_be_read() {
    type Made = (fn(&str) -> Home, &'static str, fn(&Home) -> Value, &'static str);
    let kinds: [Made; 2] = [
        (home, CREDENTIALS, record, "{\"claudeAiOauth\":{\"accessTok"),
        (own_home_of, STORE, own_record, "{\"version\":1,\"profiles\":{"),
    ];
    for (home, file, record, torn) in kinds {
        let server = Endpoint::start("1", vec![Answer::Silent(Duration::from_secs(60))]);
        let home = home(&server.config().replace("5s", "60s"));
        let before = home.read(file);
        let mut child = home.spawn(&["run"]);
        until("the request", || server.seen().len() == 1);
        child.kill().unwrap();
        child.wait().unwrap();
        home.write(file, torn);
        home.run(&["run"]);
        assert!(record(&home)["stage"]["sent"].is_object(), "{}", record(&home));
        home.write(file, before);
        home.run(&["run"]);
        assert!(record(&home)["stage"]["unknown"].is_object() && server.seen().len() == 1);
    }
}

/// Stops a direct renewal that waits for its answer, lets a second one with another state directory find its locks old, and lets
/// the first go on. Nobody posts what was posted, and the first saves what it got.
fn stopped(home: &Home, server: &Endpoint, locks: &[&str]) {
    // it is stopped for longer than it waits for its answer, which is there when it goes on
    home.config(&format!("{}always = true\n", server.config()));
    let first = home.spawn(&["run"]);
    until("posted", || server.seen().len() == 1);
    let signal = |name: &str| {
        let pid = first.id().to_string();
        assert!(Command::new("kill").args([name, &pid]).status().unwrap().success());
    };
    signal("-STOP");
    let long_ago = std::time::SystemTime::now() - Duration::from_secs(600);
    for lock in locks {
        let times = fs::FileTimes::new().set_modified(long_ago);
        fs::File::open(home.at(lock)).unwrap().set_times(times).unwrap();
    }
    let other = home.at("other-state");
    let second = home.run(&["--state-dir", other.to_str().unwrap(), "refresh"]);
    let waited = ["another program is renewing", "is locked by another process"];
    assert!(waited.iter().any(|words| second.stdout.contains(words)), "{second:?}");
    assert_eq!(server.seen().len(), 1, "posted again: {second:?}");
    signal("-CONT");
    let ran = Ran::of(first.wait_with_output().unwrap());
    assert!(ran.stdout.contains("renewed directly"), "{ran:?}");
    assert_eq!((server.made(), server.live()), (1, Some(refresh("r1"))));
    let left = home
        .files()
        .into_keys()
        .filter(|path| path.contains("/rescue/") || path.contains(".owner"));
    assert_eq!(left.collect::<Vec<_>>(), Vec::<String>::new());
}

#[test]
fn a_renewal_that_is_stopped_is_waited_for_however_old_its_locks_look() {
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let server = Endpoint::start("1", vec![Answer::Slow(Duration::from_millis(500))]);
            let home = home(&server.config());
            stopped(&home, &server, &[".claude/.oauth_refresh.lock", ".claude.lock"]);
            let login = home.json(CREDENTIALS);
            assert_eq!(login["claudeAiOauth"]["refreshToken"], refresh("r1"));
            assert_eq!(login["mcpOAuth"]["kept"], 1.0);
        });
        scope.spawn(|| {
            let server = Endpoint::start("1", vec![Answer::Slow(Duration::from_millis(500))]);
            let home = own_home(&server);
            let lock = format!("{STORE}.lock");
            stopped(&home, &server, &[&lock]);
            let store = home.json(STORE);
            assert_eq!(store["profiles"]["anthropic:work"]["refresh"], refresh("r1"));
            assert_eq!(store["profiles"]["openai:key"]["key"], "sk-k");
        });
    });
}

#[test]
fn what_was_posted_without_an_answer_is_not_posted_from_another_state_directory() {
    for home in [home as fn(&str) -> Home, own_home_of] {
        let server = Endpoint::start("1", vec![Answer::HangUp]);
        let home = home(&server.config());
        home.run(&["run"]);
        let other = home.at("other-state");
        let second = home.run(&["--state-dir", other.to_str().unwrap(), "refresh", "--force"]);
        assert!(second.stdout.contains("its token is probably used up"), "{second:?}");
        assert_eq!(server.seen().len(), 1);
    }
}

#[test]
fn what_a_killed_renewal_posted_is_not_posted_from_another_state_directory() {
    let server = Endpoint::start("1", vec![Answer::Slow(Duration::from_secs(60))]);
    let home = home(&server.config().replace("5s", "60s"));
    let mut first = home.spawn(&["run"]);
    until("posted", || server.seen().len() == 1);
    first.kill().unwrap();
    first.wait().unwrap();
    let other = home.at("other-state");
    // a moment later the locks are the dead process's still, and a minute later nobody's
    for _ in 0..2 {
        let second = home.run(&["--state-dir", other.to_str().unwrap(), "refresh", "--force"]);
        assert_eq!(server.seen().len(), 1, "{second:?}");
        let long_ago = std::time::SystemTime::now() - Duration::from_secs(600);
        for lock in [".claude/.oauth_refresh.lock", ".claude.lock"].map(|lock| home.at(lock)) {
            if let Ok(lock) = fs::File::open(lock) {
                lock.set_times(fs::FileTimes::new().set_modified(long_ago)).unwrap();
            }
        }
    }
    // somebody signs in again: what is on record is of no interest any more
    let expires = now() - 60_000;
    home.login("1", expires);
    let renewed = home
        .json(CREDENTIALS)
        .to_string()
        .replace(&refresh("1"), &refresh("r1"));
    home.write(CREDENTIALS, renewed);
    // the dead one's locks may have been taken over only now, and then it is the next pass that renews
    home.run(&["--state-dir", other.to_str().unwrap(), "refresh"]);
    let second = home.run(&["--state-dir", other.to_str().unwrap(), "refresh"]);
    assert_eq!(server.seen().len(), 2, "{second:?}");
    assert_eq!(home.json(CREDENTIALS)["claudeAiOauth"]["refreshToken"], refresh("r2"));
}

/// A power cut after the token was posted must find the fence: the directory it was renamed in is synced before anything is sent.
#[test]
fn the_fence_and_its_directory_are_on_disk_before_the_token_is_sent() {
    let endpoint = Endpoint::start("1", Vec::new());
    let home = home(&endpoint.config());
    let trace = home.at("trace");
    home.traced(
        "run",
        &[
            "-o",
            trace.to_str().unwrap(),
            "-e",
            "trace=fsync,rename,renameat,renameat2,connect",
        ],
    );
    assert_eq!(endpoint.made(), 1);
    let text = fs::read_to_string(trace).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let port = endpoint.url.rsplit(':').next().unwrap().split('/').next().unwrap();
    let sent = lines
        .iter()
        .position(|line| line.contains("connect(") && line.contains(&format!("htons({port})")));
    let before = &lines[..sent.unwrap_or_else(|| panic!("{text}"))];
    let put = |name: &str| {
        let renamed = before
            .iter()
            .rposition(|line| line.contains("rename") && line.contains(&format!("/{name}\"")));
        renamed.unwrap_or_else(|| panic!("{name} was not put in its place: {text}"))
    };
    for name in ["ledger.json", "fences.json"] {
        let after = &before[put(name)..];
        let synced = after
            .iter()
            .any(|line| line.contains("fsync(") && line.contains("/.local/state/nolapse>"));
        assert!(synced, "{name}: {text}");
    }
}
