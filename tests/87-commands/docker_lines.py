"""The lines of docker: with `knarr engine` of a cluster, and the same with Debian's dockerd (`peer`), which is the proof that they say what
Docker shows."""
import json
import os
import re
import shutil
import signal
import threading
import urllib.request

from typist import SLOWER, Absent, line

ID = r"[0-9a-f]{64}"


def fetch(url):
    try:
        with urllib.request.urlopen(url, timeout=5 * SLOWER) as r:
            return r.read().decode()
    except OSError as e:
        return repr(e)


def image_id(t, name):
    return t.see(f"docker inspect -f '{{{{.Id}}}}' {name}").out.strip()


def state(t, name):
    return t.see(f"docker inspect -f '{{{{.State.Status}}}}' {name}").out.strip()


def write(t, name, text):
    os.makedirs(os.path.dirname(f"{t.folder}/{name}") or t.folder, exist_ok=True)
    with open(f"{t.folder}/{name}", "w") as f:
        f.write(text)


def gone(t, *names):
    t.see("docker rm -f -v " + " ".join(names))


@line("docker build -t xxx:1.0 .")
def build(t, **_):
    write(t, "page", "a page\n")
    write(t, "Dockerfile", "FROM box\nCOPY page /www/index.html\nRUN mkdir -p /data && echo first >/data/first\nENV COLOUR=blue\nEXPOSE 80\n"
          "STOPSIGNAL KILL\nCMD [\"httpd\", \"-f\", \"-h\", \"/www\"]\n")
    seen = t.ok("docker build -t xxx:1.0 .")
    t.shows("steps", seen.out, "Step 1/7 : FROM box\n", "Step 7/7 : CMD", "Successfully tagged xxx:1.0\n")
    t.looks("built", seen.out, "Successfully built [0-9a-f]{12}")
    t.same("tagged", image_id(t, "xxx:1.0")[7:19], re.search(r"built (\w+)", str(seen) + "built no").group(1))
    again = t.ok("docker build -t xxx:1.0 .")
    t.same("again: every step from the cache", again.out.count(" ---> Using cache\n"), 6)
    t.same("again: the same image", again.out.splitlines()[-2:], seen.out.splitlines()[-2:])


@line("docker build -t xxx .")
def build_latest(t, **_):
    t.shows("tag latest", t.ok("docker build -t xxx .").out, "Successfully tagged xxx:latest\n")
    t.same("the same image", image_id(t, "xxx:latest"), image_id(t, "xxx:1.0"))
    if not os.path.exists("/usr/libexec/docker/cli-plugins/docker-buildx"):
        seen = t.see("env -u DOCKER_BUILDKIT docker build -t xxx .")
        t.same("without DOCKER_BUILDKIT=0, for a client without buildx", (seen.code, "Successfully tagged xxx:latest\n" in seen.out), (0, True))


@line("docker images")
def images(t, **_):
    seen = t.ok("docker images")
    t.same("heads", seen.columns[0], ["REPOSITORY", "TAG", "IMAGE ID", "CREATED", "SIZE"])
    short = image_id(t, "xxx:1.0")[7:19]
    for tag in ("1.0", "latest"):
        t.looks(f"xxx {tag} with id, age, size", seen.out, rf"xxx +{tag} +{short} +(Less than a|\d+|About a) \w+ ago +\d\.\d+MB")


@line("docker tag xxx:1.0 REG/team/xxx:1.0")
def tag(t, **_):
    t.same("says nothing", str(t.ok("docker tag xxx:1.0 REG/team/xxx:1.0")), "[0]")
    t.same("the same id", image_id(t, t.names["REG"] + "/team/xxx:1.0"), image_id(t, "xxx:1.0"))


