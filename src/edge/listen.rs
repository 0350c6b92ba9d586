//! A listener on this host alone, for metrics collectors: one small request per connection, answered from prepared pages.
//!
//! It costs nothing at rest: no timer runs while nobody is connected. Every connection has a deadline, its request a limit,
//! and there are only so many at a time, so that nobody can hold up the passes in the same thread or fill the memory. The oldest
//! gives way to a new one: who trickles, or says nothing, keeps nobody out. A browser
//! that was led here by a foreign name (DNS rebinding) is sent away by the `Host` that it names.
//!
//! `httparse`, which reqwest brings, reads the request; hyper's server would also keep connections open, read bodies and
//! upgrade, none of which is wanted here.

use crate::edge::host::Clock;
use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// So many connections at a time.
const AT_ONCE: usize = 64;

/// The longest a request's head may be, in bytes.
const HEAD: usize = 8 << 10;

/// The most headers that are looked at.
const HEADERS: usize = 64;

/// How long a request may take to come, and its answer to be taken.
const PATIENCE: Duration = Duration::from_secs(5);

/// What of a body nobody asked for is read away, in bytes, so that the answer is not lost by a reset.
const IGNORED: usize = 64 << 10;

/// What is answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Response {
    /// The status code.
    pub(crate) status: u16,
    /// The body, plain text.
    pub(crate) body: Arc<str>,
}

impl Response {
    /// An answer of plain text.
    pub(crate) fn new(status: u16, body: impl Into<Arc<str>>) -> Self {
        Self {
            status,
            body: body.into(),
        }
    }
}

/// The page at a path, if there is one.
pub(crate) type Pages = dyn Fn(&str) -> Option<Response> + Send + Sync;

/// A listener that is bound and not served yet.
#[derive(Debug)]
pub(crate) struct Listener(TcpListener);

impl Listener {
    /// Binds. Do it within the runtime.
    ///
    /// # Errors
    /// What the system refuses: the port is taken, say.
    pub(crate) async fn bind(at: SocketAddr) -> io::Result<Self> {
        Ok(Self(TcpListener::bind(at).await?))
    }

    /// Where it is bound, with the port that the system chose.
    ///
    /// # Errors
    /// What the system refuses.
    pub(crate) fn address(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }

    /// Answers until it is dropped.
    pub(crate) async fn serve(self, clock: Clock, pages: Arc<Pages>) {
        let mut open: VecDeque<JoinHandle<()>> = VecDeque::new();
        loop {
            match self.0.accept().await {
                Ok((stream, _)) => {
                    let pages = pages.clone();
                    open.retain(|one| !one.is_finished());
                    if open.len() >= AT_ONCE
                        && let Some(oldest) = open.pop_front()
                    {
                        oldest.abort();
                    }
                    open.push_back(tokio::spawn(async move {
                        if let Err(error) = converse(stream, clock, &*pages).await {
                            tracing::trace!("a connection: {error}");
                        }
                    }));
                    // a request that has come is answered before the next connection is looked at
                    tokio::task::yield_now().await;
                }
                // out of descriptors, say: what is open closes soon
                Err(error) => {
                    tracing::debug!("accepting: {error}");
                    sleep(Duration::from_secs(1)).await;
                }
            }
        }
    }
}

async fn converse(mut stream: TcpStream, clock: Clock, pages: &Pages) -> io::Result<()> {
    let mut head = Vec::with_capacity(1024);
    let reply = match timeout(PATIENCE, read_head(&mut stream, &mut head)).await {
        Ok(read) => {
            read?;
            // it connected and sent nothing
            if head.is_empty() {
                return Ok(());
            }
            reply(&head, pages)
        }
        Err(_) => Reply::of(408, "the request took too long\n"),
    };
    let bytes = reply.bytes(clock);
    let slow = reply.answer.status == 408;
    let send = async {
        stream.write_all(&bytes).await?;
        stream.shutdown().await?;
        if slow {
            return Ok(());
        }
        let mut ignored = [0; 1024];
        let mut left = IGNORED;
        while left > 0 {
            match stream.read(&mut ignored).await? {
                0 => break,
                count => left = left.saturating_sub(count),
            }
        }
        Ok(())
    };
    timeout(PATIENCE, send).await.unwrap_or(Ok(()))
}

