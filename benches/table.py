#!/usr/bin/env python3
"""Makes the Markdown of BENCHES.md from what the benches have written.

    cargo bench && python3 benches/others.py && python3 benches/table.py > BENCHES.md

benches/measure does all of it. Reads target/pidlockfile-benches/*.json; what is not there is left out. A
bench's title, its note and its place in the order are in its results, from main.rs and others.py.
"""

import datetime
import json
import os
import platform
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OURS = "pidlockfile"
BARE = "bare"


def run(*command):
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()


def directory():
    metadata = json.loads(run("cargo", "metadata", "--no-deps", "--format-version", "1"))
    return Path(metadata["target_directory"]) / "pidlockfile-benches"


def results():
    """All that was measured, by name and in order."""
    found = {file.stem: json.loads(file.read_text()) for file in directory().glob("*.json")}
    return dict(sorted(found.items(), key=lambda item: item[1]["order"]))


def machine():
    cpu = re.search(r"model name\s*: (.*)", Path("/proc/cpuinfo").read_text())
    return (f"{datetime.date.today()}, {cpu[1] if cpu else platform.machine()}, {os.cpu_count()} cores, "
            f"Linux {platform.release()}, Rust {run('rustc', '--version').split()[1]}")


def version(name):
    if name.startswith("std "):
        return run("rustc", "--version").split()[1]
    package = OURS if name == "acquire_with_retry" else name.split(",")[0]
    found = re.search(f'name = "{re.escape(package)}"\nversion = "(.*)"', (ROOT / "Cargo.lock").read_text())
    return found[1] if found and BARE not in name else ""


def number(value):
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def table(headings, rows):
    print("|", " | ".join(headings), "|")
    print("|" + "---|" * len(headings))
    for row in rows:
        cells = [f"**{cell}**" if row[0] == OURS and cell else cell for cell in row]
        print("|", " | ".join(cells), "|")
    print()


def crash_and_crowd(stress, name):
    """The two columns that the stress test fills."""
    name = OURS if name == "acquire_with_retry" else name
    row = next((row for row in stress if row["name"] == name), None)
    if row is None:
        return "", ""
    survives = "yes" if row["survives"] else "no"
    # What hangs after the first crash has not been put to the test.
    held = "holds" if row["survives"] else "not tested: stuck after the first crash"
    return survives, f"{row['lost']} of {row['acquisitions']} updates lost" if row["lost"] else held


def races(result, everything):
    """A column of times for each file system; a cycle says besides what else is known of a lock."""
    first = result["races"][0]
    seen = result.get("seen")
    stress = everything.get("contended", {}).get("stress", [])
    headings = ["", *(["version"] if seen else [])]
    for race in result["races"]:
        headings += [f"{race['place']}, µs", f"× {race['floor']}"]
        headings += ["× " + OURS] if race is first else []
    if seen:
        headings += ["pid recorded", "file removed", "survives SIGKILL", "exclusion under stress"]
    rows = []
    for at, name in enumerate(row["name"] for row in first["rows"]):
        cells = [name, *([version(name)] if seen else [])]
        for race in result["races"]:
            row = race["rows"][at]
            cells += [number(row["median_ns"] / 1e3), number(row["to_floor"])]
            cells += [number(row["to_ours"])] if race is first else []
        if seen:
            cells += [seen.get(name, {}).get(what, "") for what in ("pid recorded", "file removed")]
            cells += crash_and_crowd(stress, name)
        rows.append(cells)
    table(headings, rows)


def contended(result, _):
    for waiting in dict.fromkeys(row["waiting"] for row in result["rows"]):
        print(f"2, 4 and 8 processes, {waiting}:\n")
        rows = {}
        for row in result["rows"]:
            if row["waiting"] == waiting:
                rows.setdefault(row["name"], []).append(row)
        join = lambda rows, key, form: " / ".join(form.format(row[key]) for row in rows)
        table(["", "acquisitions/s", "fairness (Jain)", "longest wait, ms", "lost updates"],
              [[name, join(row, "per_second", "{:.0f}"), join(row, "jain", "{:.2f}"),
                join(row, "longest_wait_ms", "{:.0f}"), join(row, "lost", "{}")]
               for name, row in rows.items()])
    print("8 processes, and owners that kill themselves:\n")
    table(["", "acquisitions", "owners killed", "lost updates"],
          [[row["name"], str(row["acquisitions"]), str(row["kills"]), str(row["lost"])]
           for row in result["stress"]])


