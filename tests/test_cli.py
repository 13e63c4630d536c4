import importlib
import subprocess
import sys

import pytest

from koilo import __version__
from koilo.cli import VERBS, Verb, _load, main
from tests.conftest import ROOT

ALL = {
    f"{name} {inner}".strip(): verb
    for name, entry in VERBS.items()
    for inner, verb in ({"": entry} if isinstance(entry, Verb) else _load(entry)).items()
}


@pytest.mark.parametrize("name", ALL)
def test_the_tables_line_is_the_first_line_of_the_verbs_docstring(name):
    function = _load(ALL[name].target)
    shared = name.startswith("train ")  # one function trains every recipe
    assert shared or (function.__doc__ or "").splitlines()[0] == ALL[name].line


@pytest.mark.parametrize("name", ALL)
def test_every_verb_shows_its_help_with_a_line_for_every_setting(name, capsys):
    assert main([*name.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    import dataclasses

    config = _load(ALL[name].config)
    from koilo.config import field_docs

    docs = field_docs(config)
    for field in dataclasses.fields(config):
        assert docs.get(field.name), f"{field.name} has no docstring"
        assert field.name in shown.replace("-", "_").lower()


def test_the_overview_names_every_verb_and_says_research_use_only(capsys):
    assert main([]) == 0
    shown = capsys.readouterr().out
    assert all(f"  {name} " in shown for name in VERBS)
    assert "Research use only" in shown


def test_the_overview_imports_no_verb_and_no_numpy():
    code = "import sys, koilo.cli; koilo.cli.main(['--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    for heavy in ("'numpy'", "'jsonargparse'", "'koilo.screen'", "'rich'"):
        assert heavy not in done.stdout


def test_an_unknown_verb_is_refused_with_the_nearest_name(capsys):
    assert main(["scren", "x"]) == 2
    assert "Did you mean 'screen'?" in capsys.readouterr().err


def test_a_users_error_is_one_line_and_status_2(capsys):
    assert main(["models", "/nowhere/at/all"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("koilo")
    assert shown.count("\n") == 1


def test_the_version_is_told(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out.strip() == f"koilo {__version__}"


def test_every_module_that_the_table_names_exists():
    for verb in ALL.values():
        for path in (verb.target, verb.config):
            module, _, name = path.partition(":")
            assert hasattr(importlib.import_module(module), name)


def test_the_generated_pages_are_in_step_with_the_code():
    done = subprocess.run(
        [sys.executable, "docs/generate.py", "--check"], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
