"""The writers behind scripts/check-writers: homes with one store each, an agent that adds keys, and a sync that never rests."""

import concurrent.futures
import json
import os
import pathlib
import random
import subprocess
import sys
import threading
import time

binary, work = sys.argv[1], pathlib.Path(sys.argv[2])
keys, ms, homes = (int(os.environ.get(name, default)) for name, default in (("KEYS", 1000), ("MS", 300), ("HOMES", 20)))


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
    environment = {"HOME": str(root), "PATH": "/usr/bin:/bin", "LD_PRELOAD": str(work / "disk.so"), "DISK_FSYNC_MS": str(ms)}
    count = keys // homes
    writer = threading.Thread(target=agent, args=(store, count, chance))
    writer.start()
    passes = written = crowded = 0
    while writer.is_alive():
        passes += 1
        # a new access token each time, so that there is something to write
        write(root / ".claude/.credentials.json", json.dumps({"claudeAiOauth": {
            "accessToken": f"ACCESS-{passes}", "refreshToken": f"REFRESH-{passes}", "expiresAt": end + passes, "scopes": ["user:inference"]}}))
        ran = subprocess.run([binary, "sync"], env=environment, cwd=root, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        written += "brought up to date" in ran.stdout
        crowded += "each time" in ran.stdout
    there = read(store)["profiles"]
    lost = [n for n in range(count) if f"openai:key-{n}" not in there]
    return count, len(lost), passes, written, crowded


def main():
    begun = time.time()
    with concurrent.futures.ThreadPoolExecutor(homes) as pool:
        results = list(pool.map(home, range(homes)))
    count, lost, passes, written, crowded = (sum(column) for column in zip(*results))
    print(f"{count} keys, {lost} lost; {passes} passes, {written} wrote, {crowded} left it to the next one, since the agent wrote each time; "
          f"fsync {ms} ms, {time.time() - begun:.0f} s")
    sys.exit(1 if lost or not written else 0)


main()
