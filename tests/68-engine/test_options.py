"""Options of the client's commands that nothing else here types, with good values and bad ones: what is said, the exit code, and what
inspect has of it. The same at both daemons."""
import json
import os

import pytest
from conftest import *

pytestmark = pytest.mark.usefixtures("busybox", "tidy")
NONE = ("--network", "none")


def inspected(d, name, path):
    v = json.loads(d.out("inspect", name))[0]
    for step in path.split("."):
        v = v[step]
    return v


@pytest.mark.parametrize("words,path,value", [
    (["--cap-drop", "CHOWN", "--cap-drop", "cap_kill"], "HostConfig.CapDrop", ["CAP_CHOWN", "CAP_KILL"]),
    (["--cgroupns", "private"], "HostConfig.CgroupnsMode", "private"), (["--uts", "host"], "HostConfig.UTSMode", "host"),
    (["--userns", "host"], "HostConfig.UsernsMode", "host"), (["--cpu-period", "50000"], "HostConfig.CpuPeriod", 50000),
    (["--cpu-quota", "20000"], "HostConfig.CpuQuota", 20000), (["--cpus", "0.5"], "HostConfig.NanoCpus", 500000000),
    (["--device", "/dev/null:/dev/xnull:r"], "HostConfig.Devices",
     [{"PathOnHost": "/dev/null", "PathInContainer": "/dev/xnull", "CgroupPermissions": "r"}]),
    (["--device-cgroup-rule", "c 1:3 rwm"], "HostConfig.DeviceCgroupRules", ["c 1:3 rwm"]),
    (["--device-read-bps", DISK + ":1mb"], "HostConfig.BlkioDeviceReadBps", [{"Path": DISK, "Rate": 1 << 20}]),
    (["--device-write-bps", DISK + ":1mb"], "HostConfig.BlkioDeviceWriteBps", [{"Path": DISK, "Rate": 1 << 20}]),
    (["--device-read-iops", DISK + ":10"], "HostConfig.BlkioDeviceReadIOps", [{"Path": DISK, "Rate": 10}]),
    (["--device-write-iops", DISK + ":10"], "HostConfig.BlkioDeviceWriteIOps", [{"Path": DISK, "Rate": 10}]),
    (["--dns", "1.2.3.4"], "HostConfig.Dns", ["1.2.3.4"]), (["--dns-search", "a.org"], "HostConfig.DnsSearch", ["a.org"]),
    (["--dns-option", "ndots:3"], "HostConfig.DnsOptions", ["ndots:3"]), (["--domainname", "a.org"], "Config.Domainname", "a.org"),
    (["--group-add", "7"], "HostConfig.GroupAdd", ["7"]), (["--no-healthcheck"], "Config.Healthcheck", {"Test": ["NONE"]}),
    (["--init"], "HostConfig.Init", True), (["--isolation", "default"], "HostConfig.Isolation", "default"),
    (["--memory-reservation", "10m"], "HostConfig.MemoryReservation", 10 << 20), (["--oom-score-adj", "500"], "HostConfig.OomScoreAdj", 500),
    ([], "HostConfig.MemorySwappiness", None),
    (["--memory-swappiness", "50"], "HostConfig.MemorySwappiness", 50 if V1 else None),  # version 2 of control groups has none
    (["--pids-limit", "10"], "HostConfig.PidsLimit", 10), (["--pids-limit", "-1"], "HostConfig.PidsLimit", None), ([], "HostConfig.PidsLimit", None),
    (["--stop-timeout", "5"], "Config.StopTimeout", 5), (["--sysctl", "kernel.msgmax=8192"], "HostConfig.Sysctls", {"kernel.msgmax": "8192"}),
    (["--tmpfs", "/x:size=1m,mode=700"], "HostConfig.Tmpfs", {"/x": "size=1m,mode=700"}), (["--tty"], "Config.Tty", True),
    (["--interactive"], "Config.OpenStdin", True), (["--attach", "stdout"], "Config.AttachStderr", False), (["--workdir", "/x/y"], "Config.WorkingDir", "/x/y"),
    (["--user", "1000:2000"], "Config.User", "1000:2000"), (["--volume-driver", "local", "-v", "vd1:/x"], "HostConfig.VolumeDriver", "local"),
    (["--label-file", "{f}"], "Config.Labels", {"a": "b"}), (["--env-file", "{f}"], "Config.Env", ["a=b", "PATH=/bin:/usr/bin"]),
    (["--publish-all", "--expose", "90"], "HostConfig.PublishAllPorts", True), (["--expose", "90-91/udp"], "Config.ExposedPorts", {"90/udp": {}, "91/udp": {}}),
    (["--publish", "127.0.0.1:8081-8082:81-82"], "HostConfig.PortBindings",
     {"81/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8081"}], "82/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8082"}]}),
    *([(["--cpu-rt-period", "1000"], "HostConfig.CpuRealtimePeriod", 1000)] if V1 else []), (["--health-timeout", "1s", "--health-cmd", "true"], "Config.Healthcheck.Timeout", 10**9),
    (["--disable-content-trust"], "HostConfig.AutoRemove", False)])
