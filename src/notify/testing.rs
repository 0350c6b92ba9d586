//! For tests: an example event, channels from TOML text, a loopback HTTP server, and the leak check that every channel runs.

use super::{Channel, SendCtx, SendError, read_channels, send};
use crate::edge::host::Host;
use crate::edge::http::Http;
use crate::secret::SecretUrl;
use crate::table::{ConfigError, Source, Table};
use crate::types::{Affected, Event, EventLogin, Family, Health, Moment, Reason, Severity, Status};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// 2026-01-20T10:00:00Z.
pub(crate) const NOW: Moment = Moment::at(1_768_903_200_000);

/// What no error, receipt or `Debug` may show. Starts with a lower-case word so that word filters alone do not hide it.
pub(crate) const CANARY: &str = "canarysecret";

/// A login that ended, with foreign text in all places.
pub(crate) fn event() -> Event {
    let affected = |agent: &str| Affected {
        family: Family::Clawdbot,
        named: None,
        agent: agent.into(),
        profile: "anthropic:claude-cli".into(),
        health: Health::Expired,
        expires_at: Some(NOW - 1000),
    };
    Event {
        event_id: "msg_2b1f".into(),
        alert_id: "login:claude".into(),
        status: Status::Firing,
        severity: Severity::Critical,
        kind: "login_ended".into(),
        title: "Claude login on gw has ended".into(),
        message: "since 10:00 (just now)\nstopped: main, <b>&*x*\non gw, run:\nclaude auth login".into(),
        commands: vec!["claude auth login".into(), "nolapse reauth claude".into()],
        login: Some(EventLogin {
            id: "claude".into(),
            dir: "~/.claude".into(),
            health: Health::Expired,
            reason: Some(Reason::LoginEnded),
            access_expires_at: Some(NOW - 1000),
            login_ends_at: Some(NOW),
        }),
        affected: vec![affected("main"), affected("<b>&*x*")],
        host: "gw".into(),
        at: NOW,
    }
}

/// The same alert's recovery.
pub(crate) fn recovered() -> Event {
    Event {
        event_id: "msg_2b20".into(),
        status: Status::Resolved,
        severity: Severity::Info,
        title: "Claude login on gw works again".into(),
        message: "since 11:00".into(),
        commands: Vec::new(),
        ..event()
    }
}

/// A host with this environment.
pub(crate) fn host(env: &[(&str, &str)]) -> Host {
    Host {
        home: "/home/u".into(),
        env: env.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect(),
        cwd: "/".into(),
        name: "gw".into(),
        macos: false,
        own: vec!["nolapse".into()],
    }
}

/// Reads `[[channel]]` tables from TOML text, as from a private file.
pub(crate) fn channels(text: &str) -> Result<Vec<Channel>, ConfigError> {
    let env = BTreeMap::new();
    let source = Source {
        path: Path::new("/c/config.toml"),
        text,
        private: true,
        home: Path::new("/home/u"),
        env: &env,
    };
    let parsed = toml::de::DeTable::parse(text).expect("valid TOML");
    let table = Table::new(&source, "", parsed.span(), parsed.get_ref());
    read_channels(table.tables("channel")?)
}

/// The one channel that `keys` describe.
pub(crate) fn channel(keys: &str) -> Channel {
    match channels(&format!("[[channel]]\n{keys}")) {
        Ok(mut channels) => channels.remove(0),
        Err(error) => panic!("{error}"),
    }
}

/// Sends `event` through `channel` at [`NOW`].
pub(crate) async fn deliver(channel: &Channel, event: &Event) -> Result<super::Receipt, SendError> {
    let (host, http) = (host(&[("PATH", "/usr/bin:/bin")]), Http::new(&BTreeMap::new()));
    let ctx = SendCtx::new(&host, &http, NOW);
    send(channel, event, &ctx).await
}

/// One answer of a [`Server`].
#[derive(Clone)]
pub(crate) struct Answer {
    status: u16,
    headers: Vec<(&'static str, String)>,
    body: Vec<u8>,
    how: How,
}

#[derive(Clone, Copy, PartialEq)]
enum How {
    Answer,
    Silence,
    HangUp,
}

impl Answer {
    /// An answer with this status and no body.
    pub(crate) fn status(status: u16) -> Self {
        Self {
            status,
            headers: Vec::new(),
            body: Vec::new(),
            how: How::Answer,
        }
    }

