"""Checks of a cluster: whether it answers, needs a token, has the same version of Ray, and has enough resources."""

import json
import os
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from zorba_ray.cli.doctor import Finding
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ClusterError

_ANSWER_S = 5.0
_JOIN_S = 30.0
_NEED_TOKEN = (
    "start every node with RAY_AUTH_MODE=token and the same secret RAY_AUTH_TOKEN: without it everybody who can reach "
    "the port can run code on the cluster"
)

_JOIN = """
import json, logging, ray
ray.init(address={address!r}, log_to_driver=False, logging_level=logging.ERROR)
print(json.dumps(ray.cluster_resources()))
"""


def check_cluster(address: str | None, config: ExperimentConfig | None) -> Iterator[Finding]:
    """Findings about the cluster at `address`, RAY_API_SERVER_ADDRESS or RAY_ADDRESS; a note if none is set."""
    address = address or os.environ.get("RAY_API_SERVER_ADDRESS") or os.environ.get("RAY_ADDRESS")
    if address is None:
        remedy = "runs start a private Ray on this machine; set it to join a cluster"
        yield Finding("note", "RAY_ADDRESS is not set", remedy)
        return
    if address.startswith(("http://", "https://")):
        resources = yield from _jobs_api(address.rstrip("/"))
    else:
        resources = yield from _join(address)
    if resources is not None:
        yield from _capacity(address, config, resources)


def _jobs_api(url: str) -> Iterator[Finding]:
    """Version and authentication of the jobs API. The generator returns the cluster's resources, or None."""
    import ray

    host = urllib.parse.urlsplit(url).hostname or ""
    if url.startswith("http://") and host not in ("127.0.0.1", "localhost", "::1"):
        yield Finding(
            "note",
            f"{url} is not encrypted: the token is sent over the network as plain text",
            "tunnel it (`ssh -L 8265:127.0.0.1:8265 HEAD`, `ray dashboard`, `kubectl port-forward`) or use https",
        )
    bare, _ = _get(f"{url}/api/version", None)
    if bare == 0:
        yield Finding("fault", f"no answer at {url} within {_ANSWER_S:g} s", "start the head, or open the tunnel to it")
        return None
    if bare == 200:
        yield Finding("fault", f"{url} answers without a token", _NEED_TOKEN)
    else:
        yield Finding("ok", f"{url} refuses requests without a token (status {bare})")
    token = _token()
    if bare != 200 and token is None:
        remedy = "export RAY_AUTH_MODE=token and RAY_AUTH_TOKEN, or RAY_AUTH_TOKEN_PATH, as on the head"
        yield Finding("fault", "this terminal has no token", remedy)
        return None
    status, body = _get(f"{url}/api/version", token)
    if status != 200:
        yield Finding("fault", f"{url} refuses this token (status {status})", "use the token of the head node")
        return None
    theirs = body.get("ray_version")
    if theirs == ray.__version__:
        yield Finding("ok", f"the cluster has Ray {theirs}")
    else:
        remedy = f"install ray=={theirs} here, or one image (constraints.txt) everywhere"
        yield Finding("fault", f"the cluster has Ray {theirs}, this machine {ray.__version__}", remedy)
    status, body = _get(f"{url}/api/cluster_status", token)
    usage = (((body.get("data") or {}).get("clusterStatus") or {}).get("loadMetricsReport") or {}).get("usage")
    if status != 200 or not isinstance(usage, dict):
        yield Finding(
            "note", f"{url} does not report its resources (status {status})", "`ray status` on the head shows them"
        )
        return None
    return {kind: float(total) for kind, (_, total) in usage.items()}


def _join(address: str) -> Iterator[Finding]:
    """Joins like a driver, in another process, because joining a wrong address would wait for many minutes."""
    try:
        answer = subprocess.run(
            [sys.executable, "-c", _JOIN.format(address=address)], capture_output=True, text=True, timeout=_JOIN_S
        )
    except subprocess.TimeoutExpired:
        remedy = "start the cluster, correct the address, or unset RAY_ADDRESS"
        yield Finding("fault", f"no Ray answers at {address} within {_JOIN_S:g} s", remedy)
        return None
    if answer.returncode:
        reason = (answer.stderr.strip().splitlines() or ["no reason given"])[-1]
        yield Finding(
            "fault",
            f"cannot join {address}: {reason}",
            "start the cluster, use its token (RAY_AUTH_MODE=token, RAY_AUTH_TOKEN) and its versions of Python and "
            "Ray, or unset RAY_ADDRESS",
        )
        return None
    yield Finding("ok", f"joined the Ray at {address}: its Ray and Python are those of this machine")
    if os.environ.get("RAY_AUTH_MODE") != "token":
        yield Finding("note", "RAY_AUTH_MODE is not token", _NEED_TOKEN)
    return json.loads(answer.stdout.strip().splitlines()[-1])


def _capacity(address: str, config: ExperimentConfig | None, resources: dict[str, float]) -> Iterator[Finding]:
    listing = ", ".join(f"{resources.get(kind, 0):g} {kind}" for kind in ("CPU", "GPU"))
    if config is None or config.federation.backend == "sequential":
        yield Finding("ok", f"{address} has {listing}")
        return
    from zorba_ray.experiment.backends import fleet_actors
    from zorba_ray.federation.ray_session import require_capacity

    try:
        require_capacity(fleet_actors(config, "simulated"), resources)
        yield Finding("ok", f"{address} has {listing}: enough for the client actors")
    except ClusterError as error:
        what, _, remedy = str(error).partition(": ")
        yield Finding("fault", what, remedy)


def _token() -> str | None:
    """The token from where Ray looks for it: RAY_AUTH_TOKEN, RAY_AUTH_TOKEN_PATH, ~/.ray/auth_token."""
    if os.environ.get("RAY_AUTH_TOKEN"):
        return os.environ["RAY_AUTH_TOKEN"]
    path = Path(os.environ.get("RAY_AUTH_TOKEN_PATH") or Path.home() / ".ray" / "auth_token")
    try:
        return path.read_text(encoding="ascii").strip() or None
    except (OSError, UnicodeDecodeError):
        return None


def _get(url: str, token: str | None) -> tuple[int, dict[str, Any]]:
    """(status, JSON body) of a GET request; status 0 if nothing answers."""
    request = urllib.request.Request(url, headers={} if token is None else {"Authorization": f"Bearer {token}"})
    try:
        with urllib.request.urlopen(request, timeout=_ANSWER_S) as answer:
            return answer.status, json.loads(answer.read())
    except urllib.error.HTTPError as error:
        return error.code, {}
    except (OSError, ValueError):
        return 0, {}