@line("docker push REG/team/xxx:1.0")
def push(t, **_):
    t.see("docker login -u me -p secret REG")
    seen = t.ok("docker push REG/team/xxx:1.0")
    layers = t.see("docker inspect -f '{{range .RootFS.Layers}}{{.}} {{end}}' xxx:1.0").out.split()
    t.shows("where to", seen.out, f"The push refers to repository [{t.names['REG']}/team/xxx]\n")
    for layer in layers:
        t.looks("each layer", seen.out, f"{layer[7:19]}: Pushed")
    t.looks("digest", seen.out, r"1\.0: digest: sha256:[0-9a-f]{64} size: \d+")
    t.push = re.search(r"digest: (sha256:\w+)", seen.out + "digest: sha256:none").group(1)
    again = t.ok("docker push REG/team/xxx:1.0")
    t.same("again", again.out.count(": Layer already exists\n"), len(layers))
    t.same("again: the same digest", seen.out.splitlines()[-1:], again.out.splitlines()[-1:])
    t.see("head -c 3000000 /dev/urandom >big")
    write(t, "D2", "FROM xxx:1.0\nCOPY big /big\n")
    t.see("docker build -t REG/team/big:1 -f D2 .")
    shown = t.screen("docker push REG/team/big:1").out
    t.holds(f"progress at a terminal: {shown}", re.search(r"Pushing \[=*> *\] +[\d.]+[kM]B/3(\.\d+)?MB.*Pushed", shown, re.S))
    os.remove(f"{t.folder}/big")


@line("docker rmi REG/team/xxx:1.0")
def rmi(t, **_):
    name = t.names["REG"] + "/team/xxx"
    seen = t.ok("docker rmi REG/team/xxx:1.0")
    t.same("untagged; layers stay while used", seen.lines, [f"Untagged: {name}:1.0", f"Untagged: {name}@{t.push}"])
    t.holds("the image is there under its other name", image_id(t, "xxx:1.0").startswith("sha256:"))


@line("docker pull REG/team/xxx:1.0")
def pull(t, **_):
    name, id = t.names["REG"] + "/team/xxx:1.0", image_id(t, "xxx:1.0")
    t.see("docker rmi -f xxx:1.0 xxx:latest box REG/team/big:1")
    seen = t.ok("docker pull REG/team/xxx:1.0")
    t.same("where from", seen.lines[:1], ["1.0: Pulling from team/xxx"])
    t.same("progress per layer", len([l for l in seen.lines if re.fullmatch("[0-9a-f]{12}: Pull complete", l)]), 3)
    t.same("digest and status", seen.lines[-3:], [f"Digest: {t.push}", f"Status: Downloaded newer image for {name}", name])
    t.same("the same id", image_id(t, name), id)
    again = t.ok("docker pull REG/team/xxx:1.0")
    t.same("again", again.lines, ["1.0: Pulling from team/xxx", f"Digest: {t.push}", f"Status: Image is up to date for {name}", name])
    t.see("docker tag REG/team/xxx:1.0 xxx:1.0; docker tag REG/team/xxx:1.0 xxx:latest")
    shown = t.screen("docker pull REG/team/big:1").out
    t.shows("progress at a terminal", shown, "Downloading", "Pull complete", "Status: Downloaded newer image for")
    t.see("docker rmi REG/team/big:1")


@line("docker save -o f.tar xxx:1.0 ; docker load -i f.tar")
def save(t, **_):
    id = image_id(t, "xxx:1.0")
    t.same("says nothing", str(t.ok("docker save -o f.tar xxx:1.0")), "[0]")
    t.see("docker rmi -f REG/team/xxx:1.0 xxx:1.0 xxx:latest")
    t.same("all gone", image_id(t, "xxx:1.0"), "")
    t.same("load", t.ok("docker load -i f.tar").lines[-1:], ["Loaded image: xxx:1.0"])
    t.same("same id", image_id(t, "xxx:1.0"), id)
    t.see("docker tag xxx:1.0 xxx:latest")
    t.see(f"docker import -c 'CMD [\"sh\"]' -c 'ENV PATH=/bin COLOUR=red' {t.names['ROOT']} box")


