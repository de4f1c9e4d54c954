"""Signals with one bug each, and the promises of the contract that must notice it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from curricula.signals import Signal
from curricula.testing import SignalContract


class Of(SignalContract):
    """The contract over a class of signals."""

    def __init__(self, kind):
        self.kind = kind

    def make(self):
        return self.kind()


class FallOfTheLoss(Signal):
    """Prediction gain, once more."""

    needs_loss = True
    needs_probe = True

    def before_step(self, step):
        step.notes["old"] = step.probe_loss()

    def after_step(self, step):
        return step.notes["old"] - step.probe_loss()


# Measuring.


class SeesNothing(FallOfTheLoss):
    def after_step(self, step):
        return 0.0


class NotANumberAtFirst(FallOfTheLoss):
    def after_step(self, step):
        return math.nan if step.draw.id == 0 else super().after_step(step)


class RandomOfItsOwn(FallOfTheLoss):
    def after_step(self, step):
        return super().after_step(step) + np.random.default_rng().random()


class RemembersTheLastStep(FallOfTheLoss):
    last = 0.0

    def after_step(self, step):
        gain, last = super().after_step(step), self.last
        self.last = gain
        return gain - last


class CountsItsSteps(FallOfTheLoss):
    """Starts anew with every run, but not where one is resumed."""

    count = 0

    def after_step(self, step):
        self.count = 1 if step.draw.id == 0 else self.count + 1
        return super().after_step(step) * self.count


class MeasuresAtHalfOfTheStepsWhereBatchesAreAccumulated(FallOfTheLoss):
    def after_step(self, step):
        gain = super().after_step(step)
        return gain if step.accumulation == 1 or step.draw.id % 2 else math.inf


class GivesUpWhereGradientsAreClipped(FallOfTheLoss):
    def after_step(self, step):
        return 0.0 if step.clips else super().after_step(step)


# Traces.


class TrainsALittle(FallOfTheLoss):
    def after_step(self, step):
        gain = super().after_step(step)
        with torch.no_grad():
            step.parameters()[0].add_(1e-6)
        return gain


class ScalesTheGradients(FallOfTheLoss):
    def before_step(self, step):
        super().before_step(step)
        for gradient in step.gradients():
            gradient.mul_(0.5)


class ClearsTheGradients(FallOfTheLoss):
    def after_step(self, step):
        step.module.zero_grad()
        return super().after_step(step)


class MovesTheRunningStatistics(FallOfTheLoss):
    def after_step(self, step):
        gain = super().after_step(step)
        step.module.network[1](torch.ones(8, 16))
        return gain


class TakesARandomNumber(FallOfTheLoss):
    def before_step(self, step):
        super().before_step(step)
        torch.rand(())


class TakesANumpyNumber(FallOfTheLoss):
    def before_step(self, step):
        super().before_step(step)
        np.random.rand()  # noqa: NPY002


class LeavesTheModuleInEvaluation(FallOfTheLoss):
    def after_step(self, step):
        step.module.eval()
        return super().after_step(step)


class FreezesAParameter(FallOfTheLoss):
    def before_step(self, step):
        super().before_step(step)
        step.module.network[4].bias.requires_grad_(False)


class DisturbsTheOptimiser(FallOfTheLoss):
    def after_step(self, step):
        for state in step.module.optimizers().state.values():
            state["exp_avg"].mul_(1.001)
        return super().after_step(step)


class RunsTheTrainingStepAgain(FallOfTheLoss):
    """The obvious way: it logs the loss once more, moves the statistics, and takes random numbers."""

    def after_step(self, step):
        with torch.no_grad():
            return step.loss - float(step.module.training_step(step.batch, 0))


class LogsUnderTheNameOfAnother(FallOfTheLoss):
    def after_step(self, step):
        step.module.log("gain", 1.0)
        return super().after_step(step)


class KeepsItsNotesInTheModule(FallOfTheLoss):
    def before_step(self, step):
        super().before_step(step)
        step.module.old_loss = step.notes["old"]


class DoublesWhatIsAccumulated(FallOfTheLoss):
    def before_step(self, step):
        super().before_step(step)
        if step.num_micro_batches > 1:
            for gradient in step.gradients():
                gradient.mul_(2.0)


class ClipsByItself(FallOfTheLoss):
    def before_step(self, step):
        super().before_step(step)
        if step.clips:
            torch.nn.utils.clip_grad_norm_(step.parameters(), 0.01)


# Several draws.


class TellsApart(FallOfTheLoss):
    """Prediction gain of every draw, once more."""

    def before_step(self, step):
        step.notes["old"] = step.probe_losses()

    def after_step(self, step):
        return self.after_step_per_draw(step)[0]

    def after_step_per_draw(self, step):
        return [old - new for old, new in zip(step.notes["old"], step.probe_losses(), strict=True)]


class GivesAllTheSame(TellsApart):
    def after_step_per_draw(self, step):
        gains = super().after_step_per_draw(step)
        return [sum(gains) / len(gains)] * len(gains)


class SeesTheFirstDrawOnly(TellsApart):
    def after_step_per_draw(self, step):
        gains = super().after_step_per_draw(step)
        return gains[:1] + [math.nan] * (len(gains) - 1)


class TrainsOnSeveralDraws(TellsApart):
    def after_step_per_draw(self, step):
        if len(step.draws) > 1:
            with torch.no_grad():
                step.parameters()[0].add_(1e-6)
        return super().after_step_per_draw(step)


# Trouble.


class StopsAtNaN(FallOfTheLoss):
    def before_step(self, step):
        super().before_step(step)
        if not math.isfinite(step.notes["old"]):
            raise FloatingPointError("the loss is not finite")


class NaNSticks(FallOfTheLoss):
    mean = 0.0

    def before_step(self, step):
        super().before_step(step)
        self.mean = 0.9 * (0.0 if step.draw.id == 0 else self.mean) + 0.1 * step.notes["old"]

    def after_step(self, step):
        return super().after_step(step) / self.mean


class DoesNotSayWhatItNeeds(FallOfTheLoss):
    needs_target = True

    def check(self, module, target):
        pass


class RefusesWhatItWouldWorkWith(FallOfTheLoss):
    def check(self, module, target):
        raise ValueError("no")


CAUGHT: dict[type[FallOfTheLoss], list[str]] = {
    SeesNothing: ["test_it_measures_something_at_every_step"],
    NotANumberAtFirst: ["test_it_measures_something_at_every_step"],
    RandomOfItsOwn: ["test_it_measures_the_same_again"],
    RemembersTheLastStep: ["test_it_keeps_nothing_of_a_run_that_would_disturb_the_next", "test_a_resumed_run_is_exact"],
    CountsItsSteps: ["test_a_resumed_run_is_exact"],
    MeasuresAtHalfOfTheStepsWhereBatchesAreAccumulated: [
        "test_under_accumulation_it_measures_every_step_and_leaves_no_trace"
    ],
    GivesUpWhereGradientsAreClipped: ["test_under_clipping_it_measures_every_step_and_leaves_no_trace"],
    TrainsALittle: ["test_it_leaves_the_training_as_it_is"],
    ScalesTheGradients: ["test_it_leaves_the_training_as_it_is"],
    ClearsTheGradients: ["test_it_leaves_the_training_as_it_is"],
    MovesTheRunningStatistics: ["test_it_leaves_the_training_as_it_is"],
    TakesARandomNumber: ["test_it_leaves_the_training_as_it_is"],
    TakesANumpyNumber: ["test_it_leaves_the_training_as_it_is"],
    LeavesTheModuleInEvaluation: ["test_it_leaves_the_training_as_it_is"],
    FreezesAParameter: ["test_it_leaves_the_training_as_it_is"],
    DisturbsTheOptimiser: ["test_it_leaves_the_training_as_it_is"],
    RunsTheTrainingStepAgain: ["test_it_leaves_the_training_as_it_is"],
    LogsUnderTheNameOfAnother: ["test_it_leaves_the_training_as_it_is"],
    KeepsItsNotesInTheModule: ["test_it_leaves_the_training_as_it_is"],
    DoublesWhatIsAccumulated: ["test_under_accumulation_it_measures_every_step_and_leaves_no_trace"],
    ClipsByItself: ["test_under_clipping_it_measures_every_step_and_leaves_no_trace"],
    GivesAllTheSame: ["test_with_several_draws_it_tells_them_apart_and_leaves_no_trace"],
    SeesTheFirstDrawOnly: ["test_with_several_draws_it_tells_them_apart_and_leaves_no_trace"],
    TrainsOnSeveralDraws: ["test_with_several_draws_it_tells_them_apart_and_leaves_no_trace"],
    StopsAtNaN: ["test_a_loss_that_is_not_finite_is_a_step_that_teaches_nothing"],
    NaNSticks: ["test_a_loss_that_is_not_finite_is_a_step_that_teaches_nothing"],
    DoesNotSayWhatItNeeds: ["test_it_says_what_it_needs"],
    RefusesWhatItWouldWorkWith: ["test_it_says_what_it_needs"],
}
FACETS = {
    TrainsALittle: "parameters",
    ClearsTheGradients: "gradients",
    MovesTheRunningStatistics: "buffers",
    DisturbsTheOptimiser: "state of the optimisers",
    TakesANumpyNumber: "random streams",
    LogsUnderTheNameOfAnother: "logged metrics",
    LeavesTheModuleInEvaluation: "modes",
    KeepsItsNotesInTheModule: "attributes",
}
"""Traces of which the first that is seen is of this kind only."""


def test_a_signal_without_bugs_passes():
    assert Of(FallOfTheLoss).failures() == {}
    assert Of(TellsApart).failures() == {}


@pytest.mark.parametrize(
    ("mutant", "name"),
    [(mutant, name) for mutant, names in CAUGHT.items() for name in names],
    ids=lambda part: part if isinstance(part, str) else part.__name__,
)
def test_the_mutant_is_caught(mutant, name):
    assert name in Of(mutant).failures(name)


@pytest.mark.parametrize("mutant", [ClipsByItself, CountsItsSteps])
def test_what_only_one_test_can_see_is_seen_by_that_one_alone(mutant):
    assert set(Of(mutant).failures()) == set(CAUGHT[mutant])


@pytest.mark.parametrize("mutant", FACETS, ids=lambda mutant: mutant.__name__)
def test_every_kind_of_trace_is_seen(mutant):
    (error,) = Of(mutant).failures("test_it_leaves_the_training_as_it_is").values()
    assert f"after batch 0 these differ: ['{FACETS[mutant]}']" in str(error)


def test_every_promise_catches_a_mutant():
    assert {name for names in CAUGHT.values() for name in names} == set(SignalContract.promises())
