#!/usr/bin/env bash
# Shows that the tests of etcd can fail: breaks a copy of the crate in many ways and expects each to be found.
#
#   bash tests/etcd_mutants.sh                 all; the torture gets ETCD_TORTURE_SECONDS (default 20)
#   bash tests/etcd_mutants.sh deadline        those only whose name contains the word
#
# Each mutant is a patch of the text of src/etcd/, in a temporary directory; the crate itself has no hook for it.
set -euo pipefail
cd "$(dirname "$0")/.."
export ETCD_TORTURE_SECONDS="${ETCD_TORTURE_SECONDS:-20}"
# A test that waits for what never comes true need not wait long here.
export ETCD_TEST_PATIENCE="${ETCD_TEST_PATIENCE:-20}"

if ! command -v etcd >/dev/null || ! command -v etcdctl >/dev/null; then
    [ "${CI:-}" != true ] || { echo "etcd or etcdctl is not installed"; exit 1; }
    echo "SKIPPED: etcd or etcdctl is not installed (Debian: etcd-server, etcd-client)"
    exit 0
fi

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A build directory of its own, kept for the next time: to cargo the copy is the same crate as this one, and in
# one directory the tests of this one would be linked with a mutant, and believed to be up to date.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/mutants"
copy="$work/pidlockfile"
fresh_copy() {
    rm -rf "$copy" && mkdir "$copy"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
}

# Replaces the first text by the second in a file of the copy, and fails where it is not there exactly once.
replace() {
    perl -0777 -i -pe '
        BEGIN { ($from, $to) = splice @ARGV, 0, 2 }
        $found = () = /\Q$from\E/g;
        die "found $found times in $ARGV: $from\n" if $found != 1;
        s/\Q$from\E/$to/;
    ' "$2" "$3" "$copy/src/etcd/$1"
}

deadline_counts_from_after_the_request() {
    replace client.rs 'result => Ok((result?, sent)),' 'result => Ok((result?, Moment::now())),'
}

