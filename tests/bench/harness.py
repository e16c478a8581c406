"""Paired rounds: every method runs once a round, in turn, each in a process of its own; ratios are medians of each round's."""
import os
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DATA = ROOT / "target" / "bench"
LIBRARY = ROOT / "target" / "ext" / "release" / "libdbint.so"


def sh(command, **kwargs):
    subprocess.run(command, check=True, cwd=ROOT, **kwargs)


def build():
    """The library, and the generator of the data."""
    sh(["cargo", "ext", "--quiet"])
    sh(["cargo", "build", "--quiet", "--release", "-p", "dbint-tests", "--example", "gen"])
    DATA.mkdir(parents=True, exist_ok=True)


def gen(*args):
    sh([str(ROOT / "target/release/examples/gen"), *map(str, args)])


class Run:
    """One process: wall seconds, CPU seconds, and (watched) the most anonymous memory it held."""

    def __init__(self, command, watch=False):
        self.anonymous = 0
        start = time.perf_counter()
        child = subprocess.Popen(["bash", "-o", "pipefail", "-c", command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=DATA)
        if watch:
            threading.Thread(target=self.watch, args=(child.pid,), daemon=True).start()
        self.output = child.stdout.read()
        _, status, usage = os.wait4(child.pid, 0)
        self.wall = time.perf_counter() - start
        child.returncode = os.waitstatus_to_exitcode(status)
        self.cpu = usage.ru_utime + usage.ru_stime
        if child.returncode:
            raise SystemExit(f"failed ({child.returncode}): {command}\n{self.output}")

    def watch(self, pid):
        while True:
            try:
                for line in Path(f"/proc/{pid}/status").read_text().splitlines():
                    if line.startswith("RssAnon:"):
                        self.anonymous = max(self.anonymous, int(line.split()[1]))
            except OSError:
                return
            time.sleep(0.005)


class Method:
    def __init__(self, name, command, before=None, after=None, rounds=None, exact=True):
        self.name, self.command, self.before, self.after = name, command, before, after
        self.most = rounds
        self.exact = exact  # whether its result must be identical to the source
        self.walls = []


def compare(title, methods, rounds, verify=None):
    """methods[0] is the floor. Round 0 warms up, verifies and watches memory; it is not counted."""
    print(f"\n{title}", flush=True)
    verdicts, memory = {}, {}
    for n in range(rounds + 1):
        for m in methods:
            if m.most is not None and n > m.most:
                m.walls.append(None)
                continue
            if m.before:
                m.before()
            run = Run(m.command, watch=n == 0)
            if n == 0:
                memory[m.name] = run.anonymous
                if verify and m is not methods[0]:
                    verdicts[m.name] = verify()
                    if m.exact and verdicts[m.name] != "identical":
                        raise SystemExit(f"{title}, {m.name}: the result is {verdicts[m.name]}\n{run.output}")
            else:
                m.walls.append(run.wall)
            if m.after:
                m.after()
    floor = methods[0].walls
    print(f"  {'method':38} {'median s':>9} {'min':>8} {'max':>8} {'x floor':>8} {'RssAnon MB':>11}  result")
    for m in methods:
        done = [w for w in m.walls if w is not None]
        ratio = statistics.median(w / f for w, f in zip(m.walls, floor) if w is not None)
        print(
            f"  {m.name:38} {statistics.median(done):9.3f} {min(done):8.3f} {max(done):8.3f} {ratio:8.2f} {memory[m.name] / 1024:11.1f}  {verdicts.get(m.name, '')}",
            flush=True,
        )
    return methods


def fail(text):
    print(text, file=sys.stderr)
    raise SystemExit(2)
