"""What a signal may ask about the optimiser step in hand."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from curricula.batches import copied
from curricula.randomness import CounterGenerator, Stream
from curricula.signals.moment import Moment
from curricula.signals.probe import Probe

if TYPE_CHECKING:
    from curricula.teacher import Draw


class MicroBatch:
    """One batch of a step, with what is needed to run it again.

    Attributes:
        batch: as the training step is given it; a copy, from :meth:`begin` on.
        batch_idx: of the batch in its epoch.
        start: what the training step started from; ``None`` where nothing is run again.
        loss: of the training step.
        cost: of the batch.
    """

    __slots__ = ("batch", "batch_idx", "cost", "loss", "start")

    def __init__(self, batch: Any, batch_idx: int) -> None:
        self.batch = batch
        self.batch_idx = batch_idx
        self.start: Moment | None = None
        self.loss: Tensor | float | None = None
        self.cost = 1.0

    def begin(self, start: Moment) -> None:
        """Keep what the training step starts from, and the batch before it is taken apart."""
        self.start = start
        self.batch = copied(self.batch)


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
        gradients_stay: whether nothing at all writes to the gradients until ``after_step``. If not, a signal that needs
            them there keeps copies: the trainer clips them, the optimiser or a second backward pass may write to them.
        task_in_hand: name of the task of the batch that is being sampled or evaluated: that of the step, but for
            batches of :meth:`sample`.
        world_size: ranks whose gradients are averaged.
        notes: a place for the signal to keep what it measured in ``before_step`` until ``after_step``.
        closed: whether the draw was rewarded or discarded; nothing can be measured any more.
    """

    __slots__ = (
        "_gradient_scale",
        "_loss",
        "_micro_batches",
        "_optimizer",
        "_probe",
        "_sample",
        "_sampled",
        "_seed",
        "_unclipped",
        "accumulation",
        "clips",
        "closed",
        "draw",
        "gradients_stay",
        "module",
        "notes",
        "target",
        "task",
        "task_in_hand",
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
        self.gradients_stay = False
        self.task_in_hand = self.task
        self.notes: dict[str, Any] = {}
        self.module = module
        self._probe = probe
        self.closed = False
        self._micro_batches: list[MicroBatch] = []
        self._sampled: list[tuple[Any, str]] = []
        self._optimizer: torch.optim.Optimizer | None = None
        self._gradient_scale = 1.0
        self._unclipped: dict[int, Tensor] = {}
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
                micro-batches under accumulation. Either starts from what the (last) training step started from: random
                numbers, buffers and all the rest, so that losses before and after the step differ by the trained
                parameters alone. The module is given a copy of the batch.
        """
        if batch is None:
            return _mean([self._loss_of(micro.batch, micro) for micro in self._micro_batches])
        with self._in_hand(next((task for sampled, task in self._sampled if sampled is batch), self.task)):
            return self._loss_of(batch, self._micro_batches[-1])

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
        if self._sample is None:
            raise RuntimeError("a signal that calls step.sample() must declare needs_samples = True")
        task = self.task if task is None else task
        with self._in_hand(task):
            batch = self._sample(task)
        self._sampled.append((batch, task))
        return batch

    @contextmanager
    def _in_hand(self, task: str) -> Iterator[None]:
        before, self.task_in_hand = self.task_in_hand, task
        try:
            yield
        finally:
            self.task_in_hand = before

    def random_task(self) -> str:
        """Return a task drawn uniformly, the same for this draw on every rank and after a resume."""
        numbers = CounterGenerator(self._seed, Stream.PROBE_TASK).at(self.draw.id)
        return self.tasks[int(numbers.integers(len(self.tasks)))]

    def parameters(self) -> list[Tensor]:
        """Return the trainable parameters (not copies)."""
        return [parameter for parameter in self.module.parameters() if parameter.requires_grad]

    def trained_parameters(self) -> list[Tensor]:
        """Return the parameters that have a gradient (not copies), in the order of :meth:`gradients`.

        Of several optimisers, those of the one that steps.
        """
        with_gradients = [parameter for parameter in self.module.parameters() if parameter.grad is not None]
        if self._optimizer is None:
            return with_gradients  # type: ignore[return-value]
        own = {id(parameter) for group in self._optimizer.param_groups for parameter in group["params"]}
        return [parameter for parameter in with_gradients if id(parameter) in own]

    def gradients(self) -> list[Tensor]:
        """Return the gradients of the step's loss: unscaled and unclipped.

        Only valid in ``before_step`` and, for the micro-batches so far, in ``after_backward``.
        """
        gradients = self.kept_gradients()
        if self._gradient_scale != 1.0:
            return list(torch._foreach_div(gradients, self._gradient_scale))
        return gradients

    def kept_gradients(self) -> list[Tensor]:
        """Return the gradients as they are, in the order of :meth:`trained_parameters`; those from before a clipping.

        They may still be multiplied by :attr:`gradient_scale`.
        """
        kept = self._unclipped
        return [
            kept.get(id(parameter), parameter.grad) if kept else parameter.grad
            for parameter in self.trained_parameters()
            if parameter.grad is not None
        ]

    # ---------------------------------------------------------------- for the callback

    def keep_unclipped(self, optimizer: torch.optim.Optimizer) -> None:
        """Keep the gradients of an optimiser, which are about to be clipped by hand, until its step is over."""
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None and id(parameter) not in self._unclipped:
                    self._unclipped[id(parameter)] = parameter.grad.detach().clone()

    def forget_unclipped(self) -> None:
        """Let go of what :meth:`keep_unclipped` kept."""
        self._unclipped.clear()

    def add(self, micro: MicroBatch) -> None:
        """Add a micro-batch."""
        self._micro_batches.append(micro)
        self._loss = None

    def set_optimizer(self, optimizer: torch.optim.Optimizer, *, gradients_stay: bool = False) -> None:
        """Set the optimiser whose parameters are trained, and whether their gradients are left alone until the end."""
        self._optimizer = optimizer
        self.gradients_stay = gradients_stay

    def leave_out_first(self) -> None:
        """Leave out the first micro-batch, on which nothing was trained, now that there is another one."""
        del self._micro_batches[0]
        self._loss = None

    def leave_out_last(self) -> bool:
        """Leave out the last micro-batch, on which nothing was trained; ``False`` if it is the only one."""
        if len(self._micro_batches) == 1:
            return False
        self._micro_batches.pop()
        self._loss = None
        return True

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
        self._sampled.clear()
        self.notes.clear()
        self.closed = True


def _mean(values: list[float]) -> float:
    return values[0] if len(values) == 1 else sum(values) / len(values)
