//! One token exchange: the request as Claude Code makes it, and what its answer means for the refresh token.

use crate::ctx::Ctx;
use crate::edge::http::{HeaderText, HttpError, Method, Reply, Request};
use crate::edge::progress;
use crate::json::{Doc, Fields, Layout};
use crate::secret::{Secret, SecretUrl};
use crate::sources::providers::{Body, Provider};
use crate::types::{Ms, SECOND};
use std::time::Duration;

/// What is asked of the endpoint.
#[derive(Clone, Debug)]
pub(super) struct Exchange<'a> {
    pub(crate) provider: &'a Provider,
    pub(crate) url: &'a SecretUrl,
    pub(crate) client_id: &'a str,
    pub(crate) refresh: &'a Secret,
    /// The scopes that are asked for.
    pub(crate) scope: Option<&'a str>,
    /// The scopes to ask for instead, once, if those are refused (`invalid_scope`).
    pub(crate) other_scope: Option<&'a str>,
    pub(crate) timeout: Duration,
}

/// The tokens of an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Tokens {
    pub(crate) access: Secret,
    /// `None`: the old one stays.
    pub(crate) refresh: Option<Secret>,
    /// Lives this long, [`Ms`].
    pub(crate) expires_in: Ms,
    /// The login ends after this, [`Ms`].
    pub(crate) login_ends_in: Option<Ms>,
}

/// What an answer, or its absence, means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    /// The old refresh token is spent, these are the new ones.
    Tokens(Tokens),
    /// The request did not leave.
    NotSent(String),
    /// Whether the server acted on it cannot be known.
    Unknown(String),
    /// The refresh token is dead.
    Rejected(String),
    /// No verdict on the token: it is kept and tried later.
    NoVerdict {
        kind: &'static str,
        why: String,
        retry_after: Option<Ms>,
    },
}

/// Posts the refresh token, once; once more with the other scopes where the first ones are refused, as Claude Code does.
pub(super) async fn exchange(ctx: &Ctx, ask: &Exchange<'_>) -> Answer {
    let _waiting = progress::waiting(|| "the token endpoint's answer".into());
    let mut scope = ask.scope;
    loop {
        let request = Request {
            method: Method::POST,
            url: ask.url,
            headers: headers(ask.provider),
            body: body(ask, scope),
            timeout: ask.timeout,
        };
        let reply = match ctx.http.send(request).await {
            Ok(reply) => reply,
            Err(HttpError::NotSent(why)) => return Answer::NotSent(why),
            Err(HttpError::Unknown(why)) => return Answer::Unknown(why),
        };
        if reply.status == 400
            && error_word(&reply.body).as_deref() == Some("invalid_scope")
            && ask.other_scope.is_some()
            && scope != ask.other_scope
        {
            scope = ask.other_scope;
            continue;
        }
        return read(&reply);
    }
}

fn headers(provider: &Provider) -> Vec<(&'static str, HeaderText)> {
    let kind = match provider.body {
        Body::Json => "application/json",
        Body::Form => "application/x-www-form-urlencoded",
    };
    vec![
        ("content-type", HeaderText::Plain(kind.into())),
        ("accept", HeaderText::Plain("application/json".into())),
    ]
}

fn body(ask: &Exchange<'_>, scope: Option<&str>) -> Vec<u8> {
    let mut fields = vec![
        ("grant_type", "refresh_token"),
        ("refresh_token", ask.refresh.expose()),
        ("client_id", ask.client_id),
    ];
    fields.extend(scope.map(|scope| ("scope", scope)));
    match ask.provider.body {
        Body::Json => Doc::object(fields.into_iter().map(|(name, text)| (name, Doc::string(text))))
            .to_text(Layout::Compact)
            .into_bytes(),
        Body::Form => fields
            .into_iter()
            .map(|(name, text)| format!("{name}={}", form_encoded(text)))
            .collect::<Vec<_>>()
            .join("&")
            .into_bytes(),
    }
}

fn form_encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => char::from(byte).to_string(),
            byte => format!("%{byte:02X}"),
        })
        .collect()
}

