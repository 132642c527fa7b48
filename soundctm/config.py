"""Configuration: frozen flat dataclasses filled from defaults, then YAML, then the command line.

A number lives once, as the default of a dataclass field made with `option`, which also carries its help text,
its allowed values and the older spellings under which the command line still accepts it.
"""

from __future__ import annotations

import argparse
import dataclasses
import math
import operator
import os
import re
import types
import typing
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from soundctm.errors import UserError, quoted
from soundctm.files import write_whole
from soundctm.files.reading import read_yaml
from soundctm.places import shipped

T = TypeVar("T")
LARGEST = {int: 2**63 - 1, float: 1e30}  # what numbers of tensors can hold, or be multiplied with
OFFICIAL_SECTION = "Experiment"  # under which the official YAML files have all of their values


def option(
    default: Any,
    help: str,
    *,
    aliases: Sequence[str] = (),
    choices: Sequence[Any] | None = None,
    spellings: Mapping[Any, Any] | None = None,
    words: Sequence[str] = (),
    value: str | None = None,
    unset: str = "none",
    low: float | None = None,
    high: float | None = None,
    above: float | None = None,
    below: float | None = None,
) -> Any:
    """A dataclass field.

    aliases: older flag spellings, without dashes. choices: the allowed values; spellings: older ones of them, which are
    accepted, but not offered. words: texts that are taken as they are beside the field's type. value: what the help
    calls the value; the type says if not given. unset: what the help gives as default for None. low, high: the smallest
    and largest number allowed; above, below: bounds that are not allowed themselves (see `check_ranges`).
    """
    metadata = {
        "help": help,
        "aliases": tuple(aliases),
        "choices": tuple(choices) if choices else None,
        "spellings": dict(spellings or {}),
        "words": tuple(words),
        "value": value,
        "unset": unset,
        "range": {
            name: bound
            for name, bound in (("low", low), ("high", high), ("above", above), ("below", below))
            if bound is not None
        },
    }
    if isinstance(default, list | dict):
        raise TypeError("use a tuple: configuration is immutable")
    return dataclasses.field(default=default, metadata=metadata)


def load_config(cls: type[T], path: str | os.PathLike | None = None, overrides: Mapping[str, Any] | None = None) -> T:
    """Build `cls` from its defaults, the YAML file at `path`, then `overrides`; unknown keys are errors.

    Raises UserError for a missing or malformed file, an unknown key or a value of the wrong kind.
    """
    values: dict[str, Any] = {}
    if path is not None:
        path = shipped(path)
        if not Path(path).exists():
            raise UserError(f"no configuration file at {path}")
        found = read_yaml(path)
        nested = found.get(OFFICIAL_SECTION)
        values.update(nested if len(found) == 1 and isinstance(nested, Mapping) else found)
    values.update(overrides or {})
    kinds = typing.get_type_hints(cls)
    fields = {f.name: f for f in dataclasses.fields(cls)}
    unknown = sorted(str(name)[:80] for name in set(values) - set(fields))
    if unknown:
        raise UserError(f"unknown configuration key {', '.join(unknown)}; known are {', '.join(sorted(fields))}")
    return cls(**{name: _coerce(value, kinds[name], name, fields[name]) for name, value in values.items()})


PLACES = {  # what the help calls the value of options of these names
    "FOLDER": r"_dir$|^(checkpoint|codec|corpus|init|teacher|vae|vocoder_from|fad_reference)$",
    "FILE": r"_(file|args|shards|config)$|^(manifest|bundle|model|ema_model|page|output|prompts|captions)$",
}


def add_arguments(parser: argparse.ArgumentParser, cls: type) -> None:
    """Give `parser` one flag per field of `cls`, plus `--config`; flags that are not given change nothing."""
    parser.add_argument("--config", default=None, metavar="YAML", help="file with values for the options below")
    kinds = typing.get_type_hints(cls)
    for field in dataclasses.fields(cls):
        kind, _ = _unwrap_optional(kinds[field.name])
        names = [field.name, *field.metadata.get("aliases", ())]
        flags = list(dict.fromkeys(f"--{name}" for name in names))
        text = f"{field.metadata.get('help', '')} (default: {_shown_default(field)})"
        extra: dict[str, Any] = {"nargs": "?", "const": "true"} if kind is bool else {}
        if typing.get_origin(kind) is tuple:
            extra = {"nargs": "+", "action": _Joined}
        parser.add_argument(
            *flags,
            dest=field.name,
            default=argparse.SUPPRESS,
            metavar=_metavar(field, kind),
            help=text.replace("%", "%%"),
            **extra,
        )


