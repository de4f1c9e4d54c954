"""What a signal may ask about the optimiser step in hand."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from curricula.randomness import CounterGenerator, Stream
from curricula.signals.probe import Probe, same_batch
from curricula.signals.random_state import RandomState

if TYPE_CHECKING:
    from curricula.teacher import Draw


class MicroBatch:
    """One batch of a step, with what is needed to run it again."""

    __slots__ = ("batch", "batch_idx", "cost", "loss", "random_state")

    def __init__(self, batch: Any, batch_idx: int, random_state: RandomState | None) -> None:
        # Only what is run again must be kept from a training step that takes things out of its batch.
        self.batch = batch if random_state is None else same_batch(batch)
        self.batch_idx = batch_idx
        self.random_state = random_state
        self.loss: Tensor | float | None = None
        self.cost = 1.0


class Step:
    """One optimiser step on one task: the loss, the gradients, the parameters, and a probe of the loss.

    Attributes:
        module: the module in training.
        draw: the draw that chose the task.
        task: name of the task.
        tasks: names of all tasks, in the order of the arms.
        target: name of the target task, or ``None``.
        accumulation: micro-batches that the trainer accumulates into a step; the last step of an epoch may have fewer.
        clips: whether the trainer may change the gradients between ``before_step`` and the optimiser's step.
        world_size: ranks whose gradients are averaged.
        notes: a place for the signal to keep what it measured in ``before_step`` until ``after_step``.
        closed: whether the draw was rewarded or discarded; nothing can be measured any more.
    """

    __slots__ = (
        "_gradient_scale",
        "_loss",
        "_micro_batches",
        "_probe",
        "_sample",
        "_seed",
        "accumulation",
        "clips",
        "closed",
        "draw",
        "module",
        "notes",
        "target",
        "task",
        "tasks",
        "world_size",
    )

    def __init__(
        self,
        draw: Draw,
        module: nn.Module,
        probe: Probe,
        target: str | None,
        tasks: tuple[str, ...] = (),
        sample: Callable[[str], Any] | None = None,
        seed: int = 0,
        *,
        accumulation: int = 1,
        world_size: int = 1,
        clips: bool = False,
    ) -> None:
        self.draw = draw
        self.task = draw.task
        self.tasks = tasks
        self.target = target
        self._sample = sample
        self._seed = seed
        self.accumulation = accumulation
        self.world_size = world_size
        self.clips = clips
        self.notes: dict[str, Any] = {}
        self.module = module
        self._probe = probe
        self.closed = False
        self._micro_batches: list[MicroBatch] = []
        self._gradient_scale = 1.0
        self._loss: float | None = None

    @property
    def loss(self) -> float:
        """Loss of the training batch at the old parameters; the mean over micro-batches under accumulation.

        NaN where the training step returned none.
        """
        if self._loss is None:
            losses = [micro.loss for micro in self._micro_batches]
            self._loss = _mean([math.nan if loss is None else float(loss) for loss in losses])
        return self._loss

    @property
    def cost(self) -> float:
        """Cost of the step; the mean over micro-batches under accumulation."""
        return _mean([micro.cost for micro in self._micro_batches])

    @property
    def num_micro_batches(self) -> int:
        """Micro-batches of the step so far, on this rank."""
        return len(self._micro_batches)

    @property
    def batch(self) -> Any:
        """The training batch, on the module's device; the last micro-batch under accumulation."""
        return self._micro_batches[-1].batch

    def probe_loss(self, batch: Any = None) -> float:
        """Evaluate the loss at the present parameters, leaving no trace in the module, its logs or the random streams.

        Args:
            batch: the batch to evaluate, on the module's device. ``None``: the training batch; the mean over the
                micro-batches under accumulation. Either is given the random numbers of the (last) training step, so
                that losses before and after the step differ by the parameters alone.
        """
        if batch is not None:
            last = self._micro_batches[-1]
            return float(self._probe.loss(batch, last.batch_idx, last.random_state))
        return _mean(
            [float(self._probe.loss(micro.batch, micro.batch_idx, micro.random_state)) for micro in self._micro_batches]
        )

    def sample(self, task: str | None = None) -> Any:
        """Return a fresh batch, independent of those trained on, on the module's device.

        Args:
            task: name of a task, or :attr:`target`; ``None``: the task of the step.
        """
        if self._sample is None:
            raise RuntimeError("a signal that calls step.sample() must declare needs_samples = True")
        return self._sample(self.task if task is None else task)

    def random_task(self) -> str:
        """Return a task drawn uniformly, the same for this draw on every rank and after a resume."""
        numbers = CounterGenerator(self._seed, Stream.PROBE_TASK).at(self.draw.id)
        return self.tasks[int(numbers.integers(len(self.tasks)))]

    def parameters(self) -> list[Tensor]:
        """Return the trainable parameters (not copies)."""
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def trained_parameters(self) -> list[Tensor]:
        """Return the parameters that have a gradient (not copies), in the order of :meth:`gradients`."""
        return [parameter for parameter in self.module.parameters() if parameter.grad is not None]

    def gradients(self) -> list[Tensor]:
        """Return the gradients of the step's loss: unscaled and unclipped.

        Only valid in ``before_step`` and, for the micro-batches so far, in ``after_backward``.
        """
        gradients = [parameter.grad for parameter in self.module.parameters() if parameter.grad is not None]
        if self._gradient_scale != 1.0:
            return list(torch._foreach_div(gradients, self._gradient_scale))
        return gradients

    # ---------------------------------------------------------------- for the callback

    def add(self, micro: MicroBatch) -> None:
        """Add a micro-batch."""
        self._micro_batches.append(micro)
        self._loss = None

    @property
    def has_loss(self) -> bool:
        """Whether the loss of every micro-batch is known."""
        return all(micro.loss is not None for micro in self._micro_batches)

    def set_loss(self, loss: Tensor | float) -> None:
        """Set the training loss of the last micro-batch."""
        self._micro_batches[-1].loss = loss
        self._loss = None

    @property
    def gradient_scale(self) -> float:
        """What the gradients themselves are multiplied by; :meth:`gradients` has it taken out."""
        return self._gradient_scale

    def set_gradient_scale(self, scale: float) -> None:
        """Set what the gradients are still multiplied by (automatic mixed precision)."""
        self._gradient_scale = scale

    def close(self) -> None:
        """Let go of the batches; the loss stays."""
        self._loss = self.loss
        self._micro_batches.clear()
        self.notes.clear()
        self.closed = True


def _mean(values: list[float]) -> float:
    return values[0] if len(values) == 1 else sum(values) / len(values)
