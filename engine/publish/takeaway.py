"""What a reader takes away from a page: its module, and the page as Markdown and as a notebook, made from its HTML.

The HTML is where links are resolved and where every extension of the site's Markdown has become an element, so both
read well without the site.
"""

from __future__ import annotations

import ast
import importlib.metadata
import itertools
import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path
from urllib.parse import urljoin

import nbformat
from bs4 import Tag
from markdownify import MarkdownConverter
from nbformat import NotebookNode
from sybil import Document

from engine.prove.records import new_notebook
from engine.publish import search
from engine.site import MARKER, Site, blocks, fence


def script(module: str, name: str, site: Site) -> str:
    """A module without the markers of its sections, and with what it needs at its head (PEP 723).

    So `uv run linear.py` runs it in an empty folder, with the versions of the lock. It holds what works: a section that
    fails is left out, unless its page is one of the errors, which show nothing else.

    Args:
        module: Its text.
        name: Its address in the site, as ``layers/linear.py``.
        site: Whose lock it is.
    """
    module = _without_markers(module, failing=name.startswith("errors/"))
    project = tomllib.loads((site.root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    locked = site.versions()
    needed = {"tensorflow"}  # Keras computes with it, whether the module names it or not
    provided = _provided()
    for node in ast.walk(ast.parse(module)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
        names += [node.module] if isinstance(node, ast.ImportFrom) else []
        needed |= {package for name in names for package in provided.get(name.partition(".")[0], ())}
    packages = "".join(f'#   "{name}=={locked[name]}",\n' for name in sorted(needed & set(locked)))
    head = f'# requires-python = "{project["requires-python"]}"\n# dependencies = [\n{packages}# ]\n'
    return f"# /// script\n{head}# ///\n# Run it with: uv run {Path(name).name}\n\n{module}"


def _without_markers(module: str, *, failing: bool) -> str:
    """The text of a module, with its sections whose names end in `_fails` or without them."""
    lines, inside = [], False
    for line in module.splitlines():
        marker = MARKER.match(line)
        if marker and marker["name"].endswith("_fails") and not failing:
            inside = marker["type"] == "start"
            while inside and lines and not lines[-1]:
                lines.pop()  # what stands below the section brings blank lines of its own
        elif not (marker or inside or search.LINE.match(line)):
            lines.append(line)
    return re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines)).rstrip() + "\n"


def with_address(tool: str, address: str) -> str:
    """A tool that knows where the site is, so that what it prints links to the site's pages."""
    return tool.replace('\nSITE = ""\n', f'\nSITE = "{address}"\n')


@cache  # it reads the list of files of each package that is installed
def _provided() -> Mapping[str, list[str]]:
    """Which packages provide what is imported."""
    return importlib.metadata.packages_distributions()


class _Converter(MarkdownConverter):
    """HTML of the site to plain Markdown."""

    class DefaultOptions(MarkdownConverter.DefaultOptions):
        heading_style = "atx"
        bullets = "-"
        escape_asterisks = False
        escape_underscores = False

    class Options(DefaultOptions):
        base = ""
        pictures = True

    def convert_a(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        if "headerlink" in el.get("class", []):
            return ""
        el["href"] = urljoin(self.options["base"], el.get("href", ""))
        return super().convert_a(el, text, parent_tags)

    def convert_img(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        el["src"] = urljoin(self.options["base"], el["src"])
        return super().convert_img(el, text, parent_tags)

    def convert_code(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        if "lines" not in el.get("class", []):
            return super().convert_code(el, text, parent_tags)
        return "<br>".join(f"`{line.strip()}`" for line in el.get_text().splitlines())  # a row of Markdown is one line

    def convert_pre(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        around = el.find_parent(class_=re.compile("^language-"))
        classes = around["class"] if around else []
        language = next((name.removeprefix("language-") for name in classes if name.startswith("language-")), "")
        info = 'text title="Output"' if language == "text" else language or " ".join(el.get("class", []))
        return "\n\n" + fence(info, el.get_text().strip("\n")) + "\n\n"

    def convert_span(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return "" if "filename" in el.get("class", []) else text

    def convert_div(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        if "admonition" not in el.get("class", []):
            return f"\n\n{text}\n\n"
        return "\n\n" + "\n".join(f"> {line}".rstrip() for line in text.strip().splitlines()) + "\n\n"

    def convert_p(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        title = "admonition-title" in el.get("class", [])
        return super().convert_p(el, f"**{text.strip()}**" if title else text, parent_tags)

    def convert_math(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return f"\n\n$${el['alttext']}$$\n\n" if el.get("display") == "block" else f"${el['alttext']}$"

    def convert_svg(self, el: Tag, text: str, parent_tags: set[str]) -> str:
        return f"\n\n> Picture: {el.get('aria-label', '')}\n\n" if self.options["pictures"] else ""


@lru_cache(maxsize=128)  # while serving, most pages stay as they were
def _convert(html: str, base: str, pictures: bool) -> str:
    html = re.sub(r"(?s)(<svg[^>]*>).*?(</svg>)", r"\1\2", html)  # of a drawing, only what it shows is told
    return _Converter(base=base, pictures=pictures).convert(html)


@dataclass(frozen=True)
class Page:
    """A page of the site, to take away."""

    site: str
    """Address of the site, or / where it isn't known."""
    path: str
    """Where the page's files go in the site, without an ending."""
    address: str
    chapter: str
    title: str
    description: str
    html: str
    proof: str
    """With what it is proved."""
    outputs: list[list[NotebookNode]] | None = None
    """Those of a notebook's code cells, in order: with plots, which Markdown doesn't hold."""

    def markdown(self, *, pictures: bool = True) -> str:
        """The page as plain Markdown, its code and outputs in place."""
        text = _convert(self.html, self.address, pictures)
        title, _, rest = text.strip().partition("\n")
        return f"{title}\n\n*{self.proof}: <{self.address}>*\n{rest}\n"

    def notebook(self) -> NotebookNode:
        """The page as a notebook: each Python block a cell, with what it printed."""
        text = self.markdown(pictures=self.outputs is None)
        notebook = new_notebook()
        cells, at = notebook.cells, 0

        def prose(end: int) -> None:
            if source := text[at:end].strip():
                cells.append(nbformat.v4.new_markdown_cell(source))

        for block in blocks(Document(text, "")):
            if block.is_python:
                prose(block.start)
                cells.append(nbformat.v4.new_code_cell(block.source.rstrip("\n")))
            elif block.is_output and cells and cells[-1].cell_type == "code":
                cells[-1].outputs = [nbformat.v4.new_output("stream", name="stdout", text=block.source)]
            else:
                continue
            at = block.end
        prose(len(text))
        if self.outputs is not None:
            code = (cell for cell in cells if cell.cell_type == "code")
            for cell, outputs in zip(code, self.outputs, strict=True):
                cell.outputs = outputs
        for number, cell in enumerate(cells, 1):
            cell.id = f"cell-{number}"
        return notebook


def write(folder: Path, name: str, about: str, pages: list[Page]) -> None:
    """Write each page as Markdown and, if it has code, as a notebook; and all of them for language models.

    `llms.txt` lists them (https://llmstxt.org), `llms-full.txt` holds them.
    """
    for page in pages:
        path = folder / f"{page.path}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(page.markdown(), encoding="utf-8")
        notebook = page.notebook()
        if any(cell.cell_type == "code" for cell in notebook.cells):
            path.with_suffix(".ipynb").write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")

    head = f"# {name}\n\n> {about}\n"
    listed, full = [head], [head]
    for chapter, of_chapter in itertools.groupby(pages, key=lambda page: page.chapter):
        listed += [f"\n## {chapter}\n\n"] if chapter else ["\n"]
        for page in of_chapter:
            listed.append(f"- [{page.title}]({page.site}{page.path}.md): {page.description}\n")
            full.append(f"\n---\n\n{page.markdown()}")
    (folder / "llms.txt").write_text("".join(listed), encoding="utf-8")
    (folder / "llms-full.txt").write_text("".join(full), encoding="utf-8")
