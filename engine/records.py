"""Recorded outputs: `linear.txt` beside `linear.py`, with a section for each section of the module that prints."""

from __future__ import annotations

from pathlib import Path

from engine.pages import sections


def path_of(module: Path) -> Path:
    return module.with_suffix(".txt")


def read(module: Path, name: str) -> str | None:
    """What a section is recorded to print, or None."""
    path = path_of(module)
    section = sections(path).get(name) if path.is_file() else None
    return section.text if section else None


def write(module: Path, name: str, printed: str) -> None:
    """Record what a section printed; forget it if it printed nothing, and every section that is gone."""
    path = path_of(module)
    kept = {key: section.text for key, section in sections(path).items()} if path.is_file() else {}
    kept[name] = printed
    kept = {key: kept[key] for key in sections(module) if kept.get(key, "").strip()}
    if kept:
        texts = (f"--8<-- [start:{key}]\n{text}\n--8<-- [end:{key}]\n" for key, text in kept.items())
        path.write_text("\n".join(texts), encoding="utf-8")
    else:
        path.unlink(missing_ok=True)
