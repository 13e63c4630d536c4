"""Read, override, save and fingerprint the frozen dataclass that configures a verb.

A verb is a function of one frozen dataclass. Its fields are the flags, the YAML keys and the
arguments of the library call; the string under a field is its help. A field's ``metadata`` may say

* ``positional``: given by place on the command line, ``"one"`` or ``"many"``;
* ``many``: True where a flag takes several words, as ``--to pdf fhir``;
* ``result``: False where the field cannot touch a result (``out``, ``workers`` …), which leaves it
  out of the fingerprint. Forgetting it costs time, never a wrong result.
"""

from __future__ import annotations

import dataclasses
import difflib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

from koilo.errors import ConfigError
from koilo.files import sha256_text

C = TypeVar("C")

FINGERPRINT_FORMAT = 1


def fingerprint(config: Any, *more: str) -> str:
    """Hex SHA-256 over every field of ``config`` that may touch a result, and over ``more``.

    Args:
        config: a dataclass instance; fields with ``metadata={"result": False}`` are left out.
        more: other identities that belong to the key, such as the bundle's and the slide's hash.
    """
    value = {
        "format": FINGERPRINT_FORMAT,
        "type": type(config).__name__,
        "fields": _result_fields(config),
        "more": list(more),
    }
    return sha256_text(json.dumps(value, sort_keys=True, allow_nan=True))


def to_dict(config: Any) -> dict[str, Any]:
    """All fields of ``config`` as plain JSON values; paths as text."""
    return {field.name: _plain(getattr(config, field.name)) for field in dataclasses.fields(config)}


def parse(config_class: type[C], arguments: Sequence[str], *, prog: str, description: str) -> C:
    """Build ``config_class`` from defaults, then ``--config FILE``, then flags.

    Flags may be spelt with ``-`` or ``_``.

    Raises:
        ConfigError: an unknown flag or field (with the nearest name), or a value out of type.
        SystemExit: after ``--help`` or ``--print_config`` (status 0).
    """
    parser = _build_parser(config_class, prog, description)
    normalised = [_normalise(argument) for argument in arguments]
    if any(argument in ("-h", "--help") for argument in normalised):
        print(_hyphenate(parser.format_help()), end="")
        raise SystemExit(0)
    try:
        parsed = parser.parse_args(normalised)
        values = parser.instantiate(parsed)
    except ConfigError:
        raise
    except Exception as error:  # jsonargparse raises several kinds; each becomes one line
        raise ConfigError(_explain(error, config_class, prog)) from error
    names = {field.name for field in dataclasses.fields(config_class)}  # type: ignore[arg-type]
    kept = {name: value for name, value in vars(values).items() if name in names}
    return config_class(**_tuples(config_class, kept))


def _build_parser(config_class: type[Any], prog: str, description: str) -> Any:
    import jsonargparse

    class Help(jsonargparse.DefaultHelpFormatter):
        """Says "path" where jsonargparse would print the class."""

        def _get_type_str(self, action: Any) -> str | None:
            shown: str | None = super()._get_type_str(action)
            return shown and shown.replace("<class 'Path'>", "path")

    jsonargparse.set_parsing_settings(docstring_parse_attribute_docstrings=True)
    parser = jsonargparse.ArgumentParser(
        prog=prog,
        description=description,
        exit_on_error=False,
        default_env=False,
        formatter_class=Help,
    )
    parser.add_argument("--config", action="config", help="YAML file of settings; flags win")
    helps = field_docs(config_class)
    skip: set[str] = set()
    for field in dataclasses.fields(config_class):
        place = field.metadata.get("positional")
        if place:
            optional = _has_default(field)
            nargs = {("many", False): "+", ("many", True): "*", ("one", True): "?"}.get(
                (place, optional)
            )
            extra: dict[str, Any] = {"nargs": nargs} if nargs else {}
            if optional:
                extra["default"] = _default(field)
            parser.add_argument(
                field.name,
                type=str,
                help=helps.get(field.name, ""),
                metavar=field.name.upper(),
                **extra,
            )
            skip.add(field.name)
        elif field.metadata.get("many"):
            parser.add_argument(
                f"--{field.name}",
                nargs="+",
                type=str,
                required=not _has_default(field),
                default=_default(field) if _has_default(field) else None,
                help=helps.get(field.name, ""),
                metavar=field.name.upper(),
            )
            skip.add(field.name)
        elif field.type in ("bool", bool) and field.default is False:
            parser.add_argument(
                f"--{field.name}", action="store_true", help=helps.get(field.name, "")
            )
            skip.add(field.name)
    parser.add_class_arguments(config_class, None, skip=skip, fail_untyped=True)
    return parser


