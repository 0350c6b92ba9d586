//! Names the commit and its date for `--version` in release builds; both are the same for every build of a commit. Other builds
//! do not ask, so that a commit does not build everything again. Release builds for Linux are linked without unwind tables.

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

/// A program that aborts on panic never unwinds, yet every function brings its table: 0.9 MB that are never read. Only the linker
/// can leave them out for one profile alone; GNU ld and lld both know this script.
fn without_unwind_tables() {
    let var = |name: &str| std::env::var(name).unwrap_or_default();
    if var("CARGO_CFG_TARGET_OS") != "linux" {
        return;
    }
    let script = std::path::Path::new(&var("OUT_DIR")).join("no-unwind-tables.ld");
    let tables = "SECTIONS { /DISCARD/ : { *(.eh_frame) *(.eh_frame.*) *(.gcc_except_table) *(.gcc_except_table.*) } } INSERT AFTER .text;";
    if std::fs::write(&script, tables).is_ok() {
        println!("cargo:rustc-link-arg-bins=-Wl,--no-eh-frame-hdr");
        println!("cargo:rustc-link-arg-bins=-Wl,-T,{}", script.display());
    }
}

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("PROFILE").as_deref() != Ok("release") {
        return;
    }
    without_unwind_tables();
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