    /// Reads the request and never answers.
    pub(crate) fn silence() -> Self {
        Self {
            how: How::Silence,
            ..Self::status(0)
        }
    }

    /// Reads the request and closes.
    pub(crate) fn hang_up() -> Self {
        Self {
            how: How::HangUp,
            ..Self::status(0)
        }
    }

    /// With a header.
    pub(crate) fn header(mut self, name: &'static str, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }

    /// With a body.
    pub(crate) fn body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }
}

/// A request as it came.
#[derive(Clone, Debug)]
pub(crate) struct Seen {
    /// The request line.
    pub(crate) line: String,
    /// The headers, names in lower case.
    pub(crate) headers: Vec<(String, String)>,
    /// The body.
    pub(crate) body: Vec<u8>,
}

impl Seen {
    /// A header's value.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// The body as JSON.
    pub(crate) fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).expect("a JSON body")
    }
}

/// A loopback HTTP server that gives its answers in order, the last one again and again, and keeps what it saw.
pub(crate) struct Server {
    port: u16,
    seen: Arc<Mutex<Vec<Seen>>>,
    answers: Arc<Mutex<Vec<Answer>>>,
}

impl Server {
    /// Starts on a free port, within the test's own runtime.
    pub(crate) async fn start(answers: Vec<Answer>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let seen = Arc::new(Mutex::new(Vec::new()));
        let log = seen.clone();
        let answers = Arc::new(Mutex::new(answers));
        let left = answers.clone();
        tokio::spawn(async move {
            let mut held = Vec::new();
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let Some(request) = read_request(&mut socket).await else {
                    let _ = socket.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await;
                    continue;
                };
                log.lock().unwrap().push(request);
                let answer = {
                    let mut left = left.lock().unwrap();
                    if left.len() > 1 {
                        left.remove(0)
                    } else {
                        left[0].clone()
                    }
                };
                match answer.how {
                    How::HangUp => {}
                    How::Silence => held.push(socket),
                    How::Answer => {
                        let mut head = format!("HTTP/1.1 {} X\r\n", answer.status);
                        for (name, value) in &answer.headers {
                            head.push_str(&format!("{name}: {value}\r\n"));
                        }
                        if !answer.headers.iter().any(|(name, _)| *name == "content-length") {
                            head.push_str(&format!("content-length: {}\r\n", answer.body.len()));
                        }
                        head.push_str("connection: close\r\n\r\n");
                        let _ = socket.write_all(head.as_bytes()).await;
                        let _ = socket.write_all(&answer.body).await;
                    }
                }
            }
        });
        Self { port, seen, answers }
    }

    /// From now on gives this answer.
    pub(crate) fn now(&self, answer: Answer) {
        *self.answers.lock().unwrap() = vec![answer];
    }

    /// `127.0.0.1:port`.
    pub(crate) fn authority(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// A URL on this server.
    pub(crate) fn url(&self, path: &str) -> SecretUrl {
        SecretUrl::new(format!("http://{}{path}", self.authority()))
    }

    /// What came so far.
    pub(crate) fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }
}

async fn read_request(socket: &mut tokio::net::TcpStream) -> Option<Seen> {
    let mut bytes = Vec::new();
    let head = loop {
        if let Some(at) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break at;
        }
        let mut buffer = [0; 4096];
        let count = socket.read(&mut buffer).await.ok()?;
        // a TLS hello starts with 0x16
        if count == 0 || (bytes.is_empty() && buffer[0] == 0x16) {
            return None;
        }
        bytes.extend_from_slice(&buffer[..count]);
    };
    let text = String::from_utf8_lossy(&bytes[..head]).into_owned();
    let mut lines = text.lines();
    let line = lines.next()?.to_owned();
    let headers: Vec<(String, String)> = lines
        .filter_map(|l| l.split_once(':'))
        .map(|(n, v)| (n.to_lowercase(), v.trim().to_owned()))
        .collect();
    let length = headers.iter().find(|(n, _)| n == "content-length");
    let length: usize = length.and_then(|(_, v)| v.parse().ok()).unwrap_or(0);
    let mut body = bytes[head + 4..].to_vec();
    while body.len() < length {
        let mut buffer = [0; 4096];
        let count = socket.read(&mut buffer).await.ok()?;
        body.extend_from_slice(&buffer[..count]);
    }
    Some(Seen { line, headers, body })
}

