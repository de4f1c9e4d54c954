"""Streams read sample by sample: what they give, and what each sample costs."""

import gc

import pytest
import torch
from torch.utils.data import DataLoader, IterableDataset
from torch.utils.data.datapipes.iter import IterableWrapper

from curricula.data.faults import TaskError
from curricula.data.sources import modes
from curricula.data.sources.loaders import samples_of
from curricula.data.sources.stream import StreamSource


class Shuffled(IterableDataset):
    """Shuffles by torch's global stream, when its iterator is made and while it is read; may hold no, or a bad, row."""

    def __init__(self, size=7, rows=None):
        self.size = size
        self.rows = rows or {}
        self.epochs = []

    def __iter__(self):
        order = torch.randperm(self.size).tolist()
        return iter(Rows(order, self.rows))

    def set_epoch(self, number):
        self.epochs.append(number)


class Rows:
    """An iterator that goes on after an error."""

    def __init__(self, order, rows):
        self.left = list(order)
        self.rows = rows

    def __iter__(self):
        return self

    def __next__(self):
        if not self.left:
            raise StopIteration
        row = self.left.pop(0)
        if isinstance(self.rows.get(row), Exception):
            raise self.rows[row]
        return self.rows.get(row, (row, int(torch.randint(10**6, ()))) if len(self.left) == 6 else row)


def source(task, plain=False, **options):
    loader = DataLoader(task, batch_size=1, collate_fn=lambda samples: samples[0]) if plain else samples_of(task)
    return StreamSource("task", loader, seed=3, **options)


def told(stream, turns, mine, size, limit=None):
    try:
        return stream.take(mine, turns, size, limit), stream.position()
    except TaskError as error:
        return str(error), stream.position()


@pytest.mark.parametrize("rows", [{}, {2: None}, {2: OSError("lost"), 5: None}, {0: None, 1: None, 2: None, 3: None}])
@pytest.mark.parametrize("limit", [None, 5, 9])
@pytest.mark.parametrize("retries", [0, 2])
@pytest.mark.parametrize(("turns", "mine"), [(4, range(4)), (4, [1, 3]), (2, [])])
def test_a_stream_gives_the_samples_places_and_errors_that_single_reads_by_a_dataloader_give(
    rows, limit, retries, turns, mine
):
    together, alone = source(Shuffled(rows=rows), retries=retries), source(Shuffled(rows=rows), True, retries=retries)
    for size in (3, 1, 2, 3):
        parts, place = told(together, turns, mine, size, limit)
        expected: list = []
        for number in range(turns * size):  # one sample at a time
            found, at = told(alone, 1, [0], 1, limit)
            if isinstance(found, str):
                expected = found
                break
            if number // size in mine:
                expected.append(found[0][0])
        if not isinstance(expected, str):
            expected = [expected[first : first + size] for first in range(0, len(expected), size)]
        assert (parts, place) == (expected, at)
        if isinstance(parts, str):
            return
    assert together.batches.dataset.epochs == alone.batches.dataset.epochs


def test_an_interrupt_in_the_middle_leaves_the_count_of_what_was_taken():
    class Interrupted(IterableDataset):
        def __iter__(self):
            yield from range(3)
            raise KeyboardInterrupt

    stream = source(Interrupted())
    with pytest.raises(KeyboardInterrupt):
        stream.take(range(5), 5)
    assert stream.position()[:2] == [0, 3]


def test_samples_read_at_once_cost_one_look_at_the_modes_of_autograd(monkeypatch):
    gc.collect()  # a stream of another test that is let go of looks at them too
    looks = []
    monkeypatch.setattr(modes, "_modes", lambda found=modes._modes: looks.append(1) or found())
    stream = source(Shuffled(1000))
    stream.take(range(16), 16, 4)
    assert len(looks) == 2  # before and after, and not for each of 64 samples
    stream.take([3], 16, 4)
    assert len(looks) == 2 + 2 * 16, "what other processes take is not kept in memory"


def test_a_pipe_of_torch_keeps_the_loader_that_seeds_and_shuffles_it():
    shuffled = IterableWrapper(range(50)).shuffle()
    rows, other = (source(shuffled).take(range(50), 50) for _ in range(2))
    assert rows == other == source(shuffled, True).take(range(50), 50) != [[row] for row in range(50)]