def test_created_with(docker, tmp_path, words, path, value):
    d = docker
    (tmp_path / "f").write_text("a=b\n# said\nd\n")
    d.cli("create", "--name", "made", *NONE, *(w.replace("{f}", str(tmp_path / "f")) for w in words), "busybox", "true")
    assert inspected(d, "made", path) == value
    d.cli("start", "-a", "made", stdin="")
    d.cli("rm", "-v", "made")
    d.cli("volume", "rm", "-f", "vd1")


@pytest.mark.parametrize("words,said", [
    (["--cap-drop", "bogus"], 'invalid CapDrop: unknown capability: "CAP_BOGUS"'), (["--cap-add", "bogus"], 'invalid CapAdd: unknown capability: "CAP_BOGUS"'),
    (["--cpu-period", "500"], "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"),
    (["--cpu-quota", "500"], "CPU cfs quota can not be less than 1ms (i.e. 1000)"), (["--cpus", "-1"], "ange of CPUs is from 0.01 to"),
    (["--cpus", "1", "--cpu-period", "50000"], "Conflicting options: Nano CPUs and CPU Period cannot both be set"),
    (["--cpus", "1", "--cpu-quota", "50000"], "Conflicting options: Nano CPUs and CPU Quota cannot both be set"),
    (["--memory", "4m"], "Minimum memory limit allowed is 6MB"), (["--memory-reservation", "1k"], "Minimum memory reservation allowed is 6MB"),
    (["-m", "6m", "--memory-reservation", "10m"], "Minimum memory limit can not be less than memory reservation limit, see usage"),
    (["-m", "32m", "--memory-swap", "16m"], "Minimum memoryswap limit should be larger than memory limit, see usage"),
    (["--memory-swap", "5"], "You should always set the Memory limit when using Memoryswap limit, see usage"),
    (["--memory-swappiness", "101"], "alid memory swappiness range is 0-100"),
    (["--oom-score-adj", "1001"], "Invalid value 1001, range for oom score adj is [-1000, 1000]"), (["--device", "/etc/passwd:/x:rwz"], "bad mode specified"),
    (["--uts", "host", "--hostname", "x"], "conflicting options: hostname and the UTS mode"), (["--isolation", "hyperv"], "nvalid isolation"),
    (["--tmpfs", "x"], "invalid mount path: 'x' mount path must be absolute"), (["--tmpfs", "/"], "invalid specification: destination can't be '/'"),
    (["--health-interval", "1us"], "Interval in Healthcheck cannot be less than"), (["--health-timeout", "1us", "--health-cmd", "x"], "Timeout in Healthcheck cannot be less"),
    (["--no-healthcheck", "--health-cmd", "x"], "--no-healthcheck conflicts with --health-* options"), (["--workdir", "rel"], "needs to be an absolute path"),
    (["--stop-signal", "bogus"], "nvalid signal: bogus"), (["--volume", "named:y"], "mount path must be absolute"), (["--volume", "/tmp:/y:bogus"], "invalid mode: bogus"),
    (["--volume", "/tmp:/"], "destination can't be '/'"), (["--volume", "a b:/z"], "includes invalid characters for a local volume name"),
    (["--volume", "/tmp:/y", "--volume", "/etc:/y"], "Duplicate mount point: /y"), (["--sysctl", "bogus=1"], "sysctl 'bogus=1' is not allowed"),
    (["--label-file", "/nosuch"], "no such file or directory"), (["--userns", "bogus"], "invalid"), (["--cgroupns", "bogus"], "invalid CGROUP mode"),
    (["--ipc", "bogus"], "nvalid IPC mode: bogus"), (["--blkio-weight-device", "/dev/loop0:5"], "invalid weight for device"),
    (["--device-cgroup-rule", "bogus"], "invalid device cgroup format 'bogus'"), (["--group-add", "bogus", "-d"], "nable to find group bogus")])
