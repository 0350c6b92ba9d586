//! The shape of the crate where no lint can hold it: the floors, the map in ARCHITECTURE.md, the scripts.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

/// The floors, lowest first, each with its modules; a module's own name goes before its folder's. A file may use those of its
/// own floor and of the floors before it.
const FLOORS: &[(&str, &[&str])] = &[
    ("words", &["types", "secret", "cause", "json", "layout", "visible"]),
    ("rules", &["rules"]),
    ("edge", &["edge"]),
    ("foreign", &["table", "sources", "stores", "notify", "phone"]),
    ("ours", &["config", "ledger", "history"]),
    ("ctx", &["ctx", "outcome"]),
    (
        "steps",
        &[
            "look",
            "act",
            "renew",
            "deliver",
            "remotes",
            "strangers",
            "heard",
            "judge",
            "note",
            "openclaw",
            "link",
        ],
    ),
    ("views", &["report", "metrics"]),
    ("pass", &["pass"]),
    (
        "jobs",
        &["daemon", "doctor", "reauth", "by_hand", "install", "fuzzing", "trials"],
    ),
    ("cli", &["cli", "lib", "main"]),
];

/// A head that lists what its folder holds, while the files there use the head's words: each counts with its folder as one file.
/// Every other file counts by itself.
const HEADS: &[(&str, &str)] = &[
    (
        "notify",
        "`Channel` names every channel, and each reads its table and fails in the same words",
    ),
    ("renew", "chooses the way of renewal; both ways give back its `Attempt`"),
    ("rules::doctor", "lists the groups; each judges into its `Finding`"),
    ("doctor", "gathers each group's facts into its `Facts`"),
    (
        "cli",
        "the command tree; each command takes its global options and prints in its way",
    ),
];

/// A rule does no I/O, asks no clock and writes no log.
const IMPURE: [&str; 6] = ["async ", ".await", "tracing::", "std::fs", "std::io", "std::env"];

/// No function is longer than a screen or two, no file longer than this without its tests, and none takes more parameters.
const MOST_LINES: usize = 80;
const MOST_OF_A_FILE: usize = 800;
const MOST_PARAMETERS: usize = 5;

/// What is over a limit all the same. One that no longer is has to go from here.
const OVER: &[&str] = &[];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Every module of `src/` (`a::b`) with its code: without tests and comments.
fn modules() -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    let src = root().join("src");
    let mut dirs = vec![src.clone()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                dirs.push(path);
                continue;
            }
            if path.extension().is_none_or(|extension| extension != "rs") {
                continue;
            }
            let name = path.strip_prefix(&src).expect("within").with_extension("");
            let name = name.display().to_string().replace('/', "::");
            let name = name.strip_suffix("::mod").unwrap_or(&name).to_owned();
            let text = std::fs::read_to_string(&path).expect("a source");
            found.insert(name, code(&text));
        }
    }
    assert!(found.len() > 80, "only {} files", found.len());
    found
}

/// The text without comments and without what is compiled for tests alone.
fn code(text: &str) -> String {
    let plain = text.lines().map(|line| match line.trim_start().starts_with("//") {
        true => "",
        false => line,
    });
    let mut rest = plain.collect::<Vec<_>>().join("\n");
    for mark in ["#[cfg(test)]", "#[cfg(any(test, fuzzing))]"] {
        while let Some(at) = rest.find(mark) {
            let (mut depth, mut end) = (0, rest.len());
            for (i, c) in rest[at..].char_indices() {
                match c {
                    '{' => depth += 1,
                    '}' => depth -= 1,
                    _ => {}
                }
                if depth == 0 && matches!(c, '}' | ';') {
                    end = at + i + 1;
                    break;
                }
            }
            rest.replace_range(at..end, "");
        }
    }
    rest
}

