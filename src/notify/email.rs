//! `email`: SMTP by lettre, with a text and an HTML part.
//!
//! STARTTLS is required unless `tls` says otherwise, so that a stripped offer is an error and not a plain-text password.
//! The Message-ID is the event's id, hence the same over retries; all events of one alert refer to one Message-ID that is
//! never sent, so that a lapse and its recovery are one conversation. `Auto-Submitted` (RFC 3834) keeps vacation replies
//! away. lettre's own timeout covers only the connection; the channel's is around everything.

use super::{Receipt, SendCtx, SendError};
use crate::edge::{files, http};
use crate::rules::text::{self, Count, Style, clip};
use crate::secret::Secret;
use crate::table::{ConfigError, Table};
use crate::types::{Event, Ms, Severity, Status};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart};
use lettre::transport::smtp::authentication::Credentials;
use lettre::transport::smtp::client::{Certificate, CertificateStore, Tls, TlsParameters};
use lettre::{AsyncSmtpTransport, AsyncTransport, Tokio1Executor};
use std::error::Error;
use std::io;
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// Which server, and from whom to whom.
#[derive(Clone, Debug)]
pub struct Email {
    /// The server's name.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// How the connection is protected.
    pub tls: Protection,
    /// User and password.
    pub login: Option<(String, Secret)>,
    /// The sender.
    pub from: Mailbox,
    /// The recipients, at least one.
    pub to: Vec<Mailbox>,
    /// One more root that is trusted, PEM.
    pub ca_file: Option<PathBuf>,
}

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protection {
    /// Plain at first, then TLS or nothing (port 587).
    Starttls,
    /// TLS from the start (port 465).
    Implicit,
    /// Not at all, only on this host (port 25).
    None,
}

