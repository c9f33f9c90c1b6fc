"""Control groups of version 2 on a kernel of their own: user-mode Linux, Debian's package user-mode-linux."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import airtune

ROOT = Path(__file__).parents[2]
LINUX = shutil.which("linux.uml")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(900),
    pytest.mark.skipif(LINUX is None, reason="no user-mode Linux"),
]

INIT = """#!/bin/sh
export PATH={path} PYTHONPATH={package} PYTHONDONTWRITEBYTECODE=1 HOME=/run TMPDIR=/run
mount -t proc proc /proc
mount -t tmpfs tmpfs /run
mkdir /run/groups
mount -t cgroup2 none /run/groups
cd /run/groups
echo +cpu +memory > cgroup.subtree_control
mkdir -p user/session
{setting}
cd {root}
{within} {python} -m pytest tests/testbed/test_cpu_groups.py --color=no -p no:cacheprovider -p no:warnings
echo left: $(find /run/groups -name 'airtune-*') $(cat /run/groups/user/session/cgroup.subtree_control)
echo o > /proc/sysrq-trigger
sleep 60
"""
SESSION = "echo {given} > user/cgroup.subtree_control; echo $$ > user/session/cgroup.procs"
# It sees its own group as the root of all.
CONTAINER = (
    "unshare --cgroup --mount --pid --fork --mount-proc "
    "sh -c 'umount /run/groups; mount -t cgroup2 none /run/groups; exec \"$@\"' sh"
)


@pytest.mark.parametrize(
    ("setting", "within"),
    [
        ("", ""),
        (SESSION.format(given="+cpu +memory"), ""),
        (SESSION.format(given="+memory"), ""),
        (SESSION.format(given="+cpu +memory"), CONTAINER),
    ],
    ids=["root", "session", "session-without-cpu", "container"],
)
def test_quotas_hold_and_nothing_is_left(setting, within, tmp_path):
    init = tmp_path / "init"
    places = {"path": f"{Path(sys.executable).parent}:/usr/sbin:/usr/bin:/sbin:/bin", "root": ROOT}
    places |= {"package": Path(airtune.__file__).parents[1], "python": sys.executable}
    init.write_text(INIT.format(setting=setting, within=within, **places))
    init.chmod(0o700)
    machine = [LINUX, "mem=1G", "root=none", "rootfstype=hostfs", "rootflags=/", "ro", f"init={init}"]
    done = subprocess.run(
        [*machine, "con=null", "con0=null,fd:1", "quiet"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    assert re.search(r"^\d+ passed in", done.stdout, re.MULTILINE), done.stdout
    assert re.search(r"^left:$", done.stdout, re.MULTILINE), done.stdout