ttl_as_asked_and_not_as_granted() {
    replace lease.rs 'ttl => Ok(lease(ttl, answer.sent)),' '_ => Ok(lease(settings.ttl, answer.sent)),'
    replace lease.rs '                    ttl => {
                        let ttl = time(ttl);' \
        '                    _ => {
                        let ttl = time(self.client.settings.ttl);'
}

no_revoke_of_what_was_not_answered() {
    replace lease.rs '    pub(super) fn abandon(&self) {
        self.stop_renewing();
        self.client.revoke_later(self.id, self.end_at_server());' \
        '    pub(super) fn abandon(&self) {
        self.stop_renewing();'
}

a_guard_that_a_forked_child_drops_releases() {
    replace lease.rs '        if self.is_foreign() {
            return Err(self.loss());
        }' ''
}

stream_from_now_on() {
    replace keys.rs '        "start_revision": (revision + 1).to_string(),' ''
    replace keys.rs 'fn deletion_of(entry: &Entry, revision: u64)' 'fn deletion_of(entry: &Entry, _: u64)'
}

lost_by_the_connection_only() {
    replace lease.rs 'if self.pid != process::id() || self.deadline().has_come() {' 'if self.pid != process::id() {'
}

lost_when_a_renewal_fails() {
    replace lease.rs 'Err(_) => due = Moment::now().plus(self.delay()),' 'Err(_) => return self.lose(),'
}

a_lease_that_the_server_has_no_more_is_renewed() {
    replace lease.rs '0 => return self.lose(),' '0 => due = Moment::now().plus(self.delay()),'
}

dead_on_arrival() {
    replace guard.rs '        if lease.is_lost() {' '        if false {'
}

no_look_at_the_line_when_the_key_is_put() {
    replace keys.rs '"compare": [is_empty],' '"compare": [],'
    replace keys.rs 'let mut is_empty = all_of(name);' 'let mut _is_empty = all_of(name);'
    perl -i -pe 's/^    is_empty\[.*\n//' "$copy/src/etcd/keys.rs"
}

a_place_that_is_gone_is_believed_in() {
    replace keys.rs 'Ok(is_there.then_some(Place { revision, older }))' 'Ok((is_there || true).then_some(Place { revision, older }))'
}

all_watch_the_owner() {
    replace waiter.rs 'let stream = wait_for_deletion(client, &agent, &older, place.revision, on_start);' \
        'let stream = wait_for_deletion(client, &agent, &watched, place.revision, on_start);'
    replace waiter.rs 'let on_start = || exchange.is_told_of_turn(first);' \
        'let watched = first.clone();
            let on_start = || exchange.is_told_of_turn(first);'
}

no_new_login() {
    replace client.rs 'Err(failure) if self.settings.login.is_some() && failure.may_be_expired_login() => {' \
        'Err(failure) if false && failure.may_be_expired_login() => {'
}

fight=torture::no_write_of_a_former_owner_is_taken_while_processes_and_the_server_are_killed
mutants=(
    "deadline_counts_from_after_the_request lost::a_grant_that_is_answered_late_is_lost_before_the_next_owner_starts"
    "ttl_as_asked_and_not_as_granted guard::a_ttl_that_the_server_raises_counts_as_granted"
    "no_revoke_of_what_was_not_answered swallowed::a_run_that_gives_up_in_the_middle_of_its_txn_leaves_nothing"
    "a_guard_that_a_forked_child_drops_releases fork::a_child_that_drops_its_copy_releases_nothing_and_the_parent_keeps_the_lock"
    "stream_from_now_on line::a_release_that_comes_before_the_stream_is_not_missed"
    "lost_by_the_connection_only $fight"
    "lost_when_a_renewal_fails lost::a_renewal_that_fails_is_tried_again_until_the_deadline"
    "a_lease_that_the_server_has_no_more_is_renewed guard::a_lease_that_somebody_revokes_is_lost_by_the_next_renewal"
    "dead_on_arrival lost::a_grant_that_takes_longer_than_the_ttl_gives_no_guard_that_is_dead_on_arrival"
    "no_look_at_the_line_when_the_key_is_put guard::an_attempt_that_looked_before_another_locked_is_busy"
    "no_look_at_the_line_when_the_key_is_put $fight"
    "a_place_that_is_gone_is_believed_in line::a_waiter_whose_key_somebody_deletes_stands_anew"
    "all_watch_the_owner line::an_acquisition_takes_ten_requests_at_most_with_32_waiters"
    "no_new_login auth::a_lock_is_kept_and_waited_for_while_simple_tokens_expire"
)

failed=0
for entry in "${mutants[@]}"; do
    read -r mutant test <<<"$entry"
    [[ "$mutant" == *"${1:-}"* ]] || continue
    fresh_copy
    "$mutant"
    if ! (cd "$copy" && cargo test --locked --quiet --no-run --test etcd --features etcd) >"$work/build" 2>&1; then
        cat "$work/build"
        echo "$mutant does not compile, and so proves nothing"
        exit 1
    fi
    status=0
    (cd "$copy" && timeout 300 cargo test --locked --quiet --test etcd --features etcd -- "$test" --exact --nocapture) \
        >"$work/out" 2>&1 || status=$?
    verdict="NOT FOUND"
    if [ $status = 0 ] || ! grep -q "^test result: FAILED. 0 passed; 1 failed" "$work/out"; then
        tail -20 "$work/out"
        failed=1
    elif [[ "$test" == torture::* ]]; then
        # A fight that fails must have seen what it is for, and not just ended badly.
        verdict=$(sed -nE 's/^ETCD TORTURE: ([0-9]+ owners).*; writes.*(out of order [0-9]+; tokens of two.*)/\1; \2/p' "$work/out")
        case "$verdict" in
        "" | *"out of order 0; tokens of two processes 0; guards that claimed what another had 0") tail -20 "$work/out"; verdict="NOT FOUND"; failed=1 ;;
        esac
    else
        verdict=$(sed -n '/panicked at/{n;p;q}' "$work/out")
    fi
    printf '%-52s %s\n    %s\n' "$mutant" "$test" "$verdict"
done
exit "$failed"