impl Email {
    /// Reads `host`, `port`, `tls` (`"starttls"`, `"implicit"`, `"none"`), `user`, `password` (also as `_file` or `_env`),
    /// `from`, `to` (a list) and `ca_file`.
    ///
    /// # Errors
    /// A missing key, an address that is none, a user without a password, `tls = "none"` to another host.
    pub fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
        let host = table.need_str("host")?.to_owned();
        let fine = |c: char| c.is_alphanumeric() || matches!(c, '.' | '-' | '_');
        let address = host.parse::<std::net::IpAddr>().is_ok();
        if host.is_empty() || !address && !host.chars().all(fine) {
            return Err(table.error(
                "host",
                format!("is `{host}`, no host"),
                "write its name alone: `smtp.example.org`",
            ));
        }
        let words = [
            ("starttls", Protection::Starttls),
            ("implicit", Protection::Implicit),
            ("none", Protection::None),
        ];
        let tls = table.word("tls", &words)?.unwrap_or(Protection::Starttls);
        let local = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if tls == Protection::None && !local {
            return Err(table.error(
                "tls",
                "is `none`, and the server is another host",
                "use `starttls` or `implicit`; mail without tls is only for this host",
            ));
        }
        let port = table.int("port")?.unwrap_or(match tls {
            Protection::Starttls => 587,
            Protection::Implicit => 465,
            Protection::None => 25,
        });
        let login = match (table.str("user")?, table.secret("password")?) {
            (Some(user), Some(password)) => Some((user.to_owned(), password)),
            (None, None) => None,
            (Some(_), None) => return Err(table.error("user", "has no password", "add `password_file = \"…\"`")),
            (None, Some(_)) => return Err(table.missing("user")),
        };
        let mailbox = |key: &str, text: &str| {
            text.parse::<Mailbox>().map_err(|_| {
                table.error(
                    key,
                    format!("is not an address: `{text}`"),
                    "write `name@example.org` or `Name <name@example.org>`",
                )
            })
        };
        let from = mailbox("from", table.need_str("from")?)?;
        let to = table.strings("to")?.ok_or_else(|| table.missing("to"))?;
        if to.is_empty() {
            return Err(table.error("to", "is empty", "name at least one recipient"));
        }
        let to = to.iter().map(|text| mailbox("to", text)).collect::<Result<_, _>>()?;
        Ok(Self {
            host,
            port: u16::try_from(port).unwrap_or(587),
            tls,
            login,
            from,
            to,
            ca_file: match table.path("ca_file")? {
                Some(path) if !files::is_file(&path) => {
                    let message = format!("names `{}`, which is no file", path.display());
                    return Err(table.error(
                        "ca_file",
                        message,
                        "name a certificate in PEM form, or take the key out",
                    ));
                }
                path => path,
            },
        })
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        self.login.iter().map(|(_, password)| password.expose()).collect()
    }

    /// Sends one message to all recipients.
    ///
    /// # Errors
    /// 5xx is permanent, and so is a message that cannot be made; 4xx and every trouble on the way passes.
    pub async fn send(&self, event: &Event, ctx: &SendCtx<'_>) -> Result<Receipt, SendError> {
        let message = self.message(event, ctx.now)?;
        let mut builder = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous(&self.host)
            .port(self.port)
            .timeout(Some(Duration::from_secs(10)))
            .tls(match self.tls {
                Protection::Starttls => Tls::Required(self.tls_parameters(ctx)?),
                Protection::Implicit => Tls::Wrapper(self.tls_parameters(ctx)?),
                Protection::None => Tls::None,
            });
        if let Some((user, password)) = &self.login {
            builder = builder.credentials(Credentials::new(user.clone(), password.expose().to_owned()));
        }
        match builder.build().send(message).await {
            Ok(answer) => Ok(Receipt::of(format!(
                "accepted by {}, code {}",
                self.host,
                answer.code()
            ))),
            Err(error) => Err(self.judge(&error)),
        }
    }

    fn tls_parameters(&self, ctx: &SendCtx<'_>) -> Result<TlsParameters, SendError> {
        // the same roots as for HTTP
        let mut builder = TlsParameters::builder(self.host.clone());
        let roots = http::roots(&ctx.host.env);
        builder = match roots.is_empty() {
            true => builder.certificate_store(CertificateStore::WebpkiRoots),
            false => builder.certificate_store(CertificateStore::None),
        };
        for root in roots {
            // a root that cannot be parsed is of no use, and no reason to stop
            if let Ok(root) = Certificate::from_der(root.to_vec()) {
                builder = builder.add_root_certificate(root);
            }
        }
        if let Some(path) = &self.ca_file {
            let shown = path.display();
            let read =
                files::read(path).map_err(|error| SendError::permanent(format!("`ca_file` {shown}: {error}")))?;
            let root = Certificate::from_pem(&read.bytes)
                .map_err(|_| SendError::permanent(format!("`ca_file` {shown}: not a PEM certificate")))?;
            builder = builder.add_root_certificate(root);
        }
        builder
            .build()
            .map_err(|_| SendError::permanent(format!("tls could not be set up for `{}`", self.host)))
    }

    /// The message of an event.
    ///
    /// # Errors
    /// Permanent where it cannot be made, which the checks of [`Email::read`] leave no way for.
    pub fn message(&self, event: &Event, now: Ms) -> Result<Message, SendError> {
        let root = format!("<nolapse-{}@{}>", text::alert_key(event), domain(event));
        let subject = format!("{}: {}", text::heading(event), event.title);
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(clip(&subject, 200, Count::Chars, text::as_is))
            .date(SystemTime::UNIX_EPOCH + Duration::from_millis(now.unsigned_abs()))
            .message_id(Some(format!("<{}@{}>", token(&event.event_id), domain(event))))
            .in_reply_to(root.clone())
            .references(root)
            .raw_header(header("Auto-Submitted", "auto-generated"))
            .raw_header(header("X-Nolapse-Event-Id", &token(&event.event_id)));
        if event.status == Status::Firing && event.severity == Severity::Critical {
            builder = builder.raw_header(header("Importance", "high"));
        }
        for to in &self.to {
            builder = builder.to(to.clone());
        }
        builder
            .multipart(MultiPart::alternative_plain_html(plain(event), html(event)))
            .map_err(|_| SendError::permanent("the message could not be made: are the addresses right?"))
    }

    fn judge(&self, error: &lettre::transport::smtp::Error) -> SendError {
        let server = format!("`{}:{}`", self.host, self.port);
        if let Some(code) = error.status() {
            let code = code.to_string();
            let meaning = match code.as_str() {
                "530" | "534" | "535" | "538" => " (user or password refused)",
                "550" | "551" | "553" => " (sender or recipient refused)",
                "552" | "554" => " (message refused)",
                _ => "",
            };
            let why = format!("{server} answered {code}{meaning}");
            return match error.is_permanent() {
                true => SendError::permanent(why),
                false => SendError::passing(why),
            };
        }
        // texts of lettre's own, which hold nothing of ours
        let text = error.to_string();
        if text.contains("No compatible authentication") {
            return SendError::permanent(format!("{server} offers no way to log in that is known here"));
        }
        if text.contains("STARTTLS is not supported") {
            return SendError::passing(format!("{server} does not offer starttls, which is required"));
        }
        if error.is_timeout() {
            return SendError::passing(format!("{server}: timed out"));
        }
        let mut cause: Option<&(dyn Error + 'static)> = Some(error);
        let mut why = None;
        while let Some(error) = cause {
            why = http::cause_words(error).or(why);
            let inner = error.downcast_ref::<io::Error>().and_then(io::Error::get_ref);
            cause = match inner {
                Some(inner) => Some(inner),
                None => error.source(),
            };
        }
        let why = why.unwrap_or_else(|| match error.is_tls() {
            true => "tls failed".into(),
            false => "the conversation broke off".into(),
        });
        SendError::passing(format!("{server}: {why}"))
    }
}

