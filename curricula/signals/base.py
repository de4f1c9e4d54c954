"""What every signal is: something measured around one optimiser step, larger when more was learned."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar

if TYPE_CHECKING:
    from torch import nn

    from curricula.signals.step import Step


class Signal(ABC):
    """Learning progress of one optimiser step.

    The callback calls :meth:`before_step` when the gradients are there and the parameters are still old, and
    :meth:`after_step` when the parameters are new. What belongs to a step is kept in ``step.notes``. A signal that
    remembers something from one step to the next, such as a mean per task, implements :meth:`reset`,
    :meth:`state_dict` and :meth:`load_state_dict`; its memory is then part of every checkpoint. Where it is of what was
    measured before, :meth:`compare` is the place for it: there it is the same on all ranks.

    Example:
        A signal of one's own, the loss itself (as in online data mixing):

        >>> class Loss(Signal):
        ...     needs_loss = True
        ...
        ...     def after_step(self, step):
        ...         return step.loss
        ...
        ...     def after_step_per_draw(self, step):  # for steps with several draws
        ...         return step.losses
    """

    per_draw: ClassVar[bool] = False
    """Can tell the draws of a step apart. A class need not say so: one that defines :meth:`after_step_per_draw` can,
    and one that defines another :meth:`after_step` alone cannot."""

    needs_loss: ClassVar[bool] = False
    """Reads ``step.loss``: the training step must return a loss, or the module define ``curriculum_loss``."""

    needs_probe: ClassVar[bool] = False
    """Calls ``step.probe_loss()``: the random state of the step is kept for it."""

    needs_gradients: ClassVar[bool] = False
    """Reads ``step.gradients()`` in :meth:`before_step`."""

    needs_parameters: ClassVar[bool] = False
    """Reads the parameters themselves, by ``step.parameters()`` or ``step.module``."""

    supports_shards: ClassVar[bool] = True
    """Works where parameters and gradients are sharded over processes (FSDP2), as ``DTensor``."""

    needs_samples: ClassVar[bool] = False
    """Calls ``step.sample()``: fresh batches, independent of those trained on."""

    needs_target: ClassVar[bool] = False
    """Reads ``step.target``: the callback must be given ``target=``."""

    needs_micro_batches: ClassVar[bool] = False
    """Compares the micro-batches of a step: the trainer must accumulate two or more."""

    needs_outputs: ClassVar[bool] = False
    """Reads ``step.outputs`` in :meth:`after_batch`: what the training step has returned."""

    needs_validation: ClassVar[bool] = False
    """Learns from the metrics of validations: the trainer must validate. A class need not say so: one that defines
    :meth:`after_validation` does."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Set :attr:`per_draw` and :attr:`needs_validation` by the methods that the class defines."""
        super().__init_subclass__(**options)
        own = vars(cls)
        if "per_draw" not in own and ("after_step" in own or "after_step_per_draw" in own):
            cls.per_draw = "after_step_per_draw" in own
        if "needs_validation" not in own and "after_validation" in own:
            cls.needs_validation = True

    def check(self, module: nn.Module, target: str | None) -> None:
        """Refuse, before training starts, a module or target that the signal cannot work with.

        Raises:
            ValueError: what is missing and how to give it.
        """
        if self.needs_target and target is None:
            raise ValueError(
                f"{type(self).__name__} needs a target task: give CurriculumCallback(target=<name of a task>)"
            )

    def check_tasks(self, tasks: Sequence[str]) -> None:  # noqa: B027 - optional: most signals name no task
        """Refuse, before the first step, tasks that the signal cannot work with. Called with other tasks again.

        Args:
            tasks: names of all tasks.

        Raises:
            ValueError: what does not fit.
        """

    def before_batch(self, step: Step) -> None:  # noqa: B027 - optional: few signals look into the forward pass
        """Prepare for the forward pass of a batch. Called before every batch of the step is trained on."""

    def after_batch(self, step: Step) -> None:  # noqa: B027 - as above
        """Take back what :meth:`before_batch` did. Called when the batch was trained on."""

    def after_backward(self, step: Step) -> None:  # noqa: B027 - optional: most signals look at whole steps
        """Measure with the gradients of the micro-batches so far. Called after every backward pass of the step."""

    def before_step(self, step: Step) -> None:  # noqa: B027 - optional: signals of the loss alone have nothing to do
        """Measure with the old parameters. Called at every optimiser step of the draw (one, unless done by hand)."""

    @abstractmethod
    def after_step(self, step: Step) -> float | None:
        """Return the raw progress, larger when more was learned; any unit. Called where the step has one draw.

        ``None`` means that it is not known yet, as on the first visit to a task where two are compared: the draw is
        closed without a reward and without a word. NaN means that something went wrong: it is counted and warned of.
        """

    def after_step_per_draw(self, step: Step) -> Sequence[float | None]:
        """Return the raw progress of each of ``step.draws``, in their order. Called where the step has several draws.

        What each may be: see :meth:`after_step`. A draw with NaN or ``None`` costs the others nothing.

        Raises:
            NotImplementedError: if the signal cannot tell the draws of a step apart; training does not start with it.
        """
        raise NotImplementedError(f"{type(self).__name__} cannot tell the draws of a step apart")

    def compare(self, task: str, value: float) -> float | None:
        """Return the progress of a draw, where it is the comparison of what was measured with what was before.

        Called for every draw of a step that was made, in their order, after :meth:`after_step`; on several ranks with
        the mean over them, for all of their draws. So what is remembered here is the same on all. Not called for
        draws whose value is not finite or not known.

        Args:
            task: name of the draw's task.
            value: what :meth:`after_step` or :meth:`after_step_per_draw` has returned for the draw, finite.

        Returns:
            The progress, or ``None`` if it is not known yet; by default the value itself.
        """
        return value

    def after_validation(self, metrics: Mapping[str, float], tasks: Sequence[str]) -> None:  # noqa: B027 - optional
        """Learn from the metrics of a validation. Called after each in the course of a training.

        Args:
            metrics: what was logged since the last validation and in this one, by name as in
                ``trainer.callback_metrics``. On several ranks the mean over those that logged it.
            tasks: names of all tasks.
        """

    def let_go(self) -> None:  # noqa: B027 - optional: most signals leave the module alone
        """Take back what was put into the module. Called when a training is over, also by an error."""

    def reset(self) -> None:  # noqa: B027 - optional: most signals remember nothing
        """Forget everything. Called when a training begins that does not go on from another."""

    def state_dict(self) -> dict[str, Any]:
        """Return what the signal remembers from one step to the next; by default nothing.

        Plain containers, numbers, text and tensors, keyed by the names of the tasks where it is per task.
        """
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Remember what :meth:`state_dict` returned.

        Raises:
            ValueError: if the signal has no memory, or the state does not fit.
        """
        raise ValueError(
            f"the checkpoint has a memory of the signal {type(self).__name__} ({sorted(map(str, state))}), which has "
            f"none now: implement {type(self).__name__}.load_state_dict, or start the curriculum anew"
        )
