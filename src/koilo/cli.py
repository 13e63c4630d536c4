"""The command line: a table of verbs; only the verb that is asked for is imported."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from koilo.errors import KoiloError


@dataclass(frozen=True)
class Verb:
    """``target`` is ``module:function``, ``config`` the ``module:Dataclass`` that it takes."""

    target: str
    config: str
    line: str


VERBS: dict[str, Verb | str] = {
    "demo": Verb(
        "koilo.screen.demo:demo",
        "koilo.screen.demo:DemoConfig",
        "Make a phantom slide, screen it with the built-in bundle and print the report's path.",
    ),
    "screen": Verb(
        "koilo.screen.run:screen",
        "koilo.screen.run:ScreenConfig",
        "Screen slides, folders or a manifest of cytology slides into a results folder.",
    ),
    "classify": Verb(
        "koilo.cells.verb:classify",
        "koilo.cells.verb:ClassifyConfig",
        "Write class probabilities of single-cell images to a CSV file.",
    ),
    "inspect": Verb(
        "koilo.slides.inspect:inspect",
        "koilo.slides.inspect:InspectConfig",
        "Say what a slide is: format, levels, pixel size, foreground and quality.",
    ),
    # A text names the literal dictionary of a verb's own verbs, each with its dataclass.
    "train": "koilo.train.verb:RECIPES",
    "phantom": Verb(
        "koilo.phantom.verb:phantom",
        "koilo.phantom.verb:PhantomConfig",
        "Draw synthetic slides whose every cell and label is known.",
    ),
    "data": Verb(
        "koilo.datasets.verb:data",
        "koilo.datasets.verb:DataConfig",
        "Convert a public data set to a manifest.",
    ),
    "data bags": Verb(
        "koilo.pipeline.bags:bags",
        "koilo.pipeline.bags:BagsConfig",
        "Cut the best cells of a manifest's slides into a crop store.",
    ),
    "evaluate": Verb(
        "koilo.evaluate.verb:evaluate",
        "koilo.evaluate.verb:EvaluateConfig",
        "Measure results or scores against the truth: tables, figures and a page.",
    ),
    "calibrate": Verb(
        "koilo.evaluate.calibrate:calibrate",
        "koilo.evaluate.calibrate:CalibrateConfig",
        "Lock the threshold of a bundle anew on labelled slides of one's own.",
    ),
    "drift": Verb(
        "koilo.evaluate.drift_report:drift",
        "koilo.evaluate.drift_report:DriftConfig",
        "Say whether two results folders differ, measure by measure; needs no labels.",
    ),
    "study": "koilo.study.verb:ACTIONS",
    "quiz": Verb(
        "koilo.teach.verb:quiz",
        "koilo.teach.verb:QuizConfig",
        "Write a quiz of labelled cells as one page that works without a network.",
    ),
    "quiz score": Verb(
        "koilo.teach.score:score",
        "koilo.teach.score:ScoreConfig",
        "Score saved answers of a quiz by learner and class.",
    ),
    "features": Verb(
        "koilo.mil.encode:features",
        "koilo.mil.encode:FeaturesConfig",
        "Run a frozen encoder over a crop store and write a bag file for `train slide_head`.",
    ),
    "models": Verb(
        "koilo.models:models",
        "koilo.models:ModelsConfig",
        "List the model bundles at hand, with what they were trained on and measured.",
    ),
    "doctor": Verb(
        "koilo.doctor:doctor",
        "koilo.doctor:DoctorConfig",
        "Check the installation, the machine and the bundles, and say how to mend what is amiss.",
    ),
}

LINES = {
    "train": "Train a model by a recipe; every setting is a flag or a line of --config.",
    "study": "Plan a reader study, join its forms, and measure readers with and without AI.",
}

_NOTICE = "Research use only: not for diagnosis."


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``koilo`` with ``arguments`` (default: the command line's) and return the exit status."""
    argv = list(sys.argv[1:] if arguments is None else arguments)
    try:
        if not argv or argv[0] in ("-h", "--help", "help"):
            print(_overview(), flush=True)
            return 0
        if argv[0] in ("-V", "--version"):
            from koilo import __version__

            print(f"koilo {__version__}")
            return 0
        return _run(VERBS, argv, "koilo")
    except KoiloError as error:
        print(f"koilo: {str(error).removeprefix('koilo ')}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("koilo: stopped. Run the same command again to go on.", file=sys.stderr)
        return 130
    except BrokenPipeError:  # `koilo … | head`: the reader has gone, and that is no error
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except SystemExit as stop:
        return stop.code if isinstance(stop.code, int) else 0


def _run(table: dict[str, Any], argv: list[str], prog: str) -> int:
    from koilo.config import nearest, parse
    from koilo.errors import ConfigError
    from koilo.progress import start_logging

    two_words = " ".join(argv[:2])
    name = two_words if two_words in table else argv[0]
    rest = argv[len(name.split()) :]
    verb = table.get(name)
    if verb is None:
        raise ConfigError(
            f"{prog} has no '{name}'. {nearest(name, list(table))} See `{prog} --help`."
        )
    if isinstance(verb, str):
        inner = _load(verb)
        if not rest or rest[0] in ("-h", "--help"):
            print(_table(f"{prog} {name}", LINES[name], {key: v.line for key, v in inner.items()}))
            return 0
        return _run(inner, rest, f"{prog} {name}")
    config = parse(_load(verb.config), rest, prog=f"{prog} {name}", description=verb.line)
    start_logging()
    return int(_load(verb.target)(config) or 0)


def _load(path: str) -> Any:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


def _overview() -> str:
    lines = {
        name: LINES[name] if isinstance(verb, str) else verb.line for name, verb in VERBS.items()
    }
    return _table("koilo", "koilo reads cervical cytology slides. " + _NOTICE, lines)


def _table(prog: str, about: str, lines: dict[str, str]) -> str:
    width = max(map(len, lines))
    rows = "\n".join(f"  {name:<{width}}  {line}" for name, line in lines.items())
    return f"{about}\n\nUsage: {prog} NAME [options]     ({prog} NAME --help shows them)\n\n{rows}"


if __name__ == "__main__":
    sys.exit(main())
