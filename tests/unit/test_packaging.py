"""What is installed is what stands in the folders, it is light, and it keeps the house rules."""

from __future__ import annotations

import ast
import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

import errata

ROOT = Path(__file__).parents[2]
FOLDERS = {"wrapper": "", "cache": "cache", "gates": "gates", "patches": "patches"}
"""Source folders, and where in the package each one lies."""

REINSTALL = "run `pip install -e .` again (an editable install shows the files it was made with)"
LONGEST_FILE, LONGEST_FUNCTION = 400, 60
PICKLES = {"pickle", "cPickle", "_pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}


def source_files(suffix: str = "") -> list[Path]:
    """Return the files of the source folders, relative to the root."""
    found = [path for folder in FOLDERS for path in (ROOT / folder).rglob(f"*{suffix}")]
    return sorted(
        path.relative_to(ROOT)
        for path in found
        if path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")
    )


PYTHON = source_files(".py")


def installed(path: Path) -> Path:
    """Return where the installed package shows a source file."""
    package = Path(errata.__path__[0])
    return package / FOLDERS[path.parts[0]] / Path(*path.parts[1:])


def syntax(path: Path) -> ast.Module:
    return ast.parse((ROOT / path).read_text("utf-8"), str(path))


def in_a_fresh_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/")
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_install_sees_every_file():
    assert source_files(), "no sources: this test runs from a checkout"
    for path in source_files():
        seen = installed(path)
        assert seen.is_file(), f"{path} is not in the installed package: {REINSTALL}"
        assert seen.read_bytes() == (ROOT / path).read_bytes(), f"{path} is stale: {REINSTALL}"


def test_install_shows_no_file_that_is_gone():
    package = Path(errata.__path__[0])
    shown = {path.relative_to(package) for path in package.rglob("*.py")}
    known = {installed(path).relative_to(package) for path in PYTHON}
    assert not shown - known, f"only in the installed package: {shown - known}; {REINSTALL}"


def test_starter_patches_are_a_package_of_data():
    spec = importlib.util.find_spec("errata.patches")
    assert spec is not None and spec.origin is None
    assert not list((ROOT / "patches").glob("*.py"))


@pytest.mark.skipif(sys.version_info < (3, 11), reason="tomllib came with Python 3.11")
def test_every_folder_and_data_file_is_packaged():
    import tomllib

    setup = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    packages = set(setup["packages"])
    for path in source_files():
        name = ".".join(["errata", FOLDERS[path.parts[0]], *path.parts[1:-1]]).replace("..", ".")
        name = name.rstrip(".")
        if path.suffix == ".py":
            assert name in packages, f"{path}: list {name} in [tool.setuptools] packages"
            continue
        owners = [p for p in packages if name == p or name.startswith(f"{p}.")]
        inside = {p: name.removeprefix(p).strip(".").replace(".", "/") for p in owners}
        globs = [
            (Path(inside[p]) / path.name, glob)
            for p in owners
            for glob in setup["package-data"].get(p, [])
        ]
        assert any(
            data.match(glob) and len(data.parts) == len(Path(glob).parts) for data, glob in globs
        ), f"{path}: no package-data pattern covers it"


def test_import_is_quick_and_light():
    # time on the processor, so that a busy machine does not matter
    said = in_a_fresh_python(
        "import sys, time\n"
        "start = time.process_time()\n"
        "import errata\n"
        "print(time.process_time() - start)\n"
        "print(*{'torch', 'transformers', 'faiss', 'sklearn', 'numpy'} & set(sys.modules))"
    )
    seconds, _, heavy = said.partition("\n")
    assert float(seconds) < 1 and not heavy


def test_the_cache_never_imports_torch():
    modules = [
        ".".join(("errata", *p.with_suffix("").parts))
        for p in PYTHON
        if p.parts[0] == "cache" and p.name != "__init__.py"
    ]
    assert "errata.cache.store" in modules and len(modules) > 5
    said = in_a_fresh_python(
        f"import sys, importlib\nfor name in {modules}: importlib.import_module(name)\n"
        "print(*{'torch', 'transformers', 'sentence_transformers', 'sklearn'} & set(sys.modules))"
    )
    assert not said


def test_importing_every_module_loads_no_second_copy():
    modules = [
        ".".join(("errata", FOLDERS[p.parts[0]], *p.with_suffix("").parts[1:])).replace("..", ".")
        for p in PYTHON
        if p.name not in ("__init__.py", "__main__.py")
    ]
    said = in_a_fresh_python(
        f"import sys, importlib\nfor name in {modules}: importlib.import_module(name)\n"
        "print(*{'cache', 'gates', 'wrapper', 'patches'} & set(sys.modules))"
    )
    assert not said
    assert not {"cache", "gates", "wrapper"} & set(sys.modules), "a test imports a bare folder"


def test_public_names_can_be_had():
    for name in errata.__all__:
        assert getattr(errata, name) is not None
    assert set(dir(errata)) >= set(errata.__all__)
    with pytest.raises(AttributeError, match="nothing_of_ours"):
        _ = errata.nothing_of_ours


@pytest.mark.parametrize("path", PYTHON, ids=str)
def test_house_rules(path):
    lines = (ROOT / path).read_text("utf-8").count("\n")
    assert lines <= LONGEST_FILE, f"{path} has {lines} lines, at most {LONGEST_FILE}: split it"
    for node in ast.walk(syntax(path)):
        place = f"{path}:{getattr(node, 'lineno', 0)}"
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or 0) - node.lineno + 1
            assert length <= LONGEST_FUNCTION, f"{place}: {node.name} has {length} lines"
        if isinstance(node, ast.Call):
            assert called(node) not in ("print", "torch.save", "torch.load"), place
            pickled = [k for k in node.keywords if k.arg == "allow_pickle"]
            assert all(isinstance(k.value, ast.Constant) and not k.value.value for k in pickled)
        assert not imported(node) & PICKLES, f"{place}: no pickles"


def called(node: ast.Call) -> str:
    """Return the dotted name of what is called, as it is written."""
    return ast.unparse(node.func)


def imported(node: ast.AST) -> set[str]:
    """Return the top names that an import statement brings."""
    if isinstance(node, ast.Import):
        return {alias.name.split(".")[0] for alias in node.names}
    if isinstance(node, ast.ImportFrom) and node.module:
        return {node.module.split(".")[0]}
    return set()
