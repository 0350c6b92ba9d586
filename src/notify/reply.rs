//! What an answer over HTTP means for a delivery, the same for every service: 2xx delivered; 408, 429, 5xx and trouble on
//! the way pass by themselves; any other answer is a wrong configuration, and trying again would not help. A service that has an answer
//! of its own must give it: a captive portal, a proxy's login page or a wrong host says 200 too ([`own_answer`]).

use super::{SendCtx, SendError};
use crate::edge::http::{HeaderText, HttpError, Method, Reply, Request};
use crate::secret::SecretUrl;
use serde_json::Value;
use std::time::Duration;

/// Headers of a request.
pub(crate) type Headers = Vec<(&'static str, HeaderText)>;

/// Posts JSON. `error_at` lists where the service puts its error words (JSON pointers).
///
/// # Errors
/// [`SendError`], whose text names status, scheme and host, and the service's error words as far as they are words.
pub(crate) async fn post(
    ctx: &SendCtx<'_>,
    url: &SecretUrl,
    headers: Headers,
    body: Vec<u8>,
    error_at: &[&str],
) -> Result<Reply, SendError> {
    judge(url, ask(ctx, url, headers, body).await, error_at)
}

/// Posts JSON, and leaves it to the caller what the answer means.
///
/// # Errors
/// There is no answer.
pub(crate) async fn ask(
    ctx: &SendCtx<'_>,
    url: &SecretUrl,
    mut headers: Headers,
    body: Vec<u8>,
) -> Result<Reply, HttpError> {
    headers.push(("content-type", HeaderText::Plain("application/json".into())));
    let request = Request {
        method: Method::POST,
        url,
        headers,
        body,
        // the channel's own deadline is around all of this, and shorter
        timeout: Duration::from_secs(120),
    };
    ctx.http.send(request).await
}

/// Sorts an outcome.
///
/// # Errors
/// Everything but 2xx.
pub(crate) fn judge(url: &SecretUrl, outcome: Result<Reply, HttpError>, error_at: &[&str]) -> Result<Reply, SendError> {
    let host = url.shown();
    let reply = outcome.map_err(|error| SendError::passing(format!("`{host}`: {error}")))?;
    if (200..300).contains(&reply.status) {
        return Ok(reply);
    }
    let mut why = format!("`{host}` answered {}", reply.status);
    if let Some(meaning) = meaning(reply.status) {
        why.push_str(&format!(" ({meaning})"));
    }
    if let Some(said) = said(&reply.body, error_at) {
        why.push_str(": ");
        why.push_str(&said);
    }
    Err(match reply.status {
        408 | 429 | 500.. => SendError::Passing {
            why,
            retry_after: reply.retry_after,
        },
        _ => SendError::Permanent { why },
    })
}

/// Whether a service's own answer says that it took the message: `taken` reads it from the JSON body (`Null` if the body is not JSON).
///
/// # Errors
/// Passing, since a login page goes away; `service` and what came instead are named.
pub(crate) fn own_answer<T>(
    service: &str,
    reply: &Reply,
    error_at: &[&str],
    taken: impl Fn(&Value) -> Option<T>,
) -> Result<T, SendError> {
    let value: Value = serde_json::from_slice(&reply.body).unwrap_or_default();
    if let Some(taken) = taken(&value) {
        return Ok(taken);
    }
    let html = reply.body.trim_ascii_start().starts_with(b"<");
    let what = match said(&reply.body, error_at) {
        _ if html => "a web page (a login page, or another server at this url?)".to_owned(),
        Some(words) => words,
        None if reply.body.trim_ascii().is_empty() => "nothing".to_owned(),
        None => "something else".to_owned(),
    };
    Err(SendError::passing(format!(
        "answered {}, but not as {service} does when it takes a message: {what}",
        reply.status
    )))
}

fn meaning(status: u16) -> Option<&'static str> {
    Some(match status {
        300..400 => "a redirect, which is not followed: use the final url",
        400 | 422 => "the message was refused",
        401 | 403 => "the key or token was refused",
        404 => "there is no such receiver: is the url right?",
        407 => "the proxy asks for a user and password",
        408 => "the request took too long",
        410 => "the receiver is gone",
        413 => "the message is too large",
        429 => "too many requests",
        500.. => "trouble at the receiver",
        _ => return None,
    })
}

