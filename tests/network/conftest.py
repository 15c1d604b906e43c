"""Where the kernel gives root no namespaces, links are cut by a relay alone.

Those tests are in tests/integration/test_ssh_failures.py, and run everywhere.
"""

import os
import subprocess
from pathlib import Path

import pytest

HERE = Path(__file__).parent


def pytest_collection_modifyitems(
    config: pytest.Config, items: list[pytest.Item]
) -> None:
    """Leave these tests out, and say so, if no machine can be made."""
    ours = [item for item in items if HERE in item.path.parents]
    if not ours or os.geteuid() != 0:
        return
    tried = ["unshare", "--net", "--mount", "--pid", "--fork", "ip", "link"]
    if subprocess.run(tried, capture_output=True, check=False).returncode == 0:
        return
    items[:] = [item for item in items if item not in ours]
    config.hook.pytest_deselected(items=ours)
    print(f"no namespaces here: {len(ours)} tests of tests/network are left out")
