"""The files around the package name the same versions, and things that exist."""

import re
from pathlib import Path

import pytest
import yaml

import densebone

ROOT = Path(__file__).parents[1]
FORMS = sorted((ROOT / ".github/ISSUE_TEMPLATE").glob("*.yml"))


def text(name):
    return (ROOT / name).read_text()


def test_the_citation_is_of_the_newest_version_of_the_changelog():
    citation = yaml.safe_load(text("CITATION.cff"))
    newest = re.findall(r"^## (\d\S*)", text("CHANGELOG.md"), flags=re.M)[0]
    assert (citation["title"], citation["version"]) == ("densebone", newest)
    assert newest == densebone._NEXT_VERSION  # which a release's commit names, and the commit behind it raises
    notice = " ".join(text("NOTICE").split())
    assert [one["title"] for one in citation["references"] if one["title"] not in notice] == []


def test_the_commit_hooks_have_the_linter_of_make_lint():
    (repository,) = yaml.safe_load(text(".pre-commit-config.yaml"))["repos"]
    assert f"ruff=={repository['rev'].removeprefix('v')}\n" in text("constraints.txt")
    assert [hook["id"] for hook in repository["hooks"]] == ["ruff-check", "ruff-format"]


def test_the_images_have_the_paddle_of_make():
    (default,) = re.findall(r"^PADDLE \?= (.*)$", text("Makefile"), flags=re.M)
    assert re.findall(r"^ARG PADDLE=(.*)$", text("Dockerfile"), flags=re.M) == [default] * 2


def test_the_images_install_extras_that_exist():
    extras = set(re.findall(r"^(\w+) = \[", text("pyproject.toml"), flags=re.M))
    named = re.findall(r'"/src\[([\w,]+)\]"', text("Dockerfile"))
    assert len(named) == 2 and all(set(one.split(",")) <= extras for one in named)


def test_the_workflow_runs_what_ci_runs():
    jobs = yaml.safe_load(text(".github/workflows/ci.yml"))["jobs"]
    run = {name: [step.get("run", "") for step in job["steps"]] for name, job in jobs.items()}
    ours = {name: [line for line in lines if line.startswith(".")] for name, lines in run.items()}
    assert ours == {"ci": [".ci/run"], "package": [".ci/package python"]}
    assert all((ROOT / one[0].split()[0]).stat().st_mode & 0o111 for one in ours.values())


@pytest.mark.parametrize("form", [form for form in FORMS if form.stem != "config"], ids=lambda form: form.stem)
def test_forms_for_issues_are_complete(form):
    content = yaml.safe_load(form.read_text())
    assert {"name", "description", "body"} <= set(content)
    fields = [part for part in content["body"] if part["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) >= 2
    assert all(field["attributes"]["label"] for field in fields)
