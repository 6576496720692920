"""What a section is found by beside its own words: written under its heading, read by the search, shown to nobody.

`<!-- search: unfreeze, fine-tuning -->` has words that readers use for what the section answers.
`<!-- search lacks: quantization, int8 -->` has a topic that the site doesn't answer yet, by other names too, and the
section is what is near. The search says both.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

COMMENT = r"<!-- search(?P<lacks> lacks)?: (?P<phrases>[^<>]+) -->"
MARK = re.compile(rf'<h(?P<level>[1-6])[^>]* id="(?P<anchor>[^"]*)"|{COMMENT}\n?')
LINE = re.compile(rf"^# {COMMENT}$")
"""A comment as a module of a tutorial has it."""
LINKS = r"<ul>\s*(?:<li>(?:<p>)?<a (?:(?!</li>).)*</li>\s*)+</ul>"
LEADS_ON = re.compile(rf'<h[2-6][^>]* id="([^"]*)"(?:(?!</h).)*</h[2-6]>\s*{LINKS}\s*(?=<h|$)', re.DOTALL)
"""A section that is a list of links to what answers: it only names it."""

Noted = dict[str, dict[str, list[Any]]]
"""By the anchor of a section, "" for the page itself: its `search` and `lacks`, as the index has them, or `leads`."""


def noted(html: str) -> tuple[str, Noted]:
    """A page without its comments for the search, and what they say."""
    found: Noted = {}
    anchor = ""
    for mark in MARK.finditer(html):
        if mark["phrases"] is None:
            anchor = "" if mark["level"] == "1" else mark["anchor"]
            continue
        phrases = [" ".join(phrase.split()) for phrase in mark["phrases"].split(",")]
        of_section = found.setdefault(anchor, {})
        if mark["lacks"]:
            of_section.setdefault("lacks", []).append(phrases)
        else:
            of_section.setdefault("search", []).extend(phrases)
    for anchor in LEADS_ON.findall(html):
        found[anchor] = {"leads": []}
    return MARK.sub(lambda mark: "" if mark["phrases"] else mark[0], html), found


def write(folder: Path, pages: dict[str, Noted]) -> None:
    """Add to the index what pages note, by their addresses; and write it for a site in a folder too."""
    path = folder / "search/search_index.json"
    index = json.loads(path.read_text(encoding="utf-8"))
    for doc in index["docs"]:
        page, _, anchor = doc["location"].partition("#")
        doc.update(pages.get(page, {}).get(anchor, {}))
    index["docs"] = [doc for doc in index["docs"] if "leads" not in doc]
    text = json.dumps(index, ensure_ascii=False, separators=(",", ":"))
    path.write_text(text, encoding="utf-8")
    path.with_suffix(".js").write_text(f"var __index = {text}", encoding="utf-8")
