#!/usr/bin/env bash
# Shows that the torture can fail: breaks a copy of the crate in many ways, and expects a test to find each.
#
#   bash tests/torture_mutants.sh              each within TORTURE_SECONDS (default 60) of one fight
#   bash tests/torture_mutants.sh stamp        those only whose name contains the word
#
# Each mutant patches the text of src/ in a temporary directory; the crate itself has no hook for it. The
# mutants touch files only in the tests' own temporary directories. If a mutant shows only when another program
# takes one certain step, which no fight does, a test of tests/it takes that step.
set -euo pipefail
cd "$(dirname "$0")/.."
export TORTURE_SECONDS="${TORTURE_SECONDS:-60}"

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# A separate build directory, kept for the next run. Cargo takes the copy for the same crate: in a shared
# directory, this crate's tests would be linked with a mutant and believed to be up to date.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}/mutants"
copy="$work/pidlockfile"
fresh_copy() {
    rm -rf "$copy" && mkdir "$copy"
    git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$copy"
}

# Replaces the first text by the second in a file of the copy, and fails unless it is there exactly once.
replace() {
    perl -0777 -i -pe '
        BEGIN { ($from, $to) = splice @ARGV, 0, 2 }
        $found = () = /\Q$from\E/g;
        die "found $found times in $ARGV: $from\n" if $found != 1;
        s/\Q$from\E/$to/;
    ' "$2" "$3" "$copy/src/$1"
}

