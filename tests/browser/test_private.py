"""Nothing is asked of another site, and nothing that the site didn't write is let in."""

from __future__ import annotations

import re
from urllib.request import urlopen

import pytest

from tests.site import ADDRESSES

ELSEWHERE = "http://127.0.0.2:9/"


@pytest.mark.parametrize("path", [*ADDRESSES, "404.html"])
def test_a_page_has_a_strict_policy(built, path):
    """That a page is whole under it is seen in `test_reachable.py`, in each of its states."""
    policy = re.search(
        r'<meta http-equiv="?Content-Security-Policy"? content="([^"]*)"', (built / path).read_text("utf-8")
    )[1]
    script_src = re.search(r"script-src ([^;]*)", policy)[1]
    assert "unsafe" not in script_src
    assert "*" not in policy


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("an inline script", "const it = document.createElement('script'); it.textContent = 'self.intruded = true'"),
        ("a script from elsewhere", f"const it = document.createElement('script'); it.src = '{ELSEWHERE}a.js'"),
        ("an image from elsewhere", f"const it = document.createElement('img'); it.src = '{ELSEWHERE}a.png'"),
        ("a frame from elsewhere", f"const it = document.createElement('iframe'); it.src = '{ELSEWHERE}a.html'"),
        ("a style from elsewhere", "const it = document.createElement('link'); it.rel = 'stylesheet';"
         f"it.href = '{ELSEWHERE}a.css'"),
    ],
)  # fmt: skip
@pytest.mark.parametrize("path", ["index.html", "tutorials/diffusion.html"])
def test_what_the_site_did_not_write_is_kept_out(browser, address, path, what, code):
    page = browser.new_page(base_url=address)
    page.goto(path)
    page.evaluate("self.kept = []; document.addEventListener('securitypolicyviolation', e => kept.push(e.blockedURI))")
    page.evaluate(f"{{ {code}; document.body.append(it); }}")
    page.wait_for_function("self.kept.length > 0")
    assert page.evaluate("self.intruded") is None, what
    page.close()


def test_the_headers_ship_in_the_form_that_hosts_read(built, address):
    text = (built / "_headers").read_text(encoding="utf-8")
    assert text.startswith("/*\n  Content-Security-Policy: default-src 'self'; ")
    with urlopen(address) as answer:
        sent = answer.headers
    assert "frame-ancestors 'none'" in sent["Content-Security-Policy"]
    assert "unsafe" not in re.search(r"script-src ([^;]*)", sent["Content-Security-Policy"])[1]
    assert sent["X-Content-Type-Options"] == "nosniff"
    assert sent["Referrer-Policy"] == "strict-origin-when-cross-origin"
    assert "camera=()" in sent["Permissions-Policy"]
