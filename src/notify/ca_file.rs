//! `ca_file` of a channel: certificates that its server may have beside those of the roots.

use super::SendError;
use crate::edge::trust;
use crate::table::{ConfigError, Table};
use rustls::pki_types::CertificateDer;
use std::path::{Path, PathBuf};

/// Reads `ca_file`, which must name certificates.
pub(super) fn read(table: &Table<'_>) -> Result<Option<PathBuf>, ConfigError> {
    let Some(path) = table.path("ca_file")? else {
        return Ok(None);
    };
    match trust::read(&path) {
        Ok(_) => Ok(Some(path)),
        Err(why) => Err(table.error(
            "ca_file",
            format!("names `{}`: {why}", path.display()),
            "name a certificate in PEM form, or take the key out",
        )),
    }
}

/// The certificates of `ca_file`, read again: whoever renews them writes the file anew.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, SendError> {
    trust::read(path).map_err(|why| SendError::permanent(format!("`ca_file` {}: {why}", path.display())))
}

#[cfg(test)]
mod tests {
    use crate::notify::SendError;
    use crate::notify::testing::{certified, channel, channels, deliver, event, tls_fixture};
    use std::sync::{Arc, Mutex};

    /// Answers over TLS with this body, and keeps the lines of the requests.
    async fn over_tls(certificate: &str, body: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
        use tokio::io::{AsyncReadExt, AsyncWriteExt};
        let acceptor = certified(certificate);
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let seen = Arc::<Mutex<Vec<String>>>::default();
        let heard = seen.clone();
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                let Ok(mut socket) = acceptor.accept(socket).await else {
                    continue;
                };
                let mut request = Vec::new();
                let whole = |request: &[u8]| {
                    let text = String::from_utf8_lossy(request).to_lowercase();
                    let (head, rest) = text.split_once("\r\n\r\n")?;
                    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "))?;
                    (rest.len() >= length.parse().ok()?).then(|| head.lines().next().unwrap_or_default().to_owned())
                };
                while whole(&request).is_none() && socket.read_buf(&mut request).await.unwrap_or(0) > 0 {}
                heard.lock().unwrap().extend(whole(&request));
                let answer = format!(
                    "HTTP/1.1 200 OK\r\ncontent-length: {}\r\nconnection: close\r\n\r\n{body}",
                    body.len()
                );
                let _ = socket.write_all(answer.as_bytes()).await;
                let _ = socket.shutdown().await;
            }
        });
        (at, seen)
    }

    #[tokio::test]
    async fn a_private_ca_and_a_self_signed_certificate_count_where_ca_file_names_them() {
        for (keys, body) in [
            ("type = \"webhook\"", ""),
            ("type = \"slack\"", "ok"),
            ("type = \"discord\"", r#"{"id":"1"}"#),
            ("type = \"ntfy\"\ntopic = \"t\"", r#"{"id":"x","event":"message"}"#),
            ("type = \"gotify\"\ntoken = \"A\"", r#"{"id":5}"#),
            (
                "type = \"telegram\"\ntoken = \"1:x\"\nchat_id = \"5\"",
                r#"{"ok":true,"result":{"message_id":1}}"#,
            ),
            (
                "type = \"pagerduty\"\nrouting_key = \"R\"",
                r#"{"status":"success","dedup_key":"x"}"#,
            ),
            ("type = \"alertmanager\"", ""),
        ] {
            for (certificate, names, trusted) in [
                ("server", Some("server.pem"), true),
                ("issued", Some("ca.pem"), true),
                ("issued", Some("issued.pem"), true),
                ("server", Some("other.pem"), false),
                ("issued", Some("server.pem"), false),
                ("issued", None, false),
            ] {
                let (at, seen) = over_tls(certificate, body).await;
                let ca = names.map(|name| format!("ca_file = \"{}\"", tls_fixture(name).display()));
                let channel = channel(&format!("{keys}\nurl = \"https://{at}/\"\n{}", ca.unwrap_or_default()));
                let sent = deliver(&channel, &event()).await;
                let what = format!("{keys} {certificate} {names:?}: {sent:?}");
                assert_eq!(
                    (sent.is_ok(), seen.lock().unwrap().len()),
                    (trusted, usize::from(trusted)),
                    "{what}"
                );
                if let Err(error) = sent {
                    assert!(
                        error.why().contains("certificate") && error.why().contains("`ca_file`"),
                        "{what}"
                    );
                }
            }
        }
    }

    #[tokio::test]
    async fn a_ca_file_that_is_none_is_said_when_it_is_read_and_when_it_is_used() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let keys = format!(
            "type = \"webhook\"\nurl = \"https://127.0.0.1:9/\"\nca_file = \"{}\"",
            path.display()
        );
        let read = || channels(&format!("[[channel]]\n{keys}"));
        for (text, why) in [(None, "no such file"), (Some("none"), "no certificate in PEM form")] {
            if let Some(text) = text {
                std::fs::write(&path, text).unwrap();
            }
            let error = read().unwrap_err().to_string();
            assert!(error.contains("`channel[1].ca_file`") && error.contains(why), "{error}");
        }
        std::fs::copy(tls_fixture("server.pem"), &path).unwrap();
        let channel = read().unwrap().remove(0);
        std::fs::remove_file(&path).unwrap();
        let error = deliver(&channel, &event()).await.unwrap_err();
        assert!(
            matches!(&error, SendError::Permanent { why } if why.contains("`ca_file`")),
            "{error:?}"
        );
        let error = channels("[[channel]]\ntype = \"command\"\ncommand = [\"true\"]\nca_file = \"/x\"");
        assert!(error.unwrap_err().to_string().contains("ca_file"));
    }
}
