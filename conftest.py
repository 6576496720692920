"""Where pytest meets the engine: each page and notebook is a test file, each of its blocks or cells a test."""

from __future__ import annotations

import os
from pathlib import Path

# Before TensorFlow is imported: the CPU only, one arithmetic on every processor, no chatter.
os.environ["CUDA_VISIBLE_DEVICES"] = "-1"
os.environ["KERAS_BACKEND"] = "tensorflow"
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import pytest
from sybil import Document, Sybil

from engine.examples import CellParser, PageParser, end_page, start_page
from engine.pages import Site

site = Site.load(Path(__file__).parent)
parsers = [PageParser(site), CellParser(site)]
around = {"setup": start_page, "teardown": end_page}
pages = Sybil([parsers[0]], path=str(site.docs), patterns=["*.md"], **around)
notebooks = Sybil([parsers[1]], path=str(site.snippets), patterns=["*.py"], document_types={".py": Document}, **around)
pytest_collect_file = (pages + notebooks).pytest()


class _NoTests(pytest.Module):
    def collect(self) -> list:
        return []


def pytest_pycollect_makemodule(module_path: Path, parent: pytest.Collector) -> pytest.Module | None:
    """Keep pytest from importing a notebook's module, which would run it, where it is named on the command line."""
    inside = module_path.is_relative_to(site.snippets)
    return _NoTests.from_parent(parent, path=module_path) if inside else None


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-outputs", action="store_true", help="record what the blocks print, instead of comparing")
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


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Tell of each sentence that depends on chance with which seeds it held, if there were several."""
    if "," not in config.getoption("--seeds"):
        return
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
    for parser in parsers:
        parser.update = config.getoption("--update-outputs")