no_path_check_before_the_removal_of_a_stale_file() {
    replace incumbent.rs 'if !self.is_named(path)? {
            return Ok(false);' \
        'if !self.is_named(path)? && false {
            return Ok(false);'
}

stale_inode_unlocked_before_the_unlink() {
    replace incumbent.rs '        match inode::remove(path) {' \
        '        let _ = self.file.unlock();
        match inode::remove(path) {'
}

release_unlocks_before_the_unlink() {
    replace guard.rs '        if inode::remove(&self.path)' \
        '        let _ = self.file().unlock();
        if inode::remove(&self.path)'
}

name_published_before_the_kernel_lock() {
    # The lock is taken after the new file has its name, and is ours unless another process is faster.
    replace publish.rs 'match inode::try_kernel_lock(&file) {' 'match Ok::<bool, io::Error>(true) {'
    replace publish/unnamed.rs 'Ok(()) => return Ok(Unnamed::Owned(candidate.into_guard(path, pid, true, Origin::Linked))),' \
        'Ok(()) if !crate::inode::try_kernel_lock(&candidate.file).unwrap() => return Ok(Unnamed::Taken),
        Ok(()) => return Ok(Unnamed::Owned(candidate.into_guard(path, pid, true, Origin::Linked))),'
}

exclusive_creation_without_a_check_after_its_lock() {
    replace publish/exclusive.rs 'match (filled, inode::is_named(&candidate.file, &candidate.stat, path)) {' \
        'match (filled, Ok::<bool, io::Error>(true)) {'
}

exclusive_creation_with_its_record_before_its_lock() {
    replace publish/exclusive.rs '    let locked = ' '    let _ = record::write(&file, process::id());
    let locked = '
    exclusive_creation_of_a_file_that_is_not_empty_any_more
}

exclusive_creation_of_a_file_that_is_not_empty_any_more() {
    replace publish/exclusive.rs 'Some(candidate) if candidate.stat.st_size == 0 => candidate,' 'Some(candidate) => candidate,'
}

no_stamp() {
    replace publish/unnamed.rs 'record::stamp(&candidate.file, pid);' ''
}

stamp_not_asked_for_by_the_next() {
    replace incumbent.rs 'record::is_stamped(&self.stat, pid) && inode::is_local(&self.file)' \
        'record::is_stamped(&self.stat, pid) && false'
}

stamp_believed_where_there_is_none() {
    replace incumbent.rs 'record::is_stamped(&self.stat, pid) && inode::is_local(&self.file)' \
        '(record::is_stamped(&self.stat, pid) || true) && inode::is_local(&self.file)'
}

stamp_not_bound_to_the_pid() {
    replace record.rs 'u32::try_from(stat.st_mtime_nsec) == Ok(stamp_nanoseconds(pid))' \
        'pid > 0 && stat.st_mtime_nsec % 100 == 0 && stat.st_mtime_nsec % 1000 != 0'
}

stamp_not_renewed_by_adopt() {
    replace guard.rs '            record::stamp(self.file(), self.pid);' ''
}

takeover_in_place_without_the_link_count() {
    replace incumbent.rs 'if self.stat.st_nlink != 1 {' 'if self.stat.st_nlink == 0 {'
}

takeover_in_place_without_the_kernel_lock() {
    replace incumbent.rs '        let inode = Inode::of(&self.stat);
        let guard' '        let inode = Inode::of(&self.stat);
        let _ = self.file.unlock();
        let guard'
}

# The test crate, torture or it, and the test that find each mutant. With the kernel lock only, a live owner's
# record cannot make up for the kernel lock that a mutant frees too early.
kernel_lock_only='torture no_two_own_it_with_the_kernel_lock_only'
exclusive='torture no_two_own_it_by_exclusive_creation_with_the_kernel_lock_only'
stranger='torture a_killed_owners_lock_is_taken_at_once_although_a_stranger_has_its_pid'
script='torture no_two_own_it_where_a_script_writes_into_the_leftover'
exclusive_script='torture no_two_own_it_by_exclusive_creation_where_a_script_writes_into_the_leftover'
mutants=(
    "no_path_check_before_the_removal_of_a_stale_file $kernel_lock_only"
    "stale_inode_unlocked_before_the_unlink $kernel_lock_only"
    "release_unlocks_before_the_unlink $kernel_lock_only"
    "name_published_before_the_kernel_lock $kernel_lock_only"
    "exclusive_creation_without_a_check_after_its_lock $exclusive"
    "exclusive_creation_with_its_record_before_its_lock $exclusive_script"
    "exclusive_creation_of_a_file_that_is_not_empty_any_more $exclusive_script"
    "no_stamp it leftover::a_leftover_is_taken_at_once_although_its_pid_is_a_live_process"
    "stamp_not_asked_for_by_the_next $stranger"
    "stamp_believed_where_there_is_none $script"
    "stamp_not_bound_to_the_pid it leftover::the_stamp_of_one_pid_does_not_mark_the_record_of_another"
    "stamp_not_renewed_by_adopt it leftover::a_leftover_of_an_adopter_is_taken_at_once"
    "takeover_in_place_without_the_link_count it users::a_file_with_a_second_name_is_not_written"
    "takeover_in_place_without_the_kernel_lock it users::an_owner_in_place_keeps_all_others_out"
)

failed=0
printf '%-56s %-10s %s\n' "mutant" "found in" "how"
for entry in "${mutants[@]}"; do
    read -r mutant crate test <<<"$entry"
    [[ "$mutant" == *"${1:-}"* ]] || continue
    fresh_copy
    "$mutant"
    if ! (cd "$copy" && cargo test --locked --quiet --no-run --test "$crate") >"$work/build" 2>&1; then
        cat "$work/build"
        echo "$mutant does not compile, and so proves nothing"
        exit 1
    fi
    status=0
    (cd "$copy" && timeout 300 cargo test --locked --quiet --test "$crate" -- "$test" --exact) >"$work/out" 2>&1 || status=$?
    verdict="NOT FOUND|"
    if [ $status = 0 ] || ! grep -q "^test result: FAILED. 0 passed; 1 failed" "$work/out"; then
        tail -20 "$work/out"
    elif [ "$crate" = torture ]; then
        # A failed fight must have seen a violation, and not just have ended badly.
        found=$(sed -nE 's/^TORTURE.*, ([0-9.]+ s): ([0-9]+ acquisitions).*; (violations [0-9]+, lost updates [0-9]+, stuck [0-9]).*/\1|\2; \3/p' "$work/out")
        case "$found" in
        "" | *"violations 0, lost updates 0, stuck 0"*) tail -20 "$work/out" ;;
        *) verdict=$found ;;
        esac
    else
        verdict="-|$test"
    fi
    [[ "$verdict" != "NOT FOUND"* ]] || failed=1
    printf '%-56s %-10s %s\n' "$mutant" "${verdict%%|*}" "${verdict#*|}"
    sed -nE 's/^ *left: Some\("(.*)"\)$/    \1/p' "$work/out"
done
exit "$failed"
