//! One conversation with a mail server (RFC 5321), by lettre's connection.
//!
//! Each recipient is asked for by itself: a refused one does not keep the others from getting the message, and is named in it and in the
//! receipt. Once the message is handed over (`DATA`), no answer means that nobody knows whether it was taken: [`SendError::Lost`].
//!
//! A certificate given as `ca_file` is a root as any other. Where the server's own certificate is not accepted by the roots, it is
//! still accepted if it is one of that file to the byte (a self-signed one often may not sign, or is a root and thus no server's);
//! the handshake proves that the server holds its key, and nothing is said to it before that comparison but `EHLO`.

use super::SendError;
use super::email::{Email, Protection};
use crate::edge::http;
use crate::edge::names::Names;
use crate::rules::text::{self, Count};
use lettre::Address;
use lettre::message::{Mailbox, Message};
use lettre::transport::smtp::authentication::{Credentials, DEFAULT_MECHANISMS, Mechanism};
use lettre::transport::smtp::client::{
    AsyncSmtpConnection, Certificate, CertificateStore, TlsParameters, TlsParametersBuilder,
};
use lettre::transport::smtp::commands::{Data, Mail, Rcpt};
use lettre::transport::smtp::extension::{ClientId, Extension, MailParameter};
use std::collections::BTreeMap;
use std::error::Error;
use std::io;
use std::time::Duration;

type Failure = lettre::transport::smtp::Error;

/// How long the server may take to answer once it has the message. RFC 5321 (4.5.3.2.6) lets it take ten minutes, which is longer
/// than a pass of a timer should last; what comes later is [`SendError::Lost`] and tried again late.
pub(super) const AFTER_DATA: Duration = Duration::from_secs(120);

/// The same in the daemon, which goes on meanwhile.
pub(super) const AFTER_DATA_AT_LEISURE: Duration = Duration::from_secs(600);

/// The longest that the parting word may take.
const PARTING: Duration = Duration::from_secs(1);

/// A server that waits for the message, and the recipients it refused.
pub(super) struct Ready {
    connection: AsyncSmtpConnection,
    /// Each with the server's words.
    pub(super) refused: Vec<String>,
    /// Likewise, of those that it may take later, and their addresses.
    pub(super) later: Vec<(String, String)>,
}

/// What the server's certificate is held against.
#[derive(Clone, Copy)]
enum Trust {
    Roots,
    /// Nothing: who asks compares it with what is named, to the byte.
    Compared,
}

/// Connects, logs in, and names sender and recipients.
///
/// # Errors
/// Nobody would get the message: 5xx is permanent; 4xx and every trouble on the way passes.
pub(super) async fn prepare(mail: &Email, to: &[&Mailbox], env: &BTreeMap<String, String>) -> Result<Ready, SendError> {
    let mut connection = connect(mail, env).await?;
    let judge = |error: &Failure| judge(mail, error);
    if let Some((user, password)) = &mail.login {
        let offered = connection.server_info();
        if offered.get_auth_mechanism(DEFAULT_MECHANISMS).is_none() {
            return Err(no_way_in(mail, offered.supports_auth_mechanism(Mechanism::Xoauth2)));
        }
        let login = Credentials::new(user.clone(), password.expose().to_owned());
        let answer = connection.auth(DEFAULT_MECHANISMS, &login).await;
        answer.map_err(|error| judge(&error))?;
    }
    let beyond_ascii = connection.server_info().supports_feature(Extension::SmtpUtfEight);
    let plain = |address: &Address| AsRef::<str>::as_ref(address).is_ascii();
    let wanted = !plain(&mail.from.email) || to.iter().any(|to| !plain(&to.email));
    let options = match beyond_ascii && wanted {
        true => vec![MailParameter::SmtpUtfEight],
        false => Vec::new(),
    };
    let sender = Mail::new(Some(mail.from.email.clone()), options);
    connection.command(sender).await.map_err(|error| judge(&error))?;
    let (mut refused, mut later, mut errors) = (Vec::new(), Vec::new(), Vec::new());
    for to in to {
        let asked = match beyond_ascii || plain(&to.email) {
            true => connection.command(Rcpt::new(to.email.clone(), Vec::new())).await,
            false => {
                refused.push(format!("`{}`: the server takes no addresses beyond ascii", to.email));
                continue;
            }
        };
        match asked {
            Ok(_) => {}
            Err(error) if error.status().is_none() => return Err(judge(&error)),
            Err(error) => {
                let error = judge(&error);
                let words = format!("`{}`: {}", to.email, error.why());
                match error {
                    SendError::Passing { .. } => later.push((to.email.to_string(), words)),
                    _ => refused.push(words),
                }
                errors.push(error);
            }
        }
    }
    if refused.len() + later.len() == to.len() {
        tokio::time::timeout(PARTING, connection.abort()).await.ok();
        // wait for one that would take it later
        let later = errors
            .iter()
            .position(|error| matches!(error, SendError::Passing { .. }));
        return Err(match later.or_else(|| errors.len().checked_sub(1)) {
            Some(at) => errors.swap_remove(at),
            None => SendError::permanent(refused.join("; ")),
        });
    }
    connection.command(Data).await.map_err(|error| judge(&error))?;
    Ok(Ready {
        connection,
        refused,
        later,
    })
}

