//! The daemon's listener over real connections: what it answers, to whom, and what nobody can do to it.

use super::daemon::Daemon;
use super::home::{DAY, HOUR, Home, access, now};
use super::metrics::samples;
use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::time::{Duration, Instant};

fn home(daemon: &str) -> Home {
    let home = Home::new();
    home.login("1", now() + 8 * HOUR).store("main", serde_json::json!({}));
    config(&home, daemon);
    home
}

fn config(home: &Home, daemon: &str) {
    home.config(&format!(
        "[renew]\nmode = \"off\"\n[daemon]\nschedule = \"0 0 0 1 1 *\"\n{daemon}\n"
    ));
}

const ANYWHERE: &str = "listen = \"127.0.0.1:0\"";

/// Where it says that it listens, the last time that it did.
pub fn port(daemon: &Daemon) -> u16 {
    let log = daemon.log();
    let (_, rest) = log
        .rsplit_once("listening on 127.0.0.1:")
        .unwrap_or_else(|| panic!("{log}"));
    rest.lines().next().unwrap().trim().parse().unwrap()
}

fn connect(port: u16) -> TcpStream {
    let stream = TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(30))).unwrap();
    stream
}

/// All that comes back; what is sent may not be read to its end.
fn say(port: u16, bytes: &[u8]) -> String {
    let mut stream = connect(port);
    let _ = stream.write_all(bytes);
    rest(&mut stream)
}

fn rest(stream: &mut TcpStream) -> String {
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8(answer).unwrap()
}

pub fn get(port: u16, path: &str) -> (u16, String) {
    let answer = say(
        port,
        format!("GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n").as_bytes(),
    );
    let (head, body) = answer.split_once("\r\n\r\n").unwrap_or_else(|| panic!("{answer:?}"));
    let length = format!("Content-Length: {}\r\n", body.len());
    assert!(head.contains(&length), "{head}");
    (status(&answer), body.to_owned())
}

fn status(answer: &str) -> u16 {
    let code = answer.strip_prefix("HTTP/1.1 ").and_then(|rest| rest.get(..3));
    code.unwrap_or_else(|| panic!("{answer:?}")).parse().unwrap()
}