/// The service's own error words, from one of the JSON pointers or from a one-line body. Whatever could be a key or token
/// (digits mixed with letters, long runs) is left out, since servers echo what they were sent.
pub(crate) fn said(body: &[u8], error_at: &[&str]) -> Option<String> {
    let text = match serde_json::from_slice::<serde_json::Value>(body) {
        Ok(value) => error_at
            .iter()
            .find_map(|at| value.pointer(at)?.as_str().map(str::to_owned))?,
        Err(_) => std::str::from_utf8(body).ok()?.trim().to_owned(),
    };
    if text.lines().count() != 1 || text.starts_with('<') {
        return None;
    }
    let words: Vec<&str> = text
        .split_whitespace()
        .take(24)
        .map(|word| if is_word(word) { word } else { "…" })
        .collect();
    words.iter().any(|word| *word != "…").then(|| words.join(" "))
}

/// A word of a language, an error name such as `no_service`, or a short number.
fn is_word(word: &str) -> bool {
    let bare = word.trim_matches(|c: char| c.is_ascii_punctuation());
    let lower_or_title = bare
        .chars()
        .skip(1)
        .all(|c| c.is_lowercase() || matches!(c, '_' | '-' | '\''));
    let letters = lower_or_title && bare.chars().next().is_none_or(char::is_alphabetic);
    let acronym = bare.len() <= 5 && bare.chars().all(|c| c.is_ascii_uppercase());
    let number = bare.len() <= 5 && bare.chars().all(|c| c.is_ascii_digit());
    word.len() <= 28 && (letters || acronym || number)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::SECOND;

    #[test]
    fn an_answer_is_delivered_passing_or_permanent() {
        let url = SecretUrl::new("https://h/x/CANARY");
        for (status, passing) in [(408, true), (429, true), (500, true), (503, true), (599, true)]
            .into_iter()
            .chain([
                (301, false),
                (400, false),
                (401, false),
                (404, false),
                (410, false),
                (413, false),
            ])
        {
            let reply = Reply {
                status,
                retry_after: Some(9 * SECOND),
                body: b"CANARY".to_vec(),
                whole: true,
            };
            let error = judge(&url, Ok(reply), &[]).unwrap_err();
            assert!(!format!("{error:?}").contains("CANARY"), "{error:?}");
            match error {
                SendError::Passing { retry_after, .. } => assert!(passing && retry_after == Some(9 * SECOND)),
                SendError::Permanent { .. } => assert!(!passing, "{status}"),
                SendError::Lost { .. } => panic!("{status}"),
            }
        }
        for status in [200, 202, 204] {
            let reply = Reply {
                status,
                retry_after: None,
                body: Vec::new(),
                whole: true,
            };
            assert!(judge(&url, Ok(reply), &[]).is_ok());
        }
    }

    #[test]
    fn error_words_are_kept_and_what_could_be_a_key_is_not() {
        for (body, wanted) in [
            ("no_service", Some("no_service")),
            (r#"{"message":"Unknown Webhook","code":10015}"#, Some("Unknown Webhook")),
            (
                r#"{"message":"Bad Request: chat not found"}"#,
                Some("Bad Request: chat not found"),
            ),
            (r#"{"message":"invalid key sk-ant-api03-xyz"}"#, Some("invalid key …")),
            ("tk_AgQdq7mVBoFD37zQVN29RhuMzNIz2", None),
            ("https://h/T0/B0/abcdefghijklmnop", None),
            ("<html>\n<body>no</body>", None),
            (r#"{"other":"x"}"#, None),
            ("", None),
        ] {
            assert_eq!(said(body.as_bytes(), &["/message"]).as_deref(), wanted, "{body}");
        }
    }
}
