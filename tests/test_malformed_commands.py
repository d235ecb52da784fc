"""No malformed command line of any script prints a traceback, ends with 0, or takes more than one line to refuse."""

import argparse
import importlib
import shutil
from pathlib import Path

import pytest

from common import cli

ROOT = Path(__file__).resolve().parent.parent
OUT = ["--out", "{new}"]
# Every command, with the options that it cannot do without.
COMMANDS = {
    "train_deeppose": OUT,
    "train_detector": OUT,
    "train_ffld": OUT,
    "train_hourglass": OUT,
    "train_lgcn": OUT,
    "train_regions": OUT,
    "evaluate": ["--model", "resnet18_slim", *OUT],
    "predict": ["{photo}", *OUT],
    "export": ["--model", "resnet18_slim", *OUT],
    "demo": [],
    "tools.benchmark": [],
    "tools.calibrate_detector": ["--data", "{folder}"],
    "tools.calibrate_tracking": ["--data", "{folder}", "--photos", "{folder}"],
    "tools.compare": ["{folder}", "{folder}"],
    "tools.evaluate_detector": ["--detector", "haar", "--dataset", "pts", "--data", "{folder}"],
    "tools.evaluate_tilt": ["--data", "{folder}"],
    "tools.evaluate_video": [],
    "tools.find_leaks": ["--train", "pts={folder}", "--test", "pts={folder}", *OUT],
    "tools.label_faces": ["--data", "{folder}", *OUT],
    "tools.launch": [],
    "tools.measure_offset": ["--data", "{folder}"],
    "tools.mine_photos": ["--data", "{folder}", *OUT],
    "tools.profile_network": [],
    "tools.results": OUT,
    "tools.search": ["train_ffld.py", *OUT],
    "tools.ship": ["{folder}"],
    "tools.soak": ["video"],
    "tools.study": ["ffld_losses", *OUT],
    "figures.ffld": ["ced", "--weights", "resnet18_slim", "--out", "{new}.png"],
    "figures.lgcn": ["kernel", "--out", "{new}.png"],
    "figures.hourglass": ["maps", "--out", "{new}.png"],
    "figures.region_resnet": ["ced", "--out", "{new}.png"],
    "figures.deeppose": ["histogram", "--out", "{new}.png"],
    "figures.readme": ["--out", "{new}.png"],
    "datasets.ibug_300w": ["{folder}"],
    "datasets.render.faces": OUT,
    "engine.convert_checkpoint": ["{folder}"],
    "gluon_models.__main__": ["resnet18_slim"],
}
NUMBERS = ("nan", "inf", "-inf", "-1", "", "1e400", "x", "99999999999999", "0x10", "1,5")
EMPTY = ("", " ")
NO_LISTS = ("", "nonsense", "nan", "1,,2", "-1", "1.5")
INTEGERS = {cli.count, cli.count_or_none, cli.integer, cli.seed}
REALS = {cli.positive, cli.non_negative, cli.fraction, cli.number}
# What a kind takes of the bad numbers: `number` has negative ones, `integer` too, both are bound where they are used.
TAKES = {cli.number: {"-1"}, cli.integer: {"-1"}}
BY_HAND = [
    ("predict", ["99999999999", *OUT]),
    ("predict", ["{folder}/none.jpg", *OUT]),
    ("predict", [*OUT]),
    ("predict", ["{photo}"]),
    ("predict", ["{photo}", "--nonsense", *OUT]),
    ("predict", ["{photo}", "--detector", "none", "--boxes", "{photo}", *OUT]),
    ("predict", ["{photo}", "--detector", "none", "--min-face", "1e-9", *OUT]),
    ("predict", ["{photo}", "--detector", "haar", "--min-face", "20", *OUT]),
    ("predict", ["{photo}", "--gpus", "77", *OUT]),
    ("predict", ["{photo}", "--gpus", "one", *OUT]),
    ("predict", ["{photo}", "--gpus", "", *OUT]),
    ("predict", ["{photo}", "--weights", "{photo}", *OUT]),
    ("predict", ["{photo}", "--weights", "{folder}", *OUT]),
    ("predict", ["{photo}", "--boxes", "{photo}", *OUT]),
    ("predict", ["{photo}", "--boxes", "{folder}", *OUT]),
    ("predict", ["{photo}", "--boxes", "{deep}", *OUT]),
    ("predict", ["{photo}", "--model", "nonsense", *OUT]),
    ("predict", ["{photo}", "--out", "{photo}"]),
    ("evaluate", ["--model", "resnet18_slim", "--weights", "{photo}", *OUT]),
    ("evaluate", ["--model", "resnet18_slim", "--count", "1", "--boxes", "{deep}", *OUT]),
    ("evaluate", ["--model", "resnet18_slim", "--data", "{photo}", *OUT]),
    ("evaluate", ["--model", "resnet18_slim", "--shape-model", "{photo}", *OUT]),
    ("evaluate", ["--model", "resnet18_slim", "--count", "1", "--out", "{photo}"]),
    ("export", ["--model", "resnet18_slim", "--out", "{folder}/"]),
    ("export", ["--model", "resnet18_slim", "--calibration", "{folder}", *OUT]),
    ("demo", ["--out", "{folder}"]),
    ("tools.benchmark", ["--json", "{folder}"]),
    ("tools.compare", ["{photo}", "{photo}"]),
    ("tools.results", ["--record", "{deep}", *OUT]),
    ("tools.results", ["--record", "{photo}", *OUT]),
    ("tools.results", ["--datasets", "nonsense", *OUT]),
    ("tools.label_faces", ["--data", "{folder}", "--out", "{folder}"]),
    ("tools.mine_photos", ["--data", "{folder}", "--weights", "{photo}", *OUT]),
    ("tools.mine_photos", ["--dataset", "pts", "--data", "{folder}", "--out", "{folder}"]),
    ("tools.study", ["ffld_losses", "--seeds", "0,x", *OUT]),
    ("tools.search", ["train_ffld.py", "--wd-range", "1", "0.1", *OUT]),
    ("train_ffld", []),
    ("train_ffld", ["--resume", "{folder}"]),
    ("train_ffld", ["--init", "{photo}", "--rendered-count", "8", "--workers", "0", *OUT]),
    ("train_ffld", ["--more", "nonsense", *OUT]),
    ("train_ffld", ["--exclude", "{photo}", *OUT]),
    ("train_ffld", ["--data", "{photo}", *OUT]),
    ("train_ffld", ["--rendered-count", "8", "--workers", "0", "--out", "{photo}"]),
    ("train_ffld", ["--dropout", "0.5", *OUT]),
    ("train_lgcn", ["--size", "8", *OUT]),
    ("train_deeppose", ["--flip-probability", "1.5", *OUT]),
    ("train_detector", ["--max-photos", "-3", *OUT]),
    ("train_detector", ["--batch-size", "0", *OUT]),
]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    """What stands for the words in braces."""
    folder = tmp_path_factory.mktemp("given")
    (folder / "photo.jpg").write_bytes(b"no photo")
    (folder / "deep.json").write_text("[" * 200_000)
    new = tmp_path_factory.mktemp("new") / "new"
    given = {"folder": folder, "photo": folder / "photo.jpg", "deep": folder / "deep.json", "new": new}
    return {f"{{{name}}}": str(path) for name, path in given.items()}