def check_ranges(config: Any) -> None:
    """Raises UserError for a number of a configuration that is outside its range, or no finite number."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        for item in value if isinstance(value, tuple) else (value,):
            if isinstance(item, int | float) and not isinstance(item, bool):
                _check_range(field.name, item, field.metadata.get("range") or {})


_BOUNDS = {  # by name: (whether a number keeps to it, how it is said)
    "low": (operator.ge, "at least"),
    "high": (operator.le, "at most"),
    "above": (operator.gt, "above"),
    "below": (operator.lt, "below"),
}


def _check_range(name: str, value: float, bounds: Mapping[str, float]) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise UserError(f"{name} is {value}; it must be a finite number")
    if not all(_BOUNDS[kind][0](value, bound) for kind, bound in bounds.items()):
        wanted = " and ".join(f"{_BOUNDS[kind][1]} {bound:g}" for kind, bound in bounds.items())
        raise UserError(f"{name} is {value}; it must be {wanted}")


class _Joined(argparse.Action):
    """Several values of one flag, `--steps 1 2 4`, become one text, as `--steps "1 2 4"` and `--steps 1,2,4` are."""

    def __call__(self, parser, namespace, values, option_string=None):
        setattr(namespace, self.dest, " ".join(values))


def config_from_args(cls: type[T], args: argparse.Namespace) -> T:
    """The configuration that `args`, parsed with `add_arguments`, asks for."""
    names = {f.name for f in dataclasses.fields(cls)}
    return load_config(cls, args.config, {k: v for k, v in vars(args).items() if k in names})


def save_config(config: Any, path: str | os.PathLike) -> None:
    """Write every value of a configuration as YAML, whole or not at all. Raises UserError."""
    values = {k: list(v) if isinstance(v, tuple) else v for k, v in dataclasses.asdict(config).items()}
    write_whole(path, yaml.safe_dump(values, sort_keys=False, allow_unicode=True))


def _shown_default(field: dataclasses.Field) -> str:
    if field.default is None:
        return field.metadata.get("unset", "none")
    if isinstance(field.default, tuple):
        return " ".join(map(str, field.default)) or field.metadata.get("unset", "none")
    return str(field.default).lower() if isinstance(field.default, bool) else str(field.default)


def _metavar(field: dataclasses.Field, kind: Any) -> str:
    """What the help calls a value: the choices, the field's own word, or its type."""
    if field.metadata.get("choices"):
        return "{" + ",".join(map(str, field.metadata["choices"])) + "}"
    if field.metadata.get("value"):
        return field.metadata["value"]
    if typing.get_origin(kind) is tuple:
        kind = (typing.get_args(kind) or (str,))[0]
    if kind is str:
        return next((word for word, names in PLACES.items() if re.search(names, field.name)), "TEXT")
    return {int: "N", float: "X", bool: "true|false"}.get(kind, "TEXT")


def _unwrap_optional(kind: Any) -> tuple[Any, bool]:
    if typing.get_origin(kind) in (typing.Union, types.UnionType):
        members = [k for k in typing.get_args(kind) if k is not type(None)]
        return members[0], len(members) < len(typing.get_args(kind))
    return kind, False


def _coerce(value: Any, kind: Any, name: str, field: dataclasses.Field) -> Any:
    kind, optional = _unwrap_optional(kind)
    if isinstance(value, str) and value.lower() in field.metadata.get("words", ()):
        return value.lower()
    if value is None or (optional and value in ("", "none", "None", "null")):
        if optional:
            return None
        raise UserError(f"{name} needs a value")
    if typing.get_origin(kind) is tuple or kind is tuple:
        member = (typing.get_args(kind) or (str,))[0]
        if isinstance(value, dict):
            raise UserError(f"{name} is {quoted(value)}; it must be a list")
        items = value.replace(",", " ").split() if isinstance(value, str) else value
        items = list(items) if isinstance(items, list | tuple) else [items]
        return tuple(_coerce(item, member, name, field) for item in items)
    result = _scalar(value, kind, name)
    result = field.metadata.get("spellings", {}).get(result, result)
    choices = field.metadata.get("choices")
    if choices and result not in choices:
        raise UserError(f"{name} is {result!r}; it must be one of {', '.join(map(str, choices))}")
    return result


def _scalar(value: Any, kind: type, name: str) -> Any:
    if kind is bool:
        if isinstance(value, bool):
            return value
        known = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
        if str(value).lower() in known:
            return known[str(value).lower()]
        raise UserError(f"{name} is {quoted(value)}; it must be true or false")
    try:
        if isinstance(value, list | tuple | dict) or (kind is not str and isinstance(value, bool)):
            raise ValueError
        if kind is int and isinstance(value, float) and not value.is_integer():
            raise ValueError
        result = kind(value)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{name} is {quoted(value)}; it must be {kind.__name__}") from None
    if kind is float and not math.isfinite(result):
        raise UserError(f"{name} is {result}; it must be a finite number")
    if kind in LARGEST and abs(result) > LARGEST[kind]:
        raise UserError(f"{name} is {quoted(result)}; numbers up to {LARGEST[kind]:g} are possible")
    return result
