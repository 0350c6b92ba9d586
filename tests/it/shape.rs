//! The shape of the crate where no lint can hold it: `src/rules/` is pure.

#[test]
fn rules_are_pure() {
    let dir = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/rules");
    let mut files = 0;
    for entry in std::fs::read_dir(dir).expect("src/rules") {
        let path = entry.expect("an entry").path();
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
