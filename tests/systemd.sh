#!/usr/bin/env bash
# Tries the settings of src/recipes/*.md under a real systemd, and a cron job under a real cron, in a container that
# is made for it: about a minute, most of which is cron's.
#
#   bash tests/systemd.sh
#
# The container has namespaces, a control group, and a root of its own: an overlay over this machine's. With
# its first process all of it goes. Where systemd is missing or namespaces are forbidden it is skipped, loudly.
set -euo pipefail
here=$(realpath "$0")

case ${1:-outside} in
outside)
    cd "$(dirname "$here")/.."
    skip() {
        echo "SKIPPED tests/systemd.sh: $*" >&2
        exit 0
    }
    [ "$(id -u)" = 0 ] || skip "needs root, to make a container"
    [ -x /lib/systemd/systemd ] || skip "systemd is not installed"
    groups=$(findmnt --first-only --noheadings --types cgroup2 --output TARGET) || skip "needs cgroup2"
    group=$groups/pidlockfile-$$
    mkdir "$group" 2>/dev/null || skip "no control group can be made"
    work=$(mktemp -d)
    trap 'rm -rf "$work"; find "$group" -depth -type d -exec rmdir {} \;' EXIT
    mkdir "$work/bin" "$work/units"
    cargo build --locked --quiet --example service --example double_fork --example cron_job
    for example in service double_fork cron_job; do
        cp "${CARGO_TARGET_DIR:-target}/debug/examples/$example" "$work/bin"
    done
    setting() { # FILE N: the Nth block of settings in a recipe
        awk -v n="$2" '/^```ini/ { i++; next } /^```/ { i += 0.5; next } i == n' "src/recipes/$1.md"
    }
    setting systemd_service 1 >"$work/units/demo.service"
    grep -v '^Type=\|^TimeoutStartSec=' "$work/units/demo.service" >"$work/units/simple.service"
    sed '/^TimeoutStartSec=/s/=.*/=1/' "$work/units/demo.service" >"$work/units/hasty.service"
    grep -v '^RuntimeDirectoryPreserve=' "$work/units/demo.service" >"$work/units/tidy.service"
    setting forking_daemon 1 >"$work/units/forking.service"
    { cat "$work/units/forking.service"; echo PIDFile=/run/demo/demo.pid; } >"$work/units/careless.service"
    { cat "$work/units/forking.service"; setting forking_daemon 2; } >"$work/units/linked.service"
    printf '[Service]\nType=oneshot\nExecStart=/usr/local/bin/cron_job %s\nSuccessExitStatus=75\n' \
        '/run/busy.pid /srv/source /srv/target' >"$work/units/timed.service"
    printf '[Unit]\nDefaultDependencies=no\nWants=try.service\n' >"$work/units/box.target"
    printf '[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\nExecStart=%s\nStandardOutput=%s\n' \
        '/bin/bash /mnt/systemd.sh inside' file:/mnt/log >"$work/units/try.service"
    cp "$here" "$work"
    grep '^d ' src/recipes/two_users.md >"$work/tmpfiles"
    timeout 170 bash -c 'echo $$ >"$0/cgroup.procs"; exec unshare --cgroup --mount --pid --uts --ipc \
        --fork --kill-child bash "$1" container "$2"' "$group" "$here" "$work" >"$work/console" 2>&1 || true
    cat "$work/log" || cat "$work/console"
    grep -q '^all was tried$' "$work/log" && ! grep '^FAILED' "$work/log"
    ;;
