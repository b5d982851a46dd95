"""Counter-based directions: the same bits on every device, in any chunking and process layout."""

from zorba_ray.directions.choose import cpu_directions, direction_backend, timed
from zorba_ray.directions.low_rank import apply_low_rank, factors
from zorba_ray.directions.streams import (
    EMBEDDINGS,
    FINAL_NORM,
    HEAD,
    PROBE,
    VERSION,
    Distribution,
    TensorStream,
    direction_seed,
    direction_seeds,
    normals,
    permutation,
    pool_draws,
    pool_seeds,
    tensor_stream,
    uniforms,
)
from zorba_ray.directions.terms import DirectionBackend, Terms

__all__ = [
    "EMBEDDINGS",
    "FINAL_NORM",
    "HEAD",
    "PROBE",
    "VERSION",
    "DirectionBackend",
    "Distribution",
    "TensorStream",
    "Terms",
    "apply_low_rank",
    "cpu_directions",
    "direction_backend",
    "direction_seed",
    "direction_seeds",
    "factors",
    "normals",
    "permutation",
    "pool_draws",
    "pool_seeds",
    "tensor_stream",
    "timed",
    "uniforms",
]