/// The paths of a `use` tree: `a::{b, c::{self, d}}` as `a::b`, `a::c`, `a::c::d`.
fn leaves(tree: &str) -> Vec<String> {
    let tree = tree.trim();
    let Some((before, inner)) = tree.split_once('{') else {
        let path = tree.split(" as ").next().unwrap_or_default();
        return vec![path.trim_end_matches("::self").trim().to_owned()];
    };
    let inner = inner.strip_suffix('}').expect("a tree that is closed");
    let (mut depth, mut begun, mut parts) = (0, 0, Vec::new());
    for (i, c) in inner.char_indices() {
        match c {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => {
                parts.push(&inner[begun..i]);
                begun = i + 1;
            }
            _ => {}
        }
    }
    parts.push(&inner[begun..]);
    let parts = parts.into_iter().map(str::trim).filter(|part| !part.is_empty());
    parts
        .flat_map(|part| match part {
            "self" => vec![before.trim_end_matches("::").to_owned()],
            part => leaves(part).iter().map(|leaf| format!("{before}{leaf}")).collect(),
        })
        .collect()
}

/// Every `a::b::c` in a line of code, as written.
fn paths(code: &str) -> Vec<String> {
    let word = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
    let parts = code.split(|c| !word(c)).map(|part| part.trim_matches(':'));
    parts.filter(|part| part.contains("::")).map(str::to_owned).collect()
}

/// A path as written in `module`, from the top of the crate; `None` where it leads out of the crate.
fn absolute(module: &str, path: &str, known: &BTreeMap<String, String>) -> Option<Vec<String>> {
    let mut parts: Vec<&str> = path.split("::").collect();
    let mut base: Vec<&str> = match module {
        "lib" | "main" => Vec::new(),
        module => module.split("::").collect(),
    };
    match parts[0] {
        "crate" | "nolapse" => base.clear(),
        "self" => {}
        "super" => {
            while parts.first() == Some(&"super") {
                base.pop();
                parts.remove(0);
            }
            parts.insert(0, "");
        }
        child
            if known.contains_key(
                base.iter()
                    .chain([&child])
                    .copied()
                    .collect::<Vec<_>>()
                    .join("::")
                    .as_str(),
            ) =>
        {
            parts.insert(0, "");
        }
        _ => return None,
    }
    base.extend(parts.into_iter().skip(1));
    Some(base.into_iter().map(str::to_owned).collect())
}

/// The module that a path from the top is of.
fn owner(path: &[String], known: &BTreeMap<String, String>) -> Option<String> {
    (1..=path.len())
        .rev()
        .map(|n| path[..n].join("::"))
        .find(|name| known.contains_key(name))
}

/// The modules that each module uses.
fn uses() -> BTreeMap<String, BTreeSet<String>> {
    let known = modules();
    let mut all = BTreeMap::new();
    for (module, code) in &known {
        let mut used = BTreeSet::new();
        // what a name that was brought into scope stands for
        let mut names: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let mut rest = String::new();
        for statement in code.split_inclusive(';') {
            let begun = statement.rfind("use ").filter(|at| {
                let before = statement[..*at].trim_end();
                before.is_empty() || before.ends_with(['{', '}', ';', ')', ']']) || before.ends_with("pub")
            });
            let Some(at) = begun else {
                rest.push_str(statement);
                continue;
            };
            rest.push_str(&statement[..at]);
            for leaf in leaves(statement[at + 4..].trim_end_matches(';')) {
                if let Some(path) = absolute(module, &leaf, &known) {
                    used.extend(owner(&path, &known));
                    names.insert(path.last().cloned().unwrap_or_default(), path);
                }
            }
        }
        for path in paths(&rest) {
            let (first, after) = path.split_once("::").expect("a path");
            let path = match names.get(first) {
                Some(stands_for) => {
                    let after = after.split("::").map(str::to_owned);
                    Some(stands_for.iter().cloned().chain(after).collect())
                }
                None => absolute(module, &path, &known),
            };
            used.extend(path.and_then(|path| owner(&path, &known)));
        }
        used.remove(module);
        all.insert(module.clone(), used);
    }
    all
}

fn floor(module: &str) -> Option<usize> {
    let top = module.split("::").next().unwrap_or_default();
    FLOORS.iter().position(|(_, modules)| modules.contains(&top))
}

#[test]
fn no_file_uses_a_floor_above_its_own() {
    let uses = uses();
    let mut wrong = Vec::new();
    for (module, used) in &uses {
        let Some(own) = floor(module) else {
            wrong.push(format!("{module} is on no floor"));
            continue;
        };
        for other in used {
            let theirs = floor(other).unwrap_or(usize::MAX);
            if theirs > own {
                wrong.push(format!("{module} ({}) uses {other}", FLOORS[own].0));
            }
        }
    }
    for (i, (name, _)) in FLOORS.iter().enumerate() {
        let files = uses.keys().filter(|module| floor(module) == Some(i)).count();
        println!("{name:<8} {files:>3} files");
    }
    println!("{} violations", wrong.len());
    assert!(wrong.is_empty(), "{} violations:\n{}", wrong.len(), wrong.join("\n"));
}