impl Ready {
    /// Hands the message over. Returns the code of the answer.
    ///
    /// # Errors
    /// As [`prepare`], and [`SendError::Lost`] where no answer came.
    pub(super) async fn hand_over(
        mut self,
        mail: &Email,
        message: &Message,
        patience: Duration,
    ) -> Result<String, SendError> {
        let lost = |why: String| SendError::Lost {
            why: format!(
                "{}: {why} after it had the message, which may have been taken",
                server(mail)
            ),
        };
        let content = message.formatted();
        let answer = match tokio::time::timeout(patience, self.connection.message(&content)).await {
            Err(_) => return Err(lost(format!("no answer within {} s", patience.as_secs()))),
            Ok(Err(error)) if error.status().is_none() => return Err(lost("the connection broke off".into())),
            Ok(Err(error)) => return Err(judge(mail, &error)),
            Ok(Ok(answer)) => answer,
        };
        tokio::time::timeout(PARTING, self.connection.quit()).await.ok();
        Ok(answer.code().to_string())
    }
}

async fn connect(mail: &Email, env: &BTreeMap<String, String>) -> Result<AsyncSmtpConnection, SendError> {
    let (certificates, exact) = named(mail)?;
    let tls = |trust: Trust| parameters(mail, env, &certificates, trust);
    let error = match open(mail, env, &tls, Trust::Roots).await? {
        Ok(connection) => return Ok(connection),
        Err(error) => error,
    };
    if !exact.is_empty()
        && chain(&error).any(is_refused_certificate)
        && let Ok(connection) = open(mail, env, &tls, Trust::Compared).await?
        && connection.peer_certificate().is_ok_and(|own| exact.contains(&own))
    {
        return Ok(connection);
    }
    Err(judge(mail, &error))
}

async fn open(
    mail: &Email,
    env: &BTreeMap<String, String>,
    tls: &impl Fn(Trust) -> Result<TlsParameters, SendError>,
    trust: Trust,
) -> Result<Result<AsyncSmtpConnection, Failure>, SendError> {
    let implicit = match mail.tls {
        Protection::Implicit => Some(tls(trust)?),
        Protection::Starttls | Protection::None => None,
    };
    let hello = ClientId::default();
    let names = Names::new(env);
    let found = tokio::time::timeout(http::CONNECT_TIMEOUT, names.addresses(&mail.host, mail.port)).await;
    let Ok(Ok(at)) = found else {
        return Err(SendError::passing(format!("{}: {}", server(mail), http::NO_NAME)));
    };
    let patience = Some(http::CONNECT_TIMEOUT);
    let mut connection = match AsyncSmtpConnection::connect_tokio1(&at[..], patience, &hello, implicit, None).await {
        Ok(connection) => connection,
        Err(error) => return Ok(Err(error)),
    };
    if mail.tls == Protection::Starttls
        && let Err(error) = connection.starttls(tls(trust)?, &hello).await
    {
        return Ok(Err(error));
    }
    Ok(Ok(connection))
}

/// The certificates of `ca_file`: for lettre, and as they are.
fn named(mail: &Email) -> Result<(Vec<Certificate>, Vec<Vec<u8>>), SendError> {
    let Some(path) = &mail.ca_file else {
        return Ok(Default::default());
    };
    let exact: Vec<Vec<u8>> = super::ca_file::certificates(path)?
        .into_iter()
        .map(|one| one.to_vec())
        .collect();
    let roots = exact.iter().filter_map(|one| Certificate::from_der(one.clone()).ok());
    Ok((roots.collect(), exact))
}

