"""Where a profiled run's rounds spent their time: profile.json as a table."""

from zorba_ray.report.load import RunRecord, read_json
from zorba_ray.report.page import Table
from zorba_ray.report.records import Record, parse
from zorba_ray.tables.text import NONE, text_percent, text_seconds


class Part(Record):
    """Seconds of one part over all rounds."""

    what: str
    seconds: float
    share: float = 0.0
    seconds_per_round: float | None = None
    cpu_s: float


class Rounds(Record):
    """Which rounds were measured: those of one session."""

    first: int
    last: int


class Profile(Record):
    """profile.json."""

    rounds: Rounds
    workers: int | None
    """Worker processes; None: clients ran in the driver's."""
    start_s: float
    check_s: float
    wall_s: float
    cpu_s: float
    parts: dict[str, Part]


def profile_table(run: RunRecord) -> Table | None:
    """The parts that took time; None for a run that was not profiled.

    Raises:
        RunDirError: profile.json is damaged.
    """
    path = run.path / "profile.json"
    if not path.exists():
        return None
    profile = parse(Profile, read_json(path), str(path))
    rows = [
        [
            part.what,
            text_seconds(part.seconds),
            NONE if part.seconds_per_round is None else text_seconds(part.seconds_per_round),
            text_percent(part.share),
            text_seconds(part.cpu_s),
        ]
        for part in profile.parts.values()
        if part.seconds or part.cpu_s
    ]
    where = "in one process" if profile.workers is None else f"on {profile.workers} workers, whose mean is shown"
    note = (
        f"Rounds {profile.rounds.first}–{profile.rounds.last} {where}: {text_seconds(profile.wall_s)}, with "
        f"evaluation; {text_seconds(profile.start_s)} before them, {text_seconds(profile.check_s)} of it to check "
        f"forward pairs. CPU: {text_seconds(profile.cpu_s)}, all processes."
    )
    return Table("Profile", ["Part", "Total", "Per round", "Share", "CPU"], rows, frozenset({1, 2, 3, 4}), note)
