"""Configuration from the environment, checked once at start.

A wrong value stops the service before it listens, with every wrong variable named: a service that
starts with half of its configuration is worse than one that does not start.
"""

from __future__ import annotations

import dataclasses

PORT_DEFAULT = TPL_PORT
LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")


class ConfigError(Exception):
    """Variables that cannot be used; one text per variable."""

    def __init__(self, problems):
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclasses.dataclass(frozen=True)
class Config:
    """What the service was told."""

    host: str = "127.0.0.1"
    port: int = PORT_DEFAULT
    database: str = "data/tpl_package.sqlite3"
    log_level: str = "INFO"
    shutdown_seconds: float = 10.0


def from_environ(environ):
    """Reads HOST, PORT, DATABASE, LOG_LEVEL and SHUTDOWN_SECONDS; raises ConfigError."""
    problems = []
    port = environ.get("PORT", str(PORT_DEFAULT))
    if not (port.isascii() and port.isdigit() and int(port) <= 65535):
        problems.append("PORT must be a number from 0 to 65535")
    level = environ.get("LOG_LEVEL", "INFO").upper()
    if level not in LEVELS:
        problems.append("LOG_LEVEL must be one of {}".format(", ".join(LEVELS)))
    database = environ.get("DATABASE", Config.database)
    if not database or "\0" in database:
        problems.append("DATABASE must be a path or :memory:")
    host = environ.get("HOST", Config.host)
    if not host or any(c.isspace() for c in host):
        problems.append("HOST must be an address or a name")
    try:
        shutdown_seconds = float(environ.get("SHUTDOWN_SECONDS", Config.shutdown_seconds))
    except ValueError:
        shutdown_seconds = -1.0
    if not 0 <= shutdown_seconds <= 300:
        problems.append("SHUTDOWN_SECONDS must be a number from 0 to 300")
    if problems:
        raise ConfigError(problems)
    return Config(host, int(port), database, level, shutdown_seconds)