fn parameters(
    mail: &Email,
    env: &BTreeMap<String, String>,
    named: &[Certificate],
    trust: Trust,
) -> Result<TlsParameters, SendError> {
    let mut builder: TlsParametersBuilder = TlsParameters::builder(mail.host.clone());
    match trust {
        Trust::Compared => {
            builder = builder
                .certificate_store(CertificateStore::None)
                .dangerous_accept_invalid_certs(true)
                .dangerous_accept_invalid_hostnames(true);
        }
        Trust::Roots => {
            // the same roots as for HTTP
            let roots = http::roots(env);
            builder = builder.certificate_store(match roots.is_empty() {
                true => CertificateStore::WebpkiRoots,
                false => CertificateStore::None,
            });
            // a root that cannot be parsed is of no use, and no reason to stop
            let roots = roots
                .iter()
                .filter_map(|root| Certificate::from_der(root.to_vec()).ok());
            for root in roots.chain(named.iter().cloned()) {
                builder = builder.add_root_certificate(root);
            }
        }
    }
    let failed = |_| SendError::permanent(format!("tls could not be set up for `{}`", mail.host));
    builder.build().map_err(failed)
}

fn no_way_in(mail: &Email, oauth: bool) -> SendError {
    let server = server(mail);
    SendError::permanent(match oauth {
        true => format!(
            "{server} lets in only with OAuth (XOAUTH2), no password: use a `command` channel with a mailer that can do that, \
             or an app password where the provider has such"
        ),
        false => format!("{server} offers no way to log in that is known here"),
    })
}

fn server(mail: &Email) -> String {
    format!("`{}:{}`", mail.host, mail.port)
}

/// An error and its causes, from the outside in.
fn chain<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(Some(error), |error| cause_of(*error))
}

