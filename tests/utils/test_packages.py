from __future__ import annotations

import sys
from pathlib import Path

import pytest

from utils.packages import PackageError, require_package


def require(name: str) -> object:
    return require_package(name, needed_by="--flag", extra="some")


def test_a_package_that_can_be_imported_is_returned() -> None:
    assert require("json") is sys.modules["json"]


def test_a_part_of_a_package_is_imported_under_its_name(tmp_path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "whole_package").mkdir()
    (tmp_path / "whole_package/broken.py").write_text("raise RuntimeError('another torch')\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    part = require_package("json", needed_by="--flag", extra="some", module="json.decoder")
    assert part is sys.modules["json.decoder"]
    with pytest.raises(PackageError, match=r"needs absent_package, which is not installed"):
        require_package("absent_package", needed_by="--flag", extra="some",
                        module="absent_package.part")
    with pytest.raises(PackageError, match=r"needs whole_package, which is installed but cannot be "
                                           r"imported \(RuntimeError: another torch\)"):
        require_package("whole_package", needed_by="--flag", extra="some",
                        module="whole_package.broken")


def test_a_missing_package_is_named_with_its_extra() -> None:
    with pytest.raises(ValueError) as found:
        require("absent_package")
    assert str(found.value) == ("--flag needs absent_package, which is not installed: pip install "
                                "'.[some]' in the checkout")


@pytest.mark.parametrize(("code", "reason"), [
    ("raise ImportError('libtbb.so.12: cannot open shared object file')",
     "ImportError: libtbb.so.12: cannot open shared object file"),
    ("raise OSError(8, 'Exec format error')", r"OSError: [Errno 8] Exec format error"),
    ("raise RuntimeError('compiled for\\n  another numpy')",
     "RuntimeError: compiled for another numpy"),
    ("import absent_dependency", "ModuleNotFoundError: No module named 'absent_dependency'"),
    ("raise SystemError", "SystemError"),
])
def test_a_broken_package_is_named_with_its_error_and_the_way_out(
    code: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "broken_package.py").write_text(f"{code}\n")
    monkeypatch.syspath_prepend(str(tmp_path))
    with pytest.raises(ValueError) as found:
        require("broken_package")
    assert str(found.value) == (
        f"--flag needs broken_package, which is installed but cannot be imported ({reason}): "
        "pip install --force-reinstall --no-deps broken_package installs it again")
