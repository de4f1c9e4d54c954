"""Check the generators against the rule-based solvers, or write their stories in the original format.

python -m examples.babi                                # a table: 1,000 questions of each type
python -m examples.babi --questions 10000 --seed 1
python -m examples.babi --write stories                # one file per type
"""

from __future__ import annotations

import argparse
from itertools import islice
from pathlib import Path

from examples.babi.check import check
from examples.babi.generators import GENERATORS
from examples.babi.samples import write
from examples.babi.tasks import tasks


def main() -> None:
    """Read the options; check or write. Exit with status 1 where a solver disagrees."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--questions", type=int, default=1000, help="of each type")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--write", type=Path, help="folder for one file per type, instead of the check")
    options = parser.parse_args()
    if options.questions < 1:
        parser.error(f"--questions is {options.questions}, at least 1 is needed")
    if options.write:
        options.write.mkdir(parents=True, exist_ok=True)
        for name, stream in tasks(options.seed).items():
            write(islice(stream.samples(), options.questions), options.write / f"{name}.txt")
        return
    print(f"{'type':28} {'wrong':>6} {'sentences':>9} {'support':>7} {'answers':>7}  majority answer")
    wrong = 0
    for name in GENERATORS:
        report = check(name, options.questions, options.seed)
        wrong += len(report.wrong)
        print(
            f"{name:28} {len(report.wrong):6} {report.sentences:9.1f} {report.support:7.1f} {report.answers:7}  "
            f"{report.majority} ({report.majority_share:.3f})"
        )
    if wrong:
        raise SystemExit(1)


if __name__ == "__main__":
    main()