fn cause_of<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e (dyn Error + 'static)> {
    // an `io::Error` hides what it wraps from `source`
    match error.downcast_ref::<io::Error>().and_then(io::Error::get_ref) {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn is_refused_certificate(error: &(dyn Error + 'static)) -> bool {
    let tls = error.downcast_ref::<rustls::Error>();
    tls.is_some_and(|tls| matches!(tls, rustls::Error::InvalidCertificate(_)))
}

fn judge(mail: &Email, error: &Failure) -> SendError {
    let server = server(mail);
    if let Some(code) = error.status() {
        let code = code.to_string();
        let said = error.source().map(ToString::to_string).unwrap_or_default();
        let said = clip_words(&said);
        let meaning = meaning(&code, &said).map_or_else(String::new, |meaning| format!(" ({meaning})"));
        let said = if said.is_empty() { said } else { format!(": {said}") };
        let why = format!("{server} answered {code}{meaning}{said}");
        return match error.is_permanent() {
            true => SendError::permanent(why),
            false => SendError::passing(why),
        };
    }
    // a text of lettre's own, which holds nothing of ours
    if error.to_string().contains("STARTTLS is not supported") {
        return SendError::passing(format!("{server} does not offer starttls, which is required"));
    }
    if error.is_timeout() {
        return SendError::passing(format!("{server}: timed out"));
    }
    let why = chain(error).filter_map(http::cause_words).last();
    let why = why.unwrap_or_else(|| match error.is_tls() {
        true => "tls failed".into(),
        false => "the conversation broke off".into(),
    });
    SendError::passing(format!("{server}: {why}"))
}

/// The server's words in one short line.
fn clip_words(said: &str) -> String {
    let line = said.split_whitespace().collect::<Vec<_>>().join(" ");
    text::clip(&text::clean(&line, false), 200, Count::Chars, text::as_is)
}

/// What a code means here, and what helps.
fn meaning(code: &str, said: &str) -> Option<&'static str> {
    let lower = said.to_ascii_lowercase();
    Some(match code {
        // Microsoft: basic authentication is turned off; Google: 5.7.9 wants an app password
        "535" | "534" if said.contains("5.7.139") => {
            "password logins are turned off there: use a `command` channel with a mailer that can do OAuth"
        }
        "534" | "535" if said.contains("5.7.9") || lower.contains("application-specific password") => {
            "it wants an app password, not that of the account"
        }
        "530" | "534" | "535" | "538" => "user or password refused",
        "550" | "553" | "554" if lower.contains("send as") || lower.contains("sendas") => {
            "this user may not send as the address in `from`"
        }
        "550" | "551" | "553" => "sender or recipient refused",
        "552" | "554" => "message refused",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::http::Http;
    use crate::notify::testing::{
        CANARY, NOW, certified, channel, deliver, event, host, refused_authority, tls_fixture,
    };
    use crate::notify::{SendCtx, send};
    use std::sync::{Arc, Mutex};
    use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncWrite, AsyncWriteExt, BufReader};
    use tokio::net::TcpListener;

    /// Answers to lines that begin with a word, before the usual ones; `"END"` is the end of a message, an empty answer hangs up, one with a `~`
    /// comes after 1.3 s, and a `?` is none.
    type Script = &'static [(&'static str, &'static str)];

    type Told = Arc<Mutex<Vec<String>>>;

    /// Speaks just enough SMTP, and records what it gets.
    async fn speak<S: AsyncRead + AsyncWrite + Unpin>(socket: S, script: Script, greet: bool, told: &Told) {
        let mut socket = BufReader::new(socket);
        if greet {
            socket.write_all(b"220 hi\r\n").await.unwrap();
        }
        let mut content = false;
        let mut line = String::new();
        while socket.read_line(&mut line).await.unwrap_or(0) > 0 {
            let word = std::mem::take(&mut line).trim_end().to_owned();
            told.lock().unwrap().push(word.clone());
            let asked = match (content, word.as_str()) {
                (true, ".") => "END",
                (true, _) => continue,
                (false, word) => word,
            };
            content = asked == "DATA" && !script.iter().any(|(at, _)| *at == "DATA");
            let own = script
                .iter()
                .find(|(at, _)| asked.starts_with(at))
                .map(|(_, with)| *with);
            let answer = own.unwrap_or(match asked {
                _ if asked.starts_with("EHLO") => "250-hi\r\n250 AUTH PLAIN\r\n",
                _ if asked.starts_with("AUTH") => "235 ok\r\n",
                "DATA" => "354 go on\r\n",
                _ => "250 ok\r\n",
            });
            if answer.is_empty() {
                break;
            }
            if answer == "?" {
                continue;
            }
            if let Some(slow) = answer.strip_prefix('~') {
                tokio::time::sleep(Duration::from_millis(1300)).await;
                let _ = socket.write_all(slow.as_bytes()).await;
                continue;
            }
            let _ = socket.write_all(answer.as_bytes()).await;
            if asked == "STARTTLS" {
                break;
            }
        }
    }

    struct Server {
        at: String,
        told: Told,
    }

    async fn server(script: Script) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let told = Told::default();
        let heard = told.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                speak(socket, script, true, &heard).await;
            }
        });
        Server { at, told }
    }

    fn keys(at: &str, more: &str) -> String {
        let (host, port) = at.rsplit_once(':').unwrap();
        format!(
            "type = \"email\"\nfrom = \"nolapse <n@example.org>\"\nhost = \"{host}\"\nport = {port}\ntimeout = \"2s\"\n\
             user = \"u\"\npassword = \"{CANARY}\"\n{more}"
        )
    }

    const PLAIN: &str = "tls = \"none\"\nto = [\"a@example.org\"]";

    #[tokio::test]
    async fn refusals_are_judged_with_the_servers_words_and_the_password_stays_in() {
        let cases: [(Script, bool, &str); 11] = [
            (
                &[("AUTH", "535 5.7.8 canarysecret refused\r\n")],
                true,
                "answered 535 (user or password refused): 5.7.8 … refused",
            ),
            (
                &[(
                    "AUTH",
                    "535 5.7.139 Authentication unsuccessful, basic authentication is disabled.\r\n",
                )],
                true,
                "answered 535 (password logins are turned off there: use a `command` channel with a mailer that can do OAuth): \
                 5.7.139 Authentication unsuccessful, basic authentication is disabled.",
            ),
            (
                &[(
                    "AUTH",
                    "534-5.7.9 Application-specific password required.\r\n534 5.7.9 Learn more\r\n",
                )],
                true,
                "answered 534 (it wants an app password, not that of the account): 5.7.9 Application-specific password \
                 required. Learn more",
            ),
            (
                &[("EHLO", "250-hi\r\n250 AUTH XOAUTH2\r\n")],
                true,
                "or an app password where the provider has such",
            ),
            (
                &[("EHLO", "250-hi\r\n250 AUTH GSSAPI\r\n")],
                true,
                "no way to log in that is known here",
            ),
            (&[("RCPT", "450 4.2.1 later\r\n")], false, "answered 450: 4.2.1 later"),
            (
                &[("RCPT", "550 5.1.1 no\r\n")],
                true,
                "answered 550 (sender or recipient refused): 5.1.1 no",
            ),
            (
                &[(
                    "END",
                    "554 5.2.252 SendAsDenied; u@h not allowed to send as n@example.org\r\n",
                )],
                true,
                "answered 554 (this user may not send as the address in `from`): 5.2.252 SendAsDenied; u@h not allowed to send as \
                 n@example.org",
            ),
            (
                &[("MAIL", "421 4.3.2 closing\r\n")],
                false,
                "answered 421: 4.3.2 closing",
            ),
            (
                &[("END", "451 4.3.0 queue full\r\n")],
                false,
                "answered 451: 4.3.0 queue full",
            ),
            (&[("RCPT", "")], false, "the conversation broke off"),
        ];
        for (script, permanent, why) in cases {
            let channel = channel(&keys(&server(script).await.at, PLAIN));
            let error = deliver(&channel, &event()).await.unwrap_err();
            assert!(error.why().ends_with(why), "{script:?}: {error:?}");
            assert_eq!(matches!(error, SendError::Permanent { .. }), permanent, "{error:?}");
            assert!(!matches!(error, SendError::Lost { .. }), "{error:?}");
            assert!(!format!("{channel:?} {error:?}").contains(CANARY));
        }
        let error = deliver(&channel(&keys(&refused_authority(), PLAIN)), &event())
            .await
            .unwrap_err();
        assert!(
            matches!(&error, SendError::Passing { why, .. } if why.ends_with("connection refused")),
            "{error:?}"
        );
        let stripped = keys(&server(&[]).await.at, "to = [\"a@example.org\"]");
        let error = deliver(&channel(&stripped), &event()).await.unwrap_err();
        assert!(error.why().contains("does not offer starttls"), "{error:?}");
    }

    #[tokio::test]
    async fn a_recipient_that_is_refused_keeps_nobody_else_from_being_told() {
        let server = server(&[("RCPT TO:<gone@example.org>", "550 5.1.1 no such user\r\n")]).await;
        let to = "tls = \"none\"\nto = [\"gone@example.org\", \"a@example.org\", \"b@example.org\"]";
        let receipt = deliver(&channel(&keys(&server.at, to)), &event()).await.unwrap();
        assert!(receipt.detail.contains("refused `gone@example.org`"), "{receipt:?}");
        let told = server.told.lock().unwrap().join("\n");
        for wanted in [
            "RCPT TO:<a@example.org>",
            "RCPT TO:<b@example.org>",
            "The mail server refused `gone@example.or",
        ] {
            assert!(told.contains(wanted), "{wanted}: {told}");
        }
        assert_eq!(told.matches("The mail server refused").count(), 2, "in text and html");
    }

    #[tokio::test]
    async fn what_broke_off_after_the_message_may_have_been_taken() {
        let server = server(&[("END", "")]).await;
        let channel = channel(&keys(&server.at, PLAIN));
        let mut ids = Vec::new();
        for _ in 0..2 {
            let error = deliver(&channel, &event()).await.unwrap_err();
            assert!(matches!(error, SendError::Lost { .. }), "{error:?}");
            let told = std::mem::take(&mut *server.told.lock().unwrap());
            ids.extend(told.into_iter().find(|line| line.starts_with("Message-ID: ")));
        }
        assert_eq!((ids.len(), &ids[0]), (2, &ids[1]), "{ids:?}");
    }

    #[tokio::test]
    async fn a_server_may_take_its_time_with_the_message_and_with_nothing_else() {
        let within = |at: &str| channel(&keys(at, PLAIN).replace("\"2s\"", "\"1s\""));
        let slow = server(&[("END", "~250 queued\r\n")]).await;
        let receipt = deliver(&within(&slow.at), &event()).await;
        assert!(receipt.is_ok(), "{receipt:?}");
        let slow = server(&[("RCPT", "~250 ok\r\n")]).await;
        let error = deliver(&within(&slow.at), &event()).await.unwrap_err();
        assert_eq!(error, SendError::passing("no answer within 1 s"));
    }

    #[tokio::test]
    async fn no_answer_to_the_message_is_waited_for_as_long_as_there_is_time() {
        let (host, http) = (host(&[]), Http::new(&BTreeMap::new()));
        let begun = SendCtx::new(&host, &http, NOW);
        assert_eq!(
            (begun.after_data, begun.clone().at_leisure().after_data),
            (AFTER_DATA, AFTER_DATA_AT_LEISURE)
        );
        let mute = server(&[("END", "?")]).await;
        let ctx = SendCtx {
            after_data: Duration::from_millis(20),
            ..begun
        };
        let error = send(&channel(&keys(&mute.at, PLAIN)), &event(), &ctx)
            .await
            .unwrap_err();
        assert!(
            matches!(&error, SendError::Lost { why } if why.contains("no answer within 0 s after it had the message")),
            "{error:?}"
        );
    }

    #[tokio::test]
    async fn who_is_put_off_beside_others_is_tried_again_alone_with_the_same_message() {
        let to = "tls = \"none\"\nto = [\"full@example.org\", \"a@example.org\", \"gone@example.org\"]";
        const REFUSED: (&str, &str) = ("RCPT TO:<gone@example.org>", "550 5.1.1 no\r\n");
        let first = server(&[("RCPT TO:<full@example.org>", "452 4.2.2 full\r\n"), REFUSED]).await;
        let receipt = deliver(&channel(&keys(&first.at, to)), &event()).await.unwrap();
        assert_eq!(receipt.deferred, ["full@example.org"], "{receipt:?}");
        let told = first.told.lock().unwrap().join("\n");
        assert_eq!(told.matches("The mail server deferred").count(), 2, "{told}");
        let (host, http) = (host(&[]), Http::new(&BTreeMap::new()));
        let ctx = SendCtx {
            only: receipt.deferred,
            ..SendCtx::new(&host, &http, NOW)
        };
        let line = |told: &str, begin: &str| told.lines().find(|line| line.starts_with(begin)).map(str::to_owned);
        for (script, deferred) in [
            (&[][..], true),
            (&[("RCPT TO:<full@example.org>", "452 4.2.2 full\r\n")], false),
        ] {
            let again = server(script).await;
            let sent = send(&channel(&keys(&again.at, to)), &event(), &ctx).await;
            assert_eq!(sent.is_ok(), deferred, "{sent:?}");
            let now = again.told.lock().unwrap().join("\n");
            assert_eq!(now.matches("RCPT TO:").count(), 1, "{now}");
            if deferred {
                assert_eq!(line(&now, "Message-ID: "), line(&told, "Message-ID: "));
            } else {
                assert!(matches!(sent, Err(SendError::Passing { .. })), "{sent:?}");
            }
        }
        // who was taken out of the configuration is not written to
        let other = keys(&first.at, PLAIN);
        let error = send(&channel(&other), &event(), &ctx).await.unwrap_err();
        assert!(matches!(error, SendError::Permanent { .. }), "{error:?}");
    }

    /// A server with a certificate of its own.
    async fn own_certificate(implicit: bool) -> Server {
        const OFFER: Script = &[("EHLO", "250-hi\r\n250 STARTTLS\r\n")];
        let acceptor = certified("server");
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let told = Told::default();
        let heard = told.clone();
        tokio::spawn(async move {
            while let Ok((mut socket, _)) = listener.accept().await {
                if !implicit {
                    speak(&mut socket, OFFER, true, &heard).await;
                }
                if let Ok(socket) = acceptor.accept(socket).await {
                    speak(socket, &[], implicit, &heard).await;
                }
            }
        });
        Server { at, told }
    }

    #[tokio::test]
    async fn a_self_signed_certificate_counts_if_it_is_the_very_one_that_was_named() {
        for implicit in [true, false] {
            let server = own_certificate(implicit).await;
            let tls = if implicit { "implicit" } else { "starttls" };
            let with = |ca: Option<&str>| {
                let ca = ca.map(|name| format!("ca_file = \"{}\"\n", tls_fixture(name).display()));
                let more = format!("{}tls = \"{tls}\"\nto = [\"a@example.org\"]", ca.unwrap_or_default());
                channel(&keys(&server.at, &more))
            };
            for ca in [None, Some("other.pem")] {
                let error = deliver(&with(ca), &event()).await.unwrap_err();
                assert!(error.why().contains("`ca_file`"), "{error:?}");
                let told = server.told.lock().unwrap().join("\n");
                assert!(!told.contains("AUTH"), "the password was shown to a stranger: {told}");
            }
            let receipt = deliver(&with(Some("server.pem")), &event()).await;
            assert!(receipt.is_ok(), "{tls}: {receipt:?}");
            assert!(server.told.lock().unwrap().iter().any(|line| line == "DATA"));
        }
    }
}
