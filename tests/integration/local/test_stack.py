"""The stack as its user meets it: parts come back, orders are obeyed, and no way of ending it leaves a process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psycopg
import pytest

from infra.local import client, control
from infra.local.instance import Instance
from infra.local.part import State
from infra.local.topology import ROOT
from tests.mesh import Mesh

pytestmark = pytest.mark.timeout(180)

ENVIRONMENT = {
    **{name: value for name, value in os.environ.items() if not name.startswith("BERTH_") or name == "BERTH_CACHE"},
    "BERTH_LOCAL_FREE_PORTS": "1",
    "BERTH_LOCAL_DURABLE": "0",
    "PYTHONPATH": str(ROOT),
}


def _processes(directory: Path) -> list[str]:
    """Every living process whose output goes into the folder: that is every part, and the supervisor."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                if (entry / "fd" / "1").readlink().is_relative_to(directory):
                    found.append((entry / "cmdline").read_text().replace("\0", " ")[:100])
            except OSError:
                continue
    return found


def _until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_killed_part_comes_back_and_is_named_with_its_last_words(mesh: Mesh) -> None:
    redis = mesh.part("redis")
    killed = redis.kill()
    redis.wait_for_another(killed)
    assert redis.status["restarts"] == 1
    assert redis.status["last_words"].startswith("killed by SIGKILL")
    assert "Ready to accept connections" in redis.status["last_words"]
    assert "redis died: killed by SIGKILL" in mesh.instance.log("supervisor").read_text()


def test_a_stopped_part_stays_down_until_it_is_started(mesh: Mesh) -> None:
    mail = mesh.part("mail")
    mail.stop()
    assert _until(lambda: mail.status["state"] == State.STOPPED)
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{mesh.mail_url}/messages")
    mail.start()
    mail.wait_until_serving()
    assert httpx.get(f"{mesh.mail_url}/messages").json() == []


def test_an_extra_environment_counts_for_one_process(mesh: Mesh) -> None:
    mail = mesh.part("mail")

    def told() -> bool:
        return b"BERTH_PROBE=1" in Path(f"/proc/{mail.pid}/environ").read_bytes()

    deaths = mail.status["restarts"]
    mail.restart({"BERTH_PROBE": "1"})
    assert told()
    assert mail.status["restarts"] == deaths, "an ordered end is no death"
    killed = mail.kill()
    mail.wait_for_another(killed)
    assert not told()


def test_postgres_comes_back_with_its_data(mesh: Mesh) -> None:
    with psycopg.connect(mesh.superuser_url(), autocommit=True) as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS kept (n int)")
    mesh.part("postgres").wait_for_another(mesh.part("postgres").kill())
    with psycopg.connect(mesh.superuser_url(), autocommit=True) as connection:
        connection.execute("DROP TABLE kept")
    mesh.wait_until_serving()


def test_an_unknown_order_or_part_is_refused(mesh: Mesh) -> None:
    with pytest.raises(RuntimeError, match="no such part: kafak; there are postgres"):
        mesh.order("restart", part="kafak")
    with pytest.raises(RuntimeError, match="no such order"):
        mesh.order("explode")


def test_status_counts_memory_and_cpu_and_tells_no_password(mesh: Mesh) -> None:
    shown = client.status(mesh.instance, "json")
    status = json.loads(shown)
    assert status["gateway"]["url"] == mesh.gateway_url
    assert status["parts"]["postgres"]["pss_bytes"] > 5_000_000
    assert 0 < status["pss_bytes"] < 2.5 * 1024**3
    assert not [secret for secret in mesh.secrets.values() if secret in shown]
    assert "postgres" in client.status(mesh.instance, "table")


def test_a_second_supervisor_is_refused(mesh: Mesh) -> None:
    line = [sys.executable, "-m", "infra.local", "--directory", str(mesh.instance.directory), "supervise"]
    done = subprocess.run(line, env=ENVIRONMENT, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "is held by a running supervisor" in done.stderr


def test_a_killed_supervisor_leaves_no_process(tmp_path: Path) -> None:
    instance = Instance(tmp_path)
    supervisor = client.start(instance, fresh=False, environment=ENVIRONMENT, tied=True)

    def has_started() -> bool:
        try:
            parts = control.ask(instance.control, order="status")["parts"]
        except control.NotUpError:
            return False
        return all(parts[name]["pid"] for name in ("postgres", "redis", "kafka", "stripe", "mail"))

    assert _until(has_started, 60)
    supervisor.kill()
    supervisor.wait()
    assert _until(lambda: not _processes(tmp_path), 10), _processes(tmp_path)


@pytest.fixture
def hears_ctrl_c() -> Iterator[None]:
    """What a shell starts in its background ignores Ctrl-C, and so would what we start."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("hears_ctrl_c")
def test_ctrl_c_during_the_start_leaves_no_process(tmp_path: Path) -> None:
    up = subprocess.Popen(
        [sys.executable, "-m", "infra.local", "--directory", str(tmp_path), "up"],
        env=ENVIRONMENT,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert _until((tmp_path / "logs" / "kafka.log").exists, 60)
        up.send_signal(signal.SIGINT)
        told, _ = up.communicate(timeout=60)
        assert up.returncode == 130
        assert "taking everything down" in told
        assert not _processes(tmp_path)
    finally:  # what a failure has left up
        up.kill()
        client.stop(Instance(tmp_path))


@pytest.mark.parametrize(
    ("arguments", "environment", "says"),
    [
        (["status"], {}, "nothing is up here"),
        (["logs", "kafak"], {}, "no log of kafak"),
        (["up"], {"BERTH_LOCAL_KAFKA": "nonsense"}, "BERTH_LOCAL_KAFKA takes host:port"),
    ],
)
def test_what_cannot_be_done_is_said_in_a_sentence(
    tmp_path: Path, arguments: list[str], environment: dict[str, str], says: str
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "infra.local", "--directory", str(tmp_path), *arguments],
        env=ENVIRONMENT | environment,
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert says in done.stderr
    assert "Traceback" not in done.stderr
