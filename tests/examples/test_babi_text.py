import os
import random
import re
from collections import Counter

import pytest

from examples.babi import GENERATORS, VOCABULARY, Sample, load, write
from examples.babi.__main__ import main
from examples.babi.check import agrees, check
from examples.babi.solvers import SOLVERS
from examples.babi.vocabulary import tokens

QUESTIONS = int(os.environ.get("BABI_QUESTIONS", "200"))  # of each type; more: BABI_QUESTIONS=10000 pytest ...
TYPES = {name.split("_")[0]: name for name in GENERATORS}

FILE = """\
1 Mary moved to the bathroom.
2 John went to the hallway.
3 Where is Mary? \tbathroom\t1
4 Daniel went back to the hallway.
5 Mary went to the office.
6 Where is Mary?\toffice\t5
1 Daniel took the apple.
2 What is Daniel carrying?\tapple,milk\t1
"""

BY_HAND = [
    ("qa1", "Mary went to the hallway. John went to the office. Mary went to the garden.", "Where is Mary?", "garden"),
    ("qa2", "John is in the office. John got the milk. John went to the garden.", "Where is the milk?", "garden"),
    ("qa2", "John went to the office. John got the milk. John dropped the milk there. John went to the garden.",
     "Where is the milk?", "office"),
    ("qa3", "Mary took the apple. Mary went to the office. Mary went to the garden. Mary went to the office.",
     "Where was the apple before the office?", "garden"),
    ("qa4", "The office is north of the bedroom. The bedroom is north of the bathroom.",
     "What is the bedroom north of?", "bathroom"),
    ("qa4", "The bedroom is north of the bathroom. The garden is south of the bathroom.",
     "What is north of the bathroom?", "bedroom"),
    ("qa5", "Mary gave the apple to Fred. Jeff was given nothing.", "Who gave the apple?", None),
    ("qa5", "Mary gave the apple to Fred. Fred handed the apple to Bill.", "Who gave the apple to Fred?", "Mary"),
    ("qa5", "Mary gave the apple to Fred. Fred handed the apple to Bill.", "Who did Fred give the apple to?", "Bill"),
    ("qa6", "John moved to the office. Mary moved to the garden.", "Is John in the garden?", "no"),
    ("qa7", "Mary got the apple. Mary took the milk. Mary gave the milk to John.",
     "How many objects is Mary carrying?", "one"),
    ("qa8", "Mary got the milk. Mary took the apple there.", "What is Mary carrying?", "apple,milk"),
    ("qa8", "Mary got the milk. Mary put down the milk.", "What is Mary carrying?", "nothing"),
    ("qa9", "Sandra is in the office. Sandra is no longer in the office.", "Is Sandra in the office?", "no"),
    ("qa10", "Fred is either in the school or the park.", "Is Fred in the park?", "maybe"),
    ("qa10", "Fred is either in the school or the park.", "Is Fred in the office?", "no"),
    ("qa10", "Fred is either in the school or the park. Fred went to the park.", "Is Fred in the park?", "yes"),
    ("qa11", "John went to the office. Mary went to the garden. Then she moved to the hallway.",
     "Where is John?", "office"),
    ("qa12", "Mary and John went to the office. John and Daniel moved to the garden.", "Where is John?", "garden"),
    ("qa13", "Mary and John went to the office. After that they moved to the garden.", "Where is John?", "garden"),
    ("qa14", "This evening Bill went to the park. Yesterday Bill went to the zoo. This morning Bill went to the gym.",
     "Where was Bill before the park?", "gym"),
    ("qa15", "Sheep are afraid of wolves. Mice are afraid of cats. Gertrude is a sheep.",
     "What is gertrude afraid of?", "wolf"),
    ("qa16", "Lily is a swan. Lily is white. Bernhard is a lion. Bernhard is green. Greg is a swan.",
     "What color is Greg?", "white"),
    ("qa17", "The triangle is to the right of the blue square. The red square is on top of nothing.",
     "Is the red square above the triangle?", None),
    ("qa17", "The triangle is to the right of the blue square. The red square is below the blue square.",
     "Is the triangle to the left of the red square?", "no"),
    ("qa17", "The triangle is to the right of the blue square. The red square is below the blue square.",
     "Is the triangle above the red square?", "yes"),
    ("qa18", "The box is bigger than the chest. The box of chocolates fits inside the chest.",
     "Does the box fit in the box of chocolates?", "no"),
    ("qa18", "The box is bigger than the chest. The box of chocolates fits inside the chest.",
     "Is the box bigger than the box of chocolates?", "yes"),
    ("qa19", "The office is east of the hallway. The kitchen is north of the office.",
     "How do you go from the kitchen to the hallway?", "s,w"),
    ("qa20", "Sumit is tired. Yann is bored.", "Where will yann go?", "garden"),
    ("qa20", "Sumit is tired. Sumit went to the bedroom.", "Why did sumit go to the bedroom?", "tired"),
]  # fmt: skip


