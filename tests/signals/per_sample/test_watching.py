"""The hooks: they perturb nothing, go away, and see every way of training."""

from __future__ import annotations

import copy
import gc
import weakref

import pytest
import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from curricula.signals.per_sample import PerSampleGradients
from tests.signals.per_sample.reference import assert_agrees, changes_of, close, gradients, mean_of_squares, measured


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 8), nn.ReLU(inplace=True), nn.Dropout(0.5), nn.LayerNorm(8), nn.Linear(8, 2))


def hooks_of(module: nn.Module) -> int:
    return sum(
        len(part._forward_hooks)
        + len(part._forward_pre_hooks)
        + len(part._backward_hooks)
        + len(part._backward_pre_hooks)
        for part in module.modules()
    )


def trained(watched: bool):
    module = network()
    optimizer = torch.optim.Adam(module.parameters())
    per_sample = PerSampleGradients(module)
    for _ in range(5):
        if watched:
            per_sample.clear()
            per_sample.start(6)
        optimizer.zero_grad()
        module(torch.randn(6, 4)).square().mean().backward()
        if watched:
            per_sample.stop()
            per_sample.gram()
            per_sample.squared_norms(2)
        old = {name: p.detach().clone() for name, p in module.named_parameters()}
        optimizer.step()
        if watched:
            per_sample.inner_products({name: p.detach() - old[name] for name, p in module.named_parameters()})
    return [*module.state_dict().values(), *(p.grad for p in module.parameters()), torch.get_rng_state()]


def test_a_training_is_the_same_bit_by_bit():
    assert all(torch.equal(a, b) for a, b in zip(trained(True), trained(False), strict=True))


def test_hooks_are_there_only_while_it_watches():
    module = network()
    per_sample = PerSampleGradients(module)
    assert hooks_of(module) == 0
    with per_sample.watch(6):
        assert hooks_of(module) == 3
        module(torch.randn(6, 4)).square().mean().backward()
    assert hooks_of(module) == 0
    norms = per_sample.squared_norms()
    module(torch.randn(6, 4)).square().mean().backward()
    assert torch.equal(per_sample.squared_norms(), norms)
    per_sample.stop()  # again: nothing to do


def test_after_an_error_nothing_is_left():
    module = network()
    per_sample = PerSampleGradients(module)
    with pytest.raises(RuntimeError, match="grad_output"), per_sample.watch(6):
        module(torch.randn(6, 4)).backward(torch.zeros(3))
    assert hooks_of(module) == 0
    with pytest.raises(RuntimeError, match="nothing was noted"):
        per_sample.squared_norms()
    per_sample.start(6)
    per_sample.clear()
    assert hooks_of(module) == 0


def test_nothing_is_held_after_it_is_cleared_nor_of_calls_without_a_backward_pass():
    module = nn.Linear(4, 2)
    per_sample = PerSampleGradients(module)
    held = []

    def seen(layer, args, output):
        held.append(weakref.ref(args[0].untyped_storage()))

    handle = module.register_forward_hook(seen)
    with per_sample.watch(6):
        module(torch.randn(6, 4))  # to nothing
        assert held[0]() is None
        module(torch.randn(6, 4)).square().mean().backward()
    handle.remove()
    assert len(per_sample._batches[0].uses) == 1
    kept = weakref.ref(per_sample._batches[0].uses[0].kept[0])
    per_sample.clear()
    assert kept() is None


def test_validation_within_a_step_does_not_count():
    module = network().eval().double()
    inputs = torch.randn(4, 4).double()
    per_sample = PerSampleGradients(module)
    with per_sample.watch(4):
        with torch.no_grad():
            module(torch.randn(7, 4).double())
        with torch.inference_mode():
            module(torch.randn(7, 4).double())
        mean_of_squares(module(inputs)).mean().backward()
    assert per_sample.coverage().share == 1.0
    assert_agrees(per_sample, gradients(module, inputs), changes_of(module))


def test_a_graph_that_is_kept_gives_the_sum_of_its_backward_passes():
    layer = nn.Linear(4, 2).double()
    inputs = torch.randn(4, 4).double()
    per_sample = PerSampleGradients(layer)
    with per_sample.watch(4):
        loss = mean_of_squares(layer(inputs)).mean()
        loss.backward(retain_graph=True)
        loss.backward()
    expected = {name: 2 * gradient for name, gradient in gradients(layer, inputs).items()}
    assert_agrees(per_sample, expected, changes_of(layer))
    assert per_sample.coverage().share == 1.0


