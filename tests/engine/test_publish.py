"""What is done to each page, and told to hosts, when the site is published."""

from __future__ import annotations

import base64
import hashlib
import subprocess

from engine.publish import pages


def test_a_page_allows_its_own_scripts_and_no_other():
    script = "document.body.dataset.ready = 1"
    data = '<script type="application/json">{"a": 1}</script>'
    html = pages.published(f"<!doctype html><head><meta charset='utf-8'></head><body><script>{script}</script>{data}")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert html.count("'sha256-") == 1
    assert f"script-src 'self' 'sha256-{digest}';" in html
    assert html.index("Content-Security-Policy") < html.index("<script>")


def test_a_file_changed_when_a_commit_last_touched_it(tmp_path):
    def git(*arguments: str, date: str = "2026-01-01T12:00:00Z") -> None:
        env = {"GIT_AUTHOR_DATE": date, "GIT_COMMITTER_DATE": date, "HOME": str(tmp_path), "PATH": "/usr/bin:/bin"}
        subprocess.run(["git", *arguments], cwd=tmp_path, env=env, check=True, capture_output=True)

    git("init", "--quiet")
    git("config", "user.name", "someone")
    git("config", "user.email", "someone@example.org")
    for name, date in [("a b.md", "2026-01-02T12:00:00Z"), ("c.md", "2026-03-04T12:00:00Z")]:
        (tmp_path / name).write_text(name, encoding="utf-8")
        git("add", ".")
        git("commit", "--quiet", "--message", name, date=date)
    assert pages.changed(tmp_path) == {"a b.md": "2026-01-02", "c.md": "2026-03-04"}


def test_outside_of_a_repository_no_date_is_known(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert pages.changed(tmp_path) == {}


CSS = """\
@charset "UTF-8";
:root { --line: #000 } /* a comment */
.used, .unused { color: var(--line); /* why */ top: 0; --icon: url("a;b") }
[dir=rtl] .used, [dir="ltr"] .used, [data-state=open] .used { top: 1px }
:root { --icon-of-nothing: var(--icon-of-that) ; --icon-of-that: red }
.unused > a { color: red }
a.used:not(.unused):hover::before { content: "}.unused{" }
[data-scheme=dark] .by-script, .md-annotation--by-script { color: red }
@media (width > 9em) { .unused { color: red } .used { color: red } }
@media print { .unused { color: red } }
@supports (top: 0) { .used-in { color: red } }
@keyframes unused { from { top: 0 } }
"""

KEPT = """\
@charset "UTF-8";
:root{--line:#000}
.used{color:var(--line);top:0}
[dir="ltr"] .used,[data-state=open] .used{top:1px}
a.used:not(.unused):hover::before{content:"}.unused{"}
[data-scheme=dark] .by-script{color:red}
@media (width > 9em) {.used{color:red}}
@keyframes unused { from { top: 0 } }
"""


def test_a_stylesheet_keeps_what_a_page_or_a_script_names():
    page = '<html dir=ltr data-scheme="dark"><a class="used other">unused</a>'
    script = "e.className = 'by-script'; f.className = 'md-annotation--by-script'; e.dataset.state = 'open'"
    assert pages.without_unused(CSS, [page], [script]) == KEPT.replace("\n", "")
