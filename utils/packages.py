"""Optional packages: one line for a package that is not installed, or that cannot be imported."""
from __future__ import annotations

from importlib import import_module
from types import ModuleType

# characters of a package's own message that a line shows
MOST_SHOWN = 200


def require_package(package: str, *, needed_by: str, extra: str) -> ModuleType:
    """Imports an optional package and returns it.

    Args:
        package: the name under which it is imported and installed.
        needed_by: the flag, file or feature that needs it, for the message.
        extra: of setup.cfg, which brings the package.

    Raises:
        ValueError: it is not installed, or its import fails.
    """
    try:
        return import_module(package)
    # a broken package may raise an error of any type
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise ValueError(f"{needed_by} needs {package}, which is not installed: pip install "
                             f"'.[{extra}]' in the checkout") from error
        raise ValueError(f"{needed_by} needs {package}, which is installed but cannot be imported "
                         f"({in_a_line(error)}): pip install --force-reinstall --no-deps {package} "
                         "installs it again") from error


def in_a_line(error: Exception) -> str:
    """Returns the type and the message of an error in one line of limited length."""
    message = " ".join(str(error).split())[:MOST_SHOWN]
    return f"{type(error).__name__}: {message}" if message else type(error).__name__
