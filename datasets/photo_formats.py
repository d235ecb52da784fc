"""Which files are photos, for every folder that the project looks into: one list, by their extensions.

HEIC and AVIF are read where pillow-heif, or a Pillow that does it by itself, is installed.
"""

from __future__ import annotations

from pathlib import PurePath
from typing import Iterable

from PIL import Image

try:
    import pillow_heif
except ImportError:
    pillow_heif = None

ALWAYS_READ = (
    *(".bmp", ".gif", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".pnm", ".ppm"),
    *(".tif", ".tiff", ".webp"),
)
OPTIONAL = (".avif", ".heic", ".heif", ".hif")
NEVER_READ = (
    *(".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".raw", ".rw2"),
    *(".eps", ".ico", ".jxl", ".psd", ".svg", ".tga", ".xcf"),
)


def register_readers() -> None:
    """Tells Pillow of the optional readers that are installed."""
    for name in ("register_heif_opener", "register_avif_opener"):
        getattr(pillow_heif, name, lambda: None)()


def _readable(suffixes: Iterable[str]) -> tuple[str, ...]:
    """Those of the extensions that an installed reader knows."""
    register_readers()
    known = Image.registered_extensions()
    return tuple(suffix for suffix in suffixes if known.get(suffix) in Image.OPEN)


PHOTO_SUFFIXES = (*ALWAYS_READ, *_readable(OPTIONAL))
"""Extensions, in lower case, of the photos that are read."""

PHOTO_LIKE = (*ALWAYS_READ, *OPTIONAL, *NEVER_READ)
"""Those of all that look like photos; whoever passes over one says so."""


def why_unread(path: PurePath) -> str:
    """Why a file that looks like a photo is not read, and what to do."""
    suffix = path.suffix.lower()
    if suffix in OPTIONAL:
        return f"{suffix} needs pillow-heif: pip install -r requirements-heif.txt, or save the photo as .jpg"
    return "not an image of a known format; use .jpg or .png"
