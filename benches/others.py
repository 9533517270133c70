#!/usr/bin/env python3
"""The same in other languages: a cycle and a refused attempt, in turns with this crate.

    python3 benches/others.py            # others.json for table.py and plot.py

It needs network access (PyPI, npm) and, for Go, Debian's packages
golang-go and golang-github-nightlyone-lockfile-dev; who is missing is left out, and named. All is
installed in a temporary directory. Each peer is one process that does whole cycles in a loop, but for
flock(1), which is a process a cycle because that is how it is used.

A pid file in /dev/shm, as in cycle.rs; the owner of the busy one is this script, with a record
and an flock(2). PIDLOCKFILE_BENCH_SHORT=1 takes seconds.
"""

import fcntl
import json
import os
import random
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from table import directory, run

HERE = Path(__file__).resolve().parent
SHORT = "PIDLOCKFILE_BENCH_SHORT" in os.environ
ROUNDS = 5 if SHORT else 200
COUNT = 10 if SHORT else 50
NOTE = ("The floor: the bare calls. flock(1) is a process a cycle, the others do their cycles in one. "
        "Whether these keep processes apart is not tested here.")
FLOORS = {"cycle": "pidlockfile's calls, bare", "busy": "open + flock + read + close, bare"}


class Server:
    """A process that answers "WHAT COUNT PATH" with nanoseconds."""

    def __init__(self, version, command, **options):
        self.version = version
        self.process = subprocess.Popen(
            command, text=True, bufsize=1, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **options)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{self.process.args} ended: {line}")
        return float(answer)

    def measure(self, what, count, path):
        return self.ask(f"{what} {count} {path}")

    def end(self):
        self.process.stdin.close()
        self.process.wait()


class Ours(Server):
    """The bench itself; one process for this crate and for the floors."""

    def __init__(self, free, busy):
        bench = ["cargo", "bench", "--quiet", "--package", "pidlockfile-benches", "--", "serve"]
        super().__init__("", [*bench, free, busy], cwd=HERE.parent)

    def of(self, name):
        return lambda what, count, _: self.ask(f"{what}\t{name(what)}\t{count}")


def flock_1(what, count, path):
    started = time.perf_counter_ns()
    for _ in range(count):
        status = subprocess.run(["flock", "-n", path, "true"]).returncode
        assert (status == 0) == (what == "cycle")
    return (time.perf_counter_ns() - started) / count


def go(scratch):
    source = Path("/usr/share/gocode/src/github.com/nightlyone/lockfile")
    if not shutil.which("go") or not source.exists():
        raise FileNotFoundError("golang-go and golang-github-nightlyone-lockfile-dev")
    environment = os.environ | {
        "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOCACHE": str(scratch / "go")}
    program = scratch / "cycle-go"
    subprocess.run(["go", "build", "-o", program, HERE / "others/cycle.go"], env=environment, check=True)
    package = run("dpkg-query", "-W", "-f", "${Version}", "golang-github-nightlyone-lockfile-dev")
    return Server(f"{package}, {run('go', 'version').split()[2]}", [program])


def python(package):
    def start(scratch):
        venv = scratch / "venv"
        if not venv.exists():
            subprocess.run([sys.executable, "-m", "venv", venv], check=True)
        subprocess.run([venv / "bin/pip", "--quiet", "--disable-pip-version-check", "install", package],
                       check=True)
        code = f"import importlib.metadata as m; print(m.version('{package}'))"
        version = f"{run(venv / 'bin/python', '-c', code)}, Python {sys.version.split()[0]}"
        return Server(version, [venv / "bin/python", HERE / "others/cycle.py", package])
    return start


def npm(scratch):
    where = scratch / "npm"
    where.mkdir()
    subprocess.run(["npm", "install", "--silent", "--prefix", where, "proper-lockfile"],
                   check=True, stdout=subprocess.DEVNULL)
    manifest = json.loads((where / "node_modules/proper-lockfile/package.json").read_text())
    shutil.copy(HERE / "others/cycle.js", where)
    return Server(f"{manifest['version']}, Node {run('node', '--version')}", ["node", where / "cycle.js"])


