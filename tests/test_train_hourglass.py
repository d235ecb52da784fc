"""What train_hourglass.py makes of a command line: recipe, network, backbone, validation, lambdas; and a run of it."""

import json
import subprocess
import sys
from dataclasses import replace

import mxnet as mx
import numpy as np
import pytest

import train_hourglass
from datasets.heatmaps import HeatmapCodec
from datasets.markups import get_markup
from datasets.render.faces import RenderedFaces
from engine import devices
from evaluation.metrics import nme
from gluon_models import get_model, load_weights
from gluon_models.hourglass import CPU_RECIPE, RECIPE, HeatmapLoss
from gluon_models.spec import NetworkInput
from inference.pipeline import PointPredictor, crop_dataset, predict_cropped
from training import options as training

CPU = [mx.cpu()]
TINY = "--stacks 2 --channels 16 --depth 1 --backbone-stride 16".split()
TRAINING = train_hourglass.TRAINING


def chosen(*text):
    return TRAINING.parse(["--out", "run", *text])[:2]


def context_of(*text):
    return TRAINING.make_context(*chosen(*text), get_markup(68), CPU)


def network(*text):
    """A small network of the command line's kind, seeded."""
    context = context_of(*TINY, *text)
    net = get_model(context.info.model, **context.info.overrides)
    training.initialise(net, (1, 3, 256, 256), CPU, seed=0)
    return net, context


@pytest.fixture(scope="module")
def built():
    return network()


def test_the_defaults_are_the_papers():
    arguments, recipe = chosen()
    assert (arguments.model, arguments.stacks, arguments.block, arguments.skip) == (
        "hourglass_resnet50",
        4,
        "lambda",
        "conv",
    )
    options = TRAINING.fit_options(arguments, recipe)
    # Sec. 4.1: Adam at 4e-5, cut tenfold at 20 and at 35 of 50 epochs; weight decay 1e-4; batches of 24.
    assert (options.optimizer, options.optimizer_settings) == ("adam", {"wd": 1e-4})
    rates = [options.schedule.rate(done) for done in (0, 19.99, 20, 34.99, 35, 49.99)]
    assert rates == pytest.approx([4e-5, 4e-5, 4e-6, 4e-6, 4e-7, 4e-7])
    assert (recipe.batch_size, options.schedule.epochs) == (24, 50)
    assert (recipe.flip_probability, recipe.colour_jitter) == (0.5, True)
    assert chosen("--recipe", "cpu")[1] == CPU_RECIPE


def test_an_unknown_optimizer_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown --optimizer 'adan': choose one of .*adam, .*sgd"):
        TRAINING.fit_options(*chosen("--optimizer", "adan"))


def test_rotation_colour_flip_and_scale_are_the_augmentation():
    setting = TRAINING.augmentation(RECIPE)
    assert (setting.rotation_degrees, setting.scale_range, setting.flip_probability) == (50.0, (0.5, 1.2), 0.5)
    assert setting.brightness_fraction > 0
    assert setting.contrast_fraction > 0
    others = ("shift_fraction", "shear_fraction", "blur_probability", "noise_probability", "occlusion_probability")
    assert [getattr(setting, name) for name in others] == [0] * 5
    plain = TRAINING.augmentation(replace(RECIPE, colour_jitter=False))
    assert (plain.brightness_fraction, plain.contrast_fraction, plain.saturation_fraction) == (0, 0, 0)
    cpu = TRAINING.augmentation(CPU_RECIPE)
    assert cpu.scale_range == (0.8, 1.2)
    assert min(cpu.blur_probability, cpu.occlusion_probability, cpu.brightness_fraction, cpu.shift_fraction) > 0


def test_switches_reach_the_network():
    text = "--stacks 1 --channels 32 --depth 2 --backbone-stride 16 --backbone v2 --block original --skip residual"
    info = context_of(*text.split(), "--merge-lambda", "on", "--score-init", "zeros", "--size", "128").info
    assert info.overrides == {
        "num_landmarks": 68,
        "stacks": 1,
        "channels": 32,
        "depth": 2,
        "backbone_stride": 16,
        "backbone_version": "v2",
        "block": "original",
        "skip": "residual",
        "merge_lambda": True,
        "score_init": "zeros",
        "frozen_stages": 0,
    }
    assert (info.spec.stride, info.spec.size) == (16, 128)
    get_model(info.model, **info.overrides)


