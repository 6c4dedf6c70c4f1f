"""The image, as far as its recipe tells: no container engine runs where these tests do."""

from __future__ import annotations

import tomllib

import yaml

from tests.policies.conftest import ROOT

INSTRUCTIONS = [
    (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1])
    for line in (ROOT / "Dockerfile").read_text().splitlines()
    if line and not line.startswith("#")
]
LAST_STAGE = INSTRUCTIONS[max(at for at, (word, _) in enumerate(INSTRUCTIONS) if word == "FROM") :]


def test_it_runs_as_the_user_that_the_deployment_names() -> None:
    documents = yaml.safe_load_all((ROOT / "manifests" / "base" / "operator" / "deployment.yaml").read_text())
    (deployment,) = (one for one in documents if one["kind"] == "Deployment")
    context = deployment["spec"]["template"]["spec"]["securityContext"]
    assert ("USER", f"{context['runAsUser']}:{context['runAsGroup']}") in LAST_STAGE


def test_it_starts_the_operator() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    ((_, entrypoint),) = (one for one in LAST_STAGE if one[0] == "ENTRYPOINT")
    assert yaml.safe_load(entrypoint)[0] in scripts


def test_everything_that_is_copied_is_there_and_not_ignored() -> None:
    let_through = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    copied = {
        source
        for word, rest in INSTRUCTIONS
        if word == "COPY" and not rest.startswith("--from")
        for source in rest.split()[:-1]
    }
    assert copied == let_through
    assert [name for name in copied if not (ROOT / name).exists()] == []


def test_no_installer_is_left_in_it() -> None:
    assert ("RUN", "python -m pip uninstall --yes pip setuptools wheel") in LAST_STAGE
    assert not [rest for word, rest in LAST_STAGE if word == "RUN" and "install " in rest and "uninstall" not in rest]
