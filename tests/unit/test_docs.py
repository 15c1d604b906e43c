"""The documents say what the code does, and no committed file names one machine."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
# Spelled in two halves, or this file would be the first to be found.
MACHINE = [
    "/" + "work/",
    "/" + "root/",
    "/home" + "/",
    ".pyenv" + "/",
    "pythonhosted" + ".org",
    "pypi" + ".org",
    "deb.debian" + ".org",
]


def committed_files() -> list[Path]:
    """Return the files that git knows, or those that a release contains."""
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True
    )
    names = listing.stdout.decode().rstrip("\0").split("\0")
    return [path for path in map(ROOT.joinpath, names) if path.is_file()]


def verbs() -> list[str]:
    """Return the verbs as `liveheap --help` lists them."""
    help_text = subprocess.run(
        [sys.executable, "-m", "liveheap_client", "--help"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    listed = help_text.partition("Commands:")[2]
    return re.findall(r"^  ([a-z]+)\b", listed, re.MULTILINE)


def test_readme_names_every_verb_and_no_other() -> None:
    in_readme = re.findall(r"^\| `liveheap ([a-z]+)", README, re.MULTILINE)
    assert sorted(in_readme) == sorted(verbs())


@pytest.mark.parametrize(
    "document",
    [
        "liveheap/protocol/PROTOCOL.md",
        "liveheap/snapshot/FORMAT.md",
        "SECURITY.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
        "LICENSE",
    ],
)
def test_readme_leads_to_a_document_that_is_there(document: str) -> None:
    assert document in README
    assert (ROOT / document).is_file()


@pytest.mark.parametrize("make_target", ["demo", "test"])
def test_readme_names_the_make_target(make_target: str) -> None:
    assert f"make {make_target}" in README


def test_each_make_target_of_the_documents_exists() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for target in re.findall(r"`make ([a-z-]+)`", README + contributing):
        assert re.search(rf"^{target}:", makefile, re.MULTILINE), target


@pytest.mark.parametrize("place", MACHINE)
def test_no_committed_file_names_one_machine(place: str) -> None:
    found = [
        str(path.relative_to(ROOT))
        for path in committed_files()
        if place.encode() in path.read_bytes()
    ]
    assert not found
