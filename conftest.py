"""Where pytest meets the engine: each page and notebook is a test file, each of its blocks or cells a test."""

from __future__ import annotations

import itertools
import os
import resource
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest
from sybil import Document, Sybil

from engine.prove.examples import Examples
from engine.prove.process import ENVIRONMENT, Page, Server
from engine.prove.releases import Tried
from engine.site import Site

os.environ.update(ENVIRONMENT)  # before TensorFlow is imported
site = Site.load(Path(__file__).parent)
examples = Examples(site)
servers: list[Server] = []


def start_page(namespace: dict) -> None:
    if not servers:
        servers.append(Server(site, {key: value for key, value in os.environ.items() if not key.startswith("PYTEST")}))
    namespace["page"] = servers[0].page()


def end_page(namespace: dict) -> None:
    if "page" in namespace and (said := namespace["page"].end()):
        pytest.fail(f"When the page ends, it prints what no block shows: {said}", pytrace=False)


around = {"parsers": [examples], "setup": start_page, "teardown": end_page}
pages = Sybil(path=str(site.docs), patterns=["*.md"], **around)
tutorials = Sybil(path=str(site.snippets), patterns=["*.py"], document_types={".py": Document}, **around)
pytest_collect_file = (pages + tutorials).pytest()


class _NoTests(pytest.Module):
    def collect(self) -> list:
        return []


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Keep pytest from importing a tutorial's module, which would run it, where it is named on the command line."""
    inside = module_path.is_relative_to(site.snippets)
    return _NoTests.from_parent(parent, path=module_path) if inside else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-outputs", action="store_true", help="record what the blocks print, instead of comparing")
    parser.addoption("--cost", action="store_true", help="tell how many seconds of the processor it took")
    parser.addoption("--seeds", default="1", help="seeds of the comparisons that depend on chance, as 2,3,4,5,6")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "seed" in metafunc.fixturenames:
        metafunc.parametrize("seed", [int(seed) for seed in metafunc.config.getoption("--seeds").split(",")])


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "seed" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.chance)
            sentences = [sentence for mark in item.iter_markers("proves") for sentence in mark.args]
            item.user_properties += [("seed", item.callspec.params["seed"]), ("claims", sentences or [item.name])]


_counted = 0.0


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Iterator[None]:
    """Count the seconds of the processor that each test took, with those of the processes that it started."""
    global _counted
    report = yield
    before, _counted = _counted, sum(os.times()[:4]) + Page.seconds
    report.seconds = _counted - before
    return report


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    tried = Tried.read(site)
    if untried := sum(len(tried.untried(site, module)) for module in site.modules()):
        terminalreporter.line(f"{untried} blocks weren't tried on other releases since they changed: make releases")
    if config.getoption("--cost"):
        _tell_cost(terminalreporter)
    if "," in config.getoption("--seeds"):
        _tell_seeds(terminalreporter)


def _tell_cost(terminalreporter: pytest.TerminalReporter) -> None:
    """How many seconds of the processor it took in all, and the dearest files."""
    files: Counter[str] = Counter()
    for report in itertools.chain(*terminalreporter.stats.values()):
        if hasattr(report, "seconds"):
            files[report.nodeid.partition("::")[0]] += report.seconds
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    terminalreporter.section("cost in seconds of the processor")
    terminalreporter.line(f"{sum(one.ru_utime + one.ru_stime for one in used):5.0f} in all. The dearest files:")
    for file, seconds in files.most_common(10):
        terminalreporter.line(f"{seconds:5.0f} {file}")


def _tell_seeds(terminalreporter: pytest.TerminalReporter) -> None:
    """Tell of each sentence that depends on chance with which seeds it held, if there were several."""
    held: dict[str, dict[int, bool]] = {}
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            known = dict(report.user_properties)
            for claim in known.get("claims", []):
                seeds = held.setdefault(claim, {})
                seeds[known["seed"]] = seeds.get(known["seed"], True) and outcome == "passed"
    terminalreporter.section("claims that depend on chance")
    for claim, seeds in held.items():
        fails = [str(seed) for seed, holds in sorted(seeds.items()) if not holds]
        against = f", not with {', '.join(fails)}" if fails else ""
        terminalreporter.line(f"{sum(seeds.values())} of {len(seeds)}{against}: {claim}")


def pytest_configure(config: pytest.Config) -> None:
    examples.update = config.getoption("--update-outputs")


def pytest_unconfigure() -> None:
    for server in servers:
        server.close()