container) # as the first process of the namespaces
    work=$2 box=$2/box
    mount --make-rprivate /
    mkdir "$box" && mount -t tmpfs tmpfs "$box" && mkdir "$box"/{upper,work,root}
    root=$box/root
    mount -t overlay -o "lowerdir=/,upperdir=$box/upper,workdir=$box/work" overlay "$root"
    mount -t proc proc "$root/proc"
    mount -t sysfs sysfs "$root/sys"
    for dir in dev run tmp; do mount -t tmpfs tmpfs "$root/$dir"; done
    chmod 755 "$root/run"
    mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
    for device in null zero full random urandom; do
        touch "$root/dev/$device" && mount --bind "/dev/$device" "$root/dev/$device"
    done
    ln -s /proc/self/fd "$root/dev/fd"
    rm -rf "$root"/{lib,usr/lib}/systemd/system-generators "$root"/etc/systemd/system/* "$root"/etc/cron.d/*
    : >"$root/etc/fstab"
    : >"$root/etc/crontab"
    printf 'demo:x:64999:64999::/nonexistent:/bin/sh\n' >>"$root/etc/passwd"
    printf 'demo:x:64999:\n' >>"$root/etc/group"
    cp "$work"/units/* "$root/etc/systemd/system"
    cp "$work"/bin/* "$root/usr/local/bin"
    mount --bind "$work" "$root/mnt"
    mkdir "$root/run/old"
    cd "$root" && pivot_root . run/old && umount -l /run/old
    exec env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=box.target --log-target=console --show-status=no
    ;;
inside) # as a service of that systemd
    set +e
    trap 'systemctl exit --no-block' EXIT
    export RUST_BACKTRACE=0
    pidfile=/run/demo/demo.pid
    is() { [ "$2" = "$3" ] && echo "ok: $1" || echo "FAILED: $1: '$2' and not '$3'"; }
    has() { case $2 in *"$3"*) echo "ok: $1" ;; *) echo "FAILED: $1: no '$3' in '$2'" ;; esac; }
    of() { systemctl show --value --property "$2" "$1"; }
    until_true() { for _ in $(seq 400); do eval "$1" && return; sleep 0.05; done; echo "FAILED: never: $1"; }
    recorded() { cat "$pidfile" 2>/dev/null; }
    works() { is "$1" "$(of "$2" ActiveState) $(of "$2" MainPID)" "active $(recorded)"; }
    by_hand() { # takes the lock as the same user, outside of any unit
        rm -f /srv/by_hand && mkdir -p /run/demo && chown demo: /run/demo
        setpriv --reuid demo --regid demo --clear-groups service "$pidfile" >/srv/by_hand 2>&1 &
        hand=$!
        until_true '[ "$(recorded)" ]'
    }
    end_by_hand() { # what became of it
        sleep 1.5 # it asks each second whether the file is there
        kill "$hand" 2>/dev/null
        wait "$hand"
    }
    PATH=$PATH:/usr/local/bin

    # cron needs a minute: it works beside all the rest. In /srv, since the first start of a unit empties /tmp.
    if command -v cron >/dev/null; then
        printf '#!/bin/sh\n(echo; cat) >>/srv/mail\n' >/usr/sbin/sendmail && chmod 755 /usr/sbin/sendmail
        echo text >/srv/source
        for lock in busy free; do
            echo "* * * * * root cron_job /run/$lock.pid /srv/source /srv/$lock"
        done >/etc/cron.d/demo
        sed -i '1i PATH=/usr/bin:/bin:/usr/local/bin' /etc/cron.d/demo
        echo '* * * * * root cron_job /run/none.pid /srv/none /srv/none' >>/etc/cron.d/demo
        echo '* * * * * root echo quiet >/srv/quiet; exit 75' >>/etc/cron.d/demo
        echo '* * * * * root env' >>/etc/cron.d/demo
        service /run/busy.pid >/dev/null &
        until_true '[ -s /run/busy.pid ]'
        cron
    fi

    systemctl start demo
    works "a service of Type=notify is ready when it has the lock" demo
    old=$(recorded)
    systemctl kill --signal KILL demo
    until_true '[ "$(recorded)" != "$old" ] && [ "$(of demo ActiveState)" = active ]'
    works "Restart= gets the lock after a crash" demo
    is "TimeoutStartSec= is 90 seconds by default" "$(of simple TimeoutStartUSec)" "1min 30s"
    systemctl start hasty 2>/dev/null
    is "a service that waits runs into TimeoutStartSec=" "$(of hasty Result)" timeout
    has "the status names the holder" "$(of hasty StatusText)" "waiting: $pidfile is locked by process"
    systemctl stop hasty # it would be started again
    systemctl start --no-block simple
    until_true '[ "$(of simple MainPID)" != 0 ]'
    is "a service of Type=simple is active while it waits" "$(of simple ActiveState)" active
    systemctl stop demo
    until_true '[ "$(recorded)" = "$(of simple MainPID)" ]'
    works "the one that waited works when the other is stopped" simple
    systemctl stop simple
    is "a service that is stopped removes its file" "$(ls /run/demo)" ""

    by_hand
    systemctl start --no-block tidy
    until_true '[ "$(of tidy StatusText)" ]'
    systemctl stop tidy
    end_by_hand
    has "without RuntimeDirectoryPreserve= the lock of another process is lost" "$(cat /srv/by_hand)" "was removed"
    by_hand
    systemctl start --no-block demo
    until_true '[ "$(of demo StatusText)" ]'
    systemctl stop demo
    end_by_hand
    is "with RuntimeDirectoryPreserve= it is kept" "$?" 0

    for unit in forking linked careless; do
        systemctl start $unit
        works "$unit: the daemon is the main process" $unit
        old=$(recorded)
        systemctl kill --signal KILL $unit
        until_true '[ "$(recorded)" != "$old" ] && [ "$(of $unit ActiveState)" = active ]'
        works "$unit: Restart= gets the lock after a crash" $unit
        systemctl stop $unit
        is "$unit: the daemon removes its file" "$(ls /run/demo)" ""
        by_hand
        systemctl start $unit 2>/dev/null
        # Without its file, the next try of Restart= succeeds, and there are two owners.
        [ $unit = careless ] && end=active || end=failed
        until_true '[ "$(of $unit ActiveState)" = $end ]'
        end_by_hand
        kept=$?
        if [ $unit = careless ]; then
            has "$unit: a start that fails removes the file of another process" "$(cat /srv/by_hand)" "was removed"
        else
            is "$unit: a start that fails leaves the lock of another process alone" $kept 0
        fi
    done
    is "five quick failures, and systemd gives up" "$(of forking NRestarts)" 5

    systemd-tmpfiles --create /mnt/tmpfiles
    is "tmpfiles makes the directory of a group" "$(stat --format '%a %U %G' /run/demo)" "2775 root demo"

    if command -v cron >/dev/null; then
        systemctl start timed
        is "a refused run is no failure with SuccessExitStatus=75" "$? $(of timed Result)" "0 success"
        for _ in $(seq 70); do [ -e /srv/quiet ] && [ -e /srv/free ] && break; sleep 1; done
        sleep 2 # until the mails are there
        is "cron: a free job works" "$(cat /srv/free)" text
        is "cron: a job that prints nothing sends no mail, whatever its status" "$(grep -c ^Subject: /srv/mail)" 3
        has "cron: a refused run mails a line" "$(cat /srv/mail)" "not now: /run/busy.pid is locked by process"
        has "cron: a failed run mails why" "$(cat /srv/mail)" "Error: cannot read /srv/none"
        has "cron: the third mail is the environment" "$(cat /srv/mail)" PWD=
        is "cron: there is no XDG_RUNTIME_DIR" "$(grep -c XDG_RUNTIME_DIR /srv/mail)" 0
    else
        echo "SKIPPED: cron is not installed" >&2
    fi
    echo "all was tried"
    ;;
esac
