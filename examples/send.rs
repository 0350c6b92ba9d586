//! Sends one event through the first channel of a configuration, as nolapse itself does: for trying a channel, and for
//! `scripts/check-receivers`.
//!
//! `send CONFIG.toml EVENT.json [PREVIOUS-HANDLE]` prints the receipt and then the handle, or fails with 1 (passing) or
//! 2 (permanent) and the reason.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a tool for developers, outside the library"
)]

use nolapse::edge::host::{Clock, Host};
use nolapse::edge::http::Http;
use nolapse::notify::{SendCtx, SendError, read_channels, send};
use nolapse::table::{Source, Table};
use std::path::PathBuf;
use std::process::ExitCode;

type Failure = Box<dyn std::error::Error>;

fn main() -> Result<ExitCode, Failure> {
    let args: Vec<String> = std::env::args().collect();
    let [_, config, event, previous @ ..] = args.as_slice() else {
        return Err("usage: send CONFIG.toml EVENT.json [PREVIOUS-HANDLE]".into());
    };
    let host = Host {
        home: PathBuf::from(std::env::var("HOME")?),
        env: std::env::vars().collect(),
        cwd: std::env::current_dir()?,
        name: "example".into(),
        macos: false,
        own: vec!["nolapse".into()],
    };
    let text = std::fs::read_to_string(config)?;
    let path = std::fs::canonicalize(config)?;
    let source = Source {
        path: &path,
        text: &text,
        private: true,
        home: &host.home,
        env: &host.env,
    };
    let parsed = toml::de::DeTable::parse(&text)?;
    let table = Table::new(&source, "", parsed.span(), parsed.get_ref());
    let channels = read_channels(table.tables("channel")?)?;
    let channel = channels.first().ok_or("no `[[channel]]` in the configuration")?;
    let event = serde_json::from_slice(&std::fs::read(event)?)?;
    let http = Http::new(&host.env);
    let ctx = SendCtx {
        previous: previous.first().cloned(),
        ..SendCtx::new(&host, &http, Clock::System.now())
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    Ok(match runtime.block_on(send(channel, &event, &ctx)) {
        Ok(receipt) => {
            println!("{}", receipt.detail);
            println!("{}", receipt.handle.unwrap_or_default());
            ExitCode::SUCCESS
        }
        Err(SendError::Passing { why, .. }) => {
            eprintln!("passing: {why}");
            ExitCode::from(1)
        }
        Err(SendError::Lost { why }) => {
            eprintln!("perhaps delivered: {why}");
            ExitCode::from(1)
        }
        Err(SendError::Permanent { why }) => {
            eprintln!("permanent: {why}");
            ExitCode::from(2)
        }
    })
}
