/* What the kernel says of the machine. Private to src/kubelet; blocking reads of /proc and /sys, which do not block. */
#pragma once

#include "base/base.h"

struct machine {
	int64_t cpus, memory, storage; /* bytes; storage: of the file system that holds the pods */
	const char *arch;              /* Go's name: "amd64" */
	char machine_id[64], system_uuid[64], boot_id[64], kernel[96], os_image[160];
};
void kl_machine_read(struct machine *m, const char *root_dir);
bool kl_machine_disk(const char *path, uint64_t *out_total, uint64_t *out_avail, uint64_t *out_inodes, uint64_t *out_inodes_free);
int64_t kl_machine_memory_available(void);
int64_t kl_machine_pids_available(void);
int64_t kl_machine_pids_max(void);
/* The amount of a name in "cpu=100m,memory=200Mi" or "memory.available<100Mi,nodefs.available<10%" (of whole). 0: not there. In
 * milli for cpu. */
int64_t kl_machine_reserved(struct span list, const char *name, char sep, int64_t whole);
/* The address that packets to host leave with; a name is not resolved. False: none. out holds 46 bytes. */
bool kl_machine_address(const char *host, bool v6, char out[46]);