def handoff(result, _):
    columns = {"median_ns": "released, p50", "p99_ns": "p99", "killed_ns": "killed, p50",
               "cpu_ns": "CPU of 32 waiters", "crowd_ns": "a crowd of 64", "crowd_cpu_ns": "its CPU"}
    milliseconds = lambda value: "" if value is None else number(value / 1e6)
    table(["", *(f"{heading}, ms" for heading in columns.values())],
          [[row["name"], *(milliseconds(row[key]) for key in columns)] for row in result["rows"]])
    print(f"On {result['place']}: the time without an owner, in {result['rounds']} rounds in which all take turns; "
          f"the CPU time of 32 processes that wait {result['seconds']} s for a held lock; and 64 that have waited "
          "for it and take ten turns of 1 ms each.\n")


def etcd(result, _):
    def cell(name, value):
        return "" if value is None else f"{value:.1f}" if "requests" in name else f"{number(value / 1e6)} ms"

    table(["", "ours", "Go's clientv3/concurrency", "× Go's"],
          [[row["name"], cell(row["name"], row["ours"]), cell(row["name"], row["go"]),
            number(row["ours"] / row["go"]) if row["go"] else ""] for row in result["rows"]])
    print(f"Medians of {result['rounds']} rounds in which both take turns on one server; requests an acquisition.\n")


def others(result, _):
    table(["", "version", "cycle, µs", "× " + OURS, "refused, µs", "× " + OURS, "file removed"],
          [[row["name"], row["version"], number(row["cycle"]["median_ns"] / 1e3),
            number(row["cycle"]["to_ours"]), number(row["busy"]["median_ns"] / 1e3),
            number(row["busy"]["to_ours"]), row["file removed"]] for row in result["rows"]])


def targets(everything):
    def row_of(rows, name):
        return next(row for row in rows if row["name"] == name)

    checks = [(f"cycle on {race['place']} / its bare system calls", 1.10, row_of(race["rows"], OURS)["to_floor"])
              for race in everything["cycle"]["races"]]
    if "refused" in everything:
        refused = row_of(everything["refused"]["races"][0]["rows"], OURS)
        checks.append(("refused attempt / open, flock, read, close", 1.30, refused["to_floor"]))
    go = next((row for row in everything.get("others", {}).get("rows", []) if row["name"].startswith("Go ")), None)
    if go:
        checks += [("cycle / Go's", 0.75, go["cycle"]["ours_to_it"]),
                   ("refused attempt / Go's", 0.15, go["busy"]["ours_to_it"])]
    if "handoff" in everything:
        ours, daemon, flock, poll, bare = (row_of(everything["handoff"]["rows"], name) for name in (
            f"{OURS}, wake on", f"{OURS}, daemon()", "fslock (blocking flock)", "a poll every 10 ms",
            "wake on, bare"))
        checks += [("released to acquired, p50 / blocking flock(2)", 2, ours["median_ns"] / flock["median_ns"]),
                   ("released to acquired, p50 / a file handed over by inotify(7), bare", 1.10,
                    ours["median_ns"] / bare["median_ns"]),
                   ("released to acquired, p99, ms", 3, ours["p99_ns"] / 1e6),
                   ("killed to acquired, p50, ms", 1, ours["killed_ns"] / 1e6),
                   ("CPU of 32 waiters / a poll's, default()", 0.10, ours["cpu_ns"] / poll["cpu_ns"]),
                   ("CPU of 32 waiters / a poll's, daemon()", 0.10, daemon["cpu_ns"] / poll["cpu_ns"])]
    print("## Targets\n")
    table(["", "at most", "is", ""], [[what, f"{limit:.2f}", f"{value:.3f}", "met" if value <= limit else "missed"]
                                      for what, limit, value in checks])


def main():
    everything = results()
    if "cycle" not in everything:
        sys.exit("run `cargo bench` first")
    print("# Benches\n")
    rounds = everything["cycle"]["races"][0]["rounds"]
    print(f"{machine()}. Medians of {rounds} rounds in which all take turns; ratios are taken within a round. "
          "`benches/measure` measures all of it anew and writes this file.\n")
    print("![Cycles and hand-overs as bars](benches/peers.svg)\n")
    for name, result in everything.items():
        print(f"## {result['title']}\n")
        {"contended": contended, "handoff": handoff, "etcd": etcd, "others": others}.get(name, races)(result, everything)
        if result["note"]:
            print(result["note"] + "\n")
    targets(everything)


if __name__ == "__main__":
    main()
