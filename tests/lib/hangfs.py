"""A file system whose server can stop answering, as a server of files does that has gone away: FUSE over a folder.

    fs = Hangfs(folder); fs.up()      folder/files is what it shows at folder/at
    fs.hang()                         no question is answered any more: who asks sleeps in the kernel, and no signal ends that
    fs.answer()                       all are, also those that wait
    fs.down()                         it is dead: who waits gets an error"""
import errno
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

from waiting import until

try:
    import fusepy  # Debian's name for it (python3-fusepy)
    Operations = fusepy.Operations
except ImportError:
    fusepy, Operations = None, object


def missing():
    """Why there is none here, or ""."""
    if fusepy is None:
        return "no python3-fusepy"
    if os.geteuid() == 0 and shutil.which("modprobe"):
        subprocess.run(["modprobe", "-q", "fuse"], check=False)  # a module that comes with its first mount otherwise
    return "" if os.path.exists("/dev/fuse") and "\tfuse\n" in pathlib.Path("/proc/filesystems").read_text() else "this kernel has no fuse"


class Passing(Operations):
    """What is in a folder, once its server answers."""

    def __init__(self, folder):
        self.files, self.held, self.asked = folder / "files", folder / "hangs", folder / "asked"

    def __call__(self, op, path, *args):
        while self.held.exists():
            self.asked.touch()
            time.sleep(0.05)
        if not hasattr(self, op):
            raise fusepy.FuseOSError(errno.ENOSYS)
        return getattr(self, op)(str(self.files) + (path or ""), *args)

    def getattr(self, path, fh=None):
        st = os.lstat(path)
        return {k: getattr(st, k) for k in ("st_atime", "st_ctime", "st_gid", "st_mode", "st_mtime", "st_nlink", "st_size", "st_uid")}

    def readdir(self, path, fh):
        return [".", "..", *os.listdir(path)]

    def statfs(self, path):
        st = os.statvfs(path)
        return {k: getattr(st, k) for k in ("f_bavail", "f_bfree", "f_blocks", "f_bsize", "f_favail", "f_ffree", "f_files", "f_frsize", "f_namemax")}

    def open(self, path, flags):
        return os.open(path, flags)

    def create(self, path, mode, fi=None):
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, mode)

    def read(self, path, size, offset, fh):
        return os.pread(fh, size, offset)

    def write(self, path, data, offset, fh):
        return os.pwrite(fh, data, offset)

    def truncate(self, path, length, fh=None):
        os.truncate(path, length)

    def rename(self, old, new):
        os.rename(old, str(self.files) + new)

    def release(self, path, fh):
        os.close(fh)

    def flush(self, path, fh):
        return 0

    def fsync(self, path, datasync, fh):
        return 0

    def mkdir(self, path, mode):
        os.mkdir(path, mode)

    def rmdir(self, path):
        os.rmdir(path)

    def unlink(self, path):
        os.unlink(path)

    def chmod(self, path, mode):
        os.chmod(path, mode)

    def chown(self, path, uid, gid):
        os.lchown(path, uid, gid)

    def utimens(self, path, times=None):
        os.utime(path, times)


class Hangfs:
    def __init__(self, folder):
        self.folder, self.at, self.files = folder, folder / "at", folder / "files"
        self.at.mkdir(parents=True)
        self.files.mkdir()
        self.process = None

    def up(self):
        self.process = subprocess.Popen([sys.executable, __file__, self.folder], stdin=subprocess.DEVNULL)

        def shown():
            assert self.process.poll() is None
            return os.path.ismount(self.at)
        until(shown)
        return self

    def hang(self):
        (self.folder / "asked").unlink(missing_ok=True)
        (self.folder / "hangs").touch()

    def asked(self):
        """Somebody waits."""
        return (self.folder / "asked").exists()

    def answer(self):
        (self.folder / "hangs").unlink(missing_ok=True)

    def down(self):
        self.answer()
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
            self.process.wait()
        subprocess.run(["umount", "-l", self.at], stderr=subprocess.DEVNULL)


if __name__ == "__main__":
    where = pathlib.Path(sys.argv[1])
    fusepy.FUSE(Passing(where), str(where / "at"), foreground=True, allow_other=True, attr_timeout=0, entry_timeout=0, negative_timeout=0,
                raw_fi=False)
