"""Batches: every byte the same whatever the number of workers, each face once in an epoch, and a worker's death."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from datasets.augment import Augmentation, TrainingCrop, with_photometric
from datasets.cache import CachedFaces
from datasets.faces import Face
from datasets.loader import Cut, Loader
from datasets.markups import IBUG_68
from datasets.render.faces import RenderedFaces
from datasets.shared_memory import SharedMemory

SEED = 7
COUNT = 23
BATCH = 5


class NumberedFaces:
    """Faces whose pixels and points hold their number; `on_read` is called with it."""

    markup = IBUG_68

    def __init__(self, count=COUNT, on_read=lambda index: None):
        self.names = [str(index) for index in range(count)]
        self._on_read = on_read

    def __len__(self):
        return len(self.names)

    def __getitem__(self, index):
        self._on_read(index)
        points = np.full((68, 2), float(index))
        return Face(np.full((4, 4, 3), index, np.uint8), points, np.array([0.0, 0.0, 3.0, 3.0]), self.names[index])


def number_and_draw(face, rng):
    """The picture as it is, and the first point replaced by a draw, which tells generators apart."""
    points = face.points_image.copy()
    points[0] = rng.random(2)
    return face.image, points


def collect(loader, epoch=0):
    with loader:
        return list(loader.epoch(epoch))


def assert_same(batches, others):
    assert len(batches) == len(others)
    for batch, other in zip(batches, others):
        np.testing.assert_array_equal(batch.crops, other.crops)
        np.testing.assert_array_equal(batch.points_crop, other.points_crop)


def order_of(batches):
    return np.concatenate([batch.crops[:, 0, 0, 0] for batch in batches]).tolist()


@pytest.fixture(scope="module")
def faces():
    return CachedFaces(RenderedFaces(COUNT, seed=1, size=96))


@pytest.fixture(scope="module")
def transform():
    return TrainingCrop(64, 0.25, IBUG_68, with_photometric(Augmentation(30.0, 0.2, 0.08, 0.05, 0.5)))


@pytest.fixture(scope="module")
def alone(faces, transform):
    """Epochs 0 and 1 as one process makes them."""
    loader = Loader(faces, transform, BATCH, SEED)
    return [list(loader.epoch(epoch)) for epoch in (0, 1)]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_change_no_byte(faces, transform, alone, workers):
    with Loader(faces, transform, BATCH, SEED, workers) as loader:
        for epoch in (0, 1):
            assert_same(list(loader.epoch(epoch)), alone[epoch])


@pytest.mark.parametrize("devices", [1, 2])
def test_the_parts_of_several_workers_are_the_batches_of_one(faces, transform, alone, devices):
    parts = [collect(Loader(faces, transform, BATCH, SEED, cut=Cut(rank, 3, devices)), epoch=1) for rank in range(3)]
    assert len(parts[0]) == len(parts[1]) == len(parts[2]) == len(alone[1])
    for whole, *own in zip(alone[1], *parts):
        crops, points = zip(*(part for part in own if len(part.crops)))
        np.testing.assert_array_equal(np.concatenate(crops), whole.crops)
        np.testing.assert_array_equal(np.concatenate(points), whole.points_crop)


def test_a_batch_is_cut_as_evenly_as_devices_allow():
    def sizes(size, workers, devices):
        return [len(range(size)[Cut(rank, workers, devices).of(size)]) for rank in range(workers)]

    assert sizes(16, 2, 1) == [8, 8]
    assert sizes(7, 2, 2) == [4, 3]  # devices take 2, 2, 2 and 1
    assert sizes(5, 2, 2) == [3, 2]
    assert sizes(1, 3, 1) == [1, 0, 0]


def test_batches_come_through_memory_that_is_used_again():
    """One batch of one face after another, far more than there are rooms."""
    with Loader(NumberedFaces(), number_and_draw, 1, SEED, workers=1) as loader:
        for epoch in (0, 1):
            for batch, alone in zip(
                loader.epoch(epoch), Loader(NumberedFaces(), number_and_draw, 1, SEED).epoch(epoch)
            ):
                assert not batch.crops.flags.owndata
                assert_same([batch], [alone])


def test_batches_that_are_all_kept_are_not_written_over():
    alone = collect(Loader(NumberedFaces(), number_and_draw, 1, SEED))
    kept = collect(Loader(NumberedFaces(), number_and_draw, 1, SEED, workers=1))
    assert [batch.crops.flags.owndata for batch in kept].count(False) == 4 + 3  # there are no more rooms
    assert_same(kept, alone)


def test_a_room_is_taken_by_one_at_a_time_and_holds_what_fits():
    memory = SharedMemory(1, 128)
    room = memory.take()
    assert memory.take() is None
    layout = memory.write(room.number, [np.arange(3), np.ones((2, 2), np.float32)])
    whole, ones = layout.arrays(room.memory)
    assert whole.tolist() == [0, 1, 2]
    assert ones.tolist() == [[1, 1], [1, 1]]
    assert memory.write(room.number, [np.zeros(129, np.uint8)]) is None
    del room, whole
    assert memory.take() is None  # the other array is still in it
    del ones
    assert memory.take() is not None


@pytest.mark.parametrize("workers", [0, 2])
def test_a_restart_at_an_epoch_gives_the_same_epoch(faces, transform, alone, workers):
    assert_same(collect(Loader(faces, transform, BATCH, SEED, workers), epoch=1), alone[1])


def test_an_epoch_left_halfway_does_not_disturb_the_next(faces, transform, alone):
    with Loader(faces, transform, BATCH, SEED, workers=2) as loader:
        begun = loader.epoch(0)
        assert_same([next(begun)], alone[0][:1])
        begun.close()
        assert_same(list(loader.epoch(1)), alone[1])


def test_the_batch_size_changes_no_crop(faces, transform, alone):
    whole = collect(Loader(faces, transform, COUNT, SEED))
    assert len(whole) == 1
    np.testing.assert_array_equal(whole[0].crops, np.concatenate([batch.crops for batch in alone[0]]))


@pytest.mark.parametrize(("count", "batches"), [(20, 4), (1, 1)])
def test_length_is_the_number_of_batches(count, batches):
    loader = Loader(NumberedFaces(count), number_and_draw, BATCH)
    assert len(loader) == batches == len(list(loader.epoch(0)))


def test_each_face_once_in_an_epoch_and_another_order_in_the_next():
    loader = Loader(NumberedFaces(), number_and_draw, BATCH, SEED)
    orders = [order_of(loader.epoch(epoch)) for epoch in range(3)]
    for order in orders:
        assert sorted(order) == list(range(COUNT))
    assert orders[0] != orders[1] != orders[2]
    assert orders[0] != list(range(COUNT))
    assert orders[0] != order_of(Loader(NumberedFaces(), number_and_draw, BATCH, SEED + 1).epoch(0))


def test_no_two_crops_of_a_run_draw_the_same():
    loader = Loader(NumberedFaces(), number_and_draw, BATCH, SEED)
    draws = np.concatenate([batch.points_crop[:, 0, 0] for epoch in range(4) for batch in loader.epoch(epoch)])
    assert len(np.unique(draws)) == 4 * COUNT


def test_an_order_may_repeat_faces():
    order = np.array([2, 2, 2, 9])
    assert sorted(order_of(Loader(NumberedFaces(), number_and_draw, 3, SEED, order=order).epoch(0))) == [2, 2, 2, 9]


def test_no_faces_at_all():
    with pytest.raises(ValueError, match="holds no face"):
        Loader(NumberedFaces(0), number_and_draw, BATCH)


def end_at_11(index):
    if index == 11:
        os.kill(os.getpid(), signal.SIGKILL)


def test_the_death_of_a_worker_is_said_in_one_line():
    with pytest.raises(OSError, match="loading process was ended by SIGKILL") as caught:
        collect(Loader(NumberedFaces(on_read=end_at_11), number_and_draw, BATCH, SEED, workers=2))
    assert "\n" not in str(caught.value)


def test_workers_run_before_the_first_batch_is_asked_for():
    earlier = set(multiprocessing.active_children())
    with Loader(NumberedFaces(), number_and_draw, BATCH, workers=2):
        assert len(set(multiprocessing.active_children()) - earlier) == 2


PROGRAM = """
import multiprocessing, os, signal
from datasets.loader import Loader
from datasets.render.faces import RenderedFaces

