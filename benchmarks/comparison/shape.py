"""Bytes of a round on OPT-125M's shape: fedit's adapters grow with a model's width, zorba's scalars do not."""

import shutil
from dataclasses import dataclass

from benchmarks.comparison.tasks import Task
from benchmarks.shapes import OPT_125M, Shape, data_folder, model_folder, settings
from zorba_ray.config import ExperimentConfig

_LENGTH, _ROWS = 8, 64


@dataclass(frozen=True)
class ShapeTask(Task):
    """A comparison on random weights, which are made beside it: what travels does not depend on what is learnt."""

    shape: Shape = OPT_125M

    def settings(self) -> ExperimentConfig:
        """Zorba's configuration; makes model and data where they are not there."""
        folder = self.path.parent / "shapes" / self.name
        model, data = folder / "model", folder / "data"
        if not (data / "test.jsonl").exists():  # the file that is written last
            shutil.rmtree(folder, ignore_errors=True)
            model_folder(model, self.shape)
            data_folder(data, _ROWS, _LENGTH)
        zo = {"lr": 1e-6, "directions": 1}
        return settings(model.resolve(), data.resolve(), 30, _LENGTH, 1, zo=zo, federation={"clients": 8})


BYTES_OPT = ShapeTask(
    "bytes_opt125m", "", methods=("zorba", "fedit"), seeds=1, rates={"zorba": (1e-6,), "fedit": (1e-4,)}
)  # fmt: skip
"""A CPU minute and half a gigabyte."""