def hold(path):
    """Locks PATH as a peer of every kind would find it locked."""
    owner = open(path, "w")
    fcntl.flock(owner, fcntl.LOCK_EX)
    owner.write(f"{os.getpid()}\n")
    owner.flush()
    # proper-lockfile goes by a directory beside the path, and by how recent it is.
    os.mkdir(f"{path}.lock")
    return owner


def seen(server, free):
    """What the lock leaves to be seen after a cycle: whether the file is removed."""
    server("cycle", 1, free)
    return "no" if list(free.parent.iterdir()) else "yes"


def main():
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name, tempfile.TemporaryDirectory() as scratch:
        place, scratch = Path(name), Path(scratch)
        busy = place / "busy.pid"
        owner = hold(busy)
        ours = Ours(place / "free.pid", busy)
        candidates = {
            "floor": ours.of(lambda what: FLOORS[what]),
            "pidlockfile": ours.of(lambda _: "pidlockfile"),
        }
        versions, servers = {}, [ours]
        starters = {
            "Go nightlyone/lockfile": go,
            "Python filelock": python("filelock"),
            "Python portalocker": python("portalocker"),
            "npm proper-lockfile": npm,
        }
        for peer, start in starters.items():
            try:
                server = start(scratch)
            except (FileNotFoundError, subprocess.CalledProcessError) as error:
                print(f"left out: {peer}: {error}", file=sys.stderr)
                continue
            servers.append(server)
            candidates[peer], versions[peer] = server.measure, server.version
        if shutil.which("flock"):
            candidates["flock(1), a process a cycle"] = flock_1
            versions["flock(1), a process a cycle"] = re.sub(r"^.* ", "", run("flock", "--version"))

        rows = []
        removed = {}
        for peer, server in candidates.items():
            free = place / peer.replace("/", "").replace(" ", "") / "test.pid"
            free.parent.mkdir()
            removed[peer] = "" if peer == "floor" else "yes" if peer == "pidlockfile" else seen(server, free)
        times = race(candidates, place, busy)
        for peer in candidates:
            row = {"name": peer, "version": versions.get(peer, ""), "file removed": removed[peer]}
            for what in FLOORS:
                mine = times[what][peer]
                row[what] = {
                    "median_ns": statistics.median(mine),
                    "to_floor": ratio(mine, times[what]["floor"]),
                    "to_ours": ratio(mine, times[what]["pidlockfile"]),
                    "ours_to_it": ratio(times[what]["pidlockfile"], mine),
                }
            rows.append(row)
        for server in servers:
            server.end()
        owner.close()

    result = {"title": "Other languages", "note": NOTE, "order": 100, "place": "tmpfs", "rounds": ROUNDS, "rows": rows}
    directory().mkdir(parents=True, exist_ok=True)
    (directory() / "others.json").write_text(json.dumps(result, indent=2) + "\n")


def race(candidates, place, busy):
    """In turns, in another order each round; ratios are taken within a round."""
    times = {what: {peer: [] for peer in candidates} for what in FLOORS}
    order = list(candidates)
    for _ in range(ROUNDS):
        random.shuffle(order)
        for what in FLOORS:
            for peer in order:
                free = place / peer.replace("/", "").replace(" ", "") / "test.pid"
                if what == "busy":
                    os.utime(f"{busy}.lock")  # proper-lockfile takes an old one for stale
                path = busy if what == "busy" else free
                count = COUNT
                if "flock(1)" in peer:
                    count = 2
                else:
                    candidates[peer](what, 5, path)  # its caches are cold after the others' turns
                times[what][peer].append(candidates[peer](what, count, path))
    return times


def ratio(mine, theirs):
    return statistics.median(a / b for a, b in zip(mine, theirs))


if __name__ == "__main__":
    main()
