//! The one HTTP client: every request of nolapse, to a channel or to a token endpoint, is made by `Http::send`.
//!
//! - TLS by rustls with its ring provider, named explicitly: no process-wide default provider is installed. Trusted roots
//!   are the system's, or `SSL_CERT_FILE`/`SSL_CERT_DIR`, or Termux's, and Mozilla's list where there are none.
//! - Redirects are never followed, since they would carry a secret to another place.
//! - A proxy is used as the usual variables say (`HTTPS_PROXY`, `HTTP_PROXY`, `ALL_PROXY`, `NO_PROXY`), read from the
//!   environment given to [`Http::new`], not from the process.
//! - No connection is kept: requests are hours apart, and a kept one would be stale.
//!
//! Errors never contain the URL, a header or a body; who calls knows the host and may show `SecretUrl::shown`.

use super::step::{At, step};
use super::trust::Named;
use crate::edge::host::Clock;
use crate::secret::{Secret, SecretUrl};
use crate::types::{Moment, Ms, SECOND};
use reqwest::header::{DATE, HeaderMap, HeaderValue, RETRY_AFTER};
use rustls::pki_types::CertificateDer;
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

pub(crate) use reqwest::Method;

/// The most that is kept of an answer's body, in bytes; the rest is not read.
pub(crate) const BODY_LIMIT: usize = 64 << 10;

/// A name without an address, in words.
pub(crate) const NO_NAME: &str = "the host name could not be resolved (no network, or a wrong name)";

/// The longest that connecting (name, TCP and TLS) may take.
pub(crate) const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// A handle to the client, cheap to clone. Roots are read and the client is built at the first request, since that costs
/// milliseconds which a pass that sends nothing should not pay.
#[derive(Clone)]
pub struct Http {
    inner: Arc<Inner>,
}

struct Inner {
    env: BTreeMap<String, String>,
    /// Trusted beside the roots.
    named: Vec<CertificateDer<'static>>,
    client: OnceLock<Result<reqwest::Client, String>>,
}

/// One request.
#[derive(Debug)]
pub(crate) struct Request<'a> {
    /// The method.
    pub(crate) method: Method,
    /// Where to; may itself be a secret.
    pub(crate) url: &'a SecretUrl,
    /// Headers, names in lower case.
    pub(crate) headers: Vec<(&'static str, HeaderText)>,
    /// The body; empty for none.
    pub(crate) body: Vec<u8>,
    /// The longest that all of it may take, answer included.
    pub(crate) timeout: Duration,
}

/// A header's value.
#[derive(Clone, Debug)]
pub(crate) enum HeaderText {
    /// May be shown.
    Plain(String),
    /// A key or token; marked sensitive, so that nothing below prints it.
    Secret(Secret),
}

/// What the server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reply {
    /// The status code.
    pub(crate) status: u16,
    /// `Retry-After` as a time from now, whether it came as seconds or as a date.
    pub(crate) retry_after: Option<Ms>,
    /// The body's first [`BODY_LIMIT`] bytes.
    pub(crate) body: Vec<u8>,
    /// Whether that is all of it: `false` where it was longer or the connection broke after the status. The status holds
    /// in any case; who needs the body must treat a part of it as an unknown outcome.
    pub(crate) whole: bool,
}

/// Why there is no answer. The text is for people, lower case, and holds neither URL nor headers nor body.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HttpError {
    /// The request did not leave: no name, no connection, no TLS, or it could not be made. It may be repeated freely.
    #[error("{0}")]
    NotSent(String),
    /// The request may have reached the server, which may have acted on it.
    #[error("{0}")]
    Unknown(String),
}

impl Http {
    /// A client for this environment (`SSL_CERT_FILE`, proxies). Nothing is read yet.
    pub fn new(env: &BTreeMap<String, String>) -> Self {
        const READ: [&str; 11] = [
            "SSL_CERT_FILE",
            "SSL_CERT_DIR",
            "PREFIX",
            "HTTPS_PROXY",
            "https_proxy",
            "HTTP_PROXY",
            "http_proxy",
            "ALL_PROXY",
            "all_proxy",
            "NO_PROXY",
            "no_proxy",
        ];
        let mut env = env.clone();
        env.retain(|name, _| READ.contains(&name.as_str()));
        Self::of(env, Vec::new())
    }

