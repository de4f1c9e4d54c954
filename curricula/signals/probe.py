"""The probe: the module's own loss once more, from where the training step started, without a trace."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from curricula.batches import copied
from curricula.signals.moment import Moment
from curricula.signals.reach import CannotRunAgainError
from curricula.signals.surroundings import Surroundings
from curricula.signals.writes import fingerprint

if TYPE_CHECKING:
    from curricula.signals.micro_batch import MicroBatch

_OWN_LOSS = (
    "The signal runs it a second time, without gradients, to see what the step taught: define "
    "`curriculum_loss(self, batch, batch_idx)` in the module, which returns the loss and changes nothing, "
    "or use a signal of the gradients such as GradientPredictionGain()"
)
_INNER_LOOP = (
    "A step that takes gradients of its own can be run again where it takes them by `torch.func.grad`, or within "
    "`with torch.enable_grad():`. Or else"
)
ONE_LOSS_PER_SAMPLE = (
    'return {"loss": loss, "losses": losses} from training_step, the losses a tensor of shape (batch,), or define '
    "`curriculum_loss(self, batch, batch_idx)` in the module that returns such a tensor. Otherwise train with "
    "CurriculumLoader(draws_per_batch=1)"
)
"""How a module tells the samples of a batch apart."""
_POSITIONAL = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
_ABSENT = object()


class Probe:
    """Runs ``curriculum_loss``, or else ``training_step``, so that nothing can tell that it ran.

    The step starts from what it started from in training, with the trained parameters of now: losses before and after
    an optimiser step differ by these alone. For the time of the probe there are no gradients, ``log`` and ``log_dict``
    do nothing, and the batch is a copy. Afterwards everything is as it was, see
    :class:`~curricula.signals.moment.Moment`.

    Args:
        module: a LightningModule.
        context: makes the precision context (autocast) in which the training step runs.
        trainer: whose optimisers, schedulers and count of steps belong to what a step starts from.
    """

    def __init__(
        self, module: nn.Module, context: Callable[[], AbstractContextManager[Any]], trainer: Any = None
    ) -> None:
        self._module = module
        self._context = context
        self._around = Surroundings(module, trainer)
        custom = getattr(module, "curriculum_loss", None)
        self.is_custom = custom is not None
        """Whether the module defines ``curriculum_loss(batch, batch_idx)``."""
        self._name = "curriculum_loss" if self.is_custom else "training_step"
        takes = inspect.signature(getattr(module, self._name)).parameters
        kinds = [parameter.kind for parameter in takes.values()]
        self._batch_idx_by_name = "batch_idx" in takes
        self._takes_batch_idx = (
            inspect.Parameter.VAR_POSITIONAL in kinds or sum(kind in _POSITIONAL for kind in kinds) > 1
        )
        self._replaced: Any = _ABSENT
        self._waits = False
        self._runs = 0

    # ---------------------------------------------------------------- where a step starts

    def keep_start(self, micro: MicroBatch) -> None:
        """Keep what the step on a batch starts from, for :meth:`loss`.

        A loss of the module's own starts from what is there now. ``training_step`` may be preceded by hooks that set
        or draw something: its start is kept when it is called, by a function that takes its place for that moment.
        """
        self.let_go()
        if self.is_custom:
            micro.begin(Moment(self._around, to_run=True))
            return
        function: Callable[..., Any] = self._module.training_step  # type: ignore[assignment]

        def begin(*args: Any, **kwargs: Any) -> Any:
            self.let_go()
            micro.begin(Moment(self._around, to_run=True))
            return function(*args, **kwargs)

        begin.__wrapped__ = getattr(function, "__wrapped__", function)  # type: ignore[attr-defined]  # for Lightning
        attributes = vars(self._module)
        self._replaced = attributes.get("training_step", _ABSENT)
        attributes["training_step"] = begin
        self._waits = True

    def let_go(self) -> None:
        """Put ``training_step`` back, where it was not called."""
        if not self._waits:
            return
        self._waits = False
        if self._replaced is _ABSENT:
            del vars(self._module)["training_step"]
        else:
            vars(self._module)["training_step"] = self._replaced
        self._replaced = _ABSENT

    # ---------------------------------------------------------------- the loss once more

    def loss(self, batch: Any, batch_idx: int, start: Moment | None) -> Tensor:
        """Return the loss of ``batch`` at the present parameters, shape ``()``.

        Args:
            batch: on the module's device; the step gets a copy.
            batch_idx: given to the step as it was in training.
            start: what the step starts from; ``None``: the present moment.

        Raises:
            RuntimeError: if the step returns no loss, differentiates by itself, reads from an iterator, or writes to
                the parameters in training.
        """
        return self._evaluated(batch, batch_idx, start, as_loss)

    def losses(self, batch: Any, batch_idx: int, start: Moment | None, samples: int | None) -> Tensor:
        """Return the loss of every sample of ``batch`` at the present parameters, shape ``(samples,)``.

        Args:
            batch: as for :meth:`loss`, and so are the others.
            batch_idx: given to the step as it was in training.
            start: what the step starts from; ``None``: the present moment.
            samples: of the batch; ``None`` if unknown.

        Raises:
            RuntimeError: as for :meth:`loss`, and if the step does not return one loss per sample.
        """
        return self._evaluated(batch, batch_idx, start, partial(as_losses, samples=samples))

    def _evaluated(
        self, batch: Any, batch_idx: int, start: Moment | None, taken: Callable[[Any, str], Tensor]
    ) -> Tensor:
        present = Moment(self._around, also=start)
        if start is None:
            start = Moment(self._around, to_run=True)
        elif not start.is_watched_alike():
            raise self._refused("writes to parameters that are not trained and too many to be copied")
        gradients = [parameter.grad for parameter in present.parameters]
        written = self._start_watching(present)
        try:
            start.restore()
            present.silence()
            for parameter, gradient in zip(present.parameters, gradients, strict=True):
                if gradient is not None:
                    parameter.grad = None  # for backward passes of the step's own
            with start.lazy.passed(), torch.no_grad(), self._context():
                loss = taken(self._run(batch, batch_idx), self._name).clone()  # which may be restored as well
        finally:
            present.restore()
            for parameter, gradient in zip(present.parameters, gradients, strict=True):
                parameter.grad = gradient
        present.restore_versions()
        shard_again(self._module)
        if written():
            raise self._refused("writes to parameters (a moving average, say)")
        return loss

    def _run(self, batch: Any, batch_idx: int) -> Any:
        arguments: dict[str, Any] = {}
        positional = [copied(batch)]
        if self._batch_idx_by_name:
            arguments["batch_idx"] = batch_idx
        elif self._takes_batch_idx:
            positional.append(batch_idx)
        try:
            return getattr(self._module, self._name)(*positional, **arguments)
        except CannotRunAgainError as error:
            raise self._refused(str(error)) from error
        except RuntimeError as error:
            if "require grad" in str(error):
                way_out = _OWN_LOSS if self.is_custom else f"{_INNER_LOOP}: {_OWN_LOSS[0].lower()}{_OWN_LOSS[1:]}"
                raise RuntimeError(f"`{self._name}` differentiates by itself ({error}). {way_out}") from error
            raise

    def _start_watching(self, present: Moment) -> Callable[[], bool]:
        """Return a function that tells whether parameters that are not put back have been written to.

        Writes raise the version of a tensor, but for those to ``tensor.data``. These are looked for by the bits of
        all values, in the first probe, the second, the fourth, the eighth, and so on.
        """
        versions = [parameter._version for parameter in present.trained]
        self._runs += 1
        often = self._runs & (self._runs - 1)
        watched = [*present.trained, *(parameter for parameter, *_ in present.watched)]
        bits = None if often else fingerprint(watched)

        def written() -> bool:
            return (
                [parameter._version for parameter in present.trained] != versions
                or not present.is_watched_alike()
                or (bits is not None and fingerprint(watched) != bits)
            )

        return written

    def _refused(self, reason: str) -> RuntimeError:
        return RuntimeError(f"`{self._name}` {reason}. {_OWN_LOSS}")


def shard_again(module: nn.Module) -> None:
    """Let go of the whole parameters that a forward pass under FSDP2 leaves behind where no backward pass follows.

    The next forward pass would take them for the parameters, although the optimiser has changed the shards.
    """
    for part in module.modules():
        reshard = getattr(part, "reshard", None)
        if callable(reshard) and callable(getattr(part, "unshard", None)):
            reshard()


def as_loss(output: Any, name: str) -> Tensor:
    """Return the loss in what a training step returned, detached, shape ``()``.

    Args:
        output: of the step.
        name: of the step. ``curriculum_loss`` may return one loss per sample, of which the mean is taken.

    Raises:
        RuntimeError: if there is none.
    """
    loss = output.get("loss") if isinstance(output, (dict, Mapping)) else output  # dict first: it is quicker to tell
    if name == "curriculum_loss" and isinstance(loss, Tensor) and loss.ndim == 1 and loss.numel() > 1:
        loss = loss.mean()
    if not isinstance(loss, Tensor) or loss.numel() != 1:
        raise RuntimeError(
            f"`{name}` returned no loss (a tensor of one number, or a dict with the key 'loss') but {_brief(output)}: "
            "return the loss, or define `curriculum_loss(self, batch, batch_idx)` in the module that returns it"
        )
    if loss.requires_grad:
        loss = loss.detach()
    return loss if loss.ndim == 0 else loss.reshape(())


def as_losses(output: Any, name: str, samples: int | None) -> Tensor:
    """Return the losses of the samples in what a training step returned, detached, shape ``(samples,)``.

    Args:
        output: of the step: a dict with the key ``"losses"``, or of ``curriculum_loss`` the losses themselves.
        name: of the step.
        samples: of the batch; ``None`` if unknown.

    Raises:
        RuntimeError: if it has no losses of that shape.
    """
    losses = output.get("losses") if isinstance(output, Mapping) else output if name == "curriculum_loss" else None
    if losses is None:
        raise RuntimeError(
            f"the batch has samples of several draws, and `{name}` returned no loss per sample but {_brief(output)}: "
            f"{ONE_LOSS_PER_SAMPLE}"
        )
    if not isinstance(losses, Tensor) or losses.ndim != 1 or (samples is not None and len(losses) != samples):
        raise RuntimeError(
            f"the losses that `{name}` returned must be one per sample of the batch, shape "
            f"({'batch' if samples is None else samples},), got {_brief(losses)}: take the mean over all other "
            "dimensions, `losses.flatten(1).mean(1)`, and none over the samples"
        )
    return losses.detach()


def _brief(output: Any) -> str:
    if isinstance(output, Tensor):
        return f"a tensor of shape {tuple(output.shape)}"
    if isinstance(output, Mapping):
        return f"a dict with the keys {sorted(map(str, output))}"
    return f"{output!r}"[:80]


@contextmanager
def untouched(module: nn.Module) -> Iterator[None]:
    """Put everything that a forward pass may change in ``module`` back afterwards, and silence its logging meanwhile.

    What that is: :class:`~curricula.signals.moment.Moment`.
    """
    before = Moment(Surroundings(module))
    try:
        before.silence()
        yield
    finally:
        before.restore()
        before.restore_versions()
