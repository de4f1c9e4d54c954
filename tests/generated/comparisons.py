"""What a resumed run did otherwise than the one that was not interrupted."""

from __future__ import annotations

import torch

from tests.generated.runs import Run


def differences(whole: Run, resumed: Run) -> list[str]:
    """Return one line for everything that is not the same to the last bit; none if the resume was exact."""
    found = []
    expected = whole.steps[resumed.first :]
    if len(resumed.steps) != len(expected):
        found.append(f"{len(resumed.steps)} batches instead of {len(expected)}")
    for part, what in enumerate(("batch", "state after the batch", "learning rate")):
        pairs = zip(resumed.steps, expected, strict=False)
        number = next((k for k, (own, theirs) in enumerate(pairs) if own[part] != theirs[part]), None)
        if number is not None:
            found.append(f"the {what} differs from batch {resumed.first + number} on (number {number} of the resumed)")
    found += [f"{name} of the history" for name in whole.history if resumed.history[name] != whole.history[name]]
    if resumed.teacher != whole.teacher:
        found.append("state of the teacher")
    if resumed.module.keys() != whole.module.keys():
        found.append("names of parameters and buffers")
    else:
        found += [name for name, value in whole.module.items() if not torch.equal(value, resumed.module[name])]
    found += ["optimiser"] if resumed.optimizers != whole.optimizers else []
    found += ["schedule"] if resumed.schedulers != whole.schedulers else []
    return found
