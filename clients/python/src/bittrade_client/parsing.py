"""From JSON to the values of `models`: known fields are read by their types, unknown ones stay in `raw`."""

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from decimal import Decimal
from types import NoneType, UnionType
from typing import Any, Self, Union, get_args, get_origin, get_type_hints

from bittrade_client.errors import UnexpectedAnswer


@dataclass(frozen=True, slots=True, kw_only=True)
class Model:
    """A part of an answer. `raw` has all that the server said, also what this version knows nothing of."""

    raw: Mapping[str, Any] = field(repr=False, compare=False)

    @classmethod
    def parse(cls, said: Any, **more: Any) -> Self:
        """Return the value. Raises UnexpectedAnswer where a field is missing or of another kind."""
        if not isinstance(said, Mapping):
            raise UnexpectedAnswer(f"{cls.__name__}: no object")
        values = {
            name: _read(f"{cls.__name__}.{name}", hint, said[name])
            for name, hint in _hints_of(cls).items()
            if name in said and name not in more
        }
        missing = [
            each.name for each in fields(cls) if _is_needed(each) and each.name not in {*values, *more}
        ]
        if missing:
            raise UnexpectedAnswer(f"{cls.__name__}: the answer has no {', '.join(missing)}")
        return cls(raw=said, **values, **more)


def _is_needed(each: Any) -> bool:
    return each.name != "raw" and each.default is MISSING and each.default_factory is MISSING


_hints: dict[type, dict[str, Any]] = {}


def _hints_of(kind: type[Model]) -> dict[str, Any]:
    if kind not in _hints:
        _hints[kind] = {name: hint for name, hint in get_type_hints(kind).items() if name != "raw"}
    return _hints[kind]


def _read(where: str, hint: Any, value: Any) -> Any:
    try:
        return _convert(hint, value)
    except (TypeError, ValueError, ArithmeticError) as error:
        raise UnexpectedAnswer(f"{where}: {value!r}") from error


def _convert(hint: Any, value: Any) -> Any:
    if get_origin(hint) in (Union, UnionType):
        if value is None and NoneType in get_args(hint):
            return None
        (hint,) = (each for each in get_args(hint) if each is not NoneType)
    if get_origin(hint) is tuple:
        if not isinstance(value, list):
            raise TypeError
        return tuple(_convert(get_args(hint)[0], each) for each in value)
    if hint is datetime:
        return datetime.fromisoformat(value)
    if hint is Decimal:
        return Decimal(str(value))
    if hint is int:
        if isinstance(value, bool) or int(value) != value:
            raise TypeError
        return int(value)
    if isinstance(hint, type) and issubclass(hint, Model):
        return hint.parse(value)
    if hint in (str, bool) and not isinstance(value, hint):
        raise TypeError
    return value
