"""How long one slide takes from file to result, stage by stage, and how much memory.

    python benchmarks/screening.py             quick: 20,000 px, a crop of a deposit
    python benchmarks/screening.py --full      75,000 px at 40x, a 13 mm deposit, 80,000 cells

The bar for the full slide on two idle cores is 60 s (30 s is the goal) and 3 GB. The phantom is
drawn once (the full one takes up to 20 minutes) and kept in --folder. Seconds of a stage are wall
clock; CPU seconds are given beside them, for they tell the same on a busy machine.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

BAR_S, GOAL_S, BAR_GB = 60.0, 30.0, 3.0
SIZES = {
    "quick": ("--size-px", "20000", "--cells", "8000"),
    "full": ("--size-px", "75000", "--cells", "80000", "--deposit-mm", "13"),
}


def main() -> int:
    arguments = parse()
    slide = arguments.slide or phantom_slide(
        arguments.folder, "full" if arguments.full else "quick"
    )
    return measure(slide, arguments)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the full-size slide, held to the bar")
    parser.add_argument("--slide", type=Path, help="a slide at hand instead of a phantom")
    parser.add_argument("--mpp", type=float, help="µm per pixel, where the file gives none")
    parser.add_argument("--model", default="cytology", help="a bundle's name or folder")
    parser.add_argument("--record", action="store_true", help="leave it in docs/results/")
    parser.add_argument("--folder", type=Path, default=Path("build/bench"), help="for the phantoms")
    return parser.parse_args()


def phantom_slide(folder: Path, size: str) -> Path:
    """Draw the phantom in a process of its own, so that its memory is not counted."""
    out = folder / size
    found = sorted(out.glob("slides/*.tiff"))
    if not found:
        command = [sys.executable, "-m", "koilo.cli", "phantom", "cytology", "--out", str(out)]
        subprocess.run([*command, *SIZES[size], "--seed", "3"], check=True)
        found = sorted(out.glob("slides/*.tiff"))
    return found[0]


def measure(path: Path, arguments: argparse.Namespace) -> int:
    from koilo.bundle import load_bundle
    from koilo.manifest import SlideEntry
    from koilo.pipeline import load_models, read_one
    from koilo.runtime import choose_device

    started, cpu = time.monotonic(), time.process_time()
    models = load_models(load_bundle(arguments.model), choose_device("auto"))
    print(f"models loaded in {time.monotonic() - started:.1f} s ({models.bundle.name})")
    idle = others_cpu()
    started, cpu = time.monotonic(), time.process_time()
    reading = read_one(SlideEntry("bench", path, mpp=arguments.mpp), models)
    wall, cpu = time.monotonic() - started, time.process_time() - cpu
    others = others_cpu() - idle - cpu
    gigabytes = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e9
    width, height = reading.result.slide["dimensions"]
    print(f"{path.name}: {width} x {height} px, {reading.result.n_cells} cells kept")
    for stage, seconds in reading.result.seconds.items():
        print(f"  {stage:<12} {seconds:8.2f} s")
    for work, seconds in reading.busy_s.items():
        print(f"    in search, all workers: {work:<13} {seconds:8.2f} s")
    cores = len(os.sched_getaffinity(0))
    print(f"wall {wall:.1f} s, CPU {cpu:.1f} s on {cores} cores, peak memory {gigabytes:.2f} GB")
    print(
        f"others used {max(others, 0.0) / wall:.2f} cores meanwhile; over 0.1 the wall tells little"
    )
    if arguments.record:
        record(reading, wall, cpu, gigabytes)
    if not arguments.full:
        return 0
    met = wall <= BAR_S and gigabytes <= BAR_GB
    print(
        f"bar {BAR_S:.0f} s and {BAR_GB:.0f} GB: {'met' if met else 'missed'}; goal {GOAL_S:.0f} s"
    )
    return 0 if met else 1


def record(reading: Any, wall: float, cpu: float, gigabytes: float) -> None:
    """Leave the seconds for the results page."""
    from record import leave

    width, height = reading.result.slide["dimensions"]
    stages = [[name, round(seconds, 2)] for name, seconds in reading.result.seconds.items()]
    stages += [[f"in search, all workers: {n}", round(s, 2)] for n, s in reading.busy_s.items()]
    leave(
        "screening",
        title="Screening one slide on two cores",
        command="python benchmarks/screening.py --full --record",
        data=f"phantom slide of {width:,} x {height:,} px, 40x, 13 mm deposit, 80,000 cells",
        seconds=wall,
        figures={"wall clock, s (bar 60, goal 30)": wall, "CPU, s": cpu, "peak, GB": gigabytes},
        tables={"seconds a stage": {"columns": ["stage", "s"], "rows": stages}},
    )


def others_cpu() -> float:
    """CPU seconds that the whole machine has spent, ours included."""
    try:
        fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
    except OSError:
        return 0.0
    user, nice, system, _idle, _wait, irq, softirq, _steal = map(int, fields)
    return (user + nice + system + irq + softirq) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    sys.exit(main())
