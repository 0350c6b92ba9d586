//! Whether anything listens at the other end. A connection is opened and closed again; nothing is sent.

use super::files::io_words;
use super::http::NO_NAME;
use super::names::Names;
use std::collections::BTreeMap;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Connects to `host` and `port`, within `patience`, name lookup included, which `env` may have a say in (`Names`).
///
/// # Errors
/// Why not, in words.
pub(crate) async fn reach(
    host: &str,
    port: u16,
    patience: Duration,
    env: &BTreeMap<String, String>,
) -> Result<(), String> {
    // an IPv6 address stands in brackets in a URL
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let names = Names::new(env);
    let connect = async { TcpStream::connect(&*names.addresses(host, port).await?).await };
    match timeout(patience, connect).await {
        Ok(Ok(_)) => Ok(()),
        Ok(Err(error)) => Err(words(&error)),
        Err(_) => Err(format!("no answer within {} s", patience.as_secs())),
    }
}

fn words(error: &io::Error) -> String {
    let text = io_words(error);
    // getaddrinfo has no error kind of its own
    match text.strip_prefix("failed to lookup address information") {
        Some(_) => NO_NAME.into(),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Duration = Duration::from_secs(5);

    #[tokio::test]
    async fn a_listener_is_reached_and_nothing_is_sent() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        reach("127.0.0.1", port, PATIENCE, &BTreeMap::new()).await.unwrap();
        let (mut peer, _) = listener.accept().unwrap();
        let mut said = Vec::new();
        std::io::Read::read_to_end(&mut peer, &mut said).unwrap();
        assert!(said.is_empty());
        drop(listener);
        assert!(
            reach("127.0.0.1", port, PATIENCE, &BTreeMap::new())
                .await
                .unwrap_err()
                .contains("refused")
        );
    }
}