def samples(name, count, seed=7):
    source = random.Random(seed)
    return [GENERATORS[name](source) for _ in range(count)]


@pytest.mark.parametrize("name", GENERATORS)
def test_a_solver_that_reads_the_text_answers_every_question(name):
    report = check(name, QUESTIONS)
    assert not report.wrong


@pytest.mark.parametrize(("kind", "story", "question", "answer"), BY_HAND)
def test_solvers_answer_what_was_written_by_hand_and_refuse_what_they_cannot_read(kind, story, question, answer):
    sentences = [f"{sentence}." for sentence in story.rstrip(".").split(". ")]
    if answer is None:
        with pytest.raises(ValueError, match="No rule reads"):
            SOLVERS[TYPES[kind]](sentences, question)
        assert not agrees(TYPES[kind], Sample(tuple(sentences), question, "Mary", ()))
    else:
        assert SOLVERS[TYPES[kind]](sentences, question) == answer


@pytest.mark.parametrize("name", GENERATORS)
def test_the_supporting_facts_alone_give_the_answer(name):
    for sample in samples(name, 50):
        facts = [sample.story[index] for index in sample.support]
        assert SOLVERS[name](facts, sample.question) == sample.answer
        assert sorted({*sample.support}) == [*sample.support]


def test_the_last_sentence_about_an_object_is_among_the_facts_that_tell_where_it_is(any_seed):
    for sample in samples(TYPES["qa2"], 300, any_seed):
        thing = sample.question.split()[-1].rstrip("?")
        assert max(index for index, sentence in enumerate(sample.story) if thing in sentence) in sample.support


def test_a_shape_without_a_colour_is_the_only_one_of_its_kind(any_seed):
    pattern = re.compile(r"((?:blue|pink|red|yellow) )?(rectangle|sphere|square|triangle)")
    for sample in samples(TYPES["qa17"], 500, any_seed):
        shapes = {*pattern.findall(" ".join(sample.story))}
        assert len(shapes) == 3
        for colour, kind in shapes:
            assert colour or sum(other == kind for _, other in shapes) == 1


SUPPORT = {  # numbers of supporting facts; one where nothing is said
    **{kind: {2} for kind in ("qa2", "qa11", "qa13", "qa14", "qa15", "qa17", "qa18", "qa19")},
    "qa3": {3},
    "qa7": {*range(1, 20)},
    "qa8": {*range(1, 20)},
    "qa16": {3, 5, 7, 9},
}
SENTENCES = {
    **{kind: {2, 4, 6, 8, 10} for kind in ("qa1", "qa6", "qa9", "qa10", "qa11", "qa12", "qa13")},
    "qa4": {2},
    "qa14": {4, 6, 8, 10, 12},
    "qa15": {8},
    "qa16": {9},
    "qa17": {2},
    "qa18": {*range(4, 10)},
    "qa19": {5},
    "qa20": {*range(1, 13)},
}


@pytest.mark.parametrize("kind", TYPES)
def test_numbers_of_sentences_and_of_supporting_facts_are_those_of_the_original(kind, any_seed):
    drawn = samples(TYPES[kind], 200, any_seed)
    assert {len(sample.support) for sample in drawn} <= SUPPORT.get(kind, {1})
    lengths = {len(sample.story) for sample in drawn}
    assert lengths == SENTENCES[kind] if kind in SENTENCES else max(lengths) <= 32


EVEN = {
    **dict.fromkeys(("qa1", "qa2", "qa3", "qa4", "qa11", "qa12", "qa13", "qa14"), 6),
    "qa6": 2,
    "qa15": 4,
    "qa16": 4,
    "qa17": 2,
    "qa18": 2,
    "qa19": 12,
}


@pytest.mark.parametrize("kind", EVEN)
def test_answers_of_the_same_sort_are_equally_frequent(kind, any_seed):
    counts = Counter(sample.answer for sample in samples(TYPES[kind], 300, any_seed))
    expected = 300 / EVEN[kind]
    assert len(counts) == EVEN[kind]
    assert all(abs(count - expected) < 5 * expected**0.5 for count in counts.values())


@pytest.mark.parametrize(
    ("kind", "shares"),
    [
        (
            "qa9",
            {"yes": 3 / 8, "no": 5 / 8},
        ),  # three of four statements are positive, half of the questions follow them
        ("qa10", {"yes": 1 / 3, "no": 1 / 2, "maybe": 1 / 6}),
    ],
)
def test_answers_follow_the_probabilities_of_the_statements(kind, shares, any_seed):
    counts = Counter(sample.answer for sample in samples(TYPES[kind], 600, any_seed))
    assert {answer: count / 600 for answer, count in counts.items()} == pytest.approx(shares, abs=0.1)


