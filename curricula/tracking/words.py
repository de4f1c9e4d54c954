"""What the charts show, in words: for people who cannot see them, and as the figures of a run at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from curricula.tracking.curves import Comparison, median_reached
from curricula.tracking.history import CurriculumHistory
from curricula.tracking.names import counted, shortened
from curricula.tracking.summary import cost_shares, effective_numbers, has_cost, peak_steps, shares

_NAMED = 3
"""Tasks named in a sentence."""


def facts(history: CurriculumHistory) -> dict[str, str]:
    """Return the figures of a run at a glance, name to value.

    Example:
        >>> facts(CurriculumHistory(["easy", "hard"]))
        {'tasks': '2', 'optimiser steps': '0'}
    """
    found = {"tasks": f"{len(history.tasks):,}", "optimiser steps": f"{history.steps:,}"}
    if history.target is not None:
        found["target"] = shortened(history.target, 32)
    if has_cost(history):
        found["cost"] = cost_words(history)
    numbers = effective_numbers(history)
    if len(numbers):
        found["effective tasks at the end"] = f"{numbers[-1]:.1f}"
        found["effective tasks, median"] = f"{np.median(numbers):.1f}"
        share = shares(history)
        most = int(share.argmax())
        found["most practised"] = f"{shortened(history.tasks[most], 32)} ({share[most]:.0%} of the draws)"
        found["tasks never drawn"] = f"{int((history.draws == 0).sum()):,}"
    return found


def policy_words(history: CurriculumHistory) -> str:
    """Return a sentence about the policy over time."""
    steps, policies = history.policies()
    if not len(steps):
        return "No step was recorded."
    numbers = effective_numbers(history)
    least = int(numbers.argmin())
    last = policies[-1]
    top = [int(arm) for arm in np.argsort(-last, kind="stable")[:_NAMED]]
    likely = ", ".join(f"{shortened(history.tasks[arm], 32)} {last[arm]:.0%}" for arm in top)
    return (
        f"Probability of each of {counted(len(history.tasks), 'task')} over {counted(history.steps, 'step')}. Most "
        f"probable at the end: {likely}. Effective number of tasks: {numbers[0]:.1f} at the start, least "
        f"{numbers[least]:.1f} at step {steps[least]:,}, {numbers[-1]:.1f} at the end."
    )


def losses_words(history: CurriculumHistory) -> str:
    """Return a sentence about the losses by task."""
    first, last = history.first_losses, history.last_losses
    known = np.isfinite(first) & np.isfinite(last)
    if not known.any():
        return "No loss was recorded."
    return (
        f"Training loss of each task over time. Median over the tasks: {np.median(first[known]):.3g} at a task's first "
        f"step, {np.median(last[known]):.3g} at its last; {int((last[known] < first[known]).sum())} of "
        f"{counted(int(known.sum()), 'task')} ended lower than they began."
    )


def rewards_words(history: CurriculumHistory) -> str:
    """Return a sentence about the rewards by task."""
    rewards, arms = history.column("reward"), history.column("arm").astype(int)
    known = np.isfinite(rewards)
    if not known.any():
        return "No reward was recorded."
    sums = np.bincount(arms[known], rewards[known], len(history.tasks))
    counts = np.bincount(arms[known], minlength=len(history.tasks))
    means = np.where(counts > 0, sums / np.maximum(counts, 1), -math.inf)
    top = np.argsort(-means, kind="stable")[: min(_NAMED, int((counts > 0).sum()))]
    named = ", ".join(f"{shortened(history.tasks[arm], 32)} {means[arm]:.2f}" for arm in top)
    return f"Mean reward of each task over time, between -1 and 1. Highest over the whole run: {named}."


def draws_words(history: CurriculumHistory) -> str:
    """Return a sentence about the draws by task."""
    share = shares(history)
    named = ", ".join(
        f"{shortened(history.tasks[arm], 32)} {share[arm]:.0%}" for arm in np.argsort(-share, kind="stable")[:_NAMED]
    )
    return f"Share of the draws that each task got, over time. Most over the whole run: {named}."


def cost_words(history: CurriculumHistory) -> str:
    """Return what a run has cost, whose cost is known."""
    text = f"{history.total_cost:,.0f}" if history.total_cost >= 100 else f"{history.total_cost:.3g}"
    return text if history.unit == "cost" else f"{text} {shortened(history.unit, 32)}"


def costs_words(history: CurriculumHistory) -> str:
    """Return a sentence about the cost by task."""
    if not has_cost(history):
        return "The cost is not known."
    share = cost_shares(history)
    named = ", ".join(
        f"{shortened(history.tasks[arm], 32)} {share[arm]:.0%}" for arm in np.argsort(-share, kind="stable")[:_NAMED]
    )
    return f"Share of the cost that each task had, over time; {cost_words(history)} in all. Most: {named}."


def learning_words(history: CurriculumHistory) -> str:
    """Return a sentence about what tasks learned by what they cost."""
    if not has_cost(history):
        return "The cost is not known."
    return f"Training loss of each task against its own cost. {losses_words(history).partition('. ')[2]}".strip()


def quantiles_words(history: CurriculumHistory) -> str:
    """Return a sentence about progress and reward."""
    parts = []
    for column in ("progress", "reward"):
        values = history.column(column)
        values = values[np.isfinite(values)]
        if len(values):
            low, middle, high = np.quantile(values, [0.1, 0.5, 0.9])
            parts.append(f"{column}: median {middle:.3g}, middle 80 % from {low:.3g} to {high:.3g}")
    return "Progress and reward over time, as quantiles. " + ("; ".join(parts) + "." if parts else "None was recorded.")


def syllabus_words(history: CurriculumHistory) -> str:
    """Return a sentence about the order in which the tasks were favoured."""
    peaks = peak_steps(history)
    favoured = np.flatnonzero(np.isfinite(peaks))
    if not len(favoured):
        return "When and how much each task was practised. No task was ever clearly favoured."
    order = favoured[np.argsort(peaks[favoured], kind="stable")]
    shown = order if len(order) <= 2 * _NAMED else np.concatenate([order[:_NAMED], order[-_NAMED:]])
    named = [f"{shortened(history.tasks[arm], 32)} (step {peaks[arm]:,.0f})" for arm in shown]
    if len(order) > len(shown):
        named.insert(_NAMED, "…")
    return (
        f"When and how much each task was practised. {counted(len(order), 'task')} of {len(history.tasks):,} favoured, "
        f"in this order: {', '.join(named)}."
    )


def comparison_words(comparison: Comparison) -> str:
    """Return a sentence about the steps that each method took to the goal."""
    parts = []
    for name, curves in comparison.curves.items():
        solved = sum(curve.reached is not None for curve in curves)
        median = median_reached(curves)
        steps = f", median {median:,.0f} steps" if math.isfinite(median) else ""
        parts.append(f"{shortened(name, 40)}: goal reached in {solved} of {counted(len(curves), 'run')}{steps}")
    return "Loss on the way to the goal, and steps to it. " + "; ".join(parts) + "."


def runs_words(groups: Mapping[str, Sequence[CurriculumHistory]]) -> str:
    """Return a sentence about runs side by side."""
    parts = []
    for name, runs in groups.items():
        ends = [effective_numbers(run)[-1] for run in runs if run.steps]
        effective = f", {np.median(ends):.1f} effective tasks at the end" if ends else ""
        parts.append(f"{shortened(name, 40)}: {counted(len(runs), 'run')}{effective}")
    return "Effective number of tasks and training losses over time, run by run. " + "; ".join(parts) + "."