def test_every_stack_is_trained_on_the_codecs_maps(built):
    net, context = built
    objective = TRAINING.make_objective(net, context)
    faces = crop_dataset(RenderedFaces(2, 0, 96), context.spec)
    points = np.random.RandomState(0).uniform(10, 240, (2, 68, 2)).astype(np.float32)
    points[0, 5] = np.nan
    found = objective(net, (faces.crops, points), mx.cpu())
    maps, known = map(mx.nd.array, HeatmapCodec(16, 16, 1.0).encode(points))
    answers = net.cascade(NetworkInput(context.spec, CPU)(faces.crops, mx.cpu()))
    assert list(found) == ["stack 1", "stack 2"]
    for loss, answer in zip(found.values(), answers):
        np.testing.assert_allclose(
            loss.asnumpy(), HeatmapLoss(context.recipe.loss)(answer, maps, known).asnumpy(), rtol=1e-5
        )


def test_validation_measures_every_stack_and_logs_the_lambdas(built):
    net, context = built
    faces = RenderedFaces(2, 0, 96)
    factor = net.cascade.stacks[0].block.scale.factor
    factor.set_data(mx.nd.full((1, 1, 1, 1), 3))
    measured = TRAINING.make_validate(faces, context)(net)
    # Of depth 1: a block before, in and after the hourglass and one behind it, (3 + 1 + 1 + 1) / 4.
    assert (measured["lambda_stack_0"], measured["lambda_stack_1"]) == (1.5, 1.0)
    cropped = crop_dataset(faces, context.spec)
    for stage in (0, 1):
        points = predict_cropped(PointPredictor(lambda x, k=stage: net.cascade(x)[k], context.spec), cropped)
        expected = nme(points, cropped.truth_image, "outer_eye").mean()
        assert measured[f"nme_stage_{stage}"] == pytest.approx(expected)
    assert measured["nme"] == measured["nme_stage_1"] != measured["nme_stage_0"]
    factor.set_data(mx.nd.ones((1, 1, 1, 1)))


def test_no_lambda_is_logged_where_none_is_trained():
    net, _ = network("--block", "original")
    assert train_hourglass.mean_lambdas(net) == {}


def zoo_of(net, path, value):
    """Parameters as Gluon's classifier of the net's backbone stores them, all of one value."""
    wanted = net.cascade.backbone._collect_params_with_prefix()
    mx.nd.save(str(path), {f"features.{name}": mx.nd.full(each.shape, value) for name, each in wanted.items()})
    return str(path)


def test_the_backbone_starts_from_the_zoos_weights(tmp_path, capsys):
    net, _ = network()
    score = net.cascade.stacks[0].score.weight.data().asnumpy()
    context = context_of("--backbone-weights", zoo_of(net, tmp_path / "zoo.params", 0.25))
    capsys.readouterr()
    TRAINING.fill_network(net, context)
    for parameter in net.cascade.backbone.collect_params().values():
        assert (parameter.data().asnumpy() == 0.25).all()
    np.testing.assert_array_equal(net.cascade.stacks[0].score.weight.data().asnumpy(), score)
    assert capsys.readouterr().out == ""


def test_what_the_zoos_weights_lack_is_said(tmp_path, capsys):
    net, _ = network("--backbone", "v2")
    path = zoo_of(net, tmp_path / "zoo.params", 0.25)
    stored = mx.nd.load(path)
    last = max(int(name.split(".")[1]) for name in stored)
    mx.nd.save(path, {name: value for name, value in stored.items() if name.split(".")[1] != str(last)})
    context = context_of("--backbone-weights", path)
    TRAINING.fill_network(net, context)
    assert f"has no features.{last}.gamma, features.{last}.beta" in capsys.readouterr().out


