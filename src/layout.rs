//! Text in columns: how wide it is on a terminal, cut, padded, and wrapped with a hanging indent. Pure.

use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

/// How many cells of a terminal a text takes; there must be no escape codes in it.
pub(crate) fn cells(text: &str) -> usize {
    text.width()
}

/// Exactly so many cells: padded with blanks, or cut with an `…`.
pub(crate) fn fit(text: &str, width: usize) -> String {
    let cut = cut(text, width);
    let missing = width.saturating_sub(cells(&cut));
    cut + &" ".repeat(missing)
}

/// At most so many cells, cut with an `…`.
pub(crate) fn cut(text: &str, width: usize) -> String {
    if cells(text) <= width {
        return text.to_owned();
    }
    let mut out = String::new();
    let mut left = width.saturating_sub(1);
    for c in text.chars() {
        let wide = c.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        out.push(c);
    }
    if width > 0 {
        out.push('…');
    }
    out
}

/// At most so many cells, the beginning cut off with an `…`.
pub(crate) fn tail(text: &str, width: usize) -> String {
    if cells(text) <= width {
        return text.to_owned();
    }
    let mut left = width.saturating_sub(1);
    let mut from = text.len();
    for (at, c) in text.char_indices().rev() {
        let wide = c.width().unwrap_or(0);
        if wide > left {
            break;
        }
        left -= wide;
        from = at;
    }
    match width {
        0 => String::new(),
        _ => format!("…{}", &text[from..]),
    }
}

/// Lines of at most `width` cells, broken at blanks; a word that is longer is broken after a `/` or `-` of its own, or where it must be.
pub(crate) fn wrap(text: &str, width: usize) -> Vec<String> {
    let width = width.max(8);
    let mut lines = Vec::new();
    let mut line = String::new();
    let mut used = 0;
    for word in text.split(' ').filter(|word| !word.is_empty()) {
        let wide = cells(word);
        if used > 0 && used + 1 + wide > width {
            lines.push(std::mem::take(&mut line));
            used = 0;
        }
        if used > 0 {
            line.push(' ');
            used += 1;
        }
        let mut begin = line.len();
        for c in word.chars() {
            let wide = c.width().unwrap_or(0);
            if used + wide > width {
                let joint = line[begin..].rfind(['/', '-']).map(|at| begin + at + 1);
                let rest = joint.filter(|at| *at < line.len()).map(|at| line.split_off(at));
                lines.push(std::mem::replace(&mut line, rest.unwrap_or_default()));
                (begin, used) = (0, cells(&line));
            }
            line.push(c);
            used += wide;
        }
    }
    if used > 0 || lines.is_empty() {
        lines.push(line);
    }
    lines
}

/// [`wrap`] with every line after the first indented, as one text without a final line break; `None` for no width at all.
pub(crate) fn hang(text: &str, indent: usize, width: Option<usize>) -> String {
    match width {
        None => text.to_owned(),
        Some(width) => wrap(text, width.saturating_sub(indent)).join(&format!("\n{}", " ".repeat(indent))),
    }
}

/// Lines for a screen of this width: each is broken at blanks and goes on below its own text. What stands between backquotes and a
/// command (`run: …`, or a line after one that ends with a colon) are not broken: they are there to be copied. There must be no
/// escape codes in it.
pub(crate) fn wrapped(text: &str, width: usize) -> String {
    let mut out = String::new();
    let mut announced = None;
    for line in text.split_inclusive('\n') {
        let (line, end) = match line.strip_suffix('\n') {
            Some(line) => (line, "\n"),
            None => (line, ""),
        };
        let indent = line.len() - line.trim_start_matches(' ').len();
        let command = announced == Some(indent);
        announced = line.ends_with(':').then_some(indent);
        if cells(line) <= width || command {
            out.push_str(line);
        } else {
            let below = (indent + 2).min(width / 2);
            out.push_str(&" ".repeat(indent));
            let mut used = indent;
            for (n, word) in atoms(line.trim_start_matches(' ')).into_iter().enumerate() {
                let wide = cells(word);
                let fits = used + usize::from(n > 0) + wide <= width;
                if n > 0 && !fits {
                    out.push('\n');
                    out.push_str(&" ".repeat(below));
                    used = below;
                } else if n > 0 {
                    out.push(' ');
                    used += 1;
                }
                out.push_str(word);
                used += wide;
            }
        }
        out.push_str(end);
    }
    out
}

