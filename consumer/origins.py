"""Which settings are in force, and where does each come from?"""

import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ByteSize, SecretStr

from consumer.settings import PREFIX, Settings, Sources, load, read_sources

HIDDEN = "***"
# Properties of librdkafka that hold a secret themselves, not where it lies; those it will have one day are hidden too.
_SECRET = re.compile(
    r"pass(word|phrase)|secret|token|credential|private|jaas|assertion|oauthbearer\.(config|extensions)|key\.pem"
    r"|kinit\.cmd"
)
_NO_SECRET = re.compile(r"\.(location|url|uri|file|path|type|method|provider|algorithm|ms)$")
_USERINFO = re.compile(r"(?<=//)\S*@")


@dataclass(frozen=True, slots=True)
class Effective:
    """One key as it is in force. `value` is fit to be shown: secrets are `***`. `origin` names the variable, the secret
    file or the settings file, or is `default`."""

    key: str
    value: Any
    origin: str

    @property
    def text(self) -> str:
        """The value in one line."""
        if self.value is None:
            return "not set"
        is_plain = isinstance(self.value, str) and self.value.isprintable()
        return self.value if is_plain else json.dumps(self.value, ensure_ascii=False)


def effective_settings(file: Path | None) -> Iterator[Effective]:
    """Every key of every section, those of `kafka.extra` one by one. Raises SettingsError as `load` does."""
    settings = load(file)
    sources = read_sources(file)
    for keys, value in _leaves(settings):
        yield Effective(".".join(keys), _shown(keys, value), _origin(keys, sources))


def _leaves(settings: Settings) -> Iterator[tuple[tuple[str, ...], Any]]:
    for section, part in settings:
        for key, value in part:
            if isinstance(value, Mapping) and value:
                yield from (((section, key, name), one) for name, one in value.items())
            else:
                yield (section, key), value


def _origin(keys: tuple[str, ...], sources: Sources) -> str:
    if _holds(sources.environment, keys):
        return f"environment {_variable(keys, os.environ)}"
    if _holds(sources.secrets, keys):
        return f"secret file {sources.secret_files[_variable(keys, sources.secret_files)]}"
    return f"file {sources.file}" if _holds(sources.sections, keys) else "default"


def _holds(sections: Any, keys: tuple[str, ...]) -> bool:
    for key in keys:
        if not isinstance(sections, Mapping) or key not in sections:
            return False
        sections = sections[key]
    return True


def _variable(keys: tuple[str, ...], names: Mapping[str, Any]) -> str:
    """The one that says it: its own, or that of the map or section that holds it, as JSON."""
    by_upper = {name.upper(): name for name in names}
    for length in range(len(keys), 0, -1):
        wanted = PREFIX + "__".join(keys[:length]).upper()
        if wanted in by_upper:
            return by_upper[wanted]
    raise AssertionError(f"no variable holds {keys}")


def _shown(keys: tuple[str, ...], value: Any) -> Any:
    if isinstance(value, SecretStr) or (keys[:2] == ("kafka", "extra") and _is_secret(keys[-1])):
        return HIDDEN
    if isinstance(value, str | Path):
        return _USERINFO.sub(f"{HIDDEN}@", str(value))
    return int(value) if isinstance(value, ByteSize) else value


def _is_secret(name: str) -> bool:
    return bool(_SECRET.search(name.lower())) and not _NO_SECRET.search(name.lower())
