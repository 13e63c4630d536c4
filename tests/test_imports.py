"""What must start fast and light does; imports bring nothing heavy with them."""

import subprocess
import sys

import pytest

LIGHT = (
    *("types", "errors", "files", "taxonomy", "config", "progress", "manifest", "results"),
    *(
        "bundle",
        "slides",
        "evaluate",
        "datasets",
        "phantom",
        "report",
        "study",
        "teach",
        "cli",
        "doctor",
        "models",
    ),
)
HEAVY = ("torch", "transformers", "accelerate", "kornia", "openvino", "ray", "fastapi")


@pytest.mark.parametrize("part", LIGHT)
def test_a_light_part_imports_no_heavy_library(part):
    code = (
        "import sys, pkgutil, importlib\n"
        f"module = importlib.import_module('koilo.{part}')\n"
        "path = getattr(module, '__path__', [])\n"
        "for inner in pkgutil.walk_packages(path, module.__name__ + '.'):\n"
        "    importlib.import_module(inner.name)\n"
        f"print([name for name in {HEAVY!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_importing_koilo_brings_nothing_but_the_version():
    code = "import koilo; print(sorted(n for n in vars(koilo) if not n.startswith('__')))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
