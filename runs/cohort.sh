#!/usr/bin/env bash
# Draw the multi-centre cohort, or go on with one that was begun:
#
#     runs/cohort.sh DIR [--seed S] [--smoke] [--workers N]
#
# DIR becomes a crop store (docs/formats.md) with truth/ beside it; --smoke makes a twentieth of it.
# The full cohort takes about 20 minutes of two cores, the smoke cohort under one. A killed run goes
# on where it was when the same command is given again.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$here/.venv/bin/python"
[ -x "$python" ] || python=python3
exec env OMP_NUM_THREADS=1 "${PYTHON:-$python}" "$here/runs/cohort.py" "$@"
