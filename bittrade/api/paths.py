"""Paths in the form that our routes have: letter case and one trailing slash make no difference to a client.

Only the fixed parts of a path are rewritten; what a client puts into a route's place (a session's id) stays as it is.
"""

from collections import defaultdict
from functools import cached_property

from werkzeug.routing import Map

_Parts = tuple[str | None, ...]  # None: whatever the client puts there


class Paths:
    """The paths of one application, read from its routes when the first request comes."""

    def __init__(self, routes: Map) -> None:
        self._routes = routes

    def canonical(self, path: str) -> str:
        """Return the path of the route that is meant; the path itself where it is none of ours."""
        if path in self._fixed:
            return path
        parts = path.removesuffix("/").split("/")
        for wanted in self._by_length.get(len(parts), ()):
            if all(
                ours is None or ours == theirs.lower() for ours, theirs in zip(wanted, parts, strict=True)
            ):
                return "/".join(
                    theirs if ours is None else ours for ours, theirs in zip(wanted, parts, strict=True)
                )
        return path

    @cached_property
    def _fixed(self) -> frozenset[str]:
        return frozenset(rule.rule for rule in self._routes.iter_rules())

    @cached_property
    def _by_length(self) -> dict[int, list[_Parts]]:
        """Each route's parts by their number, those with the most fixed ones first."""
        found = [
            tuple(None if part.startswith("<") else part for part in rule.rule.split("/"))
            for rule in self._routes.iter_rules()
        ]
        by_length: dict[int, list[_Parts]] = defaultdict(list)
        for parts in sorted(found, key=lambda parts: parts.count(None)):
            by_length[len(parts)].append(parts)
        return by_length
