"""Drives tests/faults.sh: one fault at a time in a peer that locks or unlocks, and its outcome.

First a clean run of each scenario under strace lists its system calls. Then, for each call and each fault, a new
peer meets that fault at that call. Afterwards: a clear answer, never a false success, no panic, no hang; a rival
is refused as long as the peer holds the lock and gets it at once when it does not; nothing is left.
"""

import collections
import concurrent.futures
import itertools
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time

from driven import Failure, Peer, Strace, calls_in, check, label

ERRORS = "EINTR EIO ENOSPC EDQUOT EMFILE ENOLCK EOPNOTSUPP ENOSYS ESTALE EROFS EACCES EPERM ENOENT".split()
FAULTS = ERRORS + ["delay", "KILL"]
DEAD_PID = 2_000_000_000

# A call that can't fail is only delayed and killed: getpid, and close. strace can only simulate a failed close
# that leaves the file open, which no kernel does (tests/it/faults.rs has the failure that closes it).
CANNOT_FAIL = {"getpid", "gettid", "close", "getuid", "geteuid"}

# The name, what is at the path, the peer's commands before, and the command that meets the fault.
Scenario = collections.namedtuple("Scenario", "name start refused command")
SCENARIOS = [
    Scenario("absent", "absent", (), "try_lock"),
    Scenario("stale", "dead", (), "try_lock"),
    Scenario("stale: zombie", "zombie", (), "try_lock"),
    Scenario("busy: kernel lock", "held", (), "try_lock"),
    Scenario("busy: record", "alive", (), "try_lock"),
    # The umask takes away the owner's right to write, so that the mode must be set. The rival still needs the
    # right to read.
    Scenario("absent, umask 277", "absent", ("umask 277",), "try_lock"),
    Scenario("absent, link by /proc", "absent", ("refuse link_by_empty_path",), "try_lock"),
    Scenario("absent, exclusive", "absent", ("refuse tmpfile",), "try_lock"),
    Scenario("stale, exclusive", "dead", ("refuse tmpfile",), "try_lock"),
    # Then no file system is known to be local, so the whole proof runs.
    Scenario("absent, exclusive, elsewhere", "absent", ("refuse tmpfile", "refuse statfs"), "try_lock"),
    Scenario("stale, exclusive, elsewhere", "dead", ("refuse tmpfile", "refuse statfs"), "try_lock"),
    Scenario("unlock", "own", (), "unlock"),
    Scenario("drop", "own", (), "drop"),
]


class Stage:
    """One directory per thread, with a rival that stays for all cases."""

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
    """The outcome. If the rival acts before the delay instead of during it, the course changes: then try again, with
    more time for the peer to get there, and at last without a rival."""
    for head_start in (0.002, 0.005, 0.01, 0.02) if fault == "delay" else ():
        outcome = run_once(scenario, call, fault, head_start)
        if "fired" not in outcome:
            return outcome
    return run_once(scenario, call, fault, None)


def run_once(scenario, call, fault, head_start):
    try:
        stage = Stage.of_thread(scenario.refused)
        peer = stage.prepare(scenario)
        # How often strace sees the `read` of the next command is chance. All other reads are of /proc.
        pids = (peer.pid, ZOMBIE.pid, ALIVE.pid) if call.name == "read" else ()
        only_paths = [f"/proc/{pid}/status" for pid in pids]
        strace = Strace(peer, stage.scratch, inject(call, fault), only_paths)
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
    """The fault met exactly this call: if the trace shows it, the calls before it are those of the clean run."""
    mark = {"delay": "(DELAYED)", "KILL": "killed by SIGKILL"}.get(fault, "(INJECTED)")
    marked = [number for number, line in enumerate(trace) if mark in line]
    check(marked, "the fault never fired")
    until = list(calls_in(trace[:marked[0] + 1]))
    if fault == "KILL" and len(until) > 1 and until[-1].nth == call.nth + 1:
        until.pop()  # strace sometimes prints the call in which the peer died a second time
    # If only the reads of /proc are traced, the other calls can't be counted.
    index = call.index if call.name != "read" else until[-1].index if until else None
    check(until and until[-1] == call._replace(index=index),
          f"the fault fired elsewhere: {until[-1:]} for {call}")


def judge(stage, scenario, peer, fault, answer, rival_has_it):
    """The outcome in a word; the last check of each case is that the lock is free and nothing is left."""
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
            # The name could not be removed: the record counts as long as the process runs.
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
