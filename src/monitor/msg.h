/* Packets of both sockets: making and reading them. Readers take what a peer sent and trust nothing of it. */
#pragma once

#include "monitor/monitor.h"

/* Longest request on a monitor's socket. */
#define MONITOR_REQUEST_MAX (sizeof(struct monitor_head) + MONITOR_INPUT_MAX)

/* The head of a packet of len bytes. INVALID_REQUEST when it is too short, of another version, or its length is wrong. */
int monitor_msg_head(const void *packet, size_t len, struct monitor_head *out, struct err *err);
/* A request on a monitor's socket: known, its numbers in their bounds, a payload only where one belongs. */
int monitor_msg_request(const void *packet, size_t len, struct monitor_head *out, struct err *err);
/* SPAWN: texts point into the packet, which must live as long as they; descriptors are those that came along, in the
 * order of monitor_spawn_encode. INVALID names the field. */
int monitor_msg_spawn(const void *packet, size_t len, const int *fds, unsigned n_fds, struct monitor_spawn *out,
		      struct err *err);
/* As sys_message_send (sys/message.h), of a head and what follows it; packets are received with sys_message_recv. */
ssize_t monitor_msg_send(int sock, const struct monitor_head *head, struct span payload, const int *fds,
			 unsigned n_fds, int flags);
