"""Model folders that are meant to hurt, through the command line in a process of its own: seconds, bytes, exit code."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from tests.support.model_folders import change_settings, data_folder, model_folder, run_tree

MOST_S, MOST_MIB = 10.0, 300.0
_IMPORT = "import torch, transformers; from transformers import AutoModelForCausalLM, PreTrainedTokenizerFast"


def _measured(command: list[str]) -> tuple[int, str, float, float]:
    """(exit code, what was said, CPU seconds, MiB at most) of a command without a terminal; 12 GiB of addresses."""
    code = (
        "import json, resource, subprocess, sys\n"
        "done = subprocess.run(json.loads(sys.argv[1]), capture_output=True, text=True, stdin=subprocess.DEVNULL)\n"
        "used = resource.getrusage(resource.RUSAGE_CHILDREN)\n"
        "print(json.dumps([done.returncode, done.stdout + done.stderr, used.ru_utime + used.ru_stime,"
        " used.ru_maxrss / 1024]))\n"
    )

    def limited() -> None:
        resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))

    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(command)],
        capture_output=True, text=True, timeout=120, preexec_fn=limited, check=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    code_, said, seconds, mebibytes = json.loads(done.stdout)
    return code_, said, seconds, mebibytes


@pytest.fixture(scope="module")
def imports() -> tuple[float, float]:
    """(CPU seconds, MiB) of importing torch and transformers."""
    code, said, seconds, mebibytes = _measured([sys.executable, "-c", _IMPORT])
    assert code == 0, said
    return seconds, mebibytes


def _layers(path: Path) -> None:
    model_folder(path, "llama", num_hidden_layers=1_999)


def _index(path: Path) -> None:
    model_folder(path)
    (path / "model.safetensors").unlink()
    table = {f"model.layers.{place}.weight": f"shard-{place}.safetensors" for place in range(300_000)}
    (path / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))


def _tokens(path: Path) -> None:
    model_folder(path)
    with (path / "tokenizer.json").open("w") as file:
        file.write('{"version": "1.0", "model": {"type": "WordLevel", "unk_token": "<unk>", "vocab": {')
        file.write(", ".join(f'"word number {place}": {place}' for place in range(2_500_000)))
        file.write("}}}")


def _tokenizer_code(path: Path) -> None:
    model_folder(path)
    change_settings(
        path, "tokenizer_config.json", tokenizer_class="Evil", auto_map={"AutoTokenizer": ["evil.Evil", None]}
    )
    (path / "evil.py").write_text("raise SystemExit('the folder\\'s code was run')")


@pytest.mark.parametrize("make", [_layers, _index, _tokens, _tokenizer_code])
def test_it_is_refused_soon_and_cheaply(
    imports: tuple[float, float], tmp_path: Path, make: Callable[[Path], None]
) -> None:
    make(tmp_path / "m")
    tree = run_tree(tmp_path / "m", data_folder(tmp_path / "d"))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    command = [sys.executable, "-m", "zorba_ray", "run", str(tmp_path / "run.yaml"), "--run-dir", str(tmp_path / "r")]
    code, said, seconds, mebibytes = _measured(command)
    print(
        f"{make.__name__}: {seconds - imports[0]:.1f} s, {mebibytes - imports[1]:.0f} MiB above imports: {said[-200:]}"
    )
    assert code == 2, said
    assert said.count("error: ") == 1
    assert "Traceback" not in said
    assert "code was run" not in said
    assert len(said) <= 2000
    assert seconds - imports[0] < MOST_S
    assert mebibytes - imports[1] < MOST_MIB
    assert not (tmp_path / "r" / "ledger.zl").exists()


def test_a_hub_id_without_a_network_says_one_sentence(tmp_path: Path) -> None:
    """A proxy that nobody listens at; it was 37 s and 11 lines about retries."""
    tree = run_tree(Path("nobody/nothing"), data_folder(tmp_path / "d"))
    (tmp_path / "run.yaml").write_text(yaml.safe_dump(tree), encoding="utf-8")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("HF_")}
    environment |= {"HF_ENDPOINT": "http://127.0.0.1:9", "HF_HOME": str(tmp_path / "hf")}
    start = time.perf_counter()
    done = subprocess.run(
        [sys.executable, "-m", "zorba_ray", "run", str(tmp_path / "run.yaml"), "--run-dir", str(tmp_path / "r")],
        capture_output=True, text=True, timeout=120, stdin=subprocess.DEVNULL, env=environment,
    )  # fmt: skip
    print(f"{time.perf_counter() - start:.1f} s")
    assert done.returncode == 2
    assert "Retry" not in done.stderr
    assert "the hub does not answer" in done.stderr
    assert done.stderr.count("\n") <= 2
