from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

from koilo.config import fingerprint, parse, to_dict
from koilo.errors import ConfigError


@dataclass(frozen=True)
class Loop:
    """How to train."""

    steps: int = 3
    """how many"""


@dataclass(frozen=True)
class Screen:
    """What to screen."""

    paths: tuple[Path, ...] = field(metadata={"positional": "many"})
    """slides"""
    out: Path = field(metadata={"result": False})
    """results folder"""
    device: Literal["auto", "cpu"] = "auto"
    """where to compute"""
    mpp: float | None = None
    """pixel size"""
    tile_px: int = 512
    """size of a tile"""
    overwrite: bool = field(default=False, metadata={"result": False})
    """read again"""
    loop: Loop = Loop()
    """the loop"""


def read(*arguments: str) -> Screen:
    return parse(Screen, arguments, prog="koilo screen", description="Screens.")


def test_places_and_flags_fill_the_dataclass_with_hyphen_or_underscore():
    config = read("a.svs", "b", "--out", "r", "--tile-px", "64", "--overwrite", "--loop.steps=9")
    assert config == Screen(
        (Path("a.svs"), Path("b")), Path("r"), tile_px=64, overwrite=True, loop=Loop(9)
    )
    assert read("a", "--out", "r", "--tile_px", "64").tile_px == 64


def test_flags_win_over_the_file_which_wins_over_defaults(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("tile_px: 128\nmpp: 0.5\n")
    config = read("a", "--out", "r", "--config", str(file), "--mpp", "0.25")
    assert (config.tile_px, config.mpp) == (128, 0.25)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--devise", "cpu"], "unknown setting 'devise'. Did you mean 'device'?"),
        (["--device", "gpu"], "device is 'gpu'. Allowed: auto, cpu."),
        (["--tile-px", "many"], "many"),
    ],
    ids=["unknown flag", "no such choice", "no number"],
)
def test_a_wrong_flag_is_one_line_that_names_it(arguments, said):
    with pytest.raises(ConfigError) as error:
        read("a", "--out", "r", *arguments)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_an_unknown_field_of_the_file_is_refused_with_the_nearest_name(tmp_path):
    file = tmp_path / "c.yaml"
    file.write_text("tile_pix: 128\n")
    with pytest.raises(ConfigError, match=r"unknown setting 'tile_pix'\. Did you mean 'tile-px'"):
        read("a", "--out", "r", "--config", str(file))


def test_a_missing_argument_is_named():
    with pytest.raises(ConfigError, match="out"):
        read("a")
    with pytest.raises(ConfigError, match="paths"):
        read("--out", "r")


def test_the_help_shows_each_fields_docstring(capsys):
    with pytest.raises(SystemExit) as stop:
        read("--help")
    assert stop.value.code == 0
    shown = capsys.readouterr().out
    for text in ("where to compute", "results folder", "--tile-px", "how many", "slides"):
        assert text in shown
    assert "class 'Path'" not in shown


def test_every_field_that_may_touch_a_result_changes_the_fingerprint():
    base = Screen((Path("a"),), Path("r"))
    other = {
        "paths": (Path("b"),),
        "device": "cpu",
        "mpp": 0.5,
        "tile_px": 64,
        "loop": Loop(4),
    }
    keys = {fingerprint(base)}
    for name, value in other.items():
        keys.add(fingerprint(dataclasses.replace(base, **{name: value})))
    assert len(keys) == 1 + len(other)
    for name, value in {"out": Path("s"), "overwrite": True}.items():
        assert fingerprint(dataclasses.replace(base, **{name: value})) == fingerprint(base)
    assert {*other, "out", "overwrite"} == {f.name for f in dataclasses.fields(Screen)}


def test_other_identities_belong_to_the_key():
    base = Screen((Path("a"),), Path("r"))
    assert len({fingerprint(base), fingerprint(base, "x"), fingerprint(base, "x", "y")}) == 3


def test_a_config_becomes_plain_values():
    assert to_dict(Screen((Path("a"),), Path("r")))["paths"] == ["a"]