#[test]
fn metrics_and_health_are_told_to_this_host() {
    let home = home(ANYWHERE);
    let daemon = Daemon::start(&home);
    let port = port(&daemon);
    let (code, page) = get(port, "/metrics");
    assert_eq!(code, 200);
    let told = samples(&page);
    assert_eq!(
        told[r#"nolapse_passes_total{result="good"}"#], 1.0,
        "the pass that laid it out is in it"
    );
    assert_eq!(told[r#"nolapse_login_health{login="claude",health="ok"}"#], 1.0);
    let (code, body) = get(port, "/healthz");
    assert!(
        code == 200 && body.starts_with("ok: the last pass ended"),
        "{code} {body}"
    );

    let head = say(port, b"HEAD /metrics HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    assert!(status(&head) == 200 && head.ends_with("\r\n\r\n"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", page.len())), "{head}");
    assert!(
        head.contains("Content-Type: text/plain; version=0.0.4; charset=utf-8\r\n"),
        "{head}"
    );
    for (request, code) in [
        ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
        ("GET /metrics HTTP/1.1\r\nHost: rebound.example\r\n\r\n", 403),
        (
            "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\n\r\nhello",
            405,
        ),
    ] {
        assert_eq!(status(&say(port, request.as_bytes())), code, "{request}");
    }

    // what changes is told by the pass that follows
    home.login("2", now() + DAY);
    daemon.until("the next pass", || {
        samples(&get(port, "/metrics").1)[r#"nolapse_passes_total{result="good"}"#] >= 2.0
    });
    assert_eq!(daemon.stop(), 0);
    assert!(TcpStream::connect(("127.0.0.1", port)).is_err());
}

#[test]
fn nonsense_and_endless_requests_are_refused_and_the_half_closed_answered() {
    let home = home(ANYWHERE);
    let daemon = Daemon::start(&home);
    let port = port(&daemon);
    for nonsense in [
        &b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n"[..],
        b"\0\xff\0\r\n\r\n",
        b"GET\r\n\r\n",
    ] {
        assert_eq!(status(&say(port, nonsense)), 400, "{nonsense:?}");
    }
    let endless = [
        b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ".as_slice(),
        &vec![b'a'; 100_000],
    ]
    .concat();
    let answer = say(port, &endless);
    assert_eq!(status(&answer), 431);

    let mut half = connect(port);
    half.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .unwrap();
    half.shutdown(Shutdown::Write).unwrap();
    assert_eq!(status(&rest(&mut half)), 200);

    // in pieces, as a slow line brings it
    let mut pieces = connect(port);
    pieces.set_nodelay(true).unwrap();
    for byte in b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n" {
        pieces.write_all(&[*byte]).unwrap();
    }
    assert_eq!(status(&rest(&mut pieces)), 200);

    // and cut off in the middle, or before its beginning
    let mut cut = connect(port);
    cut.write_all(b"GET /healthz HTTP/1.1\r\nHost: loc").unwrap();
    cut.shutdown(Shutdown::Write).unwrap();
    assert_eq!(status(&rest(&mut cut)), 400);
    let mut mute = connect(port);
    mute.shutdown(Shutdown::Write).unwrap();
    assert_eq!(rest(&mut mute), "");
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn who_stalls_holds_up_no_pass_and_is_shown_the_door() {
    let home = home(ANYWHERE);
    let daemon = Daemon::start(&home);
    let port = port(&daemon);
    let begun = Instant::now();
    let mut stalling: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut stream = connect(port);
            stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: loc").unwrap();
            stream
        })
        .collect();
    // a pass begins and ends meanwhile
    home.login("2", now() + DAY);
    daemon.until("the pass", || home.read(super::home::MAIN).contains(&access("2")));
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
    // the first of them is told that it took too long
    let first = rest(&mut stalling[0]);
    assert_eq!(status(&first), 408, "{first}");
    assert!(begun.elapsed() >= Duration::from_secs(4));
    // and once they are gone, others are answered again
    drop(stalling);
    assert_eq!(get(port, "/healthz").0, 200);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn two_hundred_that_trickle_keep_no_scrape_out() {
    let home = home(ANYWHERE);
    let daemon = Daemon::start(&home);
    let port = port(&daemon);
    let mut trickling: Vec<TcpStream> = (0..200).map(|_| connect(port)).collect();
    for stream in &mut trickling {
        let _ = stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nX: ");
    }
    for _ in 0..20 {
        let begun = Instant::now();
        assert_eq!(get(port, "/metrics").0, 200);
        assert!(begun.elapsed() < Duration::from_secs(3), "{:?}", begun.elapsed());
        for stream in &mut trickling {
            // those that had to give way cannot
            let _ = stream.write_all(b"a");
        }
    }
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn many_at_once_are_all_answered() {
    let home = home(ANYWHERE);
    let daemon = Daemon::start(&home);
    let port = port(&daemon);
    std::thread::scope(|scope| {
        for _ in 0..50 {
            scope.spawn(move || assert_eq!(get(port, "/metrics").0, 200));
        }
    });
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_reload_moves_it_and_a_taken_port_stops_no_pass() {
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let at = taken.local_addr().unwrap();
    let home = home(&format!("listen = \"{at}\""));
    let daemon = Daemon::start(&home);
    assert!(
        daemon.log().contains(&format!("cannot listen on {at}: ")),
        "{}",
        daemon.log()
    );
    daemon.until("its status", || daemon.log().contains("alerts 0; cannot listen on"));
    drop(taken);
    daemon.signal("USR1");
    daemon.until("the port", || daemon.log().contains("listening on"));
    assert_eq!(get(at.port(), "/healthz").0, 200);

    config(&home, ANYWHERE);
    daemon.signal("HUP");
    daemon.until("another port", || port(&daemon) != at.port());
    daemon.until("an answer there", || get(port(&daemon), "/healthz").0 == 200);
    assert!(TcpStream::connect(at).is_err());

    let last = port(&daemon);
    config(&home, "");
    daemon.signal("HUP");
    daemon.until("silence", || TcpStream::connect(("127.0.0.1", last)).is_err());
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn a_pass_that_could_not_do_its_work_is_no_health() {
    let home = home(&format!("{ANYWHERE}\n[metrics]\ntextfile = \"~/none/nolapse.prom\""));
    let daemon = Daemon::start(&home);
    let port = port(&daemon);
    let (code, body) = get(port, "/healthz");
    assert!(
        code == 503 && body.contains("were not written to `~/none/nolapse.prom`"),
        "{code} {body}"
    );
    // the metrics are told all the same, and a lapse is no fault of nolapse's
    assert_eq!(get(port, "/metrics").0, 200);
    std::fs::create_dir(home.at("none")).unwrap();
    home.write(
        ".claude/.credentials.json",
        r#"{"claudeAiOauth":{"accessToken":"","refreshToken":"","expiresAt":0}}"#,
    );
    daemon.until("a good pass", || get(port, "/healthz").0 == 200);
    assert_eq!(samples(&get(port, "/metrics").1)["nolapse_check_exit_code"], 1.0);
    assert_eq!(daemon.stop(), 0);
}

#[test]
fn only_loopback_is_listened_on() {
    let home = Home::new();
    for (address, says) in [
        ("0.0.0.0:9817", "other hosts can reach"),
        ("192.168.1.2:9817", "other hosts can reach"),
        ("[::]:9817", "other hosts can reach"),
        ("127.0.0.1", "no address with a port"),
        ("localhost:9817", "no address with a port"),
        ("9817", "no address with a port"),
    ] {
        config(&home, &format!("listen = \"{address}\""));
        let ran = home.run(&["config", "check"]);
        assert!(
            ran.code == 3 && ran.stderr.contains("`daemon.listen`") && ran.stderr.contains(says),
            "{address}: {ran:?}"
        );
        assert!(ran.stderr.contains("hint: write `127.0.0.1:9817`"), "{ran:?}");
    }
    for address in ["127.0.0.1:9817", "[::1]:9817", "127.1.2.3:1"] {
        config(&home, &format!("listen = \"{address}\""));
        assert_eq!(home.run(&["config", "check"]).code, 0, "{address}");
    }
}
