"""The privacy of a run: how much noise, whose secret, and the ε that is spent.

A client spends privacy in every round in which it is asked, whether its report counts or not. Spare clients are asked,
too. Who is asked is public, so that drawing the participants at random makes ε no smaller.
"""

import bisect
import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from zorba_ray.artifacts import PrivacyRecord, RunDir
from zorba_ray.artifacts.files import replace_text
from zorba_ray.assignment import FleetSchedule
from zorba_ray.config import ExperimentConfig
from zorba_ray.errors import ConfigError, RunDirError
from zorba_ray.federation import participants, spare_clients
from zorba_ray.privacy import GaussianMechanism, Secret, epsilon_of, multiplier_for
from zorba_ray.protocol.tags import report_keys


def rounds_asked(config: ExperimentConfig, fleet: FleetSchedule, last: int) -> Iterator[np.ndarray]:
    """How often each client was asked after rounds 0 … `last`: int64 [N], the same array each time."""
    settings, counts = config.federation, np.zeros(config.federation.clients, dtype=np.int64)
    yield counts
    for number in range(1, last + 1):
        absent = fleet.absent_at(number)
        arguments = (config.seed, number, settings.clients, settings.participants)
        counts[list(participants(*arguments, absent))] += 1
        counts[list(spare_clients(*arguments, settings.spares, absent))] += 1
        yield counts


def most_asked(config: ExperimentConfig, fleet: FleetSchedule, last: int) -> list[int]:
    """How often the client that was asked most had been asked after rounds 0 … `last`."""
    if config.federation.participants is None and not config.federation.changes:
        return list(range(last + 1))
    return [int(counts.max()) for counts in rounds_asked(config, fleet, last)]


def noise_for(config: ExperimentConfig, fleet: FleetSchedule) -> GaussianMechanism | None:
    """How the reports of a run are made private; None without `privacy`.

    Raises:
        ConfigError: no noise reaches `privacy.target_epsilon`.
    """
    privacy = config.privacy
    if privacy is None or privacy.clip is None:
        return None
    multiplier, target = privacy.noise_multiplier, privacy.target_epsilon
    if multiplier is None and target is not None:
        most = most_asked(config, fleet, config.rounds)[-1]
        try:
            multiplier = multiplier_for(target, privacy.delta, most)
        except ValueError as error:
            raise ConfigError(str(error)) from error
    assert multiplier is not None
    return GaussianMechanism(privacy.clip, multiplier)


def last_private_round(config: ExperimentConfig, fleet: FleetSchedule, noise: GaussianMechanism | None) -> int:
    """The last round after which no client has spent more than `privacy.target_epsilon`; at most `rounds`.

    Raises:
        ConfigError: the first round would already spend more.
    """
    privacy, last = config.privacy, config.rounds
    if noise is None or privacy is None or privacy.target_epsilon is None:
        return last
    target, reports = privacy.target_epsilon, most_asked(config, fleet, last)
    spends = functools.partial(epsilon_of, noise.multiplier, delta=privacy.delta)
    last = bisect.bisect_right(reports, target * (1 + 1e-9), key=spends) - 1  # ε grows with the reports
    if last == 0:
        raise ConfigError(
            f"privacy.target_epsilon={target:g} with privacy.noise_multiplier={noise.multiplier:g}: the first round "
            f"alone spends ε = {spends(1):.3g}; set a larger target or more noise, or leave noise_multiplier out"
        )
    return last


def privacy_record(
    config: ExperimentConfig, fleet: FleetSchedule, noise: GaussianMechanism | None, last: int
) -> PrivacyRecord | None:
    """What clients have spent after they were asked in rounds 1 … `last`; None without `privacy`."""
    if noise is None or config.privacy is None:
        return None
    most = most_asked(config, fleet, last)[-1]
    return PrivacyRecord(
        epsilon=epsilon_of(noise.multiplier, most, config.privacy.delta),
        delta=config.privacy.delta,
        clip=noise.clip,
        noise_multiplier=noise.multiplier,
        reports=most,
        spent=last < config.rounds and last >= last_private_round(config, fleet, noise),
    )


def read_secret(config: ExperimentConfig, run: RunDir) -> Secret | None:
    """The secret of a run's clients; None if they need none. A run that begins gets one: that of
    `privacy.secret_file`, or a new one.

    Raises:
        ConfigError: a file holds no secret, cannot be read, or holds another one than the run began with.
        RunDirError: the run has begun, and its secret is gone.
    """
    if config.privacy is None and not config.federation.authenticated:
        return None
    file = None if config.privacy is None else config.privacy.secret_file
    given = None if file is None else secret_of_file(Path(file).expanduser())
    if run.secret.exists() and (given is None or run.ledger.exists()):
        kept = secret_of_file(run.secret)
        if given not in (None, kept):
            raise ConfigError(
                f"privacy.secret_file={file}: the run began with another secret, which is in {run.secret}; set "
                "privacy.secret_file=null, or begin a new run in another directory"
            )
        return kept
    if run.ledger.exists():
        raise RunDirError(
            f"{run.secret} is gone: without it clients cannot answer as they did; put it back, or begin a new run in "
            "another directory"
        )
    secret = given or Secret.new()
    replace_text(run.secret, secret.text)
    return secret


def keys_of_reports(config: ExperimentConfig, run: RunDir, secret: Secret | None) -> Secret | None:
    """The keys of the tags of a run's reports, which `reports.key` holds for others to check them; None without
    `federation.authenticated`."""
    if secret is None or not config.federation.authenticated:
        return None
    keys = report_keys(secret)
    if not run.report_keys.exists():
        replace_text(run.report_keys, keys.text)
    return keys


def secret_of_file(path: Path) -> Secret:
    """The secret that a file holds.

    Raises:
        ConfigError: it holds none, or cannot be read.
    """
    try:
        text = path.read_text("ascii")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: the secret cannot be read ({error}); name a file that holds one") from error
    return Secret.of_text(text, str(path))
