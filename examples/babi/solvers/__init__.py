"""Rule-based solvers: they read the text alone, share no code with the generators, and answer every question.

A sentence or a question that a solver does not understand is an error, never skipped.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from examples.babi.solvers import kinds, places, space, times

SOLVERS: dict[str, Callable[[Sequence[str], str], str]] = {
    **dict.fromkeys(
        (
            "qa1_single-supporting-fact",
            "qa2_two-supporting-facts",
            "qa3_three-supporting-facts",
            "qa5_three-arg-relations",
            "qa6_yes-no-questions",
            "qa7_counting",
            "qa8_lists-sets",
            "qa9_simple-negation",
            "qa10_indefinite-knowledge",
            "qa11_basic-coreference",
            "qa12_conjunction",
            "qa13_compound-coreference",
        ),
        places.solve,
    ),
    "qa14_time-reasoning": times.solve,
    **dict.fromkeys(("qa15_basic-deduction", "qa16_basic-induction", "qa20_agents-motivations"), kinds.solve),
    **dict.fromkeys(("qa4_two-arg-relations", "qa17_positional-reasoning", "qa19_path-finding"), space.solve),
    "qa18_size-reasoning": space.solve_sizes,
}
"""From the sentences of a story and a question to the answer."""