def test_refused_at_create_or_start(docker, words, said):
    p = docker.cli("run", "--rm", *NONE, *words, "busybox", "true", check=None)
    assert p.returncode in (125, 1) and said in p.stderr, (p.returncode, p.stdout, p.stderr)
    assert docker.out("ps", "-aq") == ""


@pytest.mark.parametrize("words,said,status", [
    (["--device", "/dev/fd"], "not a device node", 125), (["--device", "/dev/nosuch"], "no such file or directory", 127),
    (["--user", "bogus"], "unable to find user bogus: no matching entries in passwd file", 125), (["--user", "4294967296"], "uids and gids must be in range", 125),
    (["--workdir", "/etc/passwd"], "Cannot mkdir: /etc/passwd is not a directory", 125)])
def test_cannot_start(docker, words, said, status):
    p = docker.cli("run", "--rm", *NONE, *words, "busybox", "true", check=status)
    assert said in p.stderr


@pytest.mark.skipif(V1, reason="version 1 of control groups has that limit")
def test_no_real_time(knarr):
    """What cannot be honoured is said, where it cannot."""
    import_busybox(knarr)
    assert "cgroup v2 has no such limit" in knarr.fails("run", "--rm", *NONE, "--cpu-rt-period", "1000", "busybox", "true", status=125)


def test_kernel_memory(docker):
    """Before 1.42 it could be said; the least is told, and that it is no more."""
    d, e = docker, {"DOCKER_API_VERSION": "1.41"}
    assert "Minimum kernel memory limit allowed is 6MB" in d.fails("create", *NONE, "--kernel-memory", "1k", "busybox", env=e)
    d.cli("create", "--name", "kk", *NONE, "busybox")
    r = d.api("POST", "/containers/kk/update", {"KernelMemory": 20 << 20}, version="v1.41")
    assert r.json["Warnings"] == ["Specifying a kernel memory limit is deprecated and will be removed in a future release."]