@line("docker run -d --name web -p 18080:80 -e KEY=VALUE -v vol:/data xxx:1.0")
def run(t, **_):
    seen = t.ok("docker run -d --name web -p 18080:80 -e KEY=VALUE -v vol:/data xxx:1.0")
    t.looks("id", seen.out, ID)
    t.same("port reachable", t.until(lambda: (r := fetch("http://127.0.0.1:18080/")) == "a page\n" and r), "a page\n")
    t.shows("variable inside", t.see("docker exec web env").out, "KEY=VALUE\n", "COLOUR=blue\n")
    t.shows("volume mounted", t.see("docker exec web mount").out, " on /data type ")
    t.same("with what the image has there", t.see("docker exec web cat /data/first").out, "first\n")
    t.same("it is the volume called vol", t.see("docker volume ls -q").lines, ["vol"])


@line("docker run -d --name web xxx:1.0")
def conflict(t, **_):
    id = t.see("docker ps -q --no-trunc").out.strip()
    seen = t.see("docker run -d --name web xxx:1.0")
    t.same("exit 125", seen.code, 125)
    t.shows("conflict", seen.err, f'Error response from daemon: Conflict. The container name "/web" is already in use by container "{id}". '
            "You have to remove (or rename) that container to be able to reuse that name.")


@line("docker run -v ./dir:/data IMG ls /data")
def volumes(t, **_):
    write(t, "dir/one", "1")
    write(t, "dir/two", "2")
    t.same("the local folder", t.ok("docker run -v ./dir:/data IMG ls /data").lines, ["one", "two"])
    t.same("a bare word is a volume", t.ok("docker run -v dir:/data IMG ls /data").lines, [])
    t.same("which is there", t.see("docker volume ls -q -f name=dir").lines, ["dir"])
    t.see("docker ps -aq -f status=exited | xargs docker rm")
    t.see("docker volume rm dir")


@line("docker run IMG env")
def env(t, **_):
    seen = t.ok("docker run IMG env")
    t.same("the image's environment", sorted(re.sub(r"=[0-9a-f]{12}$", "=ID", l) for l in seen.lines), ["COLOUR=red", "HOME=/root", "HOSTNAME=ID", "PATH=/bin"])
    t.see("docker ps -aq -f status=exited | xargs docker rm")


@line("docker run --restart=always -d IMG ; docker update --restart=always C")
def restart_policy(t, engine, **_):
    t.names["IMG"] = "xxx:1.0"
    one = t.ok("docker run --restart=always -d IMG").out.strip()
    t.names["IMG"] = "box"
    t.ok("docker run -d --name later xxx:1.0")
    t.same("says its name", t.ok("docker update --restart=always C", C="later").out, "later\n")
    running = lambda: t.until(lambda: (state(t, one), state(t, "later")) == ("running", "running"))
    pids = lambda: [t.see("docker inspect -f '{{.State.Pid}}' " + c).out for c in (one, "later")]
    for way in engine.comebacks:
        way()
        t.holds(f"both run after {way.__doc__}", running())
    before = pids()
    os.kill(int(before[0]), 9)
    t.holds("ends are followed by starts", t.until(lambda: state(t, one) == "running" and pids()[0] not in ("0\n", before[0])))
    gone(t, one, "later")
    t.see("docker start web")  # it had no policy


@line("docker ps ; docker ps -a")
def ps(t, **_):
    t.see("docker run --name ended IMG sh -c 'exit 3'")
    seen = t.ok("docker ps")
    t.same("heads", seen.columns[0], ["CONTAINER ID", "IMAGE", "COMMAND", "CREATED", "STATUS", "PORTS", "NAMES"])
    t.looks("web", seen.out, r'[0-9a-f]{12} +xxx:1\.0 +"httpd -f -h /www" +\S.* ago +Up .+ 0\.0\.0\.0:18080->80/tcp.* web')
    t.same("running only", [r[-1] for r in seen.columns[1:]], ["web"])
    seen = t.ok("docker ps -a")
    t.same("all", sorted(r[-1] for r in seen.columns[1:]), ["ended", "web"])
    t.looks("with its code", seen.out, r'[0-9a-f]{12} +box +"sh -c \'exit 3\'" +\S.* ago +Exited \(3\) .+ ago +ended')
    gone(t, "ended")


