"""Names the links of rustdoc's pages that lead nowhere: a page or a heading that is not there, or no https."""

import re
import sys
from pathlib import Path
from urllib.parse import unquote

CRATE = Path(sys.argv[1]).resolve()
pages = {page: page.read_text() for page in CRATE.rglob("*.html")}
dead = set()
for page, text in pages.items():
    ours, _, _ = text.partition('id="blanket-implementations"')  # what follows is other crates' text
    for link in re.findall(r'<a [^>]*?href="([^"]+)"', ours):
        path, _, heading = link.partition("#")
        if re.match(r"[a-z]+:", link):
            if not link.startswith(("https://", "javascript:")):
                dead.add((page, link))
            continue
        target = (page.parent / unquote(path)).resolve() if path else page
        if not target.exists() and target != CRATE.parent / "index.html":  # docs.rs has one
            dead.add((page, link))
        elif heading and target in pages and not re.fullmatch(r"[0-9-]+", heading) \
                and f'id="{heading}"' not in pages[target]:
            dead.add((page, link))
for page, link in sorted(dead):
    print(f"{page.relative_to(CRATE)}: {link}")
sys.exit(bool(dead) or not pages)
