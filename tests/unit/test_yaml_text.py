"""Files that are meant to hurt: every kind is refused by its name, in bounded time and memory, in a short message."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from zorba_ray.config import load_config, load_sweep
from zorba_ray.config.base import parse_override
from zorba_ray.config.yaml_text import MOST_DEPTH, parse_yaml, read_yaml
from zorba_ray.errors import ConfigError

LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 10)
)
MERGES = "a0: &a0 {k: 1}\n" + "".join(
    f"a{i}: &a{i}\n  <<: [{', '.join([f'*a{i - 1}'] * 10)}]\n  k{i}: 1\n" for i in range(1, 10)
)
KEYS = "".join(f"k{i}: {i}\n" for i in range(700_000))

HOSTILE = {
    "exploding aliases": (LAUGHS, "once its aliases are written out"),
    "exploding merges": (MERGES, "once its aliases are written out"),
    "an alias inside of itself": ("zo: &a {lr: *a}", "an alias refers to a value that contains it"),
    "deep lists": ("[" * 100_000, "nest deeper than 32"),
    "deep mappings": ("{a: " * 30_000, "nest deeper than 32"),
    "deep blocks": ("- " * 20_000, "nest deeper than 32"),
    "a large file": ("rounds: 1\n" + "# comment\n" * 110_000, "larger than 1,048,576 bytes"),
    "700,000 keys": (KEYS, "larger than 1,048,576 bytes"),
    "60,000 keys": (KEYS[:700_000], "more than 50,000 keys and values"),
    "20,000 keys": ("".join(f"k{i}: {i}\n" for i in range(20_000)), "... and 19,980 more"),
    "5,000 digits": ("rounds: " + "9" * 5_000, "rounds = "),
    "4,000 digits": ("rounds: '" + "9" * 4_000 + "'", "at most 64 bits"),
    "300 digits": ("rounds: " + "9" * 300, "rounds = an integer of 997 bits: an integer of at most 64 bits"),
    "hexadecimal digits": ("rounds: 0x" + "f" * 100_000, "rounds = "),
    "base sixty": ("rounds: 1" + ":01" * 200_000, "rounds = "),
    "bytes of many digits": ("federation: {fleet: [{name: a, count: 8, vram: " + "9" * 390 + "}]}", "fleet.0.vram"),
    "bytes beyond floats": ("federation: {fleet: [{name: a, count: 8, vram: 1e308 TiB}]}", "must be finite"),
    "1e999": ("zo: {lr: 1e999}", "zo.lr = '1e999': Input should be a finite number"),
    "1.0e+999": ("zo: {lr: 1.0e+999}", "zo.lr = inf: Input should be a finite number"),
    "an infinite count": ("zo: {directions: .inf}", "zo.directions = inf"),
    "a python object": ("name: !!python/object/apply:os.system [id]", "python/object/apply:os.system"),
    "a set": ("zo: !!set {lr}", "tag:yaml.org,2002:set"),
    "a tag on nonsense": ("rounds: !!int many", "'many' is not of type int"),
    "a tag on nothing": ("rounds: !!int ''", "'' is not of type int"),
    "a mapping tag on a list": ("zo: !!map [lr]", "expected a mapping"),
    "a list as a key": ("? [a, b]\n: 1", "cannot be a key"),
    "a number as a key": ("1: 2", "Keys should be strings"),
    "not UTF-8": (b"name: \xff\xfe", "cannot be read as UTF-8 text"),
    "UTF-16": ("rounds: 3".encode("utf-16"), "cannot be read as UTF-8 text"),
    "a NUL": (b"name: a\0b", "is not YAML"),
    "half of a surrogate pair": ('name: "\\ud800"', "is not YAML"),
    "a long undefined alias": ("a: *" + "b" * 200_000, "undefined alias"),
    "a long tag": ("a: !" + "b" * 200_000 + " c", "the tag"),
    "a long value": ("rounds: " + "v" * 900_000, "900,000 characters"),
    "a long name": ("name: " + "n" * 100_000, "name = "),
    "a huge fleet": ("federation: {clients: 1000000000000}", "federation.clients = 1000000000000"),
    "a NUL in a path": ('data: {path: "a\\0b"}', "data.path = 'a\\x00b'"),
    "an escape in a path": ('model: {path: "\\e[31mred"}', "model.path = '\\x1b[31mred'"),
    "a path that no file system takes": ("model: {path: " + "a" * 3_000 + "}", "has at most 255 bytes"),
    "a wide prompt": ('data: {prompt: "{text:999999999}"}', "the field 'text' has a format"),
    "a wide prompt to the right": ('data: {prompt: "{text:>1000000000}"}', "the field 'text' has a format"),
    "a prompt with a width of 5,000 digits": ('data: {prompt: "{text:' + "9" * 5_000 + '}"}', "has a format"),
    "a prompt with a width inside": ('data: {prompt: "{text:{text}}"}', "the field 'text' has a format"),
    "a prompt with a conversion": ('data: {prompt: "{text!r}"}', "has a format or a conversion"),
    "a prompt with an attribute": ('data: {prompt: "{text.__class__}"}', "nothing else in braces"),
    "a prompt with an index": ('data: {prompt: "{text[0]}"}', "nothing else in braces"),
    "a prompt without a column": ('data: {prompt: "{}"}', "nothing else in braces"),
    "a long prompt": ('data: {prompt: "{text} ' + "v" * 900_000 + '"}', "at most 20000 characters"),
}


def written(tmp_path: Path, content: str | bytes) -> str:
    path = tmp_path / "hostile.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return str(path)


@pytest.mark.parametrize("kind", HOSTILE)
def test_a_hostile_run_file_is_refused_by_name(tmp_path: Path, kind: str) -> None:
    content, fragment = HOSTILE[kind]
    source = written(tmp_path, content)
    with pytest.raises(ConfigError) as caught:
        load_config(source)
    assert fragment in str(caught.value)
    assert len(str(caught.value)) < 2_000
    with pytest.raises(ConfigError) as caught:  # and so where it is taken for a sweep
        load_sweep(source)
    assert len(str(caught.value)) < 2_000


@pytest.mark.parametrize(
    ("override", "fragment"),
    [
        ("rounds=" + "9" * 5_000, "rounds = "),
        ("zo=" + "[" * 5_000, "nest deeper than"),
        ("zo=" + LAUGHS.replace("\n", "\n "), "is not YAML"),
        ("name=!!python/name:os.system", "python/name:os.system"),
        ("data.prompt='{text:999999999}'", "the field 'text' has a format"),
        (".".join("a" * 100) + "=1", "write key=value"),
        ("k" * 100_000 + "=1", "unknown setting"),
        ("name=\udcff", "is not UTF-8"),
        ("name=2020-99-99 ", ""),
    ],
)
def test_an_override_is_held_to_the_same(override: str, fragment: str) -> None:
    if not fragment:  # what YAML 1.1 takes for a date is text, also where there is no such day
        assert load_config("demo", [override]).name == "2020-99-99"
        return
    with pytest.raises(ConfigError) as caught:
        load_config("demo", [override])
    assert fragment in str(caught.value)
    assert len(str(caught.value)) < 2_000


SWEEPS = {
    "more trials than can be": ("{seed: {grid: [%s]}, rounds: {grid: [%s]}}", "the space has 16,000,000 trials"),
    "a step that is nothing": ("{zo.lr: {uniform: [0, 1, 1.0e-320]}}", "must be above 0"),
    "an infinite bound": ("{zo.lr: {uniform: [0, .inf]}}", "finite number"),
    "a wide prompt": ('{data.prompt: {grid: ["{text:999999999}", "{text}"]}}', "the field 'text' has a format"),
}


@pytest.mark.parametrize("kind", SWEEPS)
def test_a_hostile_space(tmp_path: Path, kind: str) -> None:
    from zorba_ray.campaigns.sweep.plan import plan_trials

    space, fragment = SWEEPS[kind]
    numbers = ", ".join(map(str, range(1, 4_001)))
    text = f"name: s\nsearch: {{type: random}}\nspace: {space.replace('%s', numbers)}\n"
    with pytest.raises(ConfigError) as caught:
        plan_trials(*load_sweep(written(tmp_path, text)))
    assert fragment in str(caught.value)
    assert len(str(caught.value)) < 2_000


def test_a_file_that_never_ends_is_read_to_the_limit_only() -> None:
    with pytest.raises(ConfigError, match="larger than"):
        read_yaml(Path("/dev/zero"), "config")


@pytest.mark.parametrize("kind", ["exploding aliases", "exploding merges", "60,000 keys", "20,000 keys", "base sixty"])
def test_time_and_memory_are_bounded(tmp_path: Path, kind: str) -> None:
    """5 s of CPU and 300 MB above the imports; seen: at most 0.7 s and 30 MB."""
    program = """