/// Only `invalid_grant` is a verdict on the token (400 or 401). A success whose body is no token answer may have spent it; an
/// HTML page never came from the endpoint.
fn read(reply: &Reply) -> Answer {
    let html = reply.body.trim_ascii_start().first() == Some(&b'<');
    let no_verdict = |kind, why: String| Answer::NoVerdict {
        kind,
        why,
        retry_after: reply.retry_after,
    };
    let word = error_word(&reply.body);
    let said = word.as_ref().map_or(String::new(), |word| format!(" (`{word}`)"));
    match reply.status {
        200..=299 if html => no_verdict(
            "endpoint_blocked",
            format!("something in between answered {} with a web page", reply.status),
        ),
        200..=299 if !reply.whole => Answer::Unknown(format!(
            "the server answered {}, and its answer broke off",
            reply.status
        )),
        200..=299 => match tokens(&reply.body) {
            Ok(tokens) => Answer::Tokens(tokens),
            Err(why) => Answer::Unknown(format!("the server answered {}, and {why}", reply.status)),
        },
        400 | 401 if word.as_deref() == Some("invalid_grant") => {
            Answer::Rejected(format!("the server answered {} (`invalid_grant`)", reply.status))
        }
        403 | 404 => no_verdict(
            "endpoint_blocked",
            format!(
                "the endpoint answered {}{}",
                reply.status,
                if html { " with a web page" } else { &said }
            ),
        ),
        429 => no_verdict("rate_limited", format!("the server answered 429{said}")),
        500..=599 => no_verdict("server_error", format!("the server answered {}{said}", reply.status)),
        status => no_verdict("not_renewed", format!("the server answered {status}{said}")),
    }
}

/// A dead token is never called living, nor a living one dead, and nothing of a body is quoted but one plain word.
#[cfg(any(test, fuzzing))]
pub(super) fn must_hold(reply: &Reply) {
    let said = match read(reply) {
        Answer::Tokens(tokens) => {
            assert!((200..300).contains(&reply.status) && reply.whole);
            assert!(!tokens.access.is_empty() && !tokens.refresh.is_some_and(|refresh| refresh.is_empty()));
            let ten_years = 315_360_000 * SECOND;
            assert!((0..=ten_years).contains(&tokens.expires_in));
            assert!(tokens.login_ends_in.is_none_or(|ms| (0..=ten_years).contains(&ms)));
            return;
        }
        Answer::Rejected(said) => {
            assert!(matches!(reply.status, 400 | 401) && error_word(&reply.body).as_deref() == Some("invalid_grant"));
            said
        }
        Answer::Unknown(said) => {
            assert!((200..300).contains(&reply.status));
            said
        }
        Answer::NoVerdict { why, .. } => why,
        Answer::NotSent(_) => unreachable!("an answer came"),
    };
    assert!(said.len() < 200 && !said.contains(|c: char| c.is_control()), "{said:?}");
}

fn text(body: &[u8]) -> Option<&str> {
    std::str::from_utf8(body).ok()
}

/// The top-level `error` of an OAuth error, if it is a plain word: nothing else of the body is kept.
fn error_word(body: &[u8]) -> Option<String> {
    let fields = Fields::parse(text(body)?).ok()?;
    let word = fields.get("error")?.str()?;
    let plain = !word.is_empty() && word.len() <= 40 && word.bytes().all(|b| b.is_ascii_lowercase() || b == b'_');
    plain.then(|| word.into_owned())
}

