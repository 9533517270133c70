#!/usr/bin/env bash
# Shows that the torture can fail: breaks a copy of the crate in four ways and expects each to be found.
#
#   bash tests/torture_mutants.sh            each within TORTURE_SECONDS (default 60) of the first fight that can show it
#
# Each mutant is a patch of the text of src/, in a temporary directory; the crate itself has no hook for it.
# The mutants meet files in the torture's own temporary directories only.
set -euo pipefail
cd "$(dirname "$0")/.."
export TORTURE_SECONDS="${TORTURE_SECONDS:-60}"

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
    ' "$2" "$3" "$copy/src/$1"
}

no_path_check_before_the_removal_of_a_stale_file() {
    replace incumbent.rs 'if !inode.is_named_by(path).map_err(Error::io("examine", path))? {' \
        'if !inode.is_named_by(path).map_err(Error::io("examine", path))? && false {'
}

stale_inode_unlocked_before_the_unlink() {
    replace incumbent.rs '        inode::remove(path)' \
        '        let _ = self.file.unlock();
        inode::remove(path)'
}

release_unlocks_before_the_unlink() {
    replace guard.rs '        if inode::remove(&self.path)' \
        '        let _ = self.file.unlock();
        if inode::remove(&self.path)'
}

name_published_before_the_kernel_lock() {
    # The lock is taken where the new file has its name, and is ours if nobody else has it just then.
    replace publish.rs '        if !inode::try_kernel_lock(&file).map_err(Error::io("take the kernel lock of", path))? {
            return Ok(None);
        }
' ''
    replace publish.rs '        Ok(Some(LockGuard::new(' \
        '        if !inode::try_kernel_lock(&self.file).map_err(Error::io("take the kernel lock of", path))? {
            return Ok(None);
        }
        Ok(Some(LockGuard::new('
}

failed=0
printf '%-52s %-10s %s\n' "mutant" "found in" "how"
# Under this policy a live owner's record does not stand in for the kernel lock that a mutant lets go too early.
fight=no_two_own_it_with_the_kernel_lock_only
for mutant in no_path_check_before_the_removal_of_a_stale_file stale_inode_unlocked_before_the_unlink \
    release_unlocks_before_the_unlink name_published_before_the_kernel_lock; do
    fresh_copy
    "$mutant"
    if ! (cd "$copy" && cargo test --locked --quiet --no-run --test torture) >"$work/build" 2>&1; then
        cat "$work/build"
        echo "$mutant does not compile, and so proves nothing"
        exit 1
    fi
    if (cd "$copy" && timeout 300 cargo test --locked --quiet --test torture -- "$fight" --exact) >"$work/out" 2>&1; then
        verdict="NOT FOUND"
    else
        verdict=$(sed -nE 's/^TORTURE.*, ([0-9.]+ s): ([0-9]+ acquisitions).*; (violations [0-9]+, lost updates [0-9]+).*/\1|\2; \3/p' "$work/out")
    fi
    case "$verdict" in
    *\|*"violations 0, lost updates 0"* | "NOT FOUND" | "")
        tail -20 "$work/out"
        verdict="NOT FOUND|"
        failed=1
        ;;
    esac
    printf '%-52s %-10s %s\n' "$mutant" "${verdict%%|*}" "${verdict#*|}"
    sed -nE 's/^ *left: Some\("(.*)"\)$/    \1/p' "$work/out"
done
exit "$failed"
