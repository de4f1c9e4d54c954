"""What a run came to, out of its last checkpoint: equal for two runs only if every step was."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from curricula import CurriculumCallback


def outcome(checkpoint: Path) -> dict[str, Any]:
    """Return the arms, the losses, the digests of the curriculum and its loader, and the weights, bit for bit."""
    content = torch.load(checkpoint, weights_only=True)
    curriculum = CurriculumCallback(seed=0)
    curriculum.load_state_dict(content["callbacks"]["CurriculumCallback"])
    (optimizer,) = content["optimizer_states"]
    return {
        "step": content["global_step"],
        "arms": curriculum.history.column("arm").tolist(),
        "losses": curriculum.history.column("loss").tolist(),
        "curriculum": curriculum.teacher.state_dict()["sha256"],
        "loader": content["loops"]["fit_loop"]["state_dict"]["combined_loader"][0]["sha256"],
        "weights": {name: value.tolist() for name, value in content["state_dict"].items()},
        "moments": [state["exp_avg_sq"].tolist() for state in optimizer["state"].values()],
    }