@line("docker stop C ; docker start C ; docker restart C")
def stop_start(t, **_):
    t.see("docker exec web sh -c 'echo kept >/kept'")
    id = t.see("docker ps -q").out
    for verb, then in (("stop", "exited"), ("start", "running"), ("restart", "running")):
        t.same(f"{verb} says its name", t.ok(f"docker {verb} C", C="web").out, "web\n")
        t.same(f"after {verb}", state(t, "web"), then)
    t.same("same container", t.see("docker ps -q").out, id)
    t.same("data kept", t.see("docker exec web cat /kept").out, "kept\n")


@line("docker rm C")
def rm(t, peer, **_):
    t.see("docker run -d --name c1 xxx:1.0")
    id = t.see("docker inspect -f '{{.Id}}' c1").out.strip()
    seen = t.see("docker rm C", C="c1")
    words = f"You cannot remove a running container {id}. Stop the container before attempting removal or force remove" if peer else \
        'cannot remove container "/c1": container is running: stop the container before removing or force remove'
    t.same("refused while running", (seen.code, seen.err), (1, f"Error response from daemon: {words}\n"))
    t.see("docker stop c1")
    t.same("removed after stop", str(t.ok("docker rm C", C="c1")), "c1\n[0]")
    t.same("gone", state(t, "c1"), "")


@line("docker logs C ; docker logs -f C")
def logs(t, **_):
    t.see("docker run -d --name c2 IMG sh -c 'echo one; echo two >&2; until [ -e /go ]; do sleep 0.1; done; echo three'")
    t.until(lambda: t.see("docker logs c2").err)
    seen = t.ok("docker logs C", C="c2")
    t.same("what it printed, each where it was printed", (seen.out, seen.err), ("one\n", "two\n"))
    follows = t.start("docker logs -f C", C="c2")
    t.same("follows", sorted(follows.stdout.readline() for _ in range(2)), ["one\n", "two\n"])
    t.see("docker exec c2 touch /go")
    t.same("until it ends", (t.rest(follows), state(t, "c2")), ((0, "three\n"), "exited"))
    gone(t, "c2")


@line("docker exec -it C sh")
def shell(t, **_):
    seen = t.screen("docker exec -it C sh", ("# ", "tty; echo $((6*7))\r"), ("42\n|42\r\n", "exit 5\r"), C="web")
    t.shows("a shell inside", seen.out, "/dev/pts/0", "42\n")
    t.same("exit leaves it", (seen.code, state(t, "web")), (5, "running"))


@line("docker exec C /bin/bash")
def no_bash(t, peer, **_):
    seen = t.see("docker exec C /bin/bash", C="web")
    t.shows("names what is missing", seen.out + seen.err, "OCI runtime exec failed: exec failed: unable to start container process: "
            'exec: "/bin/bash": stat /bin/bash: no such file or directory: unknown')
    t.same("exit 127", seen.code, 126 if peer else 127)  # 20.10 has the older number


@line("docker inspect C")
def inspect(t, **_):
    got = json.loads(t.ok("docker inspect C", C="web").out)[0]
    t.same("state", (got["State"]["Status"], got["State"]["Running"], got["State"]["Pid"] > 0), ("running", True, True))
    m = got["Mounts"]
    t.same("mounts", [(x["Type"], x["Name"], x["Destination"], x["RW"]) for x in m], [("volume", "vol", "/data", True)])
    n = got["NetworkSettings"]["Networks"]["bridge"]
    t.shows("address", t.see("docker exec web ip addr").out, f"inet {n['IPAddress']}/{n['IPPrefixLen']} ")
    t.same("the subnet's gateway", t.see("docker exec web ip route").out.split()[2], n["Gateway"])
    t.same("ports", got["NetworkSettings"]["Ports"]["80/tcp"][0], {"HostIp": "0.0.0.0", "HostPort": "18080"})


