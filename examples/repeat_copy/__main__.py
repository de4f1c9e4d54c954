"""Train on repeat copy, with the curriculum or without.

python -m examples.repeat_copy                          # 5 x 5, seconds
python -m examples.repeat_copy --size 13 --hidden 512   # the size of the paper, hours on a CPU
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from examples.compare.problems import copying
from examples.compare.single import add_run_options, at_least, run_from_command_line


def main() -> int:
    """Read the options and train."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--size", type=at_least(1), default=5, help="lengths and repeats from 1 to this; 13 in the paper"
    )
    parser.add_argument("--hidden", type=at_least(1), default=64, help="units of the LSTM; 512 in the paper")
    parser.add_argument("--bits", type=at_least(1), default=4, help="bits per vector")
    parser.add_argument("--batch-size", type=at_least(1), default=16)
    add_run_options(parser, Path("runs/repeat_copy"))
    options = parser.parse_args()
    problem = copying(options.size, options.hidden, options.batch_size, options.bits)
    return run_from_command_line(problem, options)


if __name__ == "__main__":
    sys.exit(main())
