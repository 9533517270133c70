# The checks of a mounted file system, and the table of the results. Sourced by tests/filesystems.sh.

# The modules of tests/it that test the core: what it promises on any file system.
core=(exclusion:: stale:: record:: rogue:: fork:: paths:: crash:: schedule:: flock:: fallback:: nfs::
    leftover:: users::)
fights=(no_two_own_it_in_the_given_directory no_two_own_it_with_the_kernel_lock_only
    no_two_own_it_without_kills no_two_own_it_without_kills_with_the_kernel_lock_only)

# Known not to protect: the table shows the result, which fails nothing.
not_protected=(gocryptfs)

is_protected() {
    [[ " ${not_protected[*]} " != *" $name "* ]]
}

# In sysexits.h it is EX_CANTCREAT.
CANNOT_CREATE=73

failures_of_all=()
rows=()
row() {
    local IFS='|'
    rows+=("$*")
}
print_table() {
    echo
    {
        echo "file system|published|tests|acquisitions|kills|violations|stuck|hand-over|"
        printf '%s\n' "${rows[@]}"
    } | awk -F'|' '{
        if (NF == 2) { printf "%-18s %s\n", $1, $2; next }
        printf "%-18s %-10s %-32s %12s %6s %10s %5s %10s  %s\n", $1, $2, $3, $4, $5, $6, $7, $8, $9
    }'
    [ ${#failures_of_all[@]} = 0 ] || printf '\nfailed on %s' "${failures_of_all[@]}"
    echo
}

check() {
    case $name in
    read-only) check_refused stale.pid absent.pid ;;
    full) check_refused absent.pid ;;
    bindfs-and-behind) check_both_sides ;;
    bindfs-crowded) check_crowded ;;
    overlay-*) check_lower_layer && check_protected ;;
    *) check_protected ;;
    esac
}

# Ends a check whose server hangs, and so only its own row.
in_time() {
    PIDLOCKFILE_TEST_DIR=$m timeout -k 5 120 "$@"
}

# How the file of a free lock gets its name, judged by the system calls.
way_of_publishing() {
    local calls=$WORK/$name/calls
    strace -qq -s 4096 -o "$calls" -e trace=openat,link,linkat,rename,renameat,renameat2 \
        "$WITH_LOCK" -n "$m/probe.pid" true >"$WORK/$name/probe" 2>&1 || { echo refused; return; }
    if grep -qE '^(link|linkat|rename|renameat|renameat2)\(.*\.pidlockfile-.* = 0' "$calls"; then
        echo "named"
    elif grep -qE '^linkat\(.*/probe\.pid".* = 0' "$calls"; then
        echo "unnamed"
    elif grep -qE '^openat\(.*/probe\.pid".*O_CREAT\|O_EXCL.* = [0-9]' "$calls"; then
        echo "exclusive"
    else
        echo "unknown"
    fi
}

sum_of() { # PATTERN FILE: adds up the numbers that stand where the pattern has (N)
    sed -nE "s/.*${1/N/[0-9]+}.*/\\1/p" "$2" | awk '{ sum += $1 } END { print sum + 0 }'
}

