"""The hourglass's figures: where a map lies, which lambda stands where, and every command with an untrained network."""

import json

import mxnet as mx
import numpy as np
import pytest

import untrained
from datasets.heatmaps import HeatmapCodec
from datasets.images import read_image
from datasets.markups import COFW_29, IBUG_68
from figures import hourglass

FACES = ["--count", "2", "--gpus", "none"]
SMALL = {"stacks": 2, "channels": 16, "depth": 2, "backbone_stride": 16}


def number_lambdas(net):
    for number, parameter in enumerate(net.collect_params(".*lambda$").values()):
        parameter.set_data(mx.nd.full((1, 1, 1, 1), number))


def save_random(path, **settings):
    return str(path), untrained.save_random(path, "hourglass_resnet50", change=number_lambdas, **{**SMALL, **settings})


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return save_random(tmp_path_factory.mktemp("weights") / "net.params")[0]


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return save_random(tmp_path_factory.mktemp("original") / "net.params", block="original")[0]


def test_a_map_covers_the_crop_as_the_codec_reads_it():
    left, right, bottom, top = hourglass.map_extent(256)
    codec = HeatmapCodec(32, 8, 1.0)
    # A map drawn by imshow into an extent has the middle of cell k at left + (k + 0.5) * (right - left) / 32.
    for cell in (0, 7, 31):
        middle = left + (cell + 0.5) * (right - left) / 32, top + (cell + 0.5) * (bottom - top) / 32
        np.testing.assert_allclose(codec.to_crop(np.array([cell, cell])), middle)


def test_the_landmarks_of_figure_2():
    # "right jaw, chin, left jaw, left eyebrow, right eye, nose, and mouth"
    assert [IBUG_68.names[k] for k in hourglass.sample_landmarks(IBUG_68)] == [
        "right_jaw_5",
        "chin",
        "left_jaw_5",
        "left_brow_3",
        "right_eye_outer_corner",
        "nose_tip",
        "lower_lip_bottom",
    ]
    assert hourglass.sample_landmarks(COFW_29)[0] == 0
    assert hourglass.sample_landmarks(COFW_29)[-1] == 28


@pytest.mark.parametrize(
    ("settings", "places"),
    [
        ({}, ["before 1", "before 2", "bottom", "after 2", "after 1", "behind"]),
        ({"depth": 1, "skip": "residual"}, ["skip 1", "before 1", "bottom", "after 1", "behind"]),
        ({"depth": 1, "merge_lambda": True}, ["before 1", "bottom", "after 1", "merge 1", "behind"]),
        ({"block": "original"}, []),
    ],
)
def test_lambdas_by_place(tmp_path, settings, places):
    _, net = save_random(tmp_path / "net.params", **settings)
    stacks = hourglass.lambdas_by_place(net)
    assert [list(stack) for stack in stacks] == [places, places]
    if places:
        found = net.cascade.stacks[1].block.scale.factor.data().asscalar()
        assert stacks[1]["behind"] == found
        assert stacks[1]["bottom"] not in (found, stacks[0]["bottom"])
    if not settings:
        second = net.cascade.stacks[1].hourglass
        assert stacks[1]["after 2"] == second.inner.after.scale.factor.data().asscalar()
        assert stacks[1]["before 1"] == second.before.scale.factor.data().asscalar()


@pytest.mark.parametrize(
    "text",
    [
        ["maps", "--dataset", "rendered", "--face", "1", "--landmarks", "0", "67", *FACES],
        ["faces", "--show", "2", *FACES],
        ["lambdas", "--gpus", "none"],
    ],
)
def test_the_figures_are_drawn(small, tmp_path, text):
    out = tmp_path / "new" / "picture.png"
    assert hourglass.COMMANDS.main([*text, "--weights", small, "--out", str(out)]) == 0
    assert read_image(out).std() > 10


def test_the_lambdas_of_a_run_are_drawn(tmp_path):
    lines = [{"epoch": 1, "loss": 9.0}, {"epoch": 2, "lambda_stack_0": 0.9, "lambda_stack_1": 1.1}]
    (tmp_path / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    hourglass.COMMANDS.main(["history", "--run", str(tmp_path), "--out", str(tmp_path / "a.png"), "--gpus", "none"])
    assert read_image(tmp_path / "a.png").std() > 5


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (["history", "--run", "{run}", "--out", "a.png"], "has no lambdas in its log"),
        (["lambdas", "--weights", "{original}", "--out", "a.png"], "original blocks, which have no lambda"),
        (["maps", "--weights", "{small}", "--landmarks", "68", "--out", "a.png"], "a number from 0 to 67"),
        (["maps", "--weights", "{small}", "--dataset", "rendered", "--face", "200", "--out", "a.png"], "from 0 to 199"),
    ],
)
def test_bad_input_is_one_line_and_code_2(small, original, tmp_path, refused, text, message):
    (tmp_path / "log.jsonl").write_text('{"epoch": 1, "loss": 9.0}\n')
    names = {"{small}": small, "{original}": original, "{run}": str(tmp_path)}
    refused(lambda: hourglass.COMMANDS.main([*(names.get(word, word) for word in text), "--gpus", "none"]), message)
