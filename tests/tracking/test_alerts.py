"""Actions of findings, a real command that is run and a real server that is told."""

from __future__ import annotations

import json
import math
import shlex
import sys
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from src.errors import UserError
from src.tracking.alerts import Alerts
from src.tracking.findings import Finding
from src.tracking.notifiers import CommandNotifier, Deliveries, UrlNotifier
from src.tracking.rules import load_rules

SPIKE = Finding("loss_spike", "warn", "train/batch_loss", 120, None, 7.5, "train/batch_loss was 7.5.", "Look.")


def command(script: str, *arguments: object) -> str:
    """A command line that runs a Python script."""
    return shlex.join([sys.executable, "-c", script, *map(str, arguments)])


# --- actions ----------------------------------------------------------------------------------------------------------


def test_a_finding_asks_for_the_actions_of_its_rule(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[clipping_rate]\naction = ["lower_lr", "checkpoint"]\n[nan_loss]\naction = "stop"\n')
    alerts = Alerts(load_rules(file))

    def asked(rule: str, severity: str) -> list[str]:
        return alerts.handle(Finding(rule, severity, "a", 1, None, 1.0, "a was 1.", ""))

    assert asked("clipping_rate", "warn") == ["lower_lr", "checkpoint"]
    assert asked("clipping_rate", "info") == ["warn"]  # the mild beginning of it
    assert asked("nan_loss", "critical") == ["stop"]
    assert asked("loss_spike", "warn") == asked("of_a_file_that_is_gone", "warn") == ["warn"]


# --- commands ---------------------------------------------------------------------------------------------------------

STORE = "import sys; open(sys.argv[1], 'a').write(sys.stdin.read() + chr(10))"


def test_a_command_gets_the_finding_as_json(tmp_path: Path) -> None:
    file = tmp_path / "told $HOME;x.jsonl"  # no shell looks at this
    alerts = Alerts(run="gru:residual", log_dir=tmp_path, notify=command(STORE, file))
    alerts.handle(Finding("echo", "info", "a", 1, None, 1.0, "a was 1.", ""))
    alerts.handle(SPIKE)
    alerts.handle(Finding("nan_loss", "critical", "Loss/train", 130, 4, math.nan, "It became nan.", "Look."))
    alerts.close()
    first, second = (json.loads(line) for line in file.read_text().splitlines())
    assert (first["run"], first["log_dir"], first["rule"], first["step"]) == (
        "gru:residual",
        str(tmp_path),
        "loss_spike",
        120,
    )
    assert first["text"] == "gru:residual: warn: loss_spike at step 120: train/batch_loss was 7.5. Look."
    assert (second["severity"], second["epoch"], second["value"]) == ("critical", 4, "nan")


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("no-such-program-here --x", "no-such-program-here cannot be run (No such file"),
        (command("import sys; sys.exit('the mail server is away')"), "ended with code 1: the mail server is away"),
    ],
)
def test_a_command_that_fails_is_reported_once(line: str, said: str) -> None:
    lines: list[str] = []
    alerts = Alerts(notify=line, report=lines.append)
    for _ in range(3):
        alerts.handle(SPIKE)
    alerts.close()
    assert len(lines) == 1 and said in lines[0] and "\n" not in lines[0]


def test_a_command_that_hangs_is_ended_and_nobody_waits_for_it() -> None:
    notifier = CommandNotifier(command("import time; time.sleep(60)"), timeout=0.3)
    lines: list[str] = []
    deliveries = Deliveries(notifier, lines.append)
    started = time.perf_counter()
    deliveries.put(b"{}")
    assert time.perf_counter() - started < 0.1
    deliveries.close(10)
    assert time.perf_counter() - started < 5 and "did not end within 0.3 s" in lines[0]


@pytest.mark.parametrize("line", ["mail 'me", "   "])
def test_a_command_that_is_none_is_refused(line: str) -> None:
    with pytest.raises(UserError, match="--notify must be a command"):
        Alerts(notify=line)


# --- addresses --------------------------------------------------------------------------------------------------------


