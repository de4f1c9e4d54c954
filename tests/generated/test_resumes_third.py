"""Resumes of the third third of the generated ways to train: files are what is spread over processes."""

from __future__ import annotations

import pytest

from tests.generated.resumes import SEEDS, check_resumes
from tests.generated.ways import make_way

OWN_SEEDS = SEEDS[2::3]


@pytest.mark.parametrize("seed", OWN_SEEDS)
def test_every_resume_of_a_generated_trainer_is_exact(seed, tmp_path):
    check_resumes(make_way(seed), tmp_path)
