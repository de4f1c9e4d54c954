"""bAbI: twenty types of questions about short stories, learned by one network.

The tasks are those of Weston et al. 2015 ("Towards AI-Complete Question Answering", arXiv 1502.05698). Graves et al.
2017 (section 5.3) let a curriculum choose among them and count the types with an error below 5 %.

The generators are our own and make a fresh story for every question. They follow the original ones in the structure
of the stories, the questions, and the number of supporting facts, with these simplifications:

- All people and objects start at random places; in the original they start at fixed ones.
- A sample has one question. The original files ask up to 12 about one story; here the number of the question, and so
  the length of the story, is drawn at random.
- Stories have at most 32 sentences. This cuts type 3 above all: a third of its stories would be longer. All three
  supporting facts of type 3 are needed, and no question of it needs a fourth.
- Types 2 and 3 do not ask about objects whose place the story leaves open. Type 2 also asks about dropped objects.
- Type 5 asks about the last gift, and its sentences stay in the order of what happened. In type 10 the last statement
  about a person counts alone, and half of the questions ask about a place that it names, so that yes, no and maybe
  all occur.
- In types 7 and 8 the objects start at one place and the asked number is drawn from those that occur, so that
  people carry two or three objects often enough. Lists are in alphabetical order.
- Lists and paths are one answer token (``apple,milk``; ``s,w``): the network chooses one answer of 52.
- Sentences are worded like those of the published files, from which the original generators differ a little.

The network has two layers of attention over sentence vectors of width 64, in place of an LSTM with 512 units.

Files in the original format are read by ``load``: ``vectorise`` makes tensors of the samples.
"""

from examples.babi.generators import GENERATORS
from examples.babi.model import Model
from examples.babi.samples import Sample, load, write
from examples.babi.scores import SOLVED_BELOW, errors, majority_errors, solved
from examples.babi.settings import (
    BATCH_SIZE,
    BUDGET,
    GOAL,
    HIGHER_IS_BETTER,
    LEARNING_RATES,
    LONG_BUDGET,
    SOLVED_GOAL,
    TARGET,
    UNIT,
)
from examples.babi.tasks import Stream, held_out, tasks
from examples.babi.vocabulary import VOCABULARY, Vocabulary, vectorise

__all__ = [
    "BATCH_SIZE",
    "BUDGET",
    "GENERATORS",
    "GOAL",
    "HIGHER_IS_BETTER",
    "LEARNING_RATES",
    "LONG_BUDGET",
    "SOLVED_BELOW",
    "SOLVED_GOAL",
    "TARGET",
    "UNIT",
    "VOCABULARY",
    "Model",
    "Sample",
    "Stream",
    "Vocabulary",
    "errors",
    "held_out",
    "load",
    "majority_errors",
    "solved",
    "tasks",
    "vectorise",
    "write",
]
