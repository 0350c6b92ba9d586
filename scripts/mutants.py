"""Changes the program in thousands of small ways and says which changes no test notices.

cargo-mutants says what to change. One build for each change would take days, so all of them are built into one program: each
waits for its number, which is read from a resource limit, because that is what every child inherits whatever becomes of its
environment. What was built says first which tests reach which change; only those run against it, quickest first, until one fails.
"""

import argparse
import collections
import concurrent.futures
import fnmatch
import json
import os
import pathlib
import re
import resource
import shutil
import signal
import struct
import subprocess
import sys
import tempfile
import threading
import time

import tree_sitter
import tree_sitter_rust

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK = ROOT / "target" / "mutants"
KNOWN = ROOT / "tests" / "survivors.txt"

# what decides or guards; the rest shows, prints or describes
DECIDES = """
    src/act.rs src/by_hand.rs src/cause.rs src/deliver.rs src/heard.rs src/judge.rs src/json.rs src/ledger.rs src/note.rs
    src/pass.rs src/remotes.rs src/edge/locks.rs src/edge/replace.rs src/edge/target.rs src/edge/identity.rs
    src/look/reach.rs src/look/writable.rs src/renew/*.rs src/rules/*.rs src/rules/doctor/*.rs
    src/sources/claude.rs src/sources/owner.rs src/sources/save.rs src/stores/store.rs src/stores/aside.rs
""".split()

RUNTIME = '''//! Which change is on: a number in a resource limit that nothing else uses.
#![allow(missing_docs, clippy::all)]
use std::io::Write;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

const RECORD: u64 = 400_000;
const MANY: u64 = 600_000;
struct Mode { change: u64, many: Vec<bool>, record: Option<std::fs::File> }
static MODE: OnceLock<Mode> = OnceLock::new();
static REACHED: [AtomicBool; COUNT] = [const { AtomicBool::new(false) }; COUNT];

fn mode() -> &'static Mode {
    MODE.get_or_init(|| {
        let soft = rustix::process::getrlimit(rustix::process::Resource::Msgqueue).current.unwrap_or(0);
        let many = (soft > MANY && soft < 800_000).then(|| {
            let mut on = vec![false; COUNT];
            let text = std::fs::read_to_string(format!("DIR/{soft}")).unwrap_or_default();
            for n in text.split_whitespace() { on[n.parse::<usize>().unwrap_or(0)] = true }
            on
        });
        let record = (soft > RECORD && soft < MANY).then(|| {
            let path = format!("DIR/{}", soft - RECORD);
            std::fs::OpenOptions::new().append(true).open(path).ok()
        });
        Mode { change: if soft < RECORD { soft } else { 0 }, many: many.unwrap_or_default(), record: record.flatten() }
    })
}
fn reach(n: usize) {
    let mode = mode();
    if let Some(mut file) = mode.record.as_ref() {
        if !REACHED[n].swap(true, Ordering::Relaxed) {
            let _ = file.write_all(&(n as u32).to_ne_bytes());
        }
    }
}
#[inline]
pub(crate) fn on(n: usize) -> bool {
    reach(n);
    let mode = mode();
    mode.change == n as u64 || mode.many.get(n).is_some_and(|on| *on)
}
/// A guard that may be held for true or false; each is reached where it would change something.
pub(crate) fn guard(always: usize, never: usize, value: bool) -> bool {
    if value {
        if never != 0 && on(never) { return false }
    } else if always != 0 && on(always) { return true }
    value
}
/// An order; what is said of it changes only where the other order says something else.
pub(crate) fn order<T: PartialOrd + ?Sized>(a: &T, b: &T, is: &str, others: &[(usize, &str)]) -> bool {
    let say = |how: &str| match how { "<" => a < b, "<=" => a <= b, ">" => a > b, ">=" => a >= b, "==" => a == b, _ => a != b };
    let value = say(is);
    for (n, how) in others {
        let other = say(how);
        if other != value && on(*n) { return other }
    }
    value
}
'''


def run(*words, **more):
    return subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True, **more).stdout


