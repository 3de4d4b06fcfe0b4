"""Optional packages: one line for a package that is not installed, or that cannot be imported."""
from __future__ import annotations

from importlib import import_module
from types import ModuleType

from utils.errors import in_a_line


class PackageError(ValueError):
    """An optional package cannot be imported; the message says why and what to do."""


def require_package(package: str, *, needed_by: str, extra: str,
                    module: str | None = None) -> ModuleType:
    """Imports an optional package and returns it.

    Args:
        package: the name under which it is imported and installed.
        needed_by: the flag, file or feature that needs it, for the message.
        extra: of setup.cfg, which brings the package.
        module: the part of it that is imported and returned; by default the package itself.

    Raises:
        PackageError: it is not installed, or its import fails.
    """
    try:
        whole = import_module(package)
        return import_module(module) if module else whole
    # a broken package may raise an error of any type
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and error.name == package:
            raise PackageError(f"{needed_by} needs {package}, which is not installed: pip install "
                               f"'.[{extra}]' in the checkout") from error
        raise PackageError(f"{needed_by} needs {package}, which is installed but cannot be "
                           f"imported ({in_a_line(error)}): pip install --force-reinstall "
                           f"--no-deps {package} installs it again") from error
