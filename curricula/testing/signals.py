"""The contract of signals: measure every step, and leave no trace in the training."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from curricula.bandits import Exp3S
from curricula.signals.base import Signal
from curricula.testing.contract import Contract, does_not_apply, refused
from curricula.testing.training import Noisy, NoisyPerSample, Save, Spoil, Training, regressions, train

STEPS = 20
SPOILED = 5
SAVED = 7
DRAWS = 4


class SignalContract(Contract):
    """What every signal promises: subclass it, say how to make yours, and let pytest collect it.

    Every test is one or more trainings of 20 steps on the CPU, on a tiny model with dropout, BatchNorm, a logged metric
    and Adam. Signals that need another one override :meth:`model`.

    Example:
        >>> from curricula.signals import PredictionGain
        >>> class TestMySignal(SignalContract):
        ...     def make(self):
        ...         return PredictionGain()
    """

    def make(self) -> Signal:
        """Return a new signal with the options to be tested."""
        raise NotImplementedError(f"define {type(self).__name__}.make(self), which returns a new signal")

    def model(self) -> pl.LightningModule:
        """Return a new module that the signal can work with; by default one of four inputs and one target.

        It may be of ``pytorch_lightning`` or of ``lightning.pytorch``.
        """
        return Noisy()

    def model_of_samples(self) -> pl.LightningModule:
        """Return a new module that the signal can work with and that gives a loss for every sample.

        For signals that tell the draws of a step apart; by default the one of :meth:`model` with such losses.
        """
        return NoisyPerSample()

    def tasks(self) -> Mapping[str, Any]:
        """Return tasks for the module, as for :class:`~curricula.CurriculumLoader`; by default four regressions."""
        return regressions()

    def target(self) -> Any:
        """Return what the callback is given as ``target``: by default the second task, for a signal that needs one."""
        return list(self.tasks())[1] if self.make().needs_target else None

    def unknown_steps(self) -> int:
        """Return how many of the 20 steps may have a progress that is not known yet: by default none."""
        return 0

    def options(self) -> dict[str, Any]:
        """Return the least options of the trainer: by default accumulation, for a signal that needs micro-batches."""
        return {"accumulate_grad_batches": 2} if self.make().needs_micro_batches else {}

    # ---------------------------------------------------------------- measuring

    def test_it_measures_something_at_every_step(self) -> None:
        """One finite number per step, and not always the same."""
        self._check_progress(self._train(self.make()))

    def test_it_measures_the_same_again(self) -> None:
        """A second training from the same seed is measured alike, number by number."""
        first, second = (self._train(self.make()).progress for _ in range(2))
        assert _text(first) == _text(second), f"two equal trainings were measured as {first} and {second}"

    def test_it_keeps_nothing_of_a_run_that_would_disturb_the_next(self) -> None:
        """One signal in two trainings measures what two signals would."""
        signal = self.make()
        first, second = (self._train(signal).progress for _ in range(2))
        assert _text(first) == _text(second), (
            f"the second training with the same signal was measured as {second}, the first as {first}: keep what "
            "belongs to a step in step.notes, and forget the rest in reset()"
        )

    def test_a_resumed_run_is_exact(self) -> None:
        """Saved in the middle of an epoch and resumed by new objects: the same tasks, progress and parameters."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "middle.ckpt"
            whole = self._train(self.make(), Save(SAVED, path), learning=True)
            resumed = self._train(self.make(), learning=True, checkpoint=path)
        for name in ("arm", "progress", "reward"):
            here, there = whole.column(name)[SAVED:], resumed.column(name)[SAVED:]
            assert _text(here) == _text(there), (
                f"after a resume at step {SAVED} every {name} must be {here}, got {there}: what a signal remembers "
                "from one step to the next must be in its state_dict()"
            )
        rest = whole.traces[-len(resumed.traces) :]
        for batch, (expected, found) in enumerate(zip(rest, resumed.traces, strict=True)):
            other = [name for name in _different(expected, found) if name != "logged metrics"]  # means of half an epoch
            assert not other, f"after a resume the training must go on as it would have; after batch {batch}: {other}"

    # ---------------------------------------------------------------- no trace

    def test_it_leaves_the_training_as_it_is(self) -> None:
        """After every batch the same, bit for bit, as without it.

        Parameters, gradients, buffers, the state of the optimiser, the global random streams, logged metrics, training
        modes and the names of the modules' attributes.
        """
        self._check_untouched()

    def test_under_accumulation_it_measures_every_step_and_leaves_no_trace(self) -> None:
        """Both with two batches per step: one number for the step."""
        self._check_progress(self._check_untouched(accumulate_grad_batches=2))

    def test_under_clipping_it_measures_every_step_and_leaves_no_trace(self) -> None:
        """Both where the trainer changes the gradients between ``before_step`` and the step."""
        self._check_progress(self._check_untouched(gradient_clip_val=0.1))

    # ---------------------------------------------------------------- several draws

    def test_with_several_draws_it_tells_them_apart_and_leaves_no_trace(self) -> None:
        """Four draws in a batch: a finite number for each, not the same for all, and the training as it is."""
        if not self.make().per_draw:
            does_not_apply("the signal cannot tell the draws of a step apart")
        without, own = (self._train_mixed(signal) for signal in (None, self.make()))
        _check_same(without, own)
        progress = own.progress
        assert len(progress) == STEPS * DRAWS, f"{STEPS * DRAWS} draws must have as many numbers, got {len(progress)}"
        assert self._known(progress), f"the progress of every draw must be finite, got {progress}"
        steps = [progress[first : first + DRAWS] for first in range(0, len(progress), DRAWS)]
        alike = sum(len(set(step)) == 1 for step in steps)
        assert alike < STEPS // 2, f"progress must tell the draws of a step apart, got {steps}"

    # ---------------------------------------------------------------- trouble

    def test_a_loss_that_is_not_finite_is_a_step_that_teaches_nothing(self) -> None:
        """No error, no reward for that step, and all later ones are measured as if nothing had been."""
        try:
            training = self._train(self.make(), Spoil(SPOILED))
        except Exception as error:
            raise AssertionError(f"a loss that is NaN must be a step that teaches nothing, got {error!r}") from error
        callback, progress = training.callback, training.progress
        assert callback is not None
        assert not math.isfinite(progress[SPOILED]), f"the progress of a step without a loss was {progress[SPOILED]}"
        assert sum(callback.teacher.skipped) == 1, f"one step was to be skipped, got {sum(callback.teacher.skipped)}"
        others = progress[:SPOILED] + progress[SPOILED + 1 :]
        assert self._known(others), f"the steps after it must be measured as ever, got {progress}"

    def test_it_says_what_it_needs(self) -> None:
        """``check`` takes the module and target, and refuses a missing target: a ``ValueError`` before training."""
        signal, module = self.make(), self.model()
        signal.check(module, None if self.target() is None else "target")
        if signal.needs_target:
            with refused("no target", ValueError):
                signal.check(module, None)

    # ---------------------------------------------------------------- for the tests

    def _train(
        self,
        signal: Signal | None,
        *others: pl.Callback,
        learning: bool = False,
        checkpoint: Path | None = None,
        **options: Any,
    ) -> Training:
        return train(
            signal,
            self.model,
            self.tasks(),
            *others,
            bandit=Exp3S(eta=0.05, epsilon=0.4) if learning else None,
            target=self.target(),
            seed=self.seed,
            steps=STEPS,
            checkpoint=checkpoint,
            **{**self.options(), **options},
        )

    def _train_mixed(self, signal: Signal | None) -> Training:
        options = {"target": self.target(), "seed": self.seed, "steps": STEPS, **self.options()}
        return train(signal, self.model_of_samples, self.tasks(), draws_per_batch=DRAWS, **options)

    def _check_progress(self, training: Training) -> None:
        progress = training.progress
        assert len(progress) == STEPS, f"{STEPS} steps must have {STEPS} numbers, got {len(progress)}"
        assert self._known(progress), f"progress must be finite, got {progress}"
        assert len(set(progress)) > STEPS // 2, f"progress must tell steps apart, got {progress}"

    def _known(self, progress: list[float]) -> bool:
        return sum(not math.isfinite(value) for value in progress) <= self.unknown_steps()

    def _check_untouched(self, **options: Any) -> Training:
        without, own = self._train(None, **options), self._train(self.make(), **options)
        _check_same(without, own)
        return own


def _check_same(without: Training, own: Training) -> None:
    assert len(own.traces) == len(without.traces), "a signal must not change the number of batches"
    for batch, (expected, found) in enumerate(zip(without.traces, own.traces, strict=True)):
        other = _different(expected, found)
        assert not other, f"a signal must leave the training as it is; after batch {batch} these differ: {other}"


def _different(expected: dict[str, str], found: dict[str, str]) -> list[str]:
    return [name for name, value in expected.items() if found[name] != value]


def _text(values: list[float]) -> str:
    return str(values)  # NaN equals itself there