/// Reads until the head is whole, too long, or over.
async fn read_head(stream: &mut TcpStream, head: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 1024];
    loop {
        let count = stream.read(&mut buffer).await?;
        let seen = head.len().saturating_sub(3);
        head.extend_from_slice(&buffer[..count]);
        let whole = head[seen..].windows(4).any(|four| four == b"\r\n\r\n")
            || head[seen..].windows(2).any(|two| two == b"\n\n");
        if count == 0 || whole || head.len() > HEAD {
            return Ok(());
        }
    }
}

/// An answer with what HTTP wants to know beside it.
#[derive(Debug, PartialEq, Eq)]
struct Reply {
    answer: Response,
    /// HEAD wants to know about the body, and not have it.
    head_only: bool,
}

impl Reply {
    fn of(status: u16, body: &str) -> Self {
        Self {
            answer: Response::new(status, body),
            head_only: false,
        }
    }

    fn bytes(&self, clock: Clock) -> Vec<u8> {
        let status = self.answer.status;
        let words = match status {
            200 => "OK",
            400 => "Bad Request",
            403 => "Forbidden",
            404 => "Not Found",
            405 => "Method Not Allowed",
            408 => "Request Timeout",
            431 => "Request Header Fields Too Large",
            _ => "Service Unavailable",
        };
        let date = chrono::DateTime::from_timestamp_millis(clock.now().ms()).unwrap_or_default();
        let mut text = format!(
            "HTTP/1.1 {status} {words}\r\nDate: {}\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\n\
             Content-Length: {}\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff\r\nConnection: close\r\n",
            date.format("%a, %d %b %Y %H:%M:%S GMT"),
            self.answer.body.len()
        );
        if status == 405 {
            text.push_str("Allow: GET, HEAD\r\n");
        }
        text.push_str("\r\n");
        if !self.head_only {
            text.push_str(&self.answer.body);
        }
        text.into_bytes()
    }
}

/// What a request's head is answered.
fn reply(head: &[u8], pages: &Pages) -> Reply {
    let mut headers = [httparse::EMPTY_HEADER; HEADERS];
    let mut request = httparse::Request::new(&mut headers);
    match request.parse(head) {
        Err(httparse::Error::TooManyHeaders) => return Reply::of(431, "too many headers\n"),
        Err(_) => return Reply::of(400, "this is no HTTP/1.1\n"),
        Ok(httparse::Status::Partial) if head.len() > HEAD => return Reply::of(431, "the request is too long\n"),
        Ok(httparse::Status::Partial) => return Reply::of(400, "the request is not whole\n"),
        Ok(httparse::Status::Complete(_)) => {}
    }
    let hosts: Vec<&[u8]> = request
        .headers
        .iter()
        .filter(|header| header.name.eq_ignore_ascii_case("host"))
        .map(|header| header.value)
        .collect();
    match hosts.as_slice() {
        // HTTP/1.0 need not name one; a browser always does
        [] if request.version == Some(0) => {}
        [host] if ours(host) => {}
        [_] => {
            return Reply::of(
                403,
                "ask for `localhost` or `127.0.0.1`: other names are not this host's\n",
            );
        }
        _ => return Reply::of(400, "one `Host` is needed\n"),
    }
    let head_only = match request.method {
        Some("GET") => false,
        Some("HEAD") => true,
        _ => return Reply::of(405, "GET and HEAD, nothing else\n"),
    };
    let target = request.path.unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();
    let answer = pages(path).unwrap_or_else(|| Response::new(404, "there are /metrics and /healthz\n"));
    Reply { answer, head_only }
}

