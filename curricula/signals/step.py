"""What a signal may ask about the optimiser step in hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from torch import nn

from curricula.randomness import CounterGenerator, Stream
from curricula.signals.micro_batch import MicroBatch, MicroBatches, mean, slot_means
from curricula.signals.probe import Probe
from curricula.signals.step_gradients import StepGradients

if TYPE_CHECKING:
    from curricula.teacher import Draw

T = TypeVar("T")

InHand: TypeAlias = "str | tuple[str, ...]"
"""The task of a batch; of a batch with several draws, the task of each slot."""


class Step(StepGradients):
    """One optimiser step: its draws, the losses, the gradients, the parameters, and a probe of the loss.

    Attributes:
        module: the module in training.
        tasks: names of all tasks, in the order of the arms.
        target: name of the target task, or ``None``.
        batch_size: samples of a batch; ``None`` if unknown.
        accumulation: micro-batches that the trainer accumulates into a step; the last step of an epoch may have fewer.
        clips: whether the trainer may change the gradients between ``before_step`` and the optimiser's step.
        gradients_stay: whether nothing at all writes to the gradients until ``after_step``. If not, a signal that needs
            them there keeps copies: the trainer clips them, the optimiser or a second backward pass may write to them.
        task_in_hand: name of the task of the batch that is trained on, sampled or evaluated; the names of its slots'
            tasks where it has several.
        several: whether steps of this training may have several draws.
        loss_scale: what the loss of the batch in hand is multiplied by before its backward pass: the scale of automatic
            mixed precision, and 1 over the micro-batches that the trainer accumulates.
        world_size: ranks whose gradients are averaged.
        outputs: of the training step, in :meth:`Signal.after_batch <curricula.signals.Signal.after_batch>`; ``None``
            elsewhere.
        notes: a place for the signal to keep what it measured in ``before_step`` until ``after_step``.
        closed: whether the draws were rewarded or discarded; nothing can be measured any more.
    """

    __slots__ = (
        "_probe",
        "_sample",
        "_sampled",
        "_seed",
        "accumulation",
        "batch_size",
        "clips",
        "closed",
        "loss_scale",
        "micro_batches",
        "notes",
        "outputs",
        "several",
        "target",
        "task_in_hand",
        "tasks",
        "world_size",
    )

    def __init__(
        self,
        module: nn.Module,
        probe: Probe,
        target: str | None,
        tasks: tuple[str, ...] = (),
        sample: Callable[[InHand], Any] | None = None,
        seed: int = 0,
        *,
        accumulation: int = 1,
        world_size: int = 1,
        clips: bool = False,
        batch_size: int | None = None,
        several: bool = False,
    ) -> None:
        super().__init__(module)
        self.tasks = tasks
        self.target = target
        self._sample = sample
        self._seed = seed
        self.accumulation = accumulation
        self.world_size = world_size
        self.clips = clips
        self.task_in_hand: InHand = ()
        self.outputs: Any = None
        self.notes: dict[str, Any] = {}
        self._probe = probe
        self.batch_size = batch_size
        self.several = several
        self.loss_scale = 1.0
        self.closed = False
        self.micro_batches = MicroBatches()
        self._sampled: list[tuple[Any, InHand]] = []

    @property
    def draws(self) -> tuple[Draw, ...]:
        """This rank's draws, in the order of the slots of its batches.

        One, unless batches have samples of several tasks (``draws_per_batch``) or every micro-batch has draws of its
        own (``redraw="batch"``).
        """
        return self.micro_batches.draws

    @property
    def draw(self) -> Draw:
        """The draw of a step that has one.

        Raises:
            RuntimeError: if it has several.
        """
        if len(self.draws) != 1:
            raise RuntimeError(f"the step has {len(self.draws)} draws, and none that is the draw: look at step.draws")
        return self.draws[0]

    @property
    def task(self) -> str:
        """Name of the task of a step that has one draw.

        Raises:
            RuntimeError: if it has several.
        """
        return self.draw.task

    def described(self) -> str:
        """Return the tasks of the step for a message: ``task 'easy'``."""
        tasks = list(dict.fromkeys(draw.task for draw in self.draws))
        return f"task {tasks[0]!r}" if len(tasks) == 1 else f"the tasks {', '.join(map(repr, tasks[:5]))}"

    @property
    def draw_sets(self) -> list[tuple[Draw, ...]]:
        """The draws of each batch, one per slot; micro-batches that share their draws count once."""
        return list(dict.fromkeys(micro.draws for micro in self.micro_batches))

    @property
    def loss(self) -> float:
        """Loss of the training batch at the old parameters; the mean over micro-batches under accumulation.

        NaN where the training step returned none.
        """
        return self.micro_batches.loss

    @property
    def losses(self) -> list[float]:
        """Training loss of each draw at the old parameters: the mean over its samples, in the order of :attr:`draws`.

        They come from the losses per sample that the module gives, in whose mean :attr:`loss` need not be: it may have
        weights, or terms that are of no sample.

        Raises:
            RuntimeError: if a batch has samples of several draws, and the module gives no loss per sample.
        """
        for micro in self.micro_batches:
            if len(micro.draws) > 1 and micro.losses is None:
                raise RuntimeError(micro.no_losses)
        return self.micro_batches.of_draws(MicroBatch.draw_losses)

    @property
    def cost(self) -> float:
        """Cost of the step; the mean over micro-batches under accumulation."""
        return mean([mean(micro.costs) for micro in self.micro_batches])

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches of the step so far, on this rank."""
        return len(self.micro_batches)

    @property
    def batch(self) -> Any:
        """The training batch, on the module's device; the last micro-batch under accumulation."""
        return self.micro_batches.last.batch

    def probe_loss(self, batch: Any = None) -> float:
        """Evaluate the loss at the present parameters, leaving no trace in the module, its logs or the random streams.

        Args:
            batch: the batch to evaluate, on the module's device. ``None``: the training batch; the mean over the
                micro-batches under accumulation. Either starts from what the (last) training step started from: random
                numbers, buffers and all the rest, so that losses before and after the step differ by the trained
                parameters alone. The module is given a copy of the batch.
        """
        if batch is None:
            return mean([self._evaluated(micro.batch, micro, self._loss_of) for micro in self.micro_batches])
        return self._evaluated(batch, self.micro_batches.last, self._loss_of)

    def probe_losses(self, batch: Any = None) -> list[float]:
        """Evaluate the loss of each draw at the present parameters, as :meth:`probe_loss` does for the whole batch.

        Args:
            batch: from :meth:`sample_slots`, of which the loss of each slot is returned. ``None``: the training batch,
                and the loss of each of :attr:`draws`; the mean over its micro-batches under accumulation.

        Raises:
            RuntimeError: if a batch has samples of several draws, and the module gives no loss per sample.
        """
        if batch is None:
            return self.micro_batches.of_draws(lambda micro: self._evaluated(micro.batch, micro, self._losses_of))
        return self._evaluated(batch, self.micro_batches.last, self._losses_of)

    def _evaluated(self, batch: Any, micro: MicroBatch, evaluate: Callable[[Any, MicroBatch], T]) -> T:
        tasks = next((tasks for sampled, tasks in self._sampled if sampled is batch), in_hand(micro.draws))
        with self._in_hand(tasks):
            return evaluate(batch, micro)

    def _losses_of(self, batch: Any, micro: MicroBatch) -> list[float]:
        slots = len(micro.draws)
        if slots == 1:
            return [self._loss_of(batch, micro)]
        return slot_means(self._probe.losses(batch, micro.batch_idx, micro.start, self.batch_size), slots)

    def _loss_of(self, batch: Any, micro: MicroBatch) -> float:
        loss = self._probe.loss(batch, micro.batch_idx, micro.start)
        # Lightning divides the training loss for the accumulation of gradients: rounded alike, equal losses stay equal.
        exact = self.accumulation == 1 or self._probe.is_custom
        return float(loss if exact else loss / self.accumulation * self.accumulation)

    def sample(self, task: str | None = None) -> Any:
        """Return a fresh batch, independent of those trained on, on the module's device.

        Args:
            task: name of a task, or :attr:`target`; ``None``: the task of the step.
        """
        return self._fresh(self.task if task is None else task)

    def sample_slots(self, draws: tuple[Draw, ...]) -> Any:
        """Return a fresh batch with a slot for each of these draws, as the training batches have.

        Args:
            draws: one of :attr:`draw_sets`.
        """
        return self._fresh(in_hand(draws))

    def _fresh(self, tasks: InHand) -> Any:
        if self._sample is None:
            raise RuntimeError("a signal that calls step.sample() must declare needs_samples = True")
        with self._in_hand(tasks):
            batch = self._sample(tasks)
        self._sampled.append((batch, tasks))
        return batch

    @contextmanager
    def _in_hand(self, tasks: InHand) -> Iterator[None]:
        before, self.task_in_hand = self.task_in_hand, tasks
        try:
            yield
        finally:
            self.task_in_hand = before

    def random_task(self) -> str:
        """Return a task drawn uniformly, the same for this step on every rank and after a resume."""
        numbers = CounterGenerator(self._seed, Stream.PROBE_TASK).at(self.draws[0].id)
        return self.tasks[int(numbers.integers(len(self.tasks)))]

    # ---------------------------------------------------------------- for the callback

    def add(self, micro: MicroBatch) -> None:
        """Begin with a micro-batch."""
        self.micro_batches.add(micro)
        self.task_in_hand = in_hand(micro.draws)

    def close(self) -> None:
        """Let go of the batches; the loss stays."""
        self.micro_batches.clear()
        self._sampled.clear()
        self.notes.clear()
        self.closed = True


def in_hand(draws: tuple[Draw, ...]) -> InHand:
    """Return the name of the one task, or the names of the tasks of the slots."""
    return draws[0].task if len(draws) == 1 else tuple(draw.task for draw in draws)
