"""A tutorial as a page, and what makes every page fast, private and at home on any host."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from pathlib import Path

import minify_html
import tinycss2
from tinycss2.ast import AtRule, Node, QualifiedRule

from engine.prove import records
from engine.site import fence

INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)

HEADERS = """\
/*
  Content-Security-Policy: {policy}; frame-ancestors 'none'
  X-Content-Type-Options: nosniff
  X-Frame-Options: DENY
  Referrer-Policy: strict-origin-when-cross-origin
  Permissions-Policy: camera=(), geolocation=(), microphone=()
  Cross-Origin-Opener-Policy: same-origin

/assets/*
  Cache-Control: public, max-age=3600
"""


def of_tutorial(path: Path) -> str:
    """The page of a recorded notebook, for the site's own Markdown: its code and outputs as on every other page."""
    notebook = records.notebook(path)
    heading = notebook.cells[0].source.partition("\n")[0].removeprefix("# ").replace("`", "")
    meta = {"title": heading, "description": notebook.metadata.get("description", "")}
    parts = ["\n".join(["---", *(f"{key}: {json.dumps(value)}" for key, value in meta.items()), "---"])]
    for cell in notebook.cells:
        parts.append(fence("python", cell.source) if cell.cell_type == "code" else cell.source)
        recorded = records.of_cell(cell)
        if recorded.printed:
            parts.append(fence('text title="Output"', recorded.printed))
        if recorded.picture:
            # The colours of a sheet of paper become the page's, light or dark.
            svg = recorded.picture.svg.replace("#000000", "currentColor").replace("#ffffff", "none")
            parts.append(f'<figure class="plot" data-search-exclude>\n{svg}\n</figure>')
    return "\n\n".join(parts) + "\n"


def published(html: str, *, reloads: bool = False) -> str:
    """A page as it is published: small, and with a policy that lets nothing in that the site didn't write.

    A page that reloads itself has none: MkDocs adds the script for that when it serves the page, each time another.
    """
    html = minify_html.minify(html, keep_closing_tags=True)
    if reloads:
        return html
    meta = f'<meta http-equiv="Content-Security-Policy" content="{policy(hashes(html))}">'
    return html.replace("<meta charset=utf-8>", f"<meta charset=utf-8>{meta}", 1)


def hashes(html: str) -> set[str]:
    """Of the scripts that stand in a page: no other may."""
    digests = (hashlib.sha256(script.encode()).digest() for script in INLINE.findall(html))
    return {f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests}


def policy(scripts: set[str]) -> str:
    """The Content-Security-Policy of pages with these scripts in them."""
    return "; ".join(
        [
            "default-src 'self'",
            f"script-src 'self' {' '.join(sorted(scripts))}",
            "style-src 'self' 'unsafe-inline'",  # plots carry their style
            "img-src 'self' data:",
            "object-src 'none'",
            "base-uri 'none'",
            "form-action 'self'",
        ]
    )


def finish(folder: Path) -> None:
    """Write what concerns all pages: one stylesheet, a host's headers."""
    of_theme = sorted(folder.glob("assets/stylesheets/*.css"), key=lambda sheet: not sheet.name.startswith("main."))
    sheets = [*of_theme, folder / "assets/site.css"]  # the palette comes after the rest of the theme
    text = "\n".join(sheet.read_text(encoding="utf-8") for sheet in sheets)
    pages = [file.read_text(encoding="utf-8") for file in folder.rglob("*.html")]
    files = [*folder.glob("assets/*.js"), *folder.glob("assets/javascripts/*.js")]
    text = without_unused(text, [*pages, *(file.read_text(encoding="utf-8") for file in files)])
    (folder / "assets/stylesheets/all.css").write_text(text, encoding="utf-8")
    for unused in [*sheets, *folder.rglob("*.map")]:
        unused.unlink()

    scripts = set().union(*map(hashes, pages))
    (folder / "_headers").write_text(HEADERS.format(policy=policy(scripts)), encoding="utf-8")


def without_unused(css: str, users: list[str]) -> str:
    """The rules of a stylesheet but those for classes that no page and no script names: a third of the theme's."""
    named = set().union(*(re.findall(r"[\w-]+", text) for text in users))
    return _written(tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True), named)


def _written(rules: list[Node], named: set[str]) -> str:
    return "".join(_rule(rule, named) for rule in rules)


def _rule(rule: Node, named: set[str]) -> str:
    if isinstance(rule, QualifiedRule):
        selectors = [selector for selector in _split(rule.prelude) if _classes(selector) <= named]
        written = ",".join(tinycss2.serialize(selector).strip() for selector in selectors)
        declarations = tinycss2.serialize([node for node in rule.content if node.type != "comment"])
        declarations = re.sub(r"\s+", " ", declarations.strip()).replace("; ", ";").replace(": ", ":")
        return f"{written}{{{declarations}}}" if selectors else ""
    if isinstance(rule, AtRule) and rule.lower_at_keyword in ("media", "supports"):
        inner = _written(tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True), named)
        return f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{inner}}}" if inner else ""
    return tinycss2.serialize([rule])


def _split(prelude: list[Node]) -> list[list[Node]]:
    """A list of selectors, one by one."""
    selectors: list[list[Node]] = [[]]
    for node in prelude:
        if node == ",":
            selectors.append([])
        else:
            selectors[-1].append(node)
    return selectors


def _classes(selector: list[Node]) -> set[str]:
    """Those that an element has to have; what stands in `:is()` or `:not()` isn't looked at."""
    outside = tinycss2.serialize([node for node in selector if node.type != "function"])
    return set(re.findall(r"\.([\w-]+)", outside))


def changed(root: Path) -> dict[str, str]:
    """Date of the last commit that changed each file, as 2026-11-23; nothing outside of a repository."""
    command = ["git", "log", "--format=%x00%cs", "--name-only"]
    try:
        log = subprocess.run(command, cwd=root, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return {}
    dates: dict[str, str] = {}
    for commit in log.split("\0")[1:]:
        date, *paths = commit.split("\n")
        for path in filter(None, paths):
            dates.setdefault(path, date)
    return dates
