"""How a function of arrays is called: its arguments are told by their names.

Plain: Python 3.6, and nothing of backnorm.
"""

import inspect
import re

from . import defaults
from .names import names_an_input, role_of
from .no_subject import NoSubject

__all__ = ["may_be_none", "of_function"]

BY_PLACE = ("x", "gamma", "beta")
"""What the first arguments are where their names say nothing."""


def of_function(function, signature, given, kind, train):
    """Return the layer spec of a function of arrays.

    ``signature`` is what its arguments are read from: mostly the function itself. ``given`` are
    arguments that the caller fixes: by name, or those after x, gamma and beta.
    """
    positional, keywords = _plan(signature, given)
    roles = {role for role, _ in positional} | {role for role, _ in keywords.values()}
    shape = (defaults.CHANNELS[kind],)
    groups = defaults.GROUPS if "groups" in roles else 0
    fixed = {"training": train, "inference": not train, "channels": shape, "groups": groups}

    def call(arrays):
        def value(role, default):
            return arrays.get(role, fixed.get(role, default))

        arguments = [value(role, default) for role, default in positional]
        named = {name: value(role, default) for name, (role, default) in keywords.items()}
        return function(*arguments, **named)

    return {
        "call": call,
        "last": getattr(function, "channels_last", False),
        "axis_names": _axes_of(function, signature, given),
        "shape": shape,
        "gamma": "gamma" in roles,
        "beta": "beta" in roles,
        "groups": groups,
        "constants": {
            role: defaults.running(role, shape[0]) for role in roles if "running" in role
        },
        "modes": bool(roles & {"training", "inference"}),
        "optional": may_be_none(signature),
    }


def _axes_of(function, signature, given):
    """Return the axes of JAX that a function names: by an argument, or by an attribute."""
    argument = inspect.signature(signature).parameters.get("axis_name")
    if argument is None:
        return getattr(function, "axis_name", None)
    if isinstance(given, dict) and argument.name in given:
        return given[argument.name]
    return None if argument.default is argument.empty else argument.default


def may_be_none(function):
    """Whether a function takes None for gamma and beta: by their defaults or annotations."""
    try:
        parameters = list(inspect.signature(function).parameters.values())
    except (TypeError, ValueError):
        return False
    meant = [p for p in parameters if role_of(p.name) in ("gamma", "beta")]
    return bool(meant) and all(
        p.default is not p.empty or re.search(r"\b(None|Optional)\b", str(p.annotation))
        for p in meant
    )


def _plan(signature, given):
    """Work out for each argument its role, and its value where that is fixed."""
    try:
        parameters = list(inspect.signature(signature).parameters.values())
    except (TypeError, ValueError) as error:
        raise NoSubject.no_signature(error) from error
    if not parameters:
        raise NoSubject.no_x()
    if not isinstance(given, dict):
        after = [p.name for p in parameters[1:] if role_of(p.name) not in BY_PLACE]
        given = dict(zip(after, given or ()))
    positional, keywords = [], {}
    for place, parameter in enumerate(parameters):
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            continue
        entry = _entry(place, parameter, given)
        if parameter.kind is parameter.KEYWORD_ONLY:
            keywords[parameter.name] = entry
        else:
            positional.append(entry)
    return positional, keywords


def _entry(place, parameter, given):
    if parameter.name in given:
        return "fixed", given[parameter.name]
    role = "x" if place == 0 else role_of(parameter.name)
    if role and (role != "x" or place == 0):
        return role, None if parameter.default is parameter.empty else parameter.default
    if parameter.default is not parameter.empty:
        return "fixed", parameter.default
    if place < len(BY_PLACE) and not names_an_input(parameter.name):
        return BY_PLACE[place], None
    raise NoSubject.no_value(parameter.name)
