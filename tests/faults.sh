#!/usr/bin/env bash
# strace makes every system call of acquire and of release fail, delays it, and kills the process there, once
# each.
#
#   bash tests/faults.sh            prints a table: calls x faults x outcome
#
# It drives the peer of the test crate `it`: the same process that the other tests use.
set -euo pipefail
cd "$(dirname "$0")/.."

skip() {
    echo "SKIPPED tests/faults.sh: $*" >&2
    exit 0
}
command -v strace >/dev/null || skip "strace is not installed"
command -v python3 >/dev/null || skip "python3 is not installed"
# It ends by itself, and strace then ends, too.
sleep 1 &
attached=$(timeout 20 strace -o /dev/null -p $! 2>&1 || true)
[[ "$attached" == *attached* ]] || skip "this user may not trace a process (ptrace_scope, seccomp)"

it=$(cargo test --locked --test it --no-run --message-format=json 2>/dev/null |
    sed -nE 's/.*"executable":"([^"]*\/it-[0-9a-f]+)".*/\1/p' | tail -1)
[ -x "$it" ] || { echo "the test crate does not build" >&2; exit 1; }
# -B leaves no compiled files in the checkout.
exec python3 -B tests/faults "$it"
