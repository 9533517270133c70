"""Drives tests/faults.sh: one fault at a time in a peer that locks or unlocks, and what comes of it.

First a clean run of each scenario under strace lists its system calls. Then, for each call and each fault, a new
peer meets that fault at that call. Afterwards: a clear answer, never a false success, no panic, no hang; a rival
is refused as long as the peer holds the lock and gets it at once when it does not; nothing is left.
"""

import collections
import concurrent.futures
import itertools
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

IT = sys.argv[1]
ERRORS = "EINTR EIO ENOSPC EDQUOT EMFILE ENOLCK EOPNOTSUPP ENOSYS ESTALE EROFS EACCES EPERM ENOENT".split()
FAULTS = ERRORS + ["delay", "KILL"]
# Generous: nothing here waits, so only a hang takes so long.
PATIENCE_SECONDS = 20
DEAD_PID = 2_000_000_000

# The allocator, the runtime and the pipe to this script are not the lock's. A call that can't fail is only
# delayed and killed: getpid, and close, of which strace can only play a failure that leaves the file open,
# which no kernel does (tests/it/faults.rs has the failure that closes it).
NOISE = set("mmap munmap mremap mprotect brk madvise futex rt_sigprocmask rt_sigaction sigaltstack "
            "restart_syscall rseq set_robust_list sched_yield exit exit_group".split())
CANNOT_FAIL = {"getpid", "gettid", "close", "getuid", "geteuid"}

# name, what stands at the path, what the kernel refuses, the command, whether the lock is free
Scenario = collections.namedtuple("Scenario", "name start refused command")
SCENARIOS = [
    Scenario("absent", "absent", (), "try_lock"),
    Scenario("stale", "dead", (), "try_lock"),
    Scenario("stale: zombie", "zombie", (), "try_lock"),
    Scenario("busy: kernel lock", "held", (), "try_lock"),
    Scenario("busy: record", "alive", (), "try_lock"),
    Scenario("absent, umask 777", "absent", ("umask 777",), "try_lock"),
    Scenario("absent, link by /proc", "absent", ("refuse link_by_empty_path",), "try_lock"),
    Scenario("absent, temporary", "leftover", ("refuse tmpfile",), "try_lock"),
    Scenario("stale, temporary, no rename", "dead", ("refuse tmpfile", "refuse rename_noreplace"), "try_lock"),
    Scenario("unlock", "own", (), "unlock"),
    Scenario("drop", "own", (), "drop"),
]


class Failure(Exception):
    pass


def check(condition, what):
    if not condition:
        raise Failure(what)


