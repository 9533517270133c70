"""A process that obeys commands, strace attached to it, and the calls in its trace."""

import collections
import os
import re
import select
import signal
import subprocess
import sys
import tempfile
import time

IT = sys.argv[1]
# Generous: nothing here waits, so only a hang takes that long.
PATIENCE_SECONDS = 20
# Calls of the allocator, the runtime and the pipe to this script, and not of the lock.
NOISE = set("mmap munmap mremap mprotect brk madvise futex rt_sigprocmask rt_sigaction sigaltstack "
            "restart_syscall rseq set_robust_list sched_yield exit exit_group".split())


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
            [IT, "support::peer::peer", "--exact", "--ignored", "--nocapture", "--test-threads=1"],
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
    """strace attached to a peer, so that it counts the peer's calls from here on."""

    def __init__(self, peer, directory, inject=None, only_paths=()):
        self.file = os.path.join(directory, "trace")
        command = ["strace", "-f", "-o", self.file, "-p", str(peer.pid)]
        if inject:
            command += ["-e", "inject=" + inject]
        for path in only_paths:
            command += ["-P", path]
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, bufsize=0)
        line = b""
        while b"attached" not in line:
            check(select.select([self.process.stderr], [], [], PATIENCE_SECONDS)[0], "strace does not attach")
            chunk = os.read(self.process.stderr.fileno(), 4096)
            check(chunk, f"strace: {line!r}")
            line += chunk

    def detach(self, killed=False):
        """Detaches from the peer, and returns the trace."""
        # If the peer was killed, strace ends with it; a SIGTERM at that moment would make it wait for ever.
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
    """The system calls in a trace: name, number among those of that name, and text without what varies."""
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
        # Remove the outcome, then numbers and the random names of directories.
        shape = re.split(r"\) += |<unfinished", rest)[0]
        shape = re.sub(r'"[^"]*/faults-\w+/', '"', shape)
        shape = re.sub(r"[0-9]+", "N", shape)
        # The trace shows a buffer's content if there is one, else its address.
        if name in ("read", "pread64", "fstatfs", "readlink"):
            shape = shape.split(",")[0]
        if name in ("statx", "fstat", "newfstatat"):
            shape = ",".join(shape.split(",")[:2])
        yield Call(name, counts[name], shape.strip(), index)
        index += 1


def label(call):
    flag = re.search(r"O_TMPFILE|O_EXCL|O_DIRECTORY|O_NOFOLLOW|AT_EMPTY_PATH|AT_SYMLINK_FOLLOW|LOCK_\w+|/proc/\w+",
                     call.shape)
    return call.name + (f" {flag.group()}" if flag else "")
