"""Reads an offline W&B run back: what W&B would show of it."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

import wandb
from wandb.proto import wandb_internal_pb2

BLOCK, HEADER = 32768, 7


def records(path: Path) -> list[Any]:
    """The messages of a ``.wandb`` file, which is in LevelDB's log format: 32 KiB blocks, records in pieces."""
    data = path.read_bytes()
    assert data[:4] == b":W&B"
    found, pieces, at = [], b"", HEADER
    while at + HEADER <= len(data):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", data[at : at + HEADER])
        pieces += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (1, 4):  # whole, or last piece
            record = wandb_internal_pb2.Record()
            record.ParseFromString(pieces)
            found.append(record)
            pieces = b""
    return found


class WandbRun:
    """The one offline run below a folder."""

    def __init__(self, folder: Path, which: int = 0):
        self.files = sorted(Path(folder).glob("wandb/offline-run-*/*.wandb"), key=lambda path: path.stat().st_mtime)
        self.path = self.files[which]
        self.records = records(self.path)
        if not any(record.HasField("exit") for record in self.records):
            wandb.teardown()  # waits until W&B's own process, which writes the file, is through
            self.records = records(self.path)
        self.rows: list[dict[str, Any]] = []
        self.config: dict[str, Any] = {}
        self.metrics = [record.metric for record in self.records if record.WhichOneof("record_type") == "metric"]
        for record in self.records:
            kind = record.WhichOneof("record_type")
            if kind == "history":
                self.rows.append(_nested(record.history.item))
            for update in {"run": [record.run.config], "config": [record.config]}.get(kind or "", []):
                _nested(update.update, self.config)

    def series(self, name: str) -> list[tuple[int, Any]]:
        """Step of the trainer and value, wherever there is one."""
        return [(row["trainer/global_step"], row[name]) for row in self.rows if name in row]

    def media(self, value: dict[str, Any]) -> Path:
        """The file of a logged table, chart or picture."""
        return self.path.parent / "files" / value["path"]

    def table(self, name: str) -> dict[str, Any]:
        """The last table logged under a name."""
        return json.loads(self.media(self.series(name)[-1][1]).read_text())

    def size(self) -> int:
        """Bytes of the run's records and media."""
        return self.path.stat().st_size + sum(
            file.stat().st_size for file in (self.path.parent / "files" / "media").rglob("*") if file.is_file()
        )


def _nested(items: Any, into: dict[str, Any] | None = None) -> dict[str, Any]:
    result: dict[str, Any] = {} if into is None else into
    for item in items:
        *outer, last = item.nested_key or [item.key]
        place = result
        for key in outer:
            place = place.setdefault(key, {})
        value = json.loads(item.value_json)
        if isinstance(value, dict) and isinstance(place.get(last), dict):
            place[last].update(value)
        else:
            place[last] = value
    return result
