"""Makes profile.json: where the wall time of a session's rounds went. The parts add up to the whole.

If clients run in the driver's process, their parts are parts of its time. If they run in workers, the time in which the
driver waits for them is divided: the mean over the workers is forward, perturb and so on; what the slowest worker of a
round took beyond the mean is imbalance; the remaining time is Ray's. CPU seconds are those of all processes.
"""

from collections.abc import Sequence

from zorba_ray.artifacts.run_files import Profile, ProfiledRounds, ProfilePart
from zorba_ray.federation import Usage
from zorba_ray.stopwatch import Path, Reading, Spent

_PARTS = {
    "forward": "forward passes: prefix, pairs, head, estimate",
    "perturb": "directions: θ ± μz",
    "local_steps": "directions: updates of local steps",
    "kernels": "directions: first calls, which load or compile kernels",
    "batches": "minibatches",
    "messages": "plans and reports, on the client side",
    "imbalance": "slowest worker beyond the mean",
    "ray": "Ray: calls, transport, queues, sending commits",
    "assignment": "assigning the blocks: solver, rotation, probe",
    "aggregate": "checking and aggregating reports",
    "ledger": "appending to the ledger, with fsync",
    "apply": "directions: the commit on the driver's θ",
    "distance": "distance ‖θ − θ₀‖",
    "evaluation": "evaluation",
    "records": "metrics.jsonl and trackers",
    "watchers": "terminal; in a trial, waiting for the sweep",
    "snapshots": "snapshots",
    "rest": "everything else",
}


def round_profile(driver: Reading, usage: Sequence[Usage] | None, first: int, last: int) -> Profile:
    """The profile of rounds `first` … `last`.

    Args:
        driver: times of the driver; their paths begin with `start` or `rounds`.
        usage: of the workers; their paths begin with `answer`, whose laps are rounds, or with `apply`. None: clients
            ran in the driver's process. The time of a worker before a restart is lost, and counts as Ray's.
    """
    workers = [worker.reading for worker in usage or () if worker.reading is not None]
    spent = dict.fromkeys(_PARTS, Spent())
    for path, time in driver.parts.items():
        if path[:1] == ("rounds",):
            spent[_part(path, usage is None)] += time
    if workers:
        _share_out(spent, workers)
    wall, count = sum(time.wall_s for time in spent.values()), last - first + 1
    applied = [time for worker in workers for path, time in worker.parts.items() if path[:1] == ("apply",)]

    def driver_seconds(*path: str) -> float:
        return sum(time.wall_s for open_parts, time in driver.parts.items() if open_parts[: len(path)] == path)

    return Profile(
        rounds=ProfiledRounds(first=first, last=last, count=count),
        workers=None if usage is None else len(workers),
        start_s=driver_seconds("start"),
        check_s=driver_seconds("start", "check"),
        wall_s=wall,
        cpu_s=sum(time.cpu_s for time in (*spent.values(), *applied)),
        parts={
            name: ProfilePart(
                what=_PARTS[name],
                seconds=time.wall_s,
                share=time.wall_s / wall if wall else 0.0,
                seconds_per_round=time.wall_s / count if count else None,
                cpu_s=time.cpu_s,
            )
            for name, time in spent.items()
        },
    )


def _part(path: Path, in_driver: bool) -> str:
    """The part to which a path of the stopwatch belongs; `in_driver`: clients run in the driver's process."""
    name = path[-1]
    if "apply" in path and name != "kernels":
        return "apply"  # low-rank commits draw their factors inside this part
    names = {
        "commit": "local_steps",
        "rounds": "rest",
        "answer": "messages",
        "ask": "messages" if in_driver else "ray",
        "send": "apply" if in_driver else "ray",
    }
    return names.get(name, name)


def _share_out(spent: dict[str, Spent], workers: Sequence[Reading]) -> None:
    """Divides the time in which the driver waited (in `ray`) among the parts of the workers, imbalance and Ray."""
    rounds = {number for worker in workers for number in worker.laps}
    busiest = sum(max(worker.laps.get(number, 0.0) for worker in workers) for number in rounds)
    waited = spent["ray"].wall_s
    # After a deadline a worker may have gone on computing while nobody waited.
    scale = min(1.0, waited / busiest) if busiest else 1.0
    mean = 0.0
    for worker in workers:
        for path, time in worker.parts.items():
            if path[:1] == ("answer",):
                share = Spent(scale * time.wall_s / len(workers), time.cpu_s)
                spent[_part(path, False)] += share
                mean += share.wall_s
            elif path == ():
                spent["ray"] += Spent(0.0, time.cpu_s)
    spent["imbalance"] += Spent(max(0.0, scale * busiest - mean))
    spent["ray"] += Spent(-scale * busiest)
