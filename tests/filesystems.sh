#!/usr/bin/env bash
# Mounts each file system that this machine can mount, tests it, and prints one table of the results.
#
#   bash tests/filesystems.sh                  one second for each of four fights, about four minutes
#   bash tests/filesystems.sh 10 sshfs bindfs  ten seconds, and these only
#
# In each it runs the tests of the core (tests/it), four fights (tests/torture: both rules, with and without
# kills) and a hand-over. It fails if a file system that should be safe shows two owners, a stuck lock or a
# failing test, or if one that should refuse to lock does not. A file system that can't be mounted here is
# skipped, with a message; with CI=true a missing package is a failure.
#
# It works in its own mount and pid namespace: its mounts, loop devices, FUSE servers and sshd end with it, even
# if it is killed.
set -euo pipefail

if [ "${1:-}" != --inside ]; then
    cd "$(dirname "$0")/.."
    skip() {
        echo "SKIPPED tests/filesystems.sh: $*" >&2
        exit 0
    }
    [ "$(id -u)" = 0 ] || skip "needs root, to mount"
    unshare --mount --pid --fork --mount-proc true 2>/dev/null || skip "mount and pid namespaces are forbidden"
    work=$(mktemp -d)
    # Other users need to search it in some tests.
    chmod 711 "$work"
    trap 'rm -rf "$work"' EXIT
    trap 'exit 130' INT TERM
    executable() { # KIND NAME ARGUMENT…: builds, and prints where that is
        local kind=$1 name=$2
        shift 2
        cargo "$@" --locked --message-format=json 2>"$work/build" | tee "$work/messages" |
            sed -nE "s/.*\"kind\":\\[\"$kind\"\\],[^{}]*\"name\":\"$name\".*\"executable\":\"([^\"]+)\".*/\\1/p" |
            tail -1 | grep . || { cat "$work/build" >&2; return 1; }
    }
    IT=$(executable test it test --no-run --test it)
    TORTURE=$(executable test torture test --no-run --test torture)
    WITH_LOCK=$(executable example with_lock build --example with_lock)
    export IT TORTURE WITH_LOCK WORK=$work
    # In the background, so that a signal to this shell ends it and all of its processes at once.
    unshare --mount --pid --fork --kill-child --mount-proc bash tests/filesystems.sh --inside "$@" &
    inside=$!
    trap 'kill -KILL $inside 2>/dev/null; exit 130' INT TERM
    wait $inside
    exit
fi
shift
# shellcheck source=tests/filesystems/mounts.sh
. tests/filesystems/mounts.sh
# shellcheck source=tests/filesystems/checks.sh
. tests/filesystems/checks.sh

export TORTURE_SECONDS=1
if [[ "${1:-}" =~ ^[0-9.]+$ ]]; then
    TORTURE_SECONDS=$1
    shift
fi
names=("$@")
[ $# -gt 0 ] || names=("${all_names[@]}")

failed=0
trap tear_down EXIT
trap 'exit 130' INT TERM
umask 022
for name in "${names[@]}"; do
    printf -- '-- %s\n' "$name"
    m=$WORK/$name/m
    mkdir -p "$m"
    status=0
    # Not in a subshell, because what it sets up is torn down below.
    set_up "$name" || status=$?
    case $status in
    0) check "$name" || failed=1 ;;
    "$LACKS_PACKAGE")
        echo "SKIPPED $name: $why" >&2
        row "$name" "not tried: $why"
        [ "${CI:-}" != true ] || failed=1
        ;;
    "$LACKS_KERNEL")
        echo "SKIPPED $name: $why" >&2
        row "$name" "not tried: $why"
        ;;
    *)
        row "$name" "FAILED: could not be set up"
        failed=1
        ;;
    esac
    tear_down
    rm -rf --one-file-system "${WORK:?}/$name"
done
print_table
exit "$failed"