/// The file, or the folder of a head.
fn unit(module: &str) -> &str {
    let within = |head: &str| {
        module
            .strip_prefix(head)
            .is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
    };
    HEADS
        .iter()
        .find(|(head, _)| within(head))
        .map_or(module, |(head, _)| head)
}

/// Peels off every file that uses no other one that is left; what cannot be peeled is a circle, or leads into one.
#[test]
fn no_files_use_each_other_in_a_circle() {
    let all = uses();
    for (head, why) in HEADS {
        let folder = format!("{head}::");
        let both = all
            .iter()
            .any(|(module, used)| module.starts_with(&folder) && used.contains(*head));
        assert!(
            both,
            "nothing in the folder uses {head} ({why}): take it out of the list"
        );
    }
    let mut left: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for (module, used) in &all {
        let from = left.entry(unit(module)).or_default();
        from.extend(
            used.iter()
                .map(|other| unit(other))
                .filter(|other| *other != unit(module)),
        );
    }
    while !left.is_empty() {
        let free: Vec<&str> = left
            .iter()
            .filter(|(_, used)| !used.iter().any(|other| left.contains_key(other)))
            .map(|(module, _)| *module)
            .collect();
        if free.is_empty() {
            // from the other side too, so that only circles are named
            while let Some(unused) = left
                .keys()
                .find(|m| !left.values().any(|used| used.contains(*m)))
                .copied()
            {
                left.remove(unused);
            }
            let edges = left.iter().flat_map(|(module, used)| {
                let within = used.iter().filter(|other| left.contains_key(*other));
                within.map(move |other| format!("{module} -> {other}"))
            });
            panic!("files in circles:\n{}", edges.collect::<Vec<_>>().join("\n"));
        }
        for module in free {
            left.remove(module);
        }
    }
}

/// The functions of a module, each with its lines and its parameters; `self` is none.
fn functions(code: &str) -> Vec<(&str, usize, usize)> {
    let lines: Vec<&str> = code.lines().collect();
    let mut found = Vec::new();
    for (i, line) in lines.iter().enumerate() {
        let trimmed = line.trim_start();
        let indent = &line[..line.len() - trimmed.len()];
        let words = ["pub(crate) ", "pub(super) ", "pub ", "const ", "async "];
        let begun = words
            .iter()
            .fold(trimmed, |rest, word| rest.strip_prefix(word).unwrap_or(rest));
        let Some(rest) = begun.strip_prefix("fn ") else {
            continue;
        };
        let name = rest.split(['(', '<']).next().unwrap_or_default();
        let end = format!("{indent}}}");
        let length = match line.ends_with(['}', ';']) {
            true => 1,
            false => 1 + lines[i..].iter().position(|line| *line == end).unwrap_or_default(),
        };
        found.push((name, length, parameters(&lines[i..].join(" "))));
    }
    found
}

/// How many parameters the function takes that this begins with.
fn parameters(code: &str) -> usize {
    let code = code.replace("->", "  ");
    // what is generic comes first, and may hold brackets of its own
    let (mut depth, mut angles, mut list) = (0, 0, String::new());
    for c in code[code.find("fn ").unwrap_or_default()..].chars() {
        match c {
            '<' => angles += 1,
            '>' => angles -= 1,
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            _ => {}
        }
        if depth > 0 && (angles == 0 || !list.is_empty()) {
            list.push(if depth == 1 && angles == 0 || c != ',' { c } else { ' ' });
        } else if !list.is_empty() {
            break;
        }
    }
    let all = list.trim_start_matches('(').split(',').map(str::trim);
    all.filter(|one| !one.is_empty() && !one.ends_with("self")).count()
}