/// Whether a `Host` header names this host's loopback: nobody else's name does, whatever it resolves to.
fn ours(host: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(host) else {
        return false;
    };
    let text = text.trim();
    let (name, port) = match text.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((name, port)) => (name, port),
        None => text.find(':').map_or((text, ""), |colon| text.split_at(colon)),
    };
    let port = port.is_empty() || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok());
    port && (name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::Moment;

    fn status(head: &str) -> u16 {
        let pages = |path: &str| (path == "/metrics").then(|| Response::new(200, "page\n"));
        reply(head.as_bytes(), &pages).answer.status
    }

    #[test]
    fn what_is_answered() {
        let many = "x: y\r\n".repeat(HEADERS + 1);
        let long = "y".repeat(HEAD);
        for (head, code) in [
            ("GET /metrics HTTP/1.1\r\nHost: localhost:9817\r\n\r\n", 200),
            ("GET /metrics?x=1 HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n", 200),
            ("HEAD /metrics HTTP/1.1\r\nHost: [::1]:9817\r\n\r\n", 200),
            ("GET /metrics HTTP/1.0\r\n\r\n", 200),
            ("GET /metrics HTTP/1.1\nHost: localhost\n\n", 200),
            ("GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
            ("GET /metrics/ HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
            ("GET http://localhost/metrics HTTP/1.1\r\nHost: localhost\r\n\r\n", 404),
            (
                "POST /metrics HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n",
                405,
            ),
            ("OPTIONS * HTTP/1.1\r\nHost: localhost\r\n\r\n", 405),
            ("GET /metrics HTTP/1.1\r\n\r\n", 400),
            (
                "GET /metrics HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
                400,
            ),
            ("GET /metrics HTTP/1.1\r\nHost: evil.example:9817\r\n\r\n", 403),
            ("GET /metrics HTTP/1.0\r\nHost: evil.example\r\n\r\n", 403),
            ("GET /metrics HTTP/1.1\r\nHost: \r\n\r\n", 403),
            ("GET /metrics HTTP/1.1\r\nHost: localhost", 400),
            ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400),
            ("\u{16}\u{3}\u{1}\0", 400),
            (&format!("GET /metrics HTTP/1.1\r\n{many}\r\n"), 431),
            (&format!("GET /metrics HTTP/1.1\r\nx: {long}"), 431),
        ] {
            assert_eq!(status(head), code, "{head:.80}");
        }
    }

    #[test]
    fn only_names_of_this_host_are_answered_to() {
        for (host, is) in [
            ("localhost", true),
            ("LocalHost:80", true),
            ("127.0.0.1:9817", true),
            ("127.8.9.1", true),
            ("[::1]", true),
            ("[::1]:1", true),
            ("::1", false),
            ("0.0.0.0:9817", false),
            ("192.168.1.2", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("localhost:evil", false),
            ("localhost:1:2", false),
            ("evil.example@localhost", false),
            ("[::1", false),
            ("[localhost]x", false),
            ("", false),
        ] {
            assert_eq!(ours(host.as_bytes()), is, "{host}");
        }
        assert!(!ours(b"\xff"));
    }

    #[test]
    fn the_answer_to_head_has_the_length_and_not_the_body() {
        let reply = Reply {
            answer: Response::new(405, "gr\u{fc}n"),
            head_only: true,
        };
        let text = String::from_utf8(reply.bytes(Clock::Fixed(Moment::at(1_769_000_000_000)))).unwrap();
        assert!(
            text.starts_with("HTTP/1.1 405 Method Not Allowed\r\nDate: Wed, 21 Jan 2026 12:53:20 GMT\r\n"),
            "{text}"
        );
        assert!(
            text.contains("\r\nContent-Length: 5\r\n") && text.contains("\r\nAllow: GET, HEAD\r\n"),
            "{text}"
        );
        assert!(text.ends_with("\r\n\r\n"), "{text}");
    }
}