@line("docker volume create v ; ls ; inspect v ; rm v ; prune")
def volume(t, peer, **_):
    t.names["v"] = "v1"  # a name of one letter is refused by both
    t.same("create", t.ok("docker volume create v").out, "v1\n")
    seen = t.ok("docker volume ls")
    t.same("ls", (seen.columns[0], ["local", "v1"] in seen.columns), (["DRIVER", "VOLUME NAME"], True))
    got = json.loads(t.ok("docker volume inspect v").out)[0]
    t.holds("mountpoint shown", os.path.isdir(got["Mountpoint"]) and got["Mountpoint"].endswith("/volumes/v1/_data"))
    id = t.see("docker run -d -v v1:/v -v /anonymous --name c3 IMG sh -c 'head -c 100000 /dev/zero >/anonymous/f; sleep 1000'").out.strip()
    t.until(lambda: t.see("docker exec c3 cat /anonymous/f").out.count("\0") == 100000)
    seen = t.see("docker volume rm v")
    t.same("refused while used", (seen.code, seen.err), (1, f"Error response from daemon: remove v1: volume is in use - [{id}]\n"))
    t.see("docker rm -f c3")
    t.same("rm", str(t.ok("docker volume rm v")), "v1\n[0]")
    seen = t.ok("docker volume prune", answer="y\n")
    t.shows("prune asks", seen.out, "volumes not used by at least one container.\nAre you sure you want to continue? [y/N] ")
    t.looks("prune says what", seen.out, f".*Deleted Volumes:|{ID}")
    t.same("space reclaimed", seen.lines[-1:], ["Total reclaimed space: 100kB"])
    t.same("what is used stays", t.see("docker volume ls -q").lines, ["vol"])


@line("docker network create n ; ls ; connect n C ; disconnect n C ; rm n ; prune")
def network(t, **_):
    id = t.ok("docker network create n").out.strip()
    t.looks("id", id, ID)
    seen = t.ok("docker network ls")
    t.same("ls", seen.columns[0], ["NETWORK ID", "NAME", "DRIVER", "SCOPE"])
    t.same("what there is", sorted(r[1:] for r in seen.columns[1:]), [["bridge", "bridge", "local"], ["host", "host", "local"], ["n", "bridge", "local"],
                                                                     ["none", "null", "local"]])
    t.see("docker run -d --name asks --network n IMG sleep 1000")
    t.same("not yet", t.see("docker exec asks ping -c1 -W1 web").code, 1)
    t.same("connect says nothing", str(t.ok("docker network connect n C", C="web")), "[0]")
    t.shows("names resolve on n", t.see("docker exec asks wget -qO- http://web/").out, "a page")
    t.see("docker run -d --name plain IMG sleep 1000")
    t.shows("not on the default bridge", t.see("docker exec plain ping -c1 -W1 web").err, "bad address 'web'")
    t.same("refused while used", t.see("docker network rm n").code, 1)
    t.same("disconnect says nothing", str(t.ok("docker network disconnect n C", C="web")), "[0]")
    t.same("no longer", t.see("docker exec asks ping -c1 -W1 web").code, 1)
    gone(t, "asks", "plain")
    t.same("rm", str(t.ok("docker network rm n")), "n\n[0]")
    t.see("docker network create unused")
    seen = t.ok("docker network prune", answer="y\n")
    t.shows("prune", seen.out, "This will remove all custom networks not used by at least one container.", "Deleted Networks:\nunused\n")
    t.same("built-in ones stay", sorted(t.see("docker network ls --format '{{.Name}}'").lines), ["bridge", "host", "none"])


