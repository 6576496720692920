"""Where MkDocs meets the engine: the laws hold in the build too, and each page offers its module."""

from __future__ import annotations

import logging
import re
import socket
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import Abort
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from engine import html, pages

log = logging.getLogger("mkdocs.hooks.engine")

_starting_server = False  # the configuration is read again at each rebuild, when the port is taken by ourselves


def on_startup(*, command: str, dirty: bool) -> None:
    global _starting_server
    _starting_server = command == "serve"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    global _starting_server
    if _starting_server:
        _starting_server = False
        _refuse_taken_port(*config.dev_addr)
    # The theme tells on every page with which versions it is proved: those of the lock.
    lock = (Path(config.config_file_path).parent / "requirements.txt").read_text(encoding="utf-8")
    config.extra["versions"] = dict(re.findall(r"^(tensorflow|keras)==(\S+)", lock, re.MULTILINE))
    return config


def on_pre_build(config: MkDocsConfig) -> None:
    found = pages.problems(pages.Site(config))
    for problem in found:
        log.warning(problem)
    if found and (config.strict or any(problem.stops for problem in found)):
        raise Abort(f"{len(found)} of the site's laws are broken (see above).")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Publish each module beside its page, without the markers of its sections."""
    site = pages.Site(config)
    for module in site.modules():
        text = module.read_text(encoding="utf-8")
        lines = [line for line in text.splitlines(keepends=True) if not pages.MARKER.match(line)]
        path = module.relative_to(site.snippets).as_posix()
        files.append(File.generated(config, path, content="".join(lines)))
    return files


def on_page_content(html_text: str, page: Page, config: MkDocsConfig, files: Files) -> None:
    """Offer the module on its page, and compare what the page shows with what is proved."""
    site = pages.Site(config)
    source = Path(page.file.abs_src_path)
    if module := files.get_file_from_path(page.file.src_uri.removesuffix(".md") + ".py"):
        page.meta["module"] = module
    for problem in html.code_problems(site, source, html_text):
        log.warning(problem)


def on_env(env: object, config: MkDocsConfig, files: Files) -> None:
    shown = {file.url: (Path(file.abs_src_path), file.page.content) for file in files.documentation_pages()}
    addresses = {"" if file.url in (".", "./") else file.url for file in files}
    shown = {"" if url in (".", "./") else url: value for url, value in shown.items()}
    for problem in html.link_problems(pages.Site(config), shown, addresses):
        log.warning(problem)


def _refuse_taken_port(host: str, port: int) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise Abort(
                f"{host}:{port} can't be used ({error.strerror}). Stop what listens there, or choose another port: "
                f"make serve PORT={port + 1}, or mkdocs serve --dev-addr {host}:{port + 1}"
            ) from None