def main_of(name):
    module = importlib.import_module(name)
    for owner in ("TRAINING", "COMMANDS"):
        if hasattr(module, owner):
            return getattr(module, owner).main
    return module.main


def refused(name, text, places, capsys):
    """Runs a command, which must end with one line and 2; returns the line."""
    for word, path in places.items():
        text = [each.replace(word, path) for each in text]
    with pytest.raises(SystemExit) as ended:
        cli.run(lambda: main_of(name)(text))
    said = capsys.readouterr().err
    errors = [line for line in said.splitlines() if line.startswith("error: ")]
    assert ended.value.code == 2, (text, said)
    assert len(errors) == 1, (text, said)
    assert "Traceback" not in said, (text, said)
    assert len(errors[0]) < 1200, text
    left = Path(places["{new}"])
    assert not [path for path in left.rglob("*") if path.is_file()], text
    shutil.rmtree(left, ignore_errors=True)
    return errors[0]


class ParserSeen(Exception):
    """Ends a command once its parser is complete."""


def options_of(name, text, monkeypatch):
    """The options of a command, from its own parser, or from that of its sub-command."""

    def stop(parser, *_, **__):
        raise ParserSeen(parser)

    with monkeypatch.context() as patched:
        for parse in ("parse_args", "parse_known_args"):
            patched.setattr(argparse.ArgumentParser, parse, stop)
        with pytest.raises(ParserSeen) as seen:
            main_of(name)(text)
    parser = seen.value.args[0]
    below = [each for each in parser._actions if isinstance(each, argparse._SubParsersAction)]
    return (below[0].choices[text[0]] if below else parser)._actions


def malformed(name, text, monkeypatch):
    """Command lines that give each option one value of the wrong kind."""
    for option in options_of(name, text, monkeypatch):
        if not option.option_strings or option.nargs == 0:
            continue
        flag = option.option_strings[-1]
        if option.choices is not None:
            bad = ["nonsense", ""]
        elif option.type in INTEGERS or option.type in REALS:
            bad = [value for value in NUMBERS if value not in TAKES.get(option.type, ())]
        elif option.type in (None, str, cli.path, cli.file_path, cli.text):
            bad = EMPTY
        else:
            bad = NO_LISTS
        for value in bad:
            yield [*text, f"{flag}={value}"] if option.nargs is None else [*text, flag, value]


def test_every_command_is_here():
    """But for those that take a choice at most, or need a library of a peer."""
    rooms = ("datasets", "engine", "evaluation", "figures", "gluon_models", "inference", "report", "tools", "training")
    paths = [*ROOT.glob("*.py"), *(path for room in rooms for path in (ROOT / room).rglob("*.py"))]
    found = {
        ".".join(path.relative_to(ROOT).with_suffix("").parts)
        for path in paths
        if "\n    cli.run(" in path.read_text(encoding="utf-8")
    }
    few = {"tools.documents", "tools.install_cuda", "tools.peers.dlib_twin", "tools.peers.torch_twin"}
    assert found - few == set(COMMANDS)


def test_there_are_200_of_them(monkeypatch):
    made = sum(len(list(malformed(name, text, monkeypatch))) for name, text in COMMANDS.items())
    assert made + len(BY_HAND) >= 200


@pytest.mark.parametrize("name", COMMANDS)
def test_options_of_the_wrong_kind_are_refused_by_name(name, places, monkeypatch, capsys):
    cases = list(malformed(name, COMMANDS[name], monkeypatch))
    for text in cases:
        line = refused(name, text, places, capsys)
        assert text[-1].partition("=")[0] in line or text[-2] in line, line


# Where JSON is nested too deeply, an array of MXNet that is let go of at the bottom has no room to be freed.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("name", "text"), BY_HAND)
def test_commands_that_make_no_sense_are_refused(name, text, places, monkeypatch, capsys):
    refused(name, text, places, capsys)