check_protected() {
    local log=$WORK/$name/log way hand_over notes=() verdict=0 out started=$SECONDS
    local tests=0 passed failures skipped acquisitions kills violations stuck modules=("${core[@]}") one_by_one=()
    is_protected || modules=(exclusion::)
    way=$(way_of_publishing)
    [ "$way" != refused ] || notes+=("$(tail -1 "$WORK/$name/probe")")

    # If the link count of a removed open file stays, a copy of its kernel lock shows, as a process has it that
    # another test is just starting: so run one test at a time. Without TORTURE_SECONDS no test takes its long
    # form.
    [ "$way" != exclusive ] || one_by_one=(--test-threads=1)
    in_time env -u TORTURE_SECONDS "$IT" "${modules[@]}" "${one_by_one[@]}" >"$log.it" 2>&1 || tests=$?
    passed=$(sed -nE 's/^test result: .* ([0-9]+) passed.*/\1/p' "$log.it")
    mapfile -t failures < <(sed -nE 's/^test (.*) \.\.\. FAILED$/\1/p' "$log.it" | sort -u)
    # These passed without testing anything.
    skipped=$(grep -ao 'SKIPPED [^:]*::[^:]*' "$log.it" | sort -u | wc -l)
    passed=$((${passed:-0} - skipped))
    grep -a '^SKIPPED' "$log.it" || true
    if [ "$tests" != 0 ]; then
        verdict=1
        grep -aE '^test .* FAILED$' "$log.it" || tail -5 "$log.it"
        grep -a 'panicked at' -A1 "$log.it" | grep -vE '^--$|peer::peer' | cut -c1-300 || true
    fi
    failures_of_all+=("${failures[@]/#/$name: }")

    out=0
    local fighting=$SECONDS
    in_time "$TORTURE" "${fights[@]}" --exact --include-ignored --test-threads=1 >"$log.torture" 2>&1 || out=$?
    grep -ao 'TORTURE .*' "$log.torture" >"$log.fights" || true
    cat "$log.fights"
    [ "$out" = 0 ] || verdict=1
    echo "the tests took $((fighting - started)) s, the fights $((SECONDS - fighting)) s"
    # Each fight that ends prints one line, whatever its outcome.
    if [ "$(wc -l <"$log.fights")" != ${#fights[@]} ]; then
        verdict=1
        notes+=("a fight did not end")
        tail -20 "$log.torture"
    fi
    mapfile -t -O ${#notes[@]} notes < <(sed -nE 's/^ *left: Some\("(.*)"\)$/\1/p' "$log.torture" | cut -c1-160 | head -1)
    grep -aE "panicked at" -A3 "$log.torture" | grep -aE '^ *(left|stuck|[0-9]+ steps)' | cut -c1-400 || true
    acquisitions=$(sum_of ': (N) acquisitions' "$log.fights")
    kills=$(sum_of ' (N) kills' "$log.fights")
    violations=$(($(sum_of 'violations (N)' "$log.fights") + $(sum_of 'lost updates (N)' "$log.fights")))
    stuck=$(sum_of 'stuck (N)' "$log.fights")

    out=0
    hand_over=$(in_time "$IT" mounted::a_lock_is_handed_over_and_the_time_is_printed --exact --ignored --nocapture 2>"$log.hand" |
        sed -nE 's/.*HAND-OVER (.*)/\1/p') || out=$?
    if [ "$out" != 0 ] || [ -z "$hand_over" ]; then
        verdict=1
        hand_over=failed
    fi

    if ! is_protected; then
        notes=("not protected" "${notes[@]}")
        verdict=0
    fi
    local IFS=' '
    row "$name" "$way" "$passed passed, ${#failures[@]} failed, $skipped skipped" "$acquisitions" "$kills" "$violations" "$stuck" \
        "$hand_over" "${notes[*]}"
    return "$verdict"
}

# No lock is possible here: expect an error that says so at once, and no change.
check_refused() {
    local file text=() status verdict=0 before after
    for file in "$@"; do
        before=$(cd "$m" && ls -la)
        status=0
        text+=("$(in_time "$WITH_LOCK" -n "$m/$file" true 2>&1)") || status=$?
        after=$(cd "$m" && ls -la)
        if [ "$status" != $CANNOT_CREATE ] || [ "$before" != "$after" ]; then
            echo "exit status $status; before: $before; after: $after"
            verdict=1
        fi
    done
    row "$name" "refused" "" "" "" "" "" "" "${text[*]//$m/…}"
    return $verdict
}

# The lower layer of an overlay holds a live owner's file and stale ones; four processes at once try to lock
# each stale one.
check_lower_layer() {
    local i j status=0 pids
    in_time "$WITH_LOCK" -n --pid-too -E 75 "$m/live.pid" true 2>/dev/null || status=$?
    [ "$status" = 75 ] && [ -e "$m/live.pid" ] || { echo "a live owner's file of the lower layer was taken: $status"; return 1; }
    for ((i = 0; i < 20; i++)); do
        pids=()
        for ((j = 0; j < 4; j++)); do
            # mkdir(2) fails if there are two owners.
            in_time "$WITH_LOCK" -w 20 "$m/stale$i.pid" sh -c 'mkdir "$0" && rmdir "$0"' "$WORK/$name/owned" 2>>"$WORK/$name/lower" &
            pids+=($!)
        done
        for j in "${pids[@]}"; do wait "$j" || { echo "of the lower layer: stale$i.pid"; grep -v waiting "$WORK/$name/lower"; return 1; }; done
        [ ! -e "$m/stale$i.pid" ] || { echo "stale$i.pid is still there"; return 1; }
    done
}

check_both_sides() {
    local verdict=0 log=$WORK/$name/log
    PIDLOCKFILE_TEST_DIR_BEHIND=$WORK/$name/behind in_time "$IT" --ignored --exact \
        mounted::a_lock_taken_on_one_side_of_a_mount_is_refused_on_the_other >"$log" 2>&1 || verdict=1
    [ $verdict = 0 ] || cat "$log"
    row "$name" "" "" "" "" "" "" "" "$([ $verdict = 0 ] && echo "a lock on one side is refused on the other" || echo "TWO OWNERS, or no answer")"
    return $verdict
}

check_crowded() {
    local verdict=0 log=$WORK/$name/log behind=$WORK/$name/behind
    mkdir "$behind/empty" "$behind/crowded"
    (cd "$behind/crowded" && seq -f 'file%.0f' 100000 | xargs touch)
    in_time "$IT" --ignored --exact --nocapture \
        mounted::a_cycle_beside_a_hundred_thousand_files_costs_at_most_a_tenth_more >"$log" 2>&1 || verdict=1
    [ $verdict = 0 ] || tail -5 "$log"
    row "$name" "" "" "" "" "" "" "" "a cycle beside 100,000 files: $(sed -nE 's/.*CROWDED (.*)/\1/p' "$log" | grep . || echo none)"
    return $verdict
}
