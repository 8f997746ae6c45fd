"""Structured logs: one JSON object per line, on standard error.

Text of a request is data, never a part of the message: `log.info("request", extra={"fields":
{...}})`. JSON escapes control characters, so a hostile path cannot forge a line.
"""

from __future__ import annotations

import datetime
import json
import logging


class JsonFormatter(logging.Formatter):
    """Writes a record as one line of JSON."""

    def format(self, record):
        """The line, without its end."""
        at = datetime.datetime.fromtimestamp(record.created, datetime.timezone.utc)
        line = {
            "at": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        for key, value in getattr(record, "fields", {}).items():
            # The three keys above are the formatter's; a field may not pretend to be one of them.
            line.setdefault(key, value)
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure(logger, level, stream):
    """Makes `logger` write JSON lines to `stream`, and nothing else."""
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonFormatter())
    logger.handlers[:] = [handler]
    logger.setLevel(level)
    logger.propagate = False
    return logger