class Mutant:
    def __init__(self, number, said):
        self.number, self.said = number, said
        self.file, self.genre, self.into = said["file"], said["genre"], said["replacement"]
        self.what = re.sub(r"^\S+?:\d+:\d+: ", "", said["name"])
        self.line = said["span"]["start"]["line"]
        self.why = None  # why it was not built
        self.caught = None
        self.tests, self.asked = set(), set()

    def key(self):
        return f"{self.file} | {self.what} | {self.text}"


def listed(changed):
    words = ["cargo", "mutants", "--list", "--json"]
    if changed:
        with tempfile.NamedTemporaryFile("w", suffix=".diff") as diff:
            diff.write(run("git", "diff", "-U0", changed, "--", "src"))
            diff.flush()
            said = json.loads(run(*words, "--in-diff", diff.name) or "[]")
    else:
        said = json.loads(run(*words))
    found, seen = [], collections.Counter()
    lines = {}
    for one in said:
        mutant = Mutant(len(found) + 1, one)
        if mutant.file not in lines:
            lines[mutant.file] = (ROOT / mutant.file).read_text().split("\n")
        mutant.text = " ".join(lines[mutant.file][mutant.line - 1].split())
        seen[mutant.key()] += 1
        if seen[mutant.key()] > 1:
            mutant.text += f" ({seen[mutant.key()]})"
        if mutant.genre == "FnValue" and "impl " in said_type(one):
            mutant.why = "another type than the function's"
        found.append(mutant)
    return found


def said_type(one):
    return (one["function"] or {}).get("return_type") or ""