def test_inside(docker, tmp_path):
    """What some of them do to the program."""
    d = docker
    (tmp_path / "env").write_text("A=b\nTERM\n# no\nC=d e\n")
    run = ("run", "--rm", *NONE)
    assert d.out(*run, "--env-file", tmp_path / "env", "-e", "A=z", "-e", "HOME", "busybox", "sh", "-c", 'echo "$A|$C|$HOME"', env={"HOME": "/h"}) == "z|d e|/h"
    assert d.out(*run, "--domainname", "a.org", "--hostname", "n", "busybox", "sh", "-c", "hostname; cat /proc/sys/kernel/domainname") == "n\na.org"
    assert d.out(*run, "--cap-drop", "ALL", "busybox", "grep", "CapEff", "/proc/self/status").split()[1] == "0" * 16
    assert d.out(*run, "--pids-limit", "7", "--cgroupns", "private", "busybox", "sh", "-c", "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true") == "7"
    assert d.out(*run, "--group-add", "7", "--group-add", "extra", "-u", "1000:5", "busybox", "id", "-G").split() == ["5", "7", "2000"]
    assert d.out(*run, "--oom-score-adj", "321", "busybox", "cat", "/proc/self/oom_score_adj") == "321"
    assert d.out(*run, "--uts", "host", "busybox", "hostname") == os.uname().nodename
    assert d.out(*run, "--init", "busybox", "sh", "-c", "readlink /proc/1/exe; echo $$").splitlines()[1] != "1"
    assert d.out(*run, "--device", "/dev/null:/dev/other:r", "busybox", "sh", "-c", "cat /dev/other && test -c /dev/other && echo read") == "read"
    (tmp_path / "cid").unlink(missing_ok=True)
    d.cli(*run, "--cidfile", tmp_path / "cid", "busybox", "true")
    assert len((tmp_path / "cid").read_text()) == 64
    assert "container ID file found" in d.cli(*run, "--cidfile", tmp_path / "cid", "busybox", "true", check=125).stderr


def test_a_bind_of_the_host_follows_it(docker):
    """A bind that has the daemon's own mounts in it would keep the file systems of containers that are gone."""
    d = docker
    data = d.out("info", "-f", "{{.DockerRootDir}}")
    for n, words in enumerate((["-v", "/:/host"], ["-v", "/:/host:ro"], ["--mount", "type=bind,source=/,target=/host"], ["-v", f"{data}:/host"],
                               ["-v", f"{data}/volumes:/host"])):
        d.cli("create", "--name", f"b{n}", *NONE, *words, "busybox", "true")
        assert inspected(d, f"b{n}", "Mounts")[0]["Propagation"] == "rslave"
        d.cli("start", "-a", f"b{n}")
    d.cli("create", "--name", "other", *NONE, "-v", "/usr:/host", "busybox")
    assert inspected(d, "other", "Mounts")[0]["Propagation"] == "rprivate"
    assert ('must use either propagation mode "rslave" or "rshared" when mount source is within the daemon root'
            in d.fails("create", *NONE, "-v", "/:/host:rprivate", "busybox"))
    d.cli("create", "--name", "shares", *NONE, "-v", "/:/host:rslave", "busybox")


def test_the_working_folder_can_be_filled_first(docker, tmp_path):
    d = docker
    (tmp_path / "f").write_text("there")
    d.cli("create", "--name", "ww", *NONE, "-w", "/made/here", "busybox", "cat", "f")
    d.cli("cp", tmp_path / "f", "ww:/made/here/")
    assert d.out("start", "-a", "ww") == "there"


def test_exec(docker, tmp_path):
    d = docker
    (tmp_path / "env").write_text("A=file\nB=2\n")
    d.cli("run", "-d", "--name", "xx", *NONE, "busybox", "sleep", "1000")
    assert d.out("exec", "--env-file", tmp_path / "env", "-e", "A=own", "xx", "sh", "-c", "echo $A$B") == "own2"
    assert d.out("exec", "--user", "user:extra", "--workdir", "/tmp", "xx", "sh", "-c", "id -u; id -g; pwd") == "1000\n2000\n/tmp"
    assert d.out("exec", "-d", "xx", "sh", "-c", "echo done >/tmp/done") == ""
    until(lambda: d.out("exec", "xx", "cat", "/tmp/done", check=None) == "done")
    assert d.out("exec", "--interactive", "xx", "cat", stdin="in") == "in"
    assert d.cli("exec", "xx", "sh", "-c", "kill -9 $$", check=137)
    for word, said in (("", 'exec: "": executable file not found in $PATH'), ("nosuch", 'exec: "nosuch": executable file not found in $PATH')):
        p = d.cli("exec", "xx", word, check=None)
        assert p.returncode in (126, 127) and said in p.stdout
    assert "unable to find user bogus" in d.cli("exec", "-u", "bogus", "xx", "true", check=126).stdout


