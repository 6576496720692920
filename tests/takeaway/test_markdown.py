"""Each page as Markdown, and the two files that hold them all."""

from __future__ import annotations

import re
from urllib.request import urlopen

import pytest
from sybil import Document

from engine.publish import html
from engine.site import blocks
from tests.site import COLAB, SITE

NAMES = [page.relative_to(SITE.docs).with_suffix("").as_posix() for page in SITE.pages()]


def download(address: str, path: str) -> str:
    with urlopen(address + path) as answer:
        return answer.read().decode()


def page_of(address: str, name: str) -> str:
    return download(address, f"{name}.html")


@pytest.mark.parametrize("name", NAMES)
def test_it_holds_the_page_with_its_code_in_place(name, address):
    text = download(address, f"{name}.md")
    found = blocks(Document(text, ""))
    assert [(block.language, block.source.rstrip("\n")) for block in found] == html.shown_in(
        page_of(address, name)
    ).code
    assert "--8<--" not in text


@pytest.mark.parametrize("name", NAMES)
def test_the_page_offers_what_there_is(name, address):
    links = html.shown_in(page_of(address, name)).links
    shown = [link for link in links if "://" not in link]
    ends = [".md"]
    if (SITE.snippets / f"{name}.py").is_file():
        ends += [".ipynb", ".py"]
    for end in (".md", ".ipynb", ".py"):
        offered = [link for link in shown if link.endswith(f"{name.rpartition('/')[2]}{end}")]
        assert len(offered) == (end in ends), (end, offered)
    assert (f"{COLAB}{name}.ipynb" in links) == (".ipynb" in ends)


def test_llms_txt_lists_every_page_with_its_description(address):
    text = download(address, "llms.txt")
    assert text.startswith(f"# {SITE.config.site_name}\n\n> ")
    listed = re.findall(r"^- \[.+\]\((.+)\.md\): .{40,}$", text, re.MULTILINE)
    assert sorted(listed) == sorted(address + name for name in NAMES)
    for link in listed:
        assert download(link, ".md")


def test_llms_full_txt_holds_every_page(address):
    text = download(address, "llms-full.txt")
    for name in NAMES:
        assert download(address, f"{name}.md") in text
