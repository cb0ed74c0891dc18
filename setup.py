"""The repository root is the package `densebone`; metadata lives in pyproject.toml."""

from setuptools import find_namespace_packages, setup

FOLDERS = (
    "backbones",
    "configs",
    "datasets",
    "deploy",
    "engines",
    "features",
    "integrations",
    "necks",
    "pictures",
    "profiling",
    "reports",
    "runtime",
    "scripts",
    "serving",
    "system",
    "tasks",
    "training",
    "weights",
)

setup(
    script_name="setup.py",
    package_dir={"densebone": "."},
    packages=["densebone"]
    + [f"densebone.{name}" for name in find_namespace_packages(include=[p for f in FOLDERS for p in (f, f"{f}.*")])],
    package_data={
        "": ["*.yml"],
        "densebone.reports": ["page.*"],
        "densebone.serving": ["page/*"],
        "densebone": ["py.typed", "*.pyi"],
    },
    exclude_package_data={"": ["mkdocs.yml"]},
)