class Words(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(5, 3)
        self.layer = nn.Linear(3, 5)
        self.layer.weight = self.embedding.weight

    def forward(self, tokens):
        hidden = self.embedding(tokens)
        return self.layer(hidden) if tokens.shape[1] > 2 else hidden


def test_micro_batches_of_other_sizes_and_lengths_come_one_after_another():
    torch.manual_seed(0)
    module = Words().double()
    batches = [torch.randint(5, (4, 3)), torch.randint(5, (2, 6)), torch.randint(5, (6, 2))]
    per_sample = PerSampleGradients(module)
    for tokens in batches:
        with per_sample.watch(len(tokens), loss_scale=1 / 3):
            (mean_of_squares(module(tokens)).mean() / 3).backward()
    parts = [gradients(module, tokens) for tokens in batches]
    expected = {name: torch.cat([part[name] for part in parts]) for name in parts[0]}
    change = changes_of(module)
    wanted = torch.cat([gradient.flatten(1) for gradient in expected.values()], 1)
    close(per_sample.gram(), wanted @ wanted.T, 1e-10)
    close(per_sample.squared_norms(), (wanted @ wanted.T).diag(), 1e-10)
    close(per_sample.inner_products(change), wanted @ torch.cat([c.flatten() for c in change.values()]), 1e-10)
    slots = torch.stack([part.sum(0) for size in (wanted[:4], wanted[4:6], wanted[6:]) for part in size.chunk(2)])
    close(per_sample.gram(2), slots @ slots.T, 1e-10)


@pytest.mark.parametrize("reentrant", [True, False])
def test_checkpointed_layers_count_once(reentrant):
    module = network().eval().double()
    inputs = torch.randn(4, 4).double().requires_grad_()
    per_sample = PerSampleGradients(module)
    with per_sample.watch(4):
        hidden = checkpoint(module[:3], inputs, use_reentrant=reentrant)
        mean_of_squares(module[3:](hidden)).mean().backward()
    assert per_sample.coverage().share == 1.0
    assert_agrees(per_sample, gradients(module, inputs.detach()), changes_of(module))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_under_autocast_with_a_scaled_loss(dtype):
    module = network().eval()
    inputs = torch.randn(4, 4)
    per_sample = PerSampleGradients(module)
    scale = torch.tensor(1024.0)
    with per_sample.watch(4, loss_scale=scale):
        with torch.autocast("cpu", dtype=dtype):
            loss = mean_of_squares(module(inputs)).mean()
        (loss * scale).backward()
    scale.mul_(2)  # as a gradient scaler does after a while
    expected, changes = gradients(module, inputs), changes_of(module)
    changes_vector = torch.cat([change.flatten() for change in changes.values()])
    with torch.autocast("cpu", dtype=dtype):  # what is measured is computed in single precision all the same
        found = per_sample.inner_products(changes), per_sample.squared_norms(), per_sample.gram()
    rows = torch.cat([gradient.flatten(1) for gradient in expected.values()], 1)
    gram = rows @ rows.T
    for actual, wanted in zip(found, (rows @ changes_vector, gram.diag(), gram), strict=True):
        close(actual, wanted, 2e-2)
    assert per_sample.coverage().share == 1.0


def test_a_module_in_half_precision_is_summed_in_single():
    module = network().eval().bfloat16()
    per_sample = measured(module, torch.randn(4, 4).bfloat16())
    assert per_sample.gram().dtype == per_sample.inner_products(changes_of(module)).dtype == torch.float32
    assert per_sample.coverage().share == 1.0


def test_layers_that_are_frozen_and_thawed():
    module = network().eval().double()
    inputs = torch.randn(4, 4).double()
    per_sample = PerSampleGradients(module)
    for frozen in (True, False):
        module[0].requires_grad_(not frozen)
        per_sample.clear()
        with per_sample.watch(4):
            mean_of_squares(module(inputs)).mean().backward()
        assert ("0.weight" in per_sample.coverage().covered) is not frozen
        assert per_sample.coverage().share == 1.0
        assert_agrees(per_sample, gradients(module, inputs), changes_of(module))


def test_a_copy_of_the_module_does_not_report():
    module = network().eval().double()
    inputs = torch.randn(4, 4).double()
    per_sample = PerSampleGradients(module)
    with per_sample.watch(4):
        twin = copy.deepcopy(module)
        (mean_of_squares(module(inputs)).mean() + twin(inputs).sum()).backward()
    assert_agrees(per_sample, gradients(module, inputs), changes_of(module))


def test_under_distributed_data_parallel(tmp_path):
    torch.distributed.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        module = network().eval().double()
        inputs = torch.randn(4, 4).double()
        per_sample = PerSampleGradients(module)
        parallel = nn.parallel.DistributedDataParallel(module)
        with per_sample.watch(4):
            mean_of_squares(parallel(inputs)).mean().backward()
        assert per_sample.coverage().share == 1.0
        assert_agrees(per_sample, gradients(module, inputs), changes_of(module))
    finally:
        torch.distributed.destroy_process_group()


def test_it_goes_away_with_its_owner():
    module = network()
    per_sample = measured(module, torch.randn(4, 4))
    gone = weakref.ref(per_sample)
    del per_sample
    gc.collect()
    assert gone() is None
