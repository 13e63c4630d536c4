"""The built wheel carries all that the program reads at run time."""

import shutil
import subprocess
import sys

from tests.conftest import ROOT

PROBE = """
import koilo, koilo.taxonomy, koilo.bundle, koilo.report
from importlib.resources import files
assert {target!r} in koilo.__file__, koilo.__file__
print(len(koilo.taxonomy.CYTOLOGY))
print(*(koilo.bundle.load_bundle(name).name for name in koilo.bundle.builtin_names()))
print(sum(1 for f in (files('koilo.report') / 'templates').iterdir()))
"""


def test_a_wheel_installed_into_an_empty_folder_has_taxonomy_bundles_and_templates(tmp_path):
    source = tmp_path / "source"  # a copy: building leaves its own folders beside the code
    shutil.copytree(ROOT / "src", source / "src", ignore=shutil.ignore_patterns("*.egg-info"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    run = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    build = [*run, "wheel", "--no-build-isolation", "--no-deps", "-w", str(tmp_path), str(source)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    target = tmp_path / "site"
    subprocess.run([*run, "install", "--no-deps", "--target", str(target), str(wheel)], check=True)
    probe = PROBE.format(target=str(target))
    done = subprocess.run(
        [sys.executable, "-c", probe],
        env={"PYTHONPATH": str(target), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    classes, bundles, templates = done.stdout.splitlines()
    assert classes == "7"
    assert "cytology" in bundles.split()
    assert int(templates) >= 2
