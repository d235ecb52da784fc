"""Reading and writing of images, against arrays whose pixels are known."""

import os
import struct
import subprocess
import warnings
import zlib

import numpy as np
import pytest
from PIL import EpsImagePlugin, Image, UnidentifiedImageError

from datasets.images import read_image, read_size, write_image

# Four flat quarters, so that turning and mirroring show and JPEG keeps the colours.
RED, GREEN, BLUE, GRAY = (200, 30, 30), (30, 160, 40), (40, 50, 190), (120, 120, 120)


def _quarters(height=48, width=64):
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2, : width // 2], image[: height // 2, width // 2 :] = RED, GREEN
    image[height // 2 :, : width // 2], image[height // 2 :, width // 2 :] = BLUE, GRAY
    return image


# What a camera stores for an upright scene under each EXIF orientation: the inverse of what a viewer must do.
STORED = {
    1: lambda scene: scene,
    2: lambda scene: scene[:, ::-1],
    3: lambda scene: scene[::-1, ::-1],
    4: lambda scene: scene[::-1],
    5: lambda scene: scene.transpose(1, 0, 2),
    6: lambda scene: np.rot90(scene, 1),
    7: lambda scene: scene[::-1, ::-1].transpose(1, 0, 2),
    8: lambda scene: np.rot90(scene, -1),
}


def _oriented_jpeg(path, stored, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    Image.fromarray(np.ascontiguousarray(stored)).save(path, quality=95, subsampling=0, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(tmp_path, orientation):
    scene = _quarters()
    _oriented_jpeg(tmp_path / "photo.jpg", STORED[orientation](scene), orientation)
    read = read_image(tmp_path / "photo.jpg")
    assert read.shape == scene.shape
    assert np.abs(read.astype(int) - scene).max() <= 12  # what JPEG itself changes at the quarters' borders


def test_annotated_photos_are_read_as_they_are_stored(tmp_path):
    stored = STORED[6](_quarters())
    _oriented_jpeg(tmp_path / "photo.jpg", stored, 6)
    read = read_image(tmp_path / "photo.jpg", apply_orientation=False)
    assert read.shape == stored.shape
    assert np.abs(read.astype(int) - stored).max() <= 12


def test_orientation_of_a_png_is_honoured(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(np.rot90(_quarters()).copy()).save(tmp_path / "photo.png", exif=exif)
    np.testing.assert_array_equal(read_image(tmp_path / "photo.png"), _quarters())


def test_damaged_exif_is_no_reason_to_refuse_a_photo(tmp_path):
    Image.fromarray(_quarters()).save(tmp_path / "photo.jpg", exif=b"Exif\x00\x00MM\x00*\x00\x00\xff\xffrubbish")
    assert read_image(tmp_path / "photo.jpg").shape == (48, 64, 3)


def test_rgb_comes_back_as_it_was(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (17, 23, 3), np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    read = read_image(tmp_path / "image.png")
    np.testing.assert_array_equal(read, image)
    assert read.dtype == np.uint8
    assert read.flags.writeable
    assert read.flags.c_contiguous


def test_grayscale_fills_three_channels(tmp_path):
    gray = np.arange(256, dtype=np.uint8).reshape(16, 16)
    Image.fromarray(gray).save(tmp_path / "gray.png")
    np.testing.assert_array_equal(read_image(tmp_path / "gray.png"), np.repeat(gray[:, :, None], 3, axis=2))


@pytest.mark.parametrize(("alpha", "expected"), [(0, 255), (255, 100), (51, 224)])
def test_alpha_is_laid_on_white(tmp_path, alpha, expected):
    # 51 / 255 = 0.2, and 0.2 * 100 + 0.8 * 255 = 224
    Image.new("RGBA", (4, 3), (100, 100, 100, alpha)).save(tmp_path / "rgba.png")
    Image.new("LA", (4, 3), (100, alpha)).save(tmp_path / "la.png")
    for name in ("rgba.png", "la.png"):
        np.testing.assert_array_equal(read_image(tmp_path / name), np.full((3, 4, 3), expected))


def _palette_image():
    image = Image.fromarray(np.array([[0, 1], [2, 3]], np.uint8))
    image.putpalette([*RED, *GREEN, *BLUE, *GRAY])
    return image


def test_palette(tmp_path):
    _palette_image().save(tmp_path / "palette.png")
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), [[RED, GREEN], [BLUE, GRAY]])


def test_palette_with_an_alpha_per_entry(tmp_path):
    _palette_image().save(tmp_path / "palette.png", transparency=bytes([255, 255, 0, 255]))
    np.testing.assert_array_equal(read_image(tmp_path / "palette.png"), [[RED, GREEN], [(255, 255, 255), GRAY]])


def test_a_transparent_colour_of_an_rgb_png(tmp_path):
    Image.fromarray(_quarters()).save(tmp_path / "key.png", transparency=BLUE)
    read = read_image(tmp_path / "key.png")
    np.testing.assert_array_equal(read[40, 10], (255, 255, 255))
    np.testing.assert_array_equal(read[10, 10], RED)


def test_cmyk(tmp_path):
    Image.new("CMYK", (16, 16), (0, 255, 255, 0)).save(tmp_path / "cmyk.jpg", quality=95)
    assert np.abs(read_image(tmp_path / "cmyk.jpg").astype(int) - (255, 0, 0)).max() <= 3


def _png(path, colour_type, rows):
    """A 16-bit PNG written by hand, as Pillow writes none in colour; rows is (H, W, C) uint16."""
    height, width = rows.shape[:2]

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 16, colour_type, 0, 0, 0)
    lines = b"".join(b"\0" + row.astype(">u2").tobytes() for row in rows)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(lines)) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize(("colour_type", "channels"), [(0, 1), (2, 3)])
def test_16_bits_keep_their_high_byte(tmp_path, colour_type, channels):
    values = np.array([0, 0x00FF, 0x0100, 0x7FFF, 0x8000, 0xFFFF], np.uint16).reshape(2, 3, 1).repeat(channels, 2)
    _png(tmp_path / "deep.png", colour_type, values)
    expected = np.array([[0, 0, 1], [127, 128, 255]], np.uint8)[:, :, None].repeat(3, 2)
    np.testing.assert_array_equal(read_image(tmp_path / "deep.png"), expected)


def test_16_bit_tiff(tmp_path):
    Image.fromarray(np.full((3, 2), 0xC8FF, np.uint16)).save(tmp_path / "deep.tif")
    np.testing.assert_array_equal(read_image(tmp_path / "deep.tif"), np.full((3, 2, 3), 0xC8))


def test_floating_point_pixels_are_refused(tmp_path):
    Image.fromarray(np.zeros((3, 2), np.float32)).save(tmp_path / "float.tif")
    _refused(tmp_path / "float.tif", "floating-point")


def test_an_animation_gives_its_first_frame(tmp_path):
    frames = [Image.new("RGB", (8, 6), colour) for colour in (RED, GREEN, BLUE)]
    frames[0].save(tmp_path / "film.gif", save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(read_image(tmp_path / "film.gif"), np.full((6, 8, 3), RED))


def test_a_photo_that_pillow_warns_of_is_read_without_a_warning(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # warned of above this, refused above twice this
    write_image(tmp_path / "big.png", _quarters(48, 64))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_image(tmp_path / "big.png").shape == (48, 64, 3)


def test_a_picture_too_big_to_be_one_is_refused(tmp_path):
    """A file of 40 kB; decoded it would be 500 MB."""
    Image.new("1", (13_000, 13_000)).save(tmp_path / "bomb.png")
    _refused(tmp_path / "bomb.png", "more than 120,000,000 pixels; make it smaller")
    _refused(tmp_path / "bomb.png", "more than 120,000,000 pixels; make it smaller", read_size)


def test_a_size_is_read_as_stored(tmp_path):
    write_image(tmp_path / "photo.png", _quarters(48, 64))
    assert read_size(tmp_path / "photo.png") == (64, 48)


def test_no_format_that_starts_a_program_is_opened(tmp_path, monkeypatch):
    """PostScript, which Pillow hands to Ghostscript, under a photo's name."""
    ran = []
    monkeypatch.setattr(subprocess, "check_call", lambda *command, **settings: ran.append(command))
    monkeypatch.setattr(EpsImagePlugin, "gs_binary", "gs")
    script = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 8 8\n%%EndComments\n(ran) print\n%%EOF\n"
    (tmp_path / "face.jpg").write_bytes(script)
    with pytest.raises(UnidentifiedImageError), Image.open(tmp_path / "face.jpg") as image:
        image.load()  # what the program would have drawn is not there
    assert ran  # so that the payload is one
    ran.clear()
    _refused(tmp_path / "face.jpg", "not an image of a known format")
    _refused(tmp_path / "face.jpg", "not an image of a known format", read_size)
    assert not ran


def _refused(path, reason, read=read_image):
    with pytest.raises(ValueError, match=reason) as caught:
        read(path)
    message = str(caught.value)
    assert str(path) in message
    assert "\n" not in message
    assert "BytesIO" not in message


@pytest.mark.parametrize("suffix", [".jpg", ".png", ".bmp", ".gif", ".webp"])
@pytest.mark.parametrize("kept", [0.02, 0.5, 0.9])
def test_a_truncated_file_is_refused(tmp_path, suffix, kept):
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    path = tmp_path / f"cut{suffix}"
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: int(kept * path.stat().st_size)])
    _refused(path, "cannot be read|not an image")


def test_a_file_with_flipped_bytes_is_refused_or_read_but_never_crashes(tmp_path):
    generator = np.random.default_rng(2)
    noise = generator.integers(0, 256, (20, 20, 3), np.uint8)
    for suffix in (".jpg", ".png", ".tif", ".gif"):
        path = tmp_path / f"dirty{suffix}"
        Image.fromarray(noise).save(path)
        clean = np.frombuffer(path.read_bytes(), np.uint8)
        for _ in range(60):
            dirty = clean.copy()
            dirty[generator.integers(0, len(dirty), 4)] = generator.integers(0, 256, 4)
            path.write_bytes(dirty.tobytes())
            try:
                read_image(path)
            except ValueError as error:
                assert str(path) in str(error)  # noqa: PT017 - most of the damaged files can be read


def test_an_empty_file_is_refused(tmp_path):
    (tmp_path / "empty.jpg").write_bytes(b"")
    _refused(tmp_path / "empty.jpg", "is empty; copy it again or remove it")


def test_a_missing_file_is_said_to_be_missing(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"^\S*nowhere.jpg: there is no such image; check the path$"):
        read_image(tmp_path / "nowhere.jpg")


@pytest.mark.parametrize("name", ["out.png", "OUT.PNG", "out.bmp", "name with spaces.tif"])
def test_what_is_written_without_loss_is_read_back(tmp_path, name):
    image = np.random.default_rng(3).integers(0, 256, (13, 7, 3), np.uint8)
    write_image(tmp_path / name, image)
    np.testing.assert_array_equal(read_image(tmp_path / name), image)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize("name", ["out", "out.npy", "out.txt"])
def test_an_unknown_extension_is_refused(tmp_path, name):
    with pytest.raises(ValueError, match=rf"{name}: no image format .* use .png or .jpg"):
        write_image(tmp_path / name, _quarters())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((4, 4, 4), np.uint8)])
def test_only_rgb_is_written(tmp_path, image):
    with pytest.raises(ValueError, match="out.png: an image to write is"):
        write_image(tmp_path / "out.png", image)


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "out.png"
    write_image(path, _quarters())
    before = path.read_bytes()

    def full(source, target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(OSError, match=r"cannot write .*out.png: No space left on device; free the space"):
        write_image(path, _quarters()[::-1])
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]
