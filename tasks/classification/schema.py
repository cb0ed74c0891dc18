"""Blocks of a configuration as dataclasses: each field says what it may hold, and `build` checks a block against it."""

from collections.abc import Callable, Mapping
from dataclasses import MISSING, field, fields
from numbers import Real
from typing import Any, TypeVar

from ...errors import UserError, suggest

T = TypeVar("T")


def setting(kind: str, default: Any = MISSING, **limits: Any) -> Any:
    """A field of a block.

    Args:
        kind: "whole", "number", "text", "flag", "block", or "wholes", "numbers", "texts" for lists of these, which
            become tuples. "any" is checked elsewhere.
        default: the value when the block lacks the key. None also allows null. Without a default the key is needed.
        **limits: `least` and `most` of numbers, `choices` (a tuple), `count` (length of a list).
    """
    metadata = {"kind": kind, **limits}
    if isinstance(default, dict):
        return field(default_factory=default.copy, metadata=metadata)
    return field(default=default, metadata=metadata)


def build(cls: Callable[..., T], block: Any, where: str, **given: Any) -> T:
    """Makes a dataclass from a block of a configuration.

    Args:
        cls: a dataclass with keyword-only fields. The fields made by `setting` are the keys of the block.
        block: keys and values as YAML gives them.
        where: stands before a key in messages, such as "my.yml: optimizer.".
        **given: the other fields.

    Raises:
        UserError: no block, an unknown or missing key, a value of the wrong kind or out of range.
    """
    if not isinstance(block, dict):
        raise UserError(f"{where.rstrip('.: ')} is {block!r}; a block of keys and values is expected")
    known = {f.name: f for f in fields(cls) if "kind" in f.metadata}  # type: ignore[arg-type]
    for key in block:
        if key not in known:
            raise UserError(f"{where}{key} is no key that is known; {suggest(key, known)}")
    for name, f in known.items():
        if name in block:
            given[name] = _checked(block[name], f.metadata, f.default is None, f"{where}{name}")
        elif f.default is MISSING and f.default_factory is MISSING:
            raise UserError(f"{where}{name} is missing; {_expected(f.metadata)} is expected")
    return cls(**given)


def build_typed(table: Mapping[str, type], block: Any, where: str) -> Any:
    """Makes the dataclass of `table`, name -> class, that the block's `type` names from the block's other keys."""
    if not isinstance(block, dict) or "type" not in block:
        raise UserError(f"{where.rstrip('.: ')} is {block!r}; a block with a type: is expected, {_one_of(table)}")
    kind = block["type"]
    if not isinstance(kind, str) or kind not in table:
        raise UserError(f"{where}type is {kind!r}; {suggest(kind, table)}")
    return build(table[kind], {key: value for key, value in block.items() if key != "type"}, where)


def _one_of(names):
    return f"one of {', '.join(map(str, names))}"


def _is_number(value):
    return isinstance(value, Real) and not isinstance(value, bool)


_KINDS: dict[str, tuple] = {  # kind: (what messages call a value, whether a value is one)
    "whole": ("a whole number", lambda value: type(value) is int),
    "number": ("a number", _is_number),
    "text": ("a text", lambda value: isinstance(value, str) and value != ""),
    "flag": ("true or false", lambda value: isinstance(value, bool)),
    "block": ("a block of keys and values", lambda value: isinstance(value, dict)),
    "any": ("a value", lambda value: True),
}


def _expected(limits):
    kind = limits["kind"]
    what = _KINDS[kind.removesuffix("s")][0]
    if kind.endswith("s"):
        what = " ".join(["a list of", *([str(limits["count"])] if "count" in limits else []), f"{what[2:]}s"])
    if "choices" in limits:
        return _one_of(limits["choices"])
    bounds = [f"of at {bound} {limits[bound]}" for bound in ("least", "most") if bound in limits]
    return " ".join([what, " and ".join(bounds)]).strip()


def _checked(value, limits, nullable, where):
    if value is None and nullable:
        return None
    kind = limits["kind"]
    plural = kind.endswith("s")
    values = value if plural else [value]
    fits = _KINDS[kind.removesuffix("s")][1]
    valid = isinstance(values, list) and all(fits(v) and _within(v, limits) for v in values)
    if not valid or (plural and len(values) != limits.get("count", len(values))):
        raise UserError(f"{where} is {value!r}; {_expected(limits)} is expected{', or null' if nullable else ''}")
    return tuple(value) if plural else value


def _within(value, limits):
    if "choices" in limits:
        return value in limits["choices"]
    if "least" in limits and not value >= limits["least"]:
        return False
    return "most" not in limits or value <= limits["most"]
