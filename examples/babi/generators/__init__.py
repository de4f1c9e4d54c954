"""Generators of the twenty types, by the names of the original files."""

from __future__ import annotations

from collections.abc import Callable
from random import Random

from examples.babi.generators import carrying, reasoning, relations, whereabouts
from examples.babi.samples import Sample

GENERATORS: dict[str, Callable[[Random], Sample]] = {
    "qa1_single-supporting-fact": carrying.single_supporting_fact,
    "qa2_two-supporting-facts": carrying.two_supporting_facts,
    "qa3_three-supporting-facts": carrying.three_supporting_facts,
    "qa4_two-arg-relations": relations.two_arg_relations,
    "qa5_three-arg-relations": carrying.three_arg_relations,
    "qa6_yes-no-questions": carrying.yes_no_questions,
    "qa7_counting": carrying.counting,
    "qa8_lists-sets": carrying.lists_sets,
    "qa9_simple-negation": whereabouts.simple_negation,
    "qa10_indefinite-knowledge": whereabouts.indefinite_knowledge,
    "qa11_basic-coreference": whereabouts.basic_coreference,
    "qa12_conjunction": whereabouts.conjunction,
    "qa13_compound-coreference": whereabouts.compound_coreference,
    "qa14_time-reasoning": whereabouts.time_reasoning,
    "qa15_basic-deduction": reasoning.basic_deduction,
    "qa16_basic-induction": reasoning.basic_induction,
    "qa17_positional-reasoning": relations.positional_reasoning,
    "qa18_size-reasoning": relations.size_reasoning,
    "qa19_path-finding": relations.path_finding,
    "qa20_agents-motivations": reasoning.agents_motivations,
}
"""From a random generator to one sample."""
