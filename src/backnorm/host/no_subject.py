"""Why nothing can be audited of a target. Plain: Python 3.6, and nothing of backnorm.

`backnorm.audit.subjects.no_subject` makes the messages.
"""

from .raised import place_in, place_of, words_of

__all__ = ["NoSubject"]


class NoSubject(Exception):
    """A target is not there, does not import, or nothing can be audited of it.

    ``why`` is a word for the reason, and ``told`` a dictionary of what is known about it.
    """

    def __init__(self, why, told):
        super().__init__(why)
        self.why = why
        self.told = told

    @classmethod
    def no_file(cls, place, near, folder):
        """Return the reason of a file that is not there; ``near`` are files that are like it."""
        return cls("file", {"got": "no file " + place, "near": near, "folder": folder})

    @classmethod
    def no_module(cls, name, near, folder):
        """Return the reason of a module that is not there, looked for in the current folder too."""
        return cls("module", {"got": "no module " + name, "near": near, "folder": folder})

    @classmethod
    def other_file(cls, place, sort):
        """Return the reason of a file that is not Python: a "program", a "library" or "other"."""
        return cls("other file", {"place": place, "sort": sort})

    @classmethod
    def no_name(cls, name, title, near, names):
        """Return the reason of a module or class without a name; ``names`` are some that it has."""
        got = "no %s in %s" % (name, title)
        return cls("name", {"got": got, "near": near, "names": names})

    @classmethod
    def colons(cls, instead):
        """Return the reason of a file and a name with two colons between them."""
        return cls("colons", {"instead": instead})

    @classmethod
    def relative_import(cls, error, module, folder):
        """Return the reason of a file that imports from its package.

        ``module`` is its name as a module, where the current folder is ``folder``.
        """
        return cls("relative import", {"got": _said(error), "module": module, "folder": folder})

    @classmethod
    def no_backend(cls, error, framework, variable, backends):
        """Return the reason of a framework whose import lacks the package that it runs on.

        ``variable`` chooses one, and ``backends`` are those that are installed.
        """
        told = {"framework": framework, "variable": variable, "backends": backends}
        return cls("backend", dict(told, got=_said(error)))

    @classmethod
    def import_ended(cls, error, file):
        """Return the reason of a file whose import ends Python, as the end of a script does."""
        return cls("ended", {"got": _said(error), "place": place_in(file, error)})

    @classmethod
    def import_failed(cls, error, file=""):
        """Return the reason of an import that raises; ``file`` is that of the target, if known."""
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        told = {"got": _said(error), "missing": missing or ""}
        return cls("import", dict(told, place=place_in(file, error)))

    @classmethod
    def not_constructed(cls, error, arguments, guessed, takes):
        """Return the reason of a constructor that raises.

        ``guessed`` says whether the arguments were, and ``takes`` names those without a default.
        """
        told = {"arguments": repr(arguments), "guessed": guessed, "takes": takes}
        return cls("not constructed", dict(told, got=_said(error), place=place_of(error)))

    @classmethod
    def no_device(cls, error, device, framework):
        """Return the reason of a framework that cannot make arrays on a device here."""
        got = _said(error).partition(". ")[0]
        return cls("no device", {"got": got, "device": device, "framework": framework})

    @classmethod
    def no_devices(cls, what, device):
        """Return the reason of a target whose device the audit cannot choose."""
        return cls("no devices", {"what": what, "device": device})

    @classmethod
    def no_signature(cls, error):
        """Return the reason of a function whose arguments cannot be read."""
        return cls("signature", {"got": _said(error)})

    @classmethod
    def no_x(cls):
        """Return the reason of a function without arguments."""
        return cls("no x", {})

    @classmethod
    def no_value(cls, argument):
        """Return the reason of a function with an argument that nothing tells the value of."""
        return cls("no value", {"argument": argument})

    @classmethod
    def half_a_pair(cls, has):
        """Return the reason of an object with one of the two functions of a pair."""
        return cls("half a pair", {"has": has})

    @classmethod
    def whole_module(cls, names):
        """Return the reason of a module; ``names`` are some that it has."""
        return cls("whole module", {"names": names})

    @classmethod
    def unreadable(cls, error):
        """Return the reason of a model file that cannot be read."""
        return cls("unreadable", {"got": _said(error)})

    @classmethod
    def no_norms(cls):
        """Return the reason of a model file without a normalization."""
        return cls("no norms", {})

    @classmethod
    def no_norm(cls, name, names):
        """Return the reason of a model file without this normalization; ``names`` are some."""
        return cls("no norm", {"node": name, "names": names})

    @classmethod
    def unknown_class(cls):
        """Return the reason of a class that is neither a pair nor a layer."""
        return cls("unknown class", {})

    @classmethod
    def unknown_object(cls, kind):
        """Return the reason of an object that is neither a pair nor a layer, by its type."""
        return cls("unknown object", {"kind": kind})


def _said(error):
    return "%s: %s" % (type(error).__name__, words_of(error))
