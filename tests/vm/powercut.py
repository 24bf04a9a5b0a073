"""Brings a disk to the state in which a power cut leaves it.

qemu's blklogwrites driver writes every write and every flush of the guest to a log, in the order in which they were
completed (the format of Linux' dm-log-writes). A disk with a volatile cache promises only this: what was completed
before a completed flush is there. So everything up to the log's last flush is written to the disk, and each write
after it is lost ("all") or, sector by sector, lost or not ("random:SEED"), as a drive's cache may write back what it
holds in any order before it goes dark.

Layout, little-endian: sector 0 holds magic, version, count of entries (8 bytes each) and the sector size (4). Then
each entry: first sector, number of sectors, flags, data length (8 bytes each), padded to a sector, then its sectors.
The count in sector 0 may be older than the last entries; a header of zeros ends the log.
"""

import os
import random
import struct

MAGIC, VERSION = 0x6A736677736872, 1
FLUSH, FUA, DISCARD = 1, 2, 4
LENGTH_MAX = 1 << 32


def entries(log, sector, end):
    """(flags, offset on the disk, length, offset in the log) of each whole entry."""
    at = sector
    while at + sector <= end:
        log.seek(at)
        first, count, flags, _ = struct.unpack("<4Q", log.read(32))
        if not count and not flags:
            return
        at += sector
        # A discard is a hint; a disk that has not taken it is a correct disk.
        length = 0 if flags & DISCARD else count * sector
        if length > LENGTH_MAX:
            raise OSError(f"the write log has an entry of {length} bytes")
        if at + length > end:
            return
        yield flags, first * sector, length, at
        at += length


def replay(log_path, disk, loss):
    """Writes the log's surviving part to the open file disk. Returns a sentence of what it did."""
    with open(log_path, "rb") as log:
        head = log.read(28)
        if not head:
            return "nothing had been written"
        magic, version, _, sector = struct.unpack("<QQQI", head)
        if (magic, version) != (MAGIC, VERSION) or sector not in (512, 4096):
            raise OSError("the write log is not one of qemu's blklogwrites")
        listed = list(entries(log, sector, os.fstat(log.fileno()).st_size))
        flushes = [i for i, entry in enumerate(listed) if entry[0] & FLUSH]
        durable = flushes[-1] + 1 if flushes else 0
        chance = random.Random(int(loss.split(":")[1])) if loss != "all" else None
        late = lost = 0
        for i, (flags, offset, length, at) in enumerate(listed):
            log.seek(at)
            disk.seek(offset)
            if i < durable or flags & FUA:
                disk.write(log.read(length))
                continue
            late += 1
            for begin in range(0, length, sector):
                data = log.read(sector)
                # A write that was on its way into the log may show as zeros there, which no disk would. To lose a
                # sector that really was zeros is as right as to keep it.
                if chance and chance.random() < 0.5 and any(data):
                    disk.seek(offset + begin)
                    disk.write(data)
                else:
                    lost += sector
        disk.flush()
    return f"{late} of {len(listed)} requests came after the last flush, {lost >> 10} KB of them are lost"
