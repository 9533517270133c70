"""Prints the public API of the crate, an item a line, from rustdoc's JSON and the sources that it points to.

    python3 .ci/public_api.py JSON      # `bash .ci/package api` makes the JSON

Signatures are the sources' own text, so little of it depends on the format of the JSON, which is the nightly's.
"""

import json
import re
import sys
from pathlib import Path

CRATE = json.loads(Path(sys.argv[1]).read_text())
INDEX = CRATE["index"]


def item(id):
    return INDEX.get(str(id))


def text(of, ends):
    """The source of an item up to one of these characters outside of all brackets, on one line."""
    lines = Path(of["span"]["filename"]).read_text().splitlines()
    (first, column), (last, _) = of["span"]["begin"], of["span"]["end"]
    source = "\n".join([lines[first - 1][column - 1:], *lines[first:last]])
    source = re.sub(r"//.*", "", source)
    depth = 0
    for at, char in enumerate(source):
        if depth == 0 and char in ends:
            source = source[:at]
            break
        if char in ")]" or char == ">" and source[at - 1] not in "-=":
            depth -= 1
        elif char in "([<":
            depth += 1
    source = re.sub(r"\s+", " ", source).strip()
    source = re.sub(r"([(,] ?)mut ", r"\1", source)  # how a function calls its argument is its own affair
    return re.sub(r",? ([)\]}>])", r"\1", re.sub(r"([(\[<]) ", r"\1", source)).removesuffix(",")


def line(path, signature, of):
    mark = "".join(f"#[{mark}] " for mark in ("non_exhaustive", "must_use") if mark in str(of["attrs"]))
    print(f"{path}: {mark}{signature}")


def type_of(path, of, inner):
    line(path, text(of, "{;("), of)
    kind = inner.get("kind")
    if isinstance(kind, dict) and "plain" in kind:
        for field in map(item, kind["plain"]["fields"]):
            line(f"{path}.{field['name']}", text(field, ","), field)
    for variant in map(item, inner.get("variants", [])):
        fields = variant["inner"]["variant"]["kind"]
        fields = fields["struct"]["fields"] if isinstance(fields, dict) and "struct" in fields else []
        fields = ", ".join(text(field, ",") for field in map(item, fields))
        line(f"{path}::{variant['name']}", f"{variant['name']} {{ {fields} }}" if fields else text(variant, "{,"), variant)
    for impl in map(item, inner["impls"]):
        what = impl["inner"]["impl"] if impl else {"is_synthetic": True}
        if what["is_synthetic"] or what["blanket_impl"] or (what["trait"] or {}).get("path") == "StructuralPartialEq":
            continue
        header = text(impl, "{") if impl["span"] else ""
        if what["trait"]:
            # What derives it has no header.
            line(path, header if header.startswith("impl") else f"impl {what['trait']['path']}", impl)
        else:
            for of in map(item, what["items"]):
                line(f"{path}::{of['name']}", text(of, "{;=") + (f"  in {header}" if "<" in header else ""), of)


def walk(path, ids):
    for of in map(item, ids):
        if not of:
            continue
        (kind, inner), = of["inner"].items()
        name = f"{path}::{inner['name'] if kind == 'use' else of['name']}"
        if kind == "use":
            target = item(inner["id"])
            if not target:
                line(name, f"use {inner['source']}", of)
                continue
            of, ((kind, inner),) = target, target["inner"].items()
        if kind == "module" and name == "pidlockfile::recipes":
            continue  # pages, which no build contains
        if kind == "module":
            line(name, "mod", of)
            walk(name, inner["items"])
        elif "impls" in inner:
            type_of(name, of, inner)
        else:
            line(name, text(of, "{;"), of)
            if kind == "trait":
                for member in map(item, inner["items"]):
                    provided = " { … }" if member["inner"].get("function", {}).get("has_body") else ""
                    line(f"{name}::{member['name']}", text(member, "{;") + provided, member)
                for impl in map(item, inner["implementations"]):
                    # Those for our own types stand there.
                    if not item(impl["inner"]["impl"]["for"].get("resolved_path", {}).get("id")):
                        line(name, text(impl, "{"), impl)


walk("pidlockfile", item(CRATE["root"])["inner"]["module"]["items"])
