"""A tutorial as a page, and what makes every page fast, private and at home on any host."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

import minify_html
import tinycss2
from tinycss2.ast import AtRule, Node, QualifiedRule

from engine.prove import records
from engine.site import Site, cells, fence, has_cells

INLINE = re.compile(r"<script>(.*?)</script>", re.DOTALL)
CLASSES = re.compile(r"""class=(?:"([^"]*)"|([^\s>]+))""")
MADE_OF_NOTHING_HERE = ("md-annotation", "md-consent", "md-feedback", "md-source__fact", "md-tooltip", "md-version")
MADE_OF_NOTHING_HERE += ("md-code__content", "tabbed")
"""What the theme's script would make of things that no page has; a page that had them would name them itself."""

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


def covers(site: Site, module: Path) -> list[str]:
    """The plot that stands for a tutorial on the home page, as a file of its own."""
    marked = [cell for cell in cells(module) if cell.is_cover] if has_cells(module) else []
    return [picture.svg for cell in marked if (picture := records.read(site, cell).picture)]


def published(html: str, *, reloads: bool = False) -> str:
    """A page as it is published: small, and with a policy that lets nothing in that the site didn't write.

    A page that reloads itself has none: MkDocs adds the script for that when it serves the page, each time another.
    """
    html = minify_html.minify(html, keep_closing_tags=True)
    html = html.replace(" xmlns=http://www.w3.org/2000/svg", "")  # needed in files of their own only
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
    """Write what concerns all pages: one script, one stylesheet, a host's headers."""
    for script in folder.glob("assets/*.js"):
        script.write_text(_minified(script.read_text(encoding="utf-8")), encoding="utf-8")
    # What search needs comes before the theme's script, the rest after it.
    of_theme = folder.glob("assets/javascripts/bundle.*.js")
    _join([folder / "assets/search.js", *of_theme, folder / "assets/site.js"], folder / "assets/all.js")
    users = [*folder.glob("assets/*.js"), *folder.glob("assets/javascripts/*.js")]

    of_theme = sorted(folder.glob("assets/stylesheets/*.css"), key=lambda sheet: not sheet.name.startswith("main."))
    sheet = folder / "assets/stylesheets/all.css"
    _join([*of_theme, folder / "assets/site.css"], sheet)  # the palette comes after the rest of the theme
    pages = [file.read_text(encoding="utf-8") for file in folder.rglob("*.html")]
    used = without_unused(
        sheet.read_text(encoding="utf-8"), pages, [file.read_text(encoding="utf-8") for file in users]
    )
    sheet.write_text(used, encoding="utf-8")
    for unused in folder.rglob("*.map"):
        unused.unlink()

    inline = set().union(*map(hashes, pages))
    (folder / "_headers").write_text(HEADERS.format(policy=policy(inline)), encoding="utf-8")


def _join(files: list[Path], one: Path) -> None:
    one.write_text("\n".join(file.read_text(encoding="utf-8") for file in files), encoding="utf-8")
    for file in files:
        file.unlink()


def _minified(script: str) -> str:
    """A script without comments and white space; its names stay, for another script may use them."""
    within = minify_html.minify(f"<script>{script}</script>", minify_js=True)
    return within.removeprefix("<script>").removesuffix("</script>")


def without_unused(css: str, pages: list[str], scripts: list[str]) -> str:
    """The rules of a stylesheet but those for what no page and no script names, which is a third of the theme's.

    That is classes, values of attributes such as `dir="rtl"`, and properties such as the icons of admonitions.
    """
    ours = set().union(*(re.findall(r"[\w-]+", text) for text in scripts))
    classes = {name for text in pages for quoted, bare in CLASSES.findall(text) for name in (quoted or bare).split()}
    classes |= {name for name in ours if not name.startswith(MADE_OF_NOTHING_HERE)}
    values = {value for text in pages for value in re.findall(r"[\w-]+=[\w-]+", text.replace('"', ""))} | ours
    for _ in range(2):  # a property may be read only by one that nothing reads
        read = set(re.findall(r"var\((--[\w-]+)", "".join([css, *pages]))) | ours
        parsed = tinycss2.parse_stylesheet(css, skip_comments=True, skip_whitespace=True)
        css = _written(parsed, Used(classes, values, read))
    return css


@dataclass(frozen=True)
class Used:
    """What pages and scripts name."""

    classes: set[str]
    values: set[str]
    """Attributes of pages with their values, as `dir=ltr`, and every word of the scripts, which may set any."""
    properties: set[str]

    def selector(self, selector: list[Node]) -> bool:
        """Whether it may select something; what stands in `:is()` or `:not()` isn't looked at."""
        outside = tinycss2.serialize([node for node in selector if node.type != "function"])
        values = re.findall(r"\[([\w-]+)=\"?([\w-]+)\"?\]", outside)
        return set(re.findall(r"\.([\w-]+)", outside)) <= self.classes and all(
            f"{name}={value}" in self.values or value in self.values for name, value in values
        )

    def declaration(self, text: str) -> bool:
        return not text.startswith("--") or text.partition(":")[0].strip() in self.properties


def _written(rules: list[Node], used: Used) -> str:
    return "".join(_rule(rule, used) for rule in rules)


def _rule(rule: Node, used: Used) -> str:
    if isinstance(rule, QualifiedRule):
        written = ",".join(tinycss2.serialize(one).strip() for one in _split(rule.prelude, ",") if used.selector(one))
        texts = (tinycss2.serialize(one).strip() for one in _split(rule.content, ";"))
        declarations = ";".join(_squeezed(text) for text in texts if text and used.declaration(text))
        return f"{written}{{{declarations}}}" if written and declarations else ""
    if isinstance(rule, AtRule) and rule.lower_at_keyword in ("media", "supports"):
        inner = _written(tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True), used)
        return f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{inner}}}" if inner else ""
    return tinycss2.serialize([rule])


def _squeezed(text: str) -> str:
    return re.sub(r"\s+", " ", text).replace(": ", ":", 1)


def _split(nodes: list[Node], at: str) -> list[list[Node]]:
    """A list of selectors or of declarations, one by one, without comments."""
    parts: list[list[Node]] = [[]]
    for node in nodes:
        if node == at:
            parts.append([])
        elif node.type != "comment":
            parts[-1].append(node)
    return parts


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
