"""Where a profiled run's rounds spent their time: profile.json as a table."""

from zorba_ray.artifacts import Run
from zorba_ray.report.numbers import NONE, text_percent, text_seconds
from zorba_ray.report.page import Table


def profile_table(run: Run) -> Table | None:
    """The parts that took time; None for a run that was not profiled."""
    profile = run.profile
    if profile is None:
        return None
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
