"""Sealed state: damage is an error, always the same kind of error."""

from __future__ import annotations

import copy
import json
import math
import struct

import pytest

from curricula.state import FORMAT, seal, unseal

CONTENT = {
    "draws": 3,
    "names": ["a", "b"],
    "policy": [0.1, 0.2, 0.7],
    "nested": [[0, [1.5, -0.0]], {"deep": None, "on": True}],
    "empty": [],
}


def flips(value):
    """Yield every value that one flipped bit, or one changed character, makes of a leaf."""
    if isinstance(value, bool):
        yield not value
    elif isinstance(value, int):
        yield from (value ^ (1 << bit) for bit in range(64))
    elif isinstance(value, float):
        (bits,) = struct.unpack("<Q", struct.pack("<d", value))
        yield from (struct.unpack("<d", struct.pack("<Q", bits ^ (1 << bit)))[0] for bit in range(64))
    elif isinstance(value, str):
        for place, letter in enumerate(value):
            yield from (value[:place] + chr(ord(letter) ^ (1 << bit)) + value[place + 1 :] for bit in range(7))
    elif value is None:
        yield 0


def damaged(state):
    """Yield copies of nested containers with one leaf flipped, a key renamed, or an item lost, doubled or swapped."""
    if isinstance(state, dict):
        for key in state:
            rest = {other: copy.deepcopy(value) for other, value in state.items() if other != key}
            yield rest
            yield {**rest, key + "_": state[key]}
            yield from ({**rest, key: value} for value in damaged(state[key]))
    elif isinstance(state, list):
        for place, item in enumerate(state):
            before, after = state[:place], state[place + 1 :]
            yield before + after
            yield [*before, item, item, *after]
            if after and after[0] != item:
                yield [*before, after[0], item, *after[1:]]
            yield from ([*before, value, *after] for value in damaged(item))
    else:
        yield from flips(state)


def test_what_was_sealed_is_unsealed():
    assert unseal("thing", seal("thing", CONTENT)) == CONTENT
    assert unseal("thing", json.loads(json.dumps(seal("thing", CONTENT)))) == CONTENT


def test_the_order_of_keys_does_not_matter():
    assert seal("thing", {"a": 1, "b": 2})["sha256"] == seal("thing", {"b": 2, "a": 1})["sha256"]


def test_a_sealed_state_says_what_it_is():
    state = seal("thing", CONTENT)
    assert list(state) == ["kind", "format", "content", "sha256"]
    assert (state["kind"], state["format"]) == ("thing", FORMAT)


def test_every_single_damage_is_noticed():
    count = 0
    for state in damaged(seal("thing", CONTENT)):
        count += 1
        with pytest.raises(ValueError, match=r"damaged|not the state of a curricula thing|has format"):
            unseal("thing", state)
    assert count > 1000


@pytest.mark.parametrize(
    "value", [math.nan, math.inf, b"bytes", {1, 2}, object()], ids=["nan", "inf", "bytes", "set", "object"]
)
def test_damage_that_json_cannot_write_is_damage_as_any_other(value):
    state = seal("thing", CONTENT)
    state["content"]["draws"] = value
    with pytest.raises(
        ValueError, match=r"the thing state is damaged \(its SHA-256 differs\): use an older checkpoint"
    ):
        unseal("thing", state)


def test_the_state_of_another_kind_is_refused():
    with pytest.raises(ValueError, match="not the state of a curricula teacher: found the kind 'thing'"):
        unseal("teacher", seal("thing", CONTENT))


@pytest.mark.parametrize("state", [{}, {"epoch": 3}, {"kind": "thing"}])
def test_something_else_is_refused(state):
    with pytest.raises(ValueError, match="not the state of a curricula thing: found no key"):
        unseal("thing", state)


def test_another_format_is_refused_with_the_way_out():
    state = {**seal("thing", CONTENT), "format": FORMAT + 1}
    with pytest.raises(ValueError, match=f"has format {FORMAT + 1}, this version of curricula reads format {FORMAT}"):
        unseal("thing", state)


def test_a_number_that_is_not_finite_cannot_be_sealed():
    with pytest.raises(ValueError, match="not JSON compliant"):
        seal("thing", {"rate": math.nan})
