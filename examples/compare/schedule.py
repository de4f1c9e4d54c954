"""Which trainings to make, and making them: resumable, within the cores, whatever dies meanwhile."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from statistics import median

from examples.compare.methods import METHODS, named
from examples.compare.problem import Job, Problem
from examples.compare.records import Record, Records
from examples.compare.training import quiet, train

TUNING_SEEDS = (0, 1)
"""Seeds on which learning rates are chosen."""

FIRST_SEED = 1_000
"""Seeds from here on are reported; nothing is chosen on them. Goals and sizes of some problems were, on 100 to 103."""

_ATTEMPTS = 2


@dataclass(frozen=True)
class Failure:
    """A job that ended in an error, or whose process died."""

    job: Job
    error: str


def expand(
    problems: Sequence[Problem], methods: Sequence[str], seeds: Iterable[int], lrs: Mapping[tuple[str, str], float]
) -> list[Job]:
    """Return the jobs of all problems, methods and seeds, those that are replayed before their replays.

    Args:
        problems: to train on.
        methods: their names; of one that replays another, that one is made as well.
        seeds: of the runs.
        lrs: from problem and method to the learning rate.
    """
    jobs: dict[Job, None] = {}
    for problem in problems:
        for name in _with_replayed(methods):
            if named("method", name, METHODS).refuses(problem) is None:
                for seed in seeds:
                    jobs[Job(problem.name, name, lrs[problem.name, name], seed)] = None
    return list(jobs)


def _with_replayed(methods: Sequence[str]) -> list[str]:
    found: dict[str, None] = {}
    for name in methods:
        replays = named("method", name, METHODS).replays
        if replays is not None:
            found[replays] = None
    return list(dict.fromkeys([*found, *methods]))


def tuning_jobs(problems: Sequence[Problem], methods: Sequence[str], seeds: Sequence[int] = TUNING_SEEDS) -> list[Job]:
    """Return the jobs on which learning rates are chosen: as many for every method.

    A replay has no rate of its own: it is that of the run that it replays.
    """
    return [
        Job(problem.name, name, lr, seed, problem.tuning_steps)
        for problem in problems
        for name in _with_replayed(methods)
        if METHODS[name].replays is None and METHODS[name].refuses(problem) is None
        for lr in problem.learning_rates
        for seed in seeds
    ]


def choose_rates(
    problems: Sequence[Problem],
    methods: Sequence[str],
    records: Records,
    seeds: Sequence[int] = TUNING_SEEDS,
) -> dict[tuple[str, str], float]:
    """Return the learning rate of every problem and method: the best median over the tuning seeds.

    What is compared is the mean of the score that the goal is for over the whole run, so that speed counts.

    Raises:
        ValueError: if a tuning run is missing.
    """
    chosen: dict[tuple[str, str], float] = {}
    for problem in problems:
        for name in _with_replayed(methods):
            if METHODS[name].replays is None and METHODS[name].refuses(problem) is None:
                found = {lr: _speed(problem, name, lr, records, seeds) for lr in problem.learning_rates}
                best = max if problem.rises else min
                chosen[problem.name, name] = best(found, key=lambda lr: found[lr])
        for name in _with_replayed(methods):
            replays = METHODS[name].replays
            if replays is not None and (problem.name, replays) in chosen:
                chosen[problem.name, name] = chosen[problem.name, replays]
    return chosen


def _speed(problem: Problem, name: str, lr: float, records: Records, seeds: Sequence[int]) -> float:
    values = []
    for seed in seeds:
        job = Job(problem.name, name, lr, seed, problem.tuning_steps)
        record = records.get(job, problem)
        if record is None:
            raise ValueError(f"the tuning run {job.key} is missing: make it first")
        curve = [problem.summary(record.at(place))[problem.of] for place in range(len(record.steps))]
        left = (record.budget - record.steps[-1]) // problem.evaluate_every  # a run that ended at its goal stays there
        values.append((sum(curve) + left * curve[-1]) / (len(curve) + left))
    return median(values)


def make_all(
    jobs: Sequence[Job],
    problem_of: Callable[[str], Problem],
    records: Records,
    *,
    processes: int = 1,
    report: Callable[[int, int, Job], None] = lambda done, total, job: None,
) -> list[Failure]:
    """Make the jobs that have no record yet, and return those that failed.

    Each record is written when it is there: whatever ends this, what was made is kept. A process that dies takes no
    other job with it; its own is tried once more.

    Args:
        jobs: those that are replayed before their replays.
        problem_of: from a name to the problem; a function of a module, so that other processes can call it.
        records: to read and to write.
        processes: trainings at a time, one thread each.
        report: called after every job with how many are done, how many there are, and the job.
    """
    missing = [job for job in jobs if records.get(job, problem_of(job.problem)) is None]
    failures: list[Failure] = []
    done = len(jobs) - len(missing)
    first = [job for job in missing if METHODS[job.method].replays is None]
    for stage in (first, [job for job in missing if METHODS[job.method].replays is not None]):
        for job, outcome in _run(stage, problem_of, records, processes):
            done += 1
            if isinstance(outcome, Record):
                records.add(job, outcome)
            else:
                failures.append(Failure(job, outcome))
            report(done, len(jobs), job)
    return failures


def _run(
    jobs: Sequence[Job], problem_of: Callable[[str], Problem], records: Records, processes: int
) -> Iterable[tuple[Job, Record | str]]:
    attempts = dict.fromkeys(jobs, 0)
    while attempts:
        alone = any(attempts.values())  # after a death, one at a time: so it is known whose process died
        with ProcessPoolExecutor(
            1 if alone else processes, multiprocessing.get_context("spawn"), initializer=quiet
        ) as pool:
            try:
                for job, outcome in _in_pool(pool, list(attempts), problem_of, records, 1 if alone else processes):
                    del attempts[job]
                    yield job, outcome
            except _Died as died:
                for job in died.jobs:
                    attempts[job] += 1
                    if attempts[job] >= _ATTEMPTS:
                        del attempts[job]
                        yield job, "its process died"


def _train(problem_of: Callable[[str], Problem], job: Job, replayed: Record | None) -> Record:
    return train(problem_of(job.problem), job, replayed)


class _Died(Exception):  # noqa: N818 - no error of ours
    def __init__(self, jobs: list[Job]) -> None:
        super().__init__()
        self.jobs = jobs


def _in_pool(
    pool: ProcessPoolExecutor,
    jobs: list[Job],
    problem_of: Callable[[str], Problem],
    records: Records,
    processes: int,
) -> Iterable[tuple[Job, Record | str]]:
    running: dict[Future[Record], Job] = {}
    waiting = list(jobs)
    while waiting or running:
        while waiting and len(running) < processes:
            job = waiting.pop(0)
            replays = METHODS[job.method].replays
            replayed = None
            if replays is not None:
                first = Job(job.problem, replays, job.lr, job.seed, job.steps)
                replayed = records.get(first, problem_of(job.problem))
            running[pool.submit(_train, problem_of, job, replayed)] = job
        finished, _ = wait(running, return_when=FIRST_COMPLETED)
        for future in finished:
            job = running[future]
            try:
                outcome: Record | str = future.result()
            except BrokenProcessPool:
                raise _Died(list(running.values())) from None
            except Exception as error:  # noqa: BLE001 - whatever a training does, the others go on
                outcome = f"{type(error).__name__}: {error}"
            del running[future]
            yield job, outcome
