"""Names of version 0.1 are the very objects of today, and warn."""

from __future__ import annotations

import importlib
import subprocess
import sys

import pytest

from errata.deprecation import moved

MODULES = {old: new for old, new in moved().items() if ":" not in old}
NAMES = {old: new for old, new in moved().items() if ":" in old}


@pytest.mark.parametrize(("old", "new"), MODULES.items(), ids=list(MODULES))
def test_an_old_module_stands_for_the_new_one(old, new):
    there = importlib.import_module(new)
    public = [name for name in vars(there) if not name.startswith("_") and name != "annotations"]
    stand_in = importlib.import_module(old)
    for name in public[:3]:
        with pytest.warns(DeprecationWarning, match=rf"{name} is .* since version 0\.2"):
            assert getattr(stand_in, name) is not None


@pytest.mark.parametrize(("old", "new"), NAMES.items(), ids=list(NAMES))
def test_an_old_name_is_the_same_object(old, new):
    (old_module, old_name), (module, name) = old.split(":"), new.split(":")
    with pytest.warns(DeprecationWarning, match=rf"{old_name} is {module}\.{name}"):
        found = getattr(importlib.import_module(old_module), old_name)
    assert found is getattr(importlib.import_module(module), name)


def test_no_class_exists_twice_and_what_never_was_is_not_found():
    with pytest.warns(DeprecationWarning):
        from errata.backends.changes import WeightChange as Old
    from errata.editing.changes import WeightChange

    assert Old is WeightChange
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module("errata.backends.nothing_of_ours")
    with pytest.raises(ImportError, match="nothing_of_ours"):
        from errata.backends.changes import nothing_of_ours  # noqa: F401


def test_present_names_do_not_read_the_table():
    code = (
        "import warnings; warnings.simplefilter('error')\n"
        "import errata.gates, errata.cache.records, errata.cache.index.base\n"
        "from errata import deprecation; print(deprecation.moved.cache_info().currsize)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "0"
