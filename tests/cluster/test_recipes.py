"""The recipes of the documentation, run as they stand there, with stand-ins for what other machines would do.

Covers: the scripts for Slurm and for SSH; the commands and extras in docker-compose.yml; the commands, labels and
fields of the manifest for Kubernetes. Schemas of fields come with kubernetes-validate and check-jsonschema; without
these packages the tests that need them are skipped. Does not cover: Slurm, SSH daemons, Docker, Kubernetes themselves.
"""

from __future__ import annotations

import importlib.resources
import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest

from futures_cluster import config
from futures_cluster.cli.parser import make_parser

ROOT = Path(__file__).resolve().parents[2]
TIMEOUT_S = 60

#: Each of the commands that start workers starts so many: on one host here, and not on several.
WORKERS = config.usable_cores()

#: What a user's program does, once as many workers are there as the recipe starts.
PROGRAM = """
import time
from futures_cluster import Executor

with Executor() as ex:
    while len(ex.workers()) < {workers}:
        time.sleep(0.01)
    answer = sum(ex.map(abs, range(-100, 0)))
with open("answer", "w") as file:
    file.write(str(answer))
"""

STAND_INS = {
    "futures-cluster": f'exec {shlex.quote(sys.executable)} -m futures_cluster "$@"',
    "python": f'exec {shlex.quote(sys.executable)} "$@"',
    "hostname": "echo 127.0.0.1",
    # The nodes of a job: each runs the command.
    "srun": 'for node in 1 2; do "$@" & done; wait',
    # What a remote shell gets is one line, in which it looks for words anew; and none of our variables.
    "ssh": 'echo "$1" >> hosts; shift; exec env -u FUTURES_CLUSTER_SECRET sh -c "$*"',
}


def recipe(title: str) -> str:
    """The shell script in one section of the page."""
    page = (ROOT / "docs" / "guides" / "deploy.md").read_text(encoding="utf-8")
    section = page.split(f"\n## {title}\n")[1].split("\n## ")[0]
    (script,) = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    return str(script)


def run(script: str, folder: Path, workers: int) -> str:
    """Run a script to its end, and stop what it has left running, as the end of a job does; the program's answer."""
    tools = folder / "bin"
    tools.mkdir()
    for name, line in STAND_INS.items():
        (tools / name).write_text(f"#!/bin/sh\n{line}\n")
        (tools / name).chmod(0o755)
    (folder / "program.py").write_text(PROGRAM.format(workers=workers))
    path = os.pathsep.join(filter(None, [str(ROOT), *sys.path]))
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHONPATH": path, "SLURM_JOB_ID": "7"}
    environment.pop("FUTURES_CLUSTER_SECRET", None)
    process = subprocess.Popen(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        code = process.wait(TIMEOUT_S)
    finally:
        os.killpg(process.pid, signal.SIGTERM)
        with process.stdout:
            printed = process.stdout.read()  # to its end: the last of them is gone
        process.wait()
    assert code == 0, printed
    return (folder / "answer").read_text()


def test_slurm(tmp_path: Path) -> None:
    assert run(recipe("Slurm"), tmp_path, workers=2 * WORKERS) == "5050"
    assert (tmp_path / "address-7").exists()


def test_ssh(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = str(server.getsockname()[1])
    script = recipe("SSH")
    assert script.count("8786") == 1 and script.count("scheduler --host") == 1
    script = script.replace("8786", port).replace("scheduler --host", f"scheduler --port {port} --host")
    assert run(script, tmp_path, workers=3 * WORKERS) == "5050"
    assert sorted((tmp_path / "hosts").read_text().split()) == ["node1", "node2", "node3"]


def test_docker_compose() -> None:
    yaml = pytest.importorskip("yaml")
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))["services"]
    for name, service in services.items():
        program, *arguments = shlex.split(service["command"])
        assert program == "futures-cluster"
        assert make_parser().parse_args(arguments).command == name
        assert set(service["environment"]) == {"FUTURES_CLUSTER_SECRET"}
        (extras,) = re.findall(r'pip install .*"/futures_cluster\[(.*)\]"', service["build"]["dockerfile_inline"])
        known = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
        assert set(extras.split(",")) <= set(known)


def test_docker_compose_has_the_fields_of_its_schema() -> None:
    yaml, jsonschema = pytest.importorskip("yaml"), pytest.importorskip("jsonschema")
    pytest.importorskip("check_jsonschema", reason="check-jsonschema, which brings the schema, is not installed")
    schema = importlib.resources.files("check_jsonschema") / "builtin_schemas/vendor/compose-spec.json"
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text(encoding="utf-8"))
    jsonschema.validate(services, json.loads(schema.read_text(encoding="utf-8")))


def manifests() -> list[dict[str, Any]]:
    """The objects of Kubernetes on the page about clusters."""
    yaml = pytest.importorskip("yaml")
    page = (ROOT / "docs" / "how-to" / "cluster.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```yaml\n(.*?)^```$", page, re.MULTILINE | re.DOTALL)
    return [item for block in blocks for item in yaml.safe_load_all(block)]


def test_kubernetes_runs_commands_of_ours_that_find_each_other() -> None:
    service, *deployments = manifests()
    labels = {}
    for deployment in deployments:
        name, template = deployment["metadata"]["name"], deployment["spec"]["template"]
        labels[name] = template["metadata"]["labels"]
        assert deployment["spec"]["selector"]["matchLabels"] == labels[name]
        (container,) = template["spec"]["containers"]
        program, *arguments = container["command"]
        parsed = make_parser().parse_args(arguments)
        assert (program, parsed.command) == ("futures-cluster", name)
        assert [variable["name"] for variable in container["env"]] == ["FUTURES_CLUSTER_SECRET"]
    assert service["spec"]["selector"] == labels["scheduler"]
    assert parsed.address == f"tcp://{service['metadata']['name']}:{service['spec']['ports'][0]['port']}"


def test_the_kubernetes_manifest_has_the_fields_of_its_schema() -> None:
    validator = pytest.importorskip("kubernetes_validate")
    found = manifests()
    assert [item["kind"] for item in found] == ["Service", "Deployment", "Deployment"]
    for item in found:
        validator.validate(item, validator.latest_version(), strict=True)