/// What a line may be broken between.
fn atoms(line: &str) -> Vec<&str> {
    const COMMANDS: [&str; 3] = ["run: ", "fix: ", "$ "];
    let mut atoms = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        let mut end = None;
        let mut quoted = false;
        for (at, c) in rest.char_indices() {
            match c {
                '`' => quoted = !quoted,
                ' ' if !quoted => {
                    end = Some(at);
                    break;
                }
                _ => {}
            }
        }
        let Some(end) = end else {
            atoms.push(rest);
            break;
        };
        atoms.push(&rest[..end]);
        rest = rest[end..].trim_start_matches(' ');
        let before = &line[..line.len() - rest.len()];
        let program =
            rest.starts_with("nolapse ") || rest.starts_with("claude ") || rest.starts_with("CLAUDE_CONFIG_DIR=");
        if program && before.ends_with("hint: ") || COMMANDS.iter().any(|word| before.ends_with(word)) {
            atoms.push(rest);
            break;
        }
    }
    atoms
}

/// `a`, `a and b`, `a, b and c`, `a, b, c and 7 more` for names of which `more` are not here.
pub(crate) fn list(names: &[String], most: usize, more: usize) -> String {
    let shown = &names[..names.len().min(most)];
    let rest = names.len() - shown.len() + more;
    match (shown, rest) {
        ([], n) => format!("{n}"),
        (shown, n) if n > 0 => format!("{} and {n} more", shown.join(", ")),
        ([one], _) => one.clone(),
        ([first @ .., last], _) => format!("{} and {last}", first.join(", ")),
    }
}

/// `1 alert`, `2 alerts`.
pub(crate) fn counted(n: usize, what: &str) -> String {
    format!("{n} {what}{}", if n == 1 { "" } else { "s" })
}

/// With a capital letter.
pub(crate) fn upper(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars.next().into_iter().flat_map(char::to_uppercase);
    first.chain(chars).collect()
}

/// Foreign names may hold anything: see `crate::visible`.
pub(crate) fn one_line(text: &str) -> String {
    crate::visible::line(text).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_and_padded_by_cells() {
        for (text, width, want) in [
            ("claude", 8, "claude  "),
            ("claude-team", 8, "claude-…"),
            ("登录登录", 6, "登录… "),
            ("登录", 4, "登录"),
            ("x", 0, ""),
        ] {
            assert_eq!(fit(text, width), want, "{text}");
            assert_eq!(cells(&fit(text, width)), width);
        }
        assert_eq!(tail("clawdbot/research", 9), "…research");
        assert_eq!(
            (tail("登录登", 4), tail("abc", 0), tail("abc", 3)),
            ("…登".into(), String::new(), "abc".into())
        );
    }

    #[test]
    fn lines_are_broken_at_blanks_and_nothing_is_lost() {
        assert_eq!(
            wrap("brought clawdbot/main up to date", 16),
            ["brought", "clawdbot/main up", "to date"]
        );
        assert_eq!(wrap("", 16), [""]);
        let long = "x".repeat(40);
        assert_eq!(wrap(&long, 16).concat(), long);
        assert_eq!(
            wrap("of ~/.clawdbot/agents/a-long-name now", 16),
            ["of", "~/.clawdbot/", "agents/a-long-", "name now"]
        );
        assert!(wrap(&format!("a {long} b"), 16).iter().all(|line| cells(line) <= 16));
        assert_eq!(hang("aaaa bbbb cccc", 4, Some(12)), "aaaa\n    bbbb\n    cccc");
        assert_eq!(hang("aaaa bbbb cccc", 4, None), "aaaa bbbb cccc");
    }

    #[test]
    fn a_screen_breaks_between_words_and_keeps_commands_whole() {
        for (text, width, want) in [
            ("short\n", 20, "short\n"),
            ("  one two three four\n", 14, "  one two\n    three four\n"),
            ("see `a b c d` now", 10, "see\n  `a b c d`\n  now"),
            (
                "to fix it, run: nolapse login --login x",
                30,
                "to fix it, run:\n  nolapse login --login x",
            ),
            ("a\n\nb\n", 8, "a\n\nb\n"),
            ("  fix: mv one two three", 12, "  fix:\n    mv one two three"),
            (
                "  run:\n  mv one two\n  and so on",
                10,
                "  run:\n  mv one two\n  and so\n    on",
            ),
        ] {
            assert_eq!(wrapped(text, width), want, "{text}");
        }
        let plain = |text: &str| text.split_whitespace().collect::<Vec<_>>().join(" ");
        let long = "  critical: Claude login `claude` was logged out on vm; two programs refreshed the same token";
        for width in [20, 40, 80] {
            assert_eq!(plain(&wrapped(long, width)), plain(long));
        }
    }

    #[test]
    fn names_are_listed_as_a_person_would() {
        let names: Vec<String> = ["a", "b", "c", "d"].map(String::from).into();
        for (take, most, more, want) in [
            (1, 3, 0, "a"),
            (2, 3, 0, "a and b"),
            (3, 3, 0, "a, b and c"),
            (4, 3, 0, "a, b, c and 1 more"),
            (4, 3, 6, "a, b, c and 7 more"),
        ] {
            assert_eq!(list(&names[..take], most, more), want);
        }
    }
}