def test_update(docker):
    d = docker
    id = d.out("run", "-d", "--name", "uu", *NONE, "--pids-limit", "50", "busybox", "sleep", "1000")
    limit = lambda: d.out("exec", "uu", "sh", "-c", "cat /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/pids.max 2>/dev/null; true")
    d.cli("update", "--cpu-shares", "300", "uu")
    assert inspected(d, "uu", "HostConfig.PidsLimit") == 50 and limit() == "50"
    d.cli("update", "--pids-limit", "60", "--memory-reservation", "20m", "uu")
    assert inspected(d, "uu", "HostConfig.PidsLimit") == 60 and limit() == "60" and inspected(d, "uu", "HostConfig.MemoryReservation") == 20 << 20
    d.cli("update", "--pids-limit", "-1", "uu")
    assert inspected(d, "uu", "HostConfig.PidsLimit") == 0 and limit() == "max"
    d.cli("update", "--pids-limit", "60", "uu")
    assert d.api("POST", "/containers/uu/update", {"PidsLimit": 0}).json == {"Warnings": None} and limit() == "max"
    p = d.cli("update", "--blkio-weight", "300", "uu")
    if not any(os.path.exists(f"/sys/fs/cgroup/blkio/blkio.{x}weight") for x in ("", "bfq.")) and not os.path.exists("/sys/fs/cgroup/cgroup.controllers"):
        assert "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight discarded." in p.stdout + p.stderr
        assert inspected(d, "uu", "HostConfig.BlkioWeight") == 0
    d.cli("update", "--cpus", "0.5", "uu")
    assert (f"Cannot update container {id}: Conflicting options: CPU Period cannot be updated as NanoCPUs has already been set"
            in d.fails("update", "--cpu-period", "50000", "uu"))
    d.cli("run", "-d", "--name", "vv", *NONE, "--cpu-period", "50000", "--cpu-quota", "25000", "busybox", "sleep", "1000")
    assert "Conflicting options: Nano CPUs cannot be updated as CPU Period has already been set" in d.fails("update", "--cpus", "0.5", "vv")
    d.cli("update", "--cpu-quota", "30000", "--restart", "on-failure:3", "vv")
    assert inspected(d, "vv", "HostConfig.CpuQuota") == 30000 and inspected(d, "vv", "HostConfig.RestartPolicy") == {"Name": "on-failure", "MaximumRetryCount": 3}


def test_lists(docker):
    d = docker
    d.cli("run", "-d", "--name", "l1", *NONE, "busybox", "sleep", "1000")
    d.cli("create", "--name", "l2", *NONE, "busybox")
    assert d.out("ps", "--last", "1", "--format", "{{.Names}}") == "l2" == d.out("ps", "--latest", "--format", "{{.Names}}")
    assert d.out("ps", "-n", "-5", "--format", "{{.Names}}") == "l1" and "virtual" in d.out("ps", "-s", "--format", "{{.Size}}")
    assert d.out("ps", "--quiet", "--filter", "id=") == "" and d.out("ps", "-q", "--filter", f"id={d.out('ps', '-q')}") == d.out("ps", "-q")
    assert d.out("images", "--quiet", "--no-trunc", "busybox").startswith("sha256:") and "<none>" in d.out("images", "--digests", "busybox")
    assert "syntax error in pattern" in d.fails("images", "-f", "reference=[")
    assert int(d.out("inspect", "--size", "-f", "{{.SizeRootFs}}", "l1")) > 10**6
    assert d.out("inspect", "--type", "network", "-f", "{{.Name}}", "none") == "none" and d.fails("inspect", "--type", "image", "l1")
    assert "VOLUME NAME" in d.out("system", "df", "--verbose")
    d.cli("logs", "--follow", "--timestamps", "--until", "0s", "l2")