@pytest.mark.slow  # Renders faces, trains, validates: only so is it certain that weights and log get written.
def test_a_run_and_its_resumption(tmp_path, capsys, few_photos):
    out = str(tmp_path / "run")
    small = f"--recipe cpu --lr 0.01 --average-decay 0 --dataset pts --data {few_photos} --batch-size 3 --epochs 2"
    assert TRAINING.main([*TINY, *small.split(), "--workers", "0", "--gpus", "none", "--out", out]) == 0
    printed = capsys.readouterr().out
    assert "5 training faces, 2 for validation" in printed
    assert "GB for a step with 3 faces of 256 px" in printed
    lines = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    logged = {"nme", "nme_stage_0", "nme_stage_1", "lambda_stack_0", "lambda_stack_1"}
    assert all(logged <= set(line) for line in lines)
    assert lines[0]["lambda_stack_0"] != lines[1]["lambda_stack_0"] != 1.0
    net, info = load_weights(tmp_path / "run" / "best.params")
    assert (info.model, info.markup, info.spec.stride) == ("hourglass_resnet50", "ibug_68", 16)
    assert net(mx.nd.zeros((1, 3, 256, 256))).shape == (1, 68, 16, 16)
    assert TRAINING.main(["--resume", out]) == 0
    assert [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()] == lines


@pytest.mark.skipif(devices.half_precision(CPU[0]) is None, reason="this CPU has no bfloat16")
def test_a_run_in_half_precision(tmp_path, few_photos):
    """In a process of its own, as half precision is turned on for all networks to come."""
    out = tmp_path / "run"
    small = f"--recipe cpu --amp --dataset pts --data {few_photos} --batch-size 3 --workers 0 --gpus none --epochs 1"
    subprocess.run([sys.executable, train_hourglass.__file__, *TINY, *small.split(), "--out", str(out)], check=True)
    (line,) = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert np.isfinite([line["loss"], line["nme"]]).all()
    assert all(each.dtype == np.float32 for each in mx.nd.load(str(out / "best.params")).values())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (["--depth", "7"], "--size 256 --depth 7: give a multiple of 1024"),
        (["--size", "100"], "--size 100 --depth 4: give a multiple of 128"),
        (["--smallest-scale", "1.5"], "--smallest-scale 1.5 --largest-scale 1.2: give two numbers above 0"),
        (["--backbone-weights", "{new}.params"], "there is no such file; name parameters of Gluon's resnet50_v1"),
        (["--decoding", "median"], "unknown --decoding 'median': choose one of subpixel, argmax, quarter, enlarged"),
        (["--frozen-stages", "1"], "pass --backbone-weights or --init too"),
    ],
)
def test_bad_input_is_one_line_and_code_2(tmp_path, refused, text, message):
    new = str(tmp_path / "new")
    filled = [word.replace("{new}", new) for word in [*text, "--out", "{new}", "--rendered-count", "8"]]
    refused(lambda: TRAINING.main([*filled, "--workers", "0", "--gpus", "none"]), message)


def test_decay_without_gluon_spares_lambdas_and_biases():
    """MXNet's own optimizer, told the names alone, decays the same parameters as --wd-all off."""
    net, context = network("--wd-all", "off")
    TRAINING.make_objective(net, context)
    parameters = net.collect_params()
    optimizer = mx.optimizer.Adam(param_idx2name=dict(enumerate(parameters)), wd=1e-4)
    decayed = {name for k, name in enumerate(parameters) if optimizer._get_wd(k)}
    assert {name for name, each in parameters.items() if each.wd_mult} == decayed
    assert any("lambda" in name for name in set(parameters) - decayed)
    every = network()[0]
    assert all(each.wd_mult for each in every.collect_params().values())


def test_a_sum_over_cells_is_the_mean_times_their_number():
    arrays = [mx.nd.random.uniform(shape=(2, 3, 4, 4)) for _ in range(2)] + [mx.nd.ones((2, 3))]
    mean, total = (HeatmapLoss(loss)(*arrays).asnumpy() for loss in ("mean", "sum"))
    np.testing.assert_allclose(total, 16 * mean, rtol=1e-5)
    assert [chosen(*text)[1].loss for text in ((), ("--recipe", "cpu"))] == ["sum", "mean"]
    with pytest.raises(ValueError, match="unknown loss 'wing'"):
        HeatmapLoss("wing")


def test_the_paper_recipe_reads_the_maximum_of_each_heatmap():
    assert [context_of(*text).spec.decoding for text in ((), ("--recipe", "cpu"))] == ["argmax", "subpixel"]
