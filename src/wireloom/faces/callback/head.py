"""Head: the head of a request in plain values, as JavaScript's servers give it."""

from __future__ import annotations

from wireloom.core.caller import Head

__all__ = ["headers_of", "url_of"]


def headers_of(head: Head) -> dict[str, str]:
    """All headers, names in lower case; one that is repeated is joined by commas (RFC 9110 §5.2), cookies by semicolons
    (RFC 9113 §8.2.3).
    """
    headers: dict[str, str] = {}
    for raw_name, raw_value in head.headers:
        name, value = raw_name.decode("latin-1"), raw_value.decode("latin-1")
        before = headers.get(name)
        headers[name] = value if before is None else f"{before}{'; ' if name == 'cookie' else ', '}{value}"
    return headers


def url_of(head: Head) -> str:
    """Path and query as they were sent."""
    return f"{head.path}?{head.query_string}" if head.query_string else head.path
