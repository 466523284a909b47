"""A module that cannot be imported, since a module of its own is missing."""

import a_module_that_nobody_has  # type: ignore[import-not-found]  # noqa: F401