class Peer:
    """The test binary run again: obeys commands, answers each with a line that starts with ESC."""

    def __init__(self, path, setup=()):
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(
            [IT, "peer::peer", "--exact", "--ignored", "--nocapture", "--test-threads=1"],
            env=dict(os.environ, PIDLOCKFILE_PEER_PATH=path),
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, bufsize=0)
        self.buffer = b""
        check(self.answer() == "ready", "the peer does not start")
        for command in setup:
            self.must(command)

    pid = property(lambda self: self.process.pid)

    def tell(self, command):
        self.process.stdin.write(command.encode() + b"\n")

    def answer(self):
        """The next answer; None if the peer ended."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            line, newline, rest = self.buffer.partition(b"\n")
            if newline:
                self.buffer = rest
                if b"\x1b" in line:
                    return line.partition(b"\x1b")[2].decode()
                continue
            check(select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0], "hangs")
            chunk = os.read(self.process.stdout.fileno(), 65536)
            if not chunk:
                return None
            self.buffer += chunk

    def ask(self, command):
        self.tell(command)
        return self.answer()

    def must(self, command):
        answer = self.ask(command)
        check(answer == "ok", f"{command}: {answer}")

    def stderr(self):
        self.errors.seek(0)
        return self.errors.read().decode(errors="replace")

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()


class Strace:
    """Attached to a peer, so that its calls count from here on."""

    def __init__(self, peer, directory, inject=None):
        self.file = os.path.join(directory, "trace")
        command = ["strace", "-f", "-o", self.file, "-p", str(peer.pid)]
        if inject:
            command += ["-e", "inject=" + inject]
            if inject.startswith("read:"):
                # How often strace sees the `read` of the next command is chance. What else is read is /proc.
                for pid in (peer.pid, ZOMBIE.pid, ALIVE.pid):
                    command += ["-P", f"/proc/{pid}/status"]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, bufsize=0)
        line = b""
        while b"attached" not in line:
            check(select.select([self.process.stderr], [], [], PATIENCE_SECONDS)[0], "strace does not attach")
            chunk = os.read(self.process.stderr.fileno(), 4096)
            check(chunk, f"strace: {line!r}")
            line += chunk

    def detach(self, killed=False):
        """Lets the peer go, and gives the trace."""
        # Where the peer was killed, strace ends with it; a SIGTERM just then would make it wait for ever.
        if not killed:
            self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise Failure("strace hangs") from None
        self.process.stderr.close()
        with open(self.file, errors="replace") as file:
            return file.read().splitlines()


Call = collections.namedtuple("Call", "name nth shape index")


def calls_in(trace):
    """The system calls in a trace: name, which of that name it is, and its text without what varies."""
    counts = collections.Counter()
    index = 0
    for line in trace:
        found = re.match(r"\d+ +(\w+)\((.*)", line)
        if not found or "resumed>" in line:
            continue
        name, rest = found.groups()
        if name == "read" and rest.startswith("0, "):
            continue
        counts[name] += 1
        if name in NOISE or "F_GETFD" in rest:
            continue
        if name == "write" and rest.startswith("1, "):
            continue
        # What only the outcome shows goes; then numbers, and the random names of directories and temporaries.
        shape = re.split(r"\) += |<unfinished", rest)[0]
        shape = re.sub(r"\.pidlockfile-\w{8}", "TEMPORARY", shape)
        shape = re.sub(r'"[^"]*/faults-\w+/', '"', shape)
        shape = re.sub(r"[0-9]+", "N", shape)
        if name in ("read", "pread64", "getdents64"):
            shape = shape.split(",")[0]  # a buffer's content shows where there is one, else its address
        if name in ("statx", "fstat", "newfstatat"):
            shape = ",".join(shape.split(",")[:2])
        yield Call(name, counts[name], shape.strip(), index)
        index += 1


def label(call):
    flag = re.search(r"O_TMPFILE|O_EXCL|O_DIRECTORY|O_NOFOLLOW|AT_EMPTY_PATH|AT_SYMLINK_FOLLOW|LOCK_\w+|/proc/\w+",
                     call.shape)
    return call.name + (f" {flag.group()}" if flag else "")


class Stage:
    """A directory of its own, one per thread, with the rival that stays for all cases."""

    local = threading.local()

    def __init__(self, setup):
        self.scratch = tempfile.mkdtemp(prefix="faults-")
        self.dir = os.path.join(self.scratch, "lock")
        os.mkdir(self.dir)
        self.path = os.path.join(self.dir, "test.pid")
        self.rival = Peer(self.path, setup)

    @classmethod
    def of_thread(cls, setup):
        stages = cls.local.__dict__.setdefault("stages", {})
        key = setup
        if key not in stages:
            stages[key] = Stage(setup)
            ALL_STAGES.append(stages[key])
        return stages[key]

    def plant(self, start):
        records = {"dead": DEAD_PID, "zombie": ZOMBIE.pid, "alive": ALIVE.pid}
        if start in records:
            with open(self.path, "w") as file:
                file.write(f"{records[start]}\n")
        elif start == "leftover":
            open(os.path.join(self.dir, ".pidlockfile-aB3dE6gH"), "w").close()

    def prepare(self, scenario):
        check(not os.listdir(self.dir), f"not clean before: {os.listdir(self.dir)}")
        self.plant(scenario.start)
        peer = Peer(self.path, scenario.refused)
        if scenario.start == "held":
            self.rival.must("try_lock")
        if scenario.start == "own":
            peer.must("try_lock")
        return peer

    def assert_free_and_clean(self):
        self.rival.must("try_lock")
        names = os.listdir(self.dir)
        check(names == ["test.pid"], f"left behind: {names}")
        with open(self.path) as file:
            check(file.read() == f"{self.rival.pid}\n", "the rival's record is wrong")
        self.rival.must("unlock")
        check(not os.listdir(self.dir), f"left behind: {os.listdir(self.dir)}")

    def clear(self):
        for name in os.listdir(self.dir):
            os.remove(os.path.join(self.dir, name))


def inject(call, fault):
    what = {"delay": "delay_enter=20000", "KILL": "signal=KILL"}.get(fault, f"error={fault}")
    return f"{call.name}:{what}:when={call.nth}"


def run_case(scenario, call, fault):
    """What came of it. A rival that comes in before a delay, and not in it, changes the course: then again, with
    more time for the peer to get there, and in the end without a rival."""
    for head_start in (0.002, 0.005, 0.01, 0.02) if fault == "delay" else ():
        outcome = run_once(scenario, call, fault, head_start)
        if "fired" not in outcome:
            return outcome
    return run_once(scenario, call, fault, None)


def run_once(scenario, call, fault, head_start):
    try:
        stage = Stage.of_thread(scenario.refused)
        peer = stage.prepare(scenario)
        strace = Strace(peer, stage.scratch, inject(call, fault))
    except Failure as failure:
        return f"FAILED to start: {failure}"
    try:
        peer.tell(scenario.command)
        rival_has_it = False
        if head_start is not None and scenario.start not in ("held", "alive"):
            time.sleep(head_start)
            rival_has_it = stage.rival.ask("try_lock") == "ok"
        answer = peer.answer()
        trace = strace.detach(killed=answer is None)
        outcome = judge(stage, scenario, peer, fault, answer, rival_has_it)
        check("panicked" not in peer.stderr(), "panic: " + peer.stderr())
        check_fired(call, fault, trace)
        return outcome
    except Failure as failure:
        stage.rival.end()
        del Stage.local.stages[scenario.refused]
        return f"FAILED: {failure}"
    finally:
        if strace.process.poll() is None:
            strace.process.kill()
            strace.process.wait()
        peer.end()
        stage.clear()


def check_fired(call, fault, trace):
    """The fault met this very call: where it shows, the calls before it are those of the clean run."""
    mark = {"delay": "(DELAYED)", "KILL": "killed by SIGKILL"}.get(fault, "(INJECTED)")
    marked = [number for number, line in enumerate(trace) if mark in line]
    check(marked, "the fault never fired")
    until = list(calls_in(trace[:marked[0] + 1]))
    if fault == "KILL" and len(until) > 1 and until[-1].nth == call.nth + 1:
        until.pop()  # strace sometimes prints the call in which the peer died a second time
    # Where only the reads of /proc are traced, the other calls are not there to be counted.
    index = call.index if call.name != "read" else until[-1].index if until else None
    check(until and until[-1] == call._replace(index=index),
          f"the fault fired elsewhere: {until[-1:]} for {call}")


def judge(stage, scenario, peer, fault, answer, rival_has_it):
    """What came of it in two letters; the last check of each is that the lock is free and nothing is left."""
    if fault == "KILL":
        check(answer is None, f"answered {answer}")
        if scenario.start == "held":
            stage.rival.must("unlock")
        if scenario.start == "alive":
            check("kernel_locked: false" in stage.rival.ask("try_lock"), "the live owner was robbed")
            stage.clear()
        stage.assert_free_and_clean()
        return "killed"
    check(answer is not None, f"the peer ended: {peer.stderr()}")
    kind = "ok" if answer == "ok" else re.match(r"\w*", answer).group()
    check(kind in ("ok", "Io", "Busy", "NotExist", "RogueDeletion"), f"unclear: {answer}")
    if kind == "Io":
        check(fault in ERRORS and re.search(r"action: \"[a-z ]+\".*code: \d+", answer), f"unclear: {answer}")
    if scenario.command == "try_lock":
        return judge_acquire(stage, scenario, peer, kind, rival_has_it)
    return judge_release(stage, scenario.command, peer, kind, rival_has_it)


def judge_acquire(stage, scenario, peer, kind, rival_has_it):
    if rival_has_it:
        check(kind != "ok", "both have the lock")
        with open(stage.path) as file:
            check(file.read() == f"{stage.rival.pid}\n", "the rival's record is gone")
        stage.rival.must("unlock")
    elif scenario.start in ("held", "alive"):
        check(kind != "ok", "a false success: the lock was not free")
        with open(stage.path) as file:
            owner = stage.rival.pid if scenario.start == "held" else ALIVE.pid
            check(file.read() == f"{owner}\n", "the owner's record is gone")
        if scenario.start == "held":
            stage.rival.must("unlock")
        else:
            stage.clear()
    elif kind == "ok":
        refused = stage.rival.ask("try_lock")
        check(refused.startswith("Busy {") and "kernel_locked: true" in refused, f"a false success: {refused}")
        with open(stage.path) as file:
            check(file.read() == f"{peer.pid}\n", "the record is wrong")
        peer.must("unlock")
    stage.assert_free_and_clean()
    return "won" if kind == "ok" else "refused" if rival_has_it else kind.lower()


def judge_release(stage, command, peer, kind, rival_has_it):
    if rival_has_it:
        stage.rival.must("unlock")
    else:
        attempt = stage.rival.ask("try_lock")
        if attempt != "ok":
            # The name could not be removed: the record speaks for the process as long as that runs.
            check("kernel_locked: false" in attempt, f"still locked: {attempt}")
            check(kind != "ok" or command == "drop", f"unlock says ok, and yet: {attempt}")
            kind += ", free at its end"
            peer.end()
        else:
            stage.rival.must("unlock")
    stage.assert_free_and_clean()
    return kind.lower()


def clean_calls(scenario):
    stage = Stage.of_thread(scenario.refused)
    peer = stage.prepare(scenario)
    strace = Strace(peer, stage.scratch)
    answer = peer.ask(scenario.command)
    trace = strace.detach()
    expected = "Busy" if scenario.start in ("held", "alive") else "ok"
    check(answer.startswith(expected), f"{scenario.name}: {answer}")
    judge(stage, scenario, peer, "EIO", answer, False)
    peer.end()
    stage.clear()
    return list(calls_in(trace))


def main():
    started = time.monotonic()
    rows = [(scenario, call) for scenario in SCENARIOS for call in clean_calls(scenario)]
    cases = [(*row, fault) for row in rows for fault in FAULTS
             if not (row[1].name in CANNOT_FAIL and fault in ERRORS)]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        outcomes = list(pool.map(lambda case: run_case(*case), cases))
    table = dict(zip(cases, outcomes))
    for scenario, of_scenario in itertools.groupby(rows, key=lambda row: row[0]):
        print(f"\n{scenario.name}: {scenario.command}")
        for row in of_scenario:
            by_outcome = collections.defaultdict(list)
            for fault in FAULTS:
                if (*row, fault) in table:
                    by_outcome[table[(*row, fault)]].append(fault)
            text = "; ".join(f"{outcome}: {' '.join(faults)}" for outcome, faults in by_outcome.items())
            print(f"  {label(row[1]):28} {text}")
    failed = [(case, outcome) for case, outcome in zip(cases, outcomes) if outcome.startswith("FAILED")]
    print(f"\nFAULTS: {len(rows)} calls, {len(cases)} faults, {len(failed)} failed, "
          f"{time.monotonic() - started:.0f} s")
    for (scenario, call, fault), outcome in failed:
        print(f"  {scenario.name}, {call.name} number {call.nth}, {fault}: {outcome}")
    return 1 if failed or not cases else 0


ALL_STAGES = []
ZOMBIE = subprocess.Popen(["true"])
os.waitid(os.P_PID, ZOMBIE.pid, os.WEXITED | os.WNOWAIT)
ALIVE = subprocess.Popen(["sleep", "1000"])
try:
    status = main()
finally:
    ALIVE.kill()
    for stage in ALL_STAGES:
        stage.rival.end()
        shutil.rmtree(stage.scratch)
sys.exit(status)
