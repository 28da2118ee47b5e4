"""consumer doctor: would a consumer with these settings run here?"""

from consumer.commands.findings_list import show
from consumer.commands.frame import AsJson, SettingsFile, ending, open_settings


def doctor(*, as_json: AsJson = False, settings: SettingsFile = None) -> None:
    """Check everything that `consumer run` stands on, one line each, with what to do about what is red.

    Brokers and their version, topics and size limits, rights on topics, group and transactional id, buckets, weights
    and engine (one image is really run), memory and threads against the container, the port for health.
    Nothing is written, no group is joined, no running consumer is disturbed.

    Exit codes: 0 nothing is red, 1 something is, 2 settings (all their problems at once), 70 a bug, 130 Ctrl-C.

    Example: consumer doctor --settings settings.yaml
    """
    with ending():
        loaded = open_settings(settings)
        from consumer.checkup.checkup import check_up

        show(check_up(loaded), as_json=as_json)