def test_images(docker, tmp_path):
    d = docker
    d.cli("run", "--name", "ii", *NONE, "busybox", "touch", "/f")
    d.cli("commit", "--author", "me <a@b>", "--message", "words", "--pause=false", "-c", "USER 5", "ii", "made:1")
    assert d.out("inspect", "-f", "{{.Author}}|{{.Comment}}|{{.Config.User}}", "made:1") == "me <a@b>|words|5"
    assert len(d.out("history", "--quiet", "--no-trunc", "made:1").splitlines()) == 2 and d.out("history", "--human=false", "--format", "{{.Size}}", "made:1").split()[0].isdigit()
    d.cli("save", "--output", tmp_path / "s.tar", "made:1")
    d.cli("rmi", "--no-prune", "made:1")
    assert d.out("load", "--quiet", "--input", tmp_path / "s.tar") == "Loaded image: made:1"
    d.cli("rmi", "--force", "made:1")
    for platform in ("bogus/x", "windows/amd64"):
        assert "operating system is not supported" in d.fails("import", "--platform", platform, tmp_path / "s.tar", "im:1")
    d.cli("import", "--message", "said", tmp_path / "s.tar", "im:1")
    assert d.out("history", "--format", "{{.Comment}}", "im:1") == "said"
    d.cli("rmi", "im:1")
    d.cli("tag", "busybox", "127.0.0.1:1/x:1")
    words = d.fails("push", "127.0.0.1:1/y")
    assert "n image does not exist locally with the tag: 127.0.0.1:1/y" in words
    if d.name == "knarr":  # the other asks the registry first
        assert "tag does not exist: 127.0.0.1:1/x:2" in d.fails("push", "127.0.0.1:1/x:2")
    d.cli("rmi", "127.0.0.1:1/x:1")


def test_prune_of_builds(docker):
    assert "nvalid filter 'bogus'" in docker.fails("builder", "prune", "-f", "--filter", "bogus=1")
    assert docker.api("POST", "/build/prune?filters=" + '{"type":["source.local"]}').json["SpaceReclaimed"] == 0
    assert "failed to prune build cache" in docker.api("POST", "/build/prune?filters=" + '{"bogus":["1"]}').message


def test_networks(bridged):
    d = bridged
    import_busybox(d)
    d.cli("network", "create", "-o", "com.docker.network.container_iface_prefix=foo", "named")
    assert d.out("run", "--rm", "--network", "named", "busybox", "ls", "/sys/class/net").split() == ["foo0", "lo"]
    d.cli("network", "rm", "named")
    d.cli("network", "create", "-o", "com.docker.network.container_iface_prefix=a:b", "named")
    d.cli("run", "-d", "--name", "renamed", "busybox", "sleep", "1000")
    said = d.fails("network", "connect", "named", "renamed")
    assert re.search(r'failed to add interface (v\S+) to sandbox: error renaming interface "\1" to "a:b0": invalid argument', said), said
    if d.name == "knarr":  # the other shows the network that was not joined
        assert list(inspected(d, "renamed", "NetworkSettings.Networks")) == ["bridge"]
    d.cli("rm", "-f", "renamed")
    d.cli("network", "rm", "named")
    assert "This node is not a swarm manager" in d.fails("network", "create", "--scope", "global", "wide")
    d.cli("network", "create", "--ipam-driver", "default", "--subnet", "10.91.0.0/24", "sub")
    d.cli("run", "-d", "--name", "nn", "busybox", "sleep", "1000")
    d.cli("network", "connect", "--driver-opt", "a=b", "--alias", "al", "--ip", "10.91.0.9", "sub", "nn")
    assert inspected(d, "nn", "NetworkSettings.Networks")["sub"]["IPAddress"] == "10.91.0.9"
    assert inspected(d, "nn", "NetworkSettings.Networks")["sub"]["DriverOpts"] == {"a": "b"}
    d.cli("network", "disconnect", "--force", "sub", "nn")
    assert d.fails("network", "connect", "--ip", "10.8.0.1", "sub", "nn") and d.fails("network", "connect", "--ip6", "2001:db8::1", "sub", "nn")
    d.cli("rm", "-f", "nn")
    d.cli("network", "rm", "sub")
    d.cli("network", "rm", "--force", "sub")
