"""`zorba-ray profile`: what it prints, and what it says to wrong input."""

import csv
import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from zorba_ray.cli.main import app
from zorba_ray.cli.profile import profiled
from zorba_ray.errors import ConfigError, ModelError
from zorba_ray.memory import table
from zorba_ray.memory.footprint import PARTS, Footprint
from zorba_ray.models.shapes import SHAPES

PARAMETERS = {
    "opt-125m": 125_239_296,
    "opt-1.3b": 1_315_758_080,
    "opt-6.7b": 6_658_473_984,
    "llama-3-8b": 8_030_261_248,
    "qwen2.5-7b": 7_615_616_512,
    "smollm2-135m": 134_515_008,
    "qwen2.5-0.5b": 494_032_768,
    "qwen2.5-1.5b": 1_543_714_304,
    "llama-3.2-1b": 1_235_814_400,
    "llama-3.2-3b": 3_212_749_824,
    "gemma-3-1b": 999_885_952,
    "mistral-7b": 7_241_732_096,
}
"""As the published checkpoints have them; docs/memory.md names the sources."""


@pytest.mark.parametrize("shape", SHAPES)
def test_every_named_shape_has_the_parameters_of_the_published_model(shape: str) -> None:
    assert profiled(shape, None, None, None).manifest.numel == PARAMETERS[shape]


@pytest.fixture
def uncounted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Counting takes seconds: one byte in its place."""
    monkeypatch.setattr(table, "counted", lambda *_: Footprint(dict.fromkeys(PARTS, 0) | {"stem": 1}, "counted"))


def test_a_table_with_every_source_named(uncounted: None) -> None:
    found = CliRunner().invoke(app, ["profile", "demo", "--batch", "2", "--length", "32"], env={"COLUMNS": "80"})
    assert found.exit_code == 0, found.output
    assert max(map(len, found.output.splitlines())) <= 80
    for text in (
        "modelled",
        "batch 2 × 32",
        "full backprop, AdamW",
        "zorba, all streamed",
        "FedIT: LoRA r 16 + AdamW, nf4, checkpointed",
        "CUDA context",
    ):
        assert text in found.output


def test_json_has_parts_that_add_up() -> None:
    found = CliRunner().invoke(app, ["profile", "demo", "--json"])
    assert found.exit_code == 0, found.output
    record = json.loads(found.output)
    assert (record["batch_size"], record["length"], record["logits"], record["scope"]) == (4, 32, 4, "all")
    assert len(record["rows"]) == 7 * 4 + 1 + 17
    for row in record["rows"]:
        told = row["modelled"] or row["counted"]
        assert sum(told["parts"].values()) == told["bytes"] > 0
        assert (row["modelled"] is None) == (row["method"] != "zorba") == (row["counted"] is not None)
        assert row["round_seconds_modelled"] > 0


def test_csv_has_the_same_rows_and_every_part(uncounted: None) -> None:
    stems = {}
    for format in ("compute", "int8"):
        found = CliRunner().invoke(app, ["profile", "demo", "--csv", f"memory.stem_format={format}"])
        assert found.exit_code == 0, found.output
        rows = list(csv.DictReader(found.output.splitlines()))
        assert len(rows) == 7 * 4 + 1 + 17
        for row in rows:
            assert sum(int(row[part]) for part in PARTS) == int(row["bytes"])
        stems[format] = int(rows[0]["stem"])
    assert stems["int8"] < 0.6 * stems["compute"]
    both = CliRunner().invoke(app, ["profile", "demo", "--csv", "--json"])
    assert both.exit_code != 0


def test_batch_and_length_come_from_the_settings(tmp_path: Path) -> None:
    file = tmp_path / "my.yaml"
    file.write_text("model: {path: opt-1.3b}\ndata: {batch_size: 3, max_length: 64}\n", encoding="utf-8")
    work = profiled(str(file), None, None, None).work
    assert (work.batch_size, work.length, work.hidden) == (3, 64, 2048)
    work = profiled(str(file), ["data.batch_size=5"], None, 8).work
    assert (work.batch_size, work.length) == (5, 8)
    work = profiled(str(file), ["data.batch_size=5"], 6, 8).work
    assert (work.batch_size, work.length) == (6, 8)


@pytest.mark.parametrize(
    ("source", "overrides", "batch", "length", "message"),
    [
        ("opt-13b", [], None, None, "did you mean opt-1.3b"),
        ("opt-1.3b", [], 0, None, "--batch=0: must be at least 1"),
        ("opt-1.3b", [], -4, None, "--batch=-4: must be at least 1"),
        ("opt-1.3b", [], None, 1, "--length=1: must be at least 2"),
        ("opt-1.3b", [], None, 4096, "has only 2048 positions"),
        ("missing.yaml", [], None, None, "no such file"),
        ("./missing", [], None, None, "is not known; name a shape"),
        ("opt-1.3b", ["memory.compute_dtype=int3"], None, None, "memory.compute_dtype = 'int3'"),
        ("opt-1.3b", ["zo.rank=2"], None, None, "knows only dense directions"),
        ("opt-1.3b", ["memory.frozn=host"], None, None, "did you mean memory.frozen"),
    ],
)
def test_wrong_input_is_named(
    source: str, overrides: list[str], batch: int | None, length: int | None, message: str
) -> None:
    with pytest.raises(ConfigError, match=message):
        profiled(source, overrides, batch, length)


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no config\.json in this folder.*Named shapes: opt-125m"):
        profiled(str(tmp_path), None, None, None)
