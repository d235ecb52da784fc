"""tools/compare.py, on made-up errors whose comparison is known."""

import csv
import io
import json

import numpy as np
import pytest
from PIL import Image

from report.compare import compare_systems, format_comparison, read_scored
from tools.compare import main

NAMES = ["helen/3", "helen/1", "helen/2", "helen/4", "helen/5"]


def write_folder(folder, errors, names=NAMES, **metrics):
    folder.mkdir()
    about = {"model": "m", "weights": f"{folder.name}.params", "dataset": "300w", "subset": "helen_test"}
    values = {**about, "normalizer": "outer_eye", "names": names, **metrics}
    (folder / "metrics.json").write_text(json.dumps(values))
    np.save(folder / "errors.npy", np.array(errors, float))
    return folder


@pytest.fixture
def folders(tmp_path):
    a = write_folder(tmp_path / "a", [0.05, 0.02, 0.04, np.nan, 0.03])
    # The same faces in another order.
    order = [2, 0, 1, 4, 3]
    b = write_folder(tmp_path / "b", np.array([0.02, 0.02, 0.05, 0.03, np.nan])[order], [NAMES[k] for k in order])
    return a, b


def compared(folders):
    return compare_systems(*(read_scored(folder) for folder in folders))


def test_faces_are_matched_by_name(folders):
    comparison = compared(folders)
    np.testing.assert_allclose(comparison.changes, [-0.03, 0.0, 0.01, np.nan, np.nan])
    assert comparison.counts() == {"better": 1, "worse": 1, "same": 1, "only_first": 1, "only_second": 1}
    assert comparison.order == [0, 1, 2]


def test_the_difference_and_its_chance(folders):
    """The mean of -3, 0 and 1 points; of the eight ways to sign them those of -3 with -1 or 1 reach 2: all do."""
    found = compared(folders).difference
    assert found.mean == pytest.approx(-0.02 / 3)
    assert found.faces == 3
    assert found.p_value == 1.0
    assert found.interval == pytest.approx((-0.03, 0.01))


def test_a_gain_on_every_face_is_significant(tmp_path):
    names = [str(k) for k in range(30)]
    errors = np.linspace(0.02, 0.08, 30)
    folders = [write_folder(tmp_path / key, errors * gain, names) for key, gain in (("a", 1.0), ("b", 0.9))]
    text = format_comparison(compared(folders), listed=2)
    assert "p = 0.0001 (sign-flip permutation test): significant" in text
    assert "worse in B" not in text
    comparison = compared(folders[::-1])
    assert comparison.difference.mean == pytest.approx(0.005)
    assert comparison.difference.interval.low > 0


def test_the_files_and_the_command(folders, tmp_path, capsys):
    assert main([*map(str, folders), "--out", str(tmp_path / "out")]) == 0
    assert "better in B 1, worse 1" in capsys.readouterr().out
    record = json.loads((tmp_path / "out" / "comparison.json").read_text())
    assert record["difference"]["mean"] == pytest.approx(-0.02 / 3)
    assert record["counts"]["better"] == 1
    assert (record["mean_first"], record["mean_second"]) == pytest.approx((0.11 / 3, 0.03))
    rows = list(csv.DictReader(io.StringIO((tmp_path / "out" / "comparison.csv").read_text())))
    assert [row["name"] for row in rows] == NAMES
    assert float(rows[0]["difference"]) == pytest.approx(-0.03)
    with Image.open(tmp_path / "out" / "comparison.png") as image:
        assert min(image.size) > 300


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"normalizer": "pupil"}, "the normalizer of A is outer_eye, that of B is pupil"),
        ({"subset": "common"}, "the subset of A is helen_test, that of B is common"),
        ({"names": [*NAMES[:4], "helen/9"]}, "of 5 and 5 faces 1 are in A alone and 1 in B alone, such as helen/5"),
        ({"names": NAMES[:4]}, "4 names do not fit errors of shape"),
    ],
)
def test_what_cannot_be_compared_is_one_line(tmp_path, changed, message):
    a = write_folder(tmp_path / "a", [0.1] * 5)
    b = write_folder(tmp_path / "b", [0.2] * 5, **changed)
    with pytest.raises(ValueError, match=message) as caught:
        main([str(a), str(b)])
    assert "\n" not in str(caught.value)


def test_rendered_faces_of_another_seed_are_other_faces(tmp_path):
    a, b, c = (
        write_folder(tmp_path / str(k), [0.1] * 5, dataset="rendered", subset="test", seed=seed)
        for k, seed in enumerate((0, 1, 0))
    )
    with pytest.raises(ValueError, match="the seed of A is 0, that of B is 1"):
        compared((a, b))
    assert compared((a, c)).difference.mean == 0
    # Photos are the same whatever the seed, which is of the ensembles' answers then.
    d, e = (write_folder(tmp_path / key, [0.1] * 5, seed=seed) for key, seed in (("d", 0), ("e", 1)))
    assert compared((d, e)).difference.faces == 5


def test_a_folder_without_results(folders, tmp_path):
    with pytest.raises(FileNotFoundError, match="has no metrics.json: name a folder that evaluate.py wrote"):
        main([str(folders[0]), str(tmp_path)])
    (folders[1] / "metrics.json").write_text("{}")
    with pytest.raises(ValueError, match="was not written by evaluate.py"):
        main([*map(str, folders)])


def test_no_face_in_common(tmp_path):
    a = write_folder(tmp_path / "a", [0.1, np.nan], ["x", "y"])
    b = write_folder(tmp_path / "b", [np.nan, 0.1], ["x", "y"])
    with pytest.raises(ValueError, match="no face was measured by both"):
        compared((a, b))