@line("docker run --network host|none|container:ID|n IMG")
def networks(t, **_):
    t.see("docker network create n")
    t.names["IMG"] = "addresses"
    t.see("printf 'FROM box\\nCMD [\"ip\", \"-o\", \"addr\"]\\n' | docker build -t addresses -")
    links = lambda seen: [l.split()[1] for l in seen.lines]
    here = t.see("ip -o addr")
    t.same("shares the host's", sorted(set(links(t.ok("docker run --network host IMG")))), sorted(set(links(here))))
    t.same("has only lo", sorted(set(links(t.ok("docker run --network none IMG")))), ["lo"])
    id = t.see("docker inspect -f '{{.Id}}' web").out.strip()
    t.same("shares C's", t.ok("docker run --network container:ID IMG", ID=id).out, t.see("docker exec web ip -o addr").out)
    subnet = t.see("docker network inspect -f '{{(index .IPAM.Config 0).Subnet}}' n").out.strip()
    seen = t.ok("docker run --network n IMG")
    t.shows("joins n", seen.out, f" inet {subnet.rsplit('.', 1)[0]}.")
    t.see("docker ps -aq -f status=exited | xargs docker rm")
    t.see("docker network rm n; docker rmi addresses")
    t.names["IMG"] = "box"


@line("docker compose up -d ; ps ; logs ; down")
def compose(t, **_):
    if not shutil.which("docker-compose"):
        raise Absent("no docker-compose here (packages/test)")
    write(t, "compose/compose.yaml", """services:
  front:
    image: box
    command: sh -c 'wget -qO- http://back/; sleep 1000'
    stop_signal: KILL
    depends_on: [back]
  back:
    image: xxx:1.0
    volumes: [things:/things]
volumes:
  things:
""")
    home, t.folder = t.folder, f"{t.folder}/compose"
    try:
        seen = t.ok("docker compose up -d")
        t.shows("what is made", seen.err, 'Creating network "compose_default" with the default driver', 'Creating volume "compose_things" with default driver')
        t.holds("dependency order", 0 <= seen.err.find("Creating compose_back_1 ... done") < seen.err.find("Creating compose_front_1 ... done")
                or 0 <= seen.err.find("Creating compose_back_1") < seen.err.find("Creating compose_front_1"))
        t.same("project network", t.see("docker network ls -q -f name=compose_default").out.count("\n"), 1)
        seen = t.ok("docker compose ps")
        t.looks("ps: back", seen.out, r"compose_back_1 +httpd -f -h /www +Up +80/tcp")
        t.looks("ps: front", seen.out, r"compose_front_1 +sh -c wget -qO- http://bac \.\.\. +Up.*")
        t.holds("names by service", t.until(lambda: "a page" in t.see("docker compose logs").out))
        t.looks("logs", t.ok("docker compose logs").out, r"(\x1b\[\d+m)*front_1 +\|(\x1b\[0m)* a page")
        t.ok("docker compose down")
        t.same("down removes what up made", (t.see("docker ps -aq -f label=com.docker.compose.project").out,
                                                    t.see("docker network ls -q -f name=compose").out), ("", ""))
        t.same("volumes stay", t.see("docker volume ls -q -f name=compose_things").out, "compose_things\n")
    finally:
        t.folder = home
    t.see("docker volume rm compose_things")


