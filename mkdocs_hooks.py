"""Where MkDocs meets the engine: the laws hold in the build too, and each page can be taken away."""

from __future__ import annotations

import gc
import logging
import os
import socket
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import Abort
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from engine.prove import laws, records
from engine.prove.releases import Tried
from engine.publish import cards, html, pages, releases, search, takeaway
from engine.publish.proof import Proof
from engine.site import Site

log = logging.getLogger("mkdocs.hooks.engine")

_starting_server = False  # the configuration is read again at each rebuild, when the port is taken by ourselves
_serving = False


def on_startup(*, command: str, dirty: bool) -> None:
    global _starting_server, _serving
    gc.set_threshold(50_000)  # pages as trees are many objects that live: to look at them took a seventh of a build
    _starting_server = _serving = command == "serve"


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    global _starting_server
    if _starting_server:
        _starting_server = False
        _refuse_taken_port(*config.dev_addr)
    # The theme tells on every page with which versions it is proved: those of the lock.
    config.extra["versions"] = Site(config).versions()
    config.extra["changed"] = pages.changed(Site(config).root)
    config.extra["noted"] = {}
    return config


def on_pre_build(config: MkDocsConfig) -> None:
    found = laws.problems(Site(config))
    for problem in found:
        log.warning(problem)
    if found and (config.strict or any(problem.stops for problem in found)):
        raise Abort(f"{len(found)} of the site's laws are broken (see above).")


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Publish each module beside its page, the tools, and the plot that stands for a tutorial."""
    site = Site(config)
    for module in (*site.modules(), *sorted(site.tools.glob("*.py"))):
        if not any(laws.syntax(site, module)):  # told already; while serving, the rest of the site stays
            text = module.read_text(encoding="utf-8")
            if module.parent == site.tools:
                text = takeaway.with_address(text, config.site_url or "")
            name = module.relative_to(site.snippets).as_posix()
            files.append(File.generated(config, name, content=takeaway.script(text, name, site)))
        for picture in pages.covers(site, module):
            name = module.relative_to(site.snippets).with_suffix(".svg").as_posix()
            files.append(File.generated(config, name, content=picture))
    return files


def on_pre_page(page: Page, config: MkDocsConfig, files: Files) -> Page:
    """Let MkDocs render a tutorial's page: mkdocs-jupyter's own rendering brings a second typography of 574 KB."""
    if page.file.src_uri.endswith(".ipynb"):
        page.__dict__.pop("render")  # the plugin has set it on the page, and has no option to leave it
        path = Path(page.file.abs_src_path)
        if page.edit_url:
            page.edit_url = urljoin(page.edit_url, os.path.relpath(Site(config).source_of(path), path.parent))
    return page


def on_page_read_source(page: Page, config: MkDocsConfig) -> str | None:
    path = Path(page.file.abs_src_path)
    return pages.of_tutorial(path) if path.suffix == ".ipynb" else None


def on_page_content(html_text: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Compare what the page shows with what is proved, tell where it isn't so, and offer the page to take away."""
    site, path = Site(config), Path(page.file.abs_src_path)
    html_text, config.extra["noted"][page.file.url] = search.noted(html_text)
    refined = html.with_lines(site, path, html.refined(html_text))
    for problem in html.page_problems(site, path, refined):
        log.warning(problem)
    name = page.file.src_uri.rpartition(".")[0]
    changed = config.extra["changed"]
    made_of = [f"docs/{page.file.src_uri}", f"snippets/{name}.py", f"snippets/{name}.txt"]
    page.meta["revision_date"] = max((changed[file] for file in made_of if file in changed), default="")
    runs = files.get_file_from_path(f"{name}.py") is not None
    page.meta["takeaway"] = [f"{name}{ending}" for ending in ([".ipynb", ".py", ".md"] if runs else [".md"])]
    tried = Tried.read(site)
    page.meta["since"] = releases.since(site, tried, site.module_of(path))
    page.meta["proof"] = Proof(site, path, refined)
    page.meta.setdefault("title", page.toc.items[0].title if page.toc.items else page.title)  # not its name in the tree
    return releases.noted(site, tried, path, refined)


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """The page on releases ends with what was found out."""
    site = Site(config)
    is_on_releases = page.file.src_uri == "releases.md"
    return f"{markdown}\n\n{releases.tables(site, Tried.read(site))}" if is_on_releases else markdown


def on_env(env: object, config: MkDocsConfig, files: Files) -> None:
    """With every page rendered: look for dead links, and write the pages to take away."""
    site, documents = Site(config), files.documentation_pages()
    shown = {file.url: (site.source_of(Path(file.abs_src_path)), file.page.content) for file in documents}
    for problem in html.link_problems(site, shown, {file.url for file in files}):
        log.warning(problem)
    first = next(file.page for file in documents if file.page.previous_page is None)
    taken = [_takeaway(page, config) for page in _chain(first)]
    takeaway.write(Path(config.site_dir), config.site_name, config.site_description, taken)
    for page in _chain(first):
        _write_proof(page, config)
    config.extra["figures"] = _figures([file.page for file in documents])
    if config.site_url and not _serving:  # a card is told by its whole address
        for page in taken:
            card = Path(config.site_dir, "assets/cards", f"{page.path}.png")
            cards.write(card, page.title, page.chapter, config.site_name)


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    return pages.published(output, reloads=_serving)


def on_post_template(output: str, template_name: str, config: MkDocsConfig) -> str:
    return pages.published(output, reloads=_serving) if template_name.endswith(".html") else output


def on_post_build(config: MkDocsConfig) -> None:
    pages.finish(Path(config.site_dir))
    search.write(Path(config.site_dir), config.extra["noted"])


def _takeaway(page: Page, config: MkDocsConfig) -> takeaway.Page:
    path = Path(page.file.abs_src_path)
    recorded = records.notebook(path).cells if path.suffix == ".ipynb" else None
    site = config.site_url or "/"
    return takeaway.Page(
        site=site,
        path=page.file.src_uri.rpartition(".")[0],
        address=urljoin(site, page.file.url),
        chapter=page.parent.title if page.parent else "",
        title=page.meta.get("title") or page.title,
        description=page.meta.get("description", ""),
        html=page.content,
        proof="Proved with TensorFlow {tensorflow} and Keras {keras}".format(**config.extra["versions"]),
        outputs=recorded and [cell.outputs for cell in recorded if cell.cell_type == "code"],
    )


def _figures(pages: list[Page]) -> dict[str, int]:
    """What the home page tells of all pages."""
    counts = [page.meta["proof"].counts for page in pages]
    reproduced = sum(page.content.count('<div class="pair') for page in pages)
    return {
        "pages": len(pages),
        "blocks run": sum(count["block"] for count in counts),
        "outputs compared": sum(count["output"] for count in counts),
        "errors reproduced": reproduced,
        "tests": sum(count["test"] for count in counts),
    }


def _write_proof(page: Page, config: MkDocsConfig) -> None:
    """The list of a page's tests, to which its badge opens."""
    site, proof = Site(config), page.meta["proof"]
    source = ""
    if page.edit_url:
        edited = site.relative(site.source_of(proof.page))
        source = page.edit_url.removesuffix(edited).replace("/edit/", "/blob/") + site.relative(proof.module)
    path = Path(config.site_dir, proof.path)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(proof.document(source), encoding="utf-8")


def _chain(page: Page | None) -> Iterator[Page]:
    """A page of the navigation and all that follow it."""
    while page:
        yield page
        page = page.next_page


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
