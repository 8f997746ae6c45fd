"""Entity tags: how a client proves that it changes what it has seen (RFC 9110, section 13)."""

from __future__ import annotations

import re

from .problem import Problem

_TAG = re.compile(r'"([0-9]{1,16})"\Z')


def entity_tag(version):
    """The strong tag of a version number."""
    return '"{}"'.format(version)


def required_version(request):
    """The version that If-Match names, or None for `*`; raises Problem 428 or 412.

    A weak tag or a foreign one can never match, so it is answered like a tag that does not.
    """
    value = request.headers.get("if-match")
    if value is None:
        raise Problem(428, "send If-Match with the ETag of what you want to change")
    value = value.strip()
    if value == "*":
        return None
    match = _TAG.match(value)
    if not match:
        raise Problem(412, "If-Match does not name the current version")
    return int(match.group(1))
