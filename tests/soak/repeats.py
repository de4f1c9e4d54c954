"""The tests that rest on random numbers, with many other seeds: not one may fail.

Run ``python -m tests.soak.repeats --repeats 50 --out docs/results``.
"""

from __future__ import annotations

import argparse
import json
import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

LEFT_OUT = ("test_a_run_in_another_process_agrees", "test_ten_thousand_updates_leave_every_number_finite")
"""Slow, and no matter of luck. The contract of signals takes no seed from here for the same reason: it compares
trainings bit for bit."""


class Repeats:
    """A plugin of pytest: of the tests, those that take ``any_seed``, once with each of the seeds.

    Attributes:
        runs: per test, how often it ran; its cases count together.
        failed: names of the runs that failed.
    """

    def __init__(self, seeds: Sequence[int]) -> None:
        self.seeds = seeds
        self.runs: dict[str, int] = {}
        self.failed: list[str] = []

    def pytest_generate_tests(self, metafunc: pytest.Metafunc) -> None:
        """Give the tests their seeds."""
        if "any_seed" in metafunc.fixturenames:
            metafunc.parametrize("any_seed", self.seeds, indirect=True, ids=lambda seed: f"seed={seed}")

    def pytest_collection_modifyitems(self, items: list[pytest.Item]) -> None:
        """Keep the tests that have one."""
        items[:] = [item for item in items if "seed=" in item.name and not any(name in item.name for name in LEFT_OUT)]

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Count."""
        if report.when == "call" and not report.skipped:
            test = re.sub(r"\[.*\]$", "", report.nodeid)
            self.runs[test] = self.runs.get(test, 0) + 1
        if report.failed:
            self.failed.append(report.nodeid)

    def result(self) -> dict[str, Any]:
        """Return the counts."""
        failures = [re.sub(r"\[.*\]$", "", name) for name in self.failed]
        return {
            "tests": len(self.runs),
            "repeats": len(self.seeds),
            "runs": sum(self.runs.values()),
            "failures": len(self.failed),
            "by_test": {
                test: {"runs": count, "failures": failures.count(test)} for test, count in sorted(self.runs.items())
            },
            "failed": self.failed,
        }


def main() -> None:
    """Repeat the tests and write how often each failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repeats", type=int, default=50)
    parser.add_argument("--first", type=int, default=1, help="the first of the seeds; the suite itself has 0")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("tests", nargs="*", default=["tests"])
    options = parser.parse_args()
    repeats = Repeats(range(options.first, options.first + options.repeats))
    start = time.perf_counter()
    code = pytest.main(["-q", "-p", "no:cacheprovider", "--tb=short", *options.tests], plugins=[repeats])
    result = {**repeats.result(), "seconds": round(time.perf_counter() - start)}
    if code not in (pytest.ExitCode.OK, pytest.ExitCode.TESTS_FAILED):
        raise SystemExit(f"the tests could not be run: {code!r}")
    if options.out is not None:
        (options.out / "repeats.json").write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "by_test"}))
    raise SystemExit(int(code))


if __name__ == "__main__":
    main()
