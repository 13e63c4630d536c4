#!/usr/bin/env bash
# Train STRIDE's methods on a cohort and leave every slide's scores:
#
#     runs/stride.sh COHORT OUT [--methods a,b] [--seeds 1,2,3] [--smoke] [--tune] [--threads N]
#                    [--start WEIGHTS]
#
# COHORT is what runs/cohort.sh drew. OUT/scores/<method>_<seed>.csv holds slide_id, split, centre,
# label, p_positive, p_<CLASS>…, threshold. One OUT a cohort, start and plan: another is refused. A
# killed run goes on where it was when the same command is given again. About 70 minutes a seed on two
# cores; --smoke takes minutes and claims nothing.
# Tables are made of the scores alone: runs/stride_report.py.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
python="$here/.venv/bin/python"
[ -x "$python" ] || python=python3
exec "${PYTHON:-$python}" "$here/runs/stride.py" "$@"
