"""Train on the parity staircase, with the curriculum or without.

python -m examples.parity_staircase
python -m examples.parity_staircase --duplicates 0 --method "uniform, mixed"
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.compare.problems import parity
from examples.compare.single import add_run_options, at_least, run_from_command_line
from examples.parity_staircase.tasks import staircase


def main() -> int:
    """Read the options and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--duplicates", type=at_least(0), default=24, help="copies of the easiest task")
    parser.add_argument("--batch-size", type=at_least(1), default=64)
    add_run_options(parser, Path("runs/parity_staircase"))
    options = parser.parse_args()
    workload = staircase(duplicates=options.duplicates, batch_size=options.batch_size)
    return run_from_command_line(parity(workload, options.batch_size), options)


if __name__ == "__main__":
    sys.exit(main())