#[test]
fn nothing_is_larger_than_can_be_seen() {
    let mut over = BTreeSet::new();
    let mut seen = 0;
    for (module, code) in &modules() {
        let of_file = code.lines().count();
        if of_file > MOST_OF_A_FILE {
            over.insert(format!("{module}: {of_file} lines"));
        }
        for (name, lines, parameters) in functions(code) {
            seen += 1;
            if lines > MOST_LINES {
                over.insert(format!("{module}::{name}: {lines} lines"));
            }
            if parameters > MOST_PARAMETERS {
                over.insert(format!("{module}::{name}: {parameters} parameters"));
            }
        }
    }
    assert!(seen > 1000, "only {seen} functions");
    let known: BTreeSet<String> = OVER.iter().map(|one| (*one).to_owned()).collect();
    let (new, gone) = (&over - &known, &known - &over);
    assert!(new.is_empty(), "over a limit: {new:#?}");
    assert!(
        gone.is_empty(),
        "not over a limit any more, or by another number: {gone:#?}"
    );
}

#[test]
fn rules_are_pure() {
    let mut files = 0;
    for (module, code) in modules().iter().filter(|(module, _)| module.starts_with("rules")) {
        for word in IMPURE {
            assert!(!code.contains(word), "{module} holds `{word}`");
        }
        files += 1;
    }
    assert!(files >= 15, "only {files} files");
}

/// The map names every module, and none that is not there.
#[test]
fn the_map_is_that_of_the_crate() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let section = text.split("## Modules").nth(1).expect("a section of modules");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut named = BTreeSet::new();
    for line in section.lines().filter(|line| line.starts_with("| `")) {
        let cell = line.split('|').nth(1).unwrap_or_default();
        named.extend(
            cell.split('`')
                .skip(1)
                .step_by(2)
                .map(|name| name.trim_end_matches('/').replace('/', "::")),
        );
    }
    let known = modules();
    for name in &named {
        let folder = format!("{name}::");
        let there = known.contains_key(name) || known.keys().any(|module| module.starts_with(&folder));
        assert!(there, "ARCHITECTURE.md names `{name}`, which is not in src/");
    }
    // a folder that is named covers what is in it; the head of a folder whose files are named is covered by them
    let covered = |module: &str| {
        let parts: Vec<&str> = module.split("::").collect();
        let folder = format!("{module}::");
        (1..=parts.len()).any(|n| named.contains(&parts[..n].join("::")))
            || named.iter().any(|name| name.starts_with(&folder))
    };
    let missing: Vec<&String> = known
        .keys()
        .filter(|module| !matches!(module.as_str(), "lib" | "main") && !covered(module))
        .collect();
    assert!(missing.is_empty(), "ARCHITECTURE.md names no row for {missing:?}");
}

/// What build.rs lays apart in a release is there: a module that was renamed would be loaded with the rest again, unnoticed.
#[test]
fn what_rarely_runs_is_there() {
    let text = std::fs::read_to_string(root().join("build.rs")).expect("build.rs");
    let list = text.split("const RARELY_RUN_HERE: &str = \"").nth(1).expect("the list");
    let list = list.split('"').next().unwrap_or_default().replace('\\', " ");
    let named: Vec<&str> = list.split_whitespace().collect();
    let known = modules();
    let there = |path: &str| match path.rsplit_once("::") {
        Some((module, name)) if known.contains_key(module) && !known.contains_key(path) => {
            known[module].contains(&format!("fn {name}"))
        }
        _ => known.contains_key(path),
    };
    let gone: Vec<&&str> = named.iter().filter(|path| !there(path)).collect();
    assert!(
        named.len() > 20 && gone.is_empty(),
        "build.rs names {gone:?}, not in src/"
    );
}

/// How a token and an alert walk: every file is there, and in its walk once.
#[test]
fn the_walks_name_each_file_once() {
    let text = std::fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    let known = modules();
    let (mut walks, mut walk) = (0, BTreeSet::new());
    for line in text.lines() {
        let step = line
            .split_once(". `")
            .filter(|(number, _)| number.parse::<u8>().is_ok());
        let Some((number, rest)) = step else { continue };
        if number == "1" {
            walks += 1;
            walk.clear();
        }
        let file = rest
            .split('`')
            .next()
            .unwrap_or_default()
            .trim_end_matches('/')
            .replace('/', "::");
        assert!(known.contains_key(&file), "{line}: there is no {file}");
        assert!(walk.insert(file), "{line}: it comes twice");
    }
    assert_eq!(walks, 2, "of a token and of an alert");
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
