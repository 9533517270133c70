#!/usr/bin/env python3
"""Draws the README's plot: cycle time by peer, and hand-off latency where it has been measured.

    python3 benches/plot.py > benches/peers.svg
    python3 benches/plot.py RESULTS.json … > benches/peers.svg

Without arguments it takes cycle-tmpfs.json, others.json and handoff*.json from
target/pidlockfile-benches, as far as they are there. A file of hand-off latencies says
{"bench": "handoff", "rows": [{"name": …, "median_ns": …}, …]}.
"""

import json
import sys
from html import escape
from pathlib import Path

from table import OURS, crash_and_crowd, directory

WIDTH, LABELS, BARS = 860, 210, 300
LINE, BAR = 24, 15
TOO_LONG = 1e6  # a bar of more than a millisecond would leave nothing to see of the others


def panel(title, rows, top):
    """Bars from zero, on a linear scale; rows are (name, nanoseconds, remark)."""
    yield f'<text x="12" y="{top + 18}" class="title">{escape(title)}</text>'
    longest = max(time for _, time, _ in rows)
    for index, (name, time, remark) in enumerate(rows):
        y = top + 34 + index * LINE
        ours = name in (OURS, "acquire_with_retry") or name.startswith(f"{OURS}, ")
        kind = "ours" if ours else "floor" if "bare" in name else "peer"
        length = max(1, time / longest * BARS)
        unit = f"{time / 1e3:.1f} µs" if time < 1e6 else f"{time / 1e6:.1f} ms"
        yield f'<text x="{LABELS - 8}" y="{y + 12}" class="name {kind}">{escape(name)}</text>'
        yield f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" class="{kind}"/>'
        yield (f'<text x="{LABELS + length + 6:.1f}" y="{y + 12}">{unit}'
               f'<tspan class="remark" dx="8">{escape(remark)}</tspan></text>')


def remark(row, stress):
    """What the peer does not do."""
    remarks = row.get("remarks", row)
    said = [] if remarks.get("pid recorded", "") != "no" else ["no pid"]
    if remarks.get("file removed") == "no":
        said.append("file stays")
    survives, exclusion = crash_and_crowd(stress, row["name"])
    if survives == "no":
        said.append("locked for ever after a crash")
    if "lost" in exclusion:
        said.append("not exclusive under stress")
    return ", ".join(said)


def draw(results):
    by_bench = {}
    for result in results:
        by_bench.setdefault(result.get("bench", "contended"), []).append(result)
    stress = [row for result in by_bench.get("contended", []) for row in result["stress"]]
    cycles = [(row["name"], row["median_ns"], remark(row, stress))
              for result in by_bench.get("cycle", []) for row in result["rows"]]
    cycles += [(row["name"], row["cycle"]["median_ns"], remark(row, stress))
               for result in by_bench.get("others", []) for row in result["rows"]
               if row["name"] not in ("floor", OURS) and row["cycle"]["median_ns"] < TOO_LONG]
    panels = [("Acquire and release on tmpfs, nobody in the way", cycles)]
    handoffs = [(row["name"], row["median_ns"], "")
                for result in by_bench.get("handoff", []) for row in result["rows"]
                if row["median_ns"] is not None]
    panels.append(("From one owner's release to the next one's acquire, median", handoffs))

    top, parts = 8, []
    for title, rows in panels:
        if rows:
            parts += panel(title, sorted(rows, key=lambda row: row[1]), top)
            top += 46 + len(rows) * LINE
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
        f'viewBox="0 0 {WIDTH} {top}" font-family="sans-serif" font-size="13">',
        "<style>text{fill:#24292f}.title{font-size:15px;font-weight:bold}.name{text-anchor:end}"
        ".name.ours{font-weight:bold}.remark{fill:#6e7781}"
        "rect.ours{fill:#c2410c}rect.peer{fill:#8fa3b8}rect.floor{fill:#d0d7de}</style>",
        f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>',
        *parts, "</svg>"])


def main():
    files = [Path(name) for name in sys.argv[1:]]
    if not files:
        where = directory()
        named = [where / name for name in ("cycle-tmpfs.json", "others.json", "contended.json")]
        files = [file for file in named if file.exists()] + sorted(where.glob("handoff*.json"))
    print(draw([json.loads(file.read_text()) for file in files]))


if __name__ == "__main__":
    main()
