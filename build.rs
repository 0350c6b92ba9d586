//! Names the commit and its date for `--version` in release builds; both are the same for every build of a commit. Other builds
//! do not ask, so that a commit does not build everything again. Lays release builds for Linux out.

#![allow(
    clippy::disallowed_methods,
    clippy::disallowed_types,
    clippy::print_stdout,
    reason = "runs at build time, and speaks to cargo by stdout"
)]

use std::process::Command;

fn git(args: &[&str]) -> Option<String> {
    let output = Command::new("git").args(args).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    (output.status.success() && !text.trim().is_empty()).then(|| text.trim().to_owned())
}

/// What neither a look nor a resting daemon runs: the network, the desktop, databases, and commands that people start by hand.
const RARELY_RUN: &str = "clap_builder::output::help_template clap_complete clap_mangen email_encoding futures_util http http_body \
    http_body_util httparse hyper hyper_rustls hyper_util idna json5 lettre libsqlite3_sys nom notify_rust \
    pty_process qrcode reqwest ring roff rusqlite rustls serde_json::value similar std::backtrace_rs strsim \
    tokio_rustls toml toml_edit toml_parser tower tower_http url vt100 vte webpki zbus zbus_utils zvariant";
/// The same of this package's own modules.
const RARELY_RUN_HERE: &str = "cli::alert cli::channel cli::config cli::demo cli::doctor cli::examples cli::history cli::install cli::link \
    cli::metrics cli::order cli::overview cli::pages cli::phone cli::reauth cli::refresh cli::run cli::setup \
    cli::status cli::token cli::watch config::edit config::parse config::schema doctor edge::http \
    edge::openclaw edge::signals history::read install look::openclaw metrics notify reauth renew::engine \
    report::json rules::doctor rules::story rules::wording stores::agent_config stores::sqlite table";

/// How the linker lays a release out, for Linux. GNU ld and lld both know this script; names that match nothing do no harm.
///
/// A program that aborts on panic never unwinds, yet every function brings its table: 0.9 MB that are never read, and only the
/// linker can leave them out for one profile alone. The system loads code by 64 KiB around what is run: with what rarely runs
/// apart from the rest, a resting daemon holds 1.1 MB less.
fn lay_out() {
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    if var("CARGO_CFG_TARGET_OS") != "linux" {
        return;
    }
    let mangled = |path: &str| {
        path.split("::")
            .map(|name| format!("{}{name}", name.len()))
            .collect::<String>()
    };
    let mut rare = String::new();
    for name in RARELY_RUN.split_whitespace() {
        rare += &format!(" .text._ZN{}*", mangled(name));
    }
    for path in RARELY_RUN_HERE.split_whitespace() {
        rare += &format!(" .text._ZN7nolapse{}*", mangled(path));
    }
    // methods of traits begin otherwise; more than a few such patterns take GNU ld minutes
    for name in ["hyper", "hyper_util", "lettre", "rustls", "zbus", "zvariant"] {
        rare += &format!(" .text._ZN??_$LT${name}..* .text._ZN???_$LT${name}..*");
    }
    let script = std::path::Path::new(&var("OUT_DIR")).join("layout.ld");
    let text = format!(
        "SECTIONS {{\n  /DISCARD/ : {{ *(.eh_frame .eh_frame.* .gcc_except_table .gcc_except_table.*) }}\n  \
         .text.rare : {{ *libsqlite3*(.text .text.*) *libring*(.text .text.*) *({rare}) }}\n}} INSERT AFTER .text;\n"
    );
    if std::fs::write(&script, text).is_ok() {
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    lay_out();
    // a package unpacked inside somebody's repository is none of its commits
    let top = git(&["rev-parse", "--show-toplevel"]);
    let here = std::env::var("CARGO_MANIFEST_DIR").ok();
    let real = |path: Option<String>| path.and_then(|path| std::fs::canonicalize(path).ok());
    if top.is_none() || real(top) != real(here) {
        return;
    }
    let branch = git(&["symbolic-ref", "-q", "HEAD"]);
    for name in ["HEAD".to_owned()].into_iter().chain(branch) {
        if let Some(path) = git(&["rev-parse", "--git-path", &name]) {
            println!("cargo:rerun-if-changed={path}");
        }
    }
    if let Some(commit) = git(&["log", "-1", "--format=%h %cs"]) {
        println!("cargo:rustc-env=NOLAPSE_COMMIT={commit}");
    }
}
