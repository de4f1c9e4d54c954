"""Tasks that keep their own place in the data: asked for it, never read past, and resumed exactly."""

from __future__ import annotations

import io
import itertools

import pytest
import pytorch_lightning as pl
import torch
from pytorch_lightning.callbacks import ModelCheckpoint
from torch.utils.data import DataLoader, IterableDataset

from curricula import CurriculumCallback, CurriculumLoader
from curricula.data import TaskError
from curricula.data.sources.stream import StreamSource
from curricula.signals import FirstOrderPredictionGain, SelfPredictionGain
from tests.models import Linear, trainer

STEPS = 20


class Stateful(IterableDataset):
    """Counts what is read of it."""

    def __init__(self, seed):
        self.seed = seed
        self.reads = 0

    def sample(self, number):
        self.reads += 1
        numbers = torch.Generator().manual_seed(1000 * self.seed + number)
        return torch.randn(4, generator=numbers), torch.randn(1, generator=numbers) * self.seed


class Rollouts(Stateful):
    """An endless stream of random numbers, as an environment gives them, which nothing but its state can find again."""

    def __init__(self, seed):
        super().__init__(seed)
        self.numbers = torch.Generator().manual_seed(seed)
        self.episode = (0, float("-inf"))

    def __iter__(self):
        while True:
            self.reads += 1
            inputs = torch.randn(4, generator=self.numbers)
            self.episode = (self.episode[0] + 1, max(self.episode[1], float(inputs.sum())))
            yield inputs, torch.tensor([self.episode[1]])

    def state_dict(self):
        return {"numbers": self.numbers.get_state(), "episode": self.episode, 7: b"seven"}

    def load_state_dict(self, state):
        assert state[7] == b"seven"
        self.numbers.set_state(state["numbers"])
        self.episode = state["episode"]
        assert isinstance(self.episode, tuple)


class Rewound(Stateful):
    """Goes on where it was, and goes back to its beginning at its end."""

    def __init__(self, seed, size=21):
        super().__init__(seed)
        self.size = size
        self.place = 0

    def __iter__(self):
        while self.place < self.size:
            self.place += 1
            yield self.sample(self.place)
        self.place = 0

    def state_dict(self):
        return {"place": self.place}

    def load_state_dict(self, state):
        self.place = state["place"]


class Epochs(Stateful):
    """Asks for the number of the pass, and keeps to a place only in the pass that it was in."""

    def __init__(self, seed, size=21):
        super().__init__(seed)
        self.size = size
        self.epoch = 0
        self.place = 0
        self.start = None

    def set_epoch(self, epoch):
        self.epoch = epoch

    def __iter__(self):
        goes_on = self.start is not None and self.start["epoch"] == self.epoch
        self.place = self.start["place"] if goes_on else 0
        while self.place < self.size:
            self.place += 1
            yield self.sample(self.place + 100 * self.epoch)

    def state_dict(self):
        return {"epoch": self.epoch, "place": self.place}

    def load_state_dict(self, state):
        self.start = state


class ReadAhead:
    """Ready batches of a loader that has always read one more than it has given."""

    def __init__(self, seed):
        self.rows = Rewound(seed, 24)
        self.given = 0

    @property
    def reads(self):
        return self.rows.reads

    def __iter__(self):
        rows = (self.rows.sample(number) for number in range(8 * self.given, 48))
        ready = None
        while part := list(itertools.islice(rows, 8)):
            following = torch.utils.data.default_collate(part)
            if ready is not None:
                self.given += 1
                yield ready
            ready = following
        if ready is not None:
            self.given += 1
            yield ready
        self.given = 0

    def state_dict(self):
        return {"given": self.given}

    def load_state_dict(self, state):
        self.given = state["given"]


