"""What every scaler must do. One in ``curricula.rewards`` is tested here from the moment it exists."""

from __future__ import annotations

import inspect

import pytest

from curricula import rewards
from curricula.rewards import QuantileScaler, RewardScaler
from curricula.testing import ScalerContract


def scaler_classes():
    """Return every concrete scaler of the package."""
    found = [kind for kind in vars(rewards).values() if inspect.isclass(kind) and issubclass(kind, RewardScaler)]
    return [kind for kind in found if not inspect.isabstract(kind)]


CASES = {
    **{f"{kind.__name__}()": kind for kind in scaler_classes()},
    "paper": QuantileScaler.paper,
    "short window": lambda: QuantileScaler(window=12),
    "short reservoir": lambda: QuantileScaler(window=12, reservoir=True),
    "no warm-up": lambda: QuantileScaler(window=50, warmup=1),
    "from the least to the largest": lambda: QuantileScaler(low=0.0, high=1.0, window=20, warmup=2),
}


class TestEveryScaler(ScalerContract):
    """The contract, over all of ours."""

    @pytest.fixture(autouse=True, params=CASES)
    def _of_the_case(self, request, any_seed):
        self.case, self.seed = request.param, any_seed

    def make(self):
        return CASES[self.case]()


def test_the_known_scalers_are_found():
    assert QuantileScaler in scaler_classes()
