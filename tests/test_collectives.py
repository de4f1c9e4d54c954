"""Every rank takes part in the same collectives, in the same order, whatever happened on any of them."""

from __future__ import annotations

import math

import pytest
import pytorch_lightning as pl
import torch
from torch.utils.data import DataLoader

from curricula import CurriculumCallback, signals
from tests.models import Rows
from tests.ranks import on_ranks
from tests.test_ranks import Recorder, collate, make_loader, make_trainer

COLLECTIVES = (
    "all_gather",
    "all_gather_into_tensor",
    "all_gather_object",
    "all_reduce",
    "all_to_all",
    "all_to_all_single",
    "barrier",
    "broadcast",
    "broadcast_object_list",
    "gather",
    "gather_object",
    "monitored_barrier",
    "reduce",
    "reduce_scatter",
    "reduce_scatter_tensor",
    "scatter",
    "scatter_object_list",
)
STEPS = 20


class Contrastive(Recorder):
    """Validates in the middle of an epoch, and brings the ranks together within its training step."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        together = loss.detach().clone()
        torch.distributed.all_reduce(together)
        return loss * math.nan if batch_idx in (2, 6) and self.global_rank == 1 else loss + 0.0 * together.clamp(0, 1)

    def on_before_optimizer_step(self, optimizer):
        for parameter in self.parameters():
            parameter.grad.nan_to_num_()

    def validation_step(self, batch, batch_idx):
        self.log("val", super().training_step(batch, batch_idx), sync_dist=True)


def train(folder, signal, independent):
    """Train and return the collectives of this rank, each with the number of bytes where it is of one tensor."""
    seen = []

    def counted(name, function):
        def call(*arguments, **options):
            sizes = [value.nbytes for value in arguments if isinstance(value, torch.Tensor)]
            seen.append([name, *sizes])
            return function(*arguments, **options)

        return call

    for name in COLLECTIVES:
        setattr(torch.distributed, name, counted(name, getattr(torch.distributed, name)))
    pl.seed_everything(0, verbose=False)
    made = getattr(signals, signal)() if signal else None
    target = "large" if signal and signal.startswith("Target") else None
    callback = CurriculumCallback(signal=made, target=target, seed=4, independent_ranks=independent) if signal else None
    fitter = make_trainer(*filter(None, [callback]), max_steps=STEPS, val_check_interval=4, num_sanity_val_steps=1)
    loader = make_loader(8, 2, steps_per_epoch=8, probe_tasks={"stream": Rows(3, 48)})
    validation = DataLoader(Rows(0, 8), batch_size=4, collate_fn=collate)
    fitter.fit(Contrastive(), loader, validation)
    return {"seen": seen, "updates": callback.teacher.updates if callback else 0}


CASES = [
    ("FirstOrderPredictionGain", False, 0),
    ("GradientPredictionGain", False, 0),
    ("PredictionGain", False, 1),
    ("PredictionGain", True, 1),
    ("SelfPredictionGain", False, 2),
    ("TargetPredictionGain", False, 2),
    ("MeanPredictionGain", False, 2),
]


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    stages = [(2, ["", False]), *((2, [signal, independent]) for signal, independent, _ in CASES)]
    return on_ranks(train, tmp_path_factory.mktemp("collectives"), *stages)


@pytest.mark.parametrize("case", CASES, ids=lambda case: f"{case[0]}{', independent' if case[1] else ''}")
def test_ranks_take_part_in_the_same_collectives_and_in_one_more_per_step(case, runs):
    plain, ranks = runs[0], runs[1 + CASES.index(case)]
    _signal, independent, probes = case
    assert ranks[0]["seen"] == ranks[1]["seen"]
    assert ranks[0]["updates"] == ranks[1]["updates"] < STEPS * (2 if independent else 1), "some steps were not finite"
    ours = ["all_gather_into_tensor", 160, 80] if independent else ["all_reduce", 80]
    assert ranks[0]["seen"].count(ours) == STEPS
    assert ours not in plain[0]["seen"]
    of_the_module = ["all_reduce", 4]
    expected = plain[0]["seen"].count(of_the_module) + probes * STEPS
    assert ranks[0]["seen"].count(of_the_module) == expected, "every rank runs every probe"
    rest = [call for call in ranks[0]["seen"] if call not in (ours, of_the_module)]
    assert rest == [call for call in plain[0]["seen"] if call != of_the_module]