def test_the_vocabulary_holds_the_words_and_answers_of_all_types_and_nothing_else():
    drawn = [sample for name in GENERATORS for sample in samples(name, 250)]
    words = {word for sample in drawn for text in (*sample.story, sample.question) for word in tokens(text)}
    assert words == {*VOCABULARY.words}
    assert {sample.answer for sample in drawn} == {*VOCABULARY.answers}
    assert len({*VOCABULARY.words}) == len(VOCABULARY.words)


def test_a_file_in_the_original_format_gives_one_sample_per_question(tmp_path):
    (tmp_path / "qa.txt").write_text(FILE, encoding="utf-8")
    first = ("Mary moved to the bathroom.", "John went to the hallway.")
    later = (*first, "Daniel went back to the hallway.", "Mary went to the office.")
    assert load(tmp_path / "qa.txt") == [
        Sample(first, "Where is Mary?", "bathroom", (0,)),
        Sample(later, "Where is Mary?", "office", (3,)),
        Sample(("Daniel took the apple.",), "What is Daniel carrying?", "apple,milk", (0,)),
    ]


def test_windows_line_ends_and_a_byte_order_mark_make_no_difference(tmp_path):
    (tmp_path / "unix.txt").write_bytes(FILE.encode())
    (tmp_path / "windows.txt").write_bytes(b"\xef\xbb\xbf" + FILE.replace("\n", "\r\n").encode())
    assert load(tmp_path / "windows.txt") == load(tmp_path / "unix.txt")


@pytest.mark.parametrize("name", GENERATORS)
def test_what_is_written_is_loaded_again(name, tmp_path):
    drawn = samples(name, 20)
    write(drawn, tmp_path / "stories.txt")
    assert load(tmp_path / "stories.txt") == drawn


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no question"),
        ("1 Mary moved.\n", "holds no question"),
        ("Mary moved.\n", "line 1: 'Mary moved.' does not start with a number"),
        ("1\n", "does not start with a number and a text"),
        ("1 Mary moved.\n3 Where is Mary?\toffice\t1\n", "line 2: the number is 3, expected 2"),
        ("2 Mary moved.\n", "the number is 2, expected 1"),
        ("1 Mary moved.\n2 Where is Mary?\toffice\n", "a question is 'question<tab>answer<tab>supporting lines'"),
        ("1 Mary moved.\n2 Where is Mary?\t\t1\n", "a question is 'question<tab>answer<tab>supporting lines'"),
        (
            "1 Mary moved.\n2 Where is Mary?\toffice\t7\n",
            "'7'; allowed are the numbers of sentences above the question: 1",
        ),
        ("1 Mary moved.\n2 Where is Mary?\toffice\tx\n", "the supporting lines are 'x'"),
        ("1 Where is Mary?\toffice\t1\n", "there are none"),
    ],
)
def test_a_damaged_file_is_refused_with_its_line(text, message, tmp_path):
    (tmp_path / "qa.txt").write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=r"qa\.txt") as error:
        load(tmp_path / "qa.txt")
    assert message in str(error.value)


@pytest.mark.parametrize(
    "sample",
    [
        Sample(("Mary\tmoved.",), "Where is Mary?", "office", (0,)),
        Sample(("Mary moved.",), "Where is\nMary?", "office", (0,)),
        Sample(("Mary moved.",), "Where is Mary?", "", (0,)),
        Sample((" Mary moved.",), "Where is Mary?", "office", (0,)),
        Sample(("Mary moved.",), "Where is Mary?", "office", (1,)),
        Sample(("Mary moved.", "John moved."), "Where is Mary?", "office", (1, 0)),
    ],
)
def test_what_would_be_read_otherwise_is_not_written(sample, tmp_path):
    with pytest.raises(ValueError, match=r"cannot be written|supporting facts"):
        write([sample], tmp_path / "qa.txt")
    assert not (tmp_path / "qa.txt").exists()


def test_the_command_checks_and_writes(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["babi", "--questions", "3"])
    main()
    assert [line.split()[:2] for line in capsys.readouterr().out.splitlines()[1:]] == [
        [name, "0"] for name in GENERATORS
    ]
    monkeypatch.setattr("sys.argv", ["babi", "--questions", "3", "--write", str(tmp_path / "stories")])
    main()
    assert all(len(load(tmp_path / "stories" / f"{name}.txt")) == 3 for name in GENERATORS)


def test_the_command_fails_where_a_solver_disagrees(monkeypatch):
    monkeypatch.setitem(SOLVERS, "qa4_two-arg-relations", lambda story, question: "nowhere")
    monkeypatch.setattr("sys.argv", ["babi", "--questions", "3"])
    with pytest.raises(SystemExit, match="1"):
        main()


def test_unknown_types_and_empty_checks_are_refused():
    with pytest.raises(ValueError, match="There is no type 'qa21'; allowed are: qa1_single"):
        check("qa21", 3)
    with pytest.raises(ValueError, match="questions is 0, at least 1"):
        check("qa7_counting", 0)
