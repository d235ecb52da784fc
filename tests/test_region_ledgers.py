"""The choices in the ledgers of the two ResNet studies that no other test holds."""

import re
from pathlib import Path

import train_deeppose
import train_regions
from gluon_models import deeppose
from gluon_models.regions import network as region_resnet

ROOT = Path(__file__).resolve().parent.parent
LEDGERS = {
    letter: (ROOT / "docs" / name).read_text(encoding="utf-8")
    for letter, name in (("R", "region_resnet.md"), ("D", "deeppose.md"))
}


def row_of(number):
    return re.search(rf"^\| {number} \|.*$", LEDGERS[number[0]], re.MULTILINE).group()


def test_the_cpu_recipes_are_those_of_the_ledgers():
    recipe = region_resnet.CPU_RECIPE
    assert f"{recipe.epochs} epochs, batch {recipe.batch_size}, cosine to 0, weight decay 5e-4" in row_of("R4")
    assert f"dropout {recipe.dropout}" in row_of("R4")
    assert f"{deeppose.CPU_RECIPE.epochs} epochs, cosine to 0, weight decay 5e-4" in row_of("D6")
    for each, script in ((recipe, train_regions), (deeppose.CPU_RECIPE, train_deeppose)):
        assert (each.schedule, each.weight_decay, each.loss) == ("cosine", 5e-4, "normalized_l1")
        assert each.average_decay > 0
        setting = script.TRAINING.augmentation(each)
        assert min(setting.flip_probability, setting.occlusion_probability, setting.scale_fraction) > 0


def test_the_augmentations_are_those_of_the_ledgers():
    setting = train_regions.TRAINING.augmentation(region_resnet.RECIPE)
    assert "brightness ±20 %, shear ±0.1, rotation ±15 degrees, half of the faces mirrored" in row_of("R3")
    assert (setting.brightness_fraction, setting.shear_fraction) == (0.2, 0.1)
    assert (setting.rotation_degrees, setting.flip_probability) == (15.0, 0.5)
    setting = train_deeppose.TRAINING.changes(deeppose.RECIPE)
    assert "±20 degrees; the crop's side ±10 %, moved by up to ±5 % of it; brightness and contrast ±20 %" in row_of(
        "D5"
    )
    assert (setting.rotation_degrees, setting.scale_fraction, setting.shift_fraction) == (20.0, 0.1, 0.05)
    assert (setting.brightness_fraction, setting.contrast_fraction, setting.flip_probability) == (0.2, 0.2, 0.0)