class Resumable(DataLoader):
    """A loader over samples by index that can tell where its running iterator is."""

    following = None
    running = None

    @property
    def reads(self):
        return self.dataset.reads

    def __iter__(self):
        order = torch.randperm(len(self.dataset)) if self.following is None else self.following["order"]
        start = 0 if self.following is None else self.following["given"]
        self.following = None
        for given in range(start, -(-len(order) // self.batch_size)):
            self.running = {"order": order, "given": given + 1}
            part = order[given * self.batch_size :][: self.batch_size]
            yield self.collate_fn([self.dataset[int(index)] for index in part])

    def state_dict(self):
        return self.running

    def load_state_dict(self, state):
        self.following = state


class Indexed:
    """Samples by index that count how often they are read."""

    def __init__(self, seed):
        self.rows = Rewound(seed)

    @property
    def reads(self):
        return self.rows.reads

    def __len__(self):
        return 21

    def __getitem__(self, index):
        return self.rows.sample(index)


KINDS = {
    "endless": Rollouts,
    "rewound": Rewound,
    "rewound at the end of a batch": lambda seed: Rewound(seed, 24),
    "told the pass": Epochs,
    "told the pass, whole batches": lambda seed: Epochs(seed, 16),
    "in a loader": lambda seed: DataLoader(Rewound(seed), batch_size=8),
    "reads ahead": ReadAhead,
    "a loader with a state": lambda seed: Resumable(Indexed(seed), batch_size=8),
}


def reads_of(tasks):
    return [(task.dataset if type(task) is DataLoader else task).reads for task in tasks.values()]


class Reads(pl.Callback):
    """Notes how much was read after every step."""

    def __init__(self, tasks):
        self.tasks = tasks
        self.after = {}

    def on_train_batch_end(self, trainer, *_):
        self.after[trainer.global_step] = reads_of(self.tasks)


def fit(make, *others, signal=FirstOrderPredictionGain, ckpt_path=None, **options):
    pl.seed_everything(0, verbose=False)
    model = Linear(4)
    tasks = {name: make(seed) for seed, name in enumerate("abc")}
    loader = CurriculumLoader(tasks, batch_size=8, steps_per_epoch=7, seed=3, **options)
    own, reads = CurriculumCallback(signal=signal(), seed=3), Reads(tasks)
    trainer(own, reads, *others, max_steps=STEPS, enable_checkpointing=bool(others)).fit(
        model, loader, ckpt_path=ckpt_path
    )
    return own, model, reads


@pytest.mark.parametrize("kind", KINDS)
def test_a_resumed_run_is_exact_from_every_step_and_reads_no_sample_twice(kind, tmp_path):
    saver = ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=1, filename="{step}")
    whole, model, reads = fit(KINDS[kind], saver)
    for step in range(1, STEPS):
        resumed, other, again = fit(KINDS[kind], ckpt_path=tmp_path / f"step={step}.ckpt")
        assert resumed.history.column("arm").tolist() == whole.history.column("arm").tolist(), step
        assert resumed.teacher.state_dict() == whole.teacher.state_dict(), step
        for ours, theirs in zip(other.state_dict().values(), model.state_dict().values(), strict=True):
            assert torch.equal(ours, theirs), step
        rest = [end - now for end, now in zip(reads.after[STEPS], reads.after[step], strict=True)]
        ahead = 8 if kind == "reads ahead" else 0  # what it had read and not given is read once more
        assert all(0 <= count - least <= ahead for count, least in zip(again.after[STEPS], rest, strict=True)), step


def test_fresh_batches_come_from_streams_that_keep_their_place_too(tmp_path):
    def run(*others, **options):
        probes = {name: Rollouts(seed) for seed, name in enumerate("abc", start=10)}
        return fit(Rollouts, *others, signal=SelfPredictionGain, probe_tasks=probes, **options)

    saver = ModelCheckpoint(tmp_path, save_top_k=-1, every_n_train_steps=1, filename="{step}")
    whole, *_ = run(saver)
    for step in range(1, STEPS, 3):
        resumed, *_ = run(ckpt_path=tmp_path / f"step={step}.ckpt")
        assert str(resumed.history.state_dict()) == str(whole.history.state_dict()), step


def test_a_second_iteration_for_fresh_batches_would_move_the_place():
    loader = CurriculumLoader({"a": Rollouts(1)}, batch_size=8, steps_per_epoch=7)
    with pytest.raises(ValueError, match=r"task 'a' keeps its place in the data by itself.*probe_tasks=\{'a'"):
        loader.samples.next("a")


# ---------------------------------------------------------------- what is in the checkpoint


def stream(task):
    return StreamSource("a", DataLoader(task, batch_size=4), seed=0)


def rows(source, number):
    return [source.next(0, 1)[0].tolist() for _ in range(number)]


class Odd(Rewound):
    """Has a state that no checkpoint can hold."""

    def __init__(self, content):
        super().__init__(1)
        self.content = content

    def state_dict(self):
        return {"place": self.place, "inside": [0, self.content]}


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (torch.zeros(2).numpy(), "a numpy.ndarray"),
        ({1, 2}, "a set"),
        (lambda: 0, "a function"),
        (torch.zeros(2, dtype=torch.bfloat16), "a tensor of torch.bfloat16"),
        (torch.Generator(), "a torch._C.Generator"),
    ],
)
def test_what_a_checkpoint_cannot_hold_is_refused_when_it_is_saved(content, found):
    loader = CurriculumLoader({"odd": Odd(content)}, batch_size=4, steps_per_epoch=5)
    next(iter(loader))
    message = rf"task 'odd' has {found} at state_dict\(\)\['inside'\]\[1\], which a checkpoint cannot hold: "
    with pytest.raises(TypeError, match=message):
        loader.state_dict()


