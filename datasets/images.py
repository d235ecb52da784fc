"""Reading and writing images as RGB uint8 arrays (H, W, 3)."""

from __future__ import annotations

import io
import struct
import warnings
import zlib
from pathlib import Path
from typing import Callable, TypeVar

import numpy as np
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from common.files import PathLike, write_bytes
from common.readers import read_bytes
from datasets.photo_formats import why_unread

Decoded = TypeVar("Decoded")

# All that Pillow's decoders raise on damaged files.
_DECODE_ERRORS = (
    *(OSError, SyntaxError, ValueError, TypeError, LookupError, EOFError, struct.error, zlib.error),
    *(OverflowError, MemoryError, RuntimeError, AttributeError),
)

# The only ones to be opened, whatever a file is called: among Pillow's others is one that starts Ghostscript.
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG2000", "PPM", "HEIF", "AVIF")
_LARGEST = 2**30  # bytes of a file
MOST_PIXELS = 120_000_000  # a phone's 108 million pass; decoding takes up to 20 bytes a pixel for a while


def read_image(path: PathLike, apply_orientation: bool = True) -> np.ndarray:
    """Reads an image of any kind as RGB.

    Transparent pixels are laid on white, of an animation the first frame is taken, 16-bit values keep their high byte.

    Args:
        path: The image file.
        apply_orientation: Turn the picture upright as its EXIF tag says. Leave it out for photos whose annotations
            count in the stored pixels.

    Returns:
        (H, W, 3) uint8.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: The file is empty, cut short or no image.
    """
    return _readable(path, lambda data: _decode(data, apply_orientation))


def read_size(path: PathLike) -> tuple[int, int]:
    """Width and height of an image as it is stored; its pixels are not decoded.

    Raises:
        FileNotFoundError, ValueError: as `read_image` does.
    """
    return _readable(path, _size)


def write_image(path: PathLike, image: np.ndarray) -> None:
    """Writes an RGB image, whole or not at all; the extension chooses the format.

    Args:
        path: Where to; .jpg (quality 95), .png and whatever else Pillow writes.
        image: (H, W, 3) uint8 RGB.

    Raises:
        ValueError: The extension names no image format, or the array is no RGB image.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3:
        raise ValueError(f"{path}: an image to write is (H, W, 3) uint8, this is {image.shape} {image.dtype}")
    suffix = Path(path).suffix.lower()
    image_format = Image.registered_extensions().get(suffix)
    if image_format not in Image.SAVE:
        raise ValueError(f"{path}: no image format has the extension '{suffix}'; use .png or .jpg")
    encoded = io.BytesIO()
    Image.fromarray(image).save(encoded, image_format, quality=95)
    write_bytes(path, encoded.getvalue())


def _readable(path: PathLike, decode: Callable[[bytes], Decoded]) -> Decoded:
    """What `decode` makes of a file's bytes; its errors name the file and what to do."""
    data = _read_bytes(Path(path))
    if not data:
        raise ValueError(f"{path}: the file is empty; copy it again or remove it")
    try:
        with warnings.catch_warnings():
            # Pillow warns of big photos and of odd metadata; neither is an error, and there is nothing to do about it.
            warnings.simplefilter("ignore")
            # GluonCV, once imported, lets every program around it take photos that are cut short.
            ImageFile.LOAD_TRUNCATED_IMAGES = False
            return decode(data)
    except UnidentifiedImageError:
        raise ValueError(f"{path}: {why_unread(Path(path))}") from None
    except Image.DecompressionBombError:
        raise ValueError(f"{path}: the image has more than {MOST_PIXELS:,} pixels; make it smaller") from None
    except _DECODE_ERRORS as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: the image cannot be read ({reason}); copy it again or remove it") from error


def _read_bytes(path: Path) -> bytes:
    if not path.exists():
        raise FileNotFoundError(f"{path}: there is no such image; check the path")
    if path.is_dir():
        raise ValueError(f"{path}: this is a folder, not an image; name one image file")
    return read_bytes(path, "name an image file", _LARGEST)


def _decode(data: bytes, apply_orientation: bool) -> np.ndarray:
    with _open(data) as image:
        if apply_orientation:
            ImageOps.exif_transpose(image, in_place=True)
        return np.array(_to_rgb(image))


def _size(data: bytes) -> tuple[int, int]:
    with _open(data) as image:
        return image.size


def _open(data: bytes) -> Image.Image:
    """An image whose header has been read; its pixels are decoded when they are asked for."""
    Image.init()
    image = Image.open(io.BytesIO(data), formats=[name for name in FORMATS if name in Image.OPEN])
    if image.width * image.height > MOST_PIXELS:
        raise Image.DecompressionBombError
    return image


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode == "F":
        raise ValueError("its pixels are floating-point numbers of unknown range")
    if image.mode.startswith("I"):
        high_bytes = np.clip(np.asarray(image), 0, 65535).astype(np.uint16) >> 8
        image = Image.fromarray(high_bytes.astype(np.uint8))
    if image.mode.endswith(("A", "a")) or "transparency" in image.info:
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image.convert("RGBA"))
    return image if image.mode == "RGB" else image.convert("RGB")