class Server(ThreadingHTTPServer):
    """Answers POST with the codes in ``codes`` in turn, then with 204; 0 stands for an answer that never comes."""

    daemon_threads = True

    def __init__(self, codes: list[int]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.codes, self.received = codes, list[dict[str, Any]]()
        self.attempts = 0
        self.over = threading.Event()

    @property
    def url(self) -> str:
        """Its address."""
        return f"http://127.0.0.1:{self.server_port}/hook?token=secret"


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.attempts += 1
        code = self.server.codes.pop(0) if self.server.codes else 204
        if code == 0:
            self.server.over.wait(20)
            return
        if code == 204:
            self.server.received.append(json.loads(body) | {"type": self.headers["Content-Type"]})
        self.send_response(code)
        self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def server(request: pytest.FixtureRequest) -> Iterator[Server]:
    server = Server(list(request.param))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    yield server
    server.over.set()
    server.shutdown()
    server.server_close()


def told(server: Server, seconds: float, timeout: float = 5.0) -> list[str]:
    """Post one message and wait so long for it; what was reported."""
    lines: list[str] = []
    deliveries = Deliveries(UrlNotifier(server.url, timeout=timeout, pauses=(0.05, 0.1)), lines.append)
    deliveries.put(b'{"rule": "loss_spike"}')
    deliveries.close(seconds)
    return lines


@pytest.mark.parametrize("server", [[]], indirect=True)
def test_an_address_gets_the_finding_as_json(server: Server) -> None:
    alerts = Alerts(run="tcn:basic", log_dir="runs/x", notify_url=server.url)
    alerts.handle(SPIKE)
    alerts.close()
    (message,) = server.received
    assert message["rule"] == "loss_spike" and message["run"] == "tcn:basic" and message["type"] == "application/json"


@pytest.mark.parametrize("server", [[500, 500]], indirect=True)
def test_a_server_in_trouble_is_tried_again(server: Server) -> None:
    assert told(server, 5) == []
    assert server.attempts == 3 and server.received[0]["rule"] == "loss_spike"


@pytest.mark.parametrize("server", [[500, 503, 500]], indirect=True)
def test_trouble_that_stays_is_reported_without_the_secret(server: Server) -> None:
    (line,) = told(server, 5)
    assert server.attempts == 3 and "127.0.0.1 was not told (answer 500)" in line and "secret" not in line


@pytest.mark.parametrize("server", [[404]], indirect=True)
def test_a_wrong_address_is_not_tried_again(server: Server) -> None:
    (line,) = told(server, 5)
    assert server.attempts == 1 and "answer 404" in line


@pytest.mark.parametrize("server", [[0]], indirect=True)
def test_a_server_that_hangs_is_tried_again_after_the_timeout(server: Server) -> None:
    assert told(server, 5, timeout=0.2) == []
    assert server.attempts == 2 and len(server.received) == 1


@pytest.mark.parametrize("server", [[0]], indirect=True)
def test_closing_waits_a_bounded_time_for_a_server_that_hangs(server: Server) -> None:
    started = time.perf_counter()
    lines = told(server, 0.3, timeout=10)
    assert time.perf_counter() - started < 2 and lines == ["notifications of findings that were not delivered: 1"]


@pytest.mark.parametrize("server", [[0]], indirect=True)
def test_training_never_waits_even_if_hundreds_of_messages_do(server: Server) -> None:
    lines: list[str] = []
    deliveries = Deliveries(UrlNotifier(server.url, timeout=10), lines.append)
    started = time.perf_counter()
    for _ in range(300):
        deliveries.put(b"{}")
    assert time.perf_counter() - started < 0.5
    deliveries.close(0.1)
    assert "300" in lines[0] or "299" in lines[0]


def test_a_server_that_is_not_there() -> None:
    lines: list[str] = []
    deliveries = Deliveries(UrlNotifier("http://127.0.0.1:9", pauses=(0.01,)), lines.append)
    deliveries.put(b"{}")
    deliveries.close(5)
    assert len(lines) == 1 and "refused" in lines[0]


@pytest.mark.parametrize(
    "url", ["file:///etc/passwd", "ftp://host/x", "host/hook", "http://", "http://a b/", "http://h:x"]
)
def test_only_web_addresses_are_taken(url: str) -> None:
    with pytest.raises(UserError, match="--notify-url must be an http or https address"):
        Alerts(notify_url=url)
