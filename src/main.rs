//! The `nolapse` command: reads the process environment once, hands it over as data, exits with the code.

use std::process::ExitCode;

#[expect(
    clippy::disallowed_methods,
    reason = "the one place that reads the process's environment"
)]
fn main() -> ExitCode {
    // tokens pass through this process's memory: no core file may hold them
    let none = rustix::process::Rlimit {
        current: Some(0),
        maximum: Some(0),
    };
    let _ = rustix::process::setrlimit(rustix::process::Resource::Core, none);
    // a core that is piped to a program has no limit; nor may another program of this user attach
    #[cfg(any(target_os = "linux", target_os = "android"))]
    let _ = rustix::process::set_dumpable_behavior(rustix::process::DumpableBehavior::NotDumpable);
    let text = |name: std::ffi::OsString| name.into_string().ok();
    let code = nolapse::cli::main(nolapse::cli::Invocation {
        args: std::env::args_os().collect(),
        env: std::env::vars_os()
            .filter_map(|(name, value)| Some((text(name)?, text(value)?)))
            .collect(),
        cwd: std::env::current_dir().unwrap_or_else(|_| "/".into()),
        host_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
        exe: std::env::current_exe().ok(),
    });
    ExitCode::from(code)
}