    /// The same client that also trusts these certificates: as roots, and a server that shows one of them.
    pub(crate) fn trusting(&self, named: Vec<CertificateDer<'static>>) -> Self {
        Self::of(self.inner.env.clone(), named)
    }

    fn of(env: BTreeMap<String, String>, named: Vec<CertificateDer<'static>>) -> Self {
        let client = OnceLock::new();
        let inner = Arc::new(Inner { env, named, client });
        Self { inner }
    }

    fn client(&self) -> Result<&reqwest::Client, HttpError> {
        let inner = &self.inner;
        let client = inner.client.get_or_init(|| client(&inner.env, &inner.named));
        client.as_ref().map_err(|why| HttpError::NotSent(why.clone()))
    }

    /// Builds the client now, roots and all, so that the next request leaves without delay.
    ///
    /// # Errors
    /// Why no request can be made.
    pub(crate) fn warm(&self) -> Result<(), HttpError> {
        #[cfg(test)]
        if super::step::hold::made_up() {
            return Ok(());
        }
        self.client().map(drop)
    }

    /// Sends one request, once: nothing is retried here, and no redirect is followed.
    ///
    /// # Errors
    /// [`HttpError`]; an answer of any status is not an error.
    pub(crate) async fn send(&self, request: Request<'_>) -> Result<Reply, HttpError> {
        step(At::Ask, Path::new("network"));
        #[cfg(test)]
        if let Some(answer) = super::step::answer(request.url.expose(), &request.body) {
            return answer;
        }
        let client = self.client()?;
        let mut headers = HeaderMap::new();
        for (name, text) in &request.headers {
            let (text, secret) = match text {
                HeaderText::Plain(text) => (text.as_str(), false),
                HeaderText::Secret(secret) => (secret.expose(), true),
            };
            let mut value = HeaderValue::from_str(text)
                .map_err(|_| HttpError::NotSent(format!("the value for header `{name}` holds a line break")))?;
            value.set_sensitive(secret);
            headers.append(*name, value);
        }
        let mut patience = Patience::begin(request.timeout);
        let sent = client
            .request(request.method, request.url.expose())
            .headers(headers)
            .body(request.body)
            .send();
        let mut response = match patience.wait(sent).await {
            Some(answered) => answered.map_err(|error| {
                let proxy = blamed(&error, request.url, &self.inner.env);
                let error = words(error);
                match proxy {
                    Some(proxy) => HttpError::NotSent(format!("{proxy}: {error}")),
                    None => error,
                }
            })?,
            None => return Err(HttpError::Unknown("timed out waiting for the answer".into())),
        };
        let header = |name| response.headers().get(name).and_then(|value| value.to_str().ok());
        let retry_after = header(RETRY_AFTER).and_then(|text| retry_after(text, header(DATE)));
        let status = response.status().as_u16();
        let mut body = Vec::new();
        let whole = loop {
            match patience.wait(response.chunk()).await {
                Some(Ok(None)) => break true,
                Some(Ok(Some(chunk))) => {
                    let room = BODY_LIMIT - body.len();
                    body.extend_from_slice(&chunk[..chunk.len().min(room)]);
                    if chunk.len() > room {
                        break false;
                    }
                }
                // a server that ends its answer by closing without a word is common, and its status was clear
                Some(Err(_)) | None => break false,
            }
        };
        Ok(Reply {
            status,
            retry_after,
            body,
            whole,
        })
    }
}

/// How long an answer is waited for. A process that was stopped beyond that (SIGSTOP, a frozen container) may find its answer in
/// the socket when it goes on, and an answer can be all that is left of a login: then it is given a moment more to read it.
struct Patience {
    until: Instant,
    last: bool,
}

impl Patience {
    const MOMENT: Duration = Duration::from_secs(2);

    fn begin(timeout: Duration) -> Self {
        Self {
            until: Instant::now() + timeout,
            last: false,
        }
    }

    /// `None` once the time is over.
    async fn wait<F: Future>(&mut self, answer: F) -> Option<F::Output> {
        let mut answer = std::pin::pin!(answer);
        if let Ok(answer) = tokio::time::timeout_at(self.until.into(), &mut answer).await {
            return Some(answer);
        }
        // a timer that is this late was not waited for by a process that ran
        if self.last || self.until.elapsed() < Duration::from_millis(500) {
            return None;
        }
        *self = Self {
            until: Instant::now() + Self::MOMENT,
            last: true,
        };
        tokio::time::timeout_at(self.until.into(), answer).await.ok()
    }
}

