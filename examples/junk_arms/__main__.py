"""Train on useful tasks among noise and duplicates, with the curriculum or without.

python -m examples.junk_arms
python -m examples.junk_arms --useful 8 --noise 24 --duplicates 0    # the hard case
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.compare.problems import parity
from examples.compare.single import add_run_options, at_least, run_from_command_line
from examples.junk_arms.tasks import junk_arms


def main() -> int:
    """Read the options and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--useful", type=at_least(1), default=4, help="parities to learn")
    parser.add_argument("--noise", type=at_least(0), default=10, help="tasks whose labels are coin flips")
    parser.add_argument("--duplicates", type=at_least(0), default=6, help="copies of the easiest task")
    parser.add_argument("--batch-size", type=at_least(1), default=64)
    add_run_options(parser, Path("runs/junk_arms"))
    options = parser.parse_args()
    workload = junk_arms(
        useful=options.useful, noise=options.noise, duplicates=options.duplicates, batch_size=options.batch_size
    )
    return run_from_command_line(parity(workload, options.batch_size), options)


if __name__ == "__main__":
    sys.exit(main())
