//! The page: what is in it, that nothing foreign is more than text in it, and that it stays small. `scripts/check-page` looks at
//! it in a browser.

use super::home::{DAY, HOUR, Home, credentials, now, token};
use serde_json::json;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

fn home() -> Home {
    let home = Home::new();
    home.config("[renew]\nmode = \"off\"\n");
    home.login("1", now() + 8 * HOUR);
    home.store("main", json!({"anthropic:claude-cli": token("1", now() + 8 * HOUR)}));
    home
}

fn page(home: &Home) -> String {
    let ran = home.run(&["status", "--html", "-"]);
    assert_eq!((ran.code, ran.stderr.as_str()), (0, ""), "{ran:?}");
    well_formed(&ran.stdout);
    ran.stdout
}

/// Every element that is opened is closed, in order; and there is nothing that could load or run anything.
fn well_formed(html: &str) {
    let (_, body) = html.split_once("</style>").unwrap();
    let mut open = Vec::new();
    for part in body.split('<').skip(1) {
        let (tag, _) = part.split_once('>').unwrap_or_else(|| panic!("{part}"));
        let name = tag.trim_start_matches('/').split([' ', '\n', '/']).next().unwrap();
        assert!(
            [
                "body",
                "main",
                "footer",
                "header",
                "section",
                "h1",
                "h2",
                "h3",
                "p",
                "ul",
                "ol",
                "li",
                "div",
                "span",
                "code",
                "pre",
                "time",
                "svg",
                "line",
                "rect",
                "circle",
                "text",
                "figure",
                "figcaption",
                "details",
                "summary",
                "head",
                "html"
            ]
            .contains(&name),
            "{tag}"
        );
        // what stands in quotes is text
        let bare: String = tag.split('"').step_by(2).collect();
        assert!(
            !["on", "style=", "href", "src"]
                .iter()
                .any(|word| bare.contains(&format!(" {word}"))),
            "{tag}"
        );
        if tag.ends_with('/') {
            continue;
        }
        match tag.starts_with('/') {
            false => open.push(name),
            true if name == "head" => {}
            true if name == "html" => {}
            true => assert_eq!(open.pop(), Some(name), "{part}"),
        }
    }
    assert_eq!(open, [""; 0]);
    assert!(html.starts_with("<!doctype html>\n<html lang=\"en\">"));
    assert!(html.contains("default-src 'none'; style-src 'sha256-"));
    for outside in ["http:", "https:", "url(", "@import", "<script", "<img", "<link"] {
        assert!(!html.contains(outside), "{outside}");
    }
}

#[test]
fn it_shows_logins_agents_the_days_ahead_and_what_happened() {
    let home = home();
    home.run(&["run"]);
    let fine = page(&home);
    for said in [
        "<p class=\"state ok\">Nothing needs you</p>",
        "<h2 id=\"ahead\">Next 30 days</h2>",
        "aria-label=\"Timeline: claude until ",
        "<h3>claude</h3><span class=\"pill ok\">ok</span>",
        "17 d left · until <time datetime=\"20",
        "<p>Access token: 8 h left</p>",
        "<summary>The one agent is fine</summary>",
        "<h3>clawdbot/main</h3>",
        "aria-label=\"100 % of 8 h left\"",
        "name=\"viewport\" content=\"width=device-width, initial-scale=1\"",
    ] {
        assert!(fine.contains(said), "{said}:\n{fine}");
    }
    let text = credentials("1", now() - 2 * HOUR, Some(now() - HOUR)).to_string();
    home.write(".claude/.credentials.json", text);
    home.run(&["run"]);
    let lapsed = page(&home);
    for said in [
        "<p class=\"state bad\">1 thing needs you</p>",
        "<h3>Claude login <code>claude</code> has ended on ",
        "<pre><code>nolapse login --login claude</code></pre>",
        "<pre><code>claude setup-token</code></pre>",
        "<span class=\"pill bad\">expired</span>",
        "<span class=\"sr\">lapsed: </span>Claude login <code>claude</code> has ended",
    ] {
        assert!(lapsed.contains(said), "{said}:\n{lapsed}");
    }
}

#[test]
fn nothing_foreign_is_more_than_text() {
    let home = Home::new();
    let evil = "\"><script>alert(1)</script><img src=x onerror='x'>\u{1b}[2J\u{202e}&amp;";
    let name = "</title></style><svg onload=alert(1)>";
    home.config(&format!(
        "[renew]\nmode = \"off\"\n[[login]]\ndir = \"~/.claude-x\"\nname = '{name}'\n"
    ));
    let text = credentials("1", now() + HOUR, Some(now() + 4 * DAY)).to_string();
    home.write(".claude-x/.credentials.json", text);
    let id = format!("anthropic:{evil}");
    home.store(
        "main",
        json!({id.clone(): token("0", now() - DAY), "anthropic:`<i>`": token("2", now() + DAY)}),
    );
    home.write(".clawdbot/agents/torn/agent/auth-profiles.json", format!("{{\"{evil}"));
    let ran = home.run(&["run"]);
    assert_eq!(ran.code, 3, "{ran:?}");
    let line = json!({"at": now(), "what": evil, "whom": evil, "text": format!("`{evil}`"), "login": evil});
    let history = ".local/state/nolapse/history.jsonl";
    home.write(history, home.read(history) + &line.to_string() + "\n");
    let html = page(&home);
    assert!(
        html.contains("&quot;&gt;&lt;script&gt;alert(1)&lt;/script&gt;"),
        "{html}"
    );
    assert!(
        html.contains("&lt;/title&gt;&lt;/style&gt;&lt;svg onload=alert(1)&gt;"),
        "{html}"
    );
    assert!(!html.contains("<i>") && !html.contains("<b>"), "{html}");
    assert!(!html.contains('\u{1b}') && !html.contains('\u{202e}'), "{html}");
}

#[test]
fn a_thousand_agents_are_a_page_that_opens_on_a_phone() {
    let home = home();
    let profiles = |n: usize, end: i64| {
        let entry = |k: usize| (format!("anthropic:p{k}"), token(&format!("{n}-{k}"), end));
        (0..20).map(entry).collect::<serde_json::Map<_, _>>()
    };
    for n in 0..1000 {
        let end = if n % 5 == 0 { now() - HOUR } else { now() + 90 * DAY };
        home.store(&format!("a{n}"), profiles(n, end).into());
    }
    let html = page(&home);
    assert!(html.len() < 600_000, "{}", html.len());
    assert!(html.contains("and 100 more agents that are not fine"), "no bound");
    assert!(
        html.contains("<details><summary>801 others are fine</summary>"),
        "not collapsed"
    );
    assert!(html.contains("and 14 more profiles") && html.contains("and 18 more profiles"));
}

#[test]
fn the_file_is_replaced_in_one_step_and_keeps_its_mode() {
    let home = home();
    let path = home.at("page.html");
    let write = || {
        let ran = home.run(&["status", "--html", "page.html", "--check"]);
        assert_eq!((ran.code, ran.stdout.as_str(), ran.stderr.as_str()), (0, "", ""));
        std::fs::metadata(&path).unwrap()
    };
    let first = write();
    assert_eq!(first.mode() & 0o777, 0o600);
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
    let second = write();
    assert_eq!(second.mode() & 0o777, 0o644);
    assert_ne!(first.ino(), second.ino());
    well_formed(&home.read("page.html"));
    let ran = home.run(&["status", "--html", "none/page.html"]);
    assert!(ran.code == 3 && ran.stderr.contains("hint: name a file"), "{ran:?}");
    assert_eq!(home.run(&["status", "--html", "x", "--json"]).code, 3);
}