impl std::fmt::Debug for Http {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Http")
    }
}

/// The roots that TLS trusts here: `SSL_CERT_FILE` and `SSL_CERT_DIR` if set, else the system's, else Termux's (which a
/// static Linux build does not find by itself). Empty where there are none.
pub(crate) fn roots(env: &BTreeMap<String, String>) -> Vec<CertificateDer<'static>> {
    let named = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(Path::new);
    let (file, dir) = (named("SSL_CERT_FILE"), named("SSL_CERT_DIR"));
    if file.is_some() || dir.is_some() {
        return rustls_native_certs::load_certs_from_paths(file, dir).certs;
    }
    let certs = rustls_native_certs::load_native_certs().certs;
    match named("PREFIX") {
        Some(prefix) if certs.is_empty() => {
            rustls_native_certs::load_certs_from_paths(Some(&prefix.join("etc/tls/cert.pem")), None).certs
        }
        _ => certs,
    }
}

fn client(env: &BTreeMap<String, String>, named: &[CertificateDer<'static>]) -> Result<reqwest::Client, String> {
    let mut store = rustls::RootCertStore::empty();
    store.add_parsable_certificates(roots(env));
    if store.is_empty() {
        store.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .map_err(|error| format!("tls could not be set up: {error}"))?;
    let tls = if named.is_empty() {
        builder.with_root_certificates(store).with_no_client_auth()
    } else {
        store.add_parsable_certificates(named.iter().cloned());
        let verifier =
            Named::new(store, named, provider).map_err(|error| format!("tls could not be set up: {error}"))?;
        builder
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_no_client_auth()
    };
    let mut builder = reqwest::Client::builder()
        .tls_backend_preconfigured(tls)
        .user_agent(concat!("nolapse/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .connect_timeout(CONNECT_TIMEOUT)
        .pool_max_idle_per_host(0)
        .no_proxy();
    for proxy in proxies(env)? {
        builder = builder.proxy(proxy);
    }
    #[cfg(target_env = "musl")]
    if let names @ super::names::Names::Asked(_) = super::names::Names::new(env) {
        builder = builder.dns_resolver(names);
    }
    builder
        .build()
        .map_err(|error| format!("the http client could not be made: {}", error.without_url()))
}

fn proxies(env: &BTreeMap<String, String>) -> Result<Vec<reqwest::Proxy>, String> {
    let find = |names: &[&str]| {
        names
            .iter()
            .find_map(|name| env.get(*name).filter(|value| !value.trim().is_empty()))
    };
    let except = find(&["NO_PROXY", "no_proxy"]).and_then(|list| reqwest::NoProxy::from_string(list));
    let mut proxies = Vec::new();
    for scheme in ["https", "http"] {
        let names = proxy_names(scheme);
        let Some(url) = find(&names) else { continue };
        let proxy = match scheme {
            "https" => reqwest::Proxy::https(url),
            _ => reqwest::Proxy::http(url),
        };
        // the error would print the proxy's URL, which may hold a password
        let name = names.into_iter().find(|name| env.get(*name) == Some(url));
        let proxy = proxy.map_err(|_| format!("`{}` is not a proxy url", name.unwrap_or(names[0])))?;
        proxies.push(proxy.no_proxy(except.clone()));
    }
    Ok(proxies)
}

/// Names of the variables that name a proxy for a scheme, the first one first.
pub(crate) fn proxy_names(scheme: &str) -> [&'static str; 4] {
    match scheme {
        "https" => ["HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy"],
        _ => ["HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"],
    }
}

/// The proxy, by its variable, where it was the one that failed: a tunnel or a SOCKS handshake that did not come about, or a proxy for
/// plain HTTP that could not be reached.
fn blamed(error: &reqwest::Error, url: &SecretUrl, env: &BTreeMap<String, String>) -> Option<String> {
    let url = reqwest::Url::parse(url.expose()).ok()?;
    let set = |name: &&str| env.get(*name).is_some_and(|value| !value.trim().is_empty());
    let name = proxy_names(url.scheme()).into_iter().find(set)?;
    let mut cause: Option<&(dyn Error + 'static)> = Some(error);
    // the connector's error types are private; their texts are fixed (hyper-util 0.1)
    let mut own = None;
    while let Some(error) = cause {
        let text = error.to_string();
        if text.starts_with("tunnel error: ") || text.starts_with("SOCKS error: ") {
            own = Some(match text.contains("authorization required") || text.contains("auth") {
                true => " asks for a user and password, which are missing or wrong",
                false => " did not get through",
            });
        }
        cause = error.source();
    }
    let host = url.host_str().unwrap_or_default();
    let excepted = ["NO_PROXY", "no_proxy"]
        .iter()
        .filter_map(|name| env.get(*name))
        .any(|list| {
            let mut entries = list.split(',').map(|entry| entry.trim().trim_start_matches('.'));
            entries.any(|entry| entry == "*" || !entry.is_empty() && host.ends_with(entry))
        });
    let plain = url.scheme() == "http" && error.is_connect() && !excepted;
    match own {
        Some(what) => Some(format!("the proxy of `{name}`{what}")),
        None if plain => Some(format!("the proxy of `{name}` was not reached")),
        None => None,
    }
}

/// What happened, told from the chain of causes. The one place where a reqwest error becomes text.
fn words(error: reqwest::Error) -> HttpError {
    let error = error.without_url();
    let mut text = None;
    let mut cause: Option<&(dyn Error + 'static)> = Some(&error);
    while let Some(error) = cause {
        if let Some(found) = cause_words(error) {
            text = Some(found);
        }
        // an `io::Error` hides what it wraps from `source`
        let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
        cause = match inner {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    if error.is_builder() {
        return HttpError::NotSent("the request could not be made: is the url right?".into());
    }
    if error.is_connect() {
        return HttpError::NotSent(match text {
            Some(text) => text,
            None if error.is_timeout() => "timed out while connecting".into(),
            None => "could not connect".into(),
        });
    }
    HttpError::Unknown(if error.is_timeout() {
        "timed out waiting for the answer".into()
    } else {
        text.unwrap_or_else(|| "the answer could not be read".into())
    })
}

/// One link of a chain of causes in words, if it is one that people can act on.
pub(crate) fn cause_words(error: &(dyn Error + 'static)) -> Option<String> {
    if let Some(tls) = error.downcast_ref::<rustls::Error>() {
        return Some(tls_words(tls));
    }
    if let Some(io) = error.downcast_ref::<io::Error>() {
        return match io.kind() {
            io::ErrorKind::ConnectionRefused => Some("connection refused".into()),
            io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
                Some("connection closed by the other side".into())
            }
            io::ErrorKind::NetworkUnreachable => Some("network unreachable".into()),
            io::ErrorKind::HostUnreachable => Some("host unreachable".into()),
            io::ErrorKind::TimedOut => Some("timed out while connecting".into()),
            // the standard library has no kind for it
            _ if io.to_string().starts_with("failed to lookup address") => Some(NO_NAME.into()),
            _ => None,
        };
    }
    // the connector's own error type is private; its text for this cause is fixed
    error.to_string().starts_with("dns error").then(|| NO_NAME.into())
}

/// A TLS failure in words; the certificate's own text is the server's and stays out.
pub(crate) fn tls_words(error: &rustls::Error) -> String {
    use rustls::CertificateError as Bad;
    let why = match error {
        rustls::Error::InvalidCertificate(bad) => match bad {
            Bad::UnknownIssuer => {
                "the certificate's issuer is not trusted here (name its root certificate: `SSL_CERT_FILE`, for a channel `ca_file`)"
            }
            Bad::Other(other) if other.to_string().contains("CaUsedAsEndEntity") => {
                "the certificate is a root and not a server's (name it: `SSL_CERT_FILE`, for a channel `ca_file`)"
            }
            Bad::Expired | Bad::ExpiredContext { .. } => "the certificate has expired",
            Bad::NotValidYet | Bad::NotValidYetContext { .. } => {
                "the certificate is not valid yet (is the clock right?)"
            }
            Bad::NotValidForName | Bad::NotValidForNameContext { .. } => "the certificate is for another name",
            _ => "the certificate is not acceptable",
        },
        rustls::Error::InvalidMessage(_) => "the other side does not speak tls (plain http on this port?)",
        _ => "the handshake failed",
    };
    format!("tls: {why}")
}

/// `Retry-After`, RFC 9110 10.2.3: seconds or a date, which is taken relative to the answer's own `Date` so that a wrong
/// clock here does not matter.
fn retry_after(text: &str, date: Option<&str>) -> Option<Ms> {
    let text = text.trim();
    if let Ok(seconds) = text.parse::<u32>() {
        return Some(Ms::from(seconds) * SECOND);
    }
    let at = http_date(text)?;
    let now = date.and_then(http_date).unwrap_or_else(|| Clock::System.now());
    Some((at - now).max(0))
}

fn http_date(text: &str) -> Option<Moment> {
    chrono::NaiveDateTime::parse_from_str(text.trim(), "%a, %d %b %Y %H:%M:%S GMT")
        .ok()
        .map(|at| Moment::at(at.and_utc().timestamp_millis()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::testing::{Answer, Server, refused_url};

    fn get(url: &SecretUrl, timeout_ms: u64) -> Request<'_> {
        Request {
            method: Method::POST,
            url,
            headers: vec![
                ("x-plain", HeaderText::Plain("yes".into())),
                ("x-key", HeaderText::Secret(Secret::new("CANARY"))),
            ],
            body: b"hello".to_vec(),
            timeout: Duration::from_millis(timeout_ms),
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let date = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        for (text, ms) in [
            ("120", Some(120 * SECOND)),
            ("Sun, 06 Nov 1994 08:51:37 GMT", Some(120 * SECOND)),
            ("Sun, 06 Nov 1994 08:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(retry_after(text, date), ms, "{text}");
        }
    }

    #[tokio::test]
    async fn a_request_is_sent_as_given_and_the_answer_is_bounded() {
        let long = vec![b'x'; BODY_LIMIT + 5000];
        let server = Server::start(vec![
            Answer::status(429).header("retry-after", "7").body(long),
            Answer::status(302).header("location", "http://127.0.0.1:9/CANARY"),
            Answer::status(200).header("content-length", "10").body("part"),
        ])
        .await;
        let http = Http::new(&BTreeMap::new());
        let url = server.url("/p?token=CANARY");
        let reply = http.send(get(&url, 5000)).await.unwrap();
        assert_eq!((reply.status, reply.retry_after), (429, Some(7 * SECOND)));
        assert_eq!((reply.body.len(), reply.whole), (BODY_LIMIT, false));
        let redirect = http.send(get(&url, 5000)).await.unwrap();
        assert_eq!((redirect.status, redirect.whole), (302, true));
        let cut = http.send(get(&url, 5000)).await.unwrap();
        assert_eq!((cut.status, cut.body.as_slice(), cut.whole), (200, &b"part"[..], false));
        let seen = server.seen();
        assert_eq!(seen.len(), 3);
        assert_eq!(
            (seen[0].line.as_str(), seen[0].body.as_slice()),
            ("POST /p?token=CANARY HTTP/1.1", &b"hello"[..])
        );
        assert_eq!(seen[0].header("x-key"), Some("CANARY"));
        assert_eq!(
            seen[0].header("user-agent"),
            Some(concat!("nolapse/", env!("CARGO_PKG_VERSION")))
        );
    }

    #[tokio::test]
    async fn an_error_says_whether_the_request_left_and_nothing_of_the_url() {
        let http = Http::new(&BTreeMap::new());
        let silent = Server::start(vec![Answer::silence()]).await;
        let closing = Server::start(vec![Answer::hang_up()]).await;
        let plain = Server::start(vec![Answer::status(200)]).await;
        let over_tls = SecretUrl::new(plain.url("/CANARY").expose().replace("http://", "https://"));
        for (url, wanted) in [
            (refused_url("/CANARY"), HttpError::NotSent("connection refused".into())),
            (
                SecretUrl::new("http://nolapse-CANARY.invalid/CANARY"),
                HttpError::NotSent(NO_NAME.into()),
            ),
            (
                over_tls,
                HttpError::NotSent("tls: the other side does not speak tls (plain http on this port?)".into()),
            ),
            (
                SecretUrl::new("http://[CANARY/"),
                HttpError::NotSent("the request could not be made: is the url right?".into()),
            ),
            (
                silent.url("/CANARY"),
                HttpError::Unknown("timed out waiting for the answer".into()),
            ),
        ] {
            let error = http.send(get(&url, 1500)).await.unwrap_err();
            assert_eq!(error, wanted);
            assert!(!format!("{error:?} {error}").contains("CANARY"));
        }
        let error = http.send(get(&closing.url("/CANARY"), 1500)).await.unwrap_err();
        assert!(
            matches!(&error, HttpError::Unknown(why) if !why.contains("CANARY")),
            "{error:?}"
        );
    }

    #[test]
    fn proxies_come_from_the_given_environment_alone() {
        let env = |pairs: &[(&str, &str)]| pairs.iter().map(|(k, v)| ((*k).into(), (*v).into())).collect();
        assert_eq!(proxies(&env(&[])).unwrap().len(), 0);
        assert_eq!(proxies(&env(&[("HTTPS_PROXY", "http://p:3128")])).unwrap().len(), 1);
        assert_eq!(proxies(&env(&[("ALL_PROXY", "http://p:3128")])).unwrap().len(), 2);
        let error = proxies(&env(&[("HTTPS_PROXY", "http://u:CANARY@[")])).unwrap_err();
        assert_eq!(error, "`HTTPS_PROXY` is not a proxy url");
    }

    /// A proxy that answers every request with this.
    async fn proxy(answer: &'static str) -> String {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            loop {
                let (mut socket, _) = listener.accept().await.unwrap();
                let mut buffer = [0; 4096];
                let _ = socket.read(&mut buffer).await;
                let _ = socket.write_all(answer.as_bytes()).await;
            }
        });
        address
    }

    #[tokio::test]
    async fn a_proxy_that_fails_is_named_by_its_variable() {
        let locked = proxy(
            "HTTP/1.1 407 Proxy Authentication Required\r\nProxy-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
        )
        .await;
        let away = crate::notify::testing::refused_authority();
        for (name, proxy, url, wanted) in [
            (
                "HTTPS_PROXY",
                format!("http://{locked}"),
                "https://a.invalid/CANARY",
                "the proxy of `HTTPS_PROXY` asks for a user and password",
            ),
            (
                "all_proxy",
                format!("http://u:CANARY@{away}"),
                "https://a.invalid/CANARY",
                "the proxy of `all_proxy` did not get through: connection refused",
            ),
            (
                "HTTP_PROXY",
                format!("http://{away}"),
                "http://a.invalid/",
                "the proxy of `HTTP_PROXY` was not reached: connection refused",
            ),
            (
                "ALL_PROXY",
                format!("socks5h://{locked}"),
                "https://a.invalid/",
                "the proxy of `ALL_PROXY` did not get through",
            ),
        ] {
            let http = Http::new(&BTreeMap::from([(name.to_owned(), proxy)]));
            let url = SecretUrl::new(url);
            let error = http.send(get(&url, 3000)).await.unwrap_err();
            assert!(error.to_string().starts_with(wanted), "{name}: {error}");
            assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
        }
    }

    #[tokio::test]
    async fn socks_carries_a_request() {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let target = Server::start(vec![Answer::status(204)]).await;
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let to = target.authority();
        // RFC 1928, no authentication, one CONNECT, whatever its address
        let carried = tokio::spawn(async move {
            let (mut client, _) = listener.accept().await.unwrap();
            let mut buffer = [0; 512];
            let count = client.read(&mut buffer).await.unwrap();
            assert_eq!(buffer[0], 5, "{:?}", &buffer[..count]);
            client.write_all(&[5, 0]).await.unwrap();
            let count = client.read(&mut buffer).await.unwrap();
            assert_eq!(
                &buffer[..4],
                [5, 1, 0, 3],
                "a name for the proxy to resolve: {:?}",
                &buffer[..count]
            );
            client.write_all(&[5, 0, 0, 1, 127, 0, 0, 1, 0, 0]).await.unwrap();
            let mut server = tokio::net::TcpStream::connect(to).await.unwrap();
            let _ = tokio::io::copy_bidirectional(&mut client, &mut server).await;
        });
        let http = Http::new(&BTreeMap::from([(
            "ALL_PROXY".to_owned(),
            format!("socks5h://{address}"),
        )]));
        let url = SecretUrl::new("http://far.invalid/x");
        assert_eq!(http.send(get(&url, 5000)).await.unwrap().status, 204);
        assert_eq!(target.seen().len(), 1);
        carried.abort();
    }
}
