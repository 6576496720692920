"""The plots of a notebook: captured as small pictures, refused when they show nothing, compared with the record."""

from __future__ import annotations

import base64
import gzip
import io
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import matplotlib as mpl
import numpy as np
from matplotlib import pyplot as plt
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from PIL import Image

from engine.site import Piece

LARGEST = 15_000
"""Bytes of a plot, compressed as a host sends it."""

SCALE = 1.25
"""Pixels for each point, where there is room for them: the text of a plot is nearly as large as the page's."""

FAR, NEAR = 3.0, 16
"""How far from the recorded a marker may be, in points of a printer, and a colour, in steps of 255."""
COLOUR, NUMBER = re.compile("#([0-9a-f]{6})"), re.compile(r"-?\d+(?:\.\d+)?")
PLACES = ("d", "x", "y", "transform", "id", "href", "clip-path")

SVG = "http://www.w3.org/2000/svg"
XLINK = "http://www.w3.org/1999/xlink"
HREF = f"{{{XLINK}}}href"  # not href alone: the theme sets that of every element when it opens the next page


@dataclass(frozen=True)
class Picture:
    """A plot as it is recorded: drawn for pages, and as pixels for whatever can't show a drawing."""

    svg: str
    png: bytes


def start(style: Path) -> None:
    """From here on figures are kept in memory, in the site's style."""
    mpl.use("agg")
    mpl.rcdefaults()
    plt.style.use(style)
    plt.close("all")


def capture(piece: Piece) -> tuple[Picture | None, str | None]:
    """The figure that is open, as a picture, and what is wrong with it. Closes every figure."""
    figures = [plt.figure(number) for number in plt.get_fignums()]
    try:
        if not figures:
            return None, "has an alt text and draws nothing. Draw the plot, or remove the text." if piece.alt else None
        if not piece.number:
            return None, "draws a plot, which only a tutorial can show. Close it, or draw it there."
        if len(figures) > 1:
            return None, f"draws {len(figures)} figures. Draw one in a cell, so that each has its alt text."
        if not piece.alt:
            return None, 'draws a plot without alt text. Say what it shows: # %% alt="…"'
        return _picture(figures[0], piece.alt, prefix=f"c{piece.number}-")
    finally:
        plt.close("all")


def differ(one: Picture, other: Picture) -> str | None:
    """What a reader would see differ. Two processors don't draw the same last digit, so a little may."""
    words, other_words = _words(one.svg), _words(other.svg)
    if words != other_words:
        changed = sorted(set(words) ^ set(other_words)) or words
        return f"its words changed: {', '.join(changed[:6])}"
    parts, other_parts = list(_parts(one.svg)), list(_parts(other.svg))
    if [part.look for part in parts] != [part.look for part in other_parts]:
        return f"its lines, areas or markers changed: {len(parts)} before, {len(other_parts)} now"
    pairs = list(zip(parts, other_parts, strict=True))
    if coloured := sum(not np.allclose(old.colours, new.colours, atol=NEAR) for old, new in pairs):
        return f"{coloured} of its lines, areas, images or markers have another colour"
    if moved := sum(not np.allclose(old.place, new.place, atol=FAR) for old, new in pairs):
        return f"{moved} of its lines, areas, markers or words moved"
    pixels, other_pixels = _blurred(one.png), _blurred(other.png)
    if pixels.shape != other_pixels.shape:
        return "its size changed"
    difference = float(np.sqrt(np.mean((pixels - other_pixels) ** 2)))
    return f"its lines or colours changed ({difference:.3f} of black)" if difference > 0.01 else None


@dataclass(frozen=True)
class _Part:
    """A line, an area, an image, a marker or a word."""

    look: str
    """Its kind, its words, its attributes but for colours and places, and how many of those it has."""
    colours: list[int]
    place: list[float]
    """Of a line the corners of the box around it: how many points it has depends on their last digits."""


def _parts(svg: str) -> Iterator[_Part]:
    for element in ET.fromstring(svg).iter():
        given = {name.rpartition("}")[2]: value for name, value in element.attrib.items()}
        told = sorted((name, COLOUR.sub("", value)) for name, value in given.items() if name not in PLACES)
        colours = [byte for value in given.values() for one in COLOUR.findall(value) for byte in bytes.fromhex(one)]
        if element.tag == f"{{{SVG}}}image":
            colours += _image(element.attrib[HREF]).convert("RGB").tobytes()
        points = [float(number) for number in NUMBER.findall(given.get("d", ""))]
        place = [*map(min, (points[::2], points[1::2])), *map(max, (points[::2], points[1::2]))] if points else []
        for name in ("x", "y", "transform"):
            place += [float(number) for number in NUMBER.findall(given.get(name, ""))]
        look = f"{element.tag} {told} {element.text or ''} {len(colours)} {len(place)}"
        yield _Part(look, colours, place)


def _picture(figure: Figure, alt: str, prefix: str) -> tuple[Picture | None, str | None]:
    figure.canvas.draw()
    figure.set_layout_engine("none")  # the layout stays as it is now
    for axes in figure.axes:
        if wrong := _wrong(axes):
            return None, wrong
    drawn, pixels = io.StringIO(), io.BytesIO()
    figure.savefig(drawn, format="svg", metadata={"Date": None, "Creator": None})
    figure.savefig(pixels, format="png", metadata={"Software": None}, dpi=72)
    svg = _small(drawn.getvalue(), alt, prefix)
    size = len(gzip.compress(svg.encode()))
    if size > LARGEST:
        mend = f'Draw fewer points, and images with interpolation="none": {LARGEST} is the most.'
        return None, f"draws a plot of {size} bytes, compressed. {mend}"
    return Picture(svg, pixels.getvalue()), None