fn header(name: &'static str, value: &str) -> HeaderValue {
    HeaderValue::new(HeaderName::new_from_ascii_str(name), value.to_owned())
}

/// The host as the right side of a Message-ID.
fn domain(event: &Event) -> String {
    let host: String = event
        .host
        .chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '.'))
        .collect();
    let host = host.trim_matches('.');
    format!("{}.nolapse.invalid", if host.is_empty() { "host" } else { host })
}

fn token(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_'))
        .collect()
}

fn plain(event: &Event) -> String {
    format!(
        "{}\n\n{}\n\n-- \n{} · host {} · nolapse\n",
        event.title,
        text::plain(event),
        text::heading(event),
        event.host
    )
}

/// One column, no images, readable in light and dark; the severity is a word and not only a colour.
fn html(event: &Event) -> String {
    let style = Style {
        escape: text::html,
        escape_code: text::html,
        open: "<pre style=\"margin:12px 0;padding:10px 12px;border:1px solid #8886;border-radius:6px;font:14px monospace;white-space:pre-wrap\">",
        close: "</pre>",
    };
    let colour = match (event.status, event.severity) {
        (Status::Resolved, _) => "#2ea043",
        (Status::Firing, Severity::Critical) => "#d1242f",
        (Status::Firing, Severity::Warning) => "#bf8700",
        (Status::Firing, Severity::Info) => "#57606a",
    };
    let escape = |text: &str| clip(text, usize::MAX, Count::Chars, text::html);
    let body = text::assemble(&text::parts(event), 200_000, Count::Chars, &style).replace('\n', "<br>\n");
    // a <pre> is a block of its own
    let body = body.replace("<br>\n<pre", "\n<pre").replace("</pre><br>\n", "</pre>\n");
    format!(
        "<!doctype html>\n<html><body style=\"font:15px/1.5 sans-serif;max-width:40em\">\n\
         <p style=\"margin:0 0 4px;color:{colour};font-weight:bold\">{}</p>\n\
         <h2 style=\"margin:0 0 12px;font-size:19px\">{}</h2>\n<div>{body}</div>\n\
         <p style=\"margin:16px 0 0;font-size:12px;opacity:.7\">host {} · nolapse</p>\n</body></html>\n",
        text::heading(event),
        escape(&event.title),
        escape(&event.host),
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::notify::ChannelKind;
    use crate::notify::testing::{CANARY, NOW, channel, channels, deliver, event, recovered, refused_authority};
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    const KEYS: &str = "type = \"email\"\nfrom = \"nolapse <n@example.org>\"\nto = [\"a@example.org\"]\n";

    fn email(keys: &str) -> Email {
        match channel(&format!("{KEYS}{keys}")).kind {
            ChannelKind::Email(email) => *email,
            _ => unreachable!(),
        }
    }

    #[test]
    fn ports_follow_the_protection_and_plain_text_stays_on_this_host() {
        for (keys, port) in [
            ("host = \"h\"", 587),
            ("host = \"h\"\ntls = \"implicit\"", 465),
            ("host = \"127.0.0.1\"\ntls = \"none\"", 25),
            ("host = \"h\"\nport = 2525", 2525),
        ] {
            assert_eq!(email(keys).port, port);
        }
        for (keys, wanted) in [
            ("host = \"h\"\ntls = \"none\"", "the server is another host"),
            ("host = \"h\"\nuser = \"u\"", "has no password"),
            ("host = \"h\"\npassword = \"p\"", "`channel[1].user` is missing"),
            ("user = \"u\"", "`channel[1].host` is missing"),
        ] {
            let error = channels(&format!("[[channel]]\n{KEYS}{keys}")).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        let error = channels("[[channel]]\ntype = \"email\"\nhost = \"h\"\nfrom = \"n@h\"\nto = [\"no address\"]");
        assert!(
            error
                .unwrap_err()
                .to_string()
                .contains("is not an address: `no address`")
        );
    }

    #[test]
    fn a_lapse_and_its_recovery_are_one_conversation() {
        let email = email("host = \"h\"");
        let text = |event: &Event| String::from_utf8(email.message(event, NOW).unwrap().formatted()).unwrap();
        let (first, second) = (text(&event()), text(&recovered()));
        let line = |text: &str, name: &str| text.lines().find(|l| l.starts_with(name)).unwrap_or("").to_owned();
        assert_eq!(line(&first, "Message-ID"), "Message-ID: <msg_2b1f@gw.nolapse.invalid>");
        assert_ne!(line(&first, "Message-ID"), line(&second, "Message-ID"));
        assert_eq!(line(&first, "References"), line(&second, "References"));
        assert!(line(&first, "In-Reply-To").starts_with("In-Reply-To: <nolapse-"));
        assert_eq!(line(&first, "Auto-Submitted"), "Auto-Submitted: auto-generated");
        assert_eq!(
            line(&first, "Subject"),
            "Subject: Critical: Claude login on gw has ended"
        );
        assert_eq!(line(&first, "Date"), "Date: Tue, 20 Jan 2026 10:00:00 +0000");
        assert!(
            html(&event()).contains("main, &lt;b&gt;&amp;*x*<br>"),
            "{}",
            html(&event())
        );
    }

    /// A server that speaks just enough SMTP to refuse at one place.
    async fn refusing(at: &'static str, with: &'static str) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        tokio::spawn(async move {
            let (socket, _) = listener.accept().await.unwrap();
            let mut socket = BufReader::new(socket);
            socket.write_all(b"220 hi\r\n").await.unwrap();
            let mut line = String::new();
            while socket.read_line(&mut line).await.unwrap_or(0) > 0 {
                let answer = match () {
                    () if line.starts_with(at) => with,
                    () if line.starts_with("EHLO") => "250-hi\r\n250 AUTH PLAIN\r\n",
                    () if line.starts_with("AUTH") => "235 ok\r\n",
                    () => "250 ok\r\n",
                };
                let _ = socket.write_all(answer.as_bytes()).await;
                line.clear();
            }
        });
        address
    }

    #[tokio::test]
    async fn refusals_are_judged_and_the_password_stays_in() {
        let keys = |at: &str| {
            let (host, port) = at.rsplit_once(':').unwrap();
            format!(
                "{KEYS}host = \"{host}\"\nport = {port}\ntls = \"none\"\nuser = \"u\"\npassword = \"{CANARY}\"\ntimeout = \"2s\""
            )
        };
        for (at, with, permanent, why) in [
            (
                "AUTH",
                "535 5.7.8 canarysecret refused\r\n",
                true,
                "answered 535 (user or password refused)",
            ),
            ("RCPT", "450 4.2.1 canarysecret later\r\n", false, "answered 450"),
            (
                "RCPT",
                "550 5.1.1 no\r\n",
                true,
                "answered 550 (sender or recipient refused)",
            ),
            ("MAIL", "421 4.3.2 closing\r\n", false, "answered 421"),
            ("DATA", "", false, "no answer within 2 s"),
        ] {
            let channel = channel(&keys(&refusing(at, with).await));
            let error = deliver(&channel, &event()).await.unwrap_err();
            assert!(error.why().ends_with(why), "{error:?}");
            assert_eq!(matches!(error, SendError::Permanent { .. }), permanent, "{error:?}");
            assert!(!format!("{channel:?} {error:?}").contains(CANARY));
        }
        let error = deliver(&channel(&keys(&refused_authority())), &event())
            .await
            .unwrap_err();
        assert!(
            matches!(&error, SendError::Passing { why, .. } if why.ends_with("connection refused")),
            "{error:?}"
        );
        let plain = keys(&refusing("NOTHING", "").await).replace("tls = \"none\"", "tls = \"starttls\"");
        let error = deliver(&channel(&plain), &event()).await.unwrap_err();
        assert!(error.why().contains("does not offer starttls"), "{error:?}");
    }
}
