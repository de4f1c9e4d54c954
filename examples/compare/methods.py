"""Methods: how the batches of a training are chosen. Baselines that everybody has, curricula, and their replays."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytorch_lightning as pl

from curricula import CurriculumCallback, CurriculumLoader
from curricula import Mixture as UserMixture
from curricula.bandits import (
    Bandit,
    Boltzmann,
    DiscountedUCB,
    Exp3S,
    FixedPolicy,
    OnlineDataMixing,
    SlidingWindowUCB,
    TSCLNaive,
    TSCLOnline,
    TSCLSampling,
    TSCLWindow,
)
from curricula.signals import (
    FirstOrderPredictionGain,
    GradientL2Gain,
    GradientPredictionGain,
    GradientVariationalComplexityGain,
    L2Gain,
    MeanPredictionGain,
    PredictionGain,
    SelfPredictionGain,
    Signal,
    TargetPredictionGain,
    UnbiasedGradientPredictionGain,
    VariationalComplexityGain,
)
from examples.compare.mixing import Mixture, Script, Weights, sizes_of, tempered
from examples.compare.problem import Problem
from examples.compare.records import Record

PROBE_SEED = 500_000
"""Added to the seed of the tasks that fresh batches for the signals come from."""


@dataclass(frozen=True)
class Setting:
    """What a method is given.

    Attributes:
        problem: to train on.
        tasks: of the seed.
        seed: of everything.
        steps: optimiser steps.
        replayed: record of the run that is replayed, for methods that replay one.
    """

    problem: Problem
    tasks: Mapping[str, Any]
    seed: int
    steps: int
    replayed: Record | None = None

    @property
    def batches(self) -> int:
        """Batches of the whole run."""
        return self.steps * self.problem.micro_batches


@dataclass
class Plan:
    """How a training is run.

    Attributes:
        loader: of the training batches.
        callbacks: for the trainer.
        draws: what was trained on of each task, asked when the training is over.
        unit_of_draws: ``"batches"`` or ``"samples"``.
        arms: task of every batch, asked when the training is over; ``None`` where a batch has several.
        on_scores: told the held-out scores at every evaluation.
    """

    loader: Any
    callbacks: list[pl.Callback]
    draws: Callable[[], list[int]]
    unit_of_draws: str
    arms: Callable[[], list[int] | None]
    on_scores: Callable[[Mapping[str, float]], None] = lambda scores: None


def _never(problem: Problem) -> str | None:
    return None


@dataclass(frozen=True)
class Method:
    """A way to choose batches.

    Attributes:
        name: in tables and records.
        make: from a setting to a plan.
        replays: name of the method whose run of the same seed and learning rate is replayed.
        refuses: from a problem to why the method cannot be used on it, ``None`` if it can.
    """

    name: str
    make: Callable[[Setting], Plan]
    replays: str | None = None
    refuses: Callable[[Problem], str | None] = _never


def _mixed(weigh: Callable[[Setting], Weights], how: Any = "independent") -> Callable[[Setting], Plan]:
    def make(setting: Setting) -> Plan:
        mixture = Mixture(
            setting.tasks,
            weigh(setting),
            batch_size=setting.problem.batch_size,
            steps=setting.batches,
            seed=setting.seed,
            how=how,
            collate=setting.problem.collate,
        )
        return Plan(mixture, [], mixture.counts.tolist, "samples", lambda: None)

    return make


def _by_hand(setting: Setting) -> Plan:
    """Half of the samples are of the first task in order that is not solved, half of all tasks in order alike.

    Source: the combined strategy of Zaremba & Sutskever 2014 (arXiv:1410.4615, section 5).
    """
    problem, names = setting.problem, list(setting.tasks)
    order = list(problem.order or ())
    plan = _mixed(lambda _: _syllabus(names, order, order[0]))(setting)

    def go_on(scores: Mapping[str, float]) -> None:
        current = next((name for name in order if not problem.solves(scores[name])), order[-1])
        plan.loader.reweight(_syllabus(names, order, current))

    return replace(plan, on_scores=go_on)


def _syllabus(names: list[str], order: list[str], current: str) -> Weights:
    return np.array([(name in order) / len(order) + (name == current) for name in names], dtype=np.float64)


def _does_not_mix(problem: Problem) -> str | None:
    return None if problem.mixes else "samples of different tasks do not collate into one batch"


def _without_target(problem: Problem) -> str | None:
    return "the problem has no target" if problem.target is None else None


def _of_one_size(problem: Problem) -> str | None:
    if problem.one_size:
        return "its tasks are of one size, so that it is uniform sampling"
    return _does_not_mix(problem)


def _without_order(problem: Problem) -> str | None:
    return _does_not_mix(problem) or ("nobody would know an order of its tasks" if problem.order is None else None)


def _all_useful(problem: Problem) -> str | None:
    return _does_not_mix(problem) or ("all of its tasks are useful" if problem.useful is None else None)


def _only_mixed_target(problem: Problem) -> str | None:
    return _does_not_mix(problem) or _without_target(problem)


def _uniform(setting: Setting) -> Weights:
    return np.ones(len(setting.tasks))


def _tempered(temperature: float) -> Callable[[Setting], Weights]:
    return lambda setting: tempered(sizes_of(setting.tasks), temperature)


def _unimax(setting: Setting) -> Weights:
    sizes, samples = sizes_of(setting.tasks), setting.batches * setting.problem.batch_size
    # A long training passes more than four times over everything; its shares are those of the sizes.
    policy = FixedPolicy.unimax(sizes.tolist(), samples, max_epochs=max(4.0, samples / float(sizes.sum())))
    policy.reset(len(sizes))
    return policy.probabilities()


def _target(share: float) -> Callable[[Setting], Weights]:
    def weigh(setting: Setting) -> Weights:
        others = (1 - share) / max(1, len(setting.tasks) - 1)
        return np.array([share if name == setting.problem.target else others for name in setting.tasks])

    return weigh


def _useful(setting: Setting) -> Weights:
    return np.array([name in (setting.problem.useful or ()) for name in setting.tasks], dtype=np.float64)


def curriculum(
    make_callback: Callable[[Setting], CurriculumCallback], draws: int | None = 1
) -> Callable[[Setting], Plan]:
    """Return how batches are chosen by a curriculum.

    Args:
        make_callback: makes it.
        draws: of a batch; ``None`` for one per sample.
    """

    def make(setting: Setting) -> Plan:
        problem = setting.problem
        slots = problem.batch_size if draws is None else math.gcd(draws, problem.batch_size)
        samples = 1 if slots == 1 else problem.batch_size // slots  # that a draw counts for
        loader = CurriculumLoader(
            setting.tasks,
            batch_size=problem.batch_size,
            steps_per_epoch=problem.evaluate_every * problem.micro_batches,
            grid=problem.grid,
            seed=setting.seed,
            collate_fn=problem.collate,
            probe_tasks=problem.tasks(setting.seed + PROBE_SEED),
            draws_per_batch=slots,
        )
        callback, seen = make_callback(setting), _Arms()
        return Plan(
            loader,
            [callback, seen],
            lambda: [int(draws) * samples for draws in callback.history.draws],
            "batches" if slots == 1 else "samples",
            lambda: list(seen.arms) if slots == 1 else None,
        )

    return make


class _Arms(pl.Callback):
    """Writes down the task of every batch."""

    def __init__(self) -> None:
        self.arms: list[int] = []

    def on_train_batch_start(
        self, trainer: pl.Trainer, pl_module: pl.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        """Ask the curriculum, whose callback comes before."""
        callbacks: list[Any] = list(trainer.callbacks)  # type: ignore[attr-defined]
        callback = next(other for other in callbacks if isinstance(other, CurriculumCallback))
        if len(callback.current_draws) == 1:
            self.arms.append(callback.current_draws[0].arm)


def _signal(make: Callable[[], Signal], draws: int | None = 1) -> Callable[[Setting], Plan]:
    return curriculum(
        lambda setting: CurriculumCallback(signal=make(), target=setting.problem.target, seed=setting.seed), draws
    )


def _policy(make: Callable[[Setting], Any], draws: int | None = 1) -> Callable[[Setting], Plan]:
    return curriculum(
        lambda setting: CurriculumCallback(
            make(setting), GradientPredictionGain(), target=setting.problem.target, seed=setting.seed
        ),
        draws,
    )


def _in_several_batches(problem: Problem) -> str | None:
    if problem.micro_batches > 1:
        return "a step is several batches, and draws are replayed one batch a step"
    return None


def _lacks(signal: Signal) -> Callable[[Problem], str | None]:
    complexity = isinstance(signal, (VariationalComplexityGain, GradientVariationalComplexityGain))

    def refuses(problem: Problem) -> str | None:
        if signal.needs_micro_batches and problem.micro_batches < _HALVES:
            return "a step is one batch, and the signal compares the two halves of a step"
        if complexity and not problem.variational:
            return "the weights are not Gaussian"
        return _without_target(problem) if signal.needs_target else None

    return refuses


_HALVES = 2


def _mostly_useful(share: float) -> Callable[[Setting], FixedPolicy]:
    """A fixed policy that knows the useful tasks: what is to be hoped for from leaving the others alone."""

    def make(setting: Setting) -> FixedPolicy:
        useful = [name in (setting.problem.useful or ()) for name in setting.tasks]
        each = (1 - share) / sum(useful), share / max(1, len(useful) - sum(useful))
        return FixedPolicy([each[0] if is_useful else each[1] for is_useful in useful])

    return make


def _with_prior(share: float) -> Callable[[Setting], Plan]:
    """The default around a prior that gives the useful tasks a share: a good guess, or a bad one."""

    def make(setting: Setting) -> CurriculumCallback:
        useful = [name in (setting.problem.useful or ()) for name in setting.tasks]
        each = share / sum(useful), (1 - share) / max(1, len(useful) - sum(useful))
        prior = {name: each[not is_useful] for name, is_useful in zip(setting.tasks, useful, strict=True)}
        return CurriculumCallback(target=setting.problem.target, seed=setting.seed, mixture=UserMixture(prior=prior))

    return curriculum(make)


def _average(setting: Setting) -> Weights:
    if setting.replayed is None:
        raise ValueError("there is no run to replay: make that of the method that is replayed first")
    return np.array(setting.replayed.draws, dtype=np.float64)


def _averaged(setting: Setting) -> FixedPolicy:
    return FixedPolicy(_average(setting).tolist())


def _in_other_order(setting: Setting) -> Plan:
    if setting.replayed is None or setting.replayed.arms is None:
        raise ValueError("there is no order to replay: make the run of the method that is replayed first")
    arms, problem = setting.replayed.arms[: setting.steps], setting.problem
    loader = Script(setting.tasks, arms, batch_size=problem.batch_size, seed=setting.seed, collate=problem.collate)
    return Plan(
        loader,
        [],
        lambda: np.bincount(loader.given_out, minlength=len(setting.tasks)).tolist(),
        "batches",
        lambda: list(loader.given_out),
    )


_SIGNALS: dict[str, Callable[[], Signal]] = {
    "PG": PredictionGain,
    "GPG": GradientPredictionGain,
    "FPG": FirstOrderPredictionGain,
    "UGPG": UnbiasedGradientPredictionGain,
    "SPG": SelfPredictionGain,
    "TPG": TargetPredictionGain,
    "MPG": MeanPredictionGain,
    "L2G": L2Gain,
    "GL2G": GradientL2Gain,
    "VCG": VariationalComplexityGain,
    "GVCG": GradientVariationalComplexityGain,
}
_DEFAULT = "curriculum"
_DRAWS = {"4 draws a batch": 4, "16 draws a batch": 16, "a draw per sample": None}
_PER_DRAW = {"": FirstOrderPredictionGain, ", PG": PredictionGain, ", SPG": SelfPredictionGain}


_POLICIES: dict[str, Callable[[], Bandit]] = {
    "TSCL online": TSCLOnline,
    "TSCL naive": TSCLNaive,
    "TSCL window": TSCLWindow,
    "TSCL sampling": TSCLSampling,
    "sliding-window UCB": SlidingWindowUCB,
    "discounted UCB": DiscountedUCB,
    "online data mixing": OnlineDataMixing,
    "Boltzmann": Boltzmann,
}


def _with_bandit(make: Callable[[], Bandit]) -> Callable[[Setting], Plan]:
    """The default signal with another bandit."""
    return curriculum(lambda s: CurriculumCallback(make(), target=s.problem.target, seed=s.seed))


def _replays(of: str) -> list[Method]:
    return [
        Method(
            f"{of}, replayed: its mixture, one task a batch",
            _policy(_averaged),
            replays=of,
        ),
        Method(f"{of}, replayed: its mixture, mixed", _mixed(_average), replays=of, refuses=_does_not_mix),
        Method(f"{of}, replayed: its draws, shuffled", _in_other_order, replays=of, refuses=_in_several_batches),
    ]


_ALL = [
    Method("proportional, mixed", _mixed(lambda s: sizes_of(s.tasks)), refuses=_of_one_size),
    Method("uniform, mixed", _mixed(_uniform), refuses=_does_not_mix),
    Method("uniform, exact quotas", _mixed(_uniform, "quotas"), refuses=_does_not_mix),
    *(Method(f"temperature {t:g}, mixed", _mixed(_tempered(t)), refuses=_of_one_size) for t in (2.0, 5.0)),
    Method(
        "UniMax, mixed",
        _mixed(_unimax),
        refuses=_of_one_size,
    ),
    *(
        Method(f"static: {share:.0%} target, mixed", _mixed(_target(share)), refuses=_only_mixed_target)
        for share in (0.25, 0.5, 0.75)
    ),
    Method("target only", _mixed(_target(1.0)), refuses=_without_target),
    Method("by hand: useful tasks alone, mixed", _mixed(_useful), refuses=_all_useful),
    Method("by hand: syllabus, mixed", _by_hand, refuses=_without_order),
    *(
        Method(
            f"by hand: {share:.0%} on useless tasks, one task a batch",
            _policy(_mostly_useful(share)),
            refuses=_all_useful,
        )
        for share in (0.0, 0.1, 0.2, 0.3, 0.95)
    ),
    *(
        Method(f"curriculum, prior of {share:.0%} on useful tasks", _with_prior(share), refuses=_all_useful)
        for share in (0.8, 0.05)
    ),
    Method("uniform, one task a batch", _policy(lambda s: FixedPolicy.uniform())),
    Method(_DEFAULT, curriculum(lambda s: CurriculumCallback(target=s.problem.target, seed=s.seed))),
    *(Method(f"curriculum, {name}", _signal(make), refuses=_lacks(make())) for name, make in _SIGNALS.items()),
    Method(
        "curriculum, paper's constants",
        curriculum(lambda s: CurriculumCallback(Exp3S.paper(), PredictionGain(), target=s.problem.target, seed=s.seed)),
    ),
    *(Method(f"policy: {name}", _with_bandit(make)) for name, make in _POLICIES.items()),
    *(
        Method(f"uniform, {said}", _policy(lambda s: FixedPolicy.uniform(), draws), refuses=_does_not_mix)
        for said, draws in _DRAWS.items()
    ),
    *(
        Method(f"curriculum{name}, {said}", _signal(make, draws), refuses=_does_not_mix)
        for name, make in _PER_DRAW.items()
        for said, draws in _DRAWS.items()
    ),
    *_replays(_DEFAULT),
    *_replays("curriculum, SPG"),
]

METHODS: dict[str, Method] = {method.name: method for method in _ALL}


def named(kind: str, name: str, known: Mapping[str, Any]) -> Any:
    """Return the entry of this name.

    Raises:
        ValueError: if there is none, with the nearest name.

    Example:
        >>> named("method", "uniform, mixd", {"uniform, mixed": 1})
        Traceback (most recent call last):
        ...
        ValueError: there is no method 'uniform, mixd': did you mean 'uniform, mixed'?
    """
    if name in known:
        return known[name]
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)
    hint = f"did you mean {near[0]!r}?" if near else f"there are {list(known)}"
    raise ValueError(f"there is no {kind} {name!r}: {hint}")
