"""The picture that a page shows where its link is shared: its title, in the colours of the site."""

from __future__ import annotations

import textwrap
from functools import cache
from pathlib import Path

import matplotlib as mpl
from PIL import Image, ImageDraw, ImageFont

SIZE = (1200, 630)
GROUND, TEXT, QUIET, ACCENT = "#12343b", "#ffffff", "#b9d3d8", "#f2b263"


@cache
def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts/ttf", f"{name}.ttf"), size)


def write(path: Path, title: str, chapter: str, site: str) -> None:
    """Draw a card of 1200 by 630 pixels."""
    card = Image.new("RGB", SIZE, GROUND)
    draw = ImageDraw.Draw(card)
    for depth, colour in enumerate(["#2c8796", "#74c7d6", ACCENT]):  # three layers, the lowest first
        top = 84 + 34 * (2 - depth)
        draw.polygon(
            [(80, top + 36), (152, top), (224, top + 36), (152, top + 72)], fill=colour, outline=GROUND, width=5
        )
    draw.text((260, 140), chapter or "Reference", font=_font("DejaVuSans", 34), fill=QUIET, anchor="lm")
    lines = textwrap.wrap(title, 28)[:4]
    draw.multiline_text((80, 270), "\n".join(lines), font=_font("DejaVuSans-Bold", 62), fill=TEXT, spacing=14)
    draw.text((80, 572), site, font=_font("DejaVuSans", 30), fill=QUIET, anchor="lm")
    path.parent.mkdir(parents=True, exist_ok=True)
    card.quantize(32).save(path, optimize=True)
