//! `email`: a message with a text and an HTML part, sent by SMTP (`smtp.rs`).
//!
//! STARTTLS is required unless `tls` says otherwise, so that a stripped offer is an error and not a plain-text password.
//! The Message-ID is the event's id, hence the same over retries; all events of one alert refer to one Message-ID that is
//! never sent, so that a lapse and its recovery are one conversation. `Auto-Submitted` (RFC 3834) keeps vacation replies
//! away.

use super::{Receipt, SendCtx, SendError, smtp};
use crate::rules::text::{self, Count, Style, clip};
use crate::secret::Secret;
use crate::table::{ConfigError, Table};
use crate::types::{Event, Moment, Severity, Status};
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

/// The server, the sender and the recipients.
#[derive(Clone, Debug)]
pub struct Email {
    /// The server's name.
    pub(crate) host: String,
    /// Its port.
    pub(crate) port: u16,
    /// How the connection is protected.
    pub(crate) tls: Protection,
    /// User and password.
    pub(crate) login: Option<(String, Secret)>,
    /// The sender.
    pub(crate) from: Mailbox,
    /// The recipients, at least one.
    pub(crate) to: Vec<Mailbox>,
    /// Certificates in PEM form: each a root that is trusted, or the server's own.
    pub(crate) ca_file: Option<PathBuf>,
}

/// How the connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protection {
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
    /// A missing key, an invalid address, a user without a password, `tls = "none"` to another host.
    pub(crate) fn read(table: &Table<'_>) -> Result<Self, ConfigError> {
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
        let port = table.int("port")?;
        let tls = table.word("tls", &words)?.unwrap_or(match port {
            // RFC 8314
            Some(465) => Protection::Implicit,
            _ => Protection::Starttls,
        });
        let local = host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback());
        if tls == Protection::None && !local {
            return Err(table.error(
                "tls",
                "is `none`, and the server is another host",
                "use `starttls` or `implicit`; mail without tls is only for this host",
            ));
        }
        let port = port.unwrap_or(match tls {
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
            ca_file: super::ca_file::read(table)?,
        })
    }

    pub(super) fn secrets(&self) -> Vec<&str> {
        self.login.iter().map(|(_, password)| password.expose()).collect()
    }

    /// Sends one message to all recipients that the server takes; those that it does not are named in it, and those that it may take later
    /// in the receipt too. `limit` is for all until the message is handed over; the answer to it may take longer.
    ///
    /// # Errors
    /// 5xx is permanent, and so is a message that cannot be made; 4xx and every trouble on the way passes.
    pub(super) async fn send(&self, event: &Event, ctx: &SendCtx<'_>, limit: Duration) -> Result<Receipt, SendError> {
        self.message(event, ctx.now)?;
        let wanted = |to: &&Mailbox| ctx.only.is_empty() || ctx.only.contains(&to.email.to_string());
        let to: Vec<&Mailbox> = self.to.iter().filter(wanted).collect();
        if to.is_empty() {
            return Err(SendError::permanent("the recipient is no longer one of the channel's"));
        }
        let ready = tokio::time::timeout(limit, smtp::prepare(self, &to, &ctx.host.env)).await;
        let mut ready = ready.map_err(|_| super::late(limit))??;
        let mut told = event.clone();
        let mut detail = String::new();
        if !ready.refused.is_empty() {
            let refused = ready.refused.join("; ");
            told.message = format!("{}\n\nThe mail server refused {refused}", told.message);
            detail = format!("; refused {refused}");
        }
        let (deferred, later): (Vec<_>, Vec<_>) = std::mem::take(&mut ready.later).into_iter().unzip();
        if !later.is_empty() {
            let later = later.join("; ");
            told.message = format!(
                "{}\n\nThe mail server deferred {later}; nolapse will try again",
                told.message
            );
            detail.push_str(&format!("; deferred {later}"));
        }
        let message = self.message(&told, ctx.now)?;
        let code = ready.hand_over(self, &message, ctx.after_data).await?;
        Ok(Receipt {
            deferred,
            ..Receipt::of(format!("accepted by {}, code {code}{detail}", self.host))
        })
    }

    /// The message of an event.
    ///
    /// # Errors
    /// Permanent where it cannot be made, which the checks of [`Email::read`] leave no way for.
    pub(crate) fn message(&self, event: &Event, now: Moment) -> Result<Message, SendError> {
        let root = format!("<nolapse-{}@{}>", text::alert_key(event), domain(event));
        let subject = format!("{}: {}", text::heading(event), event.title);
        let mut builder = Message::builder()
            .from(self.from.clone())
            .subject(clip(&subject, 200, Count::Chars, text::as_is))
            .date(SystemTime::UNIX_EPOCH + Duration::from_millis(now.ms().unsigned_abs()))
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
    use crate::notify::testing::{NOW, channel, channels, event, recovered};

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
        for (keys, tls) in [
            ("host = \"h\"\nport = 465", Protection::Implicit),
            ("host = \"h\"\nport = 587", Protection::Starttls),
            ("host = \"h\"\nport = 465\ntls = \"starttls\"", Protection::Starttls),
        ] {
            assert_eq!(email(keys).tls, tls, "{keys}");
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
}