loader = Loader(RenderedFaces(8, size=64), lambda face, rng: (face.image, face.points_image), 2, workers=2)
next(loader.epoch(0))
shared = [line.split(None, 5) for line in open("/proc/self/maps") if line.split()[1] == "rw-s"]
assert shared and all(each[5].endswith("(deleted)\\n") for each in shared)  # the system frees what has no name
print(*(worker.pid for worker in multiprocessing.active_children()), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""


def is_running(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="looks for processes in /proc, which Linux has")
def test_workers_do_not_outlive_a_killed_run(tmp_path):
    root = Path(__file__).resolve().parent.parent
    with open(tmp_path / "out", "w+") as out:
        # A file, not a pipe: a pipe would stay open as long as a worker lives.
        ended = subprocess.run([sys.executable, "-c", PROGRAM], cwd=root, stdout=out, timeout=60, check=False)
        assert ended.returncode == -signal.SIGKILL
        out.seek(0)
        workers = out.read().split()
    assert len(workers) == 2
    patience = time.monotonic() + 20
    while any(map(is_running, workers)):
        assert time.monotonic() < patience, f"processes {workers} go on without the run that started them"
        time.sleep(0.1)


def damaged_at_11(index):
    if index == 11:
        raise ValueError("11.jpg: the image is damaged; copy it again or remove it")


@pytest.mark.parametrize("workers", [0, 2])
def test_a_damaged_photo_names_itself(workers):
    with pytest.raises(ValueError, match=r"^11\.jpg: the image is damaged"):
        collect(Loader(NumberedFaces(on_read=damaged_at_11), number_and_draw, BATCH, SEED, workers))


@pytest.mark.parametrize("workers", [0, 2])
def test_the_cache_holds_what_the_data_set_reads(workers):
    source = RenderedFaces(3, seed=2, size=64)
    reads = []
    cached = CachedFaces(source, workers, lambda faces, count: (reads.append(face.name) or face for face in faces))
    assert len(cached) == 3
    assert reads == list(cached.names) == list(source.names)
    for index in range(3):
        for kept, fresh in zip(cached[index], source[index]):
            np.testing.assert_array_equal(kept, fresh)
    assert cached[1].image is cached[1].image
