#!/usr/bin/env python3
"""Draws the plot of BENCHES.md: cycle time by peer, and hand-off latency, both on a logarithmic scale.

    python3 benches/plot.py > benches/peers.svg

Reads target/pidlockfile-benches/*.json; what is not there is left out.
"""

import math
from html import escape

from table import BARE, OURS, crash_and_crowd, results

WIDTH, LABELS, BARS = 860, 210, 300
LINE, BAR = 24, 15


def text_of(time):
    return f"{time / 1e3:.1f} µs" if time < 1e6 else f"{time / 1e6:.1f} ms"


def panel(title, rows, top):
    """Bars on a logarithmic scale of whole decades; rows are (name, nanoseconds, remark)."""
    first = math.floor(math.log10(min(time for _, time, _ in rows)))
    last = math.ceil(math.log10(max(time for _, time, _ in rows)))
    place = lambda time: (math.log10(time) - first) / (last - first) * BARS
    bottom = top + 44 + len(rows) * LINE
    yield f'<text x="12" y="{top + 18}" class="title">{escape(title)}</text>'
    for decade in range(first, last + 1):
        x = LABELS + place(10 ** decade)
        yield f'<path d="M{x:.1f} {top + 46}V{bottom}" class="scale"/>'
        yield f'<text x="{x:.1f}" y="{top + 40}" class="scale">{text_of(10 ** decade).replace(".0", "")}</text>'
    for index, (name, time, remark) in enumerate(rows):
        y = top + 48 + index * LINE
        ours = name in (OURS, "acquire_with_retry") or name.startswith(f"{OURS}, ")
        kind = "ours" if ours else "floor" if BARE in name else "peer"
        length = max(1, place(time))
        yield f'<text x="{LABELS - 8}" y="{y + 12}" class="name {kind}">{escape(name)}</text>'
        yield f'<rect x="{LABELS}" y="{y}" width="{length:.1f}" height="{BAR}" class="{kind}"/>'
        yield (f'<text x="{LABELS + length + 6:.1f}" y="{y + 12}" class="halo">{text_of(time)}'
               f'<tspan class="remark" dx="8">{escape(remark)}</tspan></text>')


def remark(seen, stress, name):
    """What the peer does not do."""
    said = ["no pid"] if seen.get("pid recorded") == "no" else []
    said += ["file stays"] if seen.get("file removed") == "no" else []
    survives, exclusion = crash_and_crowd(stress, name)
    said += ["locked for ever after a crash"] if survives == "no" else []
    said += ["not exclusive under stress"] if "lost" in exclusion else []
    return ", ".join(said)


def draw(everything):
    stress = everything.get("contended", {}).get("stress", [])
    cycle = everything["cycle"]
    cycles = [(row["name"], row["median_ns"], remark(cycle["seen"].get(row["name"], {}), stress, row["name"]))
              for row in cycle["races"][0]["rows"]]
    cycles += [(row["name"], row["cycle"]["median_ns"], remark(row, [], row["name"]))
               for row in everything.get("others", {}).get("rows", []) if row["name"] not in ("floor", OURS)]
    handoffs = [(row["name"], row["median_ns"], "") for row in everything.get("handoff", {}).get("rows", [])
                if row["median_ns"] is not None]
    panels = [("Acquire and release on tmpfs, nobody in the way", cycles),
              ("From one owner's release to the next one's acquire, median", handoffs)]
    top, parts = 8, []
    for title, rows in panels:
        if rows:
            parts += panel(title, sorted(rows, key=lambda row: row[1]), top)
            top += 60 + len(rows) * LINE
    return "\n".join([
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{top}" '
        f'viewBox="0 0 {WIDTH} {top}" font-family="sans-serif" font-size="13">',
        "<style>text{fill:#24292f}.title{font-size:15px;font-weight:bold}.name{text-anchor:end}"
        ".name.ours{font-weight:bold}.remark{fill:#6e7781}.halo{paint-order:stroke;stroke:#fff;stroke-width:3px}"
        "text.scale{text-anchor:middle;fill:#6e7781;font-size:11px}path.scale{stroke:#d8dee4}"
        "rect.ours{fill:#c2410c}rect.peer{fill:#8fa3b8}rect.floor{fill:#d0d7de}</style>",
        f'<rect width="{WIDTH}" height="{top}" fill="#ffffff"/>',
        *parts, "</svg>"])


if __name__ == "__main__":
    print(draw(results()))