def _wrong(axes: Axes) -> str | None:
    """Why nothing can be read from an axes, or None."""
    frame = {axes.patch, axes.xaxis, axes.yaxis, axes.title, *axes.spines.values()}
    data = [artist for artist in axes.get_children() if artist not in frame and artist.get_visible()]
    with_data = _pixels(axes)
    for artist in data:
        artist.set_visible(False)
    without = _pixels(axes)
    for artist in data:
        artist.set_visible(True)
    if np.array_equal(with_data, without):
        return "draws a plot that shows nothing: no point of its data falls on the axes, or all is NaN."
    if any(_is_white(part) for artist in data if not isinstance(artist, Legend) for part in artist.findobj()):
        return "draws something in white, which a page leaves out: it is dark by night. Choose another colour."
    for name, axis in (("x", axes.xaxis), ("y", axes.yaxis)):
        labelled = any(tick.label1.get_visible() or tick.label2.get_visible() for tick in axis.get_major_ticks())
        if axes.axison and labelled and axis.get_ticklocs().size and not axis.get_label_text():
            return f'draws an axis without a label. Say what it shows: ax.set_{name}label("…"), or ax.set_axis_off().'
    return None


def _is_white(artist: Artist) -> bool:
    colours = [getattr(artist, f"get_{name}", str)() for name in ("color", "facecolor", "edgecolor")]
    rows = [mpl.colors.to_rgba_array(colour) for colour in colours if not isinstance(colour, str) or colour]
    return any((row == 1).all() for each in rows for row in each)


def _pixels(axes: Axes) -> np.ndarray:
    canvas = axes.figure.canvas
    canvas.draw()
    return np.array(canvas.buffer_rgba())


def _small(svg: str, alt: str, prefix: str) -> str:
    """The same drawing with its alt text and without what no reader needs: unused ids, fonts, digits."""
    ET.register_namespace("", SVG)
    ET.register_namespace("xlink", XLINK)
    root = ET.fromstring(svg)
    used = set(re.findall(r'(?:href="#|url\(#)([^")]+)', svg))
    for unwanted in (f"{{{SVG}}}metadata", f"{{{SVG}}}defs[{{{SVG}}}style]"):  # its rule would hold for the whole page
        for element in root.findall(unwanted):
            root.remove(element)
    for element in root.iter():
        name = element.attrib.pop("id", None)
        if name in used:
            element.set("id", prefix + name)
        if HREF in element.attrib:
            element.set(HREF, _href(element.attrib[HREF], prefix))
        for key in ("clip-path", "style"):
            if key in element.attrib:
                value = re.sub(r"url\(#", f"url(#{prefix}", element.attrib[key])
                element.set(key, re.sub(r"font-family: [^;]+;? ?", "", value))
        for key in ("d", "x", "y", "transform"):
            if key in element.attrib:
                rounded = re.sub(r"\d+\.\d{2,}", _rounded, element.attrib[key])
                element.set(key, " ".join(rounded.split()))
        element.tail = None
        if element.tag != f"{{{SVG}}}text" and not (element.text or "").strip():
            element.text = None
    for key in ("width", "height", "version"):
        root.attrib.pop(key, None)
    _, _, width, height = root.get("viewBox").split()
    size = {"width": f"{float(width) * SCALE:.0f}", "height": f"{float(height) * SCALE:.0f}"}
    inherited = {"fill": "#000000", "stroke-linejoin": "round", "stroke-linecap": "butt"}
    root.attrib |= {**size, **inherited, "role": "img", "aria-label": alt}
    return ET.tostring(root, encoding="unicode")


def _rounded(number: re.Match[str]) -> str:
    """A tenth of a pixel for a place, a hundredth for the size of a marker."""
    return f"{float(number[0]):.{1 if float(number[0]) > 10 else 2}f}"


def _href(href: str, prefix: str) -> str:
    """A reference within the drawing, or an image in as many colours as a colormap has."""
    if href.startswith("#"):
        return f"#{prefix}{href[1:]}"
    image, small = _image(href), io.BytesIO()
    if image.getextrema()[-1] == (255, 255):  # opaque
        image = image.convert("RGB").quantize(64)
    image.save(small, format="png", optimize=True)
    return f"data:image/png;base64,{base64.b64encode(small.getvalue()).decode()}"


def _image(href: str) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(href.partition(",")[2])))


def _words(svg: str) -> list[str]:
    return ["".join(element.itertext()) for element in ET.fromstring(svg).iter(f"{{{SVG}}}text")]


def _blurred(png: bytes, block: int = 6) -> np.ndarray:
    """The mean of each square of pixels, for each colour, from 0 for none to 1 for all."""
    image = plt.imread(io.BytesIO(png))[..., :3]
    rows, columns = (size // block * block for size in image.shape[:2])
    return image[:rows, :columns].reshape(rows // block, block, columns // block, block, 3).mean(axis=(1, 3))


def as_data(picture: Picture) -> dict[str, str]:
    """The picture as a notebook's output."""
    return {"image/svg+xml": picture.svg, "image/png": base64.b64encode(picture.png).decode()}


def from_data(data: dict[str, str]) -> Picture:
    return Picture(data["image/svg+xml"], base64.b64decode(data["image/png"]))
