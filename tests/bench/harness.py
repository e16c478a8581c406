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


def sh(command, cwd=ROOT, **kwargs):
    subprocess.run(command, check=True, cwd=cwd, **kwargs)


def build():
    """The library, and the generator of the data."""
    sh(["cargo", "ext", "--quiet"])
    sh(["cargo", "build", "--quiet", "--release", "-p", "dbint-tests", "--example", "gen"])
    DATA.mkdir(parents=True, exist_ok=True)


def gen(*args):
    sh([str(ROOT / "target/release/examples/gen"), *map(str, args)])


def floor():
    """What one scan costs in the same program with the same SQLite; gives the command that scans the session_tracking of files."""
    headers = ROOT / "target/clients/sqlite-newest/vendor/libsqlite3-sys/sqlite3"
    headers.exists() or fail(f"{headers} is missing: run tests/setup")
    sh(["cc", "-O2", "-shared", "-fPIC", "-I", str(headers), "-o", str(DATA / "floor.so"), "tests/bench/floor.c"])
    return lambda *files: "sqlite3 :memory: '.load ./floor' \"SELECT " + ", ".join(f"scan('{f}', 'session_tracking')" for f in files) + "\""


def table(kind, rows):
    """session_tracking with a random TEXT (A) or an INTEGER primary key (B), made once."""
    file = DATA / f"{kind}.{rows}.source.db"
    if not file.exists():
        print(f"making {file.name}", flush=True)
        gen("table", "text" if kind == "A" else "int", rows, file)
    return file


def version():
    return subprocess.run(["sqlite3", ":memory:", "SELECT sqlite_version()"], capture_output=True, text=True).stdout.strip()


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
        """The shell that starts it all holds little; what it starts is what counts."""
        while Path(f"/proc/{pid}").exists():
            self.anonymous = max(self.anonymous, sum(anonymous(p) for p in family(pid)))
            time.sleep(0.005)


def family(pid):
    """A process and all that it started."""
    try:
        children = [int(p) for t in Path(f"/proc/{pid}/task").iterdir() for p in (t / "children").read_text().split()]
    except OSError:
        return []
    return [pid] + [p for c in children for p in family(c)]


def anonymous(pid):
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in status.splitlines() if line.startswith("RssAnon:")), 0)


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