fn tokens(body: &[u8]) -> Result<Tokens, &'static str> {
    let fields = text(body)
        .and_then(|text| Fields::parse(text).ok())
        .ok_or("its answer could not be read")?;
    let secret = |key: &str| {
        fields
            .get(key)
            .and_then(|value| value.str())
            .filter(|text| !text.is_empty())
            .map(Secret::new)
    };
    let span = |key: &str| {
        let seconds = fields.get(key)?.number_or_numeric_string()?;
        // ten years, so that nothing overflows
        (seconds > 0.0 && seconds <= 315_360_000.0).then_some((seconds * SECOND as f64) as Ms)
    };
    Ok(Tokens {
        access: secret("access_token").ok_or("its answer has no access token")?,
        refresh: secret("refresh_token"),
        // without it the token is still good for a while: an hour, after which it is renewed again
        expires_in: span("expires_in").unwrap_or(3600 * SECOND),
        login_ends_in: span("refresh_token_expires_in"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(status: u16, body: &str) -> Reply {
        Reply {
            status,
            retry_after: None,
            whole: true,
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn only_invalid_grant_is_a_verdict() {
        let kind = |answer: &Answer| match answer {
            Answer::Tokens(_) => "tokens",
            Answer::NotSent(_) => "not sent",
            Answer::Unknown(_) => "unknown",
            Answer::Rejected(_) => "rejected",
            Answer::NoVerdict { kind, .. } => kind,
        };
        for (status, body, want) in [
            (
                200,
                r#"{"access_token":"A","refresh_token":"R","expires_in":28800}"#,
                "tokens",
            ),
            (200, r#"{"access_token":"A"}"#, "tokens"),
            (200, r#"{"access_token":"#, "unknown"),
            (200, "garbage", "unknown"),
            (200, "{}", "unknown"),
            (200, "", "unknown"),
            (200, "<html>", "endpoint_blocked"),
            (
                400,
                r#"{"error":"invalid_grant","error_description":"CANARY"}"#,
                "rejected",
            ),
            (401, r#"{"error":"invalid_grant"}"#, "rejected"),
            (403, r#"{"error":"invalid_grant"}"#, "endpoint_blocked"),
            (500, r#"{"error":"invalid_grant"}"#, "server_error"),
            (400, r#"{"error":{"type":"invalid_grant"}}"#, "not_renewed"),
            (400, r#"{"error":"invalid_client"}"#, "not_renewed"),
            (401, "", "not_renewed"),
            (403, "<!doctype html>CANARY", "endpoint_blocked"),
            (404, "", "endpoint_blocked"),
            (429, "", "rate_limited"),
            (503, "CANARY", "server_error"),
            (302, "", "not_renewed"),
        ] {
            let answer = read(&reply(status, body));
            assert_eq!(kind(&answer), want, "{status} {body}");
            assert!(!format!("{answer:?}").contains("CANARY"), "{answer:?}");
        }
    }

    #[test]
    fn each_provider_is_asked_as_it_wants() {
        let (refresh, url) = (Secret::new("R+/"), SecretUrl::new("https://example.org"));
        let asked = |name: &str| {
            let provider = crate::sources::providers::provider(name).unwrap();
            let ask = Exchange {
                provider,
                url: &url,
                client_id: provider.client_id,
                refresh: &refresh,
                scope: None,
                other_scope: None,
                timeout: Duration::from_secs(1),
            };
            String::from_utf8(body(&ask, None)).unwrap()
        };
        assert_eq!(
            asked("anthropic"),
            r#"{"grant_type":"refresh_token","refresh_token":"R+/","client_id":"9d1c250a-e61b-44d9-88ed-5944d1962f5e"}"#
        );
        for name in ["openai-codex", "qwen-portal"] {
            assert!(
                asked(name).starts_with("grant_type=refresh_token&refresh_token=R%2B%2F&client_id="),
                "{name}"
            );
        }
    }

    /// A network that gives these answers in turn, and remembers what it was asked.
    struct Network {
        answers: std::cell::RefCell<Vec<Reply>>,
        asked: std::cell::RefCell<Vec<String>>,
    }

    impl crate::edge::step::hold::Hold for Network {
        fn step(&self, _: crate::edge::step::At, _: &std::path::Path) -> crate::edge::step::hold::Next {
            crate::edge::step::hold::Next::Go
        }
        fn answer(&self, _: &str, body: &[u8]) -> Result<Reply, HttpError> {
            self.asked.borrow_mut().push(String::from_utf8_lossy(body).into_owned());
            Ok(self.answers.borrow_mut().remove(0))
        }
    }

    /// A refusal that spent nothing is answered by asking for the other scopes, once, and nothing else is.
    #[test]
    fn the_other_scopes_are_asked_for_once_and_only_where_the_first_are_refused() {
        use crate::edge::host::{Clock, Host};
        let ctx = Ctx {
            host: Host {
                home: "/h".into(),
                cwd: "/h".into(),
                ..crate::notify::testing::host(&[])
            },
            clock: Clock::System,
            config: Default::default(),
            state_dir: "/h/state".into(),
            http: crate::edge::http::Http::new(&Default::default()),
        };
        let (refresh, url) = (Secret::new("R"), SecretUrl::new("http://token.invalid/"));
        let provider = crate::sources::providers::provider("anthropic").unwrap();
        let refused = || reply(400, r#"{"error":"invalid_scope"}"#);
        let good = || reply(200, r#"{"access_token":"A"}"#);
        for (scope, other, answers, posts, renewed) in [
            (Some("a b"), Some("a"), vec![refused(), good()], 2, true),
            (Some("a b"), Some("a"), vec![refused(), refused()], 2, false),
            (Some("a"), Some("a"), vec![refused()], 1, false),
            (Some("a b"), None, vec![refused()], 1, false),
            (
                Some("a b"),
                Some("a"),
                vec![reply(400, r#"{"error":"invalid_grant"}"#)],
                1,
                false,
            ),
            (
                Some("a b"),
                Some("a"),
                vec![reply(403, r#"{"error":"invalid_scope"}"#)],
                1,
                false,
            ),
            (Some("a b"), Some("a"), vec![good()], 1, true),
        ] {
            let network = std::rc::Rc::new(Network {
                answers: answers.into(),
                asked: Default::default(),
            });
            let ask = Exchange {
                provider,
                url: &url,
                client_id: "c",
                refresh: &refresh,
                scope,
                other_scope: other,
                timeout: Duration::from_secs(1),
            };
            let answer = crate::edge::step::hold::of(network.clone(), || {
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                runtime.block_on(exchange(&ctx, &ask))
            });
            let asked = network.asked.take();
            assert_eq!(asked.len(), posts, "{asked:?}");
            assert_eq!(matches!(answer.unwrap(), Answer::Tokens(_)), renewed);
            for (body, scope) in asked.iter().zip([scope, other]) {
                assert!(body.contains(&format!("\"scope\":\"{}\"", scope.unwrap())), "{body}");
            }
        }
    }

    #[test]
    fn an_answer_that_broke_off_is_none_and_spans_have_their_bounds() {
        let mut broken = reply(200, r#"{"access_token":"A"}"#);
        broken.whole = false;
        assert!(matches!(read(&broken), Answer::Unknown(_)));
        let lives = |seconds: &str| {
            let body = format!("{{\"access_token\":\"A\",\"expires_in\":{seconds}}}");
            tokens(body.as_bytes()).unwrap().expires_in
        };
        let hour = 3600 * SECOND;
        for (seconds, span) in [
            ("1", SECOND),
            ("0.5", SECOND / 2),
            ("0", hour),
            ("-1", hour),
            ("null", hour),
            ("315360000", 315_360_000 * SECOND),
            ("315360001", hour),
        ] {
            assert_eq!(lives(seconds), span, "{seconds}");
        }
        assert_eq!(tokens(br#"{"access_token":"A"}"#).unwrap().expires_in, hour);
        let word = |word: &str| error_word(format!("{{\"error\":\"{word}\"}}").as_bytes());
        for (text, kept) in [
            ("a_b", true),
            ("", false),
            ("A", false),
            ("a b", false),
            (&"a".repeat(40), true),
            (&"a".repeat(41), false),
        ] {
            assert_eq!(word(text).is_some(), kept, "{text}");
        }
        let kinds = |name: &str| -> Vec<String> {
            let headers = headers(crate::sources::providers::provider(name).unwrap());
            let text = |text: &HeaderText| match text {
                HeaderText::Plain(text) => text.clone(),
                HeaderText::Secret(_) => unreachable!("no header is secret"),
            };
            headers
                .iter()
                .map(|(name, value)| format!("{name}: {}", text(value)))
                .collect()
        };
        assert_eq!(
            kinds("anthropic"),
            ["content-type: application/json", "accept: application/json"]
        );
        assert_eq!(
            kinds("qwen-portal")[0],
            "content-type: application/x-www-form-urlencoded"
        );
    }

    #[test]
    fn an_absent_refresh_token_keeps_the_old_one() {
        let got = tokens(br#"{"access_token":"A","expires_in":"60","refresh_token_expires_in":7}"#).unwrap();
        assert_eq!(
            (got.refresh, got.expires_in, got.login_ends_in),
            (None, 60_000, Some(7_000))
        );
        assert_eq!(form_encoded("a b+c/é"), "a%20b%2Bc%2F%C3%A9");
    }
}
