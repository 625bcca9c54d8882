"""Real reverse proxies for tests, set up as docs/proxy.md says; `python -m tests.helpers.browser` installs them too."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.helpers.waiting import PATIENCE

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = {"nginx": ("nginx-light", "openssl"), "caddy": ("caddy", "openssl")}
NGINX = """
daemon off;
pid {folder}/pid;
error_log stderr;
{user}
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  {documented}
}}
"""
CADDY = """
{{
  admin off
  auto_https disable_redirects
}}
{documented}
"""


def missing(proxy: str) -> str | None:
    """The first program that a test with this proxy needs and this machine has not."""
    return next((name for name in (proxy, "openssl") if program(name) is None), None)


def program(name: str) -> str | None:
    """Where a program is, also where only the administrator's path leads."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin:/sbin")


def install() -> None:
    """Install, by the system's packages where we may, what is missing; tests of the others are skipped."""
    if not shutil.which("apt-get") or os.geteuid() != 0:
        return
    quiet = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for proxy, packages in PACKAGES.items():
        if missing(proxy):
            command = ["apt-get", "install", "-y", "-qq", "--no-install-recommends", *packages]
            subprocess.run(command, check=False, env=quiet, stdout=subprocess.DEVNULL)


@contextmanager
def running_proxy(proxy: str, folder: Path, upstream: int) -> Iterator[str]:
    """A proxy with TLS in front of a port of this machine; gives the address of the dashboard behind it."""
    port = _free_port()
    certificate, key = _certificate(folder)
    if proxy == "nginx":
        changes = {"listen 443": f"listen 127.0.0.1:{port}", "/etc/ssl/lab.example.pem": str(certificate)}
        changes |= {"/etc/ssl/lab.example.key": str(key), "server_name lab.example": "server_name localhost"}
        frame, command = NGINX, ["-p", str(folder), "-c", str(folder / "nginx")]
    else:
        changes = {"lab.example {": f"https://localhost:{port} {{\ntls {certificate} {key}"}
        frame, command = CADDY, ["run", "--adapter", "caddyfile", "--config", str(folder / "caddy")]
    documented = _documented(proxy, {**changes, "127.0.0.1:5000": f"127.0.0.1:{upstream}"})
    user = "user root;" if os.geteuid() == 0 else ""  # a folder of the tests is nobody else's
    (folder / proxy).write_text(frame.format(folder=folder, user=user, documented=documented))
    home = {**os.environ, "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    process = subprocess.Popen([str(program(proxy)), *command], env=home, stderr=(folder / "log").open("w"))
    try:
        _wait_for(port, process, folder / "log")
        yield f"https://localhost:{port}/quadra/"
    finally:
        process.terminate()
        process.wait(PATIENCE)


def _documented(proxy: str, changes: dict[str, str]) -> str:
    """The configuration in the documentation, with each of these names exchanged; all of them must be there."""
    kind = {"nginx": "nginx", "caddy": "caddyfile"}[proxy]
    found = re.search(rf"```{kind}\n(.*?)```", (ROOT / "docs" / "proxy.md").read_text(encoding="utf-8"), re.DOTALL)
    assert found, f"docs/proxy.md has no configuration of {proxy}"
    text = found[1]
    for name, other in changes.items():
        assert name in text, f"the documented configuration of {proxy} has no {name!r} any more"
        text = text.replace(name, other)
    return text


def _certificate(folder: Path) -> tuple[Path, Path]:
    certificate, key = folder / "certificate.pem", folder / "key.pem"
    made = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
    made += ["-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"]
    made += ["-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    return certificate, key


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + PATIENCE
    while process.poll() is None and time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise AssertionError(f"the proxy does not answer: {log.read_text()}")