/// A loopback address where nobody listens.
pub(crate) fn refused_authority() -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

/// A URL that is refused.
pub(crate) fn refused_url(path: &str) -> SecretUrl {
    SecretUrl::new(format!("http://{}{path}", refused_authority()))
}

/// Runs a channel over HTTP, described by `keys` for an authority and holding [`CANARY`] in all of its secrets, through
/// every failure: each is told as passing or permanent, and nothing that is printed holds a secret.
pub(crate) async fn leak_check(keys: impl Fn(&str) -> String) {
    let echo = |text: &str| {
        format!(r#"{{"message":"{text}","description":"{text}","error":"{text}","errorDescription":"{text}"}}"#)
    };
    let echoed = format!("bad value {CANARY} here");
    let cases = [
        (None, true),
        (Some(Answer::status(500).body(echo(&echoed))), true),
        (Some(Answer::status(503).body(echoed.clone())), true),
        (Some(Answer::status(429).body(CANARY).header("retry-after", "30")), true),
        (Some(Answer::status(403).body(echo(&echoed))), false),
        (Some(Answer::status(404).body(CANARY)), false),
        (
            Some(Answer::status(307).header("location", format!("http://127.0.0.1:9/{CANARY}"))),
            false,
        ),
        (Some(Answer::hang_up()), true),
        (Some(Answer::silence()), true),
    ];
    for (i, (answer, passing)) in cases.into_iter().enumerate() {
        let server = match answer {
            Some(answer) => Some(Server::start(vec![answer]).await),
            None => None,
        };
        let authority = server.as_ref().map_or_else(refused_authority, Server::authority);
        let text = keys(&authority);
        assert!(text.contains(CANARY), "the check needs a canary in every secret");
        let channel = channel(&format!("{text}\ntimeout = \"1s\"\n"));
        let result = deliver(&channel, &event()).await;
        let shown = format!("{channel:?} {result:?}");
        assert!(!shown.contains(CANARY), "case {i}: {shown}");
        match result {
            Err(SendError::Passing { retry_after, .. }) => {
                assert!(passing, "case {i}: {shown}");
                assert_eq!(retry_after, (i == 3).then_some(30_000), "case {i}");
            }
            Err(SendError::Permanent { .. }) => assert!(!passing, "case {i}: {shown}"),
            Ok(_) | Err(SendError::Lost { .. }) => panic!("case {i}: {shown}"),
        }
        if let Some(server) = server {
            assert_eq!(
                server.seen().len(),
                1,
                "case {i}: a send is one request, and redirects are not followed"
            );
        }
    }
}

/// Runs a channel whose service has an answer of its own through what says 200 and took nothing, and through `good`.
pub(crate) async fn own_answer_check(keys: impl Fn(&str) -> String, good: &str) {
    for lie in [
        "<!doctype html><title>Sign in</title>",
        "{\"ok\":false,\"error\":\"no_team\"}",
        "{\"status\":\"error\"}",
        "{}",
        "",
        "null",
    ] {
        let server = Server::start(vec![Answer::status(200).body(lie)]).await;
        let result = deliver(&channel(&keys(&server.authority())), &event()).await;
        let Err(SendError::Passing { why, .. }) = &result else {
            panic!("{lie}: {result:?}");
        };
        assert!(why.starts_with("answered 200, but not as "), "{lie}: {why}");
    }
    let server = Server::start(vec![Answer::status(200).body(good)]).await;
    let result = deliver(&channel(&keys(&server.authority())), &event()).await;
    assert!(result.is_ok(), "{result:?}");
}

/// A file of `tests/fixtures/tls`.
pub(crate) fn tls_fixture(name: &str) -> std::path::PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/fixtures/tls")
        .join(name)
}

/// Speaks TLS with a certificate of the fixtures: `server` is self-signed and may sign others, as `openssl req -x509` makes it, `issued` is
/// signed by `ca`.
pub(crate) fn certified(name: &str) -> tokio_rustls::TlsAcceptor {
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    let chain = CertificateDer::pem_file_iter(tls_fixture(&format!("{name}.pem"))).unwrap();
    let key = PrivateKeyDer::from_pem_file(tls_fixture(&format!("{name}.key"))).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.flatten().collect(), key)
        .unwrap();
    tokio_rustls::TlsAcceptor::from(Arc::new(config))
}
