"""The disk of a container's log does not answer (decision 0861): its monitor sleeps in the kernel with it."""
import shutil
import time

import hangfs
import pytest
from conftest import SLOWER, Refused, bridge, make_engine, until

pytestmark = pytest.mark.skipif(bool(hangfs.missing()), reason=hangfs.missing())


def test_a_log_whose_disk_hangs(tmp_path):
    k, fs = make_engine(conflist=bridge()), hangfs.Hangfs(tmp_path / "fs").up()
    try:
        k.load()
        pod, other = k.run_pod(k.pod_config(log_directory=str(fs.at / "logs"))), k.run_pod()
        writes = k.run(pod, "while :; do echo line; sleep 0.1; done")
        plain = k.run(other, "sleep 1000")
        until(lambda: (fs.files / "logs/c/0.log").stat().st_size)
        fs.hang()
        until(fs.asked)
        began = time.time()
        assert k.status(writes).state == 1 and len(k.ListContainers().containers) == 2
        assert k.sh(writes, "echo in") == "in"  # an exec has a monitor of its own
        assert k.sh(plain, "echo fine") == "fine"
        assert k.output(other, "echo made") == "made"
        assert time.time() - began < 20 * SLOWER
        # The process goes, its monitor cannot tell: said within the bounds of decision 0819.
        began = time.time()
        with pytest.raises(Refused) as e:
            k.StopContainer(container_id=writes, timeout=1)
        assert "did not receive an exit event" in e.value.text and time.time() - began < 40 * SLOWER, e.value
        began = time.time()
        assert k.stop() == 0
        k.start()
        assert time.time() - began < 40 * SLOWER and k.sh(plain, "echo fine") == "fine"
        fs.answer()
        k.StopContainer(container_id=writes, timeout=1)
        assert k.ended(writes).exit_code == 137
        k.clean()
        k.nothing_left()
    finally:
        try:
            fs.answer()
            k.close()
        finally:
            fs.down()
            shutil.rmtree(k.dir, ignore_errors=True)