def test_the_state_is_sealed_and_loads_as_weights_only():
    loader = CurriculumLoader({"a": Rollouts(1)}, batch_size=4, steps_per_epoch=5)
    iterator = iter(loader)
    next(iterator)
    file = io.BytesIO()
    torch.save(loader.state_dict(), file)
    file.seek(0)
    state = torch.load(file, weights_only=True)
    rest = [next(iterator)[0].tolist() for _ in range(4)]
    resumed = CurriculumLoader({"a": Rollouts(2)}, batch_size=4, steps_per_epoch=5)
    resumed.load_state_dict(state)
    assert [batch[0].tolist() for batch in resumed] == rest
    state["content"]["streams"][0][1]["state"]["dict"][0][1][0] ^= 1
    with pytest.raises(ValueError, match="the loader state is damaged"):
        resumed.load_state_dict(state)


def test_a_state_is_a_copy_that_reading_on_leaves_alone():
    source = stream(Rollouts(1))
    rows(source, 2)
    place = source.position()
    rest = rows(source, 3)
    again = stream(Rollouts(1))
    again.seek(place)
    assert rows(again, 3) == rest
    source.seek(place)
    assert rows(source, 3) == rest, "the same stream goes back as well"


def test_places_of_older_checkpoints_are_read_up_to():
    whole = stream(Rewound(1))
    expected = rows(whole, 12)
    for done in range(1, 12):
        resumed = stream(Rewound(1))
        resumed.seek([done // 6, done % 6])  # a list of ints: six batches make a pass
        assert rows(resumed, 12 - done) == expected[done:]


def test_a_stream_that_was_read_begins_anew_when_it_is_told_to():
    source = stream(Rollouts(1))
    expected = rows(source, 5)
    source.seek([0, 0])
    assert rows(source, 5) == expected


def test_overfitting_on_a_few_batches_goes_back_to_the_first_of_them():
    source = stream(Rewound(1, 40))
    first = [source.next(0, 1, limit=3)[0].tolist() for _ in range(7)]
    assert first == (first[:3] * 3)[:7]
    resumed = stream(Rewound(1, 40))
    resumed.seek(source.position())
    assert [resumed.next(0, 1, limit=3)[0].tolist() for _ in range(4)] == (first[:3] * 4)[7 % 3 : 7 % 3 + 4]


def test_a_loader_with_workers_of_its_own_is_read_past():
    def make():
        return StreamSource("a", DataLoader(Rewound(1), batch_size=4, num_workers=1), seed=0)

    whole = make()
    expected = rows(whole, 7)
    assert whole.position() == [1, 1, 4]
    resumed = make()
    resumed.seek([0, 4, 4])
    assert rows(resumed, 3) == expected[4:]
    whole.shut_down()
    resumed.shut_down()


def test_a_loader_with_a_state_of_its_own_goes_on_after_its_workers_were_stopped():
    def make():
        loader = Resumable(Indexed(1), batch_size=4)
        loader.num_workers = 1  # as far as anybody can tell
        return StreamSource("a", loader, seed=0)

    expected, stopped = make(), make()
    for _ in range(5):
        assert rows(expected, 3) == rows(stopped, 3)
        stopped.shut_down()
    assert stopped.batches.reads == expected.batches.reads


def test_a_state_that_asks_for_arguments_or_is_a_modules_is_no_place():
    class Asking(Rewound):
        def state_dict(self, num_samples):
            raise AssertionError("nobody can know")

    class Module(torch.nn.Module, Rewound):
        def __init__(self):
            torch.nn.Module.__init__(self)
            Rewound.__init__(self, 1)

    for task in (Asking(1), Module()):
        source = stream(task)
        rows(source, 2)
        assert source.position() == [0, 2, 4]


def test_a_place_that_cannot_be_loaded_names_the_task():
    class Forgetful(Rewound):
        def load_state_dict(self, state):
            raise KeyError("place")

    loader, other = (CurriculumLoader({"a": Forgetful(1)}, batch_size=4, steps_per_epoch=5) for _ in range(2))
    next(iter(loader))
    other.load_state_dict(loader.state_dict())
    with pytest.raises(TaskError, match="task 'a' raised KeyError at batch 1 of its pass 0"):
        next(iter(other))