class File:
    """One source file with all of its changes built in, each between marks by which an error finds it."""

    PARSER = tree_sitter.Parser(tree_sitter.Language(tree_sitter_rust.language()))

    def __init__(self, name, mutants):
        self.name, self.mutants = name, mutants
        self.source = (ROOT / name).read_bytes()
        self.lines = self.source.split(b"\n")
        self.starts = [0]
        for line in self.lines:
            self.starts.append(self.starts[-1] + len(line) + 1)
        self.tree = self.PARSER.parse(self.source)
        self.plain = set()  # changes that are built the long way: their order is not that of one type

    def at(self, place):
        line = self.lines[place["line"] - 1].decode()
        return self.starts[place["line"] - 1] + len(line[: place["column"] - 1].encode())

    def out(self):
        self.points = collections.defaultdict(list)
        for mutant in self.mutants:
            if mutant.why is None:
                self.points[self.at(mutant.said["span"]["start"])].append(mutant)
        self.used = set()
        text = self.emit(self.tree.root_node)
        for mutant in self.mutants:
            if mutant.why is None and mutant.number not in self.used:
                mutant.why = "not in a place that can be changed while it runs"
        return text

    def here(self, place, genre):
        found = [m for m in self.points.get(place, ()) if m.genre == genre and m.number not in self.used]
        self.used.update(m.number for m in found)
        return found

    @staticmethod
    def mark(numbers, text):
        name = ",".join(str(n) for n in numbers)
        return f"/*<{name}*/{text}/*>{name}*/"

    def children(self, node):
        text, place = [], node.start_byte
        for child in node.children:
            text.append(self.source[place : child.start_byte].decode())
            text.append(self.emit(child))
            place = child.end_byte
        text.append(self.source[place : node.end_byte].decode())
        return "".join(text)

    def emit(self, node):
        if node.type in ("token_tree", "macro_invocation", "const_item", "static_item") or node.child_count == 0:
            return self.source[node.start_byte : node.end_byte].decode()
        if node.type == "function_item" and any(
            child.type == "function_modifiers" and b"const" in child.text.split() for child in node.children
        ):
            return self.source[node.start_byte : node.end_byte].decode()
        kind = getattr(self, "on_" + node.type, None)
        return (kind(node) if kind else None) or self.children(node)

    def on_block(self, node):
        parent = node.parent
        if parent is None or parent.type != "function_item":
            return None
        first = next((c for c in node.named_children if c.type not in ("line_comment", "block_comment")), None)
        if first is None:
            return None
        found = self.here(first.start_byte, "FnValue")
        if not found:
            return None
        begin = "".join(self.mark([m.number], f"if crate::mutants::on({m.number}) {{ return {m.into}; }} ") for m in found)
        return "{ " + begin + self.children(node)[1:]

    def binary(self, node):
        operator = node.child_by_field_name("operator")
        left, right = node.child_by_field_name("left"), node.child_by_field_name("right")
        if operator is None or any(c.type in ("let_chain", "let_condition") for c in (left, right)):
            return None
        found = self.here(operator.start_byte, "BinaryOperator")
        if not found:
            return None
        a, b, sign = self.emit(left), self.emit(right), operator.type
        numbers = [m.number for m in found]
        if len(found) == 1:
            on = f"crate::mutants::on({numbers[0]})"
            pair = (sign, found[0].into)
            text = {
                ("&&", "||"): f"(if ({a}) != {on} {{ {b} }} else {{ {on} }})",
                ("||", "&&"): f"(if ({a}) == {on} {{ {b} }} else {{ !{on} }})",
                ("==", "!="): f"(({a} == {b}) != {on})",
                ("!=", "=="): f"(({a} != {b}) != {on})",
            }.get(pair)
            if text:
                return self.mark(numbers, text)
        if sign in ("<", ">", "<=", ">=") and not self.plain & set(numbers):
            others = ", ".join(f'({m.number}, "{m.into}")' for m in found)
            return self.mark(numbers, f'crate::mutants::order(&({a}), &({b}), "{sign}", &[{others}])')
        ways = "".join(
            self.mark([m.number], f"if crate::mutants::on({m.number}) {{ ({a}) {m.into} ({b}) }} else ") for m in found
        )
        return self.mark(numbers, f"({ways}{{ ({a}) {sign} ({b}) }})")

    on_binary_expression = on_compound_assignment_expr = binary

    def on_unary_expression(self, node):
        found = self.here(node.start_byte, "UnaryOperator")
        if not found:
            return None
        sign, inner = node.children[0].type, self.emit(node.children[-1])
        number = found[0].number
        if sign == "!":
            return self.mark([number], f"((!({inner})) != crate::mutants::on({number}))")
        return self.mark([number], f"(if crate::mutants::on({number}) {{ {inner} }} else {{ {sign}({inner}) }})")

    def on_match_arm(self, node):
        pattern, value = node.child_by_field_name("pattern"), node.child_by_field_name("value")
        condition = pattern.child_by_field_name("condition")
        if condition is not None and condition.type in ("let_chain", "let_condition"):
            return None
        gone = self.here(node.start_byte, "MatchArm")
        guards = self.here(condition.start_byte, "MatchArmGuard") if condition is not None else []
        if not gone and not guards:
            return None
        numbers = [m.number for m in gone + guards]
        text = self.emit(condition) if condition is not None else "true"
        if guards:
            both = {m.into: m.number for m in guards}
            text = f"crate::mutants::guard({both.get('true', 0)}, {both.get('false', 0)}, {text})"
        if gone:
            text = f"({text}) && !crate::mutants::on({gone[0].number})"
        end = condition.prev_sibling.start_byte if condition is not None else pattern.end_byte
        head = self.source[node.start_byte : end].decode()
        between = self.source[pattern.end_byte : value.start_byte].decode()
        rest = self.source[value.end_byte : node.end_byte].decode()
        return head + " if " + self.mark(numbers, text) + between + self.emit(value) + rest

    def on_match_expression(self, node):
        """Marks the whole: what lacks an arm is blamed on the match, not on the arm."""
        arms = [c for c in node.child_by_field_name("body").children if c.type == "match_arm"]
        numbers = [m.number for arm in arms for m in self.points.get(arm.start_byte, ()) if m.genre == "MatchArm"]
        if not numbers:
            return None
        name = ",".join(str(n) for n in numbers)
        return f"/*{{{name}*/{self.children(node)}/*}}{name}*/"

    def field(self, node):
        found = self.here(node.start_byte, "StructField")
        base = next((c for c in node.parent.children if c.type == "base_field_initializer"), None)
        if not found or base is None:
            return None
        if node.type == "shorthand_field_initializer":
            name = node.text.decode()
            value = name
        else:
            name = node.child_by_field_name("field").text.decode()
            value = self.emit(node.child_by_field_name("value"))
        other = base.children[-1].text.decode()
        number = found[0].number
        return f"{name}: " + self.mark([number], f"if crate::mutants::on({number}) {{ ({other}).{name} }} else {{ {value} }}")

    on_field_initializer = on_shorthand_field_initializer = field


