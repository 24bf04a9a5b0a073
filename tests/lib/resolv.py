"""The name servers of a mount namespace that the caller has for itself."""
import os
import subprocess


def resolv_conf(servers, folder):
    """The file SERVERS in the place of /etc/resolv.conf. A machine that has none gets, in this namespace, a folder over /etc, which lies in
    FOLDER. Returns the places that are mounted over, last first."""
    over = []
    if not os.path.exists("/etc/resolv.conf"):
        upper, work = f"{folder}/etc-upper", f"{folder}/etc-work"
        os.mkdir(upper)
        os.mkdir(work)
        subprocess.run(["mount", "-t", "overlay", "overlay", "-o", f"lowerdir=/etc,upperdir={upper},workdir={work}", "/etc"], check=True)
        if os.path.islink("/etc/resolv.conf"):  # to nothing
            os.unlink("/etc/resolv.conf")
        open("/etc/resolv.conf", "w").close()
        over = ["/etc"]
    place = os.path.realpath("/etc/resolv.conf")
    subprocess.run(["mount", "--bind", str(servers), place], check=True)
    return [place, *over]