def field_docs(config_class: type[Any]) -> dict[str, str]:
    """The string under each field of a dataclass, bases included: its help."""
    from docstring_parser import parse_from_object

    docs: dict[str, str] = {}
    for base in reversed(config_class.__mro__):
        if dataclasses.is_dataclass(base):
            for parameter in parse_from_object(base).params:
                docs[parameter.arg_name] = " ".join((parameter.description or "").split())
    return docs


def nearest(name: str, allowed: Sequence[str]) -> str:
    """A hint for a misspelt name: ``Did you mean 'x'?`` or the list of what is allowed."""
    close = difflib.get_close_matches(name, allowed, n=1, cutoff=0.5)
    return f"Did you mean '{close[0]}'?" if close else f"Allowed: {', '.join(sorted(allowed))}."


def _explain(error: Exception, config_class: type[Any], prog: str) -> str:
    text = " ".join(str(error).split())
    names = [field.name for field in dataclasses.fields(config_class)]
    unknown = re.search(r"[Uu]nrecognized arguments?:? (?:\[?')?--?([\w.-]+)", text) or re.search(
        r"(?:Key|key|option|Option) '([\w.]+)' (?:is )?not (?:expected|accepted)", text
    )
    unknown = unknown or re.search(
        r"[Gg]roup '?\S*?'? does not accept (?:nested )?key '([\w.]+)'", text
    )
    if unknown:
        name = unknown.group(1).replace("-", "_")
        hint = nearest(name, names).replace("_", "-")
        return f"{prog}: unknown setting '{unknown.group(1)}'. {hint} See `{prog} --help`."
    chosen = re.search(
        r'key "([\w.]+)": .*typing\.Literal\[(.*?)\].*(?:Given|Got) value: (.*)$', text
    )
    if chosen:
        name, allowed, given = chosen.groups()
        return (
            f"{prog}: {name.replace('_', '-')} is '{given.rstrip('.')[:40]}'. Allowed: "
            f"{allowed.replace(chr(39), '')}. See `{prog} --help`."
        )
    return f"{prog}: {text.rstrip('.')}. See `{prog} --help`."


def _normalise(argument: str) -> str:
    if not argument.startswith("--"):
        return argument
    name, equals, value = argument.partition("=")
    return "--" + name[2:].replace("-", "_") + equals + value


def _hyphenate(text: str) -> str:
    return re.sub(r"--[a-z][\w.]*", lambda match: match.group().replace("_", "-"), text)


def _has_default(field: Any) -> bool:
    return (
        field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING
    )


def _default(field: Any) -> Any:
    if field.default is not dataclasses.MISSING:
        return field.default
    return field.default_factory()


def _tuples(config_class: type[Any], values: dict[str, Any]) -> dict[str, Any]:
    """Positional arguments come as text or lists of text: give them their declared type."""
    hints = get_type_hints(config_class)
    for name, value in values.items():
        declared = str(hints.get(name))
        if isinstance(value, list) and "tuple" in declared:
            converted = [Path(item) for item in value] if "Path" in declared else value
            values[name] = tuple(converted)
        elif isinstance(value, str) and "Path" in declared:
            values[name] = Path(value)
    return values


def _result_fields(config: Any) -> dict[str, Any]:
    return {
        field.name: _result_fields(getattr(config, field.name))
        if dataclasses.is_dataclass(getattr(config, field.name))
        else _plain(getattr(config, field.name))
        for field in dataclasses.fields(config)
        if field.metadata.get("result", True)
    }


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return to_dict(value)
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple | list | set | frozenset):
        items = [_plain(item) for item in value]
        return sorted(items) if isinstance(value, set | frozenset) else items
    if isinstance(value, dict):
        return {str(key): _plain(item) for key, item in value.items()}
    return value