def blame(text, place, missing_arm):
    """The numbers of the innermost marks around a place."""
    stack = []
    for found in re.finditer(rb"/\*([{}])([\d,]+)\*/" if missing_arm else rb"/\*([<>])([\d,]+)\*/", text):
        if found.start() > place:
            break
        if found[1] in b"<{":
            stack.append(found[2])
        else:
            stack.pop()
    return [int(n) for n in stack[-1].split(b",")] if stack else []


class Tree:
    def __init__(self, mutants):
        self.mutants = mutants
        self.dir = WORK / "tree"
        self.reached = WORK / "reached"
        files = collections.defaultdict(list)
        for mutant in mutants:
            files[mutant.file].append(mutant)
        files.pop("src/main.rs", None)
        self.files = {name: File(name, found) for name, found in files.items()}
        for mutant in mutants:
            if mutant.file not in self.files:
                mutant.why = "the binary's own file"

    def write(self, path, text):
        path.parent.mkdir(parents=True, exist_ok=True)
        if not path.exists() or path.read_bytes() != text:
            path.write_bytes(text)

    def lay(self):
        shutil.rmtree(self.reached, ignore_errors=True)
        self.reached.mkdir(parents=True)
        self.reached.chmod(0o777)
        kept = {"src/mutants.rs"}
        for name in run("git", "ls-files", "-z", "--cached", "--others", "--exclude-standard").split("\0"):
            source = ROOT / name
            if not name or not source.is_file():
                continue
            kept.add(name)
            if name == "src/lib.rs":
                text = source.read_bytes().replace(b"\npub mod cause;", b"\nmod mutants;\npub mod cause;", 1)
                self.write(self.dir / name, text)
            elif name not in self.files:
                self.write(self.dir / name, source.read_bytes())
                if os.access(source, os.X_OK):
                    (self.dir / name).chmod(0o755)
        for path in (self.dir / "src").rglob("*.rs"):
            if str(path.relative_to(self.dir)) not in kept:
                path.unlink()
        runtime = RUNTIME.replace("COUNT", str(len(self.mutants) + 1)).replace("DIR", str(self.reached))
        self.write(self.dir / "src/mutants.rs", runtime.encode())

    def build(self):
        """Builds all, dropping what does not compile, until it does; answers the test binaries."""
        by_number = {m.number: m for m in self.mutants}
        environment = dict(os.environ, CARGO_TARGET_DIR=str(WORK / "build"), CARGO_INCREMENTAL="1")
        flags = "--cap-lints=warn -Awarnings"
        environment["RUSTFLAGS"] = flags
        environment["CARGO_PROFILE_TEST_DEBUG"] = environment["CARGO_PROFILE_DEV_DEBUG"] = "0"
        # what did not compile before is not tried again, as long as its line is the same
        cache = WORK / "does-not-compile.json"
        before = json.loads(cache.read_text()) if cache.exists() else {}
        for mutant in self.mutants:
            if before.get(mutant.key()) == "plain":
                self.files[mutant.file].plain.add(mutant.number)
            elif mutant.key() in before and mutant.why is None:
                mutant.why = "does not compile"
        # what does not compile is said before code is made of it; the dependencies are built once
        what = ["build", "--lib"]
        while True:
            for file in self.files.values():
                self.write(self.dir / file.name, file.out().encode())
            done = subprocess.run(
                ["cargo", *what, "--quiet", "--locked", "--message-format=json"],
                cwd=self.dir, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False,
            )
            if done.returncode == 0 and what[0] == "build":
                what = ["test", "--no-run", "--lib", "--test", "it"]
                continue
            if done.returncode == 0:
                break
            dropped, lost = set(), []
            for line in done.stdout.splitlines():
                said = json.loads(line)
                if said["reason"] != "compiler-message" or said["message"]["level"] != "error":
                    continue
                found = set()
                missing_arm = (said["message"]["code"] or {}).get("code") == "E0004"
                spans = sorted(said["message"]["spans"], key=lambda s: not s["is_primary"])
                for span in spans:
                    while span.get("expansion"):
                        span = span["expansion"]["span"]
                    path = self.dir / span["file_name"]
                    if span["file_name"] not in self.files:
                        continue
                    numbers = blame(path.read_bytes(), span["byte_start"], missing_arm)
                    if numbers:
                        found.update(numbers)
                        break
                if not found and spans:
                    lost.append(said["message"]["rendered"])
                dropped |= found
            print(f"{len(dropped)} changes do not compile, {len(lost)} errors without a change", file=sys.stderr)
            if not dropped:
                sys.exit("the tree does not build:\n" + done.stderr[-3000:] + "\n".join(lost[:5]))
            for number in dropped:
                mutant = by_number[number]
                file = self.files[mutant.file]
                if mutant.genre == "BinaryOperator" and number not in file.plain and mutant.said["replacement"] in "<>===!=":
                    file.plain.add(number)
                    before[mutant.key()] = "plain"
                else:
                    mutant.why = before[mutant.key()] = "does not compile"
            cache.write_text(json.dumps(before, indent=0))
        found = []
        for line in done.stdout.splitlines():
            said = json.loads(line)
            if said["reason"] == "compiler-artifact" and said.get("executable") and said["profile"]["test"]:
                found.append(said["executable"])
        return found


