"""Problem: an error that a client is told about, in the terms of RFC 9457."""

from __future__ import annotations

import http


class Problem(Exception):
    """Ends a request with an error status.

    `errors` are pairs of a pointer to what is wrong and a text; `headers` go into the response.
    """

    def __init__(self, status, detail, errors=(), headers=None):
        super().__init__("{}: {}".format(status, detail))
        self.status = status
        self.title = http.HTTPStatus(status).phrase
        self.detail = detail
        self.errors = tuple(errors)
        self.headers = dict(headers or {})
