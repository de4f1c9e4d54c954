"""The main demonstration: two workloads with the curriculum and with uniform sampling, plots, and one page.

python -m examples.demo --out runs/demo
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import time
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from pathlib import Path
from typing import Any

from pytorch_lightning.loggers import WandbLogger

from curricula.tracking import CurriculumHistory
from curricula.tracking.figures import comparison_figure, losses_figure, policy_figure, syllabus_figure
from curricula.tracking.report import Section, write_report
from examples.compare.training import quiet
from examples.comparison import WORKLOADS, Run, comparison, markdown, save, table, train
from examples.workload import Workload

METHODS = ("curriculum", "uniform")


def main() -> None:
    """Train, draw, and say where to look."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), help="folder of everything that is written")
    parser.add_argument("--workloads", nargs="+", choices=WORKLOADS, default=["parity_staircase", "repeat_copy"])
    parser.add_argument("--seeds", type=int, default=2, help="the first is shown with progress bars and logged to W&B")
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, help="processes, one thread each")
    options = parser.parse_args()
    start = time.perf_counter()
    quiet()
    runs = _train_all(options.workloads, options.seeds, options.jobs, options.out)
    _write(options.workloads, runs, options.out)
    print(f"\n{markdown(table(runs))}\n")
    print(f"trained {len(runs)} models in {time.perf_counter() - start:.0f} s")
    print(f"plots:     {options.out.resolve()}{os.sep}*.png")
    print(f"the page:  {(options.out / 'index.html').resolve()}")
    print(f"W&B runs:  {(options.out / 'wandb').resolve()}  (offline; `wandb sync` uploads them)")


def _train_all(workloads: Sequence[str], seeds: int, jobs: int, out: Path) -> list[Run]:
    out.mkdir(parents=True, exist_ok=True)
    jobs_left = [(work, method, seed) for seed in range(1, seeds) for work in workloads for method in METHODS]
    runs = []
    # The first seed runs here, where its progress bars can be watched; the others beside it.
    with ProcessPoolExecutor(max(1, jobs - 1), multiprocessing.get_context("spawn"), initializer=quiet) as pool:
        futures: list[Future[Run]] = [pool.submit(_train_silently, *job) for job in jobs_left]
        for work in workloads:
            for method in METHODS:
                workload = WORKLOADS[work]()
                print(f"\n{workload.title}: {method}, seed 0", flush=True)
                logger = _wandb(workload, method, out)
                runs.append(train(workload, method, 0, out=out, progress_bar=True, logger=logger))
                logger.experiment.finish()
                reached = runs[-1].reached
                print(f"goal reached after {reached:,} steps" if reached else "goal not reached", flush=True)
        if futures:
            print(f"\nwaiting for {sum(not future.done() for future in futures)} more runs of other seeds", flush=True)
        runs += [future.result() for future in futures]
    return sorted(runs, key=lambda run: (workloads.index(run.workload), METHODS.index(run.method), run.seed))


def _train_silently(workload: str, method: str, seed: int) -> Run:
    return train(WORKLOADS[workload](), method, seed)


def _wandb(workload: Workload, method: str, out: Path) -> Any:
    os.environ.setdefault("WANDB_SILENT", "true")
    return WandbLogger(project="curricula-demo", name=f"{workload.name}, {method}", save_dir=out, offline=True)


def _write(workloads: Sequence[str], runs: Sequence[Run], out: Path) -> None:
    save(runs, out / "runs.json")
    rows = table(runs)
    sections = []
    for name in workloads:
        workload = WORKLOADS[name]()
        mine = [run for run in runs if run.workload == workload.name]
        curves = comparison(mine, workload)
        shown = next(run for run in mine if run.method == "curriculum" and run.history is not None)
        history = CurriculumHistory.load(Path(str(shown.history)))
        sections.append(
            Section(
                title=workload.title,
                text=workload.text + _FEW_SEEDS,
                table=[_columns(row) for row in rows if row["workload"] == workload.name],
                comparison=curves,
                history=history,
            )
        )
        figures = {
            "comparison": comparison_figure(curves.curves, curves.goal, label=curves.label),
            "policy": policy_figure(history),
            "losses": losses_figure(history),
            "syllabus": syllabus_figure(history),
        }
        for kind, figure in figures.items():
            figure.savefig(out / f"{workload.name}-{kind}.png", dpi=120)
    (out / "table.md").write_text(markdown(rows) + "\n", encoding="utf-8")
    write_report(out / "index.html", sections, title="Curriculum against uniform sampling")


_FEW_SEEDS = " A few seeds show the picture; the documentation has the table over many."


def _columns(row: dict[str, Any]) -> dict[str, object]:
    return {
        "method": row["method"],
        "goal reached": f"{row['solved']} of {row['seeds']} seeds",
        "steps to the goal (median)": f"{row['median steps']:,.0f}",
        "min - max": f"{row['min']:,} - {row['max']:,}",
        "uniform / method": f"{row['ratio']:.2f}x",
    }


if __name__ == "__main__":
    main()