import json, sys, time
from zorba_ray.config import load_config
from zorba_ray.errors import ConfigError

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM")) / 1024

before, start = peak(), time.process_time()
try:
    load_config(sys.argv[1])
except ConfigError:
    print(json.dumps([time.process_time() - start, peak() - before]))
"""
    source = written(tmp_path, HOSTILE[kind][0])
    found = subprocess.run([sys.executable, "-c", program, source], capture_output=True, text=True, timeout=120)
    seconds, mebibytes = json.loads(found.stdout)
    assert seconds < 5
    assert mebibytes < 300


# What is no attack is read as before ---------------------------------------------------------------------------------


def test_anchors_merges_and_plain_tags_still_work() -> None:
    text = """
base: &base {lr: 0.1, directions: 2}
zo:
  <<: *base
  lr: 0.2
again: *base
count: !!int "7"
flag: yes
none: ~
"""
    assert parse_yaml(text) == {
        "base": {"lr": 0.1, "directions": 2},
        "zo": {"lr": 0.2, "directions": 2},
        "again": {"lr": 0.1, "directions": 2},
        "count": 7,
        "flag": True,
        "none": None,
    }


def test_a_merged_mapping_that_is_read_before_it_stands_may_be_overridden() -> None:
    text = "p: {q: &a {<<: {x: 1, y: 2}, x: 3}}\nr: {<<: *a, y: 4}"
    assert parse_yaml(text) == {"p": {"q": {"x": 3, "y": 2}}, "r": {"x": 3, "y": 4}}


def test_a_key_that_stands_twice_is_refused_at_every_depth() -> None:
    with pytest.raises(Exception, match=r"the key 'lr' stands twice \(line 3"):
        parse_yaml("zo:\n  lr: 1\n  lr: 2\n")


def test_lists_may_nest_to_the_limit() -> None:
    assert parse_yaml("[" * MOST_DEPTH + "]" * MOST_DEPTH)
    assert parse_override("zo.lr=1e-3") == (["zo", "lr"], "1e-3")


def test_a_byte_order_mark_is_no_fault(tmp_path: Path) -> None:
    assert load_config(written(tmp_path, "\ufeffrounds: 3")).rounds == 3
