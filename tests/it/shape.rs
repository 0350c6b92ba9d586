//! The shape of the crate where no lint can hold it: `src/rules/` is pure.

#[test]
fn rules_are_pure() {
    let mut paths = vec![std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules")];
    let mut files = 0;
    while let Some(path) = paths.pop() {
        if path.is_dir() {
            paths.extend(
                std::fs::read_dir(path)
                    .expect("src/rules")
                    .map(|entry| entry.expect("an entry").path()),
            );
            continue;
        }
        let text = std::fs::read_to_string(&path).expect("a source");
        // a rule's tests may do as they like
        let code = text.split("#[cfg(test)]").next().unwrap_or_default();
        for word in [
            "async ",
            ".await",
            "tracing::",
            "crate::edge",
            "crate::ctx",
            "std::fs",
            "std::io",
            "std::env",
        ] {
            assert!(!code.contains(word), "{} holds `{word}`", path.display());
        }
        files += 1;
    }
    assert!(files >= 5, "only {files} files");
}

/// Every script can be started, is read by its interpreter, and is told of where people look for it.
#[test]
fn scripts_are_executable_parse_and_are_described() {
    use std::os::unix::fs::PermissionsExt;
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let told = std::fs::read_to_string(root.join("CONTRIBUTING.md")).expect("CONTRIBUTING.md");
    let mut dirs = vec![root.join("scripts"), root.join("contrib"), root.join("tests/standins")];
    let mut seen = 0;
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap_or_default();
            let Some(first) = text.lines().next().filter(|line| line.starts_with("#!")) else {
                continue;
            };
            let mode = std::fs::metadata(&path).expect("a file").permissions().mode();
            assert_eq!(mode & 0o111, 0o111, "{} is not executable", path.display());
            let parse: &[&str] = match first {
                first if first.contains("python") => {
                    &["python3", "-c", "import ast, sys; ast.parse(open(sys.argv[1]).read())"]
                }
                first if first.contains("bash") => &["bash", "-n"],
                _ => &["sh", "-n"],
            };
            let status = std::process::Command::new(parse[0])
                .args(&parse[1..])
                .arg(&path)
                .status();
            assert!(status.expect(parse[0]).success(), "{} does not parse", path.display());
            let name = path.strip_prefix(root).expect("within").display().to_string();
            assert!(
                !name.starts_with("scripts/") || told.contains(&format!("`{name}`")),
                "{name} is not in CONTRIBUTING.md"
            );
            seen += 1;
        }
    }
    assert!(seen > 25, "only {seen} scripts");
}