@line("docker login REG ; docker logout REG")
def login(t, **_):
    config = t.env["DOCKER_CONFIG"] + "/config.json"
    reg = t.names["REG"]
    t.see("docker logout REG")
    t.shows("nothing without it", t.see("docker pull REG/team/xxx:1.0").err, "no basic auth credentials")
    seen = t.screen("docker login REG", ("Username.*: ", "me\r"), ("Password: ", "wrong\r"))
    t.same("a wrong password", (seen.code, "unauthorized" in seen.out.lower()), (1, True))
    seen = t.screen("docker login REG", ("Username.*: ", "me\r"), ("Password: ", "secret\r"))
    t.shows("Login Succeeded", seen.out, "Login Succeeded")
    t.holds("credentials kept in the config file", json.load(open(config))["auths"].get(reg, {}).get("auth"))
    t.ok("docker pull REG/team/xxx:1.0")
    t.same("logout", t.ok("docker logout REG").out, f"Removing login credentials for {reg}\n")
    t.same("they are gone", json.load(open(config)).get("auths"), {})
    t.see("docker login -u me -p secret REG")


@line("docker system df ; docker stats --no-stream ; docker top C ; docker events")
def looks(t, peer, **_):
    seen = t.ok("docker system df")
    t.same("df: heads", seen.columns[0], ["TYPE", "TOTAL", "ACTIVE", "SIZE", "RECLAIMABLE"])
    t.same("df: rows", [r[:3] for r in seen.columns[1:4]], [["Images", str(len(set(t.see("docker images -q").lines))), "1"], ["Containers", "1", "1"],
                                                             ["Local Volumes", "1", "1"]])
    size = t.see("docker inspect -f '{{.Size}}' xxx:1.0").out
    shown = float(re.fullmatch(r"([\d.]+)MB", seen.columns[1][3]).group(1)) * 1e6
    t.holds(f"df: true sizes (all images {shown:.0f}, one {size.strip()})", int(size) * 0.99 <= shown < int(size) * 2.2)
    t.same("df: what is in the volume", seen.columns[3][3], "6B")
    seen = t.ok("docker stats --no-stream")
    t.same("stats: heads", seen.columns[0], ["CONTAINER ID", "NAME", "CPU %", "MEM USAGE / LIMIT", "MEM %", "NET I/O", "BLOCK I/O", "PIDS"])
    t.looks("stats: live figures", seen.out, r"[0-9a-f]{12} +web +\d+\.\d\d% +[\d.]+[KM]iB / [\d.]+[GT]iB +\d\.\d\d% +[\d.]+k?B / [\d.]+k?B +\S+ / \S+ +1 *")
    seen = t.ok("docker top C", C="web")
    pid = t.see("docker inspect -f '{{.State.Pid}}' web").out.strip()
    t.same("top: heads", seen.lines[0].split(), ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"])
    t.looks("top: processes", seen.out, rf"root +{pid} +\d+ +\d+ +\S+ +\? +\d\d:\d\d:\d\d +httpd -f -h /www")
    p = t.start("docker events")
    told, marks = [], 0
    threading.Thread(target=lambda: told.extend(iter(p.stdout.readline, "")), daemon=True).start()

    def mark():
        """Until a volume that is made is told of: so is what comes behind it, and what came before it has been."""
        nonlocal marks
        marks += 1
        t.see(f"docker volume create mark{marks}")
        return t.until(lambda: any(f" volume create mark{marks} " in l for l in told), 2)
    t.until(mark)
    t.see("docker run --rm --name brief IMG true")
    t.until(lambda: state(t, "brief") == "")
    t.until(mark)
    t.see("docker volume rm " + " ".join(f"mark{n + 1}" for n in range(marks)))
    p.send_signal(signal.SIGINT)
    p.wait(20 * SLOWER)
    t.children.remove(p)
    got = [re.sub(r" \(.*\n", "", l).split(" ", 1)[1] for l in told if "(" in l and " volume " not in l]
    got = [re.sub(ID, "ID", g) for g in got]
    want = ["container create ID", "container attach ID", "network connect ID", "container start ID", "network disconnect ID", "container die ID",
            "container destroy ID"]
    t.same("events", sorted(got), sorted(want))
    t.same("in order", [g for g in got if g.startswith("container")], [w for w in want if w.startswith("container")])
