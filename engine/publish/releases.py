"""What readers of another release of Keras are told: under a block, above a page, and on a page of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path

from bs4 import BeautifulSoup, Tag

from engine.prove.releases import NIGHTLY, Tried, key
from engine.site import Site

CLASS = "release"
"""Of what is written here, and on no page."""
VERBS = {
    "prints": ("it prints", "another output"),
    "raises": ("it raises", "an exception"),
    "fails": ("it doesn't run through", "doesn't run through"),
    "draws": ("it draws another plot", "another plot"),
    "follows": ("it can't run, for a block above it raises", "can't run after one that raises"),
}
"""What a block does, under it and in the table."""


def noted(site: Site, tried: Tried, page: Path, html: str) -> str:
    """A page with a closed line under each block that does something else on other releases.

    Under what fails, a line tells since which release it fails in these words.
    """
    module = site.module_of(page)
    differs = tried.differs.get(key(site, module), {})
    if not differs and "pair" not in html:
        return html
    soup = BeautifulSoup(html, "html.parser")
    untried = {piece.name for piece in tried.untried(site, module)} if module.is_file() else set()
    shown = site.shown(page)
    failing = {id(pre) for pre in soup.select(".pair > div:first-child pre")}
    for pre in soup("pre"):
        below = []
        for name in (piece.name for piece in shown.get(pre.get_text().strip("\n"), []) if piece.name not in untried):
            what = differs.get(name, {})
            told = [_details(soup, label, same) for label, same in _told(site, tried, what)]
            if told:
                told[0]["id"] = _anchor(name)  # to which the page on releases leads
            if id(pre) in failing and tried.released:
                below.append(soup.new_tag("p", attrs={"class": CLASS}, string=_worded(site, tried, what)))
            below += told
        if below:
            lines = soup.new_tag("div", attrs={"class": f"{CLASS}s"})
            lines.extend(below)
            _last(pre).insert_after(lines)
    return soup.decode(formatter="minimal")


def _worded(site: Site, tried: Tried, what: dict[str, dict[str, str]]) -> str:
    released = tried.released
    other = [version for version in released if version in what]
    if not other:
        return f"In these words since Keras {_minor(released[0])}, or before."
    following = [*released, site.versions()["keras"]]
    return f"In these words since Keras {_minor(following[following.index(other[-1]) + 1])}."


def since(site: Site, tried: Tried, module: Path) -> str:
    """What is said above a page: since which release it does the same, and how many of its blocks don't."""
    if not tried.released or not module.is_file():
        return ""
    if untried := tried.untried(site, module):
        return f"{_blocks(len(untried))} not tried on others"
    old = set(tried.released)
    differing = [what for what in tried.differs.get(key(site, module), {}).values() if what.keys() & old]
    but = f" but for {_blocks(len(differing))}" if differing else ""
    return f"alike since {_minor(tried.released[0])}{but}"


def _blocks(count: int) -> str:
    return "1 block" if count == 1 else f"{count} blocks"


def tables(site: Site, tried: Tried) -> str:
    """For the page on releases, in Markdown: what was tried, and each block that isn't the same everywhere."""
    parts = ["| Keras | TensorFlow | Blocks |\n|---|---|---|"]
    for version, about in tried.releases.items():
        same = f"{about['same']} of {about['ran']} do the same"
        parts.append(f"| Keras {version} | TensorFlow {about['tensorflow']} | {same} |")
    parts.append("\n## Block by block\n\n| Block | On other releases |\n|---|---|")
    for module, differs in tried.differs.items():
        page = site.page_of(site.snippets / f"{module}.py").relative_to(site.docs)
        for piece, what in differs.items():
            anchor = f"#{_anchor(piece)}" if what.keys() & set(tried.released) else ""
            names = _names(what)
            does = {verb: [names[version] for version in what if verb in what[version]] for verb in VERBS}
            told = "; ".join(f"{VERBS[verb][1]} on {', '.join(on)}" for verb, on in does.items() if on)
            parts.append(f"| [{module}: {piece}]({page}{anchor}) | {told} |")
    return "\n".join(parts) + "\n"


def _told(site: Site, tried: Tried, what: dict[str, dict[str, str]]) -> Iterator[tuple[str, dict[str, str]]]:
    """In words on which releases a piece does something else, and what; those that do the same together."""
    released = tried.released
    now = site.versions()["keras"]
    names, after = _names([*released, now]), dict(zip(released, [*released[1:], now], strict=True))
    for same, group in groupby(released, key=lambda version: what.get(version)):
        versions = list(group)
        first, last = names[versions[0]], names[versions[-1]]
        end = names[after[versions[-1]]]
        if same and versions[0] == released[0] and end != last:
            yield f"Before Keras {end}", same
        elif same:
            yield f"On Keras {first}" + (f" to {last}" if first != last else ""), same


def _details(soup: BeautifulSoup, label: str, what: dict[str, str]) -> Tag:
    ((verb, text),) = what.items()
    details = soup.new_tag("details", attrs={"class": CLASS})
    pre = soup.new_tag("pre")
    pre.append(soup.new_tag("code", string=text))
    details.extend([soup.new_tag("summary", string=f"{label}, {VERBS[verb][0]}"), pre])
    return details


def _last(pre: Tag) -> Tag:
    """A block, or the last of what stands under it: what it printed, what it drew."""
    last = pre.find_parent(class_="highlight")
    while (below := last.find_next_sibling()) and {"language-text", "plot"} & set(below.get("class", [])):
        last = below
    return last


def _anchor(piece: str) -> str:
    return f"other-releases-{piece.replace(' ', '-')}"


def _names(versions: Iterable[str]) -> dict[str, str]:
    """What releases are called: by their minor, or whole where there are two of one."""
    minors = Counter(map(_minor, versions))
    return {version: _minor(version) if minors[_minor(version)] == 1 else version for version in versions}


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2]) + (f" {NIGHTLY}" if "dev" in version else "")
