"""Files that appear whole or not at all."""

from __future__ import annotations

import errno
import os
import sys

import pytest

from curricula.tracking.whole_files import written_whole
from tests.soak.writes import another_file_system, survive


def test_kills_in_the_middle_of_a_write_leave_whole_files_and_little_else(tmp_path):
    elsewhere = another_file_system(tmp_path)
    found = survive(
        tmp_path / "files", kills=8, seed=1, elsewhere=elsewhere, names=["history.json", "steps.csv", "report.html"]
    )
    assert found["kills"] == 8
    assert found["files"] > 8
    assert found["unreadable"] == 0
    assert found["in_a_write"] >= 1
    assert found["most_left_over"] <= 3, "one per file"


def test_the_bytes_are_on_the_disk_before_the_file_is_in_its_place(tmp_path, monkeypatch):
    path, synced = tmp_path / "file", []
    fsync = os.fsync

    def watched(descriptor):
        synced.append((os.path.realpath(f"/proc/self/fd/{descriptor}"), path.exists()))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", watched)
    with written_whole(path) as temporary:
        temporary.write_text("all of it")
    assert temporary.parent == tmp_path
    assert synced == [(str(temporary), False), (str(tmp_path), True)]


@pytest.mark.parametrize("error", [KeyboardInterrupt, ZeroDivisionError])
def test_an_error_leaves_the_file_that_was_there_and_nothing_else(error, tmp_path):
    path = tmp_path / "file"
    path.write_text("before")

    def write():
        with written_whole(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        write()
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="nothing is cleared there")
def test_what_a_killed_process_has_left_is_cleared_away_and_nothing_else(tmp_path):
    left, other, users = (
        tmp_path / name for name in (".file.abcdefgh.part", ".file.json.abcdefgh.part", "file.abcdefgh.part")
    )
    for path in (left, other, users):
        path.write_text("half")
    with written_whole(tmp_path / "file") as temporary:
        temporary.write_text("whole")
    assert not left.exists()
    assert {path.name for path in tmp_path.iterdir()} == {"file", other.name, users.name}


def test_two_writers_of_one_file_leave_each_other_alone(tmp_path):
    path = tmp_path / "file"
    with written_whole(path) as first:
        first.write_text("first")
        with written_whole(path) as second:
            second.write_text("second")
        assert first.exists()
        assert path.read_text() == "second"
    assert path.read_text() == "first"
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.skipif(sys.platform == "win32", reason="no locks are used there")
def test_a_file_system_without_locks_is_written_to_all_the_same(tmp_path, monkeypatch):
    def refuse(descriptor, how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    (tmp_path / ".file.abcdefgh.part").write_text("perhaps still being written")
    with written_whole(tmp_path / "file") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "file").read_text() == "whole"
    assert (tmp_path / ".file.abcdefgh.part").exists()


def test_folders_are_made(tmp_path):
    with written_whole(tmp_path / "a" / "b") as temporary:
        temporary.write_text("whole")
    assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o644