class Tests:
    def __init__(self, tree, binaries):
        self.tree, self.all = tree, []
        for binary in binaries:
            said = subprocess.run(
                [binary, "--list", "--format=terse"], cwd=tree.dir, stdout=subprocess.PIPE, text=True, check=True
            ).stdout
            self.all += [(binary, name[: -len(": test")]) for name in said.splitlines() if name.endswith(": test")]
        self.took, self.passes, self.lock, self.sets = {}, {}, threading.Lock(), 0

    def once(self, test, number, limit):
        """Runs a test with a change on; answers whether it passed, and how long it took."""
        binary, name = test
        hard = resource.getrlimit(resource.RLIMIT_MSGQUEUE)[1]
        begun = time.monotonic()

        def begin():
            resource.setrlimit(resource.RLIMIT_MSGQUEUE, (number, hard))
            # a shell ignores these for what it starts in the background
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            signal.signal(signal.SIGQUIT, signal.SIG_DFL)

        home = tempfile.mkdtemp(prefix="mutant-")
        os.chmod(home, 0o1777)
        child = subprocess.Popen(
            [binary, "--exact", name, "--test-threads=1"],
            cwd=self.tree.dir,
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            start_new_session=True,
            env=dict(os.environ, TMPDIR=home, CARGO_MANIFEST_DIR=str(self.tree.dir)),
            preexec_fn=begin,
        )
        try:
            passed = child.wait(limit) == 0
        except subprocess.TimeoutExpired:
            passed = False
        finally:
            try:
                os.killpg(child.pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
            child.wait()
            shutil.rmtree(home, ignore_errors=True)
        return passed, time.monotonic() - begun

    def look(self, tests, jobs):
        """What each reaches without any change, whether it passes, and how long it takes."""
        def one(index):
            path = self.tree.reached / str(index + 1)
            path.touch()
            path.chmod(0o666)
            passed, took = self.once(tests[index], 400_001 + index, 240)
            data = path.read_bytes()
            return tests[index], passed, took, {n for (n,) in struct.iter_unpack("=I", data[: len(data) // 4 * 4])}

        with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
            return list(pool.map(one, range(len(tests))))

    def fails(self, test, numbers):
        """Whether a test fails with these changes on; one that fails is asked twice."""
        limit = 15 + 5 * self.took[test]
        with self.lock:
            self.sets += 1
            value = 600_001 + self.sets % 190_000
        path = self.tree.reached / str(value)
        path.write_text(" ".join(str(n) for n in numbers))
        try:
            for _ in range(2):
                passed, took = self.once(test, value, limit)
                if passed:
                    return False
                if took >= limit:
                    break
            return self.sound(test)
        finally:
            path.unlink()

    def sound(self, test):
        """Whether a test still passes without any change; asked once, when it first fails."""
        with self.lock:
            known = test in self.passes
        if not known:
            passed = self.once(test, 0, 240)[0] or self.once(test, 0, 240)[0]
            if not passed:
                print(f"not asked: {test[1]} fails without a change", file=sys.stderr, flush=True)
            with self.lock:
                self.passes[test] = passed
        return self.passes[test]


def alone(tests, wanted, jobs, budget, report):
    """Runs each change against what reaches it, for a while. Tests that noticed others of the same function come first."""
    notices = collections.defaultdict(collections.Counter)

    def one(mutant):
        function = (mutant.file, (mutant.said["function"] or {}).get("function_name"))
        with tests.lock:
            near, wide = notices[function].copy(), notices[mutant.file].copy()
        order = sorted(mutant.tests - mutant.asked, key=lambda t: tests.took[t] / (1 + 4 * near[t] + wide[t]))
        begun = time.monotonic()
        for test in (test for test in order if tests.took[test] <= budget):
            if time.monotonic() - begun > budget:
                break
            mutant.asked.add(test)
            if tests.fails(test, [mutant.number]):
                mutant.caught = test[1]
                with tests.lock:
                    notices[function][test] += 1
                    notices[mutant.file][test] += 1
                break
        return mutant

    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for mutant in pool.map(one, wanted):
            report(mutant)


def together(tests, wanted, jobs, report):
    """What is left, many at a time: where a test passes with all of them on, it notices none of them."""
    def halves(test, group):
        group = [m for m in group if m.caught is None]
        if not group or not tests.fails(test, [m.number for m in group]):
            return
        if len(group) == 1:
            group[0].caught = test[1]
            report(group[0])
            return
        middle = len(group) // 2
        halves(test, group[:middle])
        halves(test, group[middle:])

    def one(test):
        open_ = [m for m in wanted if m.caught is None and test in m.tests and test not in m.asked]
        # two changes of one line could undo one another
        while open_:
            group, later, lines = [], [], set()
            for mutant in open_:
                place = (mutant.file, mutant.line)
                (later if place in lines else group).append(mutant)
                lines.add(place)
            halves(test, group)
            open_ = later
        return test

    every = sorted({test for m in wanted if m.caught is None for test in m.tests - m.asked}, key=lambda t: tests.took[t])
    with concurrent.futures.ThreadPoolExecutor(jobs) as pool:
        for count, test in enumerate(pool.map(one, every), 1):
            left = sum(m.caught is None for m in wanted)
            print(f"{count} of {len(every)} tests: {left} changes left, {test[1]}", file=sys.stderr, flush=True)


def known():
    """Why what survives may: `file | change | line || reason`."""
    found = {}
    if KNOWN.exists():
        for line in KNOWN.read_text().splitlines():
            if line and not line.startswith("#"):
                key, reason = line.rsplit(" || ", 1)
                found[key] = reason
    return found


def looked(tests, mutants, jobs, anew):
    """What the tests reach. What is known of a test from before is kept, unless it is to be found anew: a change that it has come to
    reach since is then not asked of it, which can only leave a change unnoticed."""
    file = WORK / "look.json"
    said = {} if anew or not file.exists() else json.loads(file.read_text())
    by_name = {test[1]: test for test in tests.all}
    # unit tests are quick: what a changed one reaches is found anew
    new = [name for name, (binary, _) in by_name.items() if name not in said or "/nolapse-" in binary]
    by_number = {m.number: m.key() for m in mutants}
    for test, passed, took, numbers in tests.look([by_name[name] for name in new], jobs):
        said[test[1]] = {"passed": passed, "took": took, "reached": [by_number[n] for n in numbers]}
    file.write_text(json.dumps(said))
    by_key = {m.key(): m for m in mutants}
    for name, one in said.items():
        if name in by_name and one["passed"]:
            tests.took[by_name[name]] = one["took"]
            for key in one["reached"]:
                if key in by_key:
                    by_key[key].tests.add(by_name[name])
    return [name for name in by_name if not said[name]["passed"]]


def table(mutants, reasons):
    """A row for each module: what was built, what a test noticed, what survives for a reason, and what for none."""
    rows = collections.defaultdict(collections.Counter)
    for mutant in mutants:
        state = "noticed" if mutant.caught else "explained" if mutant.key() in reasons else "unexplained"
        for name in (mutant.file, "all"):
            rows[name][state] += 1
            rows[name]["tried"] += 1
    print("| module | tried | noticed | explained | unexplained | |\n| --- | ---: | ---: | ---: | ---: | ---: |")
    for name, row in sorted(rows.items(), key=lambda pair: (pair[0] == "all", pair[0])):
        counts = " | ".join(str(row[state]) for state in ("tried", "noticed", "explained", "unexplained"))
        print(f"| {name.removeprefix('src/').removesuffix('.rs')} | {counts} | {100 * row['noticed'] / row['tried']:.1f} % |")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--changed", metavar="REV", help="only lines that differ from this revision")
    parser.add_argument("--file", action="append", help="these files (patterns) instead of all that decides or guards")
    parser.add_argument("--shard", default="1/1", metavar="K/N", help="every Nth change, from the Kth")
    # most tests wait for something
    parser.add_argument("--jobs", type=int, default=2 * (os.cpu_count() or 1))
    parser.add_argument("--alone", type=float, default=6, metavar="SECONDS", help="for each change by itself")
    parser.add_argument("--resume", action="store_true", help="what the run before saw and noticed stands")
    args = parser.parse_args()

    mutants = listed(args.changed)
    tree = Tree(mutants)
    tree.lay()
    begun = time.monotonic()
    tests = Tests(tree, tree.build())
    built = [m for m in mutants if m.why is None]
    print(f"{len(built)} of {len(mutants)} changes built in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
    begun = time.monotonic()
    broken = looked(tests, built, args.jobs + 1, not args.resume)
    print(
        f"{len(tests.all)} tests in {time.monotonic() - begun:.0f} s; not asked: {', '.join(broken) or 'none'}",
        file=sys.stderr, flush=True,
    )
    part, parts = (int(n) for n in args.shard.split("/"))
    wanted = [m for m in built if any(fnmatch.fnmatch(m.file, p) for p in args.file or DECIDES)][part - 1 :: parts]
    begun = time.monotonic()
    results, asked, passed = WORK / "result.jsonl", WORK / "asked.json", {}
    if args.resume and results.exists():
        noticed = {row["key"]: row["by"] for row in map(json.loads, results.read_text().splitlines()) if row["by"]}
        passed = json.loads(asked.read_text()) if asked.exists() else {}
        by_name = {test[1]: test for test in tests.all}
        for mutant in wanted:
            mutant.caught = noticed.get(mutant.key())
            mutant.asked = {by_name[name] for name in passed.get(mutant.key(), ()) if name in by_name}
    with open(results, "a" if args.resume else "w") as out:
        count = 0

        def report(mutant):
            nonlocal count
            count += 1
            row = {"key": mutant.key(), "line": mutant.line, "by": mutant.caught, "reached": len(mutant.tests)}
            with tests.lock:
                out.write(json.dumps(row) + "\n")
                out.flush()
            if count % 100 == 0:
                print(f"{count} of {len(wanted)} in {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)

        alone(tests, [m for m in wanted if m.caught is None], args.jobs, args.alone, report)
        left = sum(m.caught is None for m in wanted)
        print(f"alone: {left} of {len(wanted)} left after {time.monotonic() - begun:.0f} s", file=sys.stderr, flush=True)
        together(tests, wanted, args.jobs, report)
    survived = {m.key(): sorted(test[1] for test in m.tests | m.asked) for m in wanted if m.caught is None}
    asked.write_text(json.dumps({**passed, **survived}))
    print(f"{len(wanted)} changes in {time.monotonic() - begun:.0f} s", file=sys.stderr)
    reasons = known()
    table(wanted, reasons)
    lost = [m for m in wanted if m.caught is None and m.key() not in reasons]
    for mutant in lost:
        print(f"{mutant.file}:{mutant.line}: {mutant.key().split(' | ', 1)[1]}")
    if not args.changed and not args.file and parts == 1:
        alive = {m.key() for m in wanted if m.caught is None}
        for key in sorted(set(reasons) - alive):
            print(f"no longer survives: {key}")
            lost.append(key)
    sys.exit(1 if lost else 0)


if __name__ == "__main__":
    main()
